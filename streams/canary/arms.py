"""Joined examples into both arms of one canary and its slices: by user, each once, the highest revision. Decides nothing."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter

from schemas.features.hashing import canary_bucket
from schemas.records.candidates import UNDETERMINED
from schemas.records.control import BundleStage
from schemas.records.feedback import Example, Label
from streams.canary.sequential import Sums

_ENGAGED = {Label.POSITIVE: 1, Label.IMPLICIT_NEGATIVE: 0, Label.EXPLICIT_NEGATIVE: 0}
# each slice is a comparison of its own: their number is part of how often all of them together may be wrong
MAX_SLICES = 20
NEW_USERS = "new users"


@dataclass(slots=True)
class _User:
    shown: int = 0
    engaged: int = 0
    # shown in a language that the user does not declare
    mismatched: int = 0


@dataclass(slots=True)
class _Arm:
    users: dict[str, _User] = field(default_factory=lambda: defaultdict(_User))

    def sums(self, counted: Callable[[_User], int]) -> Sums:
        return Sums.of([user.shown for user in self.users.values()], [counted(user) for user in self.users.values()])


Pair = tuple[Sums, Sums]
"""The canary's arm, and everybody else's."""


class Arms:
    """Both arms of one canary. An example counts for the arm its user belongs to, and only if that arm's bundle answered."""

    def __init__(self, surface: str, canary: BundleStage, live: str) -> None:
        """Begin with nobody.

        Args:
            canary: in its stage, with salt, share and the moment since when it stands beside `live`.
            live: the bundle that everybody else is answered from.
        """
        self._surface = surface
        self._canary = canary
        self._live = live
        self._arms = {canary.bundle: _Arm(), live: _Arm()}
        self._slices: dict[str, dict[str, _Arm]] = {}
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
        before = self._seen.get(example.example_id)
        if before is not None and example.revision <= before[0]:
            return
        self._seen[example.example_id] = (example.revision, engaged)
        shown, engaged = (1, engaged) if before is None else (0, engaged - before[1])
        mismatched = int(shown > 0 and _is_mismatched(example))
        for arm in (self._arms[example.bundle], *self._slices_of(example)):
            user = arm.users[example.user_id]
            user.shown += shown
            user.engaged += engaged
            user.mismatched += mismatched

    def _slices_of(self, example: Example) -> Iterator[_Arm]:
        query = example.query
        names = [f"language {query.languages[0]}"] if query.languages else []
        if not (query.history_authors or query.history_topics or query.history_languages):
            names.append(NEW_USERS)
        for name in names:
            if name not in self._slices and len(self._slices) < MAX_SLICES:
                self._slices[name] = {self._canary.bundle: _Arm(), self._live: _Arm()}
            if name in self._slices and example.bundle is not None:
                yield self._slices[name][example.bundle]

    @property
    def engagement(self) -> Pair:
        """Engagements an impression."""
        return self._pair(self._arms, attrgetter("engaged"))

    @property
    def mismatch(self) -> Pair:
        """Impressions in a language that the user does not declare, an impression."""
        return self._pair(self._arms, attrgetter("mismatched"))

    @property
    def slices(self) -> dict[str, Pair]:
        """Engagements an impression by part of the users: those of a language, and new ones; the first `MAX_SLICES` that came."""
        return {name: self._pair(arms, attrgetter("engaged")) for name, arms in self._slices.items()}

    def _pair(self, arms: Mapping[str, _Arm], counted: Callable[[_User], int]) -> Pair:
        return arms[self._canary.bundle].sums(counted), arms[self._live].sums(counted)


def _is_mismatched(example: Example) -> bool:
    declared, language = example.query.languages, example.candidate.language
    return bool(declared) and language != UNDETERMINED and language not in declared
