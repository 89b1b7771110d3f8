"""Which of several launchers has a name, as the log of their claims says."""

import pytest

from schemas.claims import Claim, Claims, claimed_names
from schemas.codec import encode
from schemas.heartbeats import live_embedders
from schemas.records.control import NodeStatus
from schemas.wire.inbound import InboundRecord

ALL = claimed_names(["control", "embed", "label", "serve", "train", "console"], node_id="n1", instance="0")
A, B, C = (Claim("host", 1, token, ALL) for token in ("a", "b", "c"))


def wrote(offset: int, key: str, *, null: bool = False, time_ms: int = 1) -> InboundRecord:
    """Return a record of `node-status`."""
    value = None if null else encode(NodeStatus(key, time_ms, ready=True))
    return InboundRecord("node-status", 0, offset, 1, key.encode(), value)


def claimed(offset: int, claim: Claim, *, null: bool = False) -> InboundRecord:
    """Return a claim, or what takes it back."""
    return wrote(offset, claim.claim_key, null=null)


def beat(offset: int, claim: Claim, *, null: bool = False, time_ms: int = 1) -> InboundRecord:
    """Return a launcher's heartbeat."""
    return wrote(offset, claim.heartbeat_key, null=null, time_ms=time_ms)


def seen_by(own: Claim, log: list[InboundRecord]) -> Claims:
    """Return what a launcher makes of a log."""
    claims = Claims(own)
    claims.take(log)
    return claims


def test_of_two_that_claim_at_once_exactly_one_goes_on() -> None:
    """Both heard nothing, both started, and each pushed the other's roles out of their groups for ever."""
    log = [claimed(0, A), claimed(1, B), beat(2, B), beat(3, A), beat(4, B)]
    assert seen_by(A, log).holders() == []
    assert seen_by(B, log).holders() == [A]
    assert seen_by(B, log[:3]).holders() == [], "whoever has not been heard of may be dead"


def test_clocks_that_are_minutes_apart_decide_nothing() -> None:
    """Two machines' clocks may differ by more than any start takes."""
    minutes = 5 * 60_000
    log = [claimed(0, A), claimed(1, B), beat(2, A, time_ms=2 * minutes), beat(3, B, time_ms=minutes)]
    assert (seen_by(A, log).holders(), seen_by(B, log).holders()) == ([], [A])


def test_a_claim_whose_launcher_was_killed_does_not_block_and_can_be_removed() -> None:
    """It is in the topic for ever, as its launcher wrote no null; the same one started anew is another process."""
    log = [claimed(0, A), beat(1, A), claimed(2, B), beat(3, B)]
    claims = seen_by(B, log)
    assert (claims.holders(), claims.silent()) == ([], [A])
    anew = Claim(A.host, A.pid, "anew", A.names)
    assert seen_by(anew, [*log, claimed(4, anew), beat(5, anew), beat(6, B)]).holders() == [B]


def test_a_claim_that_was_taken_back_does_not_block() -> None:
    """Its launcher ended while the other one listened."""
    log = [claimed(0, A), claimed(1, B), beat(2, A)]
    assert seen_by(B, log).holders() == [A]
    claims = seen_by(B, [*log, beat(3, A, null=True), claimed(4, A, null=True)])
    assert (claims.holders(), claims.silent()) == ([], [])


def test_a_compacted_log_says_the_same() -> None:
    """Of each key the broker keeps the newest record only: a claim renewed under its key would seem to be the later one."""
    log = [claimed(0, A), beat(1, A), claimed(2, B), beat(3, A), beat(4, B), beat(5, A), beat(6, B)]
    compacted = [claimed(0, A), claimed(2, B), beat(5, A), beat(6, B)]
    for records in (log, compacted):
        assert (seen_by(A, records).holders(), seen_by(B, records).holders()) == ([], [A])


def test_a_launcher_that_is_heard_of_without_a_claim_was_there_before() -> None:
    """The topic was created anew under it: its roles run, and its claim is gone."""
    assert seen_by(B, [claimed(0, B), beat(1, B), beat(2, A)]).holders() == [A]
    assert seen_by(A, [claimed(0, B), claimed(1, A), beat(2, A), beat(3, B)]).holders() == [B]


def test_a_launcher_whose_claim_was_removed_while_it_was_cut_off_still_counts_for_who_comes_later() -> None:
    """It was taken for dead, and is heard of again."""
    log = [claimed(0, A), claimed(1, B), beat(2, B), claimed(3, A, null=True), claimed(4, C), beat(5, A), beat(6, B)]
    assert set(seen_by(C, log).holders()) == {A, B}


def test_only_names_in_common_matter() -> None:
    """A machine with the embedder, and others with a labeler or a node of their own each, are one deployment."""
    embedder = Claim("host", 1, "a", claimed_names(["embed"], node_id="n1", instance="0"))
    for roles, node_id, instance, blocked in (
        (["control"], "n1", "0", False),
        (["control", "embed"], "n2", "1", True),
        (["embed"], "n1", "9", True),
    ):
        other = Claim("host", 2, "b", claimed_names(roles, node_id=node_id, instance=instance))
        log = [claimed(0, embedder), claimed(1, other), beat(2, embedder)]
        assert bool(seen_by(other, log).holders()) is blocked, roles


def test_names_are_what_roles_are_told_apart_by() -> None:
    """Two embedders would share the partitions and not the bundles, whatever their instances; labelers and nodes have their own."""
    assert claimed_names(["embed", "control"], node_id="n", instance="7") == {"embedder", "controller"}
    assert claimed_names(["label", "serve"], node_id="n", instance="7") == {"labeler:7", "node:n"}
    assert claimed_names(["train", "console"], node_id="n", instance="7") == frozenset()


def test_nothing_is_said_before_the_own_claim_was_read() -> None:
    """Who is earlier is not known until then."""
    claims = seen_by(B, [claimed(0, A), beat(1, A)])
    assert (claims.written, claims.holders(), claims.silent()) == (False, [], [])
    claims.take([claimed(2, B), claimed(2, B)])
    assert claims.written


@pytest.mark.parametrize(
    "key", ["claim:", "claim:host:1:a", "claim:host:x:a:embedder", "launcher:host:1::embedder", "claim:host:1:a:"]
)
def test_a_key_that_names_no_claim_is_passed_over(key: str) -> None:
    """Another release's, or a producer's that should not be here."""
    claims = seen_by(B, [wrote(0, key), InboundRecord("node-status", 0, 1, 1, None, b""), claimed(2, B), wrote(3, key)])
    assert (claims.written, claims.holders(), claims.silent()) == (True, [], [])


def test_a_claim_is_read_from_its_key_as_it_was_written() -> None:
    """Its launcher and its names are nowhere else."""
    claim = Claim("big.box", 4711, "f00d", ALL)
    assert Claim.of(claim.claim_key.removeprefix("claim:")) == Claim.of(claim.heartbeat_key.removeprefix("launcher:")) == claim


def test_claims_count_as_no_role() -> None:
    """Releases without claims read them as heartbeats: one taken for a node would hold up every rollout."""
    statuses = [NodeStatus(key, 1, ready=True) for key in (A.claim_key, A.heartbeat_key)]
    assert live_embedders(statuses, 1, 10) == {}
    assert not any(status.instance.startswith(("node:", "embedder:", "controller:")) for status in statuses)
