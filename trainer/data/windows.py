"""A window of the examples topic: which records lie at which offsets, folded and split exactly. Reads no topic."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from schemas.records.feedback import Example


@dataclass(frozen=True, slots=True)
class LoggedExample:
    """An example and where in the log it stands."""

    partition: int
    offset: int
    example: Example


@dataclass(frozen=True, slots=True)
class Window:
    """What lies between two offsets of each partition.

    Attributes:
        logged: one surface's examples in the window, in log order within each partition.
        offsets: [first, next) by partition. They bound all records, other surfaces' and unreadable ones too.
        skipped: records that could not be read; their owner dead-letters them, a reader counts and goes on.
    """

    logged: tuple[LoggedExample, ...] = ()
    offsets: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    skipped: int = 0

    def examples(self) -> list[Example]:
        """Return one example an id, the one of the highest revision; they stand where their first revision stood."""
        return fold(entry.example for entry in self.logged)

    def split(self, newest_share: float) -> tuple["Window", "Window"]:
        """Return the older part and the newest share of each partition's offsets.

        Split by offset, so that both parts have exact offsets of their own: what is held out to evaluate on now is the beginning of
        the next window, and no example is lost to training.
        """
        cut = {p: nxt - round((nxt - first) * newest_share) for p, (first, nxt) in self.offsets.items()}
        older = tuple(entry for entry in self.logged if entry.offset < cut[entry.partition])
        newer = tuple(entry for entry in self.logged if entry.offset >= cut[entry.partition])
        return (
            Window(older, {p: (first, cut[p]) for p, (first, _) in self.offsets.items()}, self.skipped),
            Window(newer, {p: (cut[p], nxt) for p, (_, nxt) in self.offsets.items()}),
        )

    def manifest_offsets(self) -> dict[str, tuple[int, int]]:
        """Return the offsets as a bundle's manifest holds them."""
        return {str(partition): offsets for partition, offsets in sorted(self.offsets.items())}


def next_offsets(manifest_offsets: Mapping[str, tuple[int, int]]) -> dict[int, int]:
    """Return, by partition, where the window after a bundle's begins."""
    return {int(partition): following for partition, (_, following) in manifest_offsets.items()}


def fold(examples: Iterable[Example]) -> list[Example]:
    """Return one example an id: the highest revision counts, and of two equal ones the first, since a redelivery is the same."""
    newest: dict[str, Example] = {}
    for example in examples:
        known = newest.get(example.example_id)
        if known is None or example.revision > known.revision:
            newest[example.example_id] = example
    return list(newest.values())
