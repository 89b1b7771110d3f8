"""One search over one frozen view: gather candidates from each tier, score them in full, keep the best. Pure: no locks, no state.

The settled tiers only propose; every returned score is the fp32 dot product with the arena's own row. Whenever the proposals
cannot fill k, the view is scanned exactly, so an answer is short only when fewer candidates match.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.index.config import CompressedConfig, GraphConfig, IndexConfig
from serving.index.matching import DENSE_FROM, Matcher
from serving.index.protocol import EVERYTHING, Filter, FloatArray
from serving.index.tiers.arena import Arena, BoolArray, SlotArray
from serving.index.tiers.cells import CelledTier
from serving.index.tiers.compressed import CompressedTier, Proposed
from serving.index.tiers.graph import GraphTier
from serving.index.view import View

EXACT_BELOW_SHARE = 0.15
"""A filter that lets fewer than this share through is answered by scoring exactly what matches."""
EXCLUDED_ALLOWANCE = 256
"""Excluded ids a first attempt leaves room for; a second attempt widens."""
WIDEN = 4
ONE_CORE_ROWS = 4_096
GRAPH_ROUNDS = 4
CODE_ROUNDS = 4
CODE_WIDEN = 3
COPIES_BELOW = 32
"""Codes fetched with fewer different scores are of copies of few rows: 128 of rows that differ have some 70, at the least 40."""
LAST_ENTERING_SHARE = 0.02


Plan = Literal["exact", "codes", "cells", "graph", "fell_back"]
"""Fresh rows are always scanned exactly; this is what was done about the settled ones. `fell_back`: the proposals were too few
(a rare filter, deletes around the query), or did not reach the best, and an exact scan filled k.
"""


@dataclass(frozen=True, slots=True)
class Found:
    """Slots of the view's arena with their cosines, float32, best first; and which way they were found."""

    slots: SlotArray
    scores: FloatArray
    plan: Plan = "exact"

    def __len__(self) -> int:
        return len(self.slots)


NOTHING = Found(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))


def search(view: View, query: FloatArray, k: int, where: Filter, config: IndexConfig) -> Found:
    """The best k for a unit query [dim]."""
    if k == 0 or view.live == 0:
        return NOTHING
    if view.compressed is None and view.graph is None:
        return search_exact(view, query, k, where)
    matcher = Matcher(view, where)
    share = matcher.share()
    if share >= EXACT_BELOW_SHARE:
        room = k + min(len(where.exclude_ids), EXCLUDED_ALLOWANCE)
        if where.per_author_cap is not None:
            room += k
        if not _approximates(view, room, config):
            return search_exact(view, query, k, where)
        found = _approximately(_Request(view, query, matcher, share, config), k, room, where)
        if found is not None:
            return found
    return replace(search_exact(view, query, k, where), plan="fell_back")


def search_exact(view: View, query: FloatArray, k: int, where: Filter) -> Found:
    """The best k by scoring every live row that matches."""
    if k == 0 or view.live == 0:
        return NOTHING
    arena, end = view.arena, view.fresh_to
    first = view.fresh_from if view.compressed is None and view.graph is None else 0
    slots = Matcher(view, where).among(first, end)
    if len(slots) * DENSE_FROM > end - first:
        scores = _cosines(arena.vectors[first:end], query).take(slots - first)
    else:
        scores = _cosines(arena.vectors.take(slots, axis=0), query)
    return _best(arena, slots, scores, k, where)


class _Matching(NamedTuple):
    """Rows that match with their scores, and which of them lie in the farther of the cells asked, where they lie in cells."""

    slots: SlotArray
    scores: FloatArray
    far: BoolArray | None = None


@dataclass(frozen=True, slots=True)
class _Request:
    """What the tiers are asked. `share` is the estimated part of the live rows that the filter lets through."""

    view: View
    query: FloatArray
    matcher: Matcher
    share: float
    config: IndexConfig

    def matching(self, near: Proposed) -> _Matching:
        """The live, matching ones with their scores."""
        keep = self.matcher.keep(near.slots)
        slots = near.slots[keep]
        scores = self.view.arena.vectors.take(slots, axis=0) @ self.query
        return _Matching(slots, scores, None if near.far is None else near.far[keep])


