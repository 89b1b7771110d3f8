"""Both clients on a real socket: retries, batches, and the two of them saying the same."""

import asyncio
from collections.abc import Callable

import httpx
import pytest

from serving.api import MAX_BATCH
from serving.client import (
    Answer,
    AnswerUnreadable,
    AsyncClient,
    Client,
    ClientError,
    ExplainRequest,
    NodeIsBehind,
    NodeUnreachable,
    NotServing,
    Problem,
    RequestRefused,
    RetrieveRequest,
)
from serving.query.epochs import Routing
from tests.filled_epochs import HOME
from tests.served_app import Served

STARTING, BEHIND, NOWHERE = 503, 409, 404


class Flaky:
    """Fails as often as it is told, by a status or an exception, then answers as the node does."""

    def __init__(self, served: Served, *failures: int | Exception) -> None:
        self.asked = 0
        self._failures = list(failures)
        self._served = served

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self.asked += 1
        if self._failures:
            failure = self._failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return httpx.Response(failure, json={"error": "a code", "message": f"failed with {failure}"})
        answer = self._served.http.request(request.method, request.url.path, content=request.content, headers=request.headers)
        return httpx.Response(answer.status_code, content=answer.content)


def test_a_question_that_nobody_answered_is_asked_again(served: Served) -> None:
    """A node that restarts behind a balancer costs its callers a few milliseconds, not an error."""
    node = Flaky(served, httpx.ConnectError("refused"), STARTING)
    with Client("http://node", retries=2, transport=httpx.MockTransport(node)) as client:
        assert len(client.retrieve(HOME.name, k=3).candidates) == 3
    assert node.asked == 3


@pytest.mark.parametrize("status", [502, 504])
def test_a_balancer_whose_node_does_not_answer_is_asked_again(served: Served, status: int) -> None:
    """So nginx tells of a node that restarts or hangs: the retries, meant for just that, took it for an answer."""
    node = Flaky(served, status)
    with Client("http://node", retries=1, transport=httpx.MockTransport(node)) as client:
        assert len(client.retrieve(HOME.name, k=3).candidates) == 3
    node = Flaky(served, status)
    with (
        Client("http://node", transport=httpx.MockTransport(node)) as client,
        pytest.raises(NodeUnreachable, match=f"{status}: failed"),
    ):
        client.retrieve(HOME.name)


def test_the_last_failure_is_the_one_that_is_raised(served: Served) -> None:
    """Whoever reads the error must see what the node said, not how often it was asked."""
    node = Flaky(served, httpx.ReadTimeout("slow"), STARTING, STARTING)
    with (
        Client("http://node", retries=1, transport=httpx.MockTransport(node)) as client,
        pytest.raises(NotServing, match="503: failed with 503"),
    ):
        client.retrieve(HOME.name)
    assert node.asked == 2


@pytest.mark.parametrize(("failure", "error"), [(BEHIND, NodeIsBehind), (NOWHERE, RequestRefused)])
def test_what_a_second_try_cannot_mend_is_not_tried(served: Served, failure: int, error: type[Exception]) -> None:
    """Asking for ever what will never be granted hides the mistake, and loads the node."""
    node = Flaky(served, failure)
    with Client("http://node", retries=5, transport=httpx.MockTransport(node)) as client, pytest.raises(error):
        client.retrieve(HOME.name)
    assert node.asked == 1


def test_without_retries_a_failure_is_seen_at_once(served: Served) -> None:
    """Whoever measures a node counts its failures."""
    node = Flaky(served, STARTING)
    with Client("http://node", transport=httpx.MockTransport(node)) as client, pytest.raises(NotServing):
        client.retrieve(HOME.name)
    assert node.asked == 1
    with pytest.raises(ValueError, match="0 asks once"):
        Client("http://node", retries=-1)


def test_a_batch_is_answered_in_the_order_asked_and_a_bad_question_costs_the_others_nothing(served: Served) -> None:
    """Each answer still comes whole from the bundle it names."""
    requests = [RetrieveRequest(k=5), RetrieveRequest(pin="f" * 16), RetrieveRequest(k=2, exclude=("t:3",))]
    first, problem, last = served.client.retrieve_batch(HOME.name, requests)
    assert isinstance(first, Answer)
    assert isinstance(problem, Problem)
    assert isinstance(last, Answer)
    assert (len(first.candidates), problem.error, len(last.candidates)) == (5, "bundle_not_held", 2)
    assert {first.bundle, last.bundle} == {served.epoch.bundle}


def test_a_batch_that_is_empty_too_large_or_for_nowhere_is_refused_whole(served: Served) -> None:
    """The limit is named before anything is sent."""
    with pytest.raises(RequestRefused, match="at least 1 item"):
        served.client.retrieve_batch(HOME.name, [])
    with pytest.raises(RequestRefused, match=f"at most {MAX_BATCH} items"):
        served.client.retrieve_batch(HOME.name, [RetrieveRequest()] * (MAX_BATCH + 1))
    assert len(served.client.retrieve_batch(HOME.name, [RetrieveRequest(k=1)] * MAX_BATCH)) == MAX_BATCH
    with pytest.raises(RequestRefused, match="no surface 'nowhere'"):
        served.client.retrieve_batch("nowhere", [RetrieveRequest()])


