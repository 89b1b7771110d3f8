"""The demo of the swap: what is made of the answers seen, and the usual way's writer, which is part of the comparison."""

import dataclasses
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lab.vanishing.askers import Replicas
from lab.vanishing.plan import Plan
from lab.vanishing.plot import plot
from lab.vanishing.run import _MARKER, _Run
from lab.vanishing.sampled import Lag, Sample, curves, figures, sample_of
from lab.vanishing.told import compared_all, faults
from lab.vanishing.tweets import Tweets
from lab.vanishing.usual import UsualWay
from lab.vanishing.writer import Order, Writer, Written
from schemas.bundle import read_bundle
from schemas.codec import encode
from schemas.records.candidates import Counters, Tweet
from schemas.topics import TWEETS
from schemas.towers import Towers
from schemas.wire.inbound import InboundRecord
from tests.bundles import publish_bundle

SURFACE = "home-timeline"


def test_an_answer_is_judged_by_age_and_by_the_languages_its_reader_declares() -> None:
    """Hand-worked: two of four under a minute; of the first ten, one in a language that the reader does not read."""
    sample = sample_of(3.0, [5.0, 59.0, 60.0, 900.0], ["en", "fr", "en", "en"], ["en"], fresh_s=60.0, mixed=False)
    assert (sample.fresh, sample.mismatch, sample.failed) == (0.5, 0.25, False)
    empty = sample_of(3.0, [], [], ["en"], fresh_s=60.0, mixed=False)
    assert (empty.fresh, empty.mismatch, empty.failed) == (0.0, None, False)


def test_curves_are_means_of_each_second_and_a_second_without_answers_is_a_gap() -> None:
    """A gap drawn as a zero, or as a line across it, would be an invention."""
    samples = [Sample(0.1, 0.2, 0.0), Sample(0.9, 0.4, 1.0), Sample(2.5, None, None)]
    lines = curves(samples, [Lag(0.5, 10.0), Lag(0.6, 30.0), Lag(1.5, None)], 3.0)
    assert lines["fresh"] == [pytest.approx(0.3), None, None]
    assert lines["mismatch"] == [0.5, None, None]
    assert lines["errors"] == [0.0, 0.0, 1.0]
    assert lines["lag_ms"] == [20.0, None, None]


def test_the_worst_of_a_swap_is_the_worst_three_seconds_of_it_and_not_of_the_rest() -> None:
    """One odd answer is no finding, and what happens after the swap is not the swap's."""
    shares = [0.3] * 10 + [0.3, 0.0, 0.3, 0.3, 0.1, 0.1, 0.1, 0.3] + [0.0] * 5
    samples = [Sample(second + 0.5, share, 1 - share) for second, share in enumerate(shares)]
    found = figures(samples, [Lag(0.0, 5.0), Lag(1.0, None)], before=(0.0, 10.0), swap=(10.0, 18.0))
    assert (found["fresh_before"], found["fresh_worst"], found["seconds_below_half"]) == (0.3, 0.1, 4)
    assert (found["mismatch_before"], found["mismatch_worst"]) == (0.7, 0.9)
    assert (found["lag_ms_p50"], found["probes_lost"]) == (5.0, 1)


def run_of(**roost: Any) -> dict[str, Any]:
    """Return a run's figures as they should be, but for those of Roost that a test spoils."""
    good = {"errors": 0, "mixed_answers": 0, "probes_lost": 0, "found_in_first_answer": True}
    figures = dict.fromkeys(("fresh_before", "seconds_below_half", "mismatch_before"), 0.25)
    both = {**figures, "mixed_answers": 0, "errors": 0, "lag_ms_p50": 20.0, "swap_s": 5.0, "back_s": 0.0625}
    return {
        "config": {"seed": 7},
        "events_s": {"swap": 2.0, "usual_flipped": 5.1},
        "curves": {
            system: {name: [0.3, 0.3, 0.2, None, 0.1, 0.3] for name in ("fresh", "mismatch")} for system in ("roost", "usual")
        },
        "roost": {**both, **good, **roost},
        "usual": {**both, "mixed_answers": 400},
        "history": {"violations": 0, "first_violations": []},
        "faults": [],
    }


def test_what_roost_must_not_do_is_a_fault_and_what_the_usual_way_does_is_not() -> None:
    """The demo ends with a failure only where the product failed."""
    assert list(faults(run_of())) == []
    for spoiled in ({"errors": 1}, {"mixed_answers": 2}, {"probes_lost": 3}, {"found_in_first_answer": False}):
        assert len(list(faults(run_of(**spoiled)))) == 1
    broken = run_of() | {"history": {"violations": 1, "first_violations": ["mixed: answer r1"]}, "faults": ["publish: it died"]}
    assert list(faults(broken)) == ["seed 7: the checker found mixed: answer r1", "seed 7: publish: it died"]


