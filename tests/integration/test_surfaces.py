"""Every shipped surface on a whole machine: log in, trained, exported, rolled out, asked. Configuration alone tells them apart."""

import heapq
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.world import Clock, LiveWorld, World
from lab.world.settings import DAY_S, LIVELY
from lab.world.surfaces import SurfaceWorld
from roost import cli
from roost.machine.machine import Machine, MachinePlan
from roost.settings import LauncherSettings
from schemas.bundle import read_bundle
from schemas.codec import decode
from schemas.features.catalog import CATALOG
from schemas.records.feedback import Example, Impression, QueryToken
from schemas.surfaces import Surface, load_surfaces
from schemas.tokens import read_token
from schemas.topics import CANDIDATES, EXAMPLES
from schemas.wire.tail import TailReader
from serving.client import Client, ClientError
from streams.producer import Producer
from tests.integration.waiting import until

SHIPPED = load_surfaces()
# half a world day, 12 hours of visits, in half a minute: a label window of 1 s is 24 minutes
SPEED = 1_440.0
WORLD = replace(LIVELY, users=300, authors=300, tweets_per_day=900, languages=5, topics=16, intercept=-2.6)
VISITS = 320
QUESTIONS = 40


@dataclass(frozen=True)
class Deployment:
    """A machine that has taken in every surface's log, and the worlds the logs are of."""

    machine: Machine
    surfaces_file: Path
    worlds: dict[str, SurfaceWorld]
    client: Client

    def run(self, *words: str) -> None:
        """Run a command of `roost` on this machine."""
        assert cli.run([*words, "--bootstrap", self.machine.bootstrap, "--json"]) == 0, words

    def words(self, surface: str) -> list[str]:
        """Return the options that name a surface's bundles."""
        return ["-s", surface, "--surfaces", str(self.surfaces_file), "--registry", str(self.machine.registry)]

    def train(self, surface: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
        """Pre-train a surface's bundle, and return what the command says of it."""
        capsys.readouterr()
        self.run("train", "pretrain", *self.words(surface))
        trained: dict[str, Any] = json.loads(capsys.readouterr().out)
        return trained

    def answers_from(self, surface: str, bundle: str) -> bool:
        """Tell whether the node answers from a bundle."""
        try:
            return self.client.retrieve(surface, k=1).bundle == bundle
        except ClientError:
            return False


def _as_toml(surfaces: dict[str, Surface]) -> str:
    tables = []
    for name, surface in surfaces.items():
        values = {key: value for key, value in asdict(surface).items() if key != "name"}
        tables.append(f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    return "\n".join(tables)


@pytest.fixture(scope="module")
def deployment(launcher_settings: LauncherSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Yield a machine with every shipped surface, its labels within a second and its towers small."""
    folder = tmp_path_factory.mktemp("surfaces")
    surfaces = {name: replace(surface, label_window_s=1, dim=32) for name, surface in SHIPPED.items()}
    surfaces_file = folder / "surfaces.toml"
    surfaces_file.write_text(_as_toml(surfaces))
    world = World(WORLD)
    clock = Clock(time.time_ns() // 1_000_000, world_s=DAY_S, speed=SPEED)
    worlds = {name: SurfaceWorld(world, surface, clock) for name, surface in surfaces.items()}
    plan = MachinePlan(
        folder / "data", surfaces_file, roles=("control", "embed", "label", "serve"), environment={"OMP_NUM_THREADS": "1"}
    )
    with Machine(plan, launcher_settings, say=print) as machine, Client(machine.node_url, timeout_s=10.0) as client:
        ended = threading.Event()
        watching = threading.Thread(target=_watch, args=(machine, ended), daemon=True)
        watching.start()
        try:
            _publish(machine.bootstrap, LiveWorld(world, clock), worlds)
            yield Deployment(machine, surfaces_file, worlds, client)
        finally:
            ended.set()
            watching.join()


def _watch(machine: Machine, ended: threading.Event) -> None:
    while not ended.wait(0.2):
        machine.watch()


def _publish(bootstrap: str, live: LiveWorld, worlds: dict[str, SurfaceWorld]) -> None:
    """Publish users, candidates and every surface's log, and wait for one example an impression."""
    published = {told.candidate_id: told for world in worlds.values() for told in world.publications()}
    with Producer(bootstrap) as producer:
        for user in live.users():
            producer.send(user)
        for told in published.values():
            producer.send(told)
        producer.flush()
        with TailReader(bootstrap, CANDIDATES, range(4)) as reader:
            folded: set[bytes | None] = set()

            def all_folded() -> bool:
                folded.update(record.key for record in reader.poll(10_000, 0.5))
                return folded >= {name.encode() for name in published}

            until(all_folded, what="every candidate is folded", timeout_s=60)
        # in order of time over all surfaces: one watermark closes everybody's label windows
        logs = [world.log(VISITS) for world in worlds.values()]
        for event in heapq.merge(*logs, key=attrgetter("event_time_ms")):
            producer.send(event)
    shown = Counter(event.surface for log in logs for event in log if isinstance(event, Impression))
    assert shown.keys() == SHIPPED.keys()
    joined: set[tuple[str, str]] = set()
    with TailReader(bootstrap, EXAMPLES, range(4)) as reader:

        def counts() -> Counter[str]:
            examples = [decode(Example, record.value) for record in reader.poll(10_000, 0.5) if record.value]
            joined.update((example.surface, example.example_id) for example in examples)
            return Counter(surface for surface, _ in joined)

        until(lambda: counts() == shown, what="an example for each impression", timeout_s=180)


# training of one surface, then its rollout: some 20 s on a free core
@pytest.mark.timeout(600)
@pytest.mark.parametrize("surface", SHIPPED)
def test_a_surface_is_trained_rolled_out_and_asked_by_its_configuration_alone(
    surface: str, deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """Accounts, articles, tweets asked from a tweet: the same commands for each, and answers truly worth more than the corpus."""
    world, registry = deployment.worlds[surface], deployment.machine.registry
    trained = deployment.train(surface, capsys)
    manifest = read_bundle(registry, surface, trained["id"]).manifest
    assert manifest.feature_spec == CATALOG[SHIPPED[surface].feature_spec]
    assert {"auc", "per_user_auc", "language_mismatch", "popularity_correlation"} <= manifest.metrics.keys()
    assert all(gate.passed for gate in manifest.gates)

    capsys.readouterr()
    deployment.run("train", "evaluate", trained["id"], *deployment.words(surface))
    printed = capsys.readouterr()
    measured = json.loads(printed.out)
    for phase in (CANDIDATES, "candidate tower"):
        assert re.search(rf"^{phase} .* 100%", printed.err, re.MULTILINE), "reading and embedding may take minutes"
    assert measured["examples"] == manifest.metrics["evaluation_examples"], "no example was both trained on and measured on"
    assert measured["per_user_auc"] == pytest.approx(manifest.metrics["per_user_auc"])

    deployment.run("rollout", "start", trained["id"], "--surface", surface, "--auto")
    until(lambda: deployment.answers_from(surface, trained["id"]), what=f"{surface} is answered from its bundle", timeout_s=90)
    asked = world.questions(QUESTIONS)
    answers = [
        deployment.client.retrieve(surface, user_id=question.user_id, context=dict(question.context), k=10) for question in asked
    ]
    assert all(len(answer.candidates) == 10 for answer in answers)
    worth = [
        world.worth(question, [candidate.candidate_id for candidate in answer.candidates]).mean()
        for question, answer in zip(asked, answers, strict=True)
    ]
    corpus = [world.worth(question).mean() for question in asked]
    assert np.mean(worth) > 1.5 * np.mean(corpus), (surface, np.mean(worth), np.mean(corpus))
    for question, answer in zip(asked, answers, strict=True):
        token = read_token(QueryToken, answer.query_token)
        assert token is not None
        assert token.features.context == question.context, "the impression is to say what was asked from"
        assert bool(token.features.languages) == (question.user_id is not None)
