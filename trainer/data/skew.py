"""Are the features that were served those that the trainer would compute? Pure: records in, a verdict a field out. Reads no topic.

A tower that is trained on one reading of a feature and served another is wrong in silence, and no metric on logged features shows
it. Each served example carries in its token what the tower read; here the same is computed again from the raw records, as of the
moment of the impression, and both are encoded by the spec. What has changed since (a profile, an edited tweet) is not compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from schemas.features.query import in_force, query_features
from schemas.features.spec import FeatureSpec, Field, placed
from schemas.records.candidates import Candidate, CandidateFeatures, Counters
from schemas.records.feedback import Engagement, Example, Provenance, counter_step
from schemas.records.users import MAX_ENTRIES, MAX_HISTORY, QueryFeatures, UserState

# counters reach a vector up to a refresh later, and each step of a logarithmic feature is a doubling
_LOG_STEPS = 1
# what is served may be so much behind what had happened: a lag has alarms of its own, and is no other reading of a feature
_LAG_MS = 60_000
_COUNTERS = frozenset(field.name for field in fields(Counters))
_PROFILE = frozenset({"languages", "region", "interests", "follows"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an audit compares.

    Attributes:
        examples: served ones, with the features of their tokens.
        states: user states, newer than the examples, by user.
        candidates: as last folded, by id.
        engagements: all there were, by candidate; a repeated event id counts once.
        counted_from_ms: nothing that was done to candidates made from then on, Unix ms, has left the log: others' counters are not
            compared.
    """

    examples: Sequence[Example]
    states: Mapping[str, UserState]
    candidates: Mapping[str, Candidate]
    engagements: Mapping[str, Sequence[Engagement]]
    counted_from_ms: int = 0


@dataclass(frozen=True, slots=True)
class FieldAudit:
    """One field of the spec.

    Attributes:
        compared: examples in which it could be computed again, and either side has a value.
        differing: of them, those in which the tower would have read something else.
        example: one that differs, in words; empty without any.
    """

    name: str
    side: str
    compared: int
    differing: int
    example: str = ""

    @property
    def share(self) -> float:
        """Share that differs; 0 where nothing could be compared."""
        return self.differing / self.compared if self.compared else 0.0


def audit(evidence: Evidence, spec: FeatureSpec) -> list[FieldAudit]:
    """Compare every field of the spec that raw records determine; a request's context they do not."""
    served = [one for one in evidence.examples if one.provenance is Provenance.SERVED]
    queries = [_query(one, evidence.states.get(one.user_id)) for one in served]
    candidates = [_candidate(one, evidence) for one in served]
    found = _compare(
        "query",
        spec.query,
        (spec.encode_queries([one.query for one in served]), spec.encode_queries(queries)),
        {source: np.array([_knows_query(source, one, evidence.states) for one in served], bool) for source in _query_sources()},
        [(one.query, again, one.example_id) for one, again in zip(served, queries, strict=True)],
    )
    known = np.array([candidate is not None for candidate in candidates], bool)
    counted = known & np.array([_is_counted(evidence.candidates.get(one.candidate_id), evidence) for one in served], bool)
    again = [one.candidate if candidate is None else candidate for one, candidate in zip(served, candidates, strict=True)]
    found += _compare(
        "candidate",
        spec.candidate,
        (spec.encode_candidates([one.candidate for one in served]), spec.encode_candidates(again)),
        {field.source: counted if field.source.startswith("counters.") else known for field in spec.candidate},
        [(one.candidate, features, one.example_id) for one, features in zip(served, again, strict=True)],
    )
    return found


def _query(example: Example, state: UserState | None) -> QueryFeatures:
    """Return a user's features as of the impression, or as of so shortly before it that what was served is explained by it.

    An engagement reaches the node's state some time after it was made: a state that lags is late, and not read otherwise.
    """
    moments = {example.event_time_ms}
    if state is not None:
        times = (entry.event_time_ms for entry in state.entries)
        moments |= {time_ms for time_ms in times if example.event_time_ms - _LAG_MS <= time_ms < example.event_time_ms}
    versions = [query_features(state, before_ms=moment, context=example.query.context) for moment in sorted(moments, reverse=True)]
    return next((version for version in versions if _moving(version) == _moving(example.query)), versions[0])


