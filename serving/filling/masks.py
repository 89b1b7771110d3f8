"""Deletes in force in every epoch of the node at once, whichever epoch's topic brought them. Searches nothing itself."""

import threading
import time
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.ids import Version

# a pass over all that are remembered: with a million of them some tenths of a second
PRUNE_EVERY_MS = 60_000
# an index that joins takes the deletes that are known in such parts, with a rest between two: rows and deletes of the others, and
# answers, wait for one at most
_PART = 1_024
_REST_S = 0.001


class Delete(NamedTuple):
    """A candidate deleted up to a version; `appended_ms` is when the broker appended the delete."""

    candidate_id: str
    version: Version
    appended_ms: int


class Null(NamedTuple):
    """The embedder's clean-up of a candidate, long after its delete or expiry."""

    candidate_id: str
    appended_ms: int


class Maskable(Protocol):
    """Something that can hide candidates up to a version."""

    @property
    def id_prefix(self) -> str:
        """How the id of every candidate in it begins; it hears of no others."""
        ...

    def mask(self, candidate_ids: Sequence[str], versions: NDArray[np.int64]) -> None:
        """Hide each id up to and including its version [n, 2]; a higher version is not hidden."""
        ...

    def forget_deletes(self, candidate_ids: Sequence[str]) -> None:
        """Remember no delete of these ids any more: any version of one may come anew."""
        ...


class Masks:
    """The node's deletes. An index that joins later gets all that are known, before its first record.

    One is remembered until the null that the embedder writes once no older record of its candidate can come any more; where the
    null does not come, until `prune`.
    """

    def __init__(self) -> None:
        self._deleted: dict[str, Delete] = {}
        self._members: list[Maskable] = []
        self._pruned_to_ms = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._deleted)

    def join(self, member: Maskable) -> None:
        """Put every known delete in force in `member`, and each later one as it comes, also while this goes on."""
        with self._lock:
            self._members.append(member)
            known = list(self._deleted)
        for begin in range(0, len(known), _PART):
            with self._lock:
                # as it stands now: one that was forgotten meanwhile must not come back
                _mask(member, [self._deleted[i] for i in known[begin : begin + _PART] if i in self._deleted])
            time.sleep(_REST_S)

    def leave(self, member: Maskable) -> None:
        """Forget a member that joined; forgetting one that did not changes nothing."""
        with self._lock:
            self._members = [other for other in self._members if other is not member]

    def add(self, deleted: Sequence[Delete]) -> None:
        """Put deletes in force in all members; on return none of them answers with one."""
        if not deleted:
            return
        with self._lock:
            news = []
            for delete in deleted:
                known = self._deleted.get(delete.candidate_id)
                # the other epochs' topics say the same again, and it is in force
                if known is None or known.version < delete.version:
                    news.append(delete)
                known = known or delete
                self._deleted[delete.candidate_id] = Delete(
                    delete.candidate_id, max(delete.version, known.version), max(delete.appended_ms, known.appended_ms)
                )
            for member in self._members:
                _mask(member, news)

    def ids(self) -> set[str]:
        """Return the ids deleted at some version; a higher version of one may be live."""
        with self._lock:
            return set(self._deleted)

    def appended_ms(self, candidate_ids: Iterable[str]) -> dict[str, int]:
        """Return when the delete of each was appended; of those that are not deleted nothing."""
        with self._lock:
            return {i: self._deleted[i].appended_ms for i in candidate_ids if i in self._deleted}

    def deleted_at(self, candidate_id: str) -> Version | None:
        """Return the version up to which a candidate is deleted, or None."""
        delete = self._deleted.get(candidate_id)
        return None if delete is None else delete.version

    def end(self, nulls: Sequence[Null]) -> None:
        """Forget the deletes that a null came after. One appended later stands: a replay brings old nulls again."""
        with self._lock:
            self._forget([null.candidate_id for null in nulls if not self._stands(null.candidate_id, after_ms=null.appended_ms)])

    def _stands(self, candidate_id: str, *, after_ms: int) -> bool:
        delete = self._deleted.get(candidate_id)
        return delete is not None and delete.appended_ms > after_ms

    def prune(self, appended_before_ms: int) -> None:
        """Forget what was appended before: no older record of such a candidate can come any more. Looks once a minute."""
        if appended_before_ms < self._pruned_to_ms + PRUNE_EVERY_MS:
            return
        with self._lock:
            self._forget([delete.candidate_id for delete in self._deleted.values() if delete.appended_ms < appended_before_ms])
            self._pruned_to_ms = appended_before_ms

    def _forget(self, candidate_ids: Collection[str]) -> None:
        for member in self._members:
            if concerned := [i for i in candidate_ids if i.startswith(member.id_prefix)]:
                member.forget_deletes(concerned)
        for candidate_id in candidate_ids:
            self._deleted.pop(candidate_id, None)


def _mask(member: Maskable, deleted: Iterable[Delete]) -> None:
    concerned = [delete for delete in deleted if delete.candidate_id.startswith(member.id_prefix)]
    if concerned:
        member.mask([delete.candidate_id for delete in concerned], np.array([delete.version for delete in concerned], np.int64))
