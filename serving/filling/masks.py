"""Deletes in force in every epoch of the node at once, whichever epoch's topic brought them. Searches nothing itself."""

import threading
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.ids import Version

_PRUNE_FROM = 50_000


class Maskable(Protocol):
    """Something that can hide candidates up to a version."""

    def mask(self, candidate_ids: Sequence[str], versions: NDArray[np.int64]) -> None:
        """Hide each id up to and including its version [n, 2]; a higher version is not hidden."""
        ...


class Masks:
    """The node's deletes. An index that joins later gets all that are known, before its first record."""

    def __init__(self) -> None:
        self._deleted: dict[str, Version] = {}
        self._members: list[Maskable] = []
        self._prune_at = _PRUNE_FROM
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._deleted)

    def join(self, member: Maskable) -> None:
        """Put every known delete in force in `member`, and each later one as it comes."""
        with self._lock:
            _mask(member, self._deleted.items())
            self._members.append(member)

    def leave(self, member: Maskable) -> None:
        """Forget a member that joined; forgetting one that did not changes nothing."""
        with self._lock:
            self._members = [other for other in self._members if other is not member]

    def add(self, deleted: Sequence[tuple[str, Version]]) -> None:
        """Put deletes in force in all members; on return none of them answers with one."""
        if not deleted:
            return
        with self._lock:
            for candidate_id, version in deleted:
                self._deleted[candidate_id] = max(version, self._deleted.get(candidate_id, version))
            for member in self._members:
                _mask(member, deleted)

    def ids(self) -> set[str]:
        """Return the ids deleted at some version; a higher version of one may be live."""
        with self._lock:
            return set(self._deleted)

    def deleted_at(self, candidate_id: str) -> Version | None:
        """Return the version up to which a candidate is deleted, or None."""
        return self._deleted.get(candidate_id)

    def prune(self, before_ms: int) -> None:
        """Forget deletes of versions before `before_ms`: no index of the node may still take in a candidate that old."""
        if len(self._deleted) < self._prune_at:
            return
        with self._lock:
            self._deleted = {i: version for i, version in self._deleted.items() if version.event_time_ms >= before_ms}
            self._prune_at = max(_PRUNE_FROM, 2 * len(self._deleted))


def _mask(member: Maskable, deleted: Iterable[tuple[str, Version]]) -> None:
    pairs = list(deleted)
    if pairs:
        member.mask([candidate_id for candidate_id, _ in pairs], np.array([version for _, version in pairs], np.int64))