def _moving(features: QueryFeatures) -> tuple[object, ...]:
    return features.history_authors, features.history_topics, features.history_languages


def _query_sources() -> frozenset[str]:
    return frozenset(field.name for field in fields(QueryFeatures)) - {"context"}


def _knows_query(source: str, example: Example, states: Mapping[str, UserState]) -> bool:
    """Tell whether a state still says what a query feature was at the impression."""
    state = states.get(example.user_id)
    if state is None:
        return False
    if source in _PROFILE and not 0 <= state.profile_time_ms < example.event_time_ms:
        return False
    if source in _PROFILE - {"follows"} or len(state.entries) < MAX_ENTRIES:
        return True
    # a full state has lost its oldest entries: a history is whole where the rest of it fills the history
    engaged = in_force(entry for entry in state.entries if entry.event_time_ms < example.event_time_ms)
    return source != "follows" and len({entry.candidate_id for entry in engaged}) >= MAX_HISTORY


def _candidate(example: Example, evidence: Evidence) -> CandidateFeatures | None:
    """Return a candidate's features as of the impression, or as of so shortly before it that what was served is explained best.

    None where they are no longer known.
    """
    candidate = evidence.candidates.get(example.candidate_id)
    if candidate is None or candidate.deleted or candidate.attributes is None or candidate.event_time_ms >= example.event_time_ms:
        return None
    counted = _counters_before(example.event_time_ms, evidence.engagements.get(example.candidate_id, ()))
    return candidate.attributes.features(min(counted, key=partial(_apart, example.candidate.counters)))


def _is_counted(candidate: Candidate | None, evidence: Evidence) -> bool:
    """Tell whether all engagements with a candidate are still known."""
    return (
        candidate is not None and candidate.attributes is not None and candidate.attributes.created_ms >= evidence.counted_from_ms
    )


def _counters_before(moment_ms: int, engagements: Sequence[Engagement]) -> list[Counters]:
    """Return what had been counted at a moment, and before each engagement of the lag that came before it; the newest first."""
    once = {one.event_id: one for one in engagements if one.event_time_ms < moment_ms}
    counts, found = dict.fromkeys(_COUNTERS, 0), []
    for engagement in sorted(once.values(), key=attrgetter("event_time_ms")):
        if engagement.event_time_ms >= moment_ms - _LAG_MS:
            found.append(Counters(**counts))
        if (step := counter_step(engagement.kind)) is not None:
            counts[step[0]] += step[1]
    return [Counters(**counts), *reversed(found)]


def _apart(one: Counters, other: Counters) -> int:
    return sum(abs(getattr(one, name) - getattr(other, name)) for name in _COUNTERS)


def _compare(
    side: str,
    spec_fields: Sequence[Field],
    ids: tuple[NDArray[np.int64], NDArray[np.int64]],
    known: Mapping[str, NDArray[np.bool_]],
    records: Sequence[tuple[QueryFeatures | CandidateFeatures, QueryFeatures | CandidateFeatures, str]],
) -> list[FieldAudit]:
    audits: list[FieldAudit] = []
    for field, columns in placed(spec_fields):
        # a mean over slots does not know their order
        served, again = (np.sort(side_ids[:, columns], axis=1) for side_ids in ids)
        if field.source not in known:
            continue
        there = known[field.source] & (served.any(axis=1) | again.any(axis=1))
        apart = np.abs(served - again) > (_LOG_STEPS if field.kind == "log" else 0)
        differing = np.flatnonzero(there & apart.any(axis=1))
        words = ""
        if len(differing):
            then, now, example_id = records[int(differing[0])]
            words = f"{example_id}: served {_value(then, field.source)!r:.120}, computed {_value(now, field.source)!r:.120}"
        audits.append(FieldAudit(field.name, side, int(there.sum()), len(differing), words))
    return audits


def _value(features: object, source: str) -> object:
    value = features
    for name in source.split("."):
        value = getattr(value, name)
    return value
