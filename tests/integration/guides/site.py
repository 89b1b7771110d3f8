"""A deployment as the pages speak of it: one broker, one process a role, small data. Holds no test, and no line of a page."""

import os
import re
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import httpx

from roost.broker.config import free_port
from schemas.codec import decode, encode
from schemas.records.candidates import Counters
from schemas.records.control import Outcome, Rollout
from schemas.topics import EXAMPLES, ROLLOUTS, TWEETS, dlq
from schemas.wire.admin import make_admin
from schemas.wire.dlq import DeadLetter
from schemas.wire.tail import TailReader
from streams.outbox import Outbox
from streams.producer import Producer
from tests.integration.shown import ROOT, Shell
from tests.integration.waiting import until
from tests.otlp_receiver import Receiver
from tests.streams_kit import candidates, read_all
from tests.tiny_world import START_MS, TinyWorld, tiny_world

HOME, FOLLOW, RELATED = "home-timeline", "who-to-follow", "related-tweets"
# a loaded machine may be slow
PATIENCE_S = 120.0
_GRACE_S = 60.0
_LOOSE_GATES = tuple(
    f"ROOST_GATE_{name}"
    for name in (
        "AUC_REGRESSION",
        "CANARY_SHIFT",
        "LANGUAGE_MISMATCH_RISE",
        "MAX_LANGUAGE_MISMATCH",
        "PER_USER_AUC_REGRESSION",
        "POPULARITY_CORRELATION_RISE",
        "SAMPLED_AUC_REGRESSION",
    )
)
UNKNOWN_SCHEMA = b"\x00\x40\x00\x00\x01whatever"


