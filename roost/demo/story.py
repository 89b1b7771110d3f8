"""The demo's chapters in order: logs, towers, live index, fresh tweet, fine-tune, rollout, rollback. Trains nothing itself."""

import itertools
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lab.history import AnswerChecker, judge, read_history
from lab.world.live import Clock, LiveWorld
from lab.world.settings import DAY_S, LIVELY
from lab.world.vocabulary import LANGUAGES
from lab.world.world import World
from roost.demo.probe import Freshness, measure_freshness
from roost.demo.traffic import Traffic
from roost.machine.machine import Machine
from roost.settings import child_environment
from schemas.bundle import read_bundle
from schemas.codec import decode
from schemas.errors import RoostError
from schemas.records.control import NODE, CommandKind, NodeStatus, Rollout, RolloutCommand
from schemas.records.users import User
from schemas.surfaces import load_surfaces
from schemas.topics import EXAMPLES, NODE_STATUS, embeddings_topic_name
from schemas.wire.tail import TailReader
from serving.client import Answer, Client
from streams.controller.client import RolloutClient
from streams.producer import Producer

SURFACE = "home-timeline"
# 30 world minutes, the label window of a surface, pass in 5 s
SPEED = 360.0
SURFACES_TOML = """\
# The demo's surface: as shipped, with 30 minutes passing in 5 seconds.
[home-timeline]
candidate_topic = "tweets"
id_prefix = "t:"
feature_spec = "tweet-v1"
dim = 64
popularity = "engagements"
refresh = "write-time"
label_window_s = 5
recency_window_s = 480
"""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """Sizes of the demo; the defaults fit five minutes on two cores.

    Attributes:
        slice_days: world days of the production policy's logs, published before anything is trained.
        live_s: seconds of live traffic before the fine-tune.
        probes: brand-new tweets that are published and looked for.
    """

    users: int = 1_500
    tweets_per_day: int = 2_500
    slice_days: float = 1.0
    live_s: float = 30.0
    queries_per_s: float = 20.0
    probes: int = 50
    seed: int = 0


