"""`roost paper` on kept results: what is printed, drawn and refused without an experiment run."""

import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from lab.paper.sweep import study
from roost import cli

BENCH = Path(__file__).parents[3] / "docs" / "bench"
AGAIN = ("paper", "continual", "--again", str(BENCH / "continual.json"), "--json")


def test_a_result_is_printed_though_its_plot_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It took half an hour to measure; the plot can be drawn again from it."""
    (tmp_path / "file").touch()
    assert cli.run([*AGAIN, "--plots", str(tmp_path / "file")]) == 1
    assert json.loads(capsys.readouterr().out)["days"] == 14


def test_the_published_plots_are_drawn_by_the_page_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of one seed, or on a world of somebody else's, would leave its plot beside tables of other figures."""
    monkeypatch.chdir(tmp_path)
    assert cli.run([*AGAIN]) == 0
    assert "the plot is in build/paper/continual.png" in capsys.readouterr().err
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.png")] == [Path("build/paper/continual.png")]


@pytest.mark.parametrize(("asked", "given"), [("continual", "gates"), ("gates", "continual")])
def test_a_result_of_another_experiment_is_refused_by_name(asked: str, given: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The two are kept side by side, and a wrong name is one key away."""
    assert cli.run(["paper", asked, "--again", str(BENCH / f"{given}.json"), "--json"]) == 1
    captured = capsys.readouterr()
    assert f"{given}.json is no result of `roost paper {asked}`" in captured.err + captured.out


def test_tables_of_swept_settings_want_a_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    """Table 1's own result lies beside it, and has rows of the same models."""
    assert cli.run(["paper", "table1", "--swept", str(BENCH / "table1.json"), "--json"]) == 1
    captured = capsys.readouterr()
    assert "table1.json is no result of `roost paper sweep`" in captured.err + captured.out


def test_a_sweep_is_of_the_seeds_and_the_rates_that_were_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left alone it is of seeds 2 to 4, which no table reports, and of every rate of the grids."""
    asked: list[tuple[list[int], set[tuple[float, ...]]]] = []

    def sweep(seeds: Sequence[int], settings: study.SweepSettings, **_: object) -> dict[str, object]:
        asked.append((list(seeds), {grid.rates for grid in settings.grids.values()}))
        return {"seeds": list(seeds), "rows": []}

    monkeypatch.setattr(study, "sweep", sweep)
    plots = ["--plots", str(tmp_path), "--json"]
    assert cli.run(["paper", "sweep", *plots]) == 0
    assert cli.run(["paper", "sweep", "--seeds", "2", "--first-seed", "5", "--rate", ".02", "--rate", ".01", *plots]) == 0
    assert asked == [([2, 3, 4], {grid.rates for grid in study.SweepSettings().grids.values()}), ([5, 6], {(0.02, 0.01)})]


def test_a_page_of_no_results_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong folder would pass for a page that is up to date."""
    page = tmp_path / "page.md"
    page.write_text("# The paper\n")
    assert cli.run(["paper", "page", "--results", str(tmp_path / "nowhere"), "--document", str(page)]) == 1
    assert "holds no result of `roost paper`" in capsys.readouterr().err


def test_a_result_names_the_machine_and_the_commit_that_measured_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same seed gives other figures on another processor; a kept result read again was not measured here."""
    measured = {"seeds": [1], "rows": []}
    monkeypatch.setattr(study, "sweep", lambda *_arguments, **_options: measured)
    plots = ["--plots", str(tmp_path)]
    assert cli.run(["paper", "sweep", "--json", *plots]) == 0
    here = json.loads(capsys.readouterr().out)
    assert here.keys() == {*measured, "machine", "commit", "seconds_per_seed"}
    assert {"processor", "cores", "torch"} <= here["machine"].keys()
    kept = json.loads((BENCH / "continual.json").read_text(encoding="utf-8"))
    copy = tmp_path / "continual.json"
    copy.write_text(json.dumps({**kept, "machine": {"processor": "another"}, "commit": "of-then"}))
    assert cli.run(["paper", "continual", "--again", str(copy), "--json", *plots]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["machine"], again["commit"]) == ({"processor": "another"}, "of-then")


def test_a_page_for_which_there_is_no_room_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written over in place it ended where the disk was full, and the text that people wrote went with it."""
    page = tmp_path / "page.md"
    before = (BENCH.parent / "paper.md").read_text("utf-8")
    page.write_text(before, "utf-8")

    def full(path: Path, text: str, *_: object, **__: object) -> int:
        path.write_bytes(text.encode()[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    assert cli.run(["paper", "page", "--document", str(page), "--results", str(BENCH), "--plots", str(tmp_path)]) == 1
    assert page.read_text("utf-8") == before