class Site:
    """The shell, what runs, the names that the pages' placeholders stand for, and what is known of the deployment."""

    def __init__(self, folder: Path, bootstrap: str, *, schema_registry_url: str, collector: Receiver) -> None:
        """Begin with a broker that has no topic; starts nothing."""
        self.folder, self.bootstrap = folder, bootstrap
        self.schema_registry_url, self.collector = schema_registry_url, collector
        self.admin = make_admin(bootstrap)
        self.registry, self.snapshots = folder / "registry", folder / "snapshots"
        self.registry.mkdir()
        for name in (".venv", "docs", "docker"):
            (folder / name).symlink_to(ROOT / name)
        port = free_port()
        self.node_url = f"http://127.0.0.1:{port}"
        self.bundles: dict[str, str] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.shell = Shell(
            folder,
            {
                "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
                "PATH": f"{folder / 'bin'}:{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
                "OMP_NUM_THREADS": "1",
                # the clone that is tested, whatever folder the lines are run in
                "PYTHONPATH": str(ROOT),
                # short trainings, which are not judged: what a training is worth is measured elsewhere
                **dict.fromkeys(_LOOSE_GATES, "2"),
                "ROOST_GATE_MIN_AUC": "0",
                "ROOST_GATE_MIN_SAMPLED_AUC": "0",
                "ROOST_PRETRAIN_EPOCHS": "1",
                "ROOST_PRETRAIN_MIN_STEPS": "10",
                "ROOST_DATA_DIR": str(folder / "data"),
                "ROOST_HTTP_PORT": str(port),
                "ROOST_LET_GO_S": "1",
                "ROOST_NODE_URL": self.node_url,
                "ROOST_REGISTRY": str(self.registry),
                "ROOST_SERVE": f"{HOME},{FOLLOW},{RELATED}",
                "ROOST_SESSION_TIMEOUT_S": "6",
                "ROOST_SNAPSHOTS": str(self.snapshots),
                "ROOST_SNAPSHOT_EVERY_S": "1",
            },
        )

    def log(self, name: str) -> str:
        """Return what a role has said."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def start(self, name: str, line: str) -> None:
        """Start a line that runs until it is stopped."""
        self.running[name] = self.shell.start(line, log=self.folder / f"{name}.log")

    def hear(self, name: str, text: str) -> None:
        """Wait until a role says a text."""

        def said() -> bool:
            code = self.running[name].poll()
            assert code is None, f"{name} ended with {code}\n{self.log(name)}"
            return text in self.log(name)

        until(said, what=f"{name} says {text!r}", timeout_s=PATIENCE_S)

    def stop(self, name: str, *, by: signal.Signals = signal.SIGTERM, exits: int = 0) -> None:
        """Stop a role, which must end by itself and cleanly."""
        process = self.running.pop(name)
        process.send_signal(by)
        self._ends(name, process, exits, within_s=_GRACE_S)

    def ended(self, name: str, *, exits: int) -> None:
        """Wait until a role has ended by itself."""
        self._ends(name, self.running.pop(name), exits, within_s=PATIENCE_S)

    def _ends(self, name: str, process: subprocess.Popen[bytes], exits: int, *, within_s: float) -> None:
        try:
            code = process.wait(within_s)
        except subprocess.TimeoutExpired as late:
            process.kill()
            raise AssertionError(f"{name} has not ended after {within_s:g} s\n{self.log(name)}") from late
        assert code == exits, f"{name} ended with {code}, not {exits}\n{self.log(name)}"

    def close(self) -> None:
        """Leave nothing behind, whatever happened."""
        for process in self.running.values():
            process.kill()
            process.wait()

    def keep(self, name: str, said: str) -> None:
        """Know a bundle by a name, from what a training printed."""
        found = re.search(r"^id +([0-9a-f]{16})\b", said, re.MULTILINE)
        assert found, said
        self.bundles[name] = found[1]

    def train(self, line: str, *, keeps: str) -> None:
        """Train a bundle."""
        self.keep(keeps, self.shell.run(line))

    def newest(self, surface: str) -> Rollout:
        """Return a surface's newest revision."""
        with TailReader(self.bootstrap, ROLLOUTS, [0], once=True) as reader:
            states = [decode(Rollout, record.value) for record in reader.read_to_end() if record.value]
        accepted = [state for state in states if state.surface == surface and state.outcome is Outcome.ACCEPTED]
        return accepted[-1] if accepted else Rollout(surface, 0)

    def stage(self, surface: str, bundle: str) -> str:
        """Return the stage of a bundle, or nothing."""
        return next((str(entry.state) for entry in self.newest(surface).bundles if entry.bundle == self.bundles[bundle]), "")

    def wait_for(self, surface: str, bundle: str, stage: str) -> None:
        """Wait until a bundle is in a stage."""
        until(
            lambda: self.stage(surface, bundle) == stage,
            what=f"{bundle} is {stage}",
            timeout_s=PATIENCE_S,
        )

    def letters(self) -> list[DeadLetter]:
        """Return the tweets that were set aside."""
        newest = {record.key: record.value for record in read_all(self.bootstrap, dlq(TWEETS), 1)}
        return [decode(DeadLetter, value) for value in newest.values() if value]

    def go_live(self, surface: str, bundle: str) -> None:
        """Roll a bundle out."""
        self.shell.run(f"roost rollout start {self.bundles[bundle]} --surface {surface} --auto --wait")

    def ready(self) -> bool:
        """Tell whether the node is."""
        return httpx.get(f"{self.node_url}/readyz", timeout=30).status_code == 200

    def answers(self, surface: str, **body: object) -> httpx.Response:
        """Ask the node."""
        return httpx.post(f"{self.node_url}/v1/surfaces/{surface}/retrieve", json=body, timeout=30)

    def publish_world(self) -> None:
        """Publish tweets, accounts and the people whom the pages name, and one tweet that no release can decode."""
        with Producer(self.bootstrap, linger_ms=25) as producer:
            for tweet in _WORLD.corpus:
                of = tweet.attributes
                assert of is not None
                producer.tweet(tweet.candidate_id, author_id=of.author_id, language=of.language, region=of.region, topics=of.topics)
            for account in _FOLLOWED.corpus:
                of = account.attributes
                assert of is not None
                producer.account(account.candidate_id, language=of.language, region=of.region, topics=of.topics)
            producer.account("a:42", language="en")
            producer.tweet("t:42", author_id="a:42", language="en", text="A heron on the roof")
            producer.user("ann", languages=["en"])
            producer.user("u:42", languages=["en"], follows=["a:7"])
            producer.engagement("t:1", user_id="u:42", kind="click")
        self.send(TWEETS, b"t:letter", UNKNOWN_SCHEMA)
        wanted = {one.candidate_id for one in (*_WORLD.corpus, *_FOLLOWED.corpus)}
        until(lambda: wanted <= candidates(self.bootstrap).keys(), what="all is folded", timeout_s=PATIENCE_S)

    def log_examples(self, surface: str, *, part: slice = slice(None), bundle: str | None = None) -> None:
        """Write what was served on a surface of just now, as the labeler does; the trainer reads nothing else of it."""
        now_ms = time.time_ns() // 1_000_000
        outbox = Outbox(self.bootstrap)
        for example in (_WORLD if surface == HOME else _FOLLOWED).examples[part]:
            # no engagement is on the topic that would have been counted
            seen = replace(example.candidate, counters=Counters())
            when = now_ms - 400_000 + example.event_time_ms - START_MS
            row = replace(example, event_time_ms=when, candidate=seen, bundle=bundle)
            outbox.produce(EXAMPLES, encode(row), row.user_id.encode())
        outbox.flush_all(timeout_s=30)

    def send(self, topic: str, key: bytes, value: bytes, **headers: bytes) -> None:
        """Write bytes as they are."""
        outbox = Outbox(self.bootstrap)
        outbox.produce(topic, value, key, headers=list(headers.items()))
        outbox.flush_all(timeout_s=30)


def _followed() -> TinyWorld:
    """Return a world whose candidates are accounts."""
    world = tiny_world(seed=1, users=120, tweets=120, impressions=2_000, surface=FOLLOW)

    def account(candidate_id: str) -> str:
        return f"a:{candidate_id[2:]}"

    return TinyWorld(
        [
            replace(
                example,
                candidate_id=account(example.candidate_id),
                candidate=replace(example.candidate, author_id=account(example.candidate_id), author_followers=0),
            )
            for example in world.examples
        ],
        [replace(candidate, candidate_id=account(candidate.candidate_id)) for candidate in world.corpus],
    )


_WORLD = tiny_world(users=120, tweets=300, impressions=3_000)
_WORLD = TinyWorld([replace(one, candidate=replace(one.candidate, author_followers=0)) for one in _WORLD.examples], _WORLD.corpus)
_FOLLOWED = _followed()
