"""The routes: parse, call, encode. Holds no state and no rule but which refusal is which status."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import asdict
from itertools import islice
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError
from starlette.types import ASGIApp

from schemas.errors import BundleError
from serving.api import (
    EXPLANATION_JSON,
    MAX_BODY_BYTES,
    PROBLEM_JSON,
    STATS_JSON,
    Answer,
    BatchAnswer,
    BatchRequest,
    ExplainRequest,
    Explanation,
    Problem,
    RetrieveRequest,
    SurfaceStats,
)
from serving.health import HasHealth, NodeHealth
from serving.http.body_limit import BodyLimit
from serving.http.collector import HealthCollector
from serving.http.direct import Asking, DirectRetrieval
from serving.http.presence import CallerGone, while_connected
from serving.metrics import NodeMetrics
from serving.query.census import SurfaceCensus
from serving.query.epochs import epoch_name
from serving.query.errors import BundleNotHeld, NodeBehind, NothingLive, QueryRefused, UnknownSurface, WritesMissing
from serving.query.explain import Explainer
from serving.query.retrieve import Retriever

log = logging.getLogger(__name__)

SLOW_S = 0.25
# between two looks whether the index has what the caller wrote
LOOK_S = 0.003

# by class: the code clients see, and the status
_REFUSALS: dict[type[Exception], tuple[str, int]] = {
    UnknownSurface: ("unknown_surface", 404),
    NothingLive: ("nothing_live", 503),
    NodeBehind: ("node_behind", 409),
    WritesMissing: ("writes_missing", 409),
    BundleNotHeld: ("bundle_not_held", 409),
    # nobody reads it: for the metric
    CallerGone: ("caller_gone", 499),
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {status: {"model": Problem} for status in (404, 409, 413, 422, 503)}


def build_app(
    retriever: Retriever,
    node: HasHealth,
    metrics: NodeMetrics,
    *,
    explainer: Explainer,
    census: SurfaceCensus,
    version: str,
    pool: Executor,
) -> ASGIApp:
    """Return the application.

    Args:
        explainer: says why a candidate is in an answer or not.
        census: counts what the live indexes hold.
        pool: answers queries; those beyond its threads wait in line, as long as their callers do. Its owner shuts it down.
    """
    ask = _asking(_answering(retriever, metrics), retriever, pool)
    routes = build_routes(ask, node, metrics, explainer=explainer, census=census, version=version)

    def refuse(error: QueryRefused | BundleError | ValidationError) -> tuple[int, Problem]:
        status, problem = _invalid(error.errors()) if isinstance(error, ValidationError) else _refusal(error)
        metrics.refusals.labels(problem.error).inc()
        return status, problem

    return DirectRetrieval(routes, ask=ask, refuse=refuse, max_bytes=MAX_BODY_BYTES)


def build_routes(
    ask: Asking, node: HasHealth, metrics: NodeMetrics, *, explainer: Explainer, census: SurfaceCensus, version: str
) -> FastAPI:
    """Return the documented routes; `ask` answers the questions, the other arguments are as of `build_app`."""
    metrics.add(HealthCollector(node))
    # FastAPI's own pages load their scripts from a content network; these come with the package
    app = FastAPIOffline(title="Roost node", version=version, description="Candidates true to what is happening now.")
    app.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES)
    _add_problems(app, metrics)
    _add_retrieve(app, ask)
    _add_batch(app, ask, metrics)
    _add_explain(app, explainer)
    _add_stats(app, census)
    _add_operations(app, node, metrics, version)
    return app


def _answering(retriever: Retriever, metrics: NodeMetrics) -> Callable[[str, RetrieveRequest], bytes]:
    def answer(surface: str, request: RetrieveRequest) -> bytes:
        started_s = time.perf_counter()
        found = retriever.answer(surface, request)
        took_s = time.perf_counter() - started_s
        metrics.retrieve_seconds.labels(surface).observe(took_s)
        if found.cold:
            metrics.cold.labels(surface).inc()
        log.log(
            logging.WARNING if took_s > SLOW_S else logging.DEBUG,
            "slow retrieve" if took_s > SLOW_S else "retrieve",
            extra={
                "request_id": found.request_id,
                "surface": surface,
                "bundle": found.bundle,
                "revision": found.revision,
                "epoch": epoch_name(found.bundle, found.revision),
                "candidates": found.candidates,
                "cold": found.cold,
                "took_ms": round(took_s * 1000, 3),
            },
        )
        return found.body

    return answer


def _asking(answer: Callable[[str, RetrieveRequest], bytes], retriever: Retriever, pool: Executor) -> Asking:
    async def ask(surface: str, request: RetrieveRequest) -> bytes:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + request.max_wait_s
        # until the index has what the caller wrote, or the time is up: looked at, for an index that fills sets no event of this
        # loop, and by no thread, for those answer the others
        while retriever.waits_for_writes(surface, request) and loop.time() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        return await loop.run_in_executor(pool, answer, surface, request)

    return ask


def _add_retrieve(app: FastAPI, ask: Asking) -> None:
    # documented here, and answered before it comes here: see `DirectRetrieval`
    @app.post("/v1/surfaces/{surface}/retrieve", response_model=Answer, responses=_PROBLEMS, tags=["retrieve"])
    async def retrieve(surface: str, request: RetrieveRequest) -> Response:
        """Return the best candidates for a user, wholly from the one bundle the answer names."""
        return Response(await ask(surface, request), media_type="application/json")


def _add_batch(app: FastAPI, ask: Asking, metrics: NodeMetrics) -> None:
    @app.post("/v1/surfaces/{surface}/retrieve-batch", response_model=BatchAnswer, responses=_PROBLEMS, tags=["retrieve"])
    async def retrieve_batch(surface: str, batch: BatchRequest, asked: Request) -> Response:
        """Answer several questions side by side; one that is refused costs the others nothing."""

        async def answered(request: RetrieveRequest) -> bytes:
            try:
                return await ask(surface, request)
            except UnknownSurface:
                # so it would be for all of them
                raise
            except (QueryRefused, BundleError) as error:
                _, problem = _refusal(error)
                metrics.refusals.labels(problem.error).inc()
                return PROBLEM_JSON.dump_json(problem)

        answers = await while_connected(asked.receive, asyncio.gather(*map(answered, batch.requests)))
        return Response(b'{"answers":[' + b",".join(answers) + b"]}", media_type="application/json")


def _add_explain(app: FastAPI, explainer: Explainer) -> None:
    # a plain function, as the counts below: nobody waits for it but the person who asked
    @app.post("/v1/surfaces/{surface}/explain", response_model=Explanation, responses=_PROBLEMS, tags=["retrieve"])
    def explain(surface: str, request: ExplainRequest) -> Response:
        """Why a candidate is, or is not, in the answer to this retrieval, now and on this node. It costs a scan of everything."""
        return Response(EXPLANATION_JSON.dump_json(explainer.explain(surface, request)), media_type="application/json")


def _add_stats(app: FastAPI, census: SurfaceCensus) -> None:
    # a plain function: counting waits its turn on a thread, and queries have threads of their own
    @app.get("/v1/surfaces/{surface}/stats", response_model=SurfaceStats, responses=_PROBLEMS, tags=["operate"])
    def stats(surface: str) -> Response:
        """What the live bundle's index holds, by language and age; counted at most every two seconds."""
        return Response(STATS_JSON.dump_json(census.of(surface)), media_type="application/json")


