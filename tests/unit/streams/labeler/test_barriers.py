"""How far user states reflect the input, on logs of the test's own: whoever owns which partition, and nothing too early."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from schemas.errors import BrokerUnavailable
from schemas.positions import Place
from schemas.topics import ENGAGEMENTS, IMPRESSIONS, USER_EVENTS, USER_STATES, USERS
from streams.labeler.barriers import Barriers, Ends
from streams.runner.folded import FoldedPositions

LATENESS_MS = 1_000
NOW_MS = 1_700_000_000_000
SHOWN, DONE = (IMPRESSIONS, 0), (ENGAGEMENTS, 1)
EVENTS, PROFILES, STATES = (USER_EVENTS, 0), (USERS, 1), (USER_STATES, 1)


@dataclass
class FakeLogs:
    """The append times of every record of every log, and what the group has committed."""

    appended: dict[Place, list[int]] = field(
        default_factory=lambda: {place: [] for place in (SHOWN, DONE, EVENTS, PROFILES, STATES)}
    )
    group: dict[Place, int | None] = field(default_factory=dict)
    asked_committed: int = 0
    begun: int = 0
    away: bool = False

    def append(self, place: Place, at_ms: int = NOW_MS) -> None:
        """Append a record."""
        self.appended[place].append(at_ms)

    def inputs_at(self, time_ms: int | None) -> Ends:
        """See `Logs`."""
        self._answer()
        self.begun += 1
        found = {}
        for place in (SHOWN, DONE):
            times = self.appended[place]
            found[place] = len(times) if time_ms is None else sum(at_ms <= time_ms for at_ms in times)
        return found

    def ends_of_user_inputs(self) -> Ends:
        """See `Logs`."""
        return self._ends(EVENTS, PROFILES)

    def ends_of_user_states(self) -> Ends:
        """See `Logs`."""
        return self._ends(STATES)

    def committed(self) -> Mapping[Place, int | None]:
        """See `Logs`."""
        self._answer()
        self.asked_committed += 1
        return self.group

    def _ends(self, *places: Place) -> Ends:
        self._answer()
        return {place: len(self.appended[place]) for place in places}

    def _answer(self) -> None:
        if self.away:
            raise BrokerUnavailable("no answer")


class Following:
    """Barriers over the fake logs, with a clock of their own."""

    def __init__(self) -> None:
        self.logs = FakeLogs()
        self.folded = FoldedPositions()
        self.now_ms = NOW_MS
        self.now_s = 0.0
        self.barriers = Barriers(
            self.logs, self.folded, lateness_ms=LATENESS_MS, clock_ms=lambda: self.now_ms, clock_s=lambda: self.now_s
        )

    def step(self, seconds: float = 0.2) -> None:
        """Let time pass, and step."""
        self.now_s += seconds
        self.now_ms += int(seconds * 1000)
        self.barriers.step()

    def is_covered(self, needed_ms: int, read: int) -> bool:
        """Tell whether states suffice once so many records of `user-states` were read."""
        self.barriers.see({STATES[1]: read})
        return self.barriers.seen_ms >= needed_ms


@pytest.fixture
def following() -> Following:
    """Return barriers that have begun none."""
    return Following()


def test_an_event_of_any_partition_is_followed_until_its_state_is_seen(following: Following) -> None:
    """Each log on its way may be the one that lags; a step taken for granted is a history that lacks its newest event."""
    logs, folded = following.logs, following.folded
    logs.append(SHOWN)
    logs.append(DONE)
    folded.note({SHOWN: 1})
    following.barriers.read(NOW_MS)
    following.barriers.want(NOW_MS)
    following.step()
    assert not following.is_covered(NOW_MS, 0), "the engagement of another partition is not read yet"
    logs.append(EVENTS)
    folded.note({DONE: 1})
    following.step()
    assert not following.is_covered(NOW_MS, 0), "its user event is not folded yet"
    logs.append(STATES)
    folded.note({EVENTS: 1})
    following.step()
    assert not following.is_covered(NOW_MS, 0), "its state is not seen yet"
    assert following.is_covered(NOW_MS, 1)


def test_a_profile_of_before_is_waited_for_too(following: Following) -> None:
    """A state is folded of profiles as well: a new user's languages are query features like any history."""
    following.logs.append(SHOWN)
    following.logs.append(PROFILES)
    following.folded.note({SHOWN: 1})
    following.barriers.read(NOW_MS)
    following.barriers.want(NOW_MS)
    following.step()
    following.step()
    assert not following.is_covered(NOW_MS, 0)
    following.folded.note({PROFILES: 1})
    following.step()
    assert following.is_covered(NOW_MS, 0)