def _approximately(request: _Request, k: int, room: int, where: Filter) -> Found | None:
    """The best k of what the tiers propose, which is asked for more until it fills k; None when it does not."""
    view, wanted = request.view, min(k, request.view.live)
    while room < view.live and (proposed := _proposals(request, room)) is not None:
        slots, scores, plan = proposed
        if where.takes_ranked:
            # beyond the best `room` proposals have gaps: what is excluded above must not be made up for with those
            slots, scores = _largest(slots, scores, room)
        found = _best(view.arena, slots, scores, k, where)
        if len(found) == wanted:
            return replace(found, plan=plan)
        if where is EVERYTHING:
            break
        room *= WIDEN
    return None


def _proposals(request: _Request, room: int) -> tuple[SlotArray, FloatArray, Plan] | None:
    """Live, matching rows that contain about the best `room`, each once, with their scores; unordered. None as `_widened`."""
    view = request.view
    slots, scores = _from_fresh(request, room)
    walks = view.graph is not None and _walk_is_cheaper(view, view.graph, room, request.share, request.config)
    codes, dead = (view.beside_graph, view.beside_dead) if walks else (view.compressed, view.compressed_dead)
    if codes is not None and len(codes):
        if isinstance(codes, CelledTier):
            found = _from_cells(request, codes, dead, room, scores)
        else:
            # beside a graph codes give only a part of the answer, so the first fetch is wide already; but what a filter lets
            # through may be rare around the query
            rounds = 1 if walks and request.share == 1.0 else CODE_ROUNDS
            found = _from_codes(request, codes, dead, room, others=scores, rounds=rounds)
        if found is None:
            return None
        slots, scores = np.concatenate([slots, found.slots]), np.concatenate([scores, found.scores])
    if walks and view.graph is not None:
        near = _from_graph(request, view.graph, room, scores)
        slots, scores = np.concatenate([slots, near.slots]), np.concatenate([scores, near.scores])
    return slots, scores, "graph" if walks else "cells" if isinstance(view.compressed, CelledTier) else "codes"


def _approximates(view: View, room: int, config: IndexConfig) -> bool:
    """Whether proposals are worth their cost: in a small corpus without codes an exact scan may be cheaper than the graph."""
    if view.compressed is not None or view.graph is None:
        return True
    return _walk_us(view, view.graph, room, 1.0, config) < config.exact_us_per_row * view.fresh_from


def _walk_is_cheaper(view: View, graph: GraphTier, room: int, share: float, config: IndexConfig) -> bool:
    """Whether the graph and the codes beside it cost less than the codes of everything."""
    if view.compressed is None or view.beside_graph is None or config.compressed is None:
        return True
    saved_rows = len(view.compressed) - len(view.beside_graph)
    return _walk_us(view, graph, room, share, config) < config.compressed.scan_us_per_row * saved_rows


def _walk_us(view: View, graph: GraphTier, room: int, share: float, config: IndexConfig) -> float:
    if config.graph is None:
        raise RuntimeError("a graph exists without its configuration")
    return config.graph.walk_us(_breadth(view, graph, room, share, config.graph), len(graph))


def _breadth(view: View, graph: GraphTier, room: int, share: float, settings: GraphConfig) -> int:
    """How many rows to ask of the graph when it holds its fair share of the answer."""
    live = len(graph) - view.graph_dead
    fair = live / max(view.live, 1)
    reachable = max(live / len(graph) * share, 0.02)
    return int((settings.breadth_per_hit * room * fair + settings.breadth_slack) / reachable)


def _from_fresh(request: _Request, room: int) -> tuple[SlotArray, FloatArray]:
    view = request.view
    rows = slice(view.fresh_from, view.fresh_to)
    scores = _cosines(view.arena.vectors[rows], request.query)
    keep = request.matcher.keep(rows)
    if len(scores) <= room:
        at = np.flatnonzero(keep)
        return at + view.fresh_from, scores[at]
    scores[~keep] = -np.inf
    at = np.argpartition(scores, len(scores) - room)[len(scores) - room :]
    best = scores[at]
    if best.min() == -np.inf:
        at = at[best > -np.inf]
        best = scores[at]
    return at + view.fresh_from, best


