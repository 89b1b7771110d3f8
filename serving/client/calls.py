"""A call as bytes: requests to bodies, responses to answers or errors. Opens no connection, waits for nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from schemas.ids import is_surface_name
from schemas.positions import Positions
from serving.api import (
    ANSWER_JSON,
    BATCH_ANSWER_JSON,
    EXPLANATION_JSON,
    PROBLEM_JSON,
    Answer,
    BatchRequest,
    ExplainRequest,
    Explanation,
    InlineUser,
    Problem,
    RetrieveRequest,
)
from serving.client.errors import AnswerUnreadable, ClientError, NodeIsBehind, NodeUnreachable, NotServing, RequestRefused

T = TypeVar("T")

# 502 and 504 are a balancer's, of a node that did not answer it
_BY_STATUS: dict[int, type[ClientError]] = {409: NodeIsBehind, 502: NodeUnreachable, 503: NotServing, 504: NodeUnreachable}


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request. Without a body it is a GET, else a POST of JSON.

    Attributes:
        wait_s: how long the node may let it wait, as it asks for itself, before it begins to answer.
    """

    path: str
    body: str | None = None
    wait_s: float = 0.0

    @property
    def method(self) -> str:
        """The HTTP method."""
        return "GET" if self.body is None else "POST"

    @property
    def headers(self) -> dict[str, str]:
        """The headers the body needs."""
        return {} if self.body is None else {"content-type": "application/json"}


READY = Call("/readyz")

# how many questions are asked at a time is the caller's matter: those that wait for writes would hold up all the others
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)


def node_url(base_url: str) -> httpx.URL:
    """Return a node's address; raises `RequestRefused` for what is none."""
    try:
        url = httpx.URL(base_url)
        # as a connection would: a part of a name may be empty or too long
        url.host.encode("idna")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise RequestRefused(f"{base_url!r} is no address of a node ({error}); give http://host:port") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise RequestRefused(f"{base_url!r} is no address of a node; give http://host:port")
    return url


def shown(url: httpx.URL) -> str:
    """Return an address as messages name it: without the password of who asks."""
    return str(url.copy_with(userinfo=b""))


class Asked(TypedDict, total=False):
    """The arguments of `retrieve`, all of them optional; what each means, and its default, says `serving.api.RetrieveRequest`."""

    user_id: str | None
    user: InlineUser | None
    k: int
    context: Mapping[str, str] | None
    exclude: Sequence[str]
    languages: Sequence[str] | None
    max_age_s: float | None
    authors: Sequence[str] | None
    exclude_authors: Sequence[str]
    max_per_author: int | None
    pin: str | None
    min_revision: int | None
    min_offset: Positions
    max_wait_s: float
    exact: bool


def retrieve_request(asked: Asked) -> RetrieveRequest:
    """Return a request of plain arguments; raises `RequestRefused` when one is over its limit."""
    try:
        return RetrieveRequest.model_validate({**asked, "context": dict(asked.get("context") or {})})
    except ValidationError as error:
        raise _over_a_limit(error) from error


def retrieve_call(surface: str, request: RetrieveRequest) -> Call:
    """Return the call that asks one question; raises `RequestRefused` for what no surface is named."""
    return Call(_path(surface, "retrieve"), request.model_dump_json(exclude_defaults=True), _wait_s(request))


def batch_call(surface: str, requests: Sequence[RetrieveRequest]) -> Call:
    """Return the call that asks several; raises `RequestRefused` for none, too many at once, or as `retrieve_call`."""
    try:
        batch = BatchRequest(requests=tuple(requests))
    except ValidationError as error:
        raise _over_a_limit(error) from error
    wait_s = max(_wait_s(request) for request in batch.requests)
    return Call(_path(surface, "retrieve-batch"), batch.model_dump_json(exclude_defaults=True), wait_s)


def timeout_of(call: Call, timeout_s: float) -> httpx.Timeout:
    """Return the bound on each wait of a call; for the answer's first bytes, what the node may take before them comes on top."""
    return httpx.Timeout(timeout_s, read=timeout_s + call.wait_s)


def answer_of(response: httpx.Response) -> Answer:
    """Return the answer that a response holds; raises the `ClientError` it stands for otherwise."""
    return _read(response, ANSWER_JSON)


def answers_of(response: httpx.Response, asked: int) -> list[Answer | Problem]:
    """Return the answers, in the order of the questions; raises the `ClientError` that the whole response stands for."""
    answers = _read(response, BATCH_ANSWER_JSON).answers
    if len(answers) != asked:
        raise AnswerUnreadable(f"{shown(response.url)} answered {len(answers)} of {asked} questions")
    return answers


def explain_call(surface: str, request: ExplainRequest) -> Call:
    """Return the call that asks after one candidate; raises as `retrieve_call`."""
    return Call(_path(surface, "explain"), request.model_dump_json(exclude_defaults=True))


def explanation_of(response: httpx.Response) -> Explanation:
    """Return the explanation that a response holds; raises the `ClientError` it stands for otherwise."""
    return _read(response, EXPLANATION_JSON)


def health_of(response: httpx.Response) -> dict[str, Any]:
    """Return what a node says of itself, ready or not; raises the `ClientError` that any other response stands for."""
    if response.status_code not in (httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE):
        raise _refusal(response)
    try:
        health = response.json()
    # RecursionError: brackets without end
    except (ValueError, RecursionError) as error:
        raise AnswerUnreadable(f"{shown(response.url)} answered something else than a node's health") from error
    if not isinstance(health, dict) or not {"ready", "surfaces"} <= health.keys():
        raise AnswerUnreadable(f"{shown(response.url)} answered something else than a node's health")
    return health


def says_ready(response: httpx.Response) -> bool:
    """Tell whether a node says that it is ready; raises `AnswerUnreadable` for a good answer that is no node's."""
    return response.status_code == httpx.codes.OK and bool(health_of(response)["ready"])


def _wait_s(request: RetrieveRequest) -> float:
    return request.max_wait_s if request.min_offset else 0.0


def _path(surface: str, what: str) -> str:
    # as part of an address, "../.." or "#" would lead to another one
    if not is_surface_name(surface):
        raise RequestRefused(f"no surface {surface[:64]!r}: a surface is named with 1 to 64 letters, digits, - and _")
    return f"/v1/surfaces/{surface}/{what}"


def _read(response: httpx.Response, form: TypeAdapter[T]) -> T:
    if response.status_code != httpx.codes.OK:
        raise _refusal(response)
    try:
        return form.validate_json(response.content)
    except ValidationError as error:
        raise AnswerUnreadable(
            f"{shown(response.url)} answered something else than a node does: {error.errors()[0]['msg']}"
        ) from error


def _over_a_limit(error: ValidationError) -> RequestRefused:
    sentences = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()[:5]]
    return RequestRefused("; ".join(sentences), code="invalid_request")


def _refusal(response: httpx.Response) -> ClientError:
    try:
        problem = PROBLEM_JSON.validate_json(response.content)
    except ValidationError:
        # a charset in its headers is believed by `response.text`, be it one that is none of texts
        problem = Problem("", response.content[:200].decode(errors="replace"))
    error_type = _BY_STATUS.get(response.status_code)
    if error_type is None:
        error_type = RequestRefused if response.is_client_error else AnswerUnreadable
    return error_type(f"{response.status_code}: {problem.message}", code=problem.error)
