"""The reference index: a dict and a full scan. Obviously right, used as the fake in tests; not for large corpora."""

import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

import numpy as np

from serving.index.checks import checked_versions, unit_query, unit_vectors
from serving.index.errors import IndexClosed
from serving.index.ledger import NEVER_EXPIRED
from serving.index.protocol import (
    EVERYTHING,
    FIRST,
    Audited,
    Candidate,
    Census,
    Filter,
    FloatArray,
    Hits,
    IndexContents,
    IndexStats,
    IntArray,
    Rows,
    Tier,
    Version,
)
from serving.index.refill import take_over


class ExactIndex:
    """`CandidateIndex` over a dict of rows; each search scores every live row."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._live: dict[str, Candidate] = {}
        self._deleted: dict[str, Version] = {}
        self._expired_before_ms = NEVER_EXPIRED
        self._closed = False
        self._lock = threading.Lock()

    @property
    def dim(self) -> int:
        """The dimension of every vector."""
        return self._dim

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, candidate_id: str) -> bool:
        """See `CandidateIndex.__contains__`."""
        self._refuse_if_closed()
        return candidate_id in self._live

    def upsert(self, rows: Rows) -> int:
        """See `CandidateIndex.upsert`; row by row, in order."""
        self._refuse_if_closed()
        units = unit_vectors(rows, self._dim)
        winners: set[str] = set()
        with self._lock:
            for i, candidate_id in enumerate(rows.candidate_ids):
                version = (int(rows.versions[i][0]), int(rows.versions[i][1]))
                created_ms = int(rows.created_ms[i])
                held = self._live.get(candidate_id)
                deleted_at = self._deleted.get(candidate_id)
                if held is not None and held.version > version:
                    continue
                if deleted_at is not None and deleted_at >= version:
                    continue
                if min(created_ms, version[0]) < self._expired_before_ms:
                    continue
                self._deleted.pop(candidate_id, None)
                self._live[candidate_id] = Candidate(
                    candidate_id,
                    units[i],
                    version,
                    created_ms,
                    rows.languages[i],
                    rows.author_ids[i],
                    rows.payloads[i],
                )
                winners.add(candidate_id)
        return len(winners)

    def delete(self, candidate_ids: Sequence[str], versions: IntArray) -> int:
        """See `CandidateIndex.delete`."""
        self._refuse_if_closed()
        checked = checked_versions(versions, len(candidate_ids))
        removed = 0
        with self._lock:
            for i, candidate_id in enumerate(candidate_ids):
                version = (int(checked[i, 0]), int(checked[i, 1]))
                held = self._live.get(candidate_id)
                if held is not None:
                    if held.version > version:
                        continue
                    del self._live[candidate_id]
                    removed += 1
                if version[0] >= self._expired_before_ms:
                    self._deleted[candidate_id] = max(version, self._deleted.get(candidate_id, version))
        return removed

    def forget_deletes(self, candidate_ids: Sequence[str]) -> None:
        """See `CandidateIndex.forget_deletes`."""
        self._refuse_if_closed()
        with self._lock:
            for candidate_id in candidate_ids:
                self._deleted.pop(candidate_id, None)

    def expire(self, created_before_ms: int) -> list[str]:
        """See `CandidateIndex.expire`."""
        self._refuse_if_closed()
        with self._lock:
            self._expired_before_ms = max(self._expired_before_ms, created_before_ms)
            gone = [i for i, row in self._live.items() if row.created_ms < self._expired_before_ms]
            for candidate_id in gone:
                del self._live[candidate_id]
            self._deleted = {i: v for i, v in self._deleted.items() if v[0] >= self._expired_before_ms}
        return gone

    def search(self, query: FloatArray, k: int, where: Filter = EVERYTHING) -> Hits:
        """See `CandidateIndex.search`; here exact."""
        self._refuse_if_closed()
        unit = unit_query(query, self._dim, k, where)
        with self._lock:
            matching = [row for row in self._live.values() if _matches(row, where)]
        scored = sorted(((float(row.vector @ unit), row) for row in matching), key=lambda pair: -pair[0])
        taken: list[tuple[float, Candidate]] = []
        of_author: dict[str, int] = {}
        for score, row in scored:
            if len(taken) == k:
                break
            count = of_author.get(row.author_id, 0)
            if where.per_author_cap is not None and count >= where.per_author_cap:
                continue
            of_author[row.author_id] = count + 1
            taken.append((score, row))
        scores = np.array([score for score, _ in taken], dtype=np.float32)
        return Hits(scores, np.arange(len(taken)), _Taken([row for _, row in taken]))

    def search_exact(self, query: FloatArray, k: int, where: Filter = EVERYTHING) -> Hits:
        """The same as `search`."""
        return self.search(query, k, where)

    def audit(self, query: FloatArray, k: int, where: Filter = EVERYTHING) -> Audited:
        """See `CandidateIndex.audit`; everything is found."""
        hits = self.search(query, k, where)
        found = np.ones(len(hits), np.bool_)
        return Audited(hits, found, found[:FIRST], ["exact"] * len(hits))

    def distrust(self, tier: Tier) -> None:
        """See `CandidateIndex.distrust`; there are no tiers."""

    def get(self, candidate_id: str) -> Candidate | None:
        """The live row of this id."""
        self._refuse_if_closed()
        return self._live.get(candidate_id)

    def contents(self) -> IndexContents:
        """See `CandidateIndex.contents`."""
        self._refuse_if_closed()
        with self._lock:
            held = list(self._live.values())
            deleted = dict(self._deleted)
        vectors = np.array([row.vector for row in held], dtype=np.float32).reshape(-1, self._dim)
        rows = Rows(
            candidate_ids=[row.candidate_id for row in held],
            vectors=vectors,
            versions=np.array([row.version for row in held], dtype=np.int64).reshape(-1, 2),
            created_ms=np.array([row.created_ms for row in held], dtype=np.int64),
            languages=[row.language for row in held],
            author_ids=[row.author_id for row in held],
            payloads=[row.payload for row in held],
        )
        return IndexContents(rows, deleted, self._expired_before_ms)

    def restore(self, contents: IndexContents) -> None:
        """See `CandidateIndex.restore`."""
        take_over(self, contents)

    def census(self, created_edges_ms: Sequence[int]) -> Census:
        """See `CandidateIndex.census`."""
        self._refuse_if_closed()
        with self._lock:
            held = list(self._live.values())
        places = Counter(bisect_right(created_edges_ms, row.created_ms) for row in held)
        return Census(len(held), Counter(row.language for row in held), [places[at] for at in range(len(created_edges_ms) + 1)])

    def stats(self) -> IndexStats:
        """Every row counts as fresh: all are scanned exactly."""
        return IndexStats(
            live=len(self._live),
            fresh_rows=len(self._live),
            compressed_rows=0,
            compressed_dead=0,
            graph_rows=0,
            graph_dead=0,
            merge_debt_rows=0,
            arena_rows=len(self._live),
            remembered_deletes=len(self._deleted),
            memory_bytes=len(self._live) * (self._dim * 4 + 64),
            builder_running=False,
            builder_heartbeat_age_s=0.0,
            builder_fault=None,
        )

    def close(self) -> None:
        """Refuse everything from now on."""
        self._closed = True

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise IndexClosed("this index was closed; take the current epoch's index")


def _matches(row: Candidate, where: Filter) -> bool:
    return (
        (where.languages is None or row.language in where.languages)
        and (where.created_from_ms is None or row.created_ms >= where.created_from_ms)
        and row.candidate_id not in where.exclude_ids
        and (where.authors is None or row.author_id in where.authors)
        and row.author_id not in where.exclude_authors
    )


class _Taken:
    """`HitColumns` over rows already picked."""

    def __init__(self, picked: list[Candidate]) -> None:
        self._picked = picked

    def ids_at(self, rows: IntArray) -> list[str]:
        return [self._picked[at].candidate_id for at in rows]

    def versions_at(self, rows: IntArray) -> IntArray:
        return np.array([self._picked[at].version for at in rows], dtype=np.int64).reshape(-1, 2)

    def created_ms_at(self, rows: IntArray) -> IntArray:
        return np.array([self._picked[at].created_ms for at in rows], dtype=np.int64)

    def languages_at(self, rows: IntArray) -> list[str]:
        return [self._picked[at].language for at in rows]

    def authors_at(self, rows: IntArray) -> list[str]:
        return [self._picked[at].author_id for at in rows]

    def payloads_at(self, rows: IntArray) -> list[bytes]:
        return [self._picked[at].payload for at in rows]
