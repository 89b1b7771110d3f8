"""Writes docs/reference/ from the code: the HTTP interface, the settings, the events and topics, the commands.

Run it after a change of any of them: `python -m tools.reference`. A test compares.
"""

import json
import re
import socket
from collections.abc import Iterator, Sequence
from inspect import cleandoc
from pathlib import Path
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

import schemas
from roost import __version__
from roost.cli.commands import COMMANDS
from roost.settings import LauncherSettings
from schemas.topics import standard_topics
from serving.api import RetrieveRequest
from serving.console.settings import ConsoleSettings
from serving.filling.masks import Masks
from serving.health import NodeHealth
from serving.http.app import build_routes
from serving.metrics import NodeMetrics
from serving.query.census import SurfaceCensus
from serving.query.epochs import RoutingTable
from serving.query.errors import UnknownSurface
from serving.query.explain import Explainer
from serving.query.users import UserStore
from serving.settings import NodeSettings
from streams.settings import ControllerSettings, EmbedderSettings, LabelerSettings, UserStateSettings
from trainer.options.settings import FinetuneOptions, GateOptions, PretrainOptions
from trainer.settings import TrainerSettings

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
OPENAPI = "openapi.json"

_GENERATED = "<!-- Written by `python -m tools.reference`; edit the code instead. -->\n"
_ROLES: dict[str, type[BaseSettings]] = {
    "roost embed": EmbedderSettings,
    "roost label, the labeler": LabelerSettings,
    "roost label, user state": UserStateSettings,
    "roost control": ControllerSettings,
    "roost serve": NodeSettings,
    "roost train": TrainerSettings,
    "roost train, pre-training": PretrainOptions,
    "roost train, fine-tuning": FinetuneOptions,
    "roost train, the gates": GateOptions,
    "roost console": ConsoleSettings,
    "roost up, roost demo": LauncherSettings,
}
# what a machine puts in, and not the code
_OF_THE_MACHINE = {socket.gethostname(): "the host's name"}


def pages() -> dict[str, str]:
    """Return every page's text, by file name."""
    return {
        OPENAPI: _interface(),
        "configuration.md": _page("Configuration", _configuration()),
        "events.md": _page("Events and topics", _events()),
        "commands.md": _page("Commands", _commands()),
    }


class _NoNode:
    def health(self) -> NodeHealth:
        """See `HasHealth`."""
        return NodeHealth("", ready=False, reasons=(), surfaces=(), users=0, masked=0, flips=0, broker_age_s=None)


async def _ask(surface: str, _: RetrieveRequest) -> bytes:
    raise UnknownSurface(f"no surface {surface!r}: nothing is served here")


def _interface() -> str:
    table = RoutingTable({})
    app = build_routes(
        _ask,
        _NoNode(),
        NodeMetrics(),
        explainer=Explainer(table, UserStore(), Masks()),
        census=SurfaceCensus(table),
        version=__version__,
    )
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"


def _page(title: str, lines: Iterator[str]) -> str:
    return "\n".join([_GENERATED, f"# {title}", "", *lines]).rstrip() + "\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _table(*titles: str) -> list[str]:
    return [_row(*titles), _row(*["---"] * len(titles))]


def _configuration() -> Iterator[str]:
    yield "Each role reads its settings once, when it starts, from environment variables. A value out of its range ends the start"
    yield "with a sentence that names the variable."
    for command, settings in _ROLES.items():
        yield f"\n## {command}\n"
        yield from _table("variable", "default", "meaning")
        meanings = _attributes(settings)
        for name, found in settings.model_fields.items():
            variable = _variable(name, found, str(settings.model_config.get("env_prefix", "")))
            yield _row(f"`{variable}`", _default(found), found.description or meanings[name])


def _variable(name: str, found: FieldInfo, prefix: str) -> str:
    alias = found.validation_alias
    if isinstance(alias, AliasChoices):
        alias = str(alias.choices[0])
    return str(alias or prefix + name).upper()


def _default(found: FieldInfo) -> str:
    value = found.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, Path) and value.is_absolute():
        value = value.relative_to(FOLDER.parents[1]) if value.is_relative_to(FOLDER.parents[1]) else value.name
    text = " ".join(map(str, value)) if isinstance(value, tuple | list) else "" if value is None else str(value)
    text = _OF_THE_MACHINE.get(text, text)
    return f"`{text}`" if text else ""


def _attributes(of: type) -> dict[str, str]:
    """Return what the "Attributes:" of a class and its bases say, by name."""
    found: dict[str, str] = {}
    for kind in reversed(of.__mro__):
        _, _, section = cleandoc(kind.__doc__ or "").partition("Attributes:\n")
        found |= dict(re.findall(r"^ {4}(\w+): (.*(?:\n {8,}.*)*)", section, re.MULTILINE))
    return found


def _events() -> Iterator[str]:
    yield "## Topics\n"
    yield from _table("topic", "key", "partitions", "configuration")
    for topic in standard_topics():
        config = ", ".join(f"{name}={value}" for name, value in topic.config.items())
        yield _row(f"`{topic.name}`", topic.key, str(topic.partitions), config)
    yield "\n`embeddings.<bundle>` is created for each bundle as its rollout starts, and deleted when it is retired."
    for folder in sorted((Path(schemas.__file__).parent / "avro").iterdir()):
        newest = max(folder.glob("v*.avsc"), key=lambda path: int(path.stem[1:]))
        schema = json.loads(newest.read_text(encoding="utf-8"))
        yield f"\n## {folder.name}, {newest.stem}\n"
        yield f"{schema['doc']}\n"
        yield from _table("field", "type", "meaning")
        for field in schema["fields"]:
            yield _row(f"`{field['name']}`", _type(field["type"]), field.get("doc", ""))


def _type(of: Any) -> str:
    if isinstance(of, list):
        return " or ".join(_type(branch) for branch in of)
    if not isinstance(of, dict):
        return str(of)
    if of["type"] == "array":
        return f"array of {_type(of['items'])}"
    if of["type"] == "map":
        return f"map of {_type(of['values'])}"
    return str(of.get("name", of["type"]))


def _commands() -> Iterator[str]:
    for word, entry in COMMANDS.items():
        yield from _command([word], entry.load(word), entry.line)


def _command(words: Sequence[str], command: Any, line: str = "") -> Iterator[str]:
    yield f"\n{'#' * (1 + len(words))} roost {' '.join(words)}\n"
    told, _, example = cleandoc(command.help or line).partition("Example: ")
    yield " ".join(told.split())
    if example:
        yield f"\n    {' '.join(example.split())}"
    options = [option for option in command.params if option.name not in ("help", "install_completion", "show_completion")]
    if options:
        yield ""
        yield from _table("argument", "meaning")
        for option in options:
            names = option.opts if option.param_type_name == "option" else [option.name.upper()]
            yield _row(", ".join(f"`{name}`" for name in names), getattr(option, "help", "") or "")
    for name, part in getattr(command, "commands", {}).items():
        yield from _command([*words, name], part)


if __name__ == "__main__":
    for file, text in pages().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