def test_fewer_answers_than_questions_are_no_answer() -> None:
    """To pair them up anyway would give a user somebody else's tweets."""
    short = httpx.MockTransport(lambda _: httpx.Response(200, json={"answers": []}))
    with Client("http://node", transport=short) as client, pytest.raises(AnswerUnreadable, match="0 of 1 questions"):
        client.retrieve_batch(HOME.name, [RetrieveRequest()])


@pytest.mark.parametrize("ask", ["retrieve", "health", "ready"])
def test_packed_bytes_that_do_not_unpack_are_no_answer(ask: str) -> None:
    """A broken proxy's answer: whoever catches `ClientError` got an error of httpx's, past its retries and its fallback."""
    broken = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"not packed"))
    )

    async def ask_async() -> None:
        async with AsyncClient("http://node", transport=broken) as client:
            await (client.retrieve(HOME.name) if ask == "retrieve" else getattr(client, ask)())

    with Client("http://node", transport=broken) as client, pytest.raises(AnswerUnreadable, match="do not unpack"):
        client.retrieve(HOME.name) if ask == "retrieve" else getattr(client, ask)()
    with pytest.raises(AnswerUnreadable, match="do not unpack"):
        asyncio.run(ask_async())


@pytest.mark.parametrize("kind", ["one", "a batch", "without writes to wait for"])
def test_a_node_that_may_wait_for_the_callers_writes_is_given_that_time_on_top(served: Served, kind: str) -> None:
    """Asked to wait up to 10 s, by a client that waits 2 s for an answer, it looked dead, and was asked again by the retries."""
    waited: list[float] = []

    def note(request: httpx.Request) -> httpx.Response:
        waited.append(request.extensions["timeout"]["read"])
        assert request.extensions["timeout"]["connect"] == 2.0
        plain: dict[str, object] = {"requests": [{}]} if kind == "a batch" else {}
        return httpx.Response(200, content=served.http.post(request.url.path, json=plain).content)

    node = httpx.MockTransport(note)
    wanted = {} if kind == "without writes to wait for" else {"tweets": {0: 1}}
    request = RetrieveRequest(min_offset=wanted, max_wait_s=10)

    async def ask_async() -> None:
        async with AsyncClient("http://node", transport=node) as client:
            if kind == "a batch":
                await client.retrieve_batch(HOME.name, [request])
            else:
                await client.retrieve(HOME.name, min_offset=wanted, max_wait_s=10)

    with Client("http://node", transport=node) as client:
        if kind == "a batch":
            client.retrieve_batch(HOME.name, [request])
        else:
            client.retrieve(HOME.name, min_offset=wanted, max_wait_s=10)
    asyncio.run(ask_async())
    assert waited == ([2.0, 2.0] if not wanted else [12.0, 12.0])


def test_brackets_without_end_are_no_health_of_a_node() -> None:
    """The parser gives up on its own depth, which is no error of the bytes to it."""
    nested = httpx.MockTransport(lambda _: httpx.Response(200, content=b"[" * 200_000))
    with Client("http://node", transport=nested) as client, pytest.raises(AnswerUnreadable, match="else than a node's health"):
        client.health()


@pytest.mark.parametrize("charset", ["hex", "rot13", "undefined", "no-such-one"])
@pytest.mark.parametrize(("status", "kind"), [(404, RequestRefused), (500, AnswerUnreadable), (503, NotServing)])
def test_an_error_page_with_a_charset_of_no_texts_is_the_error_of_its_status(
    charset: str, status: int, kind: type[Exception]
) -> None:
    """Python knows codecs that give no text; a page that names one raised `AssertionError` or `LookupError` past every `except`."""
    headers = {"content-type": f"text/html; charset={charset}"}
    page = httpx.MockTransport(lambda _: httpx.Response(status, headers=headers, content="<h1>schön</h1>".encode()))
    with Client("http://node", transport=page) as client, pytest.raises(kind, match="schön"):
        client.retrieve(HOME.name)


def test_a_page_of_somebody_else_is_no_node_that_is_ready() -> None:
    """A proxy greets whoever asks: traffic would be sent to where no node is."""
    page = httpx.MockTransport(lambda _: httpx.Response(200, text="<h1>It works!</h1>"))
    away = httpx.MockTransport(lambda _: httpx.Response(503, text="<h1>Bad luck</h1>"))
    with Client("http://node", transport=page) as client, pytest.raises(AnswerUnreadable, match="else than a node's health"):
        client.ready()
    with Client("http://node", transport=away) as client:
        assert not client.ready()


