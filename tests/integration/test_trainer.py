"""The trainer on a real broker: what it reads, from where to where, and the loop from examples to a second bundle."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition

from roost import cli
from schemas.bundle import read_bundle
from schemas.codec import encode
from schemas.errors import BrokerUnavailable
from schemas.records.base import Message
from schemas.records.candidates import Candidate, Counters
from schemas.records.control import BundleStage, Rollout, Stage
from schemas.records.feedback import Example, Label
from schemas.surfaces import Surface, load_surfaces
from schemas.topics import CANDIDATES, ENGAGEMENTS, EXAMPLES, ROLLOUTS, USER_STATES, standard_topics
from schemas.wire.admin import create_topics, wait_for_broker
from schemas.wire.client import make_consumer, make_producer
from tests.integration.conftest import RunningKafka
from tests.skewed import SKEWS, TRUE
from tests.tiny_world import START_MS, TinyWorld, tiny_world
from trainer.data.passed_over import PassedOver
from trainer.data.tail import partitions_of
from trainer.data.topics import CorpusTail, ExampleTail, RolloutTail, TopicSources, group_of, read_passed_over
from trainer.gates import GateLimits
from trainer.options.settings import EnsembleOptions, FinetuneOptions, Options, PretrainOptions
from trainer.reproduce import TOWER_FILES
from trainer.role import run_schedule
from trainer.settings import TrainerSettings

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class OwnSurface:
    """A surface nobody else on the broker uses, and what writes to its topics."""

    bootstrap: str
    surface: Surface
    surfaces_file: Path
    producer: Producer

    def world(self, **size: int) -> TinyWorld:
        """Return a tiny world whose ids belong to this surface."""
        world = tiny_world(surface=self.surface.name, **size)
        prefix = self.surface.id_prefix
        return TinyWorld(
            [replace(example, candidate_id=prefix + example.candidate_id[2:]) for example in world.examples],
            [replace(candidate, candidate_id=prefix + candidate.candidate_id[2:]) for candidate in world.corpus],
        )

    def send(self, topic: str, key: str, message: Message | bytes | None) -> None:
        """Write one record."""
        value = encode(message) if isinstance(message, Message) else message
        self.producer.produce(topic, key=key.encode(), value=value)
        self.producer.poll(0)

    def send_examples(self, examples: list[Example]) -> None:
        """Write examples, keyed by user as the labeler does."""
        for example in examples:
            self.send(EXAMPLES, example.user_id, example)
        self.flush()

    def send_candidates(self, candidates: list[Candidate]) -> None:
        """Write candidates."""
        for candidate in candidates:
            self.send(CANDIDATES, candidate.candidate_id, candidate)
        self.flush()

    def go_live(self, revision: int, *bundles: tuple[str, Stage]) -> None:
        """Write what the controller would."""
        entries = tuple(BundleStage(bundle, stage) for bundle, stage in bundles)
        self.send(ROLLOUTS, self.surface.name, Rollout(self.surface.name, revision, bundles=entries))
        self.flush()

    def flush(self) -> None:
        """Wait until all is acknowledged."""
        assert self.producer.flush(TIMEOUT_S) == 0


@pytest.fixture
def own(broker: RunningKafka, tmp_path: Path) -> Iterator[OwnSurface]:
    """A surface of the test's own."""
    create_topics(wait_for_broker(broker.bootstrap, timeout_s=TIMEOUT_S), standard_topics())
    name = f"trained-{time.time_ns()}"
    file = tmp_path / "surfaces.toml"
    file.write_text(
        f'[{name}]\ncandidate_topic = "tweets"\nid_prefix = "t:{name}-"\nfeature_spec = "tweet-v1"\ndim = 64\n'
        'popularity = "engagements"\nrefresh = "write-time"\nlabel_window_s = 5\nrecency_window_s = 0\n'
    )
    producer = make_producer(broker.bootstrap, linger_ms=20)
    yield OwnSurface(broker.bootstrap, load_surfaces(file)[name], file, producer)
    producer.flush(TIMEOUT_S)