def _from_codes(
    request: _Request, tier: CompressedTier, dead: int, room: int, *, others: FloatArray, rounds: int
) -> _Matching | None:
    """The best codes' rows, given the scores of the fresh ones; None as `_widened`."""
    settings = _codes_of(request.config)
    per_hit = settings.fetch_per_hit * (1.5 if len(tier) > settings.wider_from_rows else 1.0)
    count = int(max(settings.fetch_at_least, per_hit * room) / _reachable(request, tier, dead))
    return _widened(request, partial(tier.nearest, request.query), count, room, others=others, rounds=rounds)


def _from_cells(request: _Request, tier: CelledTier, dead: int, room: int, others: FloatArray) -> _Matching | None:
    """The best codes' rows of the cells around the query, given the scores of the fresh ones; None as `_widened`.

    Cells are asked in rounds, the nearest first, until what a round gave, of the first one its farther half, hardly enters the best
    `room`, or the best `judged_hits` where those are more: a query between many cells, or one whose filter is rare around it, asks
    more of them.
    """
    codes = _codes_of(request.config)
    settings = codes.cells
    if settings is None:
        raise RuntimeError("cells exist without their configuration")
    reachable = _reachable(request, tier, dead)
    first = max(settings.first_cells, int(settings.rows_per_hit * room / reachable * len(tier.centroids) / len(tier)))
    slots, scores, per_hit = NOTHING.slots, NOTHING.scores, settings.fetch_per_hit
    judged = max(room, settings.judged_hits)
    for asked in tier.rounds(request.query, first):
        so_far = np.concatenate([others, scores])
        count = int(max(codes.fetch_at_least, per_hit * room) / reachable)
        nearest = partial(tier.nearest, request.query, asked)
        near = _widened(request, nearest, count, room, others=so_far, rounds=CODE_ROUNDS)
        if near is None:
            return None
        slots, scores = np.concatenate([slots, near.slots]), np.concatenate([scores, near.scores])
        if near.far is not None and not _many_enter(
            near.scores[near.far], near.scores, so_far, judged, many=settings.entering_share
        ):
            break
        # cells further off hold fewer of the best
        per_hit = settings.fetch_per_hit_further
    return _Matching(slots, scores)


def _codes_of(config: IndexConfig) -> CompressedConfig:
    if config.compressed is None:
        raise RuntimeError("a compressed tier exists without its configuration")
    return config.compressed


def _reachable(request: _Request, tier: CompressedTier | CelledTier, dead: int) -> float:
    """The part of a tier's rows that are live and match, as far as it is known."""
    return max((1.0 - dead / len(tier)) * request.share, 0.01)


