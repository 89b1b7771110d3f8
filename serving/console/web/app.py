"""The console's application: pages that only read, and the routes of `rollouts`. Reads everything through its parts."""

import time
from dataclasses import replace

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles

from serving.console.metrics import ConsoleMetrics, CountedSender, TimedPages
from serving.console.readings import ConsoleParts, Moment
from serving.console.views.overview import default_surface, overview, series
from serving.console.views.paper import results
from serving.console.watch.watcher import EVERY_S
from serving.console.web.guard import LOCAL_HOSTS, SecurityHeaders
from serving.console.web.play import add_playground
from serving.console.web.rollouts import add_rollouts
from serving.console.web.templates import Templates, static_folder
from serving.http.body_limit import BodyLimit

MAX_FORM_BYTES = 16_384
# of readings: older ones are drawn, with a sentence that says so
_STALE_S = 5 * EVERY_S


def build_console(parts: ConsoleParts, *, version: str, hosts: tuple[str, ...] = ()) -> FastAPI:
    """Return the application.

    Args:
        hosts: names, besides this machine's own, under which browsers may ask for it.
    """
    metrics = ConsoleMetrics(parts.watch)
    parts = replace(parts, sender=CountedSender(parts.sender, metrics))
    app = FastAPI(title="Roost console", version=version, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(BodyLimit, max_bytes=MAX_FORM_BYTES)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOCAL_HOSTS, *hosts], www_redirect=False)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(TimedPages, metrics=metrics)
    app.mount("/static", StaticFiles(directory=static_folder()), name="static")
    templates = Templates(version=version)
    _add_overview(app, parts, templates)
    add_rollouts(app, parts, templates)
    add_playground(app, parts, templates)
    _add_paper(app, parts, templates)
    _add_operations(app, parts, templates, version)
    _add_metrics(app, metrics)
    return app


def _add_overview(app: FastAPI, parts: ConsoleParts, templates: Templates) -> None:
    def shown(surface: str | None) -> dict[str, object]:
        moments = parts.watch.moments()
        name = surface or default_surface(parts.surfaces, moments)
        if name not in parts.surfaces:
            raise HTTPException(404, f"there is no surface {name[:64]!r}; the file names {', '.join(parts.surfaces)}")
        view = overview(moments, parts.surfaces[name])
        return {
            "page": "overview",
            "surfaces": tuple(parts.surfaces),
            "view": view,
            "stale": stale(moments[-1] if moments else None),
        }

    @app.get("/", include_in_schema=False)
    def root() -> Response:
        return RedirectResponse("/overview")

    @app.get("/overview")
    def overview_page(surface: str | None = None) -> Response:
        return templates.page("overview.html", shown(surface))

    @app.get("/overview/live")
    def overview_live(surface: str | None = None) -> Response:
        return templates.page("_overview.html", shown(surface))

    @app.get("/overview/series.json")
    def overview_series(surface: str | None = None) -> Response:
        moments = parts.watch.moments()
        name = surface or default_surface(parts.surfaces, moments)
        return JSONResponse(series(moments, name))


def stale(newest: Moment | None) -> str:
    """Return a sentence when the newest reading is old, else nothing."""
    if newest is None:
        return ""
    age_s = time.time() - newest.at_ms / 1000
    return f"these figures are {age_s:.0f} s old: the console cannot read the deployment; see its log" if age_s > _STALE_S else ""


def _add_paper(app: FastAPI, parts: ConsoleParts, templates: Templates) -> None:
    @app.get("/paper")
    def paper() -> Response:
        return templates.page("paper.html", {"page": "paper", "results": results(parts.results.read(), parts.paper)})


def _add_operations(app: FastAPI, parts: ConsoleParts, templates: Templates, version: str) -> None:
    @app.get("/livez")
    async def livez() -> dict[str, bool]:
        return {"alive": True}

    @app.get("/readyz")
    def readyz(response: Response) -> dict[str, object]:
        moments = parts.watch.moments()
        sentence = stale(moments[-1]) if moments else "the deployment was not read yet"
        response.status_code = 503 if sentence else 200
        return {"ready": not sentence, "reason": sentence}

    @app.get("/version")
    async def version_of() -> dict[str, str]:
        return {"version": version}

    def problem_page(sentence: str, status: int) -> Response:
        context = {"page": "", "title": "Not here", "sentence": sentence, "back": "/overview"}
        return templates.page("problem.html", context, status=status)

    @app.exception_handler(HTTPException)
    def problem(_: Request, error: HTTPException) -> Response:
        return problem_page("There is no such page." if error.detail == "Not Found" else str(error.detail), error.status_code)

    @app.exception_handler(RequestValidationError)
    def no_address(_: Request, error: RequestValidationError) -> Response:
        named = ", ".join(str(fault["loc"][-1]) for fault in error.errors())
        return problem_page(f"The address is not one of this console's: look at {named} in it.", 422)


def _add_metrics(app: FastAPI, metrics: ConsoleMetrics) -> None:
    @app.get("/metrics")
    def scrape() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
