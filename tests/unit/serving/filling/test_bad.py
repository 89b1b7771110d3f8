"""Which bad embeddings a node still answers for: its alarms, and the offset up to which everything is in force, follow from it."""

from schemas.wire.inbound import InboundRecord
from serving.filling.bad import BadRecords
from serving.filling.embeddings import BadEmbedding

POSITION = {0: 10, 1: 10}


def record(offset: int, key: bytes | None, *, partition: int = 0) -> InboundRecord:
    """Return a record; what is in it was judged before."""
    return InboundRecord("embeddings.x", partition, offset, 1_000 * offset, key, b"")


def bad(one: InboundRecord) -> BadEmbedding:
    """Return a record as a bad one."""
    return BadEmbedding(one.key, one.partition, one.offset, one.timestamp_ms, "vector of NaN")


def noted(*batches: tuple[InboundRecord, bool]) -> BadRecords:
    """Return what is known after records that each came in a batch of its own, with whether it was good."""
    known = BadRecords()
    for one, good in batches:
        known.note([one], [] if good else [bad(one)])
    return known


def test_a_bad_record_stands_until_a_good_one_of_the_candidate_comes() -> None:
    """An embedder that was mended embeds the candidate again: the alarm is over by itself."""
    worse, better = record(3, b"t:1"), record(7, b"t:1")
    standing = noted((worse, False))
    assert (len(standing), standing.first, standing.hold_back(POSITION)) == (1, bad(worse), {0: 3, 1: 10})
    settled = noted((worse, False), (better, True))
    assert (len(settled), settled.first, settled.hold_back(POSITION)) == (0, None, POSITION)
    assert len(noted((better, True), (record(4, b"t:2"), False))) == 1, "another candidate's settles nothing"


def test_within_a_batch_the_later_record_of_a_candidate_counts() -> None:
    """A replay brings both in one batch; by the log the matter is settled, or it is not."""
    first, second = record(3, b"t:1"), record(4, b"t:1")
    known = BadRecords()
    known.note([first, second], [bad(first)])
    assert len(known) == 0
    known.note([first, second], [bad(second)])
    assert known.hold_back(POSITION) == {0: 4, 1: 10}


def test_a_bad_record_without_a_key_stands_until_it_leaves_the_window() -> None:
    """Nobody knows whose it was, so no later record can settle it."""
    nameless, later = record(5, None, partition=1), record(6, b"t:1", partition=1)
    known = noted((nameless, False), (later, True))
    assert known.hold_back({0: 10}) == {0: 10, 1: 5}
    known.expire(nameless.timestamp_ms)
    assert len(known) == 1
    known.expire(nameless.timestamp_ms + 1)
    assert (len(known), known.hold_back(POSITION)) == (0, POSITION)
