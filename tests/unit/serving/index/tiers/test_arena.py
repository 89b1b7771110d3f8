"""Rows past their time: found in whichever block they stand, by an arena that looks only where one may be."""

import numpy as np
import pytest

from serving.index.tiers.arena import AGE_BLOCK_ROWS, FIRST_SLOT, NEVER, Arena, SlotArray, compacted, grown
from tests.numbered_rows import numbered_rows

DIM = 4
ROWS = 3 * AGE_BLOCK_ROWS + 17


def filled(capacity: int = ROWS + FIRST_SLOT) -> Arena:
    """Rows created at random moments, in random order: each block has old ones and new ones."""
    arena = Arena(DIM, capacity)
    created_ms = np.random.default_rng(1).permutation(ROWS)
    rows = numbered_rows(np.ones((ROWS, DIM), np.float32), 0)
    rows.created_ms[:] = created_ms
    arena.append(rows)
    return arena


def old_of(arena: Arena, before_ms: int) -> list[int]:
    """The live slots created before, by looking at each."""
    return [slot for slot in range(FIRST_SLOT, arena.used) if arena.died[slot] == NEVER and arena.created_ms[slot] < before_ms]


def expire(arena: Arena, before_ms: int, sequence: int) -> SlotArray:
    """As an index does."""
    slots = arena.expired(before_ms, sequence)
    arena.kill(slots, sequence + 1)
    return slots


@pytest.mark.parametrize("step", [1, 200, 700])
def test_each_row_expires_once_and_when_it_is_due(step: int) -> None:
    """A row that is passed over here is served for ever; deletes and expiries come by turns."""
    arena, sequence = filled(), 1
    for before_ms in range(0, 5 * step, step):
        arena.kill(np.flatnonzero(arena.created_ms[: arena.used] == before_ms + 1), sequence)
        due = old_of(arena, before_ms)
        assert expire(arena, before_ms, sequence).tolist() == due
        sequence += 1
    due = old_of(arena, ROWS)
    assert due
    assert expire(arena, ROWS, sequence).tolist() == due
    assert expire(arena, ROWS, sequence + 1).tolist() == []


def test_rows_that_were_brought_to_another_arena_expire_there() -> None:
    """An arena that grows, or is rewritten without its dead rows, is another one."""
    arena = filled()
    expire(arena, 1_000, 1)
    larger = grown(arena, 2 * arena.capacity)
    assert larger.expired(2_000, 2).tolist() == old_of(larger, 2_000)
    smaller = compacted(arena, arena.live_slots(arena.used, 2), arena.capacity)
    assert smaller.expired(2_000, 2).tolist() == old_of(smaller, 2_000)
    assert len(old_of(smaller, 2_000)) == 1_000


def test_what_has_nothing_old_is_not_looked_at() -> None:
    """A node asks every second, of a million rows: a pass over all of them held its queries up."""
    arena = Arena(DIM, ROWS + FIRST_SLOT)
    arena.append(numbered_rows(np.ones((ROWS, DIM), np.float32), 0))
    # behind its back
    arena.created_ms[arena.used - 1] = 0
    assert arena.expired(AGE_BLOCK_ROWS, 1).tolist() == list(range(FIRST_SLOT, AGE_BLOCK_ROWS + FIRST_SLOT))