def test_several_runs_are_told_as_their_median_and_their_range() -> None:
    """A best run shown alone would be a choice."""
    _, rows = compared_all([run_of(errors=0), run_of(errors=4), run_of(errors=1)])
    # the second without an answer is left out, and those before and after the swap
    assert ("the same while a swap goes on in place", "0.15 (0.15 to 0.15)", "0.15 (0.15 to 0.15)") in rows
    assert {words: ours for words, _, ours in rows}["queries without an answer"] == "1 (0 to 4)"
    assert {words: theirs for words, theirs, _ in rows}["answers of two towers"] == "400 (400 to 400)"


def test_the_last_answers_of_a_swap_alone_are_not_its_worst_three_seconds() -> None:
    """The parts that began in its last seconds held a few answers each: of Roost's kept runs one had .8 there that was .5."""
    samples = [Sample(second + 0.5, 0.3, 0.7) for second in range(18)] + [Sample(17.9, 0.0, 1.0)]
    found = figures(samples, [], before=(0.0, 10.0), swap=(10.2, 18.0))
    assert (found["fresh_worst"], found["mismatch_worst"]) == (0.225, 0.775)
    short = figures(samples, [], before=(0.0, 10.0), swap=(16.0, 18.0))
    assert (short["fresh_worst"], short["mismatch_worst"]) == (0.2, 0.8), "all there is of a shorter one"


def test_a_run_whose_probes_were_all_lost_has_its_picture() -> None:
    """What was worst of all to see would end in a trace, after minutes of measuring."""
    seconds = 6
    curves_of = {name: [0.5] * seconds for name in ("fresh", "mismatch", "errors")} | {"lag_ms": [None] * seconds}
    events = {"swap": 1.0, "usual_flipped": 3.0, "rollback": 4.0, "usual_back": 5.0}
    run = {"events_s": events, "curves": {"roost": curves_of, "usual": curves_of}}
    lines = {line.get_label(): np.asarray(line.get_ydata()) for line in plot([run, run]).axes[2].get_lines()}
    assert len(lines["Roost"]) == len(lines["re-embedded in place"]) == 0


class Sent:
    """Keeps what a writer sends."""

    def __init__(self) -> None:
        self.written: list[Written] = []

    def send(self, written: Written) -> None:
        """Keep it."""
        self.written.append(written)

    def ids(self) -> list[str]:
        """Return the ids sent since the last call."""
        sent, self.written = self.written, []
        return [candidate_id for each in sent for candidate_id in each.rows.candidate_ids]


@pytest.fixture
def bundles(tmp_path: Path) -> tuple[Path, str, str]:
    """Return a registry and two bundles."""
    registry = tmp_path / "registry"
    return registry, publish_bundle(registry, seed=1), publish_bundle(registry, seed=2)


def tweets(first: int, count: int) -> list[InboundRecord]:
    """Return tweets as consumed."""
    made = [Tweet(f"t:{n}", 1_000 + n, 0, "a:1", 1_000, topics=(f"topic-{n}",)) for n in range(first, first + count)]
    return [InboundRecord(TWEETS, 0, first + n, 0, tweet.candidate_id.encode(), encode(tweet)) for n, tweet in enumerate(made)]


def test_a_writer_that_is_killed_on_its_walk_walks_again_from_the_beginning(bundles: tuple[Path, str, str]) -> None:
    """What the usual way is compared as: its rows are durable, its place in the walk is not."""
    registry, old, new = bundles
    sent = Sent()
    order = Order("", registry, SURFACE, old, walk=False, rows_per_s=1e9, partitions=1, offsets={})
    writer = Writer(sent, order)
    writer.take(tweets(0, 100), {0: 100})
    assert sent.written[0].offsets == {0: 100}
    assert len(sent.ids()) == 100
    writer.walk_on(whole=True)
    assert sent.ids() == [], "nothing is walked before a swap"
    writer.swap_to(new)
    writer.walk_on(whole=True)
    (first,) = sent.written
    assert (first.walked, first.to_walk) == (64, 100)
    rows = first.rows
    tower = Towers(read_bundle(registry, SURFACE, new))
    expected = tower.embed_candidates([Tweet("t:0", 0, 0, "a:1", 0, topics=("topic-0",)).attributes().features(Counters())])[0]
    assert rows.vectors[0] == pytest.approx(expected, abs=1e-6)
    assert set(rows.payloads) == {new.encode()}

    restarted = Writer(sent, Order("", registry, SURFACE, new, walk=True, rows_per_s=1e9, partitions=1, offsets={0: 100}))
    sent.ids()
    restarted.take(tweets(0, 60), {0: 60})
    restarted.walk_on(whole=False)
    assert sent.ids() == [], "what the index has is read again before anything is written"
    restarted.take(tweets(60, 50), {0: 110})
    assert sent.ids() == [f"t:{n}" for n in range(100, 110)], "only what came since is new"
    walked = []
    for _ in range(2):
        restarted.walk_on(whole=True)
        walked += sent.ids()
    assert walked == [f"t:{n}" for n in range(110)]


