"""The recovery benchmark in its small form: an embedder and a replica killed under traffic, and all that was published is there."""

from dataclasses import replace
from pathlib import Path

import pytest

from lab.bench.recovery import Plan, run
from lab.bench.recovery.report import NONE
from roost.bench_machine import swap_machine
from roost.settings import LauncherSettings
from schemas.surfaces import Surface
from tests.bundles import publish_bundle

PLAN = Plan(rounds=1, between_s=12.0, live=500, queries_per_s=20.0, events_per_s=80.0, before_s=2.0, settle_s=1.0)


def random_towers(registry: Path, surface: Surface) -> str:
    """Publish towers that nobody trained."""
    return publish_bundle(registry, surface=surface.name, dim=surface.dim, seed=1)


# broker, four roles and three load processes: some 60 s on two free cores, several times that on busy ones
@pytest.mark.timeout(400)
def test_a_killed_embedder_and_a_killed_replica_cost_time_and_nothing_else(tmp_path: Path) -> None:
    """What operators ask first: is anything lost, and does the other replica go on answering."""
    told: list[tuple[int, int]] = []
    with swap_machine([random_towers], settings=LauncherSettings(), keep=tmp_path, say=print) as target:
        assert target.kills.keys() == {"control", "embed", "serve", "serve-2", "broker"}
        two = {role: target.kills[role] for role in ("embed", "serve-2")}
        figures = run(PLAN, replace(target, kills=two), say=print, on_progress=lambda *steps: told.append(steps))
    assert {name: figures[name] for name in NONE} == dict.fromkeys(NONE, 0)
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert figures["live"] == PLAN.live
    assert figures["probes"] > 10
    assert [row["role"] for row in figures["rows"]] == ["embed", "serve-2"]
    # a process needs longer to start again than a tweet takes on its way
    assert figures["roles"]["embed"]["stale_ms_max"] > 500
    assert figures["roles"]["serve-2"]["down_ms_max"] > 500
    assert figures["roles"]["serve-2"]["failed"] > 0
