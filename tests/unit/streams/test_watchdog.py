"""What counts as a wedged group, with the time passed in."""

from streams.runner.watchdog import Progress

USERS, EVENTS = ("users", 0), ("user-events", 0)


def test_only_a_partition_with_records_to_read_and_no_commit_for_too_long_is_stuck() -> None:
    """A false bite costs a restart, a missed one a stream that stands still for ever."""
    progress = Progress(60)
    assert progress.stuck({USERS: 5, EVENTS: 5}, {USERS: 9, EVENTS: 5}, 0) == []
    assert progress.stuck({USERS: 5, EVENTS: 5}, {USERS: 9, EVENTS: 5}, 59) == []
    assert progress.stuck({USERS: 5, EVENTS: 5}, {USERS: 9, EVENTS: 5}, 60) == [USERS]
    assert progress.stuck({USERS: 6, EVENTS: 5}, {USERS: 9, EVENTS: 6}, 61) == []


def test_time_in_which_nobody_asked_about_a_partition_does_not_count() -> None:
    """While a state is restored nothing is committed: a bite then would begin the restore anew, for ever."""
    progress = Progress(60)
    assert progress.stuck({USERS: 5}, {USERS: 9}, 0) == []
    assert progress.stuck({}, {}, 50) == []
    assert progress.stuck({USERS: 5}, {USERS: 9}, 100) == []
    assert progress.stuck({USERS: 5}, {USERS: 9}, 160) == [USERS]