def test_the_async_client_answers_many_at_once_and_says_what_the_other_says(served: Served) -> None:
    """One event loop, forty questions in flight, each with its own answer."""

    async def ask() -> tuple[list[Answer], list[Answer | Problem], bool]:
        async with AsyncClient(served.server.url, timeout_s=10, retries=1) as client:
            answers = await asyncio.gather(*(client.retrieve(HOME.name, k=k % 20 + 1) for k in range(40)))
            return list(answers), await client.retrieve_batch(HOME.name, [RetrieveRequest(k=4)]), await client.ready()

    answers, batch, ready = asyncio.run(ask())
    assert [len(answer.candidates) for answer in answers] == [k % 20 + 1 for k in range(40)]
    (four,) = batch
    assert isinstance(four, Answer)
    assert [found.candidate_id for found in four.candidates] == [
        found.candidate_id for found in served.client.retrieve(HOME.name, k=4).candidates
    ]
    assert ready


def test_callers_that_wait_for_their_writes_keep_no_others_from_the_node(served: Served) -> None:
    """A hundred connections were all waited for: the callers beyond were told that the node does not answer, though it was well."""

    async def ask() -> list[BaseException | Answer]:
        async with AsyncClient(served.server.url, timeout_s=2) as client:
            behind = [client.retrieve(HOME.name, k=1, min_offset={"tweets": {0: 1}}, max_wait_s=4) for _ in range(100)]
            return await asyncio.gather(*behind, client.retrieve(HOME.name, k=1), return_exceptions=True)

    *behind, answer = asyncio.run(ask())
    assert {type(one) for one in behind} == {NodeIsBehind}
    assert isinstance(answer, Answer)


def test_the_async_client_retries_and_refuses_as_the_other_does(served: Served) -> None:
    """Two clients with two rules would be two products."""
    node = Flaky(served, httpx.ConnectError("refused"), STARTING)

    async def ask(retries: int) -> int:
        async with AsyncClient("http://node", retries=retries, transport=httpx.MockTransport(node)) as client:
            return len((await client.retrieve(HOME.name, k=3)).candidates)

    with pytest.raises(NodeUnreachable):
        asyncio.run(ask(0))
    assert asyncio.run(ask(1)) == 3
    served.table.put(Routing(HOME, 1))
    with pytest.raises(NotServing):
        asyncio.run(ask(0))


def test_both_clients_take_the_same_arguments() -> None:
    """A parameter that one of them has forgotten is found here."""

    def arguments(call: Callable[..., object]) -> dict[str, object]:
        return {name: kind for name, kind in call.__annotations__.items() if name != "return"}

    for name in ("retrieve", "retrieve_batch", "ready", "close"):
        assert arguments(getattr(Client, name)) == arguments(getattr(AsyncClient, name))


@pytest.mark.parametrize(
    "address",
    ["ftp://node", "http://", "node:8470", "http://node:port", "", "http://node..example", "http://xn--", f"http://{'a' * 64}"],
)
def test_an_address_that_is_none_is_refused_before_anything_is_sent(address: str) -> None:
    """A typing error in a setting is to be told from a node that is away: asking again never helps.

    Two dots in a name raised `UnicodeError` at the first question, past every `except`.
    """
    for client in (Client, AsyncClient):
        with pytest.raises(RequestRefused, match="give http://host:port"):
            client(address)


@pytest.mark.parametrize("answer", [httpx.ConnectError("refused"), "<h1>It works!</h1>"])
def test_no_message_holds_the_password_of_an_address(answer: str | Exception) -> None:
    """A gateway's password was in the log of whoever logs errors."""

    def answered(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"].startswith("Basic ")
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(200, text=answer)

    transport = httpx.MockTransport(answered)

    async def ask_async() -> None:
        async with AsyncClient("http://ann:secret@node", transport=transport) as client:
            await client.health()

    with Client("http://ann:secret@node", transport=transport) as client, pytest.raises(ClientError, match="http://node") as told:
        client.health()
    with pytest.raises(ClientError, match="http://node") as told_async:
        asyncio.run(ask_async())
    assert "secret" not in f"{told.value}{told_async.value}"


@pytest.mark.parametrize("surface", ["../../readyz", "#f", "a/b", "a?b", "..", ""])
def test_what_cannot_be_a_surface_is_refused_before_anything_is_sent(served: Served, surface: str) -> None:
    """A name from elsewhere, put into the address as it is, would ask another route than the one that was meant."""
    node = Flaky(served)
    with Client("http://node", transport=httpx.MockTransport(node)) as client:
        for ask in (
            lambda: client.retrieve(surface),
            lambda: client.retrieve_batch(surface, [RetrieveRequest()]),
            lambda: client.explain(surface, ExplainRequest(candidate_id="t:1", user_id="ann")),
        ):
            with pytest.raises(RequestRefused, match="no surface"):
                ask()
    assert node.asked == 0
