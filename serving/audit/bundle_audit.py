"""The audit of one bundle's index: a live query answered again, a new candidate looked for, and what is done about a shortfall.

A recall is short when even its upper bound is below the floor, so a small sample raises no alarm. Then the worst tier is dropped
and built anew; a candidate that its own vector does not find is inserted again. No thread, no budget.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from serving.audit.bounds import FLOOR, JUDGED_FROM_QUERIES
from serving.audit.probe import finds
from serving.audit.window import AuditWindow
from serving.filling.filled import FilledIndex
from serving.health import AuditHealth, GroupRecall
from serving.index import CandidateIndex, Tier
from serving.query.tap import LiveQuery

log = logging.getLogger(__name__)

PROBED_AGAIN = 256
PROBED_AGAIN_AFTER_S = 60.0
"""By then a candidate has settled into a tier, which is where it could get lost."""
REBUILD_EVERY_S = 300.0
REPORT_EVERY_S = 2.0
CLEARED_AFTER_QUERIES = 20
"""So many audits of a rebuilt index must pass before the alarm ends."""
RECALL_ALARM = "recall_short"


class BundleAudit:
    """One thread audits; `health` and `alarms` are read on any."""

    def __init__(self, *, now_ms: Callable[[], int], clock_s: Callable[[], float] = time.monotonic) -> None:
        self._now_ms = now_ms
        self._clock_s = clock_s
        self._window = AuditWindow()
        self._again: deque[tuple[float, str]] = deque()
        self._probed = ""
        self._reported_s: float | None = None
        self._rebuilt_s: float | None = None
        self.health = AuditHealth()
        self.alarms: dict[str, str] = {}

    def audit(self, index: CandidateIndex, query: LiveQuery) -> None:
        """Answer a live query again, exactly, and act on what the newest ones say together."""
        self._window.add(index.audit(query.vector, query.k, query.where), now_ms=self._now_ms())
        self.health = replace(self.health, queries=self.health.queries + 1)
        now_s = self._clock_s()
        if self._reported_s is None or now_s - self._reported_s >= REPORT_EVERY_S or self.alarms:
            self._reported_s = now_s
            groups = self._window.report()
            self.health = replace(self.health, groups=tuple(groups))
            self._judge(index, groups)

    def probe(self, filled: FilledIndex) -> bool:
        """Look for a new candidate by its own vector, and for one that was new a minute ago; False when there is neither."""
        now_s = self._clock_s()
        due = []
        if (newest := filled.newest_ids(1)) and newest[0] != self._probed:
            self._probed = newest[0]
            due.append(newest[0])
            # those that have waited go first: else a busy node would never come to any
            if len(self._again) < PROBED_AGAIN:
                self._again.append((now_s + PROBED_AGAIN_AFTER_S, newest[0]))
        if self._again and self._again[0][0] <= now_s:
            due.append(self._again.popleft()[1])
        held = [candidate for candidate in map(filled.index.get, due) if candidate is not None]
        missed = [candidate for candidate in held if not finds(filled.index, candidate)]
        if missed:
            log.error(
                "%d candidates are not found by their own vectors (%s …); inserting again", len(missed), missed[0].candidate_id
            )
            filled.insert_again([candidate.candidate_id for candidate in missed])
        self.health = replace(
            self.health, probes=self.health.probes + len(held), probes_missed=self.health.probes_missed + len(missed)
        )
        return bool(due)

    def _judge(self, index: CandidateIndex, groups: Iterable[GroupRecall]) -> None:
        short = [group for group in groups if group.upper < FLOOR and group.queries >= JUDGED_FROM_QUERIES]
        if short:
            worst = min(short, key=lambda group: group.upper)
            sentence = (
                f"recall of {worst.kind} {worst.group} is {worst.recall:.3f} on {worst.queries} live queries, "
                f"at most {worst.upper:.3f}; {FLOOR} is promised"
            )
            if RECALL_ALARM not in self.alarms:
                log.error("%s", sentence)
            self.alarms = {RECALL_ALARM: sentence}
            self._repair(index, groups)
        elif len(self._window) >= CLEARED_AFTER_QUERIES:
            self.alarms = {}

    def _repair(self, index: CandidateIndex, groups: Iterable[GroupRecall]) -> None:
        now_s = self._clock_s()
        if self._rebuilt_s is not None and now_s - self._rebuilt_s < REBUILD_EVERY_S:
            return
        built: dict[str, Tier] = {"codes": "codes", "graph": "graph"}
        tiers = [group for group in groups if group.kind == "tier" and group.group in built]
        if not tiers:
            return
        tier = built[min(tiers, key=lambda group: group.recall).group]
        log.error("the %s are dropped and built anew", tier)
        index.distrust(tier)
        self._rebuilt_s = now_s
        # what was found says nothing of the index as it is now
        self._window.clear()
        self.health = replace(self.health, rebuilds=self.health.rebuilds + 1)
