"""The bridge between frozen dataclasses and the mappings Avro reads and writes. Knows no particular record."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, field, fields
from enum import StrEnum
from typing import Any, ClassVar, Self

from schemas.errors import InvalidRecord

MAX_CLOCK_LEAD_MS = 5 * 60 * 1000


class Record:
    """A record whose field names are exactly its Avro schema's. Subclasses are frozen, slotted dataclasses."""

    __slots__ = ()

    @classmethod
    def from_avro(cls, data: Mapping[str, Any]) -> Self:
        """Build from what the Avro reader returned. Decoding has already checked names and types."""
        # by position and without a copy: this runs for every record of every topic
        return cls(*[data[name] if read is None else read(data[name]) for name, read, _ in _plan(cls)])

    def to_avro(self) -> dict[str, Any]:
        """Return the mapping the Avro writer takes."""
        return {name: getattr(self, name) if write is None else write(getattr(self, name)) for name, _, write in _plan(type(self))}


class Message(Record):
    """A record that travels on a topic by itself: it has an Avro subject."""

    __slots__ = ()
    SUBJECT: ClassVar[str]

    def check(self, *, append_time_ms: int) -> None:
        """Raise `InvalidRecord` when the record breaks a rule that Avro cannot express.

        Args:
            append_time_ms: the broker's append time, in Unix milliseconds.
        """


def check_event_time(event_time_ms: int, append_time_ms: int) -> None:
    """Raise `InvalidRecord` for a time before 1970 or more than 5 minutes after the broker's append time."""
    if event_time_ms < 0:
        raise InvalidRecord(f"event time {event_time_ms} ms is before 1970; send Unix milliseconds")
    if event_time_ms > append_time_ms + MAX_CLOCK_LEAD_MS:
        lead_s = (event_time_ms - append_time_ms) // 1000
        raise InvalidRecord(f"event time is {lead_s} s after the broker's append time (at most 300 s); check the producer's clock")


def check_sequence(sequence: int) -> None:
    """Raise `InvalidRecord` for a negative producer sequence: (-1, -1) is the version of what never came."""
    if sequence < 0:
        raise InvalidRecord(f"sequence {sequence} is negative; count up from 0")


def nested(record_type: type[Record], *, default: Any = MISSING) -> Any:
    """Mark a dataclass field that holds another record; one without a default must be given."""
    return field(default=default, metadata={"record": record_type, "read": record_type.from_avro, "write": record_type.to_avro})


def optional(record_type: type[Record]) -> Any:
    """Mark a dataclass field that holds another record or None; None by default."""
    # with the branch of the union named, the Avro writer does not try the record against each: a third of its time
    branch = f"roost.{record_type.__name__}"
    return field(
        default=None,
        metadata={
            "record": record_type,
            "read": lambda data: None if data is None else record_type.from_avro(data),
            "write": lambda record: None if record is None else (branch, record.to_avro()),
        },
    )


def sequence_of(record_type: type[Record]) -> Any:
    """Mark a dataclass field that holds a tuple of other records; empty by default."""
    return field(
        default=(),
        metadata={
            "record": record_type,
            "read": lambda items: tuple(record_type.from_avro(item) for item in items),
            "write": lambda records: [record.to_avro() for record in records],
        },
    )


def mapping_of(record_type: type[Record]) -> Any:
    """Mark a dataclass field that holds a mapping from names to other records; empty by default."""
    return field(
        default_factory=dict,
        metadata={
            "record": record_type,
            "read": lambda items: {key: record_type.from_avro(item) for key, item in items.items()},
            "write": lambda records: {key: record.to_avro() for key, record in records.items()},
        },
    )


def strings() -> Any:
    """Mark a dataclass field that holds a tuple of strings; empty by default."""
    return field(default=(), metadata={"read": tuple, "write": list})


def numbers() -> Any:
    """Mark a dataclass field that holds a tuple of numbers; empty by default."""
    return field(default=(), metadata={"read": tuple, "write": list})


def enumerated(enum_type: type[StrEnum]) -> Any:
    """Mark a dataclass field that holds a member of `enum_type`."""
    return field(metadata={"read": enum_type, "write": str})


Convert = Callable[[Any], Any]
_PLANS: dict[type, tuple[tuple[str, Convert | None, Convert | None], ...]] = {}


def _plan(cls: type[Record]) -> tuple[tuple[str, Convert | None, Convert | None], ...]:
    """Return each field's name with how to read and to write it; None where Avro's own value is the field's."""
    plan = _PLANS.get(cls)
    if plan is None:
        own = fields(cls)  # type: ignore[arg-type]
        # two threads that come here together store the same plan
        plan = _PLANS[cls] = tuple((f.name, f.metadata.get("read"), f.metadata.get("write")) for f in own)
    return plan
