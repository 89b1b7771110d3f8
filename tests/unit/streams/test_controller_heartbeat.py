"""The controller's heartbeat: every other second, whatever becomes of the clock."""

from streams.controller.heartbeat import EVERY_MS, ControllerHeartbeat


def test_a_clock_that_is_set_back_does_not_silence_the_controller() -> None:
    """Set back by an hour, it was not heard of for an hour, and neither was what its canaries show."""
    heartbeat = ControllerHeartbeat("0", tuple)
    now_ms = 1_700_000_000_000
    assert len(heartbeat.due(now_ms)) == 1
    assert heartbeat.due(now_ms + EVERY_MS - 1) == ()
    assert len(heartbeat.due(now_ms + EVERY_MS)) == 1
    back_ms = now_ms - 3_600_000
    assert len(heartbeat.due(back_ms)) == 1
    assert heartbeat.due(back_ms + EVERY_MS - 1) == ()
    assert len(heartbeat.due(back_ms + EVERY_MS)) == 1
