"""The client that waits for its answers. Encodes and decodes nothing itself."""

from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from serving.api import Answer, ExplainRequest, Explanation, Problem, RetrieveRequest
from serving.client.calls import (
    LIMITS,
    READY,
    Asked,
    Call,
    answer_of,
    answers_of,
    batch_call,
    explain_call,
    explanation_of,
    health_of,
    node_url,
    retrieve_call,
    retrieve_request,
    says_ready,
    shown,
    timeout_of,
)
from serving.client.errors import AnswerUnreadable, NodeUnreachable
from serving.client.retrying import checked, retrying

T = TypeVar("T")


class Client:
    """Asks one node, or a balancer before several, over one connection pool. Thread-safe, as httpx's client is."""

    def __init__(
        self, base_url: str, *, timeout_s: float = 2.0, retries: int = 0, transport: httpx.BaseTransport | None = None
    ) -> None:
        """Connect to nothing yet.

        Args:
            base_url: such as "http://127.0.0.1:8700".
            timeout_s: bound on each wait: for a connection, and for the next bytes of an answer. What a question lets the node wait
                for the caller's writes (`max_wait_s`) comes on top.
            retries: how often a question that nobody answered, or a node that cannot serve just now, is asked again.
            transport: replaces the network, in tests.

        Raises:
            RequestRefused: `base_url` is no address.
        """
        self._http = httpx.Client(base_url=node_url(base_url), timeout=timeout_s, limits=LIMITS, transport=transport)
        self._timeout_s = timeout_s
        self._retries = checked(retries)

    def retrieve(self, surface: str, **asked: Unpack[Asked]) -> Answer:
        """Return the best candidates; parameters as the fields of `serving.api.RetrieveRequest`.

        Raises:
            RequestRefused: also before anything is sent, when a parameter is over its limit.
            ClientError: see `serving.client.errors`.
        """
        return self._ask(retrieve_call(surface, retrieve_request(asked)), answer_of)

    def retrieve_batch(self, surface: str, requests: Sequence[RetrieveRequest]) -> list[Answer | Problem]:
        """Ask several questions at once; each has its answer, or its own problem, in the order asked.

        Each answer is wholly from the bundle it names; two answers of a batch may name two when a rollout goes live between them.

        Raises:
            RequestRefused: none, or more than `serving.api.MAX_BATCH`.
            ClientError: no question was answered; see `serving.client.errors`.
        """
        return self._ask(batch_call(surface, requests), partial(answers_of, asked=len(requests)))

    def explain(self, surface: str, request: ExplainRequest) -> Explanation:
        """Return why a candidate is, or is not, in the answer to a retrieval.

        Raises:
            ClientError: see `serving.client.errors`.
        """
        return self._ask(explain_call(surface, request), explanation_of)

    def health(self) -> dict[str, Any]:
        """Return what the node says of itself, ready or not: see `serving.health.NodeHealth`.

        Raises:
            ClientError: see `serving.client.errors`.
        """
        return self._ask(READY, health_of)

    def ready(self) -> bool:
        """Tell whether the node says that it is ready.

        Raises:
            NodeUnreachable: nobody answers.
            AnswerUnreadable: somebody else than a node does.
        """
        return self._ask(READY, says_ready)

    def _ask(self, call: Call, read: Callable[[httpx.Response], T]) -> T:
        found: T = retrying(self._retries)(self._once, call, read)
        return found

    def _once(self, call: Call, read: Callable[[httpx.Response], T]) -> T:
        try:
            response = self._http.request(
                call.method, call.path, content=call.body, headers=call.headers, timeout=timeout_of(call, self._timeout_s)
            )
        except httpx.TransportError as error:
            raise NodeUnreachable(f"no answer from {shown(self._http.base_url)} ({type(error).__name__}: {error})") from error
        except httpx.DecodingError as error:
            raise AnswerUnreadable(f"{shown(self._http.base_url)} answered bytes that do not unpack ({error})") from error
        return read(response)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
