"""Joined examples into both arms of one canary: by user, each example once, the highest revision. Decides nothing."""

from collections import defaultdict
from dataclasses import dataclass, field

from schemas.features.hashing import canary_bucket
from schemas.records.control import BundleStage
from schemas.records.feedback import Example, Label
from streams.canary.sequential import Sums

_ENGAGED = {Label.POSITIVE: 1, Label.IMPLICIT_NEGATIVE: 0, Label.EXPLICIT_NEGATIVE: 0}


@dataclass(slots=True)
class _User:
    shown: int = 0
    engaged: int = 0


@dataclass(slots=True)
class _Arm:
    users: dict[str, _User] = field(default_factory=lambda: defaultdict(_User))

    def sums(self) -> Sums:
        total = Sums()
        shown = engaged = shown2 = engaged2 = both = 0
        users = 0
        for user in self.users.values():
            if user.shown:
                users += 1
                shown += user.shown
                engaged += user.engaged
                shown2 += user.shown**2
                engaged2 += user.engaged**2
                both += user.shown * user.engaged
        return Sums(users, shown, engaged, shown2, engaged2, both) if users else total


class Arms:
    """Both arms of one canary. An example counts for the arm its user belongs to, and only if that arm's bundle answered."""

    def __init__(self, surface: str, canary: BundleStage, live: str) -> None:
        """Begin with nobody.

        Args:
            canary: in its stage, with salt, share and the moment since when.
            live: the bundle that everybody else is answered from.
        """
        self._surface = surface
        self._canary = canary
        self._live = live
        self._arms = {canary.bundle: _Arm(), live: _Arm()}
        # what was counted of each example, so that a correction counts instead of it
        self._seen: dict[str, tuple[int, int]] = {}
        self.ignored = 0

    def take(self, example: Example) -> None:
        """Count an example, or its correction; one of before the canary, or answered by neither arm, is passed over."""
        engaged = _ENGAGED.get(example.label)
        if example.surface != self._surface or example.event_time_ms < self._canary.since_ms or engaged is None:
            return
        in_canary = canary_bucket(self._canary.salt, example.user_id) < self._canary.share_bp
        if example.bundle != (self._canary.bundle if in_canary else self._live):
            # answered in the moment of the change by the other epoch, or by nobody of ours
            self.ignored += 1
            return
        user = self._arms[example.bundle].users[example.user_id]
        before = self._seen.get(example.example_id)
        if before is None:
            user.shown += 1
            user.engaged += engaged
        elif example.revision > before[0]:
            user.engaged += engaged - before[1]
        else:
            return
        self._seen[example.example_id] = (example.revision, engaged)

    @property
    def canary(self) -> Sums:
        """The canary's arm."""
        return self._arms[self._canary.bundle].sums()

    @property
    def live(self) -> Sums:
        """Everybody else."""
        return self._arms[self._live].sums()
