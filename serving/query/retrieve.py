"""Answering one retrieval: take an epoch once, embed the query, search, put the answer together. Does no I/O."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from schemas.errors import BundleError, InvalidRecord
from schemas.records.feedback import QueryToken
from schemas.records.users import QueryFeatures
from schemas.surfaces import Surface
from schemas.tokens import MAX_QUERY_TOKEN_BYTES, write_token
from serving.api import FRESHNESS_JSON, RetrieveRequest
from serving.index import EVERYTHING, Filter, Hits, IndexClosed
from serving.query.epochs import Epoch, Routing, RoutingTable
from serving.query.errors import QueryRefused, WritesMissing
from serving.query.payload import candidates_json
from serving.query.tally import AnswerTally
from serving.query.tap import LiveQuery
from serving.query.users import KnownUser, UserStore, features_for_query


def wall_clock_ms() -> int:
    """Return Unix milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class EncodedAnswer:
    """An `Answer` as it is sent, and what the node itself says of it."""

    request_id: str
    bundle: str
    revision: int
    cold: bool
    candidates: int
    body: bytes


class Retriever:
    """Answers retrievals on any number of threads."""

    def __init__(
        self,
        routings: RoutingTable,
        users: UserStore,
        *,
        now_ms: Callable[[], int] = wall_clock_ms,
        overheard: Callable[[str, LiveQuery], None] | None = None,
        reflected: Callable[[str, KnownUser, int], None] | None = None,
        tally: AnswerTally | None = None,
    ) -> None:
        """Answer nothing yet.

        Args:
            overheard: told of the bundle and the search of each query that is not exact anyway; must cost next to nothing.
            reflected: told of the surface, the user's state and the time, in Unix milliseconds, of the first answer from here that
                reflects the user's newest engagement.
            tally: counts answers by bundle.
        """
        self._routings = routings
        self._users = users
        self._now_ms = now_ms
        self._overheard = overheard
        self._reflected = reflected
        self._tally = tally

    def answer(self, surface: str, request: RetrieveRequest) -> EncodedAnswer:
        """Return the answer, wholly from one epoch.

        Raises:
            QueryRefused: see `serving.query.errors`.
        """
        while True:
            routing, epoch = self._chosen(surface, request)
            try:
                return self._counted(routing, epoch, request)
            except IndexClosed:
                # the epoch was retired between taking and searching it; the routing has moved on, or it is a fault
                if self._routings.get(surface) is routing:
                    raise

    def waits_for_writes(self, surface: str, request: RetrieveRequest) -> bool:
        """Tell whether the request would be refused only because the index does not reflect its `min_offset` yet."""
        if not request.min_offset:
            return False
        try:
            _, epoch = self._chosen(surface, request)
            epoch.reflecting(request.min_offset)
        except QueryRefused as refusal:
            return isinstance(refusal, WritesMissing)
        return False

    def _chosen(self, surface: str, request: RetrieveRequest) -> tuple[Routing, Epoch]:
        routing = self._routings.get(surface)
        return routing, routing.choose(request.user_id, pin=request.pin, min_revision=request.min_revision)

    def _counted(self, routing: Routing, epoch: Epoch, request: RetrieveRequest) -> EncodedAnswer:
        # whoever asks for a bundle, or for an exact answer, is not the traffic that arms are compared by
        if self._tally is None or request.pin is not None or request.exact:
            return self._answer(routing, epoch, request)
        started_s = time.perf_counter()
        try:
            answer = self._answer(routing, epoch, request)
        except BundleError:
            self._tally.failed(epoch.bundle)
            raise
        self._tally.answered(epoch.bundle, candidates=answer.candidates, took_s=time.perf_counter() - started_s)
        return answer

    def _answer(self, routing: Routing, epoch: Epoch, request: RetrieveRequest) -> EncodedAnswer:
        started_ns = time.perf_counter_ns()
        now_ms = self._now_ms()
        known = self._users.known(request.user_id)
        # before the search: what comes while it runs may be missed by it
        as_of = epoch.reflecting(request.min_offset)
        features, cold = features_for_query(known, request.user, request.context)
        vector = epoch.towers.embed_queries([features])[0]
        search = epoch.index.search_exact if request.exact else epoch.index.search
        where = request_filter(request, now_ms)
        hits = search_in_window(search, vector, request.k, where, surface=routing.surface, now_ms=now_ms)
        if self._overheard is not None and not request.exact:
            self._overheard(epoch.bundle, LiveQuery(vector, request.k, where))
        ages_s = ((now_ms - hits.created_ms) / 1000).tolist()
        candidates = candidates_json(hits.payloads, hits.scores.tolist(), ages_s)
        # a UUID's bits come from the kernel, and to ask it is to give the interpreter away and wait for it again
        request_id = f"{random.getrandbits(128):032x}"
        token = _query_token(epoch.bundle, features)
        # the members of `serving.api.Answer`; none of these texts needs an escape
        body = b'{"request_id":"%s","surface":"%s","bundle":"%s","revision":%d,"query_token":%s,"cold":%s,' % (
            request_id.encode(),
            routing.surface.name.encode(),
            epoch.bundle.encode(),
            routing.revision,
            b"null" if token is None else b'"%s"' % token.encode(),
            b"true" if cold else b"false",
        )
        body += b'"candidates":[%s],"freshness":%s,"as_of":%s,"took_ms":%.3f}' % (
            candidates,
            FRESHNESS_JSON.dump_json(epoch.source.freshness()),
            to_json(as_of),
            (time.perf_counter_ns() - started_ns) / 1e6,
        )
        if known is not None and self._reflected is not None and self._users.first_to_reflect(request.user_id or "", known):
            self._reflected(routing.surface.name, known, self._now_ms())
        return EncodedAnswer(request_id, epoch.bundle, routing.revision, cold, len(hits), body)


def request_filter(request: RetrieveRequest, now_ms: int) -> Filter:
    """Return what the request lets through."""
    where = Filter(
        languages=None if request.languages is None else frozenset(request.languages),
        created_from_ms=None if request.max_age_s is None else now_ms - int(request.max_age_s * 1000),
        exclude_ids=frozenset(request.exclude),
        authors=None if request.authors is None else frozenset(request.authors),
        exclude_authors=frozenset(request.exclude_authors),
        per_author_cap=request.max_per_author,
    )
    # the one object that an index knows to let everything through
    return EVERYTHING if where == EVERYTHING else where


def search_in_window(
    search: Callable[[NDArray[np.float32], int, Filter], Hits],
    vector: NDArray[np.float32],
    k: int,
    where: Filter,
    *,
    surface: Surface,
    now_ms: int,
) -> Hits:
    """Search by an index's method, within the surface's recency window.

    An index is swept once a second: what left the window since then must neither be shown nor take another's place.
    """
    hits = search(vector, k, where)
    if len(hits) and not surface.holds(int(hits.created_ms.min()), now_ms):
        return search(vector, k, _inside(where, surface, now_ms))
    return hits


def _inside(where: Filter, surface: Surface, now_ms: int) -> Filter:
    oldest_ms = math.floor(now_ms - surface.recency_window_s * 1000) + 1
    return replace(where, created_from_ms=max(oldest_ms, where.created_from_ms or oldest_ms))


def _query_token(bundle: str, features: QueryFeatures) -> str | None:
    try:
        return write_token(QueryToken(bundle, features), max_bytes=MAX_QUERY_TOKEN_BYTES)
    except InvalidRecord:
        # longer than a token may be: absent, so the labeler reconstructs
        return None
