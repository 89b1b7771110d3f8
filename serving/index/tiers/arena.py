"""Every stored row once, in full: append-only columns with the moment each row died. Knows nothing of search.

A row is never overwritten after it is published; it only dies. Readers see the arena as of a sequence number: a row is live for
them when it was appended before their bound and died after their sequence, so one view is one consistent moment.
"""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving.index.protocol import FloatArray, IntArray, Rows

SlotArray = NDArray[np.int64]
"""Positions in an arena. 64-bit: numpy would convert anything narrower at every gather."""
BoolArray = NDArray[np.bool_]
NEVER = np.iinfo(np.int64).max
"""`died` of a live row."""

GRAVE = 0
"""A slot that is dead before the first view: a settled tier points its dead rows at it for ever."""

FIRST_SLOT = GRAVE + 1

GATHERED_ROWS = 2_048
BREATH_S = 0.0005
"""Rest before each part gathered of a whole copy, which nobody waits for: queries want the interpreter."""
COPY_ROWS = 16_384
"""Rows copied at a time, so that a copy never holds the interpreter for long."""
AGE_BLOCK_ROWS = 1_024
"""Slots that share one note of how old the oldest row in them may be."""


class Interned:
    """Small integers for repeated strings. Append-only, one writer; readers may translate any code they were given."""

    def __init__(self, values: Sequence[str] = ()) -> None:
        self._values: list[str] = list(values)
        self._codes: dict[str, int] = {value: code for code, value in enumerate(self._values)}

    def __len__(self) -> int:
        return len(self._values)

    def encode(self, values: Sequence[str]) -> NDArray[np.int32]:
        """Codes of `values`, new ones assigned. Writer only."""
        codes = self._codes
        for value in set(values):
            if value not in codes:
                # the string is stored first: a reader that meets the code can always translate it
                self._values.append(value)
                codes[value] = len(self._values) - 1
        return np.fromiter(map(codes.__getitem__, values), dtype=np.int32, count=len(values))

    def known(self, values: frozenset[str]) -> NDArray[np.int32]:
        """Codes of those `values` that were ever stored, in any order."""
        found = (self._codes.get(value) for value in values)
        return np.array([code for code in found if code is not None], dtype=np.int32)

    def decode(self, codes: NDArray[np.int32]) -> list[str]:
        """The strings behind codes that `encode` gave."""
        values = self._values
        return [values[code] for code in codes.tolist()]


