"""The freshness benchmark's pure parts: what it sends, what it looks for, and how its figures come about."""

import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from multiprocessing.connection import Connection

import numpy as np
import pytest

from lab.bench.freshness import asker, report
from lab.bench.freshness.plan import PROBE_LANGUAGES, Plan, Probe, Target, probes
from lab.bench.freshness.prober import Seen, look_for
from lab.bench.freshness.run import tell_seconds
from lab.bench.freshness.sender import Sent
from lab.bench.freshness.traffic import Events, Traffic, engaged_with
from lab.bench.freshness.watcher import Beat, Sample, metric_values
from lab.bench.freshness.worker import PartFailed, Worker
from lab.world.settings import WorldSettings
from lab.world.world import World
from schemas.codec import decode
from schemas.records.candidates import Tweet
from schemas.records.feedback import Engagement
from schemas.topics import ENGAGEMENTS, TWEETS

PLAN = Plan(rate_per_s=50, seconds=8, warmup_s=2, live=300, burst=40, run="x")
NOTHING = np.zeros(0)


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    """Return traffic drawn from a small world."""
    return Traffic(PLAN, World(WorldSettings(users=20, authors=30, tweets_per_day=200)))


def tweets_in(events: Events) -> dict[str, tuple[float, Tweet]]:
    """Return the tweets of some events with their times, by id."""
    found = {}
    for due_s, topic, value in zip(events.due_s.tolist(), events.topics, events.values, strict=True):
        if topic == TWEETS:
            tweet = decode(Tweet, value)
            found[tweet.candidate_id] = (due_s, tweet)
    return found


def test_the_open_loop_offers_the_rate_asked_for_with_its_engagements(traffic: Traffic) -> None:
    """A generator that sends less than it says makes every latency look good."""
    events = traffic.open_loop()
    counts = Counter(events.topics)
    assert counts[TWEETS] == PLAN.rate_per_s * PLAN.played_s
    assert counts[ENGAGEMENTS] == counts[TWEETS] * PLAN.engagements_per_tweet
    assert (np.diff(events.due_s) >= 0).all()
    assert 0 <= events.due_s[0] <= events.due_s[-1] <= PLAN.played_s
    assert all(
        decode(Tweet, v).candidate_id.encode() == k
        for t, k, v in zip(events.topics, events.keys, events.values, strict=True)
        if t == TWEETS
    )


def test_every_event_passes_the_checks_of_its_reader(traffic: Traffic) -> None:
    """A dead-lettered event costs the pipeline next to nothing: the rate would be a lie."""
    now_ms = time.time_ns() // 1_000_000
    for events in (traffic.preload(), traffic.open_loop(), traffic.burst()):
        for topic, value in zip(events.topics, events.values, strict=True):
            message: Tweet | Engagement = decode(Tweet, value) if topic == TWEETS else decode(Engagement, value)
            message.check(append_time_ms=now_ms)


def test_no_id_is_created_twice_and_engagements_come_after_their_tweet(traffic: Traffic) -> None:
    """An update is cheaper than a create, and a stub's engagement embeds nothing."""
    preload, loop, burst = tweets_in(traffic.preload()), tweets_in(traffic.open_loop()), tweets_in(traffic.burst())
    assert len(preload | loop | burst) == len(preload) + len(loop) + len(burst)
    events = traffic.open_loop()
    for due_s, topic, value in zip(events.due_s.tolist(), events.topics, events.values, strict=True):
        if topic == ENGAGEMENTS:
            target = decode(Engagement, value).candidate_id
            assert target in preload or loop[target][0] <= due_s


