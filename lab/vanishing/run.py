"""One run: both systems on the same tweets, a swap with a kill in its middle, a rollback, the verdict. The parts do the work."""

import os
import signal
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from lab.bench.machine import commit, machine
from lab.bench.swap import Target
from lab.history import AnswerChecker, judge, read_history
from lab.vanishing.askers import Askers, Replicas
from lab.vanishing.plan import Plan
from lab.vanishing.sampled import curves, figures
from lab.vanishing.tweets import Tweets
from lab.vanishing.usual import UsualWay
from lab.vanishing.writer import Order
from schemas.bundle import read_bundle
from schemas.errors import RoostError
from schemas.records.control import CommandKind, RolloutCommand
from schemas.towers import Towers
from serving.client import Answer
from streams.controller.client import RolloutClient
from streams.producer import Producer

_LOOK_S = 0.02
_MARKER = "t:after-the-flip"
# a small time after the flip, so that the marker is a tweet like any other
_MARKER_AFTER_S = 2.0

Say = Callable[[str], None]


def run(plan: Plan, target: Target, *, say: Say = lambda _: None) -> dict[str, Any]:
    """Run it and return the curves and figures of both; a deployment of its own, with nothing published, is best.

    Args:
        target: two replicas, the first of two bundles live on both.

    Raises:
        RoostError: a flip did not come about in time.
    """
    with ExitStack() as stack:
        show = _Run(plan, target, say, stack)
        show.prepare()
        show.swap()
        show.roll_back()
        return show.report()