class Arena:
    """`capacity` slots of `dim` float32 and their attribute columns. One writer appends and kills; anyone reads.

    Memory is reserved, not touched, until rows arrive: a generous capacity costs nothing.
    """

    def __init__(self, dim: int, capacity: int) -> None:
        self.dim = dim
        self.capacity = capacity
        self.used = FIRST_SLOT
        self.vectors: FloatArray = np.empty((capacity, dim), dtype=np.float32)
        self.versions: IntArray = np.empty((capacity, 2), dtype=np.int64)
        blocks = -(-capacity // AGE_BLOCK_ROWS)
        self.created_ms: IntArray = np.empty(blocks * AGE_BLOCK_ROWS, dtype=np.int64)
        # a slot that has no row yet counts as dead
        self.died: IntArray = np.zeros(blocks * AGE_BLOCK_ROWS, dtype=np.int64)
        # by block, no live row was created before
        self._oldest_ms: IntArray = np.full(blocks, NEVER, dtype=np.int64)
        self.language: NDArray[np.int32] = np.empty(capacity, dtype=np.int32)
        self.author: NDArray[np.int32] = np.empty(capacity, dtype=np.int32)
        self.ids: NDArray[np.object_] = np.empty(capacity, dtype=object)
        self.payloads: NDArray[np.object_] = np.empty(capacity, dtype=object)
        self.payload_bytes = 0
        self.languages = Interned()
        self.authors = Interned()
        self.vectors[GRAVE] = 0.0
        self.versions[GRAVE] = 0
        self.created_ms[GRAVE] = 0
        self.language[GRAVE] = 0
        self.author[GRAVE] = 0

    def append(self, rows: Rows) -> int:
        """Write the rows after the last one; returns the first slot. The caller publishes them. There must be room."""
        first, end = self.used, self.used + len(rows.candidate_ids)
        self.vectors[first:end] = rows.vectors
        self.versions[first:end] = rows.versions
        self.created_ms[first:end] = rows.created_ms
        self.note_created(first, end)
        self.died[first:end] = NEVER
        self.language[first:end] = self.languages.encode(rows.languages)
        self.author[first:end] = self.authors.encode(rows.author_ids)
        self.ids[first:end] = rows.candidate_ids
        # cell by cell: numpy would strip the trailing zero bytes of a bytes array
        for slot, payload in enumerate(rows.payloads, first):
            self.payloads[slot] = payload
        self.payload_bytes += sum(map(len, rows.payloads))
        self.used = end
        return first

    def kill(self, slots: SlotArray, sequence: int) -> None:
        """End the life of `slots` for every view of `sequence` or later."""
        self.died[slots] = sequence

    def live(self, slots: SlotArray, sequence: int) -> BoolArray:
        """For each slot whether its row is live as of `sequence`."""
        # take gathers rows twice as fast as indexing does
        alive: BoolArray = self.died.take(slots) > sequence
        return alive

    def note_created(self, first: int, end: int) -> None:
        """Note the creation times of the rows that now stand at these slots, for `expired`."""
        for block in range(first // AGE_BLOCK_ROWS, -(-end // AGE_BLOCK_ROWS)):
            rows = slice(max(first, block * AGE_BLOCK_ROWS), min(end, (block + 1) * AGE_BLOCK_ROWS))
            self._oldest_ms[block] = min(self._oldest_ms[block], self.created_ms[rows].min())

    def expired(self, created_before_ms: int, sequence: int) -> SlotArray:
        """Slots of the rows, live as of `sequence`, that were created before; the caller kills them. Writer only.

        Looks only at blocks in which such a row may be: in a window that slides, at the few that it leaves.
        """
        blocks = np.flatnonzero(self._oldest_ms < created_before_ms)
        created_ms = self.created_ms.reshape(-1, AGE_BLOCK_ROWS)[blocks]
        alive = self.died.reshape(-1, AGE_BLOCK_ROWS)[blocks] > sequence
        old = alive & (created_ms < created_before_ms)
        self._oldest_ms[blocks] = np.where(alive & ~old, created_ms, NEVER).min(axis=1)
        at, row = np.nonzero(old)
        slots: SlotArray = blocks[at] * AGE_BLOCK_ROWS + row
        return slots

    def live_slots(self, end: int, sequence: int) -> SlotArray:
        """Slots below `end` that are live as of `sequence`, ascending."""
        slots: SlotArray = np.flatnonzero(self.died[:end] > sequence)
        return slots

    def ids_at(self, rows: SlotArray) -> list[str]:
        """Candidate ids of these slots."""
        ids: list[str] = self.ids.take(rows).tolist()
        return ids

    def versions_at(self, rows: SlotArray) -> IntArray:
        """[n, 2] versions of these slots."""
        return self.versions.take(rows, axis=0)

    def created_ms_at(self, rows: SlotArray) -> IntArray:
        """Creation times of these slots."""
        return self.created_ms.take(rows)

    def languages_at(self, rows: SlotArray) -> list[str]:
        """Languages of these slots."""
        return self.languages.decode(self.language.take(rows))

    def authors_at(self, rows: SlotArray) -> list[str]:
        """Author ids of these slots."""
        return self.authors.decode(self.author.take(rows))

    def payloads_at(self, rows: SlotArray) -> list[bytes]:
        """Payloads of these slots."""
        payloads: list[bytes] = self.payloads.take(rows).tolist()
        return payloads

    @property
    def bytes_held(self) -> int:
        """Touched bytes: columns up to `used`, with 60 bytes an id string and 33 a payload object as an estimate."""
        fixed = self.dim * 4 + 16 + 8 + 8 + 4 + 4 + 8 + 8
        return self.used * (fixed + 60 + 33) + self.payload_bytes + 100 * (len(self.authors) + len(self.languages))


def rows_at(arena: Arena, slots: SlotArray) -> Rows:
    """A copy of the rows at `slots`."""
    return Rows(
        candidate_ids=arena.ids_at(slots),
        vectors=arena.vectors.take(slots, axis=0),
        versions=arena.versions_at(slots),
        created_ms=arena.created_ms_at(slots),
        languages=arena.languages_at(slots),
        author_ids=arena.authors_at(slots),
        payloads=arena.payloads_at(slots),
    )


def rows_in_parts(arena: Arena, slots: SlotArray) -> Rows:
    """The same copy, gathered a part at a time, so that no step holds the interpreter for long however many slots there are."""
    ids: list[str] = []
    languages: list[str] = []
    authors: list[str] = []
    payloads: list[bytes] = []
    for begin in range(0, len(slots), GATHERED_ROWS):
        part = slots[begin : begin + GATHERED_ROWS]
        time.sleep(BREATH_S)
        ids += arena.ids_at(part)
        languages += arena.languages_at(part)
        authors += arena.authors_at(part)
        payloads += arena.payloads_at(part)
    return Rows(
        candidate_ids=ids,
        # numpy gathers numbers without the interpreter
        vectors=arena.vectors.take(slots, axis=0),
        versions=arena.versions_at(slots),
        created_ms=arena.created_ms_at(slots),
        languages=languages,
        author_ids=authors,
        payloads=payloads,
    )


def grown(arena: Arena, capacity: int) -> Arena:
    """The same rows in the same slots with more room. A writer may go on meanwhile; see `bring_over`."""
    larger = Arena(arena.dim, capacity)
    larger.languages, larger.authors = arena.languages, arena.authors
    bring_over(arena, larger, arena.used)
    return larger


def bring_over(source: Arena, target: Arena, end: int) -> None:
    """Copy to a grown arena what it lacks of the rows below slot `end`, and when each of these died."""
    for begin in range(target.used, end, COPY_ROWS):
        rows = slice(begin, min(begin + COPY_ROWS, end))
        target.language[rows] = source.language[rows]
        target.author[rows] = source.author[rows]
        _copy(source, rows, target, rows)
    target.died[:end] = source.died[:end]


def compacted(arena: Arena, keep: SlotArray, capacity: int) -> Arena:
    """The rows of `keep`, in that order, after the grave of a new arena; strings no row uses any more are let go."""
    smaller = Arena(arena.dim, capacity)
    for begin in range(0, len(keep), COPY_ROWS):
        part = keep[begin : begin + COPY_ROWS]
        _copy(arena, part, smaller, slice(smaller.used, smaller.used + len(part)))
    rows = slice(smaller.used - len(keep), smaller.used)
    smaller.died[rows] = NEVER
    smaller.languages, smaller.language[rows] = _renamed(arena.languages, arena.language[keep])
    smaller.authors, smaller.author[rows] = _renamed(arena.authors, arena.author[keep])
    return smaller


def end_after(moved: SlotArray, end: int) -> int:
    """Where the rows below slot `end` end once they are `moved` [slots]: live rows keep their order, dead ones go to the grave."""
    return FIRST_SLOT + int(np.count_nonzero(moved[:end]))


def _renamed(names: Interned, codes: NDArray[np.int32]) -> tuple[Interned, NDArray[np.int32]]:
    used, renumbered = np.unique(codes, return_inverse=True)
    return Interned(names.decode(used)), renumbered.astype(np.int32)


def _copy(source: Arena, rows: SlotArray | slice, target: Arena, into: slice) -> None:
    """Copy rows without their names behind the last of an arena that nobody reads yet."""
    target.vectors[into] = source.vectors[rows]
    target.versions[into] = source.versions[rows]
    target.created_ms[into] = source.created_ms[rows]
    target.note_created(into.start, into.stop)
    target.ids[into] = source.ids[rows]
    target.payloads[into] = source.payloads[rows]
    target.payload_bytes += sum(map(len, target.payloads[into].tolist()))
    target.used = into.stop
