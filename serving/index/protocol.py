"""What a candidate index is: its rows, filters, hits, and the operations. Holds no implementation.

Two implementations pass one suite: `LiveIndex` (tiers, background builder) and `ExactIndex` (a dict, the reference).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
Version = tuple[int, int]
"""(event time in ms, producer sequence): the higher one wins; on a tie a delete beats an update."""
FIRST = 10
"""So many of an answer's hits are audited by themselves: what a ranker takes first."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A columnar batch of candidates, all embedded by one bundle. Every column has the same length n.

    `vectors` is [n, dim] float32 and need not be normalised: the index stores directions and scores are cosines.
    `versions` is [n, 2] int64 of (event time ms, sequence), `created_ms` [n] int64. `payloads` are opaque bytes given back with a
    hit. If an id occurs twice in one batch its highest version counts, the later row on a tie.
    """

    candidate_ids: Sequence[str]
    vectors: FloatArray
    versions: IntArray
    created_ms: IntArray
    languages: Sequence[str]
    author_ids: Sequence[str]
    payloads: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.candidate_ids)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which candidates may be returned. The default lets everything through; conditions are joined by "and".

    languages: only these. created_from_ms: created at or after. exclude_ids: never these (seen, blocked).
    authors / exclude_authors: only, or never, these authors. per_author_cap: the best so many of each author.
    An index returns k hits whenever k candidates match, however few match.
    """

    languages: frozenset[str] | None = None
    created_from_ms: int | None = None
    exclude_ids: frozenset[str] = frozenset()
    authors: frozenset[str] | None = None
    exclude_authors: frozenset[str] = frozenset()
    per_author_cap: int | None = None

    @property
    def takes_ranked(self) -> bool:
        """Whether any condition takes away what ranks high, so that an answer goes on further down the ranking."""
        return self.per_author_cap is not None or bool(self.exclude_ids)

    @property
    def tests_attributes(self) -> bool:
        """Whether any condition reads a column (the author cap and the excluded ids do not)."""
        return (
            self.languages is not None or self.created_from_ms is not None or self.authors is not None or bool(self.exclude_authors)
        )


EVERYTHING = Filter()


class HitColumns(Protocol):
    """Where the columns of an answer are read from; `rows` says which rows, best first."""

    def ids_at(self, rows: IntArray) -> list[str]:
        """One value for each of `rows`."""
        ...

    def versions_at(self, rows: IntArray) -> IntArray:
        """One value for each of `rows`."""
        ...

    def created_ms_at(self, rows: IntArray) -> IntArray:
        """One value for each of `rows`."""
        ...

    def languages_at(self, rows: IntArray) -> list[str]:
        """One value for each of `rows`."""
        ...

    def authors_at(self, rows: IntArray) -> list[str]:
        """One value for each of `rows`."""
        ...

    def payloads_at(self, rows: IntArray) -> list[bytes]:
        """One value for each of `rows`."""
        ...


