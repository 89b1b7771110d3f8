"""The thread beside the labeler: it follows barriers through a broker's whims, and whoever stays away is told of once."""

import logging
from collections.abc import Callable, Mapping

import pytest

from schemas.errors import BrokerUnavailable
from schemas.positions import Place
from schemas.topics import USER_STATES
from streams.labeler import reach as module
from streams.labeler.barriers import Barriers, Ends
from streams.labeler.reach import UserStatesReach
from streams.runner.folded import FoldedPositions
from tests.streams_kit import wait_until

NOW_MS = 1_700_000_000_000


class Logs:
    """Empty logs of a broker that fails as it is told, before each answer."""

    def __init__(self, fail: Callable[[], None] = lambda: None) -> None:
        self._fail = fail

    def inputs_at(self, time_ms: int | None) -> Ends:
        """See `streams.labeler.barriers.Logs`."""
        self._fail()
        return {}

    def ends_of_user_inputs(self) -> Ends:
        """See `streams.labeler.barriers.Logs`."""
        return {}

    def ends_of_user_states(self) -> Ends:
        """See `streams.labeler.barriers.Logs`."""
        return {(USER_STATES, 0): 3}

    def committed(self) -> Mapping[Place, int | None]:
        """See `streams.labeler.barriers.Logs`."""
        return {}


def reach_of(
    logs: Logs, *, on_given_up: Callable[[], None] = lambda: None, on_end: Callable[[], None] = lambda: None
) -> UserStatesReach:
    """Return the reach of a process that has read something just now."""
    reach = UserStatesReach(Barriers(logs, FoldedPositions(), lateness_ms=0), longest_s=30, on_given_up=on_given_up, on_end=on_end)
    reach.read(NOW_MS)
    return reach


def covers(reach: UserStatesReach, read: int) -> bool:
    """Tell whether what is wanted is there once so many records of `user-states` were read."""
    reach.see({0: read})
    return reach.covers(NOW_MS)


def test_what_is_wanted_is_found_out_beside_the_work_and_the_end_is_clean() -> None:
    """The labeler's thread waits for no broker: it notes how far it has read, and looks."""
    ended: list[bool] = []
    with reach_of(Logs(), on_end=lambda: ended.append(True)) as reach:
        reach.want(NOW_MS)
        wait_until(lambda: covers(reach, 3), what="the states are seen")
    assert ended == [True]


def test_a_broker_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A thread that ended would make every window wait for the longest, in silence."""
    monkeypatch.setattr(module, "_TRY_AGAIN_S", 0.0)
    failures = iter([BrokerUnavailable("no answer")])

    def fail() -> None:
        if (error := next(failures, None)) is not None:
            raise error

    with reach_of(Logs(fail)) as reach:
        reach.want(NOW_MS)
        wait_until(lambda: covers(reach, 3), what="the states are seen")
    assert [record.getMessage() for record in caplog.records] == ["cannot see how far user states are: no answer"]


def test_a_fault_of_the_thread_ends_the_labeler() -> None:
    """Whatever it is: beside a thread that is dead no window would close in time again."""

    def fail() -> None:
        raise ZeroDivisionError

    def told(reach: UserStatesReach) -> bool:
        try:
            reach.see({0: 3})
        except ZeroDivisionError:
            return True
        return False

    with reach_of(Logs(fail)) as reach:
        reach.want(NOW_MS)
        wait_until(lambda: told(reach), what="the labeler is told")


def test_who_stays_away_is_told_of_once_until_it_has_caught_up(caplog: pytest.LogCaptureFixture) -> None:
    """Not for every example: a role that is away for a night would fill the disk with it."""
    caplog.set_level(logging.INFO)
    counted: list[int] = []
    with reach_of(Logs(), on_given_up=lambda: counted.append(1)) as reach:
        for needed_ms in (NOW_MS - 2, NOW_MS, NOW_MS - 1):
            reach.want(needed_ms)
            reach.give_up(needed_ms)
        assert (reach.given_up, len(counted)) == (True, 1)
        wait_until(lambda: covers(reach, 3), what="the states are seen")
        assert not reach.given_up
        reach.give_up(NOW_MS + 1)
        assert (reach.given_up, len(counted)) == (True, 2)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]