def test_what_other_processes_fold_is_known_by_what_they_commit(following: Following) -> None:
    """Labeler and user state of one user may be anywhere; the group is asked twice a second at most."""
    logs = following.logs
    logs.append(SHOWN)
    logs.append(EVENTS)
    following.barriers.read(NOW_MS)
    following.barriers.want(NOW_MS)
    logs.group = {SHOWN: None, DONE: None, EVENTS: None, PROFILES: None}
    following.step()
    following.step()
    assert logs.asked_committed == 1
    logs.group |= {SHOWN: 1}
    following.step(0.5)
    following.step(0.5)
    assert not following.is_covered(NOW_MS, 0)
    logs.group |= {EVENTS: 1}
    following.step(0.5)
    assert following.is_covered(NOW_MS, 0)
    asked = logs.asked_committed
    following.step(0.5)
    assert logs.asked_committed == asked, "nobody is asked while nothing is under way"


def test_of_a_backlog_only_what_is_needed_is_waited_for(following: Following) -> None:
    """After an hour's stop no window may wait until the whole hour is read again."""
    hour_ms = 3_600_000
    for minute in range(60):
        following.logs.append(SHOWN, NOW_MS - hour_ms + minute * 60_000)
    following.folded.note({SHOWN: 1})
    following.barriers.read(NOW_MS - hour_ms)
    following.barriers.want(NOW_MS - hour_ms + LATENESS_MS)
    following.step()
    assert following.is_covered(NOW_MS - hour_ms + LATENESS_MS, 0)
    assert not following.is_covered(NOW_MS - hour_ms + 60_000, 0)


def test_nothing_is_asked_that_nobody_wants(following: Following) -> None:
    """A machine at rest, or one whose answers all carry tokens, pays nothing."""
    following.logs.away = True
    following.barriers.read(NOW_MS)
    assert following.barriers.step() is False
    assert following.barriers.want(NOW_MS - 1) is True


def test_states_that_lag_make_no_heap_of_barriers(following: Following) -> None:
    """Sixteen are under way at most, however long user state is away; then the newest of them counts."""
    following.logs.append(SHOWN)
    for _ in range(100):
        following.barriers.read(following.now_ms)
        following.barriers.want(following.now_ms)
        following.step(1.0)
    assert following.logs.begun == 16
    following.folded.note({SHOWN: 1})
    following.step()
    assert following.is_covered(NOW_MS + 16_000, 0)


def test_a_clock_behind_the_brokers_asks_no_less(following: Following) -> None:
    """Append times are the broker's: a barrier of this machine's present would never reach them."""
    ahead_ms = NOW_MS + 60_000
    following.logs.append(SHOWN, ahead_ms)
    following.folded.note({SHOWN: 1})
    following.barriers.read(ahead_ms)
    following.barriers.want(ahead_ms)
    following.step()
    assert following.is_covered(ahead_ms, 0)


@pytest.mark.parametrize("at_step", [0, 1, 2])
def test_a_broker_that_is_away_for_a_moment_costs_that_moment(following: Following, at_step: int) -> None:
    """The step that failed is taken again; a barrier lost would hold windows until they are given up."""
    folding = [{SHOWN: 1}, {EVENTS: 1}]
    following.logs.append(SHOWN)
    following.logs.append(EVENTS)
    following.barriers.read(NOW_MS)
    following.barriers.want(NOW_MS)
    for step in range(3):
        if step == at_step:
            following.logs.away = True
            with pytest.raises(BrokerUnavailable):
                following.step(0.5)
            following.logs.away = False
        following.step(0.5)
        if step < len(folding):
            following.folded.note(folding[step])
    assert following.is_covered(NOW_MS, 0)


def test_inputs_created_anew_hold_nothing(following: Following) -> None:
    """What was folded of a longer log of that name lies beyond the new one's end; the role is started again anyway."""
    following.folded.note({SHOWN: 500, EVENTS: 500})
    following.logs.append(SHOWN)
    following.barriers.read(NOW_MS)
    following.barriers.want(NOW_MS)
    following.step()
    assert following.is_covered(NOW_MS, 0)


def test_what_was_folded_is_never_taken_back() -> None:
    """A redelivery after a rebalance says less than was said before."""
    folded = FoldedPositions()
    folded.note({SHOWN: 5})
    folded.note({SHOWN: 3, EVENTS: 1})
    assert (folded.at(SHOWN), folded.at(EVENTS), folded.at(DONE)) == (5, 1, 0)
