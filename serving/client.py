"""The typed client of a node, in the base install: httpx and pydantic only. Keeps one connection pool; retries nothing.

ClientError
├── NodeUnreachable    nobody answered, or not in time: ask another node, or later
├── NotServing         the node answered that it cannot (503): no bundle is live, or it is starting
├── NodeIsBehind       the node acts by an older revision, or does not hold the pinned bundle (409)
├── RequestRefused     the request can never succeed as it is (4xx); the message names the limit
└── AnswerUnreadable   an answer that is none: another service at that address, or another release
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import httpx
from pydantic import ValidationError

from schemas.errors import RoostError
from serving.api import ANSWER_JSON, DEFAULT_K, PROBLEM_JSON, Answer, InlineUser, Problem, RetrieveRequest

__all__ = [
    "Answer",
    "AnswerUnreadable",
    "Client",
    "ClientError",
    "InlineUser",
    "NodeIsBehind",
    "NodeUnreachable",
    "NotServing",
    "RequestRefused",
]


class ClientError(RoostError):
    """Base of all. `code` is the node's stable name of the problem, empty where no node answered."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class NodeUnreachable(ClientError):
    """No answer: no connection, or none in time."""


class NotServing(ClientError):
    """The node cannot answer now."""


class NodeIsBehind(ClientError):
    """The node has not reached the revision or bundle asked for."""


class RequestRefused(ClientError):
    """The node refused the request for good."""


class AnswerUnreadable(ClientError):
    """The bytes are no answer of a node."""


_BY_STATUS: dict[int, type[ClientError]] = {409: NodeIsBehind, 503: NotServing}


class Client:
    """Asks one node, or a balancer before several. Thread-safe, as httpx's client is."""

    def __init__(self, base_url: str, *, timeout_s: float = 2.0, transport: httpx.BaseTransport | None = None) -> None:
        """Connect to nothing yet.

        Args:
            base_url: such as "http://127.0.0.1:8700".
            timeout_s: bound on each wait: for a connection, and for the next bytes of an answer.
            transport: replaces the network, in tests.
        """
        self._http = httpx.Client(base_url=base_url, timeout=timeout_s, transport=transport)

    def retrieve(
        self,
        surface: str,
        *,
        user_id: str | None = None,
        user: InlineUser | None = None,
        k: int = DEFAULT_K,
        context: Mapping[str, str] | None = None,
        exclude: Sequence[str] = (),
        languages: Sequence[str] | None = None,
        max_age_s: float | None = None,
        pin: str | None = None,
        min_revision: int | None = None,
        exact: bool = False,
    ) -> Answer:
        """Return the best candidates; parameters as the fields of `serving.api.RetrieveRequest`.

        Raises:
            RequestRefused: also before anything is sent, when a parameter is over its limit.
            ClientError: see the module.
        """
        try:
            request = RetrieveRequest(
                user_id=user_id,
                user=user,
                k=k,
                context=dict(context or {}),
                exclude=tuple(exclude),
                languages=None if languages is None else tuple(languages),
                max_age_s=max_age_s,
                pin=pin,
                min_revision=min_revision,
                exact=exact,
            )
        except ValidationError as error:
            sentences = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()[:5]]
            raise RequestRefused("; ".join(sentences), code="invalid_request") from error
        body = request.model_dump_json(exclude_defaults=True)
        response = self._send("POST", f"/v1/surfaces/{surface}/retrieve", body)
        if response.status_code != httpx.codes.OK:
            raise _refusal(response)
        try:
            return ANSWER_JSON.validate_json(response.content)
        except ValidationError as error:
            raise AnswerUnreadable(
                f"{response.url} answered something else than a node does: {error.errors()[0]['msg']}"
            ) from error

    def ready(self) -> bool:
        """Tell whether the node says that it is ready; raises `NodeUnreachable` when nobody answers."""
        return self._send("GET", "/readyz").status_code == httpx.codes.OK

    def _send(self, method: str, path: str, body: str | None = None) -> httpx.Response:
        headers = {} if body is None else {"content-type": "application/json"}
        try:
            return self._http.request(method, path, content=body, headers=headers)
        except httpx.TransportError as error:
            raise NodeUnreachable(f"no answer from {self._http.base_url} ({type(error).__name__}: {error})") from error

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _refusal(response: httpx.Response) -> ClientError:
    try:
        problem = PROBLEM_JSON.validate_json(response.content)
    except ValidationError:
        problem = Problem("", response.text[:200])
    error_type = _BY_STATUS.get(response.status_code)
    if error_type is None:
        error_type = RequestRefused if response.is_client_error else AnswerUnreadable
    return error_type(f"{response.status_code}: {problem.message}", code=problem.error)
