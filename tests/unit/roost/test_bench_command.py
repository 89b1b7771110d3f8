"""`roost bench`: what cannot be measured is refused before anything starts, and a run that shows a fault ends as one."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab.bench import freshness, ingest, query, recall, recovery, refresh, restore, swap
from lab.bench.freshness import Plan, Target
from lab.bench.progress import OnProgress
from lab.bench.recovery.report import NONE as RECOVERY_NONE
from lab.bench.swap.report import LEAST, LIMITS, NONE
from roost import bench_machine, cli
from roost.cli.output import err
from roost.cli.steps_bar import steps_bar


@pytest.mark.parametrize(
    "words",
    [
        "recall --turnovers -1",
        "recall --turnovers 0",
        "recall --turnovers nan",
        "ingest --turnovers 0",
        "ingest --turnovers nan",
        "soak --seed -1",
        "freshness --refresh foo",
    ],
)
def test_what_cannot_be_measured_is_a_usage_error(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong word found after a broker was started, or after an hour's run, costs that much; a wrong figure costs more."""
    assert cli.run(["bench", *words.split()]) == 2
    assert words.split()[1] in " ".join(capsys.readouterr().err.split())


def test_a_soak_of_the_shortest_time_gives_its_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    """Two seconds have one sample, and of one sample there is no growth: JSON has no NaN for it."""
    assert cli.run(["bench", "soak", "--live", "1000", "--seconds", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["growth_mb_per_minute"] is None


@pytest.mark.parametrize("bench", [recall, ingest, query, restore], ids=lambda bench: bench.__name__.rpartition(".")[2])
def test_a_bench_shows_how_far_it_is(bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """They take from minutes to an hour, and whoever waits must see that something goes on; the answer has stdout for itself."""

    def run(*, on_progress: OnProgress, **_: object) -> dict[str, float]:
        on_progress(3, 7)
        return {"lost": 0, **bench.LEAST}

    monkeypatch.setattr(bench, "run", run)
    assert cli.run(["bench", bench.__name__.rpartition(".")[2], "--json"]) == 0
    printed = capsys.readouterr()
    assert "3/7" in printed.err
    assert json.loads(printed.out)


@pytest.mark.parametrize("bench", [refresh, freshness, swap, recovery], ids=lambda bench: bench.__name__.rpartition(".")[2])
def test_a_bench_that_says_what_it_does_shows_how_far_it_is_too(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twenty swaps take half an hour: a line at each said which it was, and not how long the others take."""

    def run(*_: object, say: Callable[[str], None], on_progress: OnProgress, **__: object) -> dict[str, Any]:
        say("every replica answers")
        on_progress(3, 7)
        return {"config": {}, "roles": {"embed": {}}, **dict.fromkeys((*NONE, *RECOVERY_NONE, *LIMITS, "query_failed"), 0), **LEAST}

    monkeypatch.setattr(bench_machine, "bench_machine", no_machine)
    monkeypatch.setattr(bench_machine, "swap_machine", no_machine)
    monkeypatch.setattr(bench, "run", run)
    assert cli.run(["bench", bench.__name__.rpartition(".")[2], "--json"]) == 0
    printed = capsys.readouterr()
    assert "3/7" in printed.err
    assert "every replica answers" in printed.err
    assert json.loads(printed.out)


def test_a_bar_tells_the_time_to_go_of_steps_that_take_minutes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What draws it forgets steps of more than half a minute ago: of a swap a minute there never was a second to tell the pace."""
    now_s = 0.0
    monkeypatch.setattr(err, "get_time", lambda: now_s)
    with steps_bar("swap") as progress:
        for done in range(4):
            now_s = 60.0 * done
            progress(done, 7)
    assert "3/7 0:03:00 ETA 0:04:00" in capsys.readouterr().err


def test_a_recall_bench_of_one_scenario_is_not_held_to_what_the_others_measure(capsys: pytest.CaptureFixture[str]) -> None:
    """At a million rows one scenario is what there is time for; one that is misspelt is refused, not left out in silence."""
    words = ["bench", "recall", "--live", "1000", "--seeds", "1", "--turnovers", "0.1", "--json", "--scenario"]
    assert cli.run([*words, "drift"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {row["scenario"] for row in report["rows"]} == {"drift"}
    assert report["refresh80_ratio_min"] is None
    assert cli.run([*words, "drft"]) == 2
    assert "unclustered" in capsys.readouterr().err


@contextmanager
def no_machine(*_: object, **__: object) -> Iterator[None]:
    """Start nothing."""
    yield


def freshness_with(monkeypatch: pytest.MonkeyPatch, **figures: int) -> None:
    """Let the freshness bench find these figures, on no machine."""

    def run(plan: Plan, target: Target, **_: object) -> dict[str, Any]:
        return {"bench": "freshness", "config": {}, "lost": 0, "query_failed": 0, **figures}

    monkeypatch.setattr(bench_machine, "bench_machine", no_machine)
    monkeypatch.setattr(freshness, "run", run)


@pytest.mark.parametrize(("figures", "code"), [({}, 0), ({"lost": 1}, 1), ({"query_failed": 2}, 1)], ids=str)
def test_a_lost_tweet_or_a_failed_query_fails_the_freshness_bench(
    figures: dict[str, int], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is what a pipeline reads; the figures are printed all the same, to see what it was."""
    freshness_with(monkeypatch, **figures)
    assert cli.run(["bench", "freshness", "--json"]) == code
    printed = capsys.readouterr()
    assert {name: json.loads(printed.out)[name] for name in figures} == figures
    for name, value in figures.items():
        assert f"roost: {name} is {value}, none expected" in printed.err


@pytest.mark.parametrize("bench", [recall, ingest, query, restore], ids=lambda bench: bench.__name__.rpartition(".")[2])
def test_an_index_that_finds_too_little_fails_its_benches_however_fast_it_was(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong answer costs nothing to give."""
    name = bench.__name__.rpartition(".")[2]
    figures = {"lost": 0, **bench.LEAST}
    monkeypatch.setattr(bench, "run", lambda **_: figures)
    assert cli.run(["bench", name, "--json"]) == 0
    for figure, least in bench.LEAST.items():
        figures[figure] = least - 0.001
        assert cli.run(["bench", name, "--json"]) == 1
        assert f"{figure} is {least - 0.001}, at least {least:g} expected" in capsys.readouterr().err
        figures[figure] = least


def test_a_candidate_that_a_restore_lost_fails_the_bench(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A node that starts with fewer candidates than it held answers with worse ones, and nobody is told."""
    monkeypatch.setattr(restore, "run", lambda **_: {"lost": 1, **restore.LEAST})
    assert cli.run(["bench", "restore", "--json"]) == 1
    assert "lost is 1, none expected" in capsys.readouterr().err
