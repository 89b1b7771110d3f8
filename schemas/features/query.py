"""From a user's state to the query features a tower reads: one rule for the node that serves and the labeler that reconstructs."""

from collections.abc import Iterable, Mapping

from schemas.records.feedback import EXPLICIT_NEGATIVES, POSITIVES, UNDOES
from schemas.records.users import (
    MAX_HISTORY,
    MAX_INTERESTS,
    MAX_LANGUAGES,
    MAX_QUERY_FOLLOWS,
    QueryFeatures,
    UserEntry,
    UserEventKind,
    UserState,
)


def in_force(entries: Iterable[UserEntry]) -> list[UserEntry]:
    """Return the positive engagements that nothing undid and whose candidate was not rejected, newest first.

    An undo cancels the same candidate's earlier engagement of its kind; show-less and block cancel all of the candidate's.
    """
    standing: dict[tuple[str, str], UserEntry] = {}
    rejected: set[str] = set()
    for entry in sorted(entries, key=lambda entry: (entry.event_time_ms, entry.entry_id)):
        if entry.kind in POSITIVES:
            standing[entry.candidate_id, entry.kind] = entry
        elif entry.kind in UNDOES:
            standing.pop((entry.candidate_id, UNDOES[entry.kind]), None)
        elif entry.kind in EXPLICIT_NEGATIVES:
            rejected.add(entry.candidate_id)
    kept = (entry for entry in standing.values() if entry.candidate_id not in rejected)
    return sorted(kept, key=lambda entry: (entry.event_time_ms, entry.entry_id), reverse=True)


def query_features(
    state: UserState | None, *, context: Mapping[str, str] | None = None, before_ms: int | None = None
) -> QueryFeatures:
    """Return what a query tower reads of a user; of a user never seen (`state` is None) only the context.

    Args:
        context: the request's context, such as the clicked tweet's author, language and topic.
        before_ms: leave out entries at or after this event time: features as of an impression.
    """
    if state is None:
        return QueryFeatures(context=dict(context or {}))
    entries = [e for e in state.entries if before_ms is None or e.event_time_ms < before_ms]
    engaged = in_force(entries)
    followed = [e.author_id for e in engaged if e.kind is UserEventKind.FOLLOW and e.author_id]
    newest: dict[str, UserEntry] = {}
    for entry in engaged:
        newest.setdefault(entry.candidate_id, entry)
    one_a_candidate = list(newest.values())[:MAX_HISTORY]
    return QueryFeatures(
        languages=state.languages[:MAX_LANGUAGES],
        region=state.region,
        interests=state.interests[:MAX_INTERESTS],
        follows=tuple(dict.fromkeys((*followed, *state.follows)))[:MAX_QUERY_FOLLOWS],
        history_authors=tuple(entry.author_id for entry in one_a_candidate if entry.author_id),
        history_topics=tuple(topic for entry in one_a_candidate for topic in entry.topics)[:MAX_HISTORY],
        history_languages=tuple(entry.language for entry in one_a_candidate if entry.language),
        context=dict(context or {}),
    )
