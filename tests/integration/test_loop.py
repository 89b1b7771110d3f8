"""The whole loop on a real broker, every role a process of its own, and nobody operating it."""

import time
from pathlib import Path

import numpy as np
import pytest

from lab.history import AnswerChecker
from lab.world.live import Clock, LiveWorld
from lab.world.settings import DAY_S, WorldSettings
from lab.world.world import World
from roost.demo.traffic import Traffic
from roost.machine.machine import Machine, MachinePlan
from roost.settings import LauncherSettings
from schemas.codec import decode
from schemas.records.control import Rollout, Stage
from schemas.topics import ROLLOUTS
from schemas.wire.tail import TailReader
from serving.client import Client
from streams.producer import Producer

SURFACE = "home-timeline"
SURFACES_TOML = """\
[home-timeline]
candidate_topic = "tweets"
id_prefix = "t:"
feature_spec = "tweet-v1"
dim = 32
popularity = "engagements"
refresh = "write-time"
label_window_s = 1
recency_window_s = 600
"""
# 30 world minutes, a label window, pass in 1 s
SPEED = 1800.0
SCHEDULE = {"ROOST_INTERVAL_S": "1", "ROOST_MIN_FRESH_EXAMPLES": "1500", "ROOST_MIN_PRETRAIN_EXAMPLES": "3000"}
WANTED_LIVE = 3


# three trainings beside all roles: some 40 s on two free cores, several times that on busy ones
@pytest.mark.timeout(600)
def test_events_come_in_and_one_bundle_after_the_other_goes_live_with_no_operator(
    launcher_settings: LauncherSettings, tmp_path: Path
) -> None:
    """The product in one sentence: pre-trained from the logs, then fine-tuned twice on what it served, answers whole throughout."""
    surfaces = tmp_path / "surfaces.toml"
    surfaces.write_text(SURFACES_TOML)
    world = World(WorldSettings(users=600, authors=200, tweets_per_day=1_200))
    clock = Clock(time.time_ns() // 1_000_000, world_s=DAY_S, speed=SPEED)
    live_world = LiveWorld(world, clock, surface=SURFACE, elsewhere=np.arange(600) % 2 == 0)
    plan = MachinePlan(tmp_path / "data", surfaces, environment=SCHEDULE)
    with (
        Machine(plan, launcher_settings, say=print) as machine,
        Client(machine.node_url) as client,
        Producer(machine.bootstrap) as producer,
    ):
        traffic = Traffic(live_world, producer, client, AnswerChecker(machine.registry, SURFACE), surface=SURFACE)
        traffic.publish_slice(DAY_S)
        with TailReader(machine.bootstrap, ROLLOUTS, [0]) as reader:
            lives = _live_bundles(reader, machine, count=1, timeout_s=240)
            traffic.start(queries_per_s=5)
            lives += _live_bundles(reader, machine, count=WANTED_LIVE - 1, timeout_s=240, known=lives)
        traffic.stop()
    assert len(set(lives)) == WANTED_LIVE
    assert traffic.queries > 0
    assert (traffic.errors, traffic.mixed) == (0, 0), traffic.faults
    # every bundle that went live had answered: the node flipped, not only the log
    assert set(lives[:-1]) <= set(traffic.answers_by_bundle)


def _live_bundles(
    reader: TailReader, machine: Machine, *, count: int, timeout_s: float, known: list[str] | None = None
) -> list[str]:
    """Follow the rollout log until `count` more bundles went live, in order."""
    found: list[str] = []
    deadline_s = time.monotonic() + timeout_s
    while len(found) < count:
        assert time.monotonic() < deadline_s, f"only {found} went live in {timeout_s} s:\n{machine.role('train').log_tail()}"
        machine.watch()
        for record in reader.poll(100, 0.5):
            assert record.value is not None
            rollout = decode(Rollout, record.value)
            live = rollout.in_stage(Stage.LIVE)
            if live and live[0].bundle not in (*found, *(known or ())):
                found.append(live[0].bundle)
    return found
