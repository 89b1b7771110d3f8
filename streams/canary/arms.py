"""Joined examples into both arms of one canary and its slices: by user, each once, the highest revision. Decides nothing."""

from collections import OrderedDict, defaultdict
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


class _Counted:
    """What was counted of the examples that one labeler's partition wrote to one of the log, while it may still correct them."""

    def __init__(self) -> None:
        # by example id, in order of arrival: revision, engaged, event time
        self._examples: OrderedDict[str, tuple[int, int, int]] = OrderedDict()
        self._newest_ms = 0

    def __len__(self) -> int:
        return len(self._examples)

    def of(self, example: Example) -> tuple[int, int] | None:
        """Return the revision of an example that was counted, and how often engaged; None of one that was not."""
        found = self._examples.get(example.example_id)
        return None if found is None else found[:2]

    def note(self, example: Example, engaged: int, *, corrected_ms: int) -> None:
        """Note that a revision is counted; what is older than any that is still corrected is forgotten."""
        self._examples[example.example_id] = (example.revision, engaged, example.event_time_ms)
        self._newest_ms = max(self._newest_ms, example.event_time_ms)
        while next(iter(self._examples.values()))[2] < self._newest_ms - corrected_ms:
            self._examples.popitem(last=False)


Pair = tuple[Sums, Sums]
"""The canary's arm, and everybody else's."""


class Arms:
    """Both arms of one canary. An example counts for the arm its user belongs to, and only if that arm's bundle answered."""

    def __init__(self, surface: str, canary: BundleStage, live: str, *, corrected_ms: int) -> None:
        """Begin with nobody.

        Args:
            canary: in its stage, with salt, share and the moment since when it stands beside `live`.
            live: the bundle that everybody else is answered from.
            corrected_ms: how long after its impression an example may still be corrected, in event time.
        """
        self._surface = surface
        self._canary = canary
        self._live = live
        self._arms = {canary.bundle: _Arm(), live: _Arm()}
        self._slices: dict[str, dict[str, _Arm]] = {}
        self._corrected_ms = corrected_ms
        # for corrections; by partition of the log and of the labeler, one of which may be read long after another
        self._counted: defaultdict[tuple[int, int], _Counted] = defaultdict(_Counted)
        self.ignored = 0

    def take(self, example: Example, *, partition: int = 0) -> None:
        """Count an example, or its correction; one of before the canary, or answered by neither arm, is passed over.

        Args:
            partition: of `examples`, where it lies.
        """
        engaged = _ENGAGED.get(example.label)
        if example.surface != self._surface or example.event_time_ms < self._canary.since_ms or engaged is None:
            return
        in_canary = canary_bucket(self._canary.salt, example.user_id) < self._canary.share_bp
        if example.bundle != (self._canary.bundle if in_canary else self._live):
            # answered in the moment of the change by the other epoch, or by nobody of ours
            self.ignored += 1
            return
        counted = self._counted[partition, example.impression_partition]
        before = counted.of(example)
        # of two equal revisions the last counts: a killed labeler joins once more, with what came meanwhile
        if before is not None and example.revision < before[0]:
            return
        counted.note(example, engaged, corrected_ms=self._corrected_ms)
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
