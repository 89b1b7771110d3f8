"""What a member finds of its partitions, and in which order it looks: in the wrong one a delete is lost, or a record."""

from collections.abc import Iterable, Mapping

import pytest
from confluent_kafka import Consumer

from schemas.positions import Place
from schemas.wire.admin import make_admin
from schemas.wire.client import make_consumer
from schemas.wire.inbound import InboundRecord
from streams.runner import takeover
from streams.runner.takeover import Surveyor, Takeover
from tests.fake_tail import FakeTail

BOOTSTRAP = "127.0.0.1:9"
IDS = {"tweets": "of-tweets", "engagements": "of-engagements"}
CHANGES = [("a", b"1"), ("b", b"2"), ("a", b"3"), ("b", None)]


class Changelog(FakeTail):
    """One partition of four changes, in two batches; whoever opens it is noted."""

    def __init__(self, asked: list[str]) -> None:
        records = [InboundRecord("candidates", 0, offset, 0, key.encode(), value) for offset, (key, value) in enumerate(CHANGES)]
        super().__init__([records[:3], records[3:]])
        asked.append("state")
        self._left = 2

    def poll(self, *wanted: object) -> list[InboundRecord]:
        """Return the next two."""
        self._left -= 1
        return super().poll(*wanted)

    def at_end(self) -> bool:
        """Say whether all were read."""
        return self._left == 0


def found_by_asking(
    patch: pytest.MonkeyPatch,
    committed: Mapping[Place, int | None],
    gone: set[Place],
    ends: Mapping[Place, int],
    known: Iterable[int],
) -> tuple[Takeover, list[str]]:
    """Return what a broker that says this has of `committed`'s places, and what was asked of it in turn."""
    asked: list[str] = []

    def ids(*_: object, **__: object) -> dict[str, str]:
        asked.append("ids")
        return IDS

    def offsets(*_: object, **__: object) -> tuple[dict[Place, int | None], set[Place]]:
        asked.append("offsets")
        return dict(committed), set(gone)

    def log_ends(*_: object, **__: object) -> dict[Place, int]:
        asked.append("ends")
        return dict(ends)

    patch.setattr(takeover, "awaited_ids", ids)
    patch.setattr(takeover, "committed_of", offsets)
    patch.setattr(takeover, "log_ends", log_ends)
    patch.setattr(takeover, "TailReader", lambda *_, **__: Changelog(asked))
    surveyor = Surveyor(BOOTSTRAP, make_admin(BOOTSTRAP), tuple(IDS), "candidates", crash_point=asked.append, timeout_s=1.0)
    found = surveyor.find(a_consumer(), list(committed), known=set(known), should_stop=lambda: False)
    return found, asked


def a_consumer() -> Consumer:
    """Return one that nobody answers."""
    return make_consumer(BOOTSTRAP, "g")


def test_ids_are_asked_before_offsets_and_ends_after_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic deleted in between must be taken for its own; whoever had the partitions goes on until its state was read."""
    committed = {("tweets", 0): 7, ("engagements", 0): 9}
    found, asked = found_by_asking(monkeypatch, committed, set(), {("tweets", 0): 8, ("engagements", 0): 9}, known=())
    assert asked == ["ids", "offsets", "state", "mid-restore", "mid-restore", "ends"]
    assert found.ids == IDS
    assert found.starts == committed
    assert found.ends == {("tweets", 0): 8, ("engagements", 0): 9}
    assert list(found.stores[0].scan()) == [("a", b"3")], "the last value of each key that was not deleted"
    assert found.stores[0].take_changes() == [], "what was restored is in the log already"


@pytest.mark.parametrize(
    ("committed", "gone"),
    [
        pytest.param(7, {("tweets", 0)}, id="its id tells"),
        pytest.param(None, {("tweets", 0)}, id="the offset was forgotten with it, and what lies beside it tells"),
        pytest.param(70, set(), id="more was read than there is"),
    ],
)
def test_of_a_topic_created_anew_nothing_was_read(monkeypatch: pytest.MonkeyPatch, committed: int | None, gone: set[Place]) -> None:
    """It is read from its beginning, and the state's word on what was read of it must not count: its end is 0 to the processor."""
    ends = {("tweets", 0): 20, ("engagements", 0): 9}
    found, _ = found_by_asking(monkeypatch, {("tweets", 0): committed, ("engagements", 0): 9}, gone, ends, known=())
    assert found.starts == {("tweets", 0): None, ("engagements", 0): 9}
    assert found.ends == {("tweets", 0): 0, ("engagements", 0): 9}


def test_the_state_of_a_partition_that_a_member_has_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ahead of its changelog by what was not written yet."""
    found, asked = found_by_asking(
        monkeypatch, {("tweets", 0): 7, ("engagements", 0): 9}, set(), {("tweets", 0): 8, ("engagements", 0): 9}, [0]
    )
    assert found.stores == {}
    assert "state" not in asked
