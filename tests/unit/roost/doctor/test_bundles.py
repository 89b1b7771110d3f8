"""Bundles on disk against their ids and against the rollouts."""

from pathlib import Path

from roost.doctor.bundles import check_bundles
from roost.doctor.finding import Verdict
from schemas.bundle import CANDIDATE_TOWER
from schemas.records.control import BundleStage, Rollout, Stage
from tests.bundles import publish_bundle

HOME = "home-timeline"


def test_a_damaged_bundle_is_named_whether_or_not_it_is_live(tmp_path: Path) -> None:
    """A node would refuse it at its next start: before that is the time to know."""
    good, bad = publish_bundle(tmp_path, seed=1), publish_bundle(tmp_path, seed=2)
    tower = tmp_path / HOME / bad / CANDIDATE_TOWER
    tower.write_bytes(tower.read_bytes()[:-1])
    found = check_bundles(tmp_path, {})
    assert [(f.check, f.verdict) for f in found] == [(f"bundle {bad}", Verdict.WRONG), ("bundles", Verdict.OK)]
    assert found[0].fix == f"rm -r {tmp_path / HOME / bad}"
    live = {HOME: Rollout(HOME, 1, bundles=(BundleStage(good, Stage.DRAINING), BundleStage(bad, Stage.LIVE)))}
    assert "roll back" in check_bundles(tmp_path, live)[0].fix


def test_a_live_bundle_that_is_nowhere_is_named(tmp_path: Path) -> None:
    """The registry was mounted elsewhere, or somebody tidied up."""
    state = {HOME: Rollout(HOME, 1, bundles=(BundleStage("0" * 16, Stage.LIVE), BundleStage("1" * 16, Stage.RETIRED)))}
    found = check_bundles(tmp_path, state)
    assert [finding.check for finding in found if finding.verdict is Verdict.WRONG] == [f"bundle {'0' * 16}"]


def test_an_empty_registry_is_a_fresh_start(tmp_path: Path) -> None:
    """With the command that makes the first bundle."""
    (finding,) = check_bundles(tmp_path / "none", {})
    assert (finding.verdict, finding.fix) == (Verdict.NOTE, "roost train pretrain")