def _add_operations(app: FastAPI, node: HasHealth, metrics: NodeMetrics, version: str) -> None:
    @app.get("/livez", tags=["operate"])
    async def livez() -> dict[str, bool]:
        """The process runs; says nothing about answers."""
        return {"alive": True}

    @app.get("/readyz", response_model=NodeHealth, responses={503: {"model": NodeHealth}}, tags=["operate"])
    async def readyz(response: Response) -> dict[str, Any]:
        """Whether to send queries here: 503 with the reasons while starting, replaying, or unwell."""
        health = node.health()
        response.status_code = 200 if health.ready else 503
        return asdict(health)

    @app.get("/version", tags=["operate"])
    async def version_of() -> dict[str, str]:
        """The release."""
        return {"version": version}

    @app.get("/metrics", response_class=Response, tags=["operate"])
    def scrape() -> Response:
        """Prometheus' text format."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _refusal(error: QueryRefused | BundleError) -> tuple[int, Problem]:
    if isinstance(error, QueryRefused):
        code, status = _REFUSALS[type(error)]
        return status, Problem(code, str(error))
    log.error("a tower failed on a query: %s", error)
    return 503, Problem("bundle_broken", str(error))


def _add_problems(app: FastAPI, metrics: NodeMetrics) -> None:
    def answered(status: int, problem: Problem) -> Response:
        metrics.refusals.labels(problem.error).inc()
        return Response(PROBLEM_JSON.dump_json(problem), status, media_type="application/json")

    @app.exception_handler(QueryRefused)
    async def refused(_: Request, error: QueryRefused) -> Response:
        return answered(*_refusal(error))

    @app.exception_handler(BundleError)
    async def broken(_: Request, error: BundleError) -> Response:
        return answered(*_refusal(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        # where it is begins with "body", which goes without saying
        return answered(*_invalid({**found, "loc": found["loc"][1:]} for found in error.errors()))

    @app.exception_handler(400)
    async def unreadable(_: Request, __: Exception) -> Response:
        # FastAPI's answer to bytes that are not even text, or nest too deeply
        return answered(*_invalid([{"loc": (), "msg": "not JSON in UTF-8"}]))


def _invalid(errors: Iterable[Mapping[str, Any]]) -> tuple[int, Problem]:
    sentences = [f"{'.'.join(str(part) for part in e['loc']) or 'body'}: {e['msg']}" for e in islice(errors, 5)]
    return 422, Problem("invalid_request", "; ".join(sentences))