def test_a_window_holds_exactly_what_lies_between_its_offsets(own: OwnSurface) -> None:
    """Other surfaces, bytes that are no example and later revisions included: the manifest's offsets must tell the truth."""
    examples = own.world(users=40, tweets=30, impressions=200).examples
    tail = ExampleTail(own.bootstrap, own.surface.name)
    before = {p: following for p, (_, following) in tail.window().offsets.items()}
    own.send_examples(examples[:100])
    own.send(EXAMPLES, "u0", b"no example at all")
    own.send_examples([replace(examples[0], surface="another")])
    own.send_examples([replace(examples[1], revision=1, label=Label.EXPLICIT_NEGATIVE)])
    window = tail.window(before)
    assert {example.example_id for example in window.examples()} == {example.example_id for example in examples[:100]}
    (corrected,) = [one for one in window.examples() if one.example_id == examples[1].example_id]
    assert (corrected.revision, corrected.label) == (1, Label.EXPLICIT_NEGATIVE)
    assert window.skipped == 1
    assert sum(following - first for first, following in window.offsets.values()) == 103

    # the next window holds only what is new; going back, as after a rollback, yields all again
    after = {p: following for p, (_, following) in window.offsets.items()}
    own.send_examples(examples[100:])
    assert len(tail.window(after).logged) == 100
    assert len(tail.window(before).logged) == 201
    fresh = ExampleTail(own.bootstrap, own.surface.name)
    assert fresh.window(after).offsets == tail.window(after).offsets
    # from offsets of a topic that was recreated since: read it all rather than wait for ever
    assert len(fresh.window(dict.fromkeys(after, 10**9)).logged) == 201
    tail.close()
    fresh.close()


def test_what_a_trainer_has_passed_over_is_known_to_the_next_one(own: OwnSurface) -> None:
    """It has no disk that outlasts it: the broker keeps it, as it keeps where any reader stands."""
    with TopicSources(own.bootstrap, own.surface, load_surfaces(own.surfaces_file)) as sources:
        assert sources.passed_over() == PassedOver()
        ends = {p: 7 + p for p in partitions_of(own.bootstrap, EXAMPLES)}
        for said in (PassedOver("a" * 16, ends, 900), PassedOver("b" * 16, {p: end + 1 for p, end in ends.items()}, 1_700)):
            sources.pass_over(said)
            with TopicSources(own.bootstrap, own.surface, load_surfaces(own.surfaces_file)) as another:
                assert another.passed_over() == said

    consumer = make_consumer(own.bootstrap, group_of(own.surface.name))
    for metadata in ("", "5"):
        consumer.commit(offsets=[TopicPartition(EXAMPLES, p, 3, metadata) for p in ends], asynchronous=False)
        assert read_passed_over(own.bootstrap, own.surface.name) == PassedOver(), "moved by hand, it says nothing of any bundle"
    consumer.close()


def test_memory_is_bounded_and_the_window_says_where_it_really_begins(own: OwnSurface) -> None:
    """A trainer that was away for weeks must not read a month into memory, nor claim that it trained on it."""
    examples = own.world(users=40, tweets=30, impressions=300).examples
    own.send_examples(examples)
    tail = ExampleTail(own.bootstrap, own.surface.name, max_examples=120)
    window = tail.window()
    assert len(window.logged) == 120
    for entry in window.logged:
        first, following = window.offsets[entry.partition]
        assert first <= entry.offset < following
    tail.close()


