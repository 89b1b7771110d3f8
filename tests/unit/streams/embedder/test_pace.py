"""How fast the corpus follows for a new bundle, by a clock that a test turns."""

from dataclasses import dataclass

import pytest

from streams.embedder.pace import Pace


@dataclass
class Setting:
    """A clock in seconds and a producer's queue in records."""

    now_s: float = 100.0
    unsent: int = 0

    def pace(self, share: float) -> Pace:
        """Return a pace by this clock and queue."""
        return Pace(share, unsent=lambda: self.unsent, clock_s=lambda: self.now_s)

    def slice(self, pace: Pace, took_s: float) -> None:
        """Let a slice take its time."""
        with pace.slice():
            self.now_s += took_s


def test_beside_live_traffic_a_slice_is_followed_by_a_rest_that_leaves_it_its_share() -> None:
    """Swapped under load, the towers' corpus took the machine for three seconds, and new tweets were found after two and a half."""
    setting = Setting()
    pace = setting.pace(0.1)
    pace.live()
    setting.slice(pace, 0.02)
    # .02 of .2 s
    assert pace.rest_s() == pytest.approx(0.18)
    setting.now_s += 0.18
    assert pace.rest_s() == pytest.approx(0.0, abs=1e-9)


def test_without_live_traffic_slice_follows_slice() -> None:
    """A corpus nobody writes to meanwhile is built as fast as it goes; a second after the last live record there is none."""
    setting = Setting()
    pace = setting.pace(0.1)
    setting.slice(pace, 0.5)
    assert pace.rest_s() == 0
    pace.live()
    setting.slice(pace, 0.5)
    assert pace.rest_s() == pytest.approx(4.5)
    setting.now_s += 0.6
    assert pace.rest_s() == 0


def test_the_corpus_waits_while_the_broker_is_behind() -> None:
    """What stands in the producer's queue stands before the next live record, with or without traffic now."""
    setting = Setting(unsent=1_001)
    pace = setting.pace(1.0)
    assert pace.rest_s() > 0
    setting.unsent = 1_000
    assert pace.rest_s() == 0


def test_slices_are_larger_without_live_traffic() -> None:
    """Large ones cost less by the record, and beside traffic they would hold up a record that comes meanwhile."""
    setting = Setting()
    pace = setting.pace(0.1)
    assert pace.size(64) > 64
    pace.live()
    assert pace.size(64) == 64
    setting.now_s += 1.1
    assert pace.size(64) > 64
