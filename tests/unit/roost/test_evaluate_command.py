"""`roost train evaluate`, on a log in memory."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest

from roost import cli
from schemas.records.feedback import Example
from tests.bundles import publish_bundle
from tests.tiny_world import tiny_world
from trainer.data.windows import CorpusAt, LoggedExample, Window

WORLD = tiny_world(users=20, tweets=40, impressions=60)


class Log:
    """Sources of one partition."""

    examples: Sequence[Example] = ()

    def __init__(self, *_: Any, **__: Any) -> None:
        """Connect to nothing."""

    def window(self, *_: Any, **__: Any) -> Window:
        """See `TopicSources`."""
        logged = tuple(LoggedExample(0, n, example) for n, example in enumerate(self.examples))
        return Window(logged, {0: (0, len(logged))})

    def candidates(self, now_ms: int) -> CorpusAt:
        """See `TopicSources`."""
        return CorpusAt(WORLD.corpus, {0: 40}, now_ms)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of nothing."""


def test_a_bundle_is_measured_on_no_correction_of_what_it_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It learned that nobody engaged, and somebody did later: each counted as an error, though it had been told otherwise."""
    monkeypatch.setattr("trainer.data.topics.TopicSources", Log)
    monkeypatch.setattr("roost.cli.evaluate.broker_of", lambda *_: "")
    since = [replace(example, example_id=str(n)) for n, example in enumerate(WORLD.examples)]
    before = replace(since[0], example_id="before", revision=1)
    places = ("--registry", str(tmp_path), "--data-dir", str(tmp_path))
    words = ["train", "evaluate", publish_bundle(tmp_path), *places, "--json"]
    Log.examples = [before, *since, replace(since[0], revision=1)]
    assert cli.run(words) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == len(since)
    Log.examples = [before]
    assert cli.run(words) == 3, "none came since"
