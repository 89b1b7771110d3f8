"""How a canary's bundle answered beside the live one, by what nodes count since their processes began. Judges nothing."""

from collections.abc import Iterable
from dataclasses import fields

from schemas.records.control import SLOW_ANSWER_MS, AnswerCounts, NodeStatus
from streams.canary.arms import Pair
from streams.canary.sequential import Sums

_NOTHING = AnswerCounts()


class ServedArms:
    """Both bundles of one canary, since it was first heard of. One thread."""

    def __init__(self, canary: str, live: str) -> None:
        self._canary = canary
        self._live = live
        # with when the node's process began
        self._last: dict[tuple[str, str], tuple[int, AnswerCounts]] = {}
        self._totals = {canary: AnswerCounts(), live: AnswerCounts()}

    def hear(self, statuses: Iterable[NodeStatus]) -> None:
        """Take in the newest heartbeats; what a node counted before its first one here is not the canary's."""
        for status in statuses:
            for bundle in self._totals:
                counts = status.answers.get(bundle)
                if counts is None:
                    continue
                started_ms, before = self._last.get((status.instance, bundle), (status.started_ms, counts))
                # the node's process is another one; nodes of earlier releases do not say when theirs began
                if status.started_ms != started_ms or counts.answered + counts.failed < before.answered + before.failed:
                    before = _NOTHING
                self._last[status.instance, bundle] = status.started_ms, counts
                self._totals[bundle] = _sum(self._totals[bundle], counts, minus=before)

    @property
    def harms(self) -> dict[str, Pair]:
        """The share of questions that got no good answer, by what was wrong."""
        return {
            "empty": self._pair("empty"),
            f"slower than {SLOW_ANSWER_MS} ms": self._pair("slow"),
            "failed": self._pair("failed"),
        }

    def _pair(self, name: str) -> Pair:
        return _share(self._totals[self._canary], name), _share(self._totals[self._live], name)


def _sum(total: AnswerCounts, counts: AnswerCounts, *, minus: AnswerCounts) -> AnswerCounts:
    names = [field.name for field in fields(AnswerCounts)]
    return AnswerCounts(*(getattr(total, name) + getattr(counts, name) - getattr(minus, name) for name in names))


def _share(counts: AnswerCounts, name: str) -> Sums:
    """Return a share of answers as sums, with a good and a bad one more: an arm all of one kind would have no variance."""
    asked, bad = counts.answered + counts.failed + 2, getattr(counts, name) + 1
    return Sums(asked, asked, bad, asked, bad, bad)
