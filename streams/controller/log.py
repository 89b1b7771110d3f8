"""The folded log of `rollouts`: the state of every surface, and what became of every command. Reads and writes no topic."""

from dataclasses import replace

from schemas.records.control import BundleStage, Outcome, Rollout, Stage
from schemas.rollout import fold, nothing_yet


class RolloutLog:
    """Fed with every record in log order.

    Attributes:
        states: the state of each surface that has one.
        outcomes: by command id, the record that answered the command first. An accepted one that came second in the log is lost.
        refused: by surface, the ids of the commands refused since its newest rollout began.
        ramps: by surface, all shares in basis points that its newest canary was asked for, those behind it too.
    """

    def __init__(self) -> None:
        self.states: dict[str, Rollout] = {}
        self.outcomes: dict[str, Rollout] = {}
        self.refused: dict[str, set[str]] = {}
        self.ramps: dict[str, tuple[int, ...]] = {}

    def state(self, surface: str) -> Rollout:
        """Return the state of a surface; revision 0 before its first rollout."""
        return self.states.get(surface) or nothing_yet(surface)

    def take(self, record: Rollout) -> bool:
        """Fold one record; tell whether it counts: it does when it is the surface's next revision, or a refusal."""
        before = self.state(record.surface)
        after = fold(before, record)
        if after is not before:
            self.states[record.surface] = after
            # a rollout's salt is the id of the command that began it
            if any(entry.salt == after.command_id for entry in after.in_stage(Stage.REGISTERED)):
                self.refused.pop(record.surface, None)
            # a step of the ramp has no command, and other commands leave a canary as it was
            if after.command_id and (canary := _canary(after)) and canary != _canary(before):
                self.ramps[record.surface] = (canary[0].share_bp, *after.ramp_bp)
        counts = after is not before or record.outcome is not Outcome.ACCEPTED
        if record.command_id and record.command_id not in self.outcomes:
            self.outcomes[record.command_id] = record if counts else _lost(record, after)
            if record.outcome is Outcome.REFUSED:
                self.refused.setdefault(record.surface, set()).add(record.command_id)
        return counts


def _canary(state: Rollout) -> list[BundleStage]:
    # a pause changes no comparison
    return [replace(entry, paused=False) for entry in state.in_stage(Stage.CANARY)]


def _lost(record: Rollout, state: Rollout) -> Rollout:
    reason = f"another controller wrote revision {record.revision} of {record.surface} first; look again, then ask again"
    return replace(state, command_id=record.command_id, outcome=Outcome.LOST, reason=reason, actor=record.actor)
