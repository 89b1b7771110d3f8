"""Launchers that claim the same names on one real broker. The rule by itself is tested in `tests/unit/schemas/test_claims.py`."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from roost.broker import Broker
from roost.machine import others
from roost.machine.claim import HeldClaim, claim_of_this_process
from roost.machine.deployment import Deployment
from roost.machine.others import check_alone
from schemas.claims import Claim
from schemas.errors import RoostError
from schemas.topics import NODE_STATUS, standard_topics
from schemas.wire.admin import create_topics, delete_topics, make_admin
from schemas.wire.tail import TailReader
from tests.integration.waiting import until

NAMES = frozenset({"labeler:0", "embedder"})


def keys_left(bootstrap: str) -> set[str]:
    """Return the keys of `node-status` whose newest record is no null."""
    newest: dict[str, bytes | None] = {}
    with TailReader(bootstrap, NODE_STATUS, [0], once=True) as reader:
        for record in reader.read_to_end():
            newest[(record.key or b"").decode()] = record.value
    return {key for key, value in newest.items() if value is not None}


def test_of_two_launchers_that_claim_at_one_moment_the_first_in_the_log_goes_on(
    fresh_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each listened for the other's roles before its own began to report: both heard nothing, and both started."""
    monkeypatch.setattr(others, "_ENDING_S", 0.0)
    bootstrap = fresh_broker.bootstrap
    dead = Claim("gone", 7, "f00d", NAMES)
    with HeldClaim(bootstrap, dead) as killed:
        # as kill -9 would: nothing takes its claim back
        monkeypatch.setattr(killed, "remove", lambda _claims: None)
    with HeldClaim(bootstrap, claim_of_this_process(NAMES)) as first, HeldClaim(bootstrap, claim_of_this_process(NAMES)) as second:
        with pytest.raises(RoostError, match=rf"process {os.getpid()} on \S+ has claimed embedder and labeler:0 on .*--role"):
            check_alone(bootstrap, second.claim)
        assert check_alone(bootstrap, first.claim) == [dead]
        first.remove([dead])
    assert keys_left(bootstrap) == set(), "whoever ended took its claim back, and the dead one's was removed"


def test_a_launcher_under_which_the_topic_was_created_anew_keeps_its_names(
    fresh_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its claim is gone, its roles run."""
    monkeypatch.setattr(others, "_ENDING_S", 0.0)
    bootstrap = fresh_broker.bootstrap
    with HeldClaim(bootstrap, claim_of_this_process(NAMES)):
        admin = make_admin(bootstrap)
        delete_topics(admin, [NODE_STATUS])
        create_topics(admin, standard_topics())
        with (
            HeldClaim(bootstrap, claim_of_this_process(NAMES)) as later,
            pytest.raises(RoostError, match="has claimed embedder and labeler:0"),
        ):
            check_alone(bootstrap, later.claim)


def test_of_two_roost_up_at_one_moment_one_serves_and_the_other_ends_with_a_sentence(fresh_broker: Broker, tmp_path: Path) -> None:
    """They fenced each other's labeler, and started it again, for ever. The one that ended takes over once the other is killed."""
    environment = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": fresh_broker.bootstrap}

    def up(folder: Path) -> subprocess.Popen[str]:
        words = ["up", "--role", "label", "--data-dir", str(folder), "--json"]
        return subprocess.Popen(
            [sys.executable, "-m", "roost", *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    folders = [tmp_path / "one", tmp_path / "two"]
    launchers = [up(folder) for folder in folders]
    try:
        until(lambda: any(p.poll() is not None for p in launchers), what="one of them ends", timeout_s=60.0)
        refused = next(at for at, process in enumerate(launchers) if process.poll() is not None)
        serving = launchers[1 - refused]
        out, said = launchers[refused].communicate(timeout=10.0)
        assert launchers[refused].returncode == 1
        assert "has claimed labeler:0 on the broker" in json.loads(out)["error"]
        assert f"process {serving.pid} on " in said.splitlines()[-1], said
        assert "has claimed labeler:0 on the broker" in said.splitlines()[-1]
        assert serving.stdout is not None
        assert list(json.loads(serving.stdout.readline())["roles"]) == ["label"]
        found = Deployment.require(folders[1 - refused])
        assert (found.pid, found.restarts) == (serving.pid, {"label": 0})

        serving.send_signal(signal.SIGKILL)
        serving.wait()
        launchers.append(up(folders[refused]))
        until(lambda: Deployment.find(folders[refused]) is not None, what="the other one serves", timeout_s=60.0)
        killed = f":{serving.pid}:"
        until(lambda: not any(killed in key for key in keys_left(fresh_broker.bootstrap)), what="the killed one's claim is removed")
    finally:
        for process in launchers:
            process.terminate()
        for process in launchers:
            process.communicate(timeout=60.0)
