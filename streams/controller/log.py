"""The folded log of `rollouts`: the state of every surface, and what became of every command. Reads and writes no topic."""

from dataclasses import replace

from schemas.records.control import Outcome, Rollout
from schemas.rollout import fold, nothing_yet


class RolloutLog:
    """Fed with every record in log order.

    Attributes:
        states: the state of each surface that has one.
        outcomes: by command id, the record that answered the command first. An accepted one that came second in the log is lost.
    """

    def __init__(self) -> None:
        self.states: dict[str, Rollout] = {}
        self.outcomes: dict[str, Rollout] = {}

    def state(self, surface: str) -> Rollout:
        """Return the state of a surface; revision 0 before its first rollout."""
        return self.states.get(surface) or nothing_yet(surface)

    def take(self, record: Rollout) -> bool:
        """Fold one record; tell whether it counts: it does when it is the surface's next revision, or a refusal."""
        before = self.state(record.surface)
        after = fold(before, record)
        if after is not before:
            self.states[record.surface] = after
        counts = after is not before or record.outcome is not Outcome.ACCEPTED
        if record.command_id and record.command_id not in self.outcomes:
            self.outcomes[record.command_id] = record if counts else _lost(record, after)
        return counts


def _lost(record: Rollout, state: Rollout) -> Rollout:
    reason = f"another controller wrote revision {record.revision} of {record.surface} first; look again, then ask again"
    return replace(state, command_id=record.command_id, outcome=Outcome.LOST, reason=reason, actor=record.actor)
