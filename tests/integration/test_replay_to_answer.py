"""A whole machine as a user has it: recorded ratings in, titles out; bad input set aside, bad bundles refused, roles killed."""

import json
import os
import re
import runpy
import shutil
import signal
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lab.replay import examples_from_now, lacking, replay
from lab.replay.movielens import MovieLens, load
from lab.replay.records import LIKED_STARS, Event, candidate_id, event_times_before, events, user_id
from roost import cli
from roost.dead_letters import dead_letter_topics, read_dead_letters
from roost.machine.machine import Machine, MachinePlan
from roost.settings import LauncherSettings
from schemas.bundle import CANDIDATE_TOWER, read_bundle, write_bundle
from schemas.codec import decode
from schemas.features.query import query_features
from schemas.ids import is_bundle_id
from schemas.records.candidates import Candidate
from schemas.records.control import CommandKind, RolloutCommand
from schemas.records.feedback import Engagement, EngagementKind, Example, Impression, Label
from schemas.records.users import MAX_ENTRIES, UserState
from schemas.surfaces import load_surfaces
from schemas.topics import CANDIDATES, EXAMPLES, ROLLOUT_COMMANDS, TWEETS, USER_EVENTS, USER_STATES
from schemas.wire.client import make_producer
from schemas.wire.tail import TailReader
from serving.client import Answer, Client, ClientError
from streams.controller.client import RolloutClient
from streams.producer import Producer
from tests.bundles import publish_bundle, sha256_of
from tests.integration.waiting import until
from tests.posts import now_ms
from trainer.data.topics import TopicSources
from trainer.gates import GateLimits
from trainer.recipes import PretrainConfig, pretrain
from trainer.training import TrainingData

MOVIES, HOME = "movies", "home-timeline"
RATINGS, MORE_RATINGS = 1_500, 2_500
UNKNOWN_SCHEMA = b"\x00" + struct.pack(">I", 0x40000001) + b"whatever"
TRACE = b"\x00\xff"
BAD_VALUES = (b"\xff\xfe not avro", b"", UNKNOWN_SCHEMA)


class Flight:
    """A machine that has replayed a prefix of MovieLens, with random towers live on both surfaces; tweets there are none."""

    def __init__(self, machine: Machine, data: MovieLens) -> None:
        self.machine = machine
        self.data = data
        self.client = Client(machine.node_url, timeout_s=10.0)
        self.live = {name: publish_bundle(machine.registry, surface=name, dim=dim) for name, dim in ((MOVIES, 32), (HOME, 64))}
        # of the replayed ratings, once the waiting for all had ended
        self.without_example = self.labelled = -1
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._watching.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            self.machine.watch()

    def go_live(self) -> None:
        """Start both bundles by the controller, and wait until the node answers from them."""
        for surface, bundle in self.live.items():
            command = RolloutCommand(
                f"start-{surface}", surface, CommandKind.START, time_ms=now_ms(), bundle=bundle, automatic=True
            )
            with RolloutClient(self.machine.bootstrap) as client:
                client.send(command)
        until(lambda: all(self._answers(surface) for surface in self.live), what="both bundles are live on the node", timeout_s=60)

    def _answers(self, surface: str) -> bool:
        try:
            self.ask("nobody", surface=surface, k=1)
        except ClientError:
            return False
        return True

    def ask(self, user: str, *, surface: str = MOVIES, k: int = 20) -> Answer:
        """Retrieve for a user."""
        return self.client.retrieve(surface, user_id=user, k=k)

    def finds(self, candidate: str) -> bool:
        """Tell whether the node returns a candidate; a node that is starting does not."""
        try:
            return candidate in {found.candidate_id for found in self.ask("nobody", k=1000).candidates}
        except ClientError:
            return False

    def send(self, topic: str, key: bytes, value: bytes) -> str:
        """Write bytes as they are, with a header; returns the record's place."""
        places: list[str] = []
        producer = make_producer(self.machine.bootstrap)
        producer.produce(
            topic,
            value,
            key,
            headers={"trace": TRACE},
            on_delivery=lambda _, message: places.append(f"{message.topic()}/{message.partition()}/{message.offset()}"),
        )
        assert producer.flush(20) == 0
        return places[0]

    def newest(self, topic: str) -> dict[bytes, bytes]:
        """Return the newest value of every key of a topic."""
        with TailReader(self.machine.bootstrap, topic, range(4), once=True) as reader:
            return {record.key: record.value for record in reader.read_to_end() if record.key and record.value}

    def labels(self) -> dict[str, Label]:
        """Return every replayed rating's label, by example id, as of its highest revision."""
        with TailReader(self.machine.bootstrap, EXAMPLES, range(4), once=True) as reader:
            examples = [decode(Example, record.value) for record in reader.read_to_end() if record.value]
        return {e.example_id: e.label for e in sorted(examples, key=lambda e: e.revision) if e.request_id.startswith("ml-")}

    def positives(self, count: int) -> Counter[Label]:
        """Return how many labels of each kind the first `count` ratings must have."""
        liked = sum(rating.stars >= LIKED_STARS for rating in self.data.ratings[:count])
        return Counter({Label.POSITIVE: liked, Label.IMPLICIT_NEGATIVE: count - liked})

    def close(self) -> None:
        """End."""
        self._ended.set()
        self._watching.join()
        self.client.close()


