"""Deletes of one epoch in all: an index that joins takes those that are known in parts, and what happens in between holds."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.ids import Version
from serving.filling.masks import Delete, Masks, Null

KNOWN = 3_000


class Member:
    """Keeps what it is told to hide, and how much at once."""

    id_prefix = "t:"

    def __init__(self) -> None:
        self.hidden: dict[str, int] = {}
        self.parts: list[int] = []

    def mask(self, candidate_ids: Sequence[str], versions: NDArray[np.int64]) -> None:
        """See `Maskable.mask`."""
        self.parts.append(len(candidate_ids))
        self.hidden.update(zip(candidate_ids, versions[:, 0].tolist(), strict=True))

    def forget_deletes(self, candidate_ids: Sequence[str]) -> None:
        """See `Maskable.forget_deletes`."""
        for candidate_id in candidate_ids:
            self.hidden.pop(candidate_id, None)


def delete(number: int, *, version: int = 1) -> Delete:
    """Return a delete of a candidate."""
    return Delete(f"t:{number}", Version(version, 0), 10)


def test_an_index_that_joins_holds_nobody_up_and_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle begins to fill: rows of those that answer waited until it had taken in every delete of the window."""
    masks = Masks()
    masks.add([delete(number) for number in range(KNOWN)])
    member = Member()

    def others_meanwhile(_: float) -> None:
        # a delete that is new, a later one of a candidate whose part is still to come, and the end of another
        masks.add([delete(KNOWN), delete(KNOWN - 1, version=2)])
        masks.end([Null(f"t:{KNOWN - 2}", 20)])

    monkeypatch.setattr("serving.filling.masks.time.sleep", others_meanwhile)
    masks.join(member)
    assert max(member.parts) < KNOWN / 2
    assert member.hidden == {f"t:{number}": 1 for number in range(KNOWN + 1) if number != KNOWN - 2} | {f"t:{KNOWN - 1}": 2}


def test_a_delete_that_every_epoch_s_topic_tells_is_put_in_force_once() -> None:
    """Three bundles stream during a rollout: each delete was put in force nine times, while queries waited."""
    masks, member = Masks(), Member()
    masks.join(member)
    for appended_ms in (10, 11, 12):
        masks.add([Delete("t:1", Version(1, 0), appended_ms)])
    assert member.parts == [1]
    assert masks.appended_ms(["t:1"]) == {"t:1": 12}, "remembered as long as the last of them asks for"
    masks.add([delete(1, version=2), delete(2)])
    assert member.parts == [1, 2]
    assert member.hidden == {"t:1": 2, "t:2": 1}
