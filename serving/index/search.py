"""One search over one frozen view: gather candidates from each tier, score them in full, keep the best. Pure: no locks, no state.

The settled tiers only propose; every returned score is the fp32 dot product with the arena's own row. Whenever the proposals
cannot fill k, the view is scanned exactly, so an answer is short only when fewer candidates match.
"""

from dataclasses import dataclass

import numpy as np

from serving.index.config import IndexConfig
from serving.index.protocol import EVERYTHING, Filter, FloatArray
from serving.index.tiers.arena import Arena, BoolArray, Interned, SlotArray
from serving.index.tiers.compressed import CompressedTier
from serving.index.tiers.graph import GraphTier

SELECTIVITY_SAMPLE_ROWS = 1_024
EXACT_BELOW_SHARE = 0.15
"""A filter that lets fewer than this share through is answered by scoring exactly what matches."""
EXCLUDED_ALLOWANCE = 256
"""Excluded ids a first attempt leaves room for; a second attempt widens."""
WIDEN = 4
GRAPH_MARGIN = 1.28
GRAPH_SLACK_ROWS = 32
GRAPH_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class View:
    """One consistent moment of an index. Every live row below `fresh_to` is in exactly one of: the graph, the compressed tier,
    or the exactly scanned rows from `fresh_from` on.
    """

    sequence: int
    """Rises with every write; a row is live when it died later than this."""
    generation: int
    """Rises when the arena is rewritten and slots change their numbers."""
    arena: Arena
    fresh_from: int
    fresh_to: int
    compressed: CompressedTier | None
    compressed_dead: int
    """How many of the tier's rows were dead when last counted: it is searched that much more widely."""
    graph: GraphTier | None
    graph_dead: int
    live: int


@dataclass(frozen=True, slots=True)
class Found:
    """Slots of the view's arena with their cosines, float32, best first."""

    slots: SlotArray
    scores: FloatArray

    def __len__(self) -> int:
        return len(self.slots)


NOTHING = Found(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32))