class Hits:
    """The answer to one search: aligned columns, best first. `scores` are cosines, float32 [n], descending.

    A column is read when first asked for and kept: gathering 200 strings costs as much as a third of the search. What it reads is
    the moment of the search, however much the index changes meanwhile; an answer that is kept keeps its rows in memory.
    """

    def __init__(self, scores: FloatArray, rows: IntArray, columns: HitColumns) -> None:
        self.scores = scores
        self._rows = rows
        self._columns = columns

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def candidate_ids(self) -> list[str]:
        """Ids, n of them."""
        return self._columns.ids_at(self._rows)

    @cached_property
    def versions(self) -> IntArray:
        """[n, 2] int64 of (event time ms, sequence)."""
        return self._columns.versions_at(self._rows)

    @cached_property
    def created_ms(self) -> IntArray:
        """[n] int64."""
        return self._columns.created_ms_at(self._rows)

    @cached_property
    def languages(self) -> list[str]:
        """Languages, n of them."""
        return self._columns.languages_at(self._rows)

    @cached_property
    def author_ids(self) -> list[str]:
        """Author ids, n of them."""
        return self._columns.authors_at(self._rows)

    @cached_property
    def payloads(self) -> list[bytes]:
        """The bytes stored with each row, unchanged."""
        return self._columns.payloads_at(self._rows)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One live row, as stored: `vector` is [dim] float32 of length 1."""

    candidate_id: str
    vector: FloatArray
    version: Version
    created_ms: int
    language: str
    author_id: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class IndexContents:
    """All that is needed to rebuild an index elsewhere: live rows, remembered deletes, and the expiry horizon.

    `codebook` is [dim, 16] float32, the values that the compressed tier's codes stand for; None before one was learned.
    """

    rows: Rows
    deleted: Mapping[str, Version]
    expired_before_ms: int
    codebook: FloatArray | None = None


Tier = Literal["exact", "fresh", "codes", "graph"]


@dataclass(frozen=True, slots=True)
class Audited:
    """One query answered twice at one moment: exactly, and as it is served.

    hits: the exact answer. found: for each of them whether the served answer holds it, or one that scores as well, bool [n]. first:
    the same of the first `FIRST`, as an answer of no more would hold them. tiers: where each is searched for.
    """

    hits: Hits
    found: NDArray[np.bool_]
    first: NDArray[np.bool_]
    tiers: Sequence[Tier]


@dataclass(frozen=True, slots=True)
class IndexStats:
    """What an operator watches. Rows are counted per tier; "dead" rows still occupy a tier but are never returned."""

    live: int
    fresh_rows: int
    """Rows scanned exactly, in no settled tier yet; bounded by the configuration."""
    compressed_rows: int
    compressed_dead: int
    graph_rows: int
    graph_dead: int
    merge_debt_rows: int
    """Live rows settled after the cells, or the graph, beyond what makes new ones due: above 0, the builder owes them."""
    arena_rows: int
    remembered_deletes: int
    memory_bytes: int
    """Arena, columns, codes and graph; an estimate for ids and payloads."""
    builder_running: bool
    builder_heartbeat_age_s: float
    builder_fault: str | None
    """The last error of the builder, kept until it next completes a step."""
    counters: Mapping[str, int] = field(default_factory=dict)
    builder_wanted: bool = False
    """Whether a builder thread belongs to this index: then one that does not run has died."""
    fresh_rows_bound: int = 0
    """At more fresh rows than these the builder is behind; 0 without a bound."""


@dataclass(frozen=True, slots=True)
class Census:
    """What is live, counted at one moment: in all, by language, and by age.

    `ages` has one count more than the edges that were asked for: created before the first edge, between each two, and at or after
    the last.
    """

    live: int
    languages: Mapping[str, int]
    ages: Sequence[int]


class CandidateIndex(Protocol):
    """Live nearest candidates by cosine. Safe for any number of threads; every write is visible on return."""

    @property
    def dim(self) -> int:
        """The dimension of every vector."""
        ...

    def __len__(self) -> int:
        """How many candidates are live."""
        ...

    def __contains__(self, candidate_id: str) -> bool:
        """Whether this candidate is live; `get` copies its row."""
        ...

    def upsert(self, rows: Rows) -> int:
        """Store the batch; returns how many rows won. Retrievable on return.

        A row is ignored when the index holds a higher version of it, or a delete of the same or a higher version, or
        when it is older (created or version time) than an expiry already applied. An equal version replaces: it is a refresh.
        Raises InvalidRows (nothing stored) or IndexClosed.
        """
        ...

    def delete(self, candidate_ids: Sequence[str], versions: IntArray) -> int:
        """Remove at these versions [n, 2]; returns how many live rows went. In force in every tier on return.

        The version is remembered, for unknown ids too, so that an older upsert cannot resurrect the candidate.
        """
        ...

    def forget_deletes(self, candidate_ids: Sequence[str]) -> None:
        """Remember no delete of these ids any more: any version of one may come anew. Live rows stay as they are."""
        ...

    def expire(self, created_before_ms: int) -> list[str]:
        """Drop for good what was created before; returns the ids that went. The horizon only ever moves forward."""
        ...

    def search(self, query: FloatArray, k: int, where: Filter = EVERYTHING) -> Hits:
        """The k nearest by cosine (approximately) among what matches; fewer only if fewer match. Raises InvalidQuery."""
        ...

    def search_exact(self, query: FloatArray, k: int, where: Filter = EVERYTHING) -> Hits:
        """The same answer by a full scan: the reference for audits."""
        ...

    def audit(self, query: FloatArray, k: int, where: Filter = EVERYTHING) -> Audited:
        """Answer exactly and as served, on one and the same moment of the index. Costs a full scan. Raises InvalidQuery."""
        ...

    def distrust(self, tier: Tier) -> None:
        """Drop a tier that an audit found wanting: its rows are searched elsewhere, exactly if need be, until it is built anew."""
        ...

    def get(self, candidate_id: str) -> Candidate | None:
        """The live row of this id."""
        ...

    def contents(self) -> IndexContents:
        """A consistent copy of everything live, for snapshots and rebuilds."""
        ...

    def restore(self, contents: IndexContents) -> None:
        """Take over what `contents` gave, of this index or another; meant for one that holds no rows yet.

        Deletes this index already knows stay in force. Retrievable on return. Raises InvalidRows or IndexClosed.
        """
        ...

    def census(self, created_edges_ms: Sequence[int]) -> Census:
        """Count what is live by language, and by creation time between ascending edges. One pass over two columns."""
        ...

    def stats(self) -> IndexStats:
        """What an operator watches."""
        ...

    def close(self) -> None:
        """Stop background work and refuse further calls with IndexClosed; closing twice is harmless."""
        ...