def _widened(
    request: _Request, nearest: Callable[[int], Proposed], count: int, room: int, *, others: FloatArray, rounds: int
) -> _Matching | None:
    """The matching rows of the `count` best codes, or of more of them where rows lie dense, given the scores of other rows.

    In a dense cluster hundreds of rows lie within one quantisation error, and a filter may be rare around the query. It shows: the
    last codes fetched still enter the best `room`. Then three times as many are fetched, so that only such queries pay. None when
    the last of several rounds shows it still under a filter: there a scan costs less than the codes it would take. Without one
    the codes themselves are wrong, which the audit of what was served must see.

    Where rows have many copies, hundreds of codes are of few different rows, and may all be of others than the best: as many are
    fetched as hold enough different ones, within the same bounds.
    """
    limit = count * CODE_WIDEN ** (rounds - 1)
    while True:
        near = nearest(count)
        if near.different < COPIES_BELOW and len(near) == count < limit:
            count = min(limit, count * (2 * COPIES_BELOW) // near.different)
            continue
        found = request.matching(near)
        # in code order, so the last quarter are the worst by their codes
        last = found.scores[-max(len(found.scores) // 4, 1) :]
        if rounds == 1 or len(near) < count or not _many_enter(last, found.scores, others, room, many=LAST_ENTERING_SHARE):
            return found
        if count * CODE_WIDEN > limit:
            break
        count *= CODE_WIDEN
    return None if request.share < 1.0 else found


def _many_enter(some: FloatArray, scores: FloatArray, others: FloatArray, room: int, *, many: float) -> bool:
    """Whether many of `some` of the `scores` just found are among the best `room` of all: then more rows like those will be.

    `many` is a share of the best `room`; or of `scores`, where a filter left fewer.
    """
    together = np.concatenate([others, scores])
    if len(scores) == 0 or len(together) <= room:
        return True
    entry = np.partition(together, len(together) - room)[len(together) - room]
    return int(np.count_nonzero(some >= entry)) > many * min(room, len(scores))


def _from_graph(request: _Request, graph: GraphTier, room: int, others: FloatArray) -> _Matching:
    """The graph's rows, given the scores of the other tiers.

    The first fetch expects the graph's fair share of the answer; it is widened while the worst row it gave would still enter the
    best `room`, so a query whose whole answer lies inside the graph loses nothing.
    """
    if request.config.graph is None:
        raise RuntimeError("a graph exists without its configuration")
    count = _breadth(request.view, graph, room, request.share, request.config.graph)
    for _ in range(GRAPH_ROUNDS):
        near = graph.nearest(request.query, count)
        if near is None:
            break
        found = request.matching(Proposed(near, len(near)))
        if len(near) == len(graph.slots):
            return found
        both = np.concatenate([others, found.scores])
        if len(both) >= room and len(found.scores) and found.scores.min() < np.partition(both, len(both) - room)[len(both) - room]:
            return found
        count *= 2
    return request.matching(Proposed(graph.slots, len(graph.slots)))


def _cosines(vectors: FloatArray, query: FloatArray) -> FloatArray:
    if len(vectors) <= ONE_CORE_ROWS:
        return vectors @ query
    # a longer product would wake BLAS's own threads: twice the processor time, and waits on a busy machine
    parts = [vectors[begin : begin + ONE_CORE_ROWS] @ query for begin in range(0, len(vectors), ONE_CORE_ROWS)]
    return np.concatenate(parts)


def _best(arena: Arena, slots: SlotArray, scores: FloatArray, k: int, where: Filter) -> Found:
    """The best k in order, without excluded ids and beyond no author's cap."""
    if not where.takes_ranked:
        slots, scores = _largest(slots, scores, k)
    order = np.argsort(-scores, kind="stable")
    slots, scores = slots[order], scores[order]
    if not where.takes_ranked:
        return Found(slots, scores)
    if where.exclude_ids:
        excluded = where.exclude_ids
        keep = np.fromiter((i not in excluded for i in arena.ids.take(slots).tolist()), dtype=np.bool_, count=len(slots))
        slots, scores = slots[keep], scores[keep]
    if where.per_author_cap is not None:
        keep = _rank_within(arena.author.take(slots)) < where.per_author_cap
        slots, scores = slots[keep], scores[keep]
    return Found(slots[:k], scores[:k])


def _largest(slots: SlotArray, scores: FloatArray, count: int) -> tuple[SlotArray, FloatArray]:
    """The `count` best, unordered; all of them where there are no more."""
    if len(slots) <= count:
        return slots, scores
    best = np.argpartition(scores, len(slots) - count)[len(slots) - count :]
    return slots[best], scores[best]


def _rank_within(groups: NDArray[np.int32]) -> SlotArray:
    """For each position, how many earlier positions belong to the same group."""
    order = np.argsort(groups, kind="stable")
    grouped = groups[order]
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]]) if len(groups) else np.empty(0, dtype=np.int64)
    lengths = np.diff(np.r_[starts, len(groups)])
    ranks = np.empty(len(groups), dtype=np.int64)
    ranks[order] = np.arange(len(groups)) - np.repeat(starts, lengths)
    return ranks
