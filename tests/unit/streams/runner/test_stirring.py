"""When a silent partition is written to."""

from schemas.topics import DAY_MS, STIRRED_EVERY_MS
from streams.runner.stirring import Stirring


def test_every_partition_is_written_to_at_a_start_and_then_twice_a_day() -> None:
    """A process that is restarted each night must not leave its partitions uncleaned for ever."""
    now_s = 1000.0
    stirring = Stirring(clock_s=lambda: now_s)
    assert [stirring.due(partition) for partition in (0, 1, 0, 1)] == [True, True, False, False]
    now_s += STIRRED_EVERY_MS / 1000 - 1
    assert not stirring.due(0)
    now_s += 1
    assert stirring.due(0)
    assert 2 * STIRRED_EVERY_MS <= DAY_MS
