"""What one input does to one candidate: the state transition, as pure functions. Knows no topics, stores, bundles or offsets.

The rules are CONTRACTS, 'What "the same state" means'. The order of inputs of one kind is the order of their log; inputs of
different kinds commute, so that no interleaving of topics changes the outcome.
"""

from dataclasses import fields
from operator import attrgetter

from schemas.ids import Version
from schemas.records.candidates import Candidate, CandidateAttributes, Counters, Publication
from schemas.records.feedback import Engagement, EngagementKind, counter_step

_NO_VERSION = Version(-1, -1)
_COUNTERS = tuple(field.name for field in fields(Counters))
_values = attrgetter(*_COUNTERS)
# the place of the counter a kind moves, and by how much; other kinds move none
_EFFECTS: dict[EngagementKind, tuple[int, int]] = {
    kind: (_COUNTERS.index(step[0]), step[1]) for kind in EngagementKind if (step := counter_step(kind)) is not None
}


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


def with_engagement(known: Candidate | None, engagement: Engagement, *, append_time_ms: int) -> Candidate | None:
    """Return the candidate after an engagement that is no duplicate: a stub when it is unknown; None when no counter moves.

    Deleted candidates count on: whether the delete or the engagement is read first must not matter.
    """
    effect = _EFFECTS.get(engagement.kind)
    if effect is None:
        return None
    place, step = effect
    values = list(_values(known.counters if known else Counters()))
    values[place] += step
    counters = Counters(*values)
    if known is None:
        return Candidate(engagement.candidate_id, *_NO_VERSION, append_time_ms=append_time_ms, counters=counters)
    return Candidate(
        known.candidate_id,
        known.event_time_ms,
        known.sequence,
        max(known.append_time_ms, append_time_ms),
        known.deleted,
        known.attributes,
        counters,
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
        counters=Counters() if known is None else known.counters,
        source={} if known is None else known.source,
    )
