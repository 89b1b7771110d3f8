"""What `roost demo swap` prints and writes, without running it."""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab import vanishing
from roost import bench_machine, cli


@contextmanager
def _no_machine(*_: object, **__: object) -> Iterator[None]:
    yield None


class _NoRoom:
    """A picture for which the disk has no room."""

    def savefig(self, path: Path) -> None:
        """See matplotlib's `Figure`."""
        raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_runs_whose_picture_cannot_be_written_still_print_their_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five seeds take a quarter of an hour; a folder that was not there threw all of it away."""
    run: dict[str, Any] = {"config": {"seed": 0}}
    monkeypatch.setattr(bench_machine, "swap_machine", _no_machine)
    monkeypatch.setattr(vanishing, "run", lambda *_, **__: run)
    monkeypatch.setattr(vanishing, "compared", lambda _: (["", "in place #", "Roost #"], []))
    monkeypatch.setattr(vanishing, "faults", lambda _: iter(()))
    monkeypatch.setattr(vanishing, "plot", lambda _: _NoRoom())
    assert cli.run(["demo", "swap", "--plot", str(tmp_path / "swap.png"), "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"runs": [run], "faults": []}
    assert "swap.png: No space left on device; make room there" in captured.err


def test_a_picture_of_another_kind_is_refused_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """It was found out by what draws it, in a trace, once all had run."""
    assert cli.run(["demo", "swap", "--plot", "swap.xyz"]) == 2
    assert "name one that ends in .png or .svg" in " ".join(capsys.readouterr().err.replace("│", " ").split())
