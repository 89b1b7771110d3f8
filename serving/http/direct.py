"""The busiest route, answered before the framework: read the body, parse it once, answer, send. Documents nothing.

Going through FastAPI costs a request a quarter of a millisecond of the interpreter that every other thread of the node waits for.
"""

from collections.abc import Awaitable, Callable

from pydantic import ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from schemas.errors import BundleError
from serving.api import PROBLEM_JSON, Problem, RetrieveRequest
from serving.http.body_limit import body_within
from serving.http.presence import while_connected
from serving.query.errors import QueryRefused

# a question's surface and body to its answer's JSON
Asking = Callable[[str, RetrieveRequest], Awaitable[bytes]]
# an error to its status and what the client is told
Refusing = Callable[[QueryRefused | BundleError | ValidationError], tuple[int, Problem]]

_PREFIX, _SUFFIX = "/v1/surfaces/", "/retrieve"


class DirectRetrieval:
    """Answers `POST /v1/surfaces/{surface}/retrieve` and passes everything else on. An ASGI wrapper."""

    def __init__(self, app: ASGIApp, *, ask: Asking, refuse: Refusing, max_bytes: int) -> None:
        self._app = app
        self._ask = ask
        self._refuse = refuse
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] == "http" and scope["method"] == "POST":
            path: str = scope["path"]
            surface = path[len(_PREFIX) : -len(_SUFFIX)]
            if path.startswith(_PREFIX) and path.endswith(_SUFFIX) and surface and "/" not in surface:
                await self._retrieve(surface, scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _retrieve(self, surface: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await body_within(self._max_bytes, scope, receive, send)
        if body is None:
            return
        status = 200
        try:
            answered = await while_connected(receive, self._ask(surface, RetrieveRequest.model_validate_json(body)))
        except (QueryRefused, BundleError, ValidationError) as error:
            status, problem = self._refuse(error)
            answered = PROBLEM_JSON.dump_json(problem)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answered))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answered})
