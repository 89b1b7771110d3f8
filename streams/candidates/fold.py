"""What one input does to one candidate: the state transition, as pure functions. Knows no topics, stores, bundles or offsets.

The rules are CONTRACTS, 'What "the same state" means'. The order of inputs of one kind is the order of their log; inputs of
different kinds commute, so that no interleaving of topics changes the outcome.
"""

from collections.abc import Sequence
from dataclasses import fields
from operator import add, attrgetter

from schemas.ids import Version
from schemas.records.candidates import Candidate, CandidateAttributes, Counters, Publication
from schemas.records.feedback import EngagementKind, counter_step

_NO_VERSION = Version(-1, -1)
_NO_COUNTERS = Counters()
_COUNTERS = tuple(field.name for field in fields(Counters))
_values = attrgetter(*_COUNTERS)
_STEPS: dict[EngagementKind, tuple[int, int]] = {
    kind: (_COUNTERS.index(step[0]), step[1]) for kind in EngagementKind if (step := counter_step(kind)) is not None
}

NO_STEPS = (0,) * len(_COUNTERS)
"""Of each counter."""
step_of = _STEPS.get
"""Return the place of the counter that a kind of engagement moves, and by how much; None where it moves none."""


def with_publication(known: Candidate | None, told: Publication, *, append_time_ms: int) -> Candidate | None:
    """Return the candidate after a create, update or delete; None when a known version beats it.

    The highest version wins; on a tie a delete beats an update, then the later in the log wins.
    """
    if known is not None:
        if told.version < known.version:
            return None
        if told.version == known.version and known.deleted and not told.deleted:
            return None
    return _replaced(
        known, told.candidate_id, told.version, None if told.deleted else told.attributes(), append_time_ms=append_time_ms
    )


def with_tombstone(known: Candidate | None, candidate_id: str, *, append_time_ms: int) -> Candidate:
    """Return the candidate after a foreign producer's null: deleted, by a version that no known one beats."""
    version = Version.of_foreign_null(known.event_time_ms if known else -1, append_time_ms)
    return _replaced(known, candidate_id, version, None, append_time_ms=append_time_ms)


def with_engagements(known: Candidate | None, candidate_id: str, steps: Sequence[int], *, append_time_ms: int) -> Candidate:
    """Return the candidate after engagements that are no duplicates: a stub when it is unknown.

    Deleted candidates count on: whether the delete or the engagement is read first must not matter.

    Args:
        steps: by how much they move each counter.
        append_time_ms: of the newest of them.
    """
    if known is None:
        return Candidate(candidate_id, *_NO_VERSION, append_time_ms=append_time_ms, counters=Counters(*steps))
    return Candidate(
        known.candidate_id,
        known.event_time_ms,
        known.sequence,
        max(known.append_time_ms, append_time_ms),
        known.deleted,
        known.attributes,
        Counters(*map(add, _values(known.counters), steps)),
        known.source,
    )


def _replaced(
    known: Candidate | None, candidate_id: str, version: Version, attributes: CandidateAttributes | None, *, append_time_ms: int
) -> Candidate:
    return Candidate(
        candidate_id,
        version.event_time_ms,
        version.sequence,
        append_time_ms if known is None else max(known.append_time_ms, append_time_ms),
        deleted=attributes is None,
        attributes=attributes,
        counters=_NO_COUNTERS if known is None else known.counters,
        source={} if known is None else known.source,
    )