def test_aborted_examples_are_never_trained_on(own: OwnSurface) -> None:
    """Read committed: what a crashed writer's transaction left is produced again by the replay."""
    examples = own.world(users=40, tweets=30, impressions=20).examples
    tail = ExampleTail(own.bootstrap, own.surface.name)
    before = {p: following for p, (_, following) in tail.window().offsets.items()}
    writer = make_producer(own.bootstrap, transactional_id=f"trainer-test-{time.time_ns()}")
    writer.init_transactions(TIMEOUT_S)
    for commits, batch in ((False, examples[:10]), (True, examples[10:])):
        writer.begin_transaction()
        for example in batch:
            writer.produce(EXAMPLES, key=example.user_id.encode(), value=encode(example))
        writer.flush(TIMEOUT_S)
        if commits:
            writer.commit_transaction(TIMEOUT_S)
        else:
            writer.abort_transaction(TIMEOUT_S)
    # an open one lies behind all that can be read: nobody waits for what becomes of it
    writer.begin_transaction()
    writer.produce(EXAMPLES, key=examples[0].user_id.encode(), value=encode(examples[0]))
    writer.flush(TIMEOUT_S)
    window = tail.window(before)
    assert {one.example_id for one in window.examples()} == {one.example_id for one in examples[10:]}
    assert not tail.window({p: following for p, (_, following) in window.offsets.items()}).logged
    writer.commit_transaction(TIMEOUT_S)
    late = tail.window({p: following for p, (_, following) in window.offsets.items()})
    assert [one.example_id for one in late.examples()] == [examples[0].example_id]
    tail.close()


