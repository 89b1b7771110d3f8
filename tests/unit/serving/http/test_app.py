"""The HTTP face: limits named, refusals mapped, pages that work offline. Over a real socket."""

import http.client
import json
import logging
import socket
import threading
import time

import httpx
import pytest

from serving.api import ANSWER_JSON, MAX_BODY_BYTES, STATS_JSON, Problem, RetrieveRequest
from serving.client import AnswerUnreadable, Client, InlineUser, NodeIsBehind, NodeUnreachable, NotServing, RequestRefused
from serving.http.presence import WATCHED_AFTER_S
from serving.http.server import CannotListen, HttpServer
from serving.query.epochs import Routing
from tests.filled_epochs import HOME
from tests.served_app import Served
from tests.served_node import until

RETRIEVE = f"/v1/surfaces/{HOME.name}/retrieve"


def test_the_client_gets_what_the_retriever_answers(served: Served) -> None:
    """Server and client share one model: what one writes the other reads, to the last field."""
    answer = served.client.retrieve(HOME.name, user=InlineUser(languages=("en",)), k=5, exclude=["t:3"])
    assert answer.bundle == served.epoch.bundle
    assert len(answer.candidates) == 5
    assert {candidate.text for candidate in answer.candidates} == {"雪🎿"}
    assert answer.cold


