"""One query on one frozen view, exactly and as served, and which exact hits the served answer misses. Pure: no locks, no state."""

import numpy as np

from serving.index.config import IndexConfig
from serving.index.protocol import FIRST, Audited, Filter, FloatArray, Hits, Tier
from serving.index.search import Found, Plan, search, search_exact
from serving.index.tiers.arena import BoolArray, SlotArray
from serving.index.view import View

SCORE_TOLERANCE = 1e-6
"""The same dot product summed in another order differs by less."""


def audited(view: View, query: FloatArray, k: int, where: Filter, config: IndexConfig) -> Audited:
    """Both answers to a unit query [dim]."""
    truth = search_exact(view, query, k, where)
    served = search(view, query, k, where, config)
    found = first = _held(truth, served)
    if k > FIRST:
        # an answer of many holds its first ones even where the codes that chose it have become poor; one of few does not
        first = _held(Found(truth.slots[:FIRST], truth.scores[:FIRST]), search(view, query, FIRST, where, config))
    return Audited(Hits(truth.scores, truth.slots, view.arena), found, first, _tiers(view, truth.slots, served.plan))


def _held(truth: Found, served: Found) -> BoolArray:
    held: BoolArray = np.isin(truth.slots, served.slots)
    if len(served) >= len(truth) and len(served):
        # of candidates with equal scores at the end of the answer either is right
        held |= truth.scores <= served.scores[-1] + SCORE_TOLERANCE
    return held


def _tiers(view: View, slots: SlotArray, plan: Plan) -> list[Tier]:
    if plan in ("exact", "fell_back"):
        return ["exact"] * len(slots)
    in_graph = np.zeros(view.fresh_to, dtype=np.bool_)
    if plan == "graph" and view.graph is not None:
        in_graph[view.graph.slots] = True
    fresh = slots >= view.fresh_from
    return ["fresh" if new else "graph" if walked else "codes" for new, walked in zip(fresh, in_graph[slots], strict=True)]
