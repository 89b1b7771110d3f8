"""A window of the examples topic, and a moment of the candidates topic: what lies at which offsets. Reads no topic."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from schemas.errors import Refused
from schemas.records.candidates import Candidate
from schemas.records.feedback import Example
from trainer.data.tables import Rows


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
        logged: one surface's examples in the window, in log order within each partition; `Rows` of a table where they were kept.
        offsets: [first, next) by partition. They bound all records, other surfaces' and unreadable ones too.
        skipped: records that could not be read; their owner dead-letters them, a reader counts and goes on.
        erased_ms: when users were deleted, Unix milliseconds, by id; what they were shown before is not in `logged`.
        served_by: the one bundle whose answers are in `logged`; None where it does not matter whose they are.
        topic_id: of the topic that they are offsets of; None where nobody knows.
    """

    logged: Sequence[LoggedExample] = ()
    offsets: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    skipped: int = 0
    erased_ms: Mapping[str, int] = field(default_factory=dict)
    served_by: str | None = None
    topic_id: str | None = None

    def of_arm(self, bundle: str) -> "Window":
        """Return the window with the examples of one bundle's answers: what everybody else was shown teaches it nothing.

        The offsets stay: they bound what was looked at. An example that names no bundle, such as a replayed one, is nobody's.
        """
        return replace(self, logged=_where(self.logged, _served_by(self.logged, bundle)), served_by=bundle)

    def begun_within(self) -> "Window":
        """Return the window without corrections of examples that stand before it: a bundle may have learned from those."""
        ids = _ids(self.logged)
        return replace(self, logged=_where(self.logged, np.isin(ids, ids[_revisions(self.logged) == 0])))

    def examples(self) -> Sequence[Example]:
        """Return one example an id, the one of the highest revision; they stand where their first revision stood."""
        if isinstance(self.logged, Rows):
            return _fold_rows(self.logged)
        return fold(entry.example for entry in self.logged)

    def split(self, newest_share: float) -> tuple["Window", "Window"]:
        """Return the older part and the newest share of each partition's examples.

        Split at an offset, so that both parts have exact offsets of their own: what is held out to evaluate on now is the beginning
        of the next window, and no example is lost to training. By the examples and not by the offsets between them, which are other
        surfaces' too: of a surface that has just begun, all examples lie in the newest offsets.

        The newer part lacks later revisions of what is in the older one: a model must not be asked for what it has learned.
        """
        partitions, offsets = _places(self.logged)
        cut = {}
        for p, (_, following) in self.offsets.items():
            standing = np.sort(offsets[partitions == p])
            held_out = round(len(standing) * newest_share)
            cut[p] = int(standing[-held_out]) if held_out else following
        old = offsets < _by_partition(partitions, cut)
        ids = _ids(self.logged)
        older, newer = _where(self.logged, old), _where(self.logged, ~(old | np.isin(ids, ids[old])))
        return (
            replace(self, logged=older, offsets={p: (first, cut[p]) for p, (first, _) in self.offsets.items()}),
            replace(self, logged=newer, offsets={p: (cut[p], nxt) for p, (_, nxt) in self.offsets.items()}, skipped=0),
        )

    def between(self, manifest_offsets: Mapping[str, tuple[int, int]]) -> "Window":
        """Return the part that a manifest names; raises `Refused` where the window does not hold it."""
        wanted = {int(partition): offsets for partition, offsets in manifest_offsets.items()}
        for partition, (first, following) in wanted.items():
            begin, end = self.offsets.get(partition, (0, 0))
            if first < following and not begin <= first <= following <= end:
                raise Refused(f"offsets {first} to {following} of partition {partition} are needed, and {begin} to {end} are there")
        partitions, offsets = _places(self.logged)
        begins = _by_partition(partitions, {p: first for p, (first, _) in wanted.items()})
        ends = _by_partition(partitions, {p: following for p, (_, following) in wanted.items()})
        return replace(self, logged=_where(self.logged, (begins <= offsets) & (offsets < ends)), offsets=wanted, skipped=0)

    def manifest_offsets(self) -> dict[str, tuple[int, int]]:
        """Return the offsets as a bundle's manifest holds them."""
        return {str(partition): offsets for partition, offsets in sorted(self.offsets.items())}


