"""What engagements do to candidates that nobody has looked at since, summed: a thousand of one cost one state. Folds nothing."""

from dataclasses import dataclass

from schemas.records.feedback import EngagementKind
from streams.candidates.fold import NO_STEPS, step_of


@dataclass(slots=True)
class Unfolded:
    """Of one candidate: by how much each counter moves, and the newest append time, in Unix milliseconds."""

    steps: list[int]
    append_time_ms: int


class UnfoldedEngagements:
    """Those of one partition, by candidate."""

    def __init__(self) -> None:
        self._by_candidate: dict[str, Unfolded] = {}

    def add(self, candidate_id: str, kind: EngagementKind, append_time_ms: int) -> bool:
        """Add one that is no duplicate; False when its kind moves no counter."""
        step = step_of(kind)
        if step is None:
            return False
        unfolded = self._by_candidate.get(candidate_id)
        if unfolded is None:
            unfolded = self._by_candidate[candidate_id] = Unfolded(list(NO_STEPS), append_time_ms)
        elif append_time_ms > unfolded.append_time_ms:
            unfolded.append_time_ms = append_time_ms
        place, by = step
        unfolded.steps[place] += by
        return True

    def take(self, candidate_id: str) -> Unfolded | None:
        """Return what was added of a candidate since the last call, and forget it."""
        return self._by_candidate.pop(candidate_id, None)