def test_rows_that_come_as_the_tower_is_swapped_do_not_undo_the_swap(
    bundles: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alias never moved then, and the demo ended after two minutes of waiting for it."""
    registry, old, new = bundles
    order = Order("", registry, SURFACE, old, walk=False, rows_per_s=1e9, partitions=1, offsets={})
    monkeypatch.setattr(UsualWay, "_begin", lambda self: setattr(self, "_connection", Sent()))
    monkeypatch.setattr(UsualWay, "_run", lambda _: None)
    way: Any = UsualWay(order, dim=64)
    sent = Sent()
    Writer(sent, order).take(tweets(0, 3), {0: 3})
    swap = threading.Thread(target=way.swap_to, args=(new,))

    def replaced(known: Order, **changes: Any) -> Order:
        if "offsets" in changes and not swap.ident:
            swap.start()
            # as long as it takes, or until it waits for what is under way
            swap.join(0.5)
        return dataclasses.replace(known, **changes)

    monkeypatch.setattr("lab.vanishing.usual.replace", replaced)
    way._apply(sent.written[0])
    swap.join()
    assert (way._order.bundle, way._order.walk, way._order.offsets) == (new, True, {0: 3})


def test_a_writer_that_is_started_again_as_the_run_ends_is_ended_too(
    bundles: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody killed it, and the demo waited for its end for ever."""
    registry, old, _ = bundles
    again = threading.Event()

    class Process:
        killed = False

        def kill(self) -> None:
            self.killed = True

        def join(self) -> None:
            assert self.killed or self is started[0], "it runs until it is killed"

    started: list[Process] = []

    class Gone:
        def recv(self) -> None:
            raise EOFError

        def close(self) -> None:
            """Nothing is open."""

    def begin(way: Any) -> None:
        if started:
            again.set()
            way._stopping.wait(30)
        way._connection, way._process = Gone(), Process()
        started.append(way._process)

    monkeypatch.setattr(UsualWay, "_begin", begin)
    monkeypatch.setattr("lab.vanishing.usual._RESTART_S", 0.0)
    way = UsualWay(Order("", registry, SURFACE, old, walk=False, rows_per_s=1e9, partitions=1, offsets={}), dim=64)
    assert again.wait(30)
    way.close()
    assert [process.killed for process in started] == [True, True]


def replicas(*answers: tuple[str, bool]) -> Any:
    """Return a run of replicas that answer from these bundles, with or without the tweet published after the flip."""

    def client(bundle: str, *, holds: bool) -> SimpleNamespace:
        found = [SimpleNamespace(candidate_id=_MARKER)] if holds else []
        return SimpleNamespace(retrieve=lambda *_, **__: SimpleNamespace(bundle=bundle, candidates=found))

    asked = Replicas((), SURFACE)
    asked._clients = [client(bundle, holds=holds) for bundle, holds in answers]  # type: ignore[misc]
    run: Any = _Run.__new__(_Run)
    run._replicas, run._reader, run._plan = asked, Tweets(Plan(corpus=1)).readers[0], Plan()
    return run


def test_a_rollback_is_over_when_every_replica_answers_from_the_old_bundle() -> None:
    """One was asked and the other one looked at: the first answer after a rollback may have been of the bundle that was left."""
    assert not replicas(("old", True), ("new", True))._all_answer_from("old")
    assert replicas(("old", True), ("old", True))._all_answer_from("old")
    assert replicas(("old", True), ("old", True))._all_find_from("old")
    assert not replicas(("old", True), ("old", False))._all_find_from("old")
    assert not replicas(("old", True), ("new", True))._all_find_from("old")


def test_the_corpus_begins_with_as_many_fresh_tweets_as_a_minute_brings() -> None:
    """A share of fresh tweets that only grows because the run is young would hide what the swap does to it."""
    now_ms = 10_000_000
    drawn = list(Tweets(Plan(corpus=500, tweets_per_s=2.0)).corpus(now_ms))
    ages_s = [(now_ms - tweet.created_ms) / 1000 for tweet in drawn]
    assert len({tweet.candidate_id for tweet in drawn}) == 500
    assert sum(age_s <= 60 for age_s in ages_s) == 120
    assert max(ages_s) == 3_600
