"""Why a candidate is, or is not, in a user's answer: the retrieval again, looked at from one candidate. Changes nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from schemas.ids import Version
from schemas.surfaces import Surface
from serving.api import ExplainRequest, Explanation, Holding, Why
from serving.index import Candidate, Filter, IndexClosed
from serving.query.epochs import Epoch, Routing, RoutingTable
from serving.query.errors import NothingLive
from serving.query.payload import text_of
from serving.query.retrieve import request_filter, search_in_window, wall_clock_ms
from serving.query.users import UserStore, features_for_query


class Deletes(Protocol):
    """What is deleted on this node, in all epochs."""

    def deleted_at(self, candidate_id: str) -> Version | None:
        """Return the version up to which a candidate is deleted, or None."""
        ...


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the candidate stands: ranks from 1, None where it is not."""

    rank: int | None
    exact_rank: int | None
    score: float | None
    last_score: float | None


class Explainer:
    """Explains on any number of threads. One explanation costs a search and a scan of everything, some 20 ms at 50,000."""

    def __init__(
        self, routings: RoutingTable, users: UserStore, masks: Deletes, *, now_ms: Callable[[], int] = wall_clock_ms
    ) -> None:
        self._routings = routings
        self._users = users
        self._masks = masks
        self._now_ms = now_ms

    def explain(self, surface: str, request: ExplainRequest) -> Explanation:
        """Return the explanation.

        Raises:
            QueryRefused: see `serving.query.errors`.
        """
        routing = self._routings.get(surface)
        epoch = routing.choose(request.user_id, pin=request.pin, min_revision=request.min_revision)
        epoch.reflecting(request.min_offset)
        try:
            return self._explain(routing, epoch, request)
        except IndexClosed:
            raise NothingLive(f"{surface}: the bundle was retired this moment; ask again") from None

    def _explain(self, routing: Routing, epoch: Epoch, request: ExplainRequest) -> Explanation:
        now_ms, wanted = self._now_ms(), request.candidate_id
        where = request_filter(request, now_ms)
        held = epoch.index.get(wanted)
        deleted_at = self._masks.deleted_at(wanted)
        hidden_by = [] if held is None else _hidden_by(held, where)
        expired = held is not None and not routing.surface.holds(held.created_ms, now_ms)
        places = self._places(epoch, request, where, held, surface=routing.surface, now_ms=now_ms)
        if held is not None and not (hidden_by or expired) and places.exact_rank is None and request.max_per_author is not None:
            hidden_by.append(f"max_per_author: {request.max_per_author} of {held.author_id} are nearer")
        if held is None:
            why: Why = "not_held" if deleted_at is None else "masked"
        elif expired:
            why = "expired"
        else:
            why = _why_held(hidden_by, places, request.k)
        return Explanation(
            node_time_ms=now_ms,
            surface=routing.surface.name,
            revision=routing.revision,
            bundle=epoch.bundle,
            arm="pinned" if request.pin is not None else "live" if epoch is routing.live else "canary",
            candidate_id=wanted,
            why=why,
            sentence=_sentence(why, request, epoch.bundle, hidden_by, places),
            k=request.k,
            rank=places.rank,
            exact_rank=places.exact_rank,
            score=places.score,
            last_score=places.last_score,
            hidden_by=hidden_by,
            deleted_at=None if deleted_at is None else (deleted_at[0], deleted_at[1]),
            holdings=[_holding(other, wanted) for other in routing.held.values()],
            applied=epoch.source.freshness().applied,
            text=None if held is None else text_of(held.payload),
            language=None if held is None else held.language,
            author_id=None if held is None else held.author_id,
        )

    def _places(
        self, epoch: Epoch, request: ExplainRequest, where: Filter, held: Candidate | None, *, surface: Surface, now_ms: int
    ) -> _Places:
        features, _ = features_for_query(self._users.known(request.user_id), request.user, request.context)
        query = epoch.towers.embed_queries([features])[0]
        hits = search_in_window(epoch.index.search, query, request.k, where, surface=surface, now_ms=now_ms)
        last_score = float(hits.scores[-1]) if len(hits) else None
        if held is None:
            return _Places(None, None, None, last_score)
        # the scan's order is the truth; k may be anything up to all that is live
        most = max(1, len(epoch.index))
        everything = search_in_window(epoch.index.search_exact, query, most, where, surface=surface, now_ms=now_ms)
        score = float(np.dot(held.vector, query))
        return _Places(
            _place(hits.candidate_ids, request.candidate_id),
            _place(everything.candidate_ids, request.candidate_id),
            score,
            last_score,
        )


def _place(candidate_ids: list[str], wanted: str) -> int | None:
    return candidate_ids.index(wanted) + 1 if wanted in candidate_ids else None


def _hidden_by(held: Candidate, where: Filter) -> list[str]:
    hidden = []
    if held.candidate_id in where.exclude_ids:
        hidden.append("exclude")
    if where.languages is not None and held.language not in where.languages:
        hidden.append(f"languages: it is {held.language}")
    if where.created_from_ms is not None and held.created_ms < where.created_from_ms:
        hidden.append(f"max_age_s: it is {(where.created_from_ms - held.created_ms) / 1000:.1f} s too old")
    if where.authors is not None and held.author_id not in where.authors:
        hidden.append(f"authors: it is of {held.author_id}")
    if held.author_id in where.exclude_authors:
        hidden.append(f"exclude_authors: it is of {held.author_id}")
    return hidden


def _why_held(hidden_by: list[str], places: _Places, k: int) -> Why:
    if hidden_by:
        return "excluded" if hidden_by[0] == "exclude" else "filtered"
    if places.rank is not None:
        return "retrieved"
    return "ann_miss" if places.exact_rank is not None and places.exact_rank <= k else "ranked_lower"


def _sentence(why: Why, request: ExplainRequest, bundle: str, hidden_by: list[str], places: _Places) -> str:
    candidate_id, k = request.candidate_id, request.k
    match why:
        case "retrieved":
            return f"{candidate_id} is retrieved at rank {places.rank} of bundle {bundle}"
        case "ranked_lower":
            return f"{candidate_id} is at rank {places.exact_rank} of bundle {bundle}; {k} were asked for"
        case "ann_miss":
            return f"the search missed {candidate_id}: an exact scan of bundle {bundle} has it at rank {places.exact_rank} of {k}"
        case "filtered" | "excluded":
            return f"{candidate_id} is hidden by the request: {'; '.join(hidden_by)}"
        case "masked":
            return f"{candidate_id} is deleted"
        case "expired":
            return f"{candidate_id} left the surface's recency window a moment ago"
        case "not_held":
            return f"the index of bundle {bundle} on this node does not hold {candidate_id}"


def _holding(epoch: Epoch, candidate_id: str) -> Holding:
    try:
        held = epoch.index.get(candidate_id)
    except IndexClosed:
        held = None
    return Holding(epoch.bundle, None, None) if held is None else Holding(epoch.bundle, held.version, held.created_ms)
