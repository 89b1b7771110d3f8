"""`roost models alias`, and commands that take an alias, up to the broker; beyond: tests/integration/test_controller_role.py."""

import json
from pathlib import Path
from typing import Any

import pytest

from roost import cli
from schemas.aliases import bundle_at, move_alias
from tests.bundles import publish_bundle

HOME = "home-timeline"


@pytest.fixture
def bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Return two bundles in the registry that commands use."""
    monkeypatch.setenv("ROOST_REGISTRY", str(tmp_path))
    return publish_bundle(tmp_path, seed=1, dim=32), publish_bundle(tmp_path, seed=2, dim=32)


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the one JSON object that a command printed."""
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    return data


def test_an_alias_is_made_moved_shown_and_listed(bundles: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """What a team calls its bundles by, with who moved it when."""
    first, second = bundles
    assert cli.run(["models", "alias", "stable", first, "--expect", "none"]) == 0
    assert f"stable names {first}" in capsys.readouterr().out
    assert cli.run(["models", "alias", "candidate", "stable", "--json"]) == 0
    assert told(capsys)["bundle"] == first
    assert cli.run(["models", "alias", "stable", second, "--expect", "candidate"]) == 0
    capsys.readouterr()
    assert cli.run(["models", "alias", "stable", "--json"]) == 0
    shown = told(capsys)
    assert shown["bundle"] == second
    assert [(move["previous"], move["bundle"]) for move in shown["history"]] == [(None, first), (first, second)]
    assert cli.run(["models", "list", "--json"]) == 0
    listed = told(capsys)
    assert listed["aliases"] == {"candidate": first, "stable": second}
    assert {row["id"]: row["aliases"] for row in listed["bundles"]} == {first: ["candidate"], second: ["stable"]}


def test_a_lost_compare_ends_with_4_and_moves_nothing(
    bundles: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script branches on it: somebody else was first."""
    first, second = bundles
    assert cli.run(["models", "alias", "stable", first]) == 0
    for expected in (second, "none"):
        assert cli.run(["models", "alias", "stable", second, "--expect", expected]) == 4
        assert f"stable names {first}, not" in capsys.readouterr().err
    assert bundle_at(tmp_path, HOME, "stable") == first


def test_a_bundle_that_cannot_be_read_gets_no_alias(
    bundles: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Found out now, by who moves it, not later by who rolls it out."""
    assert cli.run(["models", "alias", "stable", "0" * 16]) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert bundle_at(tmp_path, HOME, "stable") is None


@pytest.mark.parametrize("name", ["../up", "0123456789abcdef", "none", "a b"])
def test_what_can_be_no_alias_is_a_usage_error(name: str, bundles: tuple[str, str]) -> None:
    """It becomes a folder's name, and must not look like a bundle or like none."""
    assert cli.run(["models", "alias", name, bundles[0]]) == 2


def test_an_alias_stands_for_its_bundle(bundles: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever a command takes one."""
    move_alias(tmp_path, HOME, "stable", bundles[1], expected=None, actor="ann", time_ms=1)
    for word in ("show", "verify"):
        assert cli.run(["models", word, "stable", "--json"]) == 0
        assert told(capsys)["id"] == bundles[1]


@pytest.mark.parametrize(
    "words",
    [
        "models show nobody",
        "models alias nobody",
        "models alias stable nobody",
        "rollout start nobody",
        "rollout canary nobody 5",
        "rollout promote nobody",
        "explain --user ann --candidate t:1 --pin nobody",
        "train evaluate nobody",
        "train reproduce nobody",
        "train finetune --parent nobody",
        "train finetune --served-by nobody",
    ],
)
def test_an_alias_that_is_not_there_is_said_before_a_broker_is_asked(
    words: str, bundles: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A typing error must not become a command in the log."""
    broker = [] if words.startswith("models") else ["--bootstrap", "127.0.0.1:1"]
    assert cli.run([*words.split(), *broker]) == (1 if words == "models alias nobody" else 2)
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "has no alias" in said
    assert "nobody" in said


def test_a_damaged_bundle_is_listed_with_its_fault_and_hides_no_other(
    bundles: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One flipped byte ended the whole list, just when an operator looks for a bundle to roll back to."""
    first, second = bundles
    tower = tmp_path / HOME / first / "query.onnx"
    tower.write_bytes(tower.read_bytes()[:-1] + b"\x00")
    third = publish_bundle(tmp_path, seed=3, dim=32)
    (tmp_path / HOME / third / "manifest.json").write_bytes(b"{}")
    assert cli.run(["models", "list", "--json"]) == 0
    faults = {row["id"]: row["fault"] for row in told(capsys)["bundles"]}
    assert faults.keys() == {first, second, third}
    assert faults[second] is None
    assert "query.onnx differs from its SHA-256" in faults[first]
    assert "manifest was altered" in faults[third]
    assert cli.run(["models", "list"]) == 0
    printed = capsys.readouterr()
    assert f"unusable: bundle {first}: query.onnx differs" in printed.out
    assert "bundles" in printed.err, "each is read whole, which of a registry behind a URL takes its time"
    assert "100%" in printed.err