def test_a_plans_events_are_the_same_in_another_process() -> None:
    """Python salts the hashes of strings anew in each: two runs of a plan with the labeler on would have other users."""
    program = (
        "from lab.bench.freshness.plan import Plan; from lab.bench.freshness.traffic import Traffic, make_world; "
        "from schemas.codec import decode_mapping; from schemas.records.feedback import Engagement; "
        "events = Traffic(Plan(rate_per_s=5.0, seconds=1.0, warmup_s=1.0, live=20), make_world(1)).open_loop(); "
        "values = [value for topic, value in zip(events.topics, events.values) if topic == 'engagements']; "
        "print([decode_mapping(Engagement.SUBJECT, value)['user_id'] for value in values])"
    )
    users = [
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert users[0] == users[1] != "[]\n"


def test_each_probe_is_sent_when_the_prober_begins_to_look(traffic: Traffic) -> None:
    """Both draw the schedule for themselves, in two processes."""
    sent = tweets_in(traffic.open_loop())
    for probe in probes(PLAN):
        due_s, tweet = sent[probe.candidate_id]
        assert (due_s, tweet.language) == (probe.due_s, probe.language)
        assert PLAN.warmup_s <= probe.due_s <= PLAN.played_s
    in_flight = [probe.language for probe in probes(PLAN)][:PROBE_LANGUAGES]
    assert len(set(in_flight)) == len(in_flight), "a language finds one probe alone"


def test_engagements_go_to_what_is_new_and_to_few() -> None:
    """Spread evenly over everything live, no two would fall on one candidate and coalescing would show nothing."""
    created_s, engaged_s = np.arange(0, 100, 0.01), np.sort(np.random.default_rng(0).random(35_000)) * 100
    chosen = engaged_with(engaged_s, created_s, older=50_000, seed=1)
    assert chosen.min() >= 0
    times = np.concatenate([np.arange(-50_000, 0) * 0.01, created_s])
    ages_s = engaged_s - times[chosen]
    assert ages_s.min() >= -1e-9
    assert 10 < np.median(ages_s) < 40
    counts = np.sort(np.bincount(chosen))[::-1]
    assert counts[:100].sum() > 0.15 * len(engaged_s)


class Index:
    """A node whose index takes in each tweet after a while."""

    def __init__(self, start_s: float, retrievable: dict[str, tuple[str, float]]) -> None:
        self._start_s = start_s
        self._retrievable = retrievable
        self.closed = False

    def ids(self, request: dict[str, object]) -> list[str] | None:
        """See `Retrieval.ids`."""
        now_s = time.monotonic() - self._start_s
        languages = request["languages"]
        assert isinstance(languages, list)
        return [name for name, (language, at_s) in self._retrievable.items() if language in languages and at_s <= now_s]

    def close(self) -> None:
        """See `Retrieval.close`."""
        self.closed = True


def test_the_prober_times_each_probe_and_gives_up_on_the_lost() -> None:
    """A lost tweet is a failure of the product, not one sample less."""
    start_s = time.monotonic()
    wanted = (Probe("t:1", "x-1", 0.01), Probe("t:never", "x-2", 0.02), Probe("t:2", "x-3", 0.05))
    index = Index(start_s, {"t:1": ("x-1", 0.06), "t:2": ("x-3", 0.05)})
    seen = look_for(wanted, index, Plan(poll_s=0.001, give_up_s=0.3), start_s)  # type: ignore[arg-type]
    assert index.closed
    assert seen.seen_s.keys() == {"t:1", "t:2"}
    latencies = report.latencies_ms(wanted, seen, start_s)
    assert latencies[0] >= 50
    assert len(latencies) == 2


def test_what_is_late_is_looked_for_less_often() -> None:
    """Asked for every two milliseconds, a late tweet makes the node that is late do three times what is measured."""
    start_s = time.monotonic()
    index = Index(start_s, {"t:1": ("x-1", 0.51)})
    seen = look_for((Probe("t:1", "x-1", 0.01),), index, Plan(poll_s=0.001, give_up_s=3.0), start_s)  # type: ignore[arg-type]
    assert 5 < len(seen.polls_ms) < 60
    assert report.latencies_ms((Probe("t:1", "x-1", 0.01),), seen, start_s)[0] >= 500


class Ranked:
    """A node that holds the probes of an hour, those of before ranked first; it answers by languages and age, k at most."""

    def __init__(self, start_s: float, probes: int) -> None:
        self._start_s = start_s
        self._aged = [(f"t:old-{number}", f"x-{number % 64}", 3_600.0 - number) for number in range(probes)]

    def ids(self, request: dict[str, object]) -> list[str] | None:
        """See `Retrieval.ids`."""
        k, languages, oldest_s = request["k"], request["languages"], request.get("max_age_s", float("inf"))
        assert isinstance(k, int)
        assert isinstance(languages, list)
        assert isinstance(oldest_s, float)
        now = [*self._aged, *((f"t:{number}", f"x-{number}", 0.0) for number in range(64))]
        return [name for name, language, age_s in now if language in languages and age_s <= oldest_s][:k]

    def close(self) -> None:
        """See `Retrieval.close`."""


def test_probes_that_were_found_before_do_not_hide_those_that_are_out() -> None:
    """In a run of five minutes a node that stood still for seconds had its probes ranked behind all before of their languages."""
    start_s = time.monotonic()
    wanted = tuple(Probe(f"t:{number}", f"x-{number}", 0.0) for number in range(64))
    seen = look_for(wanted, Ranked(start_s, 1_200), Plan(give_up_s=0.05), start_s)  # type: ignore[arg-type]
    assert len(seen.seen_s) == 64


def test_probes_whose_times_are_of_before_the_run_are_found() -> None:
    """Of ten minutes' tweets, encoded for over a minute, all probes seemed too old to be looked for when they were sent: lost."""
    start_s = time.monotonic()
    wanted = (Probe("t:old-0", "x-0", 0.0),)
    seen = look_for(wanted, Ranked(start_s, 1), Plan(give_up_s=0.05), start_s, behind_s=3_599.0)  # type: ignore[arg-type]
    assert seen.seen_s.keys() == {"t:old-0"}
    assert not look_for(wanted, Ranked(start_s, 1), Plan(give_up_s=0.05), start_s).seen_s  # type: ignore[arg-type]


def test_every_probe_is_a_row_the_lost_ones_too() -> None:
    """Percentiles of what was found would hide when, and beside what, the others were lost."""
    wanted = (Probe("t:1", "x-1", 1.0), Probe("t:lost", "x-2", 2.0))
    assert report.rows(wanted, Seen({"t:1": 11.02}, NOTHING, 0), 10.0) == [
        {"probe": "t:1", "due_s": 1.0, "retrievable_ms": 20.0},
        {"probe": "t:lost", "due_s": 2.0, "retrievable_ms": None},
    ]


def beat(at_s: float, inputs: int) -> Beat:
    """Return a heartbeat; a fifth of the inputs are tweets."""
    return Beat(at_s, inputs // 5, inputs - inputs // 5)


def sample(at_s: float, *, applied: int = 0, written: int = 0, fresh: int = 0, cpu_s: float = 0.0) -> Sample:
    """Return a sample."""
    return Sample(at_s, live=1_000, fresh=fresh, merge_debt=0, applied=applied, written=written, cpu_s={"embed": cpu_s})


def test_debt_adds_what_is_unread_unapplied_and_unsettled() -> None:
    """Worked by hand; compared with a stale heartbeat's own moment, or 26,000 events a second would look like a debt of 26,000."""
    acked_s, acked = np.array([1.0, 2.0, 3.0]), np.array([100.0, 250.0, 400.0])
    beats = [beat(2.5, 1_000 + 240), beat(3.5, 1_000 + 400)]
    samples = [sample(2.6, applied=50, written=57, fresh=30), sample(4.0, applied=90, written=90, fresh=5)]
    at_s, debt = report.debts(acked_s, acked, beats, samples, 1_000)
    assert at_s.tolist() == [2.6, 4.0]
    assert debt.tolist() == [10 + 7 + 30, 0 + 0 + 5]
    assert [len(part) for part in report.debts(acked_s, acked, [], samples, 0)] == [0, 0]


def test_start_and_end_of_the_debt_are_medians_inside_the_window() -> None:
    """One sample just after a merge would make any debt look paid."""
    at_s = np.arange(0.0, 30.0)
    values = np.where(at_s < 15, 10.0, 1_000.0)
    values[29] = 0
    assert report.edges(at_s, values, 2.0, 29.0) == (10, 1_000, 1_000)
    assert report.edges(at_s, values, 50.0, 60.0) == (None, None, None)


def test_stages_add_up_to_the_whole() -> None:
    """A stage that is left out, or counted twice, would send somebody to the wrong bottleneck."""
    wanted = (Probe("t:1", "x", 1.0), Probe("t:lost", "x", 2.0))
    sent = Sent(2, NOTHING, NOTHING, NOTHING, {"t:1": 1_003, "t:lost": 2_001})
    seen = Seen({"t:1": 11.02}, NOTHING, 0)
    stages = report.stages_ms(wanted, sent, seen, start_s=10.0, embedded_ms={"t:1": 1_011}, unix_offset_s=-10.0)
    medians = [stages[name]["p50_ms"] for name in ("publish_to_append", "append_to_embedded", "embedded_to_retrievable")]
    assert medians == pytest.approx([3.0, 8.0, 9.0])
    assert sum(value or 0 for value in medians) == pytest.approx(report.latencies_ms(wanted, seen, 10.0)[0])


def test_a_ceiling_is_read_only_while_there_was_more_to_do() -> None:
    """Samples from before the burst, or from after a stage was done, would make any stage look slow."""
    burst = report.Burst(10.0, tweets=1_000)
    before = [sample(float(n), applied=0, written=0) for n in range(11)]
    # 800 rows a second are written until all 4,000 are, and 500 applied: four rows a tweet
    during = [sample(11.0 + n, applied=500 * n, written=min(800 * n, 4_000)) for n in range(9)]
    after = [sample(float(n), applied=4_000, written=4_000) for n in range(20, 30)]
    assert report.ceilings([*before, *during, *after], burst) == {
        "embedder": pytest.approx(200.0),
        "node": pytest.approx(125.0),
    }
    assert report.ceilings(before, burst) == {"embedder": None, "node": None}, "nothing was written during the burst"
    keeping_up = [sample(11.0 + n, applied=800 * n, written=800 * n) for n in range(6)]
    assert report.ceilings(keeping_up, burst)["node"] is None


def test_cores_are_processor_time_over_the_window() -> None:
    """Worked by hand."""
    samples = [sample(float(n), cpu_s=0.25 * n) for n in range(10)]
    assert report.cores(samples, 2.0, 8.0) == {"embed": 0.25}


def test_figures_of_nothing_are_none_not_zero() -> None:
    """0 ms would be a goal met."""
    assert report.percentiles(NOTHING) == {"p50_ms": None, "p99_ms": None, "max_ms": None}
    assert report.rate_between([(1.0, 5.0)], 0.0, 10.0) is None


def test_the_nodes_gauges_are_read_for_one_bundle() -> None:
    """During a rollout the node reports two."""
    text = """\
# TYPE roost_applied_offset gauge
roost_applied_offset{surface="s",bundle="b",partition="0"} 3.0
roost_applied_offset{surface="s",bundle="b",partition="1"} 4.0
roost_applied_offset{surface="s",bundle="other",partition="0"} 90.0
# TYPE roost_index_rows gauge
roost_index_rows{surface="s",bundle="b",tier="fresh"} 7.0
"""
    assert metric_values(text, bundle="b") == {("roost_applied_offset", ""): 7.0, ("roost_index_rows", "fresh"): 7.0}


def echo(connection: Connection, word: str) -> None:
    """Answer once, then fail."""
    connection.send((word, connection.recv()))
    raise ValueError("the part's own trouble")


def test_a_part_that_fails_ends_the_run_with_its_own_words() -> None:
    """A benchmark that waits for a dead part for ever tells nobody why."""
    with Worker(echo, "hello") as worker:
        assert worker.ask(1, timeout_s=60.0) == ("hello", 1)
        with pytest.raises(PartFailed, match="the part's own trouble"):
            worker.receive(timeout_s=60.0)


def test_the_seconds_of_the_load_are_told_until_they_are_over_or_a_part_failed() -> None:
    """Ten minutes of load are long without a sign; but nobody shall wait for the rest of a load that has ended in an error."""
    told: list[tuple[int, int]] = []
    with Worker(echo, "hello") as worker:
        tell_seconds(replace(PLAN, seconds=1, warmup_s=0), time.monotonic(), worker, lambda *seconds: told.append(seconds))
        assert told == [(0, 1), (1, 1)]
        worker.ask(1, timeout_s=60.0)
        tell_seconds(replace(PLAN, seconds=600), time.monotonic(), worker, lambda *seconds: told.append(seconds))
        assert told[-1][0] < 300
        with pytest.raises(PartFailed, match="the part's own trouble"):
            worker.receive(timeout_s=60.0)


def test_a_thread_that_asks_and_fails_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its share of the queries was never asked, and the figures of the others passed for all."""

    class Broken:
        def __init__(self, *_: str) -> None:
            pass

        def ask(self, _: bytes) -> bytes:
            raise ValueError("an answer that is none")

    monkeypatch.setattr(asker, "Retrieval", Broken)
    plan = Plan(seconds=0.1, warmup_s=0.0, exact_per_s=0.0)
    with pytest.raises(ValueError, match="an answer that is none"):
        asker._Asker(plan, Target("", "http://node", "home-timeline", "", 1), [{"k": 1}]).run(time.monotonic())


def test_an_exact_query_without_an_answer_counts_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recall of the queries that were left stood for all, and no figure said that others had failed."""

    class Refusing:
        def __init__(self, *_: str) -> None:
            pass

        def scores(self, request: dict[str, object]) -> dict[str, float] | None:
            return None if request.get("exact") else {"t:1": 0.5}

        def close(self) -> None:
            pass

    monkeypatch.setattr(asker, "Retrieval", Refusing)
    plan = Plan(seconds=0.1, warmup_s=0.0, exact_per_s=20.0, queries_per_s=0.0)
    asked = asker._Asker(plan, Target("", "http://node", "home-timeline", "", 1), [{"k": 1}]).run(time.monotonic())
    assert (asked.failed, len(asked.recalls)) == (2, 0)


def test_any_of_equal_candidates_is_right_and_one_that_is_worse_is_not() -> None:
    """Of tweets with one vector an answer holds some, the exact one others: counted as missed, a true answer had a recall of .9."""
    truth = {"t:1": 0.9, "t:2": 0.8, "t:3": 0.8, "t:4": 0.8}
    assert asker.recall(truth, truth) == 1.0
    assert asker.recall(truth, {"t:1": 0.9, "t:2": 0.8, "t:5": 0.8 - 1e-7, "t:6": 0.8}) == 1.0
    assert asker.recall(truth, {"t:1": 0.9, "t:2": 0.8, "t:5": 0.79, "t:6": 0.7}) == 0.5
    assert asker.recall(truth, {}) == 0.0
