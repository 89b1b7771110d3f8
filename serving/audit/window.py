"""The newest audited queries of one index, counted by tier, language, age and rank. One thread writes; no clock, no index."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence

import numpy as np

from serving.audit.bounds import recall_interval
from serving.health import GroupKind, GroupRecall
from serving.index import FIRST, Audited

QUERIES = 400
"""Audited queries remembered: at two a second, what happened in the last three minutes."""
LANGUAGES = 12
"""Languages told apart, the most frequent ones; a metric must not grow with what people write."""
_MINUTE_MS = 60_000
AGES = (
    ("under 1 m", _MINUTE_MS),
    ("1 m to 10 m", 10 * _MINUTE_MS),
    ("10 m to 1 h", 60 * _MINUTE_MS),
    ("1 h to 6 h", 360 * _MINUTE_MS),
    ("6 h to 1 d", 1_440 * _MINUTE_MS),
)
OLDEST = "over 1 d"
OTHERS = "others"

Group = tuple[GroupKind, str]
ALL: Group = ("all", "all")
FIRST_HITS: Group = ("rank", f"first {FIRST}")


class AuditWindow:
    """What the newest audits found."""

    def __init__(self, queries: int = QUERIES) -> None:
        self._audits: deque[tuple[Counter[Group], Counter[Group]]] = deque(maxlen=queries)

    def __len__(self) -> int:
        return len(self._audits)

    def add(self, audited: Audited, *, now_ms: int) -> None:
        """Count one audited query; one without any exact hit says nothing."""
        if not len(audited.hits):
            return
        wanted: Counter[Group] = Counter({FIRST_HITS: len(audited.first)})
        found: Counter[Group] = Counter({FIRST_HITS: int(np.count_nonzero(audited.first))})
        columns = zip(audited.found.tolist(), audited.tiers, audited.hits.languages, audited.hits.created_ms.tolist(), strict=True)
        for hit, tier, language, created_ms in columns:
            for group in (ALL, ("tier", tier), ("language", language), ("age", age_of(now_ms - created_ms))):
                wanted[group] += 1
                found[group] += hit
        self._audits.append((wanted, found))

    def clear(self) -> None:
        """Forget everything: the index is another one than it was."""
        self._audits.clear()

    def report(self) -> list[GroupRecall]:
        """The recall of each group, the whole first; the rarer languages as one."""
        named = self._languages()
        audits = [(_merged(wanted, named), _merged(found, named)) for wanted, found in tuple(self._audits)]
        groups = sorted({group for wanted, _ in audits for group in wanted} - {ALL})
        return [_recall(group, audits) for group in (ALL, *groups)] if audits else []

    def _languages(self) -> frozenset[str]:
        counts: Counter[str] = Counter()
        for wanted, _ in tuple(self._audits):
            counts.update({name: count for (kind, name), count in wanted.items() if kind == "language"})
        return frozenset(name for name, _ in counts.most_common(LANGUAGES))


def age_of(age_ms: int) -> str:
    """The name of an age."""
    return next((name for name, below_ms in AGES if age_ms < below_ms), OLDEST)


def _merged(counts: Counter[Group], languages: Iterable[str]) -> Counter[Group]:
    merged: Counter[Group] = Counter()
    for (kind, name), count in counts.items():
        merged[kind, OTHERS if kind == "language" and name not in languages else name] += count
    return merged


def _recall(group: Group, audits: Sequence[tuple[Counter[Group], Counter[Group]]]) -> GroupRecall:
    asked = [(found[group], wanted[group]) for wanted, found in audits if wanted[group]]
    interval = recall_interval([found for found, _ in asked], [wanted for _, wanted in asked])
    return GroupRecall(*group, len(asked), interval.estimate, interval.lower, interval.upper)
