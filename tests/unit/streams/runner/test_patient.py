"""With more to do than can be done, what is published goes first, and everything comes in its order in the end."""

from schemas.wire.inbound import InboundRecord
from streams.runner.patient import PatientRecords


def records(topic: str, *offsets: int, partition: int = 0) -> list[InboundRecord]:
    """Records of a topic at these offsets."""
    return [InboundRecord(topic, partition, offset, 0, b"", b"") for offset in offsets]


def test_nothing_waits_while_little_comes() -> None:
    """Traffic that is kept up with is handed on whole, as it came but for what may wait."""
    patient = PatientRecords(["engagements"])
    tweets, engagements = records("tweets", 0, 1), records("engagements", *range(300))
    assert patient.sift([*engagements[:7], *tweets, *engagements[7:]]) == [*tweets, *engagements]
    assert len(patient) == 0


def test_a_backlog_of_engagements_holds_up_no_tweet() -> None:
    """Each was folded where it lay in the batch: behind a second's engagements a tweet was retrievable a second late."""
    patient = PatientRecords(["engagements"])
    backlog = records("engagements", *range(3_000))
    handed_out = patient.sift(backlog)
    assert handed_out == backlog[: len(handed_out)]
    assert len(handed_out) < 500
    rounds = 0
    while patient:
        tweet = records("tweets", rounds)
        first, *rest = patient.sift(tweet)
        assert [first] == tweet
        handed_out += rest
        rounds += 1
    assert handed_out == backlog


def test_no_more_is_taken_from_the_client_than_can_be_held() -> None:
    """A start after a day's outage finds a day's engagements."""
    patient = PatientRecords(["engagements"])
    full = []
    for batch in range(20):
        full.append(patient.full)
        patient.sift([] if patient.full else records("engagements", *range(2_000 * batch, 2_000 * (batch + 1))))
    assert full[:10] == [False] * 10
    assert any(full)
    assert 18_000 < len(patient) < 23_000


def test_what_another_member_owns_is_not_handed_out() -> None:
    """It would be folded into a state that is gone, and its offset committed for the new owner."""
    patient = PatientRecords(["engagements"])
    mine = records("engagements", *range(1_000), partition=1)
    lost = records("engagements", *range(1_000), partition=0)
    patient.sift([record for pair in zip(mine, lost, strict=True) for record in pair])
    patient.forget([0])
    left = []
    while patient:
        left += patient.sift([])
    assert {record.partition for record in left} == {1}
    assert [record.offset for record in left] == list(range(1_000 - len(left), 1_000))
