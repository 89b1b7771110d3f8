"""What the doctor makes of a node's answer; the whole examination, on a broker: tests/integration/test_topics_command.py."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydantic import TypeAdapter

from roost.doctor import examine
from roost.doctor.finding import Finding, Verdict, ok
from schemas.groups import Reader
from schemas.registry.folder import FolderRegistry
from serving.health import BundleHealth, NodeHealth, SurfaceHealth
from tests.bundles import publish_bundle
from tests.told_progress import ToldBar

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


def test_a_bar_is_drawn_while_bundles_are_read_and_is_gone_before_their_finding_is_printed(tmp_path: Path) -> None:
    """Both go to one terminal, by two streams: a finding would stand in the bar's line."""
    publish_bundle(tmp_path)
    bar = ToldBar()
    patient = examine.Patient(None, None, FolderRegistry(tmp_path), None, None, {}, 4)
    for _ in examine.examine(patient, bar=bar.open):
        assert not bar.is_open
    assert ("bundles", 1, 1) in bar.told


def test_a_bar_is_drawn_while_lags_are_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Three seconds for each role that has something to do."""
    looked_at: list[str] = []

    def lag(_: str, reader: Reader, __: object) -> Finding:
        assert bar.is_open
        looked_at.append(reader.role)
        return ok(f"lag of {reader.role}", "none")

    bar = ToldBar()
    monkeypatch.setattr(examine, "_lag", lag)
    found = list(examine._lags(examine.Patient("b:1", None, FolderRegistry(tmp_path), None, None, {}, 4), bar.open))
    assert [finding.check for finding in found] == [what for what, _, _ in bar.told] == [f"lag of {role}" for role in looked_at]