class Story:
    """Runs the chapters against a machine that is up."""

    def __init__(self, plan: DemoPlan, machine: Machine, *, say: Callable[[str], None], show: Callable[[Answer], None]) -> None:
        """Draw the world and connect.

        Args:
            say: takes a sentence for people.
            show: takes an answer to be shown as a table.
        """
        self._plan = plan
        self._machine = machine
        self._say = say
        self._show = show
        world = World(replace(LIVELY, seed=plan.seed, users=plan.users, tweets_per_day=plan.tweets_per_day))
        # half of the users are served by us as soon as something is live, the others by the production policy
        elsewhere = np.arange(plan.users) % 2 == 0
        slice_s = plan.slice_days * DAY_S
        clock = Clock(unix_ms=_now_ms(), world_s=slice_s, speed=SPEED)
        self._slice_s = slice_s
        self._world = LiveWorld(world, clock, surface=SURFACE, elsewhere=elsewhere)
        self._producer = Producer(machine.bootstrap)
        self._client = Client(machine.node_url)
        self._rollouts = RolloutClient(machine.bootstrap)
        self._traffic = Traffic(
            self._world, self._producer, self._client, AnswerChecker(machine.registry, SURFACE), surface=SURFACE
        )
        self._bundles: list[dict[str, Any]] = []
        self._swaps = 0
        self._rollbacks = 0

    def run(self) -> dict[str, Any]:
        """Run all chapters and return the figures; raises `RoostError` where one fails."""
        started_s = time.monotonic()
        with self._chapter("The production policy's logs"):
            count = self._traffic.publish_slice(self._slice_s)
            self._say(f"{count:,} events acknowledged: users, tweets, impressions, engagements")
            self._await_examples()
        with self._chapter("Towers, pre-trained on random negatives"):
            first = self._train("pretrain")
            self._go_live(first)
        self._traffic.start(queries_per_s=self._plan.queries_per_s)
        with self._chapter("Live: events in, answers out"):
            self._say(f"{self._plan.live_s:g} s of traffic; half the users are served by the index, and react")
            time.sleep(self._plan.live_s)
            for user in itertools.islice(self._world.users(), 1, 6, 2):
                self._say(self._introduction(user))
                answer = self._traffic.ask(user.user_id, k=5)
                if answer is not None:
                    self._show(answer)
                    readable = sum(found.language in self._reads(user) for found in answer.candidates)
                    self._say(f"{readable} of {len(answer.candidates)} in a language that {user.user_id} reads")
        with self._chapter("A brand-new tweet"):
            freshness = measure_freshness(self._producer, self._client, surface=SURFACE, probes=self._plan.probes)
            self._say(freshness.sentence())
        with self._chapter("Fine-tuned on fresh implicit negatives, rolled out under traffic"):
            second = self._train("finetune")
            self._go_live(second)
        with self._chapter("Rolled back"):
            self._roll_back(first)
            time.sleep(2.0)
        self._traffic.stop()
        lost = self._lost(first)
        verdict = judge(read_history(self._machine.bootstrap, self._traffic.observed))
        self._say(f"── {verdict.sentence()}")
        return self._report(freshness, lost, verdict.as_data(), time.monotonic() - started_s)

    def close(self) -> None:
        """Stop the traffic and disconnect."""
        self._traffic.stop()
        self._client.close()
        self._rollouts.close()
        self._producer.__exit__(None, None, None)

    @contextmanager
    def _chapter(self, title: str) -> Iterator[None]:
        self._say(f"── {title}")
        started_s = time.monotonic()
        yield
        self._say(f"   {time.monotonic() - started_s:.1f} s")

    def _await_examples(self, *, timeout_s: float = 120.0) -> None:
        """Wait until the labeler has nothing more to say of the slice."""
        deadline_s = time.monotonic() + timeout_s
        with TailReader(self._machine.bootstrap, EXAMPLES, range(self._machine.partitions)) as reader:
            count, quiet_since_s = 0, time.monotonic()
            while count == 0 or time.monotonic() - quiet_since_s < 3.0:
                self._machine.watch()
                if records := reader.poll(10_000, 0.5):
                    count += len(records)
                    quiet_since_s = time.monotonic()
                if time.monotonic() > deadline_s:
                    raise RoostError(f"the labeler is not done after {timeout_s:g} s; see its log in the data folder")
        self._say(f"{count:,} labelled examples joined by the labeler")

    def _train(self, recipe: str) -> str:
        """Train in a process of its own, as an operator would, and return the bundle."""
        environment = child_environment(
            {
                "KAFKA_BOOTSTRAP_SERVERS": self._machine.bootstrap,
                "ROOST_REGISTRY": str(self._machine.registry),
                "ROOST_SURFACES": str(self._machine.surfaces),
            }
        )
        done = subprocess.run(
            [sys.executable, "-m", "roost", "train", recipe, "--surface", SURFACE, "--json"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=False,
        )
        if done.returncode != 0:
            raise RoostError(f"`roost train {recipe}` ended with {done.returncode}; its words are above")
        bundle: dict[str, Any] = json.loads(done.stdout)
        self._bundles.append(bundle)
        self._say(
            f"bundle {bundle['id']}: AUC {bundle['auc']:.3f}, per-user AUC {bundle['per_user_auc']:.3f}, "
            f"top-1 language mismatch {bundle['language_mismatch']:.0%}"
        )
        # of other examples than the bundle before: the two AUC are only to be compared as the gates did
        for gate in read_bundle(self._machine.registry, SURFACE, bundle["id"]).manifest.gates:
            if gate.name == "auc_against_live":
                self._say(f"gate: {gate.sentence}, the live bundle's on the same examples less what may be lost")
        return str(bundle["id"])

    def _go_live(self, bundle: str, *, timeout_s: float = 120.0) -> None:
        started_s = time.monotonic()
        self._command(CommandKind.START, bundle=bundle, automatic=True)
        self._await(lambda: self._state().live == bundle, f"{bundle} to go live", timeout_s)
        self._await(lambda: self._answers_with(bundle), f"the node to answer with {bundle}", 10.0)
        self._swaps += 1
        self._say(f"{bundle} embedded the corpus, came to parity and went live in {time.monotonic() - started_s:.1f} s")

    def _roll_back(self, bundle: str) -> None:
        started_s = time.monotonic()
        self._command(CommandKind.ROLLBACK)
        self._await(lambda: self._answers_with(bundle), f"the node to answer with {bundle} again", 10.0)
        self._rollbacks += 1
        self._say(f"answers come from {bundle} again after {(time.monotonic() - started_s) * 1000:.0f} ms")

    def _command(self, kind: CommandKind, **details: Any) -> Rollout:
        command = RolloutCommand(uuid.uuid4().hex, SURFACE, kind, actor="demo", time_ms=_now_ms(), **details)
        return self._rollouts.send(command, timeout_s=30.0)

    def _state(self) -> Rollout:
        return self._rollouts.states()[SURFACE]

    def _answers_with(self, bundle: str) -> bool:
        try:
            return self._client.retrieve(SURFACE, k=1).bundle == bundle
        except RoostError:
            return False

    def _await(self, holds: Callable[[], bool], what: str, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            self._machine.watch()
            if time.monotonic() > deadline_s:
                raise RoostError(f"waited {timeout_s:g} s for {what}; `roost rollout status` and the logs say why")
            time.sleep(0.05)

    def _introduction(self, user: User) -> str:
        """Say who a user claims to be, and what only the world knows: some declare a language they hardly read."""
        reads = ", ".join(self._reads(user))
        return f"{user.user_id} declares {', '.join(user.languages)}, truly reads {reads}; interests {', '.join(user.interests)}"

    def _reads(self, user: User) -> list[str]:
        spoken = self._world.world.users.spoken[int(user.user_id.removeprefix("u:"))]
        return [LANGUAGES[row] for row in np.flatnonzero(spoken)]

    def _lost(self, bundle: str, *, timeout_s: float = 20.0) -> int:
        """Count acknowledged tweets, alive and inside the recency window, that the live bundle's embeddings lack."""
        window_s = load_surfaces(self._machine.surfaces)[SURFACE].recency_window_s
        wanted = self._traffic.tweets_since(_now_ms() - round(window_s * 1000))
        deadline_s = time.monotonic() + timeout_s
        with TailReader(self._machine.bootstrap, embeddings_topic_name(bundle), range(self._machine.partitions)) as reader:
            while wanted and time.monotonic() < deadline_s:
                wanted -= {(record.key or b"").decode() for record in reader.poll(10_000, 0.2) if record.value is not None}
        return len(wanted)

    def _report(self, freshness: Freshness, lost: int, history: dict[str, Any], seconds: float) -> dict[str, Any]:
        traffic = self._traffic
        for fault in traffic.faults:
            self._say(f"fault: {fault}")
        return {
            "events": traffic.acknowledged,
            "candidates_indexed": self._indexed(),
            "publish_to_retrievable_ms": freshness.percentiles(),
            "queries": traffic.queries,
            "errors": traffic.errors,
            "mixed_epoch_answers": traffic.mixed,
            "lost": lost + freshness.lost,
            "swaps": self._swaps,
            "rollbacks": self._rollbacks,
            "history": history,
            "violations": history["violations"],
            "bundles": self._bundles,
            "seconds": round(seconds, 1),
        }

    def _indexed(self) -> int:
        """Return how many candidates the node says its live index holds."""
        with TailReader(self._machine.bootstrap, NODE_STATUS, [0], once=True) as reader:
            statuses = [decode(NodeStatus, record.value) for record in reader.read_to_end() if record.value is not None]
        newest = {status.instance: status for status in statuses if status.instance.startswith(NODE)}
        live = self._state().live
        return sum(p.live_count for status in newest.values() for p in status.progress if p.bundle == live)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
