"""The swap benchmark's pure parts: when it rolls back, what it sends, what it counts, and what it calls a shortfall."""

import errno
import multiprocessing
import os
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from lab.bench.freshness.http import Retrieval
from lab.bench.swap import asker, prober, report
from lab.bench.swap.asker import Kept
from lab.bench.swap.plan import Plan
from lab.bench.swap.prober import Probed
from lab.bench.swap.traffic import EVENTS_A_ROUND, Turnover
from lab.history import AnswerChecker
from schemas.codec import decode
from schemas.records.candidates import Tweet
from schemas.records.feedback import Engagement
from schemas.topics import TWEETS
from serving.api import RetrieveRequest
from serving.query.epochs import Epoch, Routing, RoutingTable
from serving.query.retrieve import Retriever
from serving.query.users import UserStore
from tests.filled_epochs import HOME, FilledEpoch, tweeted


@pytest.mark.parametrize(("swaps", "rollbacks"), [(20, 5), (2, 1), (1, 1), (3, 0), (7, 7)])
def test_rollbacks_are_as_many_as_asked_for_and_the_last_swap_has_one(swaps: int, rollbacks: int) -> None:
    """Five rollbacks in a row at the end would not meet a running backfill."""
    after = [Plan(swaps=swaps, rollbacks=rollbacks).rolls_back_after(swap) for swap in range(swaps)]
    assert sum(after) == rollbacks
    assert after[-1] is (rollbacks > 0)


def test_the_corpus_keeps_its_size_and_nothing_is_engaged_with_after_its_delete() -> None:
    """A corpus that grows would show as slower queries after the first swap, and be blamed on it."""
    turnover = Turnover(300, seed=1)
    alive = {decode(Tweet, event.value).candidate_id for event in turnover.corpus()}
    assert len(alive) == 300
    counts: Counter[str] = Counter()
    for event in islice(turnover.endless(), EVENTS_A_ROUND * 500):
        if event.topic != TWEETS:
            assert decode(Engagement, event.value).candidate_id in alive
            counts["engagement"] += 1
            continue
        tweet = decode(Tweet, event.value)
        counts["delete" if tweet.deleted else "create"] += 1
        (alive.remove if tweet.deleted else alive.add)(tweet.candidate_id)
        assert abs(len(alive) - 300) <= 1
    assert counts == {"create": 500, "delete": 500, "engagement": 500 * (EVENTS_A_ROUND - 2)}


def test_failed_empty_and_mixed_answers_are_each_counted(tmp_path: Path) -> None:
    """A counter that was never seen above 0 proves nothing."""
    one, other = FilledEpoch(tmp_path, seed=1), FilledEpoch(tmp_path, seed=2)
    one.fill(*(tweeted(f"t:{n}", topics=(f"topic-{n}",)) for n in range(5)))
    # the dangerous state: an index filled by one bundle, asked with the other's towers
    mixed = Epoch(other.bundle, other.towers, one.filled.index, one)
    bodies = [_body(one.epoch), _body(mixed), _body(other.epoch), b""]
    spool = tmp_path / "answers"
    spool.write_bytes(b"".join(bodies))
    places = [sum(map(len, bodies[:at])) for at in range(len(bodies))]
    kept = [Kept("n", "u:1", at, 1.0, 1, 2, place, len(bodies[at])) for at, place in enumerate(places)]
    answers = report.rescored(spool, kept, AnswerChecker(tmp_path, HOME.name))
    assert (answers.queries, answers.failed, answers.mixed, answers.empty) == (4, 1, 1, 1)
    assert [one.fault is not None for one in answers.observed] == [False, True, False]


def _body(epoch: Epoch) -> bytes:
    routings = RoutingTable({HOME.name: Routing(HOME, revision=3, live=epoch, held={epoch.bundle: epoch})})
    return Retriever(routings, UserStore(), now_ms=lambda: 2_000).answer(HOME.name, RetrieveRequest()).body


GOOD = {
    **dict.fromkeys(report.NONE, 0),
    "rollback_ms_p99": 900.0,
    "freshness_p99_ratio": 1.3,
    "query_p99_ratio": 0.9,
    "backfill_efficiency": 0.6,
}


@pytest.mark.parametrize(
    "change",
    [
        *({name: 1} for name in report.NONE),
        {"rollback_ms_p99": 1_001.0},
        {"freshness_p99_ratio": 1.31},
        {"query_p99_ratio": None},
        {"query_p99_ratio": float("nan")},
        {"backfill_efficiency": 0.59},
        {"backfill_efficiency": None},
    ],
    ids=str,
)
def test_each_missed_figure_is_a_shortfall_and_so_is_one_not_measured(change: dict[str, float | None]) -> None:
    """The exit code is what a pipeline reads."""
    assert report.shortfalls(GOOD) == []
    assert len(report.shortfalls(GOOD | change)) == 1


def test_figures_are_taken_from_their_window_alone() -> None:
    """A probe of the warm-up, or one that was lost, is no latency."""
    probed = [Probed(1.0, 10.0), Probed(2.0, 20.0), Probed(2.5, None), Probed(3.0, 30.0)]
    assert report.latencies(probed, (2.0, 3.0)) == [20.0]
    assert report.latencies(probed, (0.0, 1.5), (2.8, 4.0)) == [10.0, 30.0]
    assert report.ratio(30.0, 20.0) == 1.5
    assert (report.ratio(None, 1.0), report.ratio(1.0, None), report.percentile([], 99)) == (None, None, None)


@pytest.mark.parametrize("give_up_s", [Plan().give_up_s, 240.0])
def test_a_tweet_is_asked_for_at_any_age_until_it_is_given_up(monkeypatch: pytest.MonkeyPatch, give_up_s: float) -> None:
    """Asked for among those of the last minute, one that waited for longer was never found, and passed for lost."""
    asked: list[dict[str, Any]] = []

    def ids(_: Retrieval, request: dict[str, Any]) -> list[str]:
        asked.append(request)
        return ["t:probe-7"] if request["max_age_s"] > give_up_s else []

    monkeypatch.setattr(Retrieval, "ids", ids)
    found = prober._found(Retrieval("http://node", "home-timeline"), {"t:probe-7": (7, 0.0)}, give_up_s)
    assert found == {"t:probe-7"}
    assert asked[0]["languages"] == ["x-probe-007"]


def test_answers_that_find_no_room_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk one thread after another died, and a run that asked ever less ended without an error."""

    class Answering:
        def __init__(self, *_: str) -> None:
            pass

        def ask(self, _: bytes) -> bytes:
            return b"{}"

        def close(self) -> None:
            pass

    here, there = multiprocessing.Pipe()

    def full(*_: object) -> None:
        # not before: a thread that was stopped first would keep nothing
        here.send("stop")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(asker, "Retrieval", Answering)
    monkeypatch.setattr(asker._Asker, "_keep", full)
    here.send(time.time())
    with pytest.raises(OSError, match="No space left"):
        asker.ask(there, Plan(), ("http://node",), "home-timeline", tmp_path / "answers")
