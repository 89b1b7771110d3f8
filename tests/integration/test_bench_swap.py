"""The swap benchmark in its small form: two replicas, two swaps, a rollback, traffic, and every answer judged."""

from functools import partial
from pathlib import Path

import pytest

from lab.bench.swap import Plan, run
from lab.bench.swap.report import NONE
from roost.bench_machine import swap_machine
from roost.settings import LauncherSettings
from schemas.surfaces import Surface
from tests.bundles import publish_bundle

PLAN = Plan(
    swaps=2,
    rollbacks=1,
    live=2_000,
    queries_per_s=30.0,
    events_per_s=200.0,
    before_s=3.0,
    between_s=2.0,
    settle_s=1.0,
    backfills=1,
)


def random_towers(registry: Path, surface: Surface, *, seed: int) -> str:
    """Publish towers nobody trained: those of two seeds agree on nothing, so that a mixed answer shows."""
    return publish_bundle(registry, surface=surface.name, dim=surface.dim, seed=seed)


# broker, four roles and three load processes: some 40 s on two free cores, several times that on busy ones
@pytest.mark.timeout(400)
def test_two_swaps_and_a_rollback_under_load_lose_nothing_and_mix_nothing(tmp_path: Path) -> None:
    """The promise of rollouts, counted by those who would notice: clients of two replicas."""
    told: list[tuple[int, int]] = []
    make = [partial(random_towers, seed=seed) for seed in (1, 2, 3)]
    with swap_machine(make, settings=LauncherSettings(), keep=tmp_path, say=print) as target:
        figures = run(PLAN, target, say=print, on_progress=lambda *steps: told.append(steps))
    assert {name: figures[name] for name in NONE} == dict.fromkeys(NONE, 0), figures["history"]
    # of every swap, rollback and backfill
    assert told == [(done, 4) for done in range(5)]
    assert (figures["swaps"], figures["rollbacks"], figures["replicas"]) == (2, 1, 2)
    assert figures["live"] == PLAN.live
    assert figures["queries"] > 100
    assert figures["history"]["answers"] == figures["queries"]
    # start, topic, ready, live of three bundles; a rollback; and three records of a backfill at least
    assert figures["history"]["revisions"] >= 3 * 4 + 1 + 3
    assert figures["probes"] > 10
    assert figures["backfill_per_s"] > 0
    assert figures["backfill_efficiency"] > 0
    for name in ("freshness_p99_ratio", "freshness_p99_vs_between", "query_p99_ratio", "query_p99_vs_between", "rollback_ms_p99"):
        assert figures[name] > 0
    memory = figures["memory_mb"]
    assert [set(roles) for roles in memory["after_each"]] == [set(memory["before"])] * PLAN.swaps