def test_nothing_is_learned_of_what_a_user_was_shown_before_being_deleted(own: OwnSurface) -> None:
    """In memory since before the delete, read after it, or corrected later: none of it may reach a bundle."""
    user_id = f"{own.surface.name}-u1"
    world = own.world(users=3, tweets=30, impressions=60).examples
    shown = [replace(one, user_id=user_id) if one.user_id == "u1" else one for one in world]
    gone = [example for example in shown if example.user_id == user_id]
    assert 5 < len(gone) < 50
    tail = ExampleTail(own.bootstrap, own.surface.name)
    before = {p: following for p, (_, following) in tail.window().offsets.items()}
    own.send_examples(shown)
    assert len(tail.window(before).logged) == 60
    own.send(EXAMPLES, user_id, None)
    own.send_examples([replace(gone[0], revision=1)])
    back = replace(gone[1], example_id="back/t:1", event_time_ms=2 * time.time_ns() // 1_000_000)
    own.send_examples([back])
    fresh = ExampleTail(own.bootstrap, own.surface.name)
    for reader in (tail, fresh):
        window = reader.window(before)
        assert [one for one in window.examples() if one.user_id == user_id] == [back]
        assert len(window.logged) == 60 - len(gone) + 1
        assert sum(following - first for first, following in window.offsets.values()) == 63
    assert fresh.window(before).skipped == 0, "a null is no record that could not be read"
    bounded = ExampleTail(own.bootstrap, own.surface.name, max_examples=10)
    bounded.window(before)
    own.send_examples([replace(one, example_id=f"more/{one.example_id}") for one in world if one.user_id != "u1"][:20])
    assert len(bounded.window(before).logged) == 10, "what was dropped with a user makes room"
    for reader in (tail, fresh, bounded):
        reader.close()


def test_the_corpus_is_what_could_be_retrieved_now(own: OwnSurface) -> None:
    """No stub, no delete, no other surface, nothing past the recency window, nothing expired by a null."""
    first, second, third, fourth = own.world(users=3, tweets=4, impressions=1).corpus
    own.send_candidates([first, second, third, fourth])
    own.send_candidates([replace(second, deleted=True), Candidate(f"{own.surface.id_prefix}stub", -1, -1, 0)])
    own.send_candidates([replace(first, candidate_id="t:elsewhere")])
    own.send(CANDIDATES, third.candidate_id, None)
    own.send(CANDIDATES, f"{own.surface.id_prefix}broken", b"\x00bad")
    own.flush()
    surfaces = {**load_surfaces(), **load_surfaces(own.surfaces_file)}
    tail = CorpusTail(own.bootstrap, own.surface, surfaces)
    assert {one.candidate_id for one in tail.candidates(START_MS).candidates} == {first.candidate_id, fourth.candidate_id}
    own.send_candidates([replace(fourth, deleted=True)])
    assert [one.candidate_id for one in tail.candidates(START_MS).candidates] == [first.candidate_id]
    short_lived = replace(own.surface, recency_window_s=60)
    other = CorpusTail(own.bootstrap, short_lived, {**surfaces, short_lived.name: short_lived})
    assert len(other.candidates(START_MS)) == 1
    assert other.candidates(START_MS + 61_000).candidates == []
    tail.close()
    other.close()


def test_the_rollout_state_is_the_fold_of_the_log(own: OwnSurface) -> None:
    """A record that lost the race for a revision must not make another bundle look live."""
    tail = RolloutTail(own.bootstrap)
    assert tail.state(own.surface.name).live is None
    own.go_live(1, ("a" * 16, Stage.LIVE))
    own.go_live(1, ("b" * 16, Stage.LIVE))
    own.go_live(3, ("c" * 16, Stage.LIVE))
    assert tail.state(own.surface.name).live == "a" * 16
    own.go_live(2, ("b" * 16, Stage.LIVE), ("a" * 16, Stage.DRAINING))
    assert tail.state(own.surface.name).live == "b" * 16
    tail.close()


class Command:
    """`roost train …` on the surface's topics, in this process: torch, its optimisers and its exporter load once for all."""

    def __init__(self, own: OwnSurface, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._shared = ("-s", own.surface.name, "--surfaces", str(own.surfaces_file), "--bootstrap", own.bootstrap)
        self._folder = folder
        self._capsys = capsys

    def words(self, *words: str) -> list[str]:
        """Return a whole command line; its registry, and where it would keep a state, are under the folder."""
        places = ("--registry", str(self._folder / "registry"), "--data-dir", str(self._folder))
        return ["train", *words, *self._shared, *places, "--json"]

    def __call__(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Return the exit code and what was printed."""
        self._capsys.readouterr()
        code = cli.run(self.words(*words))
        said = self._capsys.readouterr()
        return code, answer(code, said.out, said.err)

    def in_its_own_process(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Likewise, where it matters that nothing of this process is at hand."""
        command = [sys.executable, "-m", "roost", *self.words(*words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
        return done.returncode, answer(done.returncode, done.stdout, done.stderr)


def answer(code: int, printed: str, error: str) -> dict[str, Any]:
    """Return the object that a command printed, or its error."""
    found: dict[str, Any] = json.loads(printed) if code in (0, 1) else {"error": error}
    return found


@pytest.fixture
def train(own: OwnSurface, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return the command on the test's own surface."""
    return Command(own, tmp_path, capsys)


@pytest.mark.timeout(400)
def test_one_arm_of_a_canary_is_tuned_on_and_rebuilt_from_the_log_of_both(own: OwnSurface, train: Command, tmp_path: Path) -> None:
    """What the other arm answered stands between its examples on the topic, within the same offsets, and must teach it nothing."""
    world = own.world(users=120, tweets=300, impressions=2_000)
    own.send_candidates(world.corpus)
    own.send_examples(world.examples[:1_000])
    code, first = train("pretrain", "--accept-window")
    assert code == 0, first
    arms = (first["id"], "b" * 16)
    own.send_examples([replace(one, bundle=arms[number % 2]) for number, one in enumerate(world.examples[1_000:])])
    code, tuned = train("finetune", "--parent", first["id"], "--served-by", first["id"], "--accept-window")
    assert code == 0, tuned
    metrics = read_bundle(tmp_path / "registry", own.surface.name, tuned["id"]).manifest.metrics
    assert metrics["train_examples"] + metrics["evaluation_examples"] == 500
    code, again = train("reproduce", tuned["id"])
    assert (code, again["equal"], again["data"]) == (0, True, "topics"), again


def kill_under_way(train: Command, *words: str, states: Path) -> None:
    """Run `roost train …`, and kill it with a signal that nothing can catch once it has kept some states."""
    command = [sys.executable, "-m", "roost", *train.words(*words)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        seen: set[int] = set()
        while process.poll() is None and len(seen) < 5:
            seen |= {path.stat().st_mtime_ns for path in states.glob("*/*/fit.pt")}
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL, process.stderr and process.stderr.read()


@pytest.mark.timeout(600)
def test_a_training_that_is_killed_goes_on_to_the_same_towers_though_the_topics_move_on(
    own: OwnSurface, train: Command, tmp_path: Path
) -> None:
    """`kill -9` halfway, then more examples, counters and a candidate less: the same command ends where it would have ended."""
    world = own.world(users=120, tweets=300, impressions=3_000)
    own.send_candidates(world.corpus)
    own.send_examples(world.examples[:1_500])
    registry, states = tmp_path / "registry", tmp_path / "states"

    def towers(bundle: str) -> dict[str, str]:
        files = read_bundle(registry, own.surface.name, bundle).manifest.files
        return {name: files[name] for name in TOWER_FILES}

    root = ""
    for later in (world.examples[1_500:2_000], world.examples[2_000:]):
        recipe = ("finetune", "--parent", root) if root else ("pretrain",)
        words = (*recipe, "--accept-window", "--checkpoints", str(states), "--checkpoint-every", "0")
        code, whole = train(*words)
        assert code == 0, whole
        assert not list(states.glob("*/*")), "a training that has ended leaves nothing"
        kill_under_way(train, *words, states=states)
        own.send_examples(later)
        own.send_candidates([replace(one, counters=Counters(favorite=10**6)) for one in world.corpus[:50]])
        own.send(CANDIDATES, world.corpus[60].candidate_id, replace(world.corpus[60], deleted=True))
        own.flush()
        code, resumed = train(*words)
        assert code == 0, resumed
        assert resumed["id"] != whole["id"], "the second run has published a bundle of its own"
        assert towers(resumed["id"]) == towers(whole["id"])
        assert not list(states.glob("*/*"))
        root = root or whole["id"]


@pytest.mark.timeout(400)
def test_a_bundle_is_reproduced_from_the_topics_and_from_the_cache_of_its_training(
    own: OwnSurface, train: Command, tmp_path: Path
) -> None:
    """Later examples, corrections, counters and deletes change nothing of what it was trained on."""
    world = own.world(users=120, tweets=300, impressions=2_000)
    cache = ["--cache", str(tmp_path / "cache")]
    own.send_candidates(world.corpus)
    own.send_examples(world.examples[:1_500])
    # the tiny world counts favorites that no engagement on the topic has given
    code, refused = train("pretrain", *cache)
    assert code == 3, refused
    assert "feature_skew" in refused["error"]
    # who reproduces it has another hash seed, and nothing left in memory
    code, first = train.in_its_own_process("pretrain", "--accept-window", *cache)
    assert code == 0, first
    own.send_examples(world.examples[1_500:])
    own.send_examples([replace(world.examples[3], revision=1, label=Label.EXPLICIT_NEGATIVE)])
    code, from_topics = train("reproduce", first["id"])
    assert (code, from_topics["equal"], from_topics["data"]) == (0, True, "topics"), from_topics
    # the same, where the topic holds later states beside the old ones, as it does until it is compacted
    popular = [replace(one, counters=Counters(favorite=10**6)) for one in world.corpus[:100]]
    own.send_candidates([*popular, replace(world.corpus[200], deleted=True)])
    code, later = train("reproduce", first["id"])
    assert (code, later["equal"]) == (0, True), later
    code, kept = train("reproduce", first["id"], *cache)
    assert (code, kept["equal"], kept["data"]) == (0, True, str(tmp_path / "cache" / own.surface.name / first["id"])), kept
    assert kept["files"] == from_topics["files"]
    # a producer that sends one language for all: refused before it is trained on, with the figure
    foreign = [replace(one, candidate=replace(one.candidate, language="xx"), revision=2) for one in world.examples]
    own.send_examples(foreign)
    code, refused = train("finetune", "--parent", first["id"])
    assert code == 3, refused
    assert re.search(r"language_mix_change 0\.\d+ is above 0\.3 \(look at what is served\)", refused["error"]), refused


@pytest.mark.timeout(400)
def test_a_skew_between_what_is_served_and_what_is_trained_on_is_found_on_the_topics(
    own: OwnSurface, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a user's state, a candidate, its engagements and the token of an answer, as roles write them, to exit code 3."""
    prefix, user = own.surface.id_prefix, f"{own.surface.name}-"

    def of_this_surface(example: Example, name: str) -> Example:
        return replace(
            example,
            example_id=f"{name}{example.example_id}",
            surface=own.surface.name,
            user_id=user + example.user_id,
            candidate_id=prefix + example.candidate_id[2:],
        )

    def skew() -> tuple[int, dict[str, Any]]:
        words = ["-s", own.surface.name, "--surfaces", str(own.surfaces_file), "--bootstrap", own.bootstrap, "--json"]
        capsys.readouterr()
        code = cli.run(["train", "skew", *words])
        said = capsys.readouterr()
        return code, {"bar": said.err, **json.loads(said.out or json.dumps({"error": said.err}))}

    code, nothing = skew()
    assert code == 3, nothing
    assert "can be computed again; wait for some" in nothing["error"]
    for name, state in TRUE.states.items():
        own.send(USER_STATES, user + name, replace(state, languages=("xx",)))
        own.send(USER_STATES, user + name, replace(state, user_id=user + name))
    own.send_candidates([replace(one, candidate_id=prefix + one.candidate_id[2:]) for one in TRUE.candidates.values()])
    for engagements in TRUE.engagements.values():
        for one in engagements:
            own.send(ENGAGEMENTS, prefix + one.candidate_id[2:], replace(one, candidate_id=prefix + one.candidate_id[2:]))
    own.send_examples([of_this_surface(example, "") for example in TRUE.examples])
    code, clean = skew()
    assert (code, clean["skewed"], clean["examples"]) == (0, [], len(TRUE.examples)), clean
    assert re.search(rf"^{ENGAGEMENTS} .* 100%", clean["bar"], re.MULTILINE), "topics may take minutes to read"
    assert min(one["compared"] for one in clean["fields"] if one["name"] in ("language", "history_authors", "favorites")) > 100
    plant, fields = SKEWS["topics cut to the first"]
    own.send_examples([of_this_surface(plant(example), "other-") for example in TRUE.examples])
    code, found = skew()
    assert (code, set(found["skewed"])) == (3, fields), found


def test_no_broker_is_said_in_a_sentence() -> None:
    """With what to do."""
    with pytest.raises(BrokerUnavailable, match=r"no broker at 127\.0\.0\.1:1: .*roost up"):
        partitions_of("127.0.0.1:1", EXAMPLES, timeout_s=1)


@pytest.mark.timeout(240)
def test_the_loop_closes_examples_in_two_bundles_out(own: OwnSurface, tmp_path: Path) -> None:
    """Pre-trained when there is enough, fine-tuned when it is live and fresh examples have come; no operator in between."""
    world = own.world(users=120, tweets=300, impressions=3_000)
    settings = TrainerSettings(
        bootstrap=own.bootstrap,
        registry=tmp_path / "registry",
        surfaces=own.surfaces_file,
        train=(own.surface.name,),
        interval_s=0,
        poll_s=0.1,
        min_pretrain_examples=1_200,
        min_fresh_examples=1_000,
        min_corpus=100,
        pretrain_min_steps=60,
        # the tiny world counts favorites that no engagement on the topic has given
        skew_sample=0,
    )
    options = Options(PretrainOptions(), FinetuneOptions(), EnsembleOptions(), GateLimits())
    handed: list[str] = []
    handed_over, stop = threading.Event(), threading.Event()
    refuse_once = [BrokerUnavailable("the broker is away")]

    def hand_over(surface: str, bundle: str) -> None:
        assert surface == own.surface.name
        if refuse_once:
            raise refuse_once.pop()
        handed.append(bundle)
        handed_over.set()

    thread = threading.Thread(
        target=run_schedule, args=(settings, options), kwargs={"on_bundle": hand_over, "stop": stop}, daemon=True
    )
    thread.start()
    try:
        own.send_candidates(world.corpus)
        own.send_examples(world.examples[:1_300])
        assert handed_over.wait(100)
        handed_over.clear()
        own.go_live(1, (handed[0], Stage.LIVE))
        own.send_examples(world.examples[1_300:])
        assert handed_over.wait(100)
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()
    first, second = (read_bundle(settings.registry, own.surface.name, bundle).manifest for bundle in handed)
    assert (first.recipe, second.recipe, second.parent) == ("pretrain", "fine-tune", handed[0])
    assert all(second.examples[p][0] == first.examples[p][1] for p in first.examples)
    assert all(gate.passed for gate in second.gates)
    assert second.metrics["auc"] > 0.6
