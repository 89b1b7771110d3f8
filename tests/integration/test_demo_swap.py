"""The vanishing tweets in their small form: both systems on real processes, kills, a rollback, and the verdict."""

from functools import partial
from pathlib import Path

import pytest

from lab import vanishing
from roost.bench_machine import swap_machine
from roost.settings import LauncherSettings
from tests.integration.test_bench_swap import random_towers

PLAN = vanishing.Plan(
    corpus=600, tweets_per_s=10.0, queries_per_s=10.0, before_s=4.0, after_s=2.0, walk_rows_per_s=100.0, k=50, fresh_s=20.0
)


# broker, four roles and a writer: a minute on two free cores, several on busy ones
@pytest.mark.timeout(400)
def test_in_place_mixes_towers_and_roost_does_not_though_a_replica_dies_as_it_flips(tmp_path: Path) -> None:
    """What the demo shows must follow from what happened, on both sides: a comparison that cannot be lost shows nothing."""
    make = [partial(random_towers, seed=seed) for seed in (1, 2)]
    with swap_machine(make, settings=LauncherSettings(), keep=tmp_path, say=print) as target:
        run = vanishing.run(PLAN, target, say=print)
    assert list(vanishing.faults(run)) == [], run["history"]
    roost, usual = run["roost"], run["usual"]
    assert usual["mixed_answers"] > 20
    assert (usual["writer_restarts"], usual["errors"]) == (1, 0)
    # the replica that was killed was asked, and the other one answered
    assert roost["failed_over"] > 0
    assert roost["back_s"] < usual["back_s"]
    assert run["history"]["answers"] == roost["queries"] > 100
    # live, killed and back again, by the rollout's own log: two starts of four steps, and a rollback
    assert run["history"]["revisions"] >= 9
    figure = tmp_path / "swap.png"
    vanishing.plot([run, run]).savefig(figure)
    assert figure.stat().st_size > 10_000