@pytest.fixture(scope="module")
def flight(launcher_settings: LauncherSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flight]:
    """Yield a machine after its replay."""
    plan = MachinePlan(
        tmp_path_factory.mktemp("machine"),
        roles=("control", "embed", "label", "serve"),
        # a machine under load may be slow: no window closes without its history for that
        environment={"ROOST_SESSION_TIMEOUT_S": "6", "OMP_NUM_THREADS": "1", "ROOST_USER_STATES_WAIT_S": "600"},
    )
    with Machine(plan, launcher_settings, say=print) as machine:
        flight = Flight(machine, load())
        try:
            with examples_from_now(machine.bootstrap) as examples:
                with Producer(machine.bootstrap) as producer:
                    replay("movielens-100k", producer, count=RATINGS)
                flight.without_example = lacking(examples, RATINGS, timeout_s=120)
                flight.labelled = len(flight.labels())
            flight.go_live()
            yield flight
        finally:
            flight.close()


def test_a_replayed_user_is_answered_with_titles(flight: Flight, capsys: pytest.CaptureFixture[str]) -> None:
    """The promise of the first minute: real people, real films, an answer that a person can read."""
    titles = {candidate_id(movie.movie_id): movie.text for movie in flight.data.movies.values()}
    person = flight.data.ratings[0].person_id
    until(lambda: not flight.ask(user_id(person)).cold, what="the user's state has reached the node")
    answer = flight.ask(user_id(person))
    assert answer.bundle == flight.live[MOVIES]
    assert [found.text for found in answer.candidates] == [titles[found.candidate_id] for found in answer.candidates]
    assert len(answer.candidates) == 20
    words = ["query", "--surface", MOVIES, "--user", user_id(person), "--liked", "--node", flight.machine.node_url]

    def printed() -> tuple[dict[str, Any], str]:
        assert cli.run([*words, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert cli.run(words) == 0
        return found, capsys.readouterr().out

    def same() -> bool:
        found, shown = printed()
        assert all(film["stars"] >= LIKED_STARS for film in found["liked"])
        assert found["liked"][0]["text"] in shown
        return all(film["text"] in shown for film in found["candidates"])

    # until the whole replay has been taken in, two questions may have two answers
    until(same, what="people and programs are shown the same films")


def test_every_replayed_rating_is_an_example_soon_after(flight: Flight) -> None:
    """Training waits for them: event times of a replay without pauses are just past, and nothing more comes to move a watermark.

    `roost replay --wait` returns no sooner: the guide's training of the first half made a bundle that its gates refused.
    """
    assert (flight.without_example, flight.labelled) == (0, RATINGS)
    until(lambda: Counter(flight.labels().values()) == flight.positives(RATINGS), what="the right labels")


def test_what_was_replayed_is_trained_on(flight: Flight, tmp_path: Path) -> None:
    """A replay feeds training too: towers come of its examples, each with all that its user had liked before."""
    until(lambda: len(flight.labels()) == RATINGS, what="an example for each rating")
    surfaces = load_surfaces(flight.machine.surfaces)
    with TopicSources(flight.machine.bootstrap, surfaces[MOVIES], surfaces) as sources:
        window, corpus = sources.window(), sources.candidates(now_ms())
    examples = window.examples()
    assert len(examples) == RATINGS
    states = {key.decode(): decode(UserState, value) for key, value in flight.newest(USER_STATES).items()}
    # a state that is full has dropped what some rating was made of
    whole = [example for example in examples if len(states[example.user_id].entries) < MAX_ENTRIES]
    assert len(whole) > RATINGS / 2
    for example in whole:
        known = query_features(states[example.user_id], before_ms=example.event_time_ms)
        assert example.query == known, "the label window, however short, waited for the states of before the rating"
    assert sum(bool(example.query.history_topics) for example in whole) > len(whole) / 2
    config = PretrainConfig(min_steps=20, epochs=1, limits=GateLimits(min_auc=0.0, min_sampled_auc=0.0, min_corpus=100))
    bundle = pretrain(surfaces[MOVIES], TrainingData.of_window(window, corpus), config, registry=tmp_path)
    manifest = read_bundle(tmp_path, MOVIES, bundle).manifest
    assert (manifest.dim, manifest.recipe) == (32, "pretrain")
    assert sum(end - begin for begin, end in manifest.examples.values()) > RATINGS / 2


def test_more_than_there_is_and_who_is_unknown_and_an_empty_index_are_answers(flight: Flight) -> None:
    """Not one of them is the node's failure."""
    films = len({rating.movie_id for rating in flight.data.ratings[:RATINGS]})
    until(lambda: len(flight.ask("nobody", k=1000).candidates) >= films, what="every film is in the index")
    assert flight.ask("nobody", k=1000).cold
    assert flight.ask("Ω\U0001f426", k=1).candidates
    empty = flight.ask("nobody", surface=HOME, k=1000)
    assert (empty.candidates, empty.bundle) == ([], flight.live[HOME])


def test_bad_bytes_on_any_input_lie_in_its_dead_letters_and_the_rest_goes_on(flight: Flight) -> None:
    """One producer's bug must cost its own records only, and nobody may have to guess what they were."""
    bad: dict[str, tuple[str, bytes]] = {}
    inputs = dead_letter_topics()
    assert set(inputs) == {TWEETS, "accounts", "articles", "users", "impressions", "engagements", USER_EVENTS, ROLLOUT_COMMANDS}
    for topic in inputs:
        for number, value in enumerate(BAD_VALUES):
            key = f"t:ml-bad{number}".encode()
            bad[flight.send(topic, key, value)] = (topic, value)
    with Producer(flight.machine.bootstrap) as producer:
        producer.tweet("t:ml-after", author_id="", text="After the bad bytes", language="und")
        producer.user("after-the-bytes", languages=("en",))
        impression = Impression("after", "t:ml-after", "after-the-bytes", MOVIES, 0, now_ms())
        producer.send(impression)
        producer.send(Engagement("after-e", "after-the-bytes", "t:ml-after", EngagementKind.FAVORITE, now_ms(), "after"))
    with RolloutClient(flight.machine.bootstrap) as client:
        client.send(RolloutCommand("after-the-bytes", MOVIES, CommandKind.UNFREEZE, time_ms=now_ms()))
    until(lambda: flight.finds("t:ml-after"), what="the tweet after the bad ones is retrievable")
    until(lambda: b"after-the-bytes" in flight.newest(USER_STATES), what="the user after the bad ones has a state")
    until(lambda: b"after-the-bytes" in flight.newest(EXAMPLES), what="the impression after the bad ones is an example")

    def entries() -> dict[str, tuple[str, bytes | None]]:
        letters = [letter for topic in inputs for letter in read_dead_letters(flight.machine.bootstrap, topic)]
        assert all(letter.key is not None and letter.headers[0].value == TRACE for letter in letters)
        return {letter.record_key.decode(): (letter.topic, letter.value) for letter in letters}

    until(lambda: entries() == bad, what="each bad record, and nothing else, lies in its dead-letter topic")


def _corrupt(registry: Path) -> str:
    bundle = publish_bundle(registry, surface=MOVIES, dim=32, seed=5)
    tower = registry / MOVIES / bundle / CANDIDATE_TOWER
    tower.write_bytes(tower.read_bytes()[:-1] + b"\x00")
    return bundle


def _forged(registry: Path, tower_of: Callable[[bytes], bytes]) -> str:
    good = read_bundle(registry, MOVIES, publish_bundle(registry, surface=MOVIES, dim=32, seed=6))
    files = {**good.files, CANDIDATE_TOWER: tower_of(good.files[CANDIDATE_TOWER])}
    return write_bundle(registry, replace(good.manifest, files={name: sha256_of(data) for name, data in files.items()}), files)


def _nan(tower: bytes) -> bytes:
    model = onnx.load_from_string(tower)
    table = next(constant for constant in model.graph.initializer if constant.name == "table")
    table.CopyFrom(numpy_helper.from_array(np.full_like(numpy_helper.to_array(table), np.nan), "table"))
    return bytes(model.SerializeToString())


def _of_dim_64(registry: Path) -> bytes:
    other = read_bundle(registry, MOVIES, publish_bundle(registry, surface=MOVIES, dim=64, seed=7))
    return other.files[CANDIDATE_TOWER]


BAD_BUNDLES: dict[str, tuple[Callable[[Path], str], str]] = {
    "missing": (lambda _: "0123456789abcdef", "cannot be read"),
    "corrupt": (_corrupt, "SHA-256"),
    "nan": (lambda registry: _forged(registry, _nan), "NaN"),
    "wrong dim": (lambda registry: _forged(registry, lambda _: _of_dim_64(registry)), "the manifest says 32"),
    "of another surface": (lambda registry: publish_bundle(registry, surface=HOME, seed=8), "cannot be read"),
}


@pytest.mark.parametrize("kind", BAD_BUNDLES)
def test_a_bad_bundle_is_refused_in_a_sentence_and_the_live_one_stays(
    kind: str, flight: Flight, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3, before any node or the embedder has touched it."""
    make, sentence = BAD_BUNDLES[kind]
    bundle = make(flight.machine.registry)
    assert is_bundle_id(bundle)
    assert cli.run(["rollout", "start", bundle, "--surface", MOVIES, "--bootstrap", flight.machine.bootstrap]) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err
    assert flight.ask("nobody").bundle == flight.live[MOVIES]


@pytest.mark.parametrize("name", ["../../etc/passwd", "0123456789ABCDEF", "0123456789abcde", "", "0123456789abcdef\n"])
def test_what_is_no_bundle_id_is_a_usage_error(name: str, flight: Flight, capsys: pytest.CaptureFixture[str]) -> None:
    """An id becomes a path and a topic name: nothing else gets that far."""
    assert cli.run(["rollout", "start", name, "--surface", MOVIES, "--bootstrap", flight.machine.bootstrap]) == 2
    assert cli.run(["models", "show", name, "--surface", MOVIES, "--registry", str(flight.machine.registry)]) == 2
    assert "16 hex digits" in " ".join(capsys.readouterr().err.split())


def test_every_role_killed_in_the_middle_of_a_stream_comes_back_and_nothing_is_lost_or_doubled(flight: Flight) -> None:
    """The launcher revives them, and their state is in the log: counters, labels and index end as if nothing had happened."""
    first = len(list(events(flight.data, event_times_before(now_ms(), count=RATINGS), count=RATINGS)))
    rest: list[Event] = list(events(flight.data, event_times_before(now_ms(), count=MORE_RATINGS), count=MORE_RATINGS))[first:]
    roles = [role.name for role in flight.machine.roles]
    with Producer(flight.machine.bootstrap) as producer:
        for number, name in enumerate(roles):
            for event in rest[number * len(rest) // len(roles) : (number + 1) * len(rest) // len(roles)]:
                producer.send(event)
            producer.flush()
            killed = flight.machine.role(name).pid
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
    until(lambda: all(role.restarts == 1 for role in flight.machine.roles), what="every role was started again")
    likes = Counter(candidate_id(r.movie_id) for r in flight.data.ratings[:MORE_RATINGS] if r.stars >= LIKED_STARS)

    def counted() -> Counter[str]:
        known = [decode(Candidate, value) for value in flight.newest(CANDIDATES).values()]
        return +Counter({c.candidate_id: c.counters.favorite for c in known if c.candidate_id != "t:ml-after"})

    until(lambda: counted() == likes, what="every film has exactly its likes", timeout_s=60)
    wanted = flight.positives(MORE_RATINGS)
    until(lambda: Counter(flight.labels().values()) == wanted, what="every rating has its label", timeout_s=60)
    until(flight.client.ready, what="the node is whole again", timeout_s=60)
    newest = candidate_id(flight.data.ratings[MORE_RATINGS - 1].movie_id)
    until(lambda: flight.finds(newest), what="the newest film is retrievable")
    with RolloutClient(flight.machine.bootstrap) as client:
        assert client.states()[MOVIES].live == flight.live[MOVIES]


def test_the_doctor_finds_the_damaged_bundle_and_nothing_else(
    flight: Flight, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A healthy machine must look healthy, or nobody reads the report."""
    for surface, bundle in flight.live.items():
        shutil.copytree(flight.machine.registry / surface / bundle, tmp_path / surface / bundle)
    damaged = _corrupt(tmp_path)
    where = ["--bootstrap", flight.machine.bootstrap, "--node", flight.machine.node_url, "--registry", str(tmp_path)]
    assert cli.run(["doctor", "--json", *where]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    wrong = [finding for finding in report["findings"] if finding["verdict"] == "wrong"]
    assert [finding["check"] for finding in wrong] == [f"bundle {damaged}"], wrong
    checks = {finding["check"] for finding in report["findings"]}
    assert checks >= {"surfaces", "broker", "topics", "writing", "clock", "lag of embed", "lag of label", "lag of control", "node"}


def test_what_was_published_with_wait_is_in_the_next_answer_and_its_author_sees_it_at_once(
    flight: Flight, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Read your writes, for a script and for a serving caller: neither has to guess how long the pipeline takes."""
    until(flight.client.ready, what="the node is whole")
    lines = [{"candidate_id": f"t:w{n}", "event_time_ms": now_ms(), "sequence": n, "author_id": "ann"} for n in range(20)]
    file = tmp_path / "tweets.jsonl"
    file.write_text("\n".join(json.dumps(line | {"created_ms": line["event_time_ms"]}) for line in lines), "utf-8")
    words = ["publish", TWEETS, str(file), "--bootstrap", flight.machine.bootstrap, "--json"]
    assert cli.run([*words, "--wait"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["acknowledged"], said["retrievable"], said["lacking"]) == (20, True, [])
    found = {candidate.candidate_id for candidate in flight.ask("ann", surface=HOME, k=1000).candidates}
    assert {line["candidate_id"] for line in lines} <= found
    # a node says how far it is once a second: asked in the same moment, it cannot have said so yet
    assert cli.run([*words, "--wait", "--timeout-s", "0"]) == 1
    assert f"{HOME} reflects tweets/" in " ".join(json.loads(capsys.readouterr().out)["lacking"])
    assert cli.run(["publish", "users", str(file), "--wait", "--bootstrap", flight.machine.bootstrap]) == 2
    with Producer(flight.machine.bootstrap) as producer:
        took_ms = []
        for n in range(30):
            producer.tweet(f"t:mine{n}", author_id="ann")
            producer.flush()
            started_s = time.monotonic()
            answer = flight.client.retrieve(HOME, user_id="ann", k=1000, min_offset=producer.written, max_wait_s=5)
            took_ms.append((time.monotonic() - started_s) * 1000)
            assert f"t:mine{n}" in {candidate.candidate_id for candidate in answer.candidates}
    # by reports alone, once a second, it would take half a second: the marks on the records are what makes it quick
    assert sorted(took_ms)[15] < 300, took_ms


@pytest.mark.parametrize("page", ["README.md", "docs/guides/producers.md", "docs/guides/serving.md", "docs/guides/tour.md"])
def test_the_code_of_the_guides_runs_as_it_is_shown(
    page: str, flight: Flight, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last of this file: it publishes. What a reader copies must run, in the page's order, and print what the page says."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", flight.machine.bootstrap)
    monkeypatch.setenv("ROOST_NODE", flight.machine.node_url)
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```(?:\n\n```text\n(.*?)^```)?", text, re.MULTILINE | re.DOTALL)
    assert blocks
    names: dict[str, Any] = {"__name__": "guide"}
    for block, printed in blocks:
        here = block.replace("127.0.0.1:9092", flight.machine.bootstrap).replace("http://127.0.0.1:8470", flight.machine.node_url)
        capsys.readouterr()
        exec(compile(here, page, "exec"), names)  # noqa: S102  our own pages
        if printed:
            assert capsys.readouterr().out == printed
    if "producer.tweet" in text:
        # at which place is up to random towers: all there is is asked for
        until(
            lambda: "t:1" in {found.candidate_id for found in flight.ask("ann", surface=HOME, k=1000).candidates},
            what="the tweet is found",
        )


def test_the_examples_run_and_are_short(
    flight: Flight, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A producer, a serving caller, an operator: the first that a newcomer runs, and copies."""
    folder = Path(__file__).parents[2] / "examples"
    assert {path.name for path in folder.glob("*.py")} == {"publish.py", "answer.py", "operate.py"}
    assert max(len(path.read_text(encoding="utf-8").splitlines()) for path in folder.glob("*.py")) < 30

    def run(name: str, *arguments: str) -> str:
        monkeypatch.setattr("sys.argv", [name, *arguments])
        capsys.readouterr()
        runpy.run_path(str(folder / name), run_name="__main__")
        return capsys.readouterr().out

    bootstrap = flight.machine.bootstrap
    assert run("publish.py", bootstrap).startswith("acknowledged at ")
    until(
        lambda: "t:example" in {found.candidate_id for found in flight.ask("ann", surface=HOME, k=1000).candidates},
        what="the tweet is found",
    )
    shown = run("answer.py", flight.machine.node_url, bootstrap)
    assert re.match(r"0 t:\S+ \S", shown)
    assert f"{HOME} {flight.live[HOME]} frozen: True" in run("operate.py", bootstrap, "freeze", "a", "holiday")
    assert f"{HOME} {flight.live[HOME]} frozen: False" in run("operate.py", bootstrap, "unfreeze")
