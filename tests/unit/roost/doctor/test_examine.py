"""What the doctor makes of a node's answer; the whole examination, on a broker: tests/integration/test_topics_command.py."""

import httpx
import pytest

from roost.doctor import examine
from roost.doctor.finding import Verdict


@pytest.mark.parametrize("url", ["http://127.0.0.1:2", "http://[::1"])
def test_what_is_no_node_is_a_finding_whatever_it_answers(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another service has the port, or the address has a slip of the pen: the doctor ended with a traceback."""
    if url.endswith("2"):
        monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(200, content=b"\xff\xfe\xfa"))
    found = examine._node(url)
    assert (found.verdict, found.fix) == (Verdict.WRONG, "roost serve")