class _Run:
    def __init__(self, plan: Plan, target: Target, say: Say, stack: ExitStack) -> None:
        self._plan = plan
        self._target = target
        self._say = say
        self._old, self._new = target.bundles[:2]
        self._tweets = Tweets(plan)
        self._producer = stack.enter_context(Producer(target.bootstrap))
        self._rollouts = stack.enter_context(RolloutClient(target.bootstrap))
        order = Order(
            target.bootstrap, target.registry, target.surface, self._old, False, plan.walk_rows_per_s, target.partitions, {}
        )
        old, new = self._towers(self._old), self._towers(self._new)
        self._usual = UsualWay(order, dim=old.dim)
        stack.callback(self._usual.close)
        self._replicas = Replicas(target.node_urls, target.surface)
        stack.callback(self._replicas.close)
        checker = AnswerChecker(target.registry, target.surface)
        self._askers = Askers(
            plan, self._tweets, replicas=self._replicas, usual=self._usual, checker=checker, producer=self._producer
        )
        stack.callback(self._askers.stop)
        self._events: dict[str, float] = {}
        self._marker: dict[str, dict[str, Any]] = {"roost": {}, "usual": {}}
        self._reader, self._marker_row = self._tweets.best_for_all([old, new])

    def _towers(self, bundle: str) -> Towers:
        return Towers(read_bundle(self._target.registry, self._target.surface, bundle))

    def prepare(self) -> None:
        """Publish the corpus, wait until both have it, and watch a while."""
        count = 0
        for tweet in self._tweets.corpus(time.time_ns() // 1_000_000):
            self._producer.tweet(tweet)
            count += 1
        self._producer.flush()
        written = self._producer.written
        self._await(lambda: len(self._usual) >= count and self._replicas.reflect(written), f"{count:,} tweets in both")
        self._say(f"{count:,} tweets in both; {self._plan.before_s:g} s before anything happens")
        self._askers.start()
        self._rest(self._plan.before_s)

    def swap(self) -> None:
        """Swap both to the new tower; kill a replica of Roost as it flips, and the usual way's writer half-way."""
        self._note("swap")
        self._command(CommandKind.START, bundle=self._new, automatic=True)
        self._usual.swap_to(self._new)
        self._await(lambda: self._live() == self._new, f"{self._new} to go live")
        os.kill(self._target.pids["serve-2"], signal.SIGKILL)
        self._note("roost_flipped", "roost_killed")
        self._say(f"Roost goes live with the new tower after {self._since('swap'):.1f} s; kill -9 of a replica as it flips")
        self._await(lambda: self._usual.walked_share >= 0.5, "the usual way's walk to be half-way")
        self._usual.kill_writer()
        self._note("usual_killed")
        self._say(f"the usual way is half-way through its rows after {self._since('swap'):.1f} s; kill -9 of its writer")
        self._await(lambda: self._usual.alias == self._new, "the usual way's alias to move")
        self._note("usual_flipped")
        self._say(f"the usual way's alias moves after {self._since('swap'):.1f} s")
        self._rest(_MARKER_AFTER_S)
        marker = self._tweets.next(time.time_ns() // 1_000_000, name=_MARKER, like=self._marker_row)
        self._producer.tweet(marker)
        self._producer.flush()
        self._await(lambda: self._roost_finds() and self._usual_finds(), "the marker to be among its reader's best in both")
        self._rest(self._plan.after_s)

    def roll_back(self) -> None:
        """Go back to the old tower; look for the tweet that was published after the flip."""
        self._note("rollback")
        began_s = time.monotonic()
        self._command(CommandKind.ROLLBACK)
        self._await(lambda: self._all_answer_from(self._old), "every replica to answer from the old bundle", look_s=0.002)
        self._note("roost_back")
        back_s = time.monotonic() - began_s
        self._marker["roost"] = {"back_s": back_s, "found_in_first_answer": _true(lambda: self._all_find_from(self._old))}
        self._usual.swap_to(self._old)
        missed_s, looked_s = 0.0, time.monotonic()
        while self._usual.alias != self._old:
            self._watch(began_s, "the usual way to be back")
            now_s = time.monotonic()
            missed_s += 0.0 if self._usual_finds() else now_s - looked_s
            looked_s = now_s
            time.sleep(0.1)
        self._note("usual_back")
        self._marker["usual"] = {
            "back_s": time.monotonic() - began_s,
            "missed_s": missed_s,
            "found_at_the_end": self._usual_finds(),
        }
        self._say(
            f"rolled back: Roost after {self._marker['roost']['back_s'] * 1000:.0f} ms, the usual way after "
            f"{self._marker['usual']['back_s']:.1f} s; the tweet published after the flip was out of its reader's best "
            f"{self._plan.k} for {missed_s:.1f} s of them"
        )
        self._rest(self._plan.after_s)

    def report(self) -> dict[str, Any]:
        """Stop, and return what was seen."""
        self._askers.stop()
        seconds = self._askers.now_s
        verdict = judge(read_history(self._target.bootstrap, self._askers.observed))
        self._say(f"── {verdict.sentence()}")
        at, askers = self._events, self._askers
        before = (0.0, at["swap"])
        roost = figures(askers.roost, askers.roost_lag, before=before, swap=(at["swap"], at["usual_flipped"]))
        usual = figures(askers.usual, askers.usual_lag, before=before, swap=(at["swap"], at["usual_flipped"]))
        return {
            "demo": "swap",
            "machine": machine(),
            "commit": commit(),
            "config": asdict(self._plan),
            "seconds": round(seconds, 1),
            "events_s": {name: round(second, 2) for name, second in at.items()},
            "roost": {**roost, "swap_s": self._span("swap", "roost_flipped"), "failed_over": self._replicas.failed_over}
            | _rounded(self._marker["roost"]),
            "usual": {**usual, "swap_s": self._span("swap", "usual_flipped"), "writer_restarts": self._usual.restarts}
            | _rounded(self._marker["usual"]),
            "faults": askers.faults,
            "history": verdict.as_data(),
            "curves": {
                "roost": _short(curves(askers.roost, askers.roost_lag, seconds)),
                "usual": _short(curves(askers.usual, askers.usual_lag, seconds)),
            },
        }

    def _command(self, kind: CommandKind, **details: Any) -> None:
        now_ms = time.time_ns() // 1_000_000
        command = RolloutCommand(uuid.uuid4().hex, self._target.surface, kind, actor="demo", time_ms=now_ms, **details)
        self._rollouts.send(command, timeout_s=30.0)

    def _live(self) -> str | None:
        return self._rollouts.states()[self._target.surface].live

    def _all_answer_from(self, bundle: str) -> bool:
        return all(answer.bundle == bundle for answer in self._replicas.each(self._reader, 1))

    def _all_find_from(self, bundle: str) -> bool:
        answers = self._replicas.each(self._reader, self._plan.k)
        return all(answer.bundle == bundle and _holds(answer) for answer in answers)

    def _roost_finds(self) -> bool:
        answer, _ = self._replicas.ask(self._reader, self._plan.k)
        return _holds(answer)

    def _usual_finds(self) -> bool:
        return _MARKER in self._usual.ask(self._reader.features, self._plan.k).hits.candidate_ids

    def _note(self, *names: str) -> None:
        self._events.update(dict.fromkeys(names, self._askers.now_s))

    def _since(self, name: str) -> float:
        return self._askers.now_s - self._events[name]

    def _span(self, first: str, last: str) -> float:
        return round(self._events[last] - self._events[first], 2)

    def _await(self, holds: Callable[[], bool], what: str, *, look_s: float = _LOOK_S) -> None:
        began_s = time.monotonic()
        while not _true(holds):
            self._watch(began_s, what)
            time.sleep(look_s)

    def _watch(self, began_s: float, what: str) -> None:
        self._target.watch()
        if time.monotonic() - began_s > self._plan.give_up_s:
            raise RoostError(f"waited {self._plan.give_up_s:g} s for {what}; the logs of the roles say why")

    def _rest(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self._target.watch()
            time.sleep(0.2)


def _holds(answer: Answer) -> bool:
    return any(found.candidate_id == _MARKER for found in answer.candidates)


def _true(holds: Callable[[], bool]) -> bool:
    try:
        return holds()
    except RoostError:
        return False


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}


def _short(lines: Mapping[str, list[float | None]]) -> dict[str, list[float | None]]:
    return {name: [None if value is None else round(value, 3) for value in line] for name, line in lines.items()}
