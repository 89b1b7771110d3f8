"""One bundle's index as its topic fills it: rows in, deletes to all epochs, expiry, and which ids it holds. Reads no topic."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from schemas.ids import Version
from serving.filling.embeddings import EmbeddingBatch
from serving.filling.masks import Delete, Masks, Null
from serving.index import Candidate, CandidateIndex, IndexContents, Rows

# an id counts for coverage once it has been held this long: the other bundle's record is still on its way before
SETTLED_S = 5.0
_PART = 1_024
# the rest may be on its way; nothing is decided by a coverage as low
_FAR = 0.9


class FilledIndex:
    """An index and its roster of live ids. Writes come from any thread; searches go to `index` directly."""

    def __init__(self, index: CandidateIndex, masks: Masks, *, id_prefix: str) -> None:
        """Join the node's masks.

        Args:
            id_prefix: how the ids of the index's surface begin.
        """
        self.index = index
        self.id_prefix = id_prefix
        self._masks = masks
        self._held: set[str] = set()
        self._arrivals: deque[tuple[float, str]] = deque()
        self._lock = threading.Lock()
        self.newest_append_ms: int | None = None
        masks.join(self)

    def __len__(self) -> int:
        return len(self.index)

    def apply(self, batch: EmbeddingBatch) -> list[int]:
        """Put a batch in force: its rows here, its deletes in every epoch. Harmless when it comes again.

        Returns the positions of the rows whose candidates the index had not held.
        """
        new: list[int] = []
        if batch.forgotten:
            self._forget(batch.forgotten)
        if len(batch.rows):
            new = self._upsert(batch.rows)
            newest = int(batch.append_time_ms.max())
            self.newest_append_ms = max(newest, self.newest_append_ms or newest)
        self._masks.add(batch.deleted)
        return new

    def _upsert(self, rows: Rows) -> list[int]:
        now_s = time.monotonic()
        new: list[int] = []
        with self._lock:
            self.index.upsert(rows)
            self._settle()
            for position, candidate_id in enumerate(rows.candidate_ids):
                # asked after: the index ignores what is deleted, forgotten or expired
                if candidate_id not in self._held and candidate_id in self.index:
                    self._arrivals.append((now_s, candidate_id))
                    self._held.add(candidate_id)
                    new.append(position)
        return new

    def contents(self) -> tuple[IndexContents, dict[str, int]]:
        """Return all that is live here, every delete that is remembered, and when each of these was appended, by id.

        See `CandidateIndex.contents`.
        """
        held = self.index.contents()
        deleted_ms = self._masks.appended_ms(held.deleted)
        # one that was forgotten meanwhile is forgotten
        return replace(held, deleted={i: version for i, version in held.deleted.items() if i in deleted_ms}), deleted_ms

    def restore(self, contents: IndexContents, deleted_ms: Mapping[str, int], newest_append_ms: int | None) -> None:
        """Take over what `contents` gave; what was deleted in it is deleted in every epoch of the node.

        Deletes that the node knows already hold against it: they may have come after it was taken.
        """
        columns = contents.rows
        # before the lock: whoever adds a mask holds theirs and waits for this one; such a mask is put in force after it
        masked = self._masks.ids()
        with self._lock:
            self.index.restore(contents)
            self._held.update(columns.candidate_ids)
            # asked only of what is masked: a node that starts has few masks and many candidates
            for candidate_id in masked.intersection(columns.candidate_ids):
                if candidate_id not in self.index:
                    self._held.discard(candidate_id)
            # what left the recency window since was refused: only then is it asked of all
            if len(self._held) > len(self.index):
                self._held = {candidate_id for candidate_id in self._held if candidate_id in self.index}
            self.newest_append_ms = newest_append_ms
        self._masks.add([Delete(i, Version(*version), deleted_ms[i]) for i, version in contents.deleted.items()])

    def mask(self, candidate_ids: Sequence[str], versions: NDArray[np.int64]) -> None:
        """See `Maskable.mask`."""
        with self._lock:
            self.index.delete(candidate_ids, versions)
            for candidate_id in candidate_ids:
                if candidate_id in self._held and candidate_id not in self.index:
                    self._held.remove(candidate_id)

    def forget_deletes(self, candidate_ids: Sequence[str]) -> None:
        """See `Maskable.forget_deletes`."""
        self.index.forget_deletes(candidate_ids)

    def _forget(self, nulls: Sequence[Null]) -> None:
        with self._lock:
            for candidate_id, _ in nulls:
                held = self.index.get(candidate_id)
                if held is not None:
                    self.index.delete([candidate_id], np.array([held.version], np.int64))
                self._held.discard(candidate_id)
        self._masks.end(nulls)

    def insert_again(self, candidate_ids: Sequence[str]) -> None:
        """Write anew the rows held of these, for those that searches miss."""
        with self._lock:
            # read under the lock: a refresh keeps its version, and one of before it would replace it
            held = [found for candidate_id in candidate_ids if (found := self.index.get(candidate_id)) is not None]
            if held:
                self.index.upsert(_rows(held))

    def expire(self, created_before_ms: int) -> int:
        """Drop what was created before; returns how many rows went."""
        with self._lock:
            gone = self.index.expire(created_before_ms)
            self._held.difference_update(gone)
        return len(gone)

    def ids(self) -> set[str]:
        """Return the ids held."""
        with self._lock:
            return set(self._held)

    def newest_ids(self, count: int) -> list[str]:
        """Return up to so many of the ids that came last."""
        with self._lock:
            return [candidate_id for _, candidate_id in islice(reversed(self._arrivals), count)]

    def settled(self) -> int:
        """Return about how many ids are held for longer than `SETTLED_S`."""
        with self._lock:
            self._settle()
            return max(0, len(self._held) - len(self._arrivals))

    def settled_ids(self) -> Iterator[list[str]]:
        """Yield the ids held for longer than `SETTLED_S`, a part at a time, so that queries get the interpreter in between."""
        with self._lock:
            self._settle()
            ids = list(self._held)
            arrived = {candidate_id for _, candidate_id in self._arrivals}
        for begin in range(0, len(ids), _PART):
            yield [candidate_id for candidate_id in ids[begin : begin + _PART] if candidate_id not in arrived]

    def lacks(self, candidate_ids: Sequence[str]) -> int:
        """Return how many of these ids are not held."""
        return len(candidate_ids) - sum(map(self._held.__contains__, candidate_ids))

    def _settle(self) -> None:
        settled_before_s = time.monotonic() - SETTLED_S
        while self._arrivals and self._arrivals[0][0] < settled_before_s:
            self._arrivals.popleft()

    def close(self) -> None:
        """Leave the node's masks and give the memory back."""
        self._masks.leave(self)
        self.index.close()
        with self._lock:
            self._held = set()
            self._arrivals.clear()


def _rows(candidates: list[Candidate]) -> Rows:
    return Rows(
        candidate_ids=[candidate.candidate_id for candidate in candidates],
        vectors=np.stack([candidate.vector for candidate in candidates]),
        versions=np.array([candidate.version for candidate in candidates], np.int64),
        created_ms=np.array([candidate.created_ms for candidate in candidates], np.int64),
        languages=[candidate.language for candidate in candidates],
        author_ids=[candidate.author_id for candidate in candidates],
        payloads=[candidate.payload for candidate in candidates],
    )


def coverage(live: FilledIndex, other: FilledIndex) -> float:
    """Return the share of the live index's settled ids that `other` holds; 1 when there is none.

    Of one that is still far from it, the share that it can hold at most: to look for each id costs queries the interpreter.
    """
    settled = live.settled()
    if len(other) < _FAR * settled:
        return len(other) / settled
    wanted = lacking = 0
    for part in live.settled_ids():
        wanted += len(part)
        lacking += other.lacks(part)
    return 1.0 - lacking / wanted if wanted else 1.0