def test_the_log_names_the_epoch_that_answered(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """As the flip's line does: what was answered wrongly is traced to the flip it came after."""
    with caplog.at_level(logging.DEBUG, logger="serving.http.app"):
        answer = served.client.retrieve(HOME.name, k=1)
    (line,) = caplog.records
    assert vars(line)["epoch"] == f"{answer.bundle}@{answer.revision}"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"k": 1_001}, "k: Input should be less than or equal to 1000"),
        ({"k": 0}, "k: Input should be greater than or equal to 1"),
        ({"exclude": ["t:x"] * 10_001}, "exclude: Tuple should have at most 10000 items"),
        ({"user_id": "x" * 65}, "longer than 64 bytes"),
        ({"user_id": "é" * 33}, "longer than 64 bytes"),
        ({"pin": "../../etc/passwd"}, "pin: String should match pattern"),
        ({"kk": 3}, "kk: Extra inputs are not permitted"),
        ({"max_age_s": -1}, "max_age_s: Input should be greater than 0"),
        ({"max_age_s": float("1e300")}, "max_age_s: Input should be less than or equal to"),
        ({"min_offset": {"users": {"0": 1}}}, "min_offset.users.[key]: String should match pattern"),
        ({"min_offset": {"tweets": {"zero": 1}}}, "should be a valid integer"),
        ({"max_wait_s": 60}, "max_wait_s: Input should be less than or equal to 10"),
        ({"context": {str(n): "" for n in range(17)}}, "context: Dictionary should have at most 16 items"),
        ([], "body: Input should be an object"),
    ],
)
def test_a_request_over_a_limit_is_refused_by_a_sentence_that_names_it(served: Served, body: object, sentence: str) -> None:
    """A caller who reads only the message must know what to change."""
    response = served.http.post(RETRIEVE, json=body)
    assert response.status_code == 422
    problem = response.json()
    assert problem["error"] == "invalid_request"
    assert sentence in problem["message"]


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff\xfe", b'{"user_id": "\\ud800"}', b'{"k": NaN}', b'{"k": 1e400}', b"null", b"[" * 5_000]
)
@pytest.mark.parametrize("path", [RETRIEVE, f"{RETRIEVE}-batch", f"/v1/surfaces/{HOME.name}/explain"])
def test_bytes_that_are_no_request_are_the_callers_fault(served: Served, path: str, raw: bytes) -> None:
    """Garbage must never be a 500, nor a status and a body that the description does not have."""
    response = served.http.post(path, content=raw, headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert response.json()["error"] == "invalid_request"


def test_a_body_over_a_mebibyte_is_refused_whether_or_not_it_says_so(served: Served) -> None:
    """A length header is a promise of the caller's; the limit must hold without it."""
    body = b'{"exclude": ["' + b"x" * MAX_BODY_BYTES + b'"]}'
    announced = served.http.post(RETRIEVE, content=body)
    streamed = served.http.post(RETRIEVE, content=iter([body[:1000], body[1000:]]))
    for response in (announced, streamed):
        assert response.status_code == 413
        assert f"over {MAX_BODY_BYTES} bytes" in response.json()["message"]


def test_ten_thousand_exclusions_and_a_thousand_candidates_are_within_the_limits(served: Served) -> None:
    """A limit that refuses its own value is off by one."""
    excluded = [f"t:{n}".ljust(64, "x") for n in range(9_999)] + ["t:3"]
    answer = served.client.retrieve(HOME.name, k=1000, exclude=excluded)
    assert len(answer.candidates) == 29


def test_refusals_have_their_status_and_the_client_its_errors(served: Served) -> None:
    """A caller decides by type: ask elsewhere, ask later, or mend the request."""
    with pytest.raises(RequestRefused, match="404: no surface 'nowhere'"):
        served.client.retrieve("nowhere")
    with pytest.raises(NodeIsBehind) as behind:
        served.client.retrieve(HOME.name, min_revision=2)
    assert behind.value.code == "node_behind"
    with pytest.raises(NodeIsBehind, match="has no full index"):
        served.client.retrieve(HOME.name, pin="f" * 16)
    with pytest.raises(RequestRefused, match="k: Input should be less than or equal to 1000"):
        served.client.retrieve(HOME.name, k=1_001)
    served.table.put(Routing(HOME, 1))
    with pytest.raises(NotServing, match="503: home: no bundle is live"):
        served.client.retrieve(HOME.name)


def test_a_node_behind_waits_for_the_callers_writes_and_refuses_when_the_time_is_up(served: Served) -> None:
    """Read your writes: the tweet is on its way, and a moment is cheaper for the caller than asking again."""
    served.epoch.reflects = {"tweets": {3: 41}}
    with pytest.raises(NodeIsBehind, match="tweets/3 up to offset 41, not yet 42") as behind:
        served.client.retrieve(HOME.name, min_offset={"tweets": {3: 42}}, max_wait_s=0.05)
    assert behind.value.code == "writes_missing"
    arriving = threading.Timer(0.2, lambda: setattr(served.epoch, "reflects", {"tweets": {3: 42}}))
    arriving.start()
    started_s = time.monotonic()
    answer = served.client.retrieve(HOME.name, min_offset={"tweets": {3: 42}}, max_wait_s=5)
    assert 0.15 < time.monotonic() - started_s < 2
    assert answer.as_of == {"tweets": {3: 42}}


def test_callers_who_wait_for_their_writes_keep_no_thread_from_the_others(served: Served) -> None:
    """The pool has two threads; twenty authors waiting for a tweet must not stop the timeline of everybody else."""
    served.epoch.reflects = {}
    waiting = RetrieveRequest(min_offset={"tweets": {0: 1}}, max_wait_s=3)
    refused: list[object] = []

    def wait() -> None:
        with Client(served.server.url, timeout_s=10) as client:
            refused.extend(client.retrieve_batch(HOME.name, [waiting] * 20))

    caller = threading.Thread(target=wait, daemon=True)
    caller.start()
    time.sleep(0.3)
    started_s = time.monotonic()
    assert served.client.retrieve(HOME.name, k=1).candidates
    assert time.monotonic() - started_s < 1
    assert caller.is_alive(), "they still wait"
    caller.join()
    assert {found.error for found in refused if isinstance(found, Problem)} == {"writes_missing"}
    assert len(refused) == 20


def test_a_client_that_reaches_no_node_says_so() -> None:
    """A stack trace of a socket library is no answer."""
    with Client("http://127.0.0.1:1", timeout_s=0.5) as client, pytest.raises(NodeUnreachable, match="no answer from"):
        client.retrieve("home")
    other = httpx.MockTransport(lambda _: httpx.Response(200, json={"hello": "world"}))
    with Client("http://other", transport=other) as client, pytest.raises(AnswerUnreadable, match="something else"):
        client.retrieve("home")


def test_health_follows_the_node(served: Served) -> None:
    """Alive is not ready: a balancer must take a replaying node out without killing it."""
    assert served.client.ready()
    served.node.reasons = ("replaying embeddings, 12 records to go",)
    response = served.http.get("/readyz")
    assert response.status_code == 503
    assert response.json()["reasons"] == ["replaying embeddings, 12 records to go"]
    assert served.http.get("/livez").status_code == 200
    assert served.http.get("/version").json() == {"version": "1.2.3"}


def test_metrics_are_prometheus_text(served: Served) -> None:
    """What cannot be scraped is not watched."""
    served.client.retrieve(HOME.name)
    text = served.http.get("/metrics").text
    assert 'roost_retrieve_seconds_count{surface="home"}' in text
    assert "roost_ready 1.0" in text
    served.http.post("/v1/surfaces/nowhere/retrieve", json={})
    assert 'roost_retrieve_refused_total{error="unknown_surface"}' in served.http.get("/metrics").text


def test_the_documentation_needs_no_other_host(served: Served) -> None:
    """Operators read /docs behind firewalls."""
    page = served.http.get("/docs").text
    assert "https://" not in page
    schema = served.http.get("/openapi.json").json()
    assert RETRIEVE.replace(HOME.name, "{surface}") in schema["paths"]
    for path in ("/static-offline-docs/swagger-ui-bundle.js", "/static-offline-docs/swagger-ui.css"):
        assert path in page
        assert served.http.get(path).status_code == 200


def test_many_callers_at_once_each_get_their_own_answer(served: Served) -> None:
    """The pool is bounded: callers wait in line, and none gets another's answer."""
    found: dict[int, int] = {}

    def ask(k: int) -> None:
        found[k] = len(
            ANSWER_JSON.validate_json(httpx.post(served.server.url + RETRIEVE, json={"k": k}, timeout=20).content).candidates
        )

    callers = [threading.Thread(target=ask, args=(k,), daemon=True) for k in range(1, 21)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == {k: k for k in range(1, 21)}


@pytest.mark.parametrize("path", [RETRIEVE, f"{RETRIEVE}-batch"])
def test_questions_of_callers_who_went_away_cost_nothing(served: Served, path: str) -> None:
    """Callers that time out ask again: a node that answers both falls behind ever further, for nobody."""
    address = httpx.URL(served.server.url)
    question: dict[str, object] = {"k": 3}
    body = json.dumps(question if path == RETRIEVE else {"requests": [question] * 3}).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: n\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    answered, gone = "roost_retrieve_seconds_count", "roost_retrieve_refused_total"
    before = served.metric(answered, surface=HOME.name), served.metric(gone, error="caller_gone")
    free = threading.Event()
    taken = [served.pool.submit(free.wait) for _ in range(2)]
    callers = [socket.create_connection((address.host, address.port or 0)) for _ in range(6)]
    try:
        for caller in callers:
            caller.sendall(head + body)
        time.sleep(2 * WATCHED_AFTER_S)
        for caller in callers[:5]:
            caller.close()
        until(lambda: served.metric(gone, error="caller_gone") == before[1] + 5)
    finally:
        free.set()
    assert callers[5].recv(1_000).startswith(b"HTTP/1.1 200")
    callers[5].close()
    assert [done.result() for done in taken] == [True, True]
    assert served.metric(answered, surface=HOME.name) == before[0] + (1 if path == RETRIEVE else 3)


def test_a_caller_who_goes_away_while_the_index_lacks_its_writes_is_waited_for_no_longer(served: Served) -> None:
    """Ten seconds of looking, three hundred times a second, for nobody."""
    served.epoch.reflects = {}
    before = served.metric("roost_retrieve_refused_total", error="caller_gone")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(served.server.url + RETRIEVE, json={"min_offset": {"tweets": {"0": 1}}, "max_wait_s": 10}, timeout=0.2)
    until(lambda: served.metric("roost_retrieve_refused_total", error="caller_gone") == before + 1, within_s=5)


def test_answers_are_not_held_back_for_acknowledgements(served: Served) -> None:
    """Without TCP_NODELAY an answer of two packets waits 40 ms for the caller's delayed acknowledgement."""
    took_s: list[float] = []
    connection = http.client.HTTPConnection(served.server.url.removeprefix("http://"))
    for _ in range(60):
        started_s = time.perf_counter()
        connection.request("POST", RETRIEVE, '{"k": 1}', {"content-type": "application/json"})
        connection.getresponse().read()
        took_s.append(time.perf_counter() - started_s)
    connection.close()
    # the kernel acknowledges the first packets of a connection at once
    assert sorted(took_s[40:])[10] < 0.035


def test_a_connection_that_a_balancer_keeps_is_not_closed_under_it(served: Served) -> None:
    """After five seconds, uvicorn's own, the next question met a closed door: now and then a 502 from a node that was well."""
    assert served.server._server.config.timeout_keep_alive > 60


def test_a_taken_port_is_a_sentence(served: Served) -> None:
    """Two nodes on one port is the commonest start-up mistake."""
    port = int(served.server.url.rsplit(":", 1)[1])
    with pytest.raises(CannotListen, match="choose another by ROOST_HTTP_PORT"):
        HttpServer(lambda *_: None, host="127.0.0.1", port=port, chosen_by="ROOST_HTTP_PORT")  # type: ignore[arg-type]


def test_the_stats_of_a_surface_count_its_candidates_by_language_and_age(served: Served) -> None:
    """Whoever watches asks the node: only its index knows what is live."""
    response = served.http.get(f"/v1/surfaces/{HOME.name}/stats")
    stats = STATS_JSON.validate_json(response.content)
    assert (stats.surface, stats.bundle, stats.live) == (HOME.name, served.epoch.bundle, 30)
    assert sum(stats.languages.values()) == 30
    assert [age.count for age in stats.ages if age.count] == [30], "all were created in 1970"
    assert stats.ages[-1].to_s is None


def test_the_stats_of_an_unknown_surface_or_one_without_a_bundle_are_refused_in_a_sentence(served: Served) -> None:
    """A page that shows why is worth more than an empty chart."""
    assert served.http.get("/v1/surfaces/nope/stats").status_code == 404
    served.table.put(Routing(HOME))
    response = served.http.get(f"/v1/surfaces/{HOME.name}/stats")
    assert response.status_code == 503
    assert response.json()["error"] == "nothing_live"
