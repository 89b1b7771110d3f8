"""Structured logging: every line is one object, whatever was logged."""

import json
import logging
import subprocess
import sys

from roost.logs import JsonLines
from roost.settings import child_environment


def line_of(message: str, *arguments: object, error: BaseException | None = None, **fields: object) -> dict[str, object]:
    """Return what a record becomes."""
    trouble = None if error is None else (type(error), error, error.__traceback__)
    record = logging.getLogger("t").makeRecord(
        "serving.test", logging.WARNING, "f.py", 1, message, arguments, trouble, extra=fields
    )
    line = JsonLines().format(record)
    assert "\n" not in line
    decoded: dict[str, object] = json.loads(line)
    return decoded


def test_a_line_carries_its_fields_by_name() -> None:
    """Whoever searches logs by bundle must not parse sentences."""
    line = line_of("flip to %s", "日本\nx", bundle="b1", took_ms=1.5)
    assert (line["message"], line["bundle"], line["took_ms"]) == ("flip to 日本\nx", "b1", 1.5)
    assert (line["level"], line["logger"]) == ("warning", "serving.test")


def test_an_exception_stays_on_its_line() -> None:
    """A traceback over forty lines is forty broken records."""
    assert "ValueError: odd" in str(line_of("failed", error=ValueError("odd"))["error"])


def test_what_json_cannot_hold_is_written_as_text() -> None:
    """A log line must never raise."""
    assert line_of("x", thing={1, 2}.__class__)["thing"] == "<class 'set'>"


def test_a_role_that_is_asked_for_json_logs_it() -> None:
    """`--json` is what a person tries first; a role has no answer, and its log is all that a machine can read of it."""
    words = [sys.executable, "-m", "roost", "control", "--json"]
    environment = child_environment({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "ROOST_LOG_FORMAT": "text"})
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as role:
        assert role.stderr is not None
        first = role.stderr.readline()
        role.terminate()
        out, rest = role.communicate()
    assert json.loads(first)["message"] == "controller starting on the broker at 127.0.0.1:1"
    assert all(json.loads(line)["level"] for line in rest.splitlines())
    assert out == b""