@dataclass(frozen=True, slots=True)
class CorpusAt:
    """What a retrieval could return at one moment.

    Attributes:
        candidates: in order of their ids, so that equal corpora are equal whatever order their partitions were read in.
        offsets: next offsets of the candidates topic, by partition, that were read up to.
        at_ms: the moment.
    """

    candidates: Sequence[Candidate]
    offsets: Mapping[int, int] = field(default_factory=dict)
    at_ms: int = 0

    def __len__(self) -> int:
        """The number of candidates."""
        return len(self.candidates)

    def manifest_offsets(self) -> dict[str, int]:
        """Return the offsets as a bundle's lineage holds them."""
        return {str(partition): following for partition, following in sorted(self.offsets.items())}


def next_offsets(manifest_offsets: Mapping[str, tuple[int, int]]) -> dict[int, int]:
    """Return, by partition, where the window after a bundle's begins."""
    return {int(partition): following for partition, (_, following) in manifest_offsets.items()}


def fold(examples: Iterable[Example]) -> list[Example]:
    """Return one example an id: the highest revision counts, and of two equal ones the last.

    A labeler that is killed before its state is written joins once more, with what came meanwhile, and corrects only the last.
    """
    newest: dict[str, Example] = {}
    for example in examples:
        known = newest.get(example.example_id)
        if known is None or example.revision >= known.revision:
            newest[example.example_id] = example
    return list(newest.values())


def _fold_rows(logged: Rows[LoggedExample]) -> Rows[Example]:
    columns = logged.columns("example_id", "revision")
    ids, revisions = columns.texts("example_id").codes, columns.counts("revision")
    # by id in the order in which they come up, then the highest revision, then the last
    order = np.lexsort((-np.arange(len(ids)), -revisions, ids))
    return logged.take(order[np.unique(ids[order], return_index=True)[1]]).read_by(Example.from_avro)


def _places(logged: Sequence[LoggedExample]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each one's partition and offset."""
    if isinstance(logged, Rows):
        columns = logged.columns("partition", "offset")
        return columns.counts("partition"), columns.counts("offset")
    return np.array([one.partition for one in logged], np.int64), np.array([one.offset for one in logged], np.int64)


def _ids(logged: Sequence[LoggedExample]) -> NDArray[np.int64]:
    """Return a number for each one's example, of the same example the same."""
    if isinstance(logged, Rows):
        return logged.columns("example_id").texts("example_id").codes.astype(np.int64)
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(one.example.example_id, len(numbers)) for one in logged], np.int64)


def _revisions(logged: Sequence[LoggedExample]) -> NDArray[np.int64]:
    if isinstance(logged, Rows):
        return logged.columns("revision").counts("revision")
    return np.array([one.example.revision for one in logged], np.int64)


def _by_partition(partitions: NDArray[np.int64], offsets: Mapping[int, int]) -> NDArray[np.int64]:
    """Return the offset of each one's partition; 0 for one that has none."""
    found = np.zeros(len(partitions), np.int64)
    for partition, offset in offsets.items():
        found[partitions == partition] = offset
    return found


def _served_by(logged: Sequence[LoggedExample], bundle: str) -> NDArray[np.bool_]:
    if isinstance(logged, Rows):
        return logged.columns("bundle").equal("bundle", bundle)
    return np.array([one.example.bundle == bundle for one in logged], np.bool_)


def _where(logged: Sequence[LoggedExample], mask: NDArray[np.bool_]) -> Sequence[LoggedExample]:
    return logged.take(mask) if isinstance(logged, Rows) else tuple(compress(logged, mask))
