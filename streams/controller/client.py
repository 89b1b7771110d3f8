"""Asking the controller: send a command, wait for what became of it, read the states. Decides nothing itself."""

import time
from types import TracebackType
from typing import Self

from schemas.codec import encode
from schemas.errors import CompareAndSetLost, ControllerUnavailable, Refused
from schemas.records.control import Outcome, Rollout, RolloutCommand
from schemas.topics import ROLLOUT_COMMANDS
from streams.controller.journal import RolloutReader
from streams.outbox import Outbox, raise_for


class RolloutClient:
    """Talks to the controller through the broker; the controller may run anywhere. One thread at a time."""

    def __init__(self, bootstrap: str) -> None:
        """Connect; raises `BrokerUnavailable` at the first call when no broker answers."""
        self._reader = RolloutReader(bootstrap)
        self._outbox = Outbox(bootstrap)

    def send(self, command: RolloutCommand, *, timeout_s: float = 30.0) -> Rollout:
        """Return the record that accepted the command. A command id that was answered before gets that first answer again.

        Raises:
            Refused: the controller refused it; the message is its sentence.
            CompareAndSetLost: the expected revision is no longer the current one.
            ControllerUnavailable: no answer within `timeout_s`; the command may still be answered.
            DeliveryFailed: the broker did not take the command.
            InvalidRecord: the command breaks a rule; it was not sent.
        """
        command.check(append_time_ms=time.time_ns() // 1_000_000)
        deadline = time.monotonic() + timeout_s
        # sent without reading to the log's end first, which may wait behind a fetch for half a second: to an id that was answered
        # before, which the reading below comes upon, the controller gives no second answer
        outcome = self._reader.log.outcomes.get(command.command_id)
        if outcome is None:
            self._outbox.produce(ROLLOUT_COMMANDS, encode(command), command.surface.encode())
            self._outbox.flush_all(timeout_s=timeout_s)
            raise_for(self._outbox.take_failures())
        while outcome is None:
            if time.monotonic() >= deadline:
                raise ControllerUnavailable(
                    f"no controller answered within {timeout_s:g} s; is `roost control` running? Look at `roost rollout status` "
                    "before asking again: the command is in the log"
                )
            self._reader.wait(min(0.5, timeout_s))
            outcome = self._reader.log.outcomes.get(command.command_id)
        if outcome.outcome is Outcome.LOST:
            raise CompareAndSetLost(outcome.reason)
        if outcome.outcome is not Outcome.ACCEPTED:
            raise Refused(outcome.reason)
        return outcome

    def states(self) -> dict[str, Rollout]:
        """Return the present state of every surface that has one, by name."""
        self._reader.catch_up()
        return dict(self._reader.log.states)

    def close(self) -> None:
        """Close the connections."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
