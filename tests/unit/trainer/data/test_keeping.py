"""Kept trainings of one surface: what is due to be removed goes, whatever else cannot."""

import errno
import logging
import os
import shutil
from pathlib import Path

import pytest

from tests.tiny_world import tiny_world
from trainer.data.cache import write_cache
from trainer.data.keeping import KeptTrainings
from trainer.data.windows import CorpusAt, LoggedExample, Window

SURFACE = "home-timeline"
NOW_S = 1_700_000_000.0
DAY_S = 86_400.0
SHOWN = tiny_world(users=20, tweets=20, impressions=100).examples[0]


def test_one_training_that_cannot_be_removed_keeps_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a deleted user's trainings stayed, and those past their time, until an operator removed the first."""
    caplog.set_level(logging.INFO)
    folder = tmp_path / SURFACE
    of_the_user = Window((LoggedExample(0, 0, SHOWN),), {0: (0, 1)})
    for name, window in {"a": of_the_user, "b": of_the_user, "c": Window(), "d": Window(), "e": Window()}.items():
        write_cache(folder / name, SURFACE, window, CorpusAt([]))
        os.utime(folder / name, (NOW_S, NOW_S))
    for name in "cd":
        os.utime(folder / name, (NOW_S - 40 * DAY_S, NOW_S - 40 * DAY_S))
    remove = shutil.rmtree

    def stuck(path: Path, *rest: object, **named: object) -> None:
        if path in {folder / "a", folder / "c"}:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), "examples.parquet")
        remove(path)

    kept = KeptTrainings(SURFACE, tmp_path, newest=10, kept_s=30 * DAY_S, wall_clock_s=lambda: NOW_S)
    with monkeypatch.context() as context:
        context.setattr(shutil, "rmtree", stuck)
        for _ in range(3):
            kept.clear({SHOWN.user_id: SHOWN.event_time_ms})
    assert sorted(path.name for path in folder.iterdir()) == ["a", "c", "e"]
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "the kept training of b held a deleted user's examples and is removed",
        *(
            f"{SURFACE}: the kept training {folder / name} is due to be removed and stays (Permission denied); remove it"
            for name in "ac"
        ),
    ], "each once"
    kept.clear({SHOWN.user_id: SHOWN.event_time_ms})
    assert [path.name for path in folder.iterdir()] == ["e"]
