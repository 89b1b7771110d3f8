"""What the doctor makes of a node's answer; the whole examination, on a broker: tests/integration/test_topics_command.py."""

import json
from collections.abc import Callable

import httpx
import pytest
from pydantic import TypeAdapter

from roost.doctor import examine
from roost.doctor.finding import Verdict
from serving.health import BundleHealth, NodeHealth, SurfaceHealth

URL = "http://127.0.0.1:2"


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Return what has an address answer these bytes."""

    def answer(content: bytes) -> None:
        monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(200, content=content))

    return answer


def test_an_address_with_a_slip_of_the_pen_is_a_finding() -> None:
    """The doctor ended with a traceback."""
    found = examine._node("http://[::1")
    assert (found.verdict, found.fix) == (Verdict.WRONG, "roost serve")


@pytest.mark.parametrize("content", [b"\xff\xfe\xfa", b"<h1>It works</h1>", b"[]", b'{"ready": true}'])
def test_what_is_no_node_is_told_from_nobody(content: bytes, answering: Callable[[bytes], None]) -> None:
    """Another service has the port: to start a node would not help, and that nobody answers is not true."""
    answering(content)
    found = examine._node(URL)
    assert found.verdict is Verdict.WRONG
    assert found.sentence.startswith(f"{URL} answers 200, and not what a node")


def test_a_node_of_an_older_release_is_judged_by_what_it_says(answering: Callable[[bytes], None]) -> None:
    """Its answer had no alarms of indexes yet: while an upgrade was under way, nobody seemed to answer."""
    bundle = BundleHealth("b" * 16, "live", None, None, (), {0: 5}, 1.0, None, 0, None)
    surface = SurfaceHealth("home", 1, bundle.bundle, bundle.bundle, None, (bundle,))
    health = json.loads(TypeAdapter(NodeHealth).dump_json(NodeHealth("n", True, (), (surface,), 0, 0, 0, None)))
    del health["surfaces"][0]["bundles"][0]["index_alarms"]
    answering(json.dumps(health).encode())
    assert examine._node(URL).verdict is Verdict.OK
    health["surfaces"][0]["bundles"][0]["index_alarms"] = {"builder": "its builder is silent"}
    answering(json.dumps(health).encode())
    assert examine._node(URL).sentence == f"{URL}: bundle {bundle.bundle}: its builder is silent"
