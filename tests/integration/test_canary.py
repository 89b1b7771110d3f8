"""A canary on a real broker: the controller reads the joined examples and ends what users engage less with, restart or not."""

import json
import time
import uuid
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from roost import cli
from roost.broker import Broker
from schemas.codec import decode, encode
from schemas.features.hashing import canary_bucket
from schemas.records.candidates import CandidateFeatures, Counters
from schemas.records.control import BundleStage, CanaryReport, CommandKind, NodeStatus, RolloutCommand, Stage
from schemas.records.feedback import Example, Label
from schemas.topics import EXAMPLES, NODE_STATUS
from schemas.wire.tail import TailReader
from streams.controller.client import RolloutClient
from tests.bundles import publish_bundle
from tests.integration.test_controller_role import HOME, Machine, command, stages
from tests.integration.waiting import until

USERS = [f"u:{n}" for n in range(1_500)]
SHOWN = 6


def examples(canary: BundleStage, live: str, *, engaged_of_canary: int, engaged_of_live: int) -> list[Example]:
    """Return six examples a user, so many of them positive in each arm (every second user one more)."""
    features = CandidateFeatures("", "und", "", (), 0, Counters())
    at_ms = time.time_ns() // 1_000_000
    found = []
    for number, user in enumerate(USERS):
        in_canary = canary_bucket(canary.salt, user) < canary.share_bp
        liked = (engaged_of_canary if in_canary else engaged_of_live) + number % 2
        bundle = canary.bundle if in_canary else live
        plain = Example("", 0, HOME, "r", user, "t:1", 0, at_ms, features, Label.UNKNOWN, bundle=bundle)
        found += [
            replace(plain, example_id=f"{user}/{n}", label=Label.POSITIVE if n < liked else Label.IMPLICIT_NEGATIVE)
            for n in range(SHOWN)
        ]
    return found


def newest_reports(bootstrap: str) -> tuple[CanaryReport, ...]:
    """Return what the controller last said of its canary; nothing while its newest heartbeat is of before it looked."""
    with TailReader(bootstrap, NODE_STATUS, [0], once=True) as reader:
        beats = [decode(NodeStatus, record.value or b"") for record in reader.read_to_end() if record.key == b"controller:0"]
    return beats[-1].canaries


@pytest.mark.parametrize(("engaged_of_canary", "ends"), [(1, Stage.ABORTED), (3, Stage.LIVE)])
def test_a_canary_ends_by_what_its_users_do(
    fresh_broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str], engaged_of_canary: int, ends: Stage
) -> None:
    """From examples on the topic to a record in the log, through a controller that is killed in between."""
    with ExitStack() as stack:
        machine = Machine(fresh_broker.bootstrap, tmp_path, stack)
        old, new = (publish_bundle(machine.registry, seed=seed) for seed in (1, 2))
        client = stack.enter_context(RolloutClient(machine.bootstrap))
        controller = machine.start_controller()
        client.send(command(CommandKind.START, old, automatic=True))
        until(lambda: stages(client).get(old) is Stage.BUILDING, what="the first bundle building")
        machine.report_parity(old)
        until(lambda: stages(client).get(old) is Stage.LIVE, what="the first bundle live")
        client.send(command(CommandKind.START, new))
        until(lambda: stages(client).get(new) is Stage.BUILDING, what="the second bundle building")
        machine.report_parity(old, new)
        until(lambda: stages(client).get(new) is Stage.READY, what="the second bundle ready")
        asked = RolloutCommand(uuid.uuid4().hex, HOME, CommandKind.CANARY, bundle=new, share_bp=500, automatic=True)
        asked = replace(asked, ramp_bp=(4_000,), ramp_hold_s=1, time_ms=time.time_ns() // 1_000_000)
        (first,) = client.send(asked).in_stage(Stage.CANARY)
        until(lambda: not client.states()[HOME].ramp_bp, what="the second share of the ramp")
        (entry,) = client.states()[HOME].in_stage(Stage.CANARY)
        assert (first.share_bp, entry.share_bp, entry.salt) == (500, 4_000, first.salt)
        time.sleep(0.01)
        told = examples(entry, old, engaged_of_canary=engaged_of_canary, engaged_of_live=2)
        few = [example for example in told if int(example.user_id.removeprefix("u:")) < 200]
        machine.write_all(EXAMPLES, [(example.user_id, encode(example)) for example in few])

        def all_counted() -> bool:
            counted = [(r.users + r.live_users, r.shown + r.live_shown) for r in newest_reports(machine.bootstrap)]
            return counted == [(200, 200 * SHOWN)]

        until(all_counted, what="a report of the 200 users")
        assert stages(client)[new] is Stage.CANARY, "decided by too few users"
        (report,) = newest_reports(machine.bootstrap)
        assert (report.surface, report.bundle, report.live, report.verdict) == (HOME, new, old, "wait")
        assert report.curve[-1].low < report.curve[-1].effect < report.curve[-1].high
        words = ["rollout", "status", "--bootstrap", machine.bootstrap]
        machine.report_parity(old, new)
        capsys.readouterr()
        assert cli.run([*words, "--json"]) == 0
        (shown,) = json.loads(capsys.readouterr().out)["surfaces"]
        assert (shown["surface"], shown["canary"]["verdict"]) == (HOME, "wait")
        (progress,) = shown["progress"]
        assert progress["bundle"] == new
        assert [(node["coverage"], node["recall"], node["missing"]) for node in progress["nodes"]] == [(1.0, 1.0, "")]
        assert cli.run(words) == 0
        assert "canary users" in " ".join(capsys.readouterr().out.split())
        # who comes after it counts from the canary's beginning
        controller.kill()
        machine.start_controller()
        machine.write_all(EXAMPLES, [(example.user_id, encode(example)) for example in told])
        until(lambda: stages(client)[new] is ends, what=f"the canary {ends}", timeout_s=40)
        assert "canary users" in client.states()[HOME].reason
        assert client.states()[HOME].actor == "controller"
        assert stages(client)[old] is (Stage.LIVE if ends is Stage.ABORTED else Stage.DRAINING)
