"""A recorded history: the control plane's two topics, and answers as their clients got them. Judges nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from schemas.codec import decode
from schemas.errors import InvalidInput
from schemas.records.base import Message
from schemas.records.control import Rollout, RolloutCommand
from schemas.topics import ROLLOUT_COMMANDS, ROLLOUTS
from schemas.wire.tail import TailReader
from serving.client import Answer

MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of `rollouts`; `append_ms` is the broker's append time, Unix milliseconds."""

    offset: int
    append_ms: int
    rollout: Rollout


@dataclass(frozen=True, slots=True)
class Observed:
    """One answer as its client got it.

    Attributes:
        node: who answered, such as its address.
        user_id: None when the query named nobody.
        pinned: the client chose the bundle.
        asked_ms, answered_ms: the client's clock, Unix milliseconds.
        fault: what re-scoring found, or None.
    """

    node: str
    surface: str
    request_id: str
    bundle: str
    revision: int
    asked_ms: int
    answered_ms: int
    user_id: str | None = None
    pinned: bool = False
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class History:
    """Everything recorded, in log order; answers in any order.

    Attributes:
        commands: those on `rollout-commands`.
        unreadable: records of either topic that are none.
    """

    entries: tuple[Entry, ...]
    commands: tuple[RolloutCommand, ...] = ()
    answers: tuple[Observed, ...] = ()
    unreadable: tuple[str, ...] = ()


def observed(answer: Answer, *, node: str, asked_ms: int, answered_ms: int, user_id: str | None, fault: str | None) -> Observed:
    """Return what a history keeps of an unpinned answer."""
    return Observed(
        node,
        answer.surface,
        answer.request_id,
        answer.bundle,
        answer.revision,
        asked_ms,
        answered_ms,
        user_id=user_id,
        fault=fault,
    )


def read_history(bootstrap: str, answers: Iterable[Observed]) -> History:
    """Return the history of a deployment from its topics, to their present ends; raises `BrokerUnavailable`."""
    unreadable: list[str] = []
    entries = [Entry(offset, at, rollout) for offset, at, rollout in _read(bootstrap, ROLLOUTS, Rollout, unreadable)]
    commands = [command for _, _, command in _read(bootstrap, ROLLOUT_COMMANDS, RolloutCommand, unreadable)]
    return History(tuple(entries), tuple(commands), tuple(answers), tuple(unreadable))


def _read(bootstrap: str, topic: str, message_type: type[MessageT], unreadable: list[str]) -> list[tuple[int, int, MessageT]]:
    found: list[tuple[int, int, MessageT]] = []
    with TailReader(bootstrap, topic, [0], once=True) as reader:
        for record in reader.read_to_end():
            try:
                found.append((record.offset, record.timestamp_ms, decode(message_type, record.value or b"")))
            except InvalidInput as error:
                unreadable.append(f"{topic}/{record.offset}: {error}")
    return found