class Matcher:
    """Which slots a view and a filter let through, attribute conditions only."""

    def __init__(self, view: View, where: Filter) -> None:
        self._view = view
        self._where = where
        arena = view.arena
        self._language = None if where.languages is None else _table(arena.languages, where.languages)
        author_table: BoolArray | None = None
        if where.authors is not None:
            author_table = _table(arena.authors, where.authors)
        if where.exclude_authors:
            others = ~_table(arena.authors, where.exclude_authors)
            author_table = others if author_table is None else author_table[: len(others)] & others[: len(author_table)]
        self._author = author_table

    def keep(self, slots: SlotArray | slice) -> BoolArray:
        """For each slot whether it is live and its attributes match."""
        arena, where = self._view.arena, self._where
        keep: BoolArray = arena.died[slots] > self._view.sequence
        if self._language is not None:
            keep &= _looked_up(self._language, arena.language[slots])
        if where.created_from_ms is not None:
            keep &= arena.created_ms[slots] >= where.created_from_ms
        if self._author is not None:
            keep &= _looked_up(self._author, arena.author[slots])
        return keep

    def share(self) -> float:
        """Estimated share of the live rows that match, from evenly spaced rows."""
        if not self._where.tests_attributes:
            return 1.0
        step = max(1, self._view.fresh_to // SELECTIVITY_SAMPLE_ROWS)
        sample = slice(0, self._view.fresh_to, step)
        live = int(np.count_nonzero(self._view.arena.died[sample] > self._view.sequence))
        return int(np.count_nonzero(self.keep(sample))) / live if live else 0.0


def _table(names: Interned, chosen: frozenset[str]) -> BoolArray:
    codes = names.known(chosen)
    # sized after the look-up: a writer may be adding names meanwhile
    table = np.zeros(len(names) + 1, dtype=np.bool_)
    table[codes] = True
    return table


def _looked_up(table: BoolArray, codes: SlotArray) -> BoolArray:
    # a code newer than the table belongs to a row newer than the view; clip keeps the look-up inside the table
    found: BoolArray = table.take(codes, mode="clip")
    return found


def search(view: View, query: FloatArray, k: int, where: Filter, config: IndexConfig) -> tuple[Found, bool]:
    """The best k for a unit query [dim], and whether the answer had to come from an exact scan of settled rows."""
    if k == 0 or view.live == 0:
        return NOTHING, False
    settled = (view.compressed is not None and len(view.compressed) > 0) or view.graph is not None
    if not settled:
        return search_exact(view, query, k, where), False
    matcher = Matcher(view, where)
    share = matcher.share()
    request = _Request(view, query, matcher, share, config)
    if share >= EXACT_BELOW_SHARE:
        wanted = min(k, view.live)
        room = k + min(len(where.exclude_ids), EXCLUDED_ALLOWANCE)
        if where.per_author_cap is not None:
            room += k
        while room < view.live:
            slots, scores = _proposals(request, room)
            found = _best(view.arena, slots, scores, k, where)
            if len(found) == wanted:
                return found, False
            if where is EVERYTHING:
                break
            room *= WIDEN
    return search_exact(view, query, k, where), True


def search_exact(view: View, query: FloatArray, k: int, where: Filter) -> Found:
    """The best k by scoring every live row that matches."""
    if k == 0 or view.live == 0:
        return NOTHING
    arena, end = view.arena, view.fresh_to
    first = view.fresh_from if view.compressed is None and view.graph is None else 0
    keep = Matcher(view, where).keep(slice(first, end))
    slots = np.flatnonzero(keep).astype(np.int32) + np.int32(first)
    # reading everything in order is cheaper than gathering most of it
    dense = len(slots) * 4 > end - first
    scores = (arena.vectors[first:end] @ query)[keep] if dense else arena.vectors[slots] @ query
    return _best(arena, slots, scores, k, where)


@dataclass(frozen=True, slots=True)
class _Request:
    """What the tiers are asked. `share` is the estimated part of the live rows that the filter lets through."""

    view: View
    query: FloatArray
    matcher: Matcher
    share: float
    config: IndexConfig

    def matching(self, slots: SlotArray) -> tuple[SlotArray, FloatArray]:
        """The live, matching ones of `slots` with their scores."""
        kept = slots[self.matcher.keep(slots)]
        return kept, self.view.arena.vectors[kept] @ self.query


def _proposals(request: _Request, room: int) -> tuple[SlotArray, FloatArray]:
    """Live, matching rows that contain about the best `room`, each once, with their scores; unordered."""
    slots, scores = _from_fresh(request, room)
    if request.view.compressed is not None and len(request.view.compressed):
        near, near_scores = request.matching(_from_compressed(request, request.view.compressed, room))
        slots, scores = np.concatenate([slots, near]), np.concatenate([scores, near_scores])
    if request.view.graph is not None:
        near, near_scores = _from_graph(request, request.view.graph, room, scores)
        slots, scores = np.concatenate([slots, near]), np.concatenate([scores, near_scores])
    return slots, scores


def _from_fresh(request: _Request, room: int) -> tuple[SlotArray, FloatArray]:
    view = request.view
    rows = slice(view.fresh_from, view.fresh_to)
    scores = view.arena.vectors[rows] @ request.query
    at = np.flatnonzero(request.matcher.keep(rows))
    scores = scores[at]
    if len(at) > room:
        best = np.argpartition(scores, len(at) - room)[len(at) - room :]
        at, scores = at[best], scores[best]
    return at.astype(np.int32) + np.int32(view.fresh_from), scores


def _from_compressed(request: _Request, tier: CompressedTier, room: int) -> SlotArray:
    settings = request.config.compressed
    if settings is None:
        raise RuntimeError("a compressed tier exists without its configuration")
    per_hit = settings.fetch_per_hit * (1.5 if len(tier) > settings.wider_from_rows else 1.0)
    live_share = 1.0 - request.view.compressed_dead / len(tier)
    count = max(settings.fetch_at_least, per_hit * room) / max(live_share * request.share, 0.01)
    return tier.nearest(request.query, int(count))


def _from_graph(request: _Request, graph: GraphTier, room: int, others: FloatArray) -> tuple[SlotArray, FloatArray]:
    """The graph's rows, given the scores of the other tiers.

    The first fetch expects the graph's fair share of the answer; it is widened while the worst row it gave would still enter the
    best `room`, so a query whose whole answer lies inside the graph loses nothing.
    """
    live = len(graph) - request.view.graph_dead
    fair = live / max(request.view.live, 1)
    reachable = max(live / len(graph) * request.share, 0.02)
    count = int((GRAPH_MARGIN * room * fair + GRAPH_SLACK_ROWS) / reachable)
    for _ in range(GRAPH_ROUNDS):
        near = graph.nearest(request.query, count)
        if near is None:
            break
        slots, scores = request.matching(near)
        if len(near) == len(graph.slots):
            return slots, scores
        both = np.concatenate([others, scores])
        if len(both) >= room and len(scores) and scores.min() < np.partition(both, len(both) - room)[len(both) - room]:
            return slots, scores
        count *= 2
    return request.matching(graph.slots)


def _best(arena: Arena, slots: SlotArray, scores: FloatArray, k: int, where: Filter) -> Found:
    """The best k in order, without excluded ids and beyond no author's cap."""
    plain = where.per_author_cap is None and not where.exclude_ids
    if plain and len(slots) > k:
        best = np.argpartition(scores, len(slots) - k)[len(slots) - k :]
        slots, scores = slots[best], scores[best]
    order = np.argsort(-scores, kind="stable")
    slots, scores = slots[order], scores[order]
    if plain:
        return Found(slots, scores)
    if where.exclude_ids:
        excluded = where.exclude_ids
        keep = np.fromiter((i not in excluded for i in arena.ids[slots].tolist()), dtype=np.bool_, count=len(slots))
        slots, scores = slots[keep], scores[keep]
    if where.per_author_cap is not None:
        keep = _rank_within(arena.author[slots]) < where.per_author_cap
        slots, scores = slots[keep], scores[keep]
    return Found(slots[:k], scores[:k])


def _rank_within(groups: SlotArray) -> SlotArray:
    """For each position, how many earlier positions belong to the same group."""
    order = np.argsort(groups, kind="stable")
    grouped = groups[order]
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]]) if len(groups) else np.empty(0, dtype=np.int64)
    lengths = np.diff(np.r_[starts, len(groups)])
    ranks = np.empty(len(groups), dtype=np.int32)
    ranks[order] = np.arange(len(groups)) - np.repeat(starts, lengths)
    return ranks
