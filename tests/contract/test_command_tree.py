"""What every command promises a person and a script, held against the whole tree of commands."""

from collections.abc import Iterator
from typing import Any

import pytest

from roost.cli.commands import COMMANDS


def commands_below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield what runs, by the words that call it; a group that runs nothing by itself is none."""
    inner = getattr(command, "commands", {})
    if not inner or command.invoke_without_command:
        yield " ".join(words), command
    for word, one in inner.items():
        yield from commands_below(one, (*words, word))


ALL = {name: command for word, entry in COMMANDS.items() for name, command in commands_below(entry.load(word), (word,))}


@pytest.mark.parametrize("name", ALL)
def test_every_command_shows_an_example_of_itself(name: str) -> None:
    """Whoever asks for help wants the line to copy first, and one of another command helps nobody."""
    examples = [line for line in (ALL[name].help or "").splitlines() if line.startswith("Example: ")]
    assert any(f"roost {name}" in example for example in examples)


@pytest.mark.parametrize("name", ALL)
def test_every_command_takes_json(name: str) -> None:
    """A script asks each command the same way; where a command runs until it is stopped, its log is what is JSON."""
    flags = [parameter for parameter in ALL[name].params if "--json" in parameter.opts]
    assert len(flags) == 1
    assert flags[0].is_flag
