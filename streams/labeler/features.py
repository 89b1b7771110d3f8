"""Features as of serve time: from the tokens an answer gave, else as the labeler can know them. Decides no labels."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, TypeGuard

from schemas.features.query import in_force, query_features
from schemas.records.candidates import Candidate, CandidateFeatures, Counters
from schemas.records.feedback import (
    EXPLICIT_NEGATIVES,
    CandidateToken,
    Impression,
    Label,
    Provenance,
    QueryToken,
)
from schemas.records.users import QueryFeatures, UserEntry, UserState
from schemas.tokens import read_token


class Sight(Protocol):
    """What the labeler sees of the rest of the system while it works."""

    def candidate(self, candidate_id: str) -> Candidate | None:
        """Return the candidate as the embedder last wrote it, or None."""
        ...

    def user_state(self, user_id: str) -> UserState | None:
        """Return the user's newest state, or None."""
        ...

    def erased_ms(self, user_id: str) -> int:
        """Return the event time up to which the user is deleted, in Unix milliseconds; negative for who never was."""
        ...


def snapshot(candidate_id: str, sight: Sight) -> CandidateFeatures | None:
    """Return the features to keep, while the window is open, of a candidate whose token cannot be read; None when unknown."""
    candidate = sight.candidate(candidate_id)
    return candidate.features() if candidate is not None else None


def serve_time_features(
    impression: Impression, kept: CandidateFeatures | None, sight: Sight
) -> tuple[QueryFeatures, CandidateFeatures, Provenance] | None:
    """Return query features, candidate features and where they come from; None when nobody knows the candidate.

    They are `served` only when both tokens could be read and a bundle answered: a query token of no bundle tells the request's
    context, which nothing could reconstruct, and nothing else. The user's history is read when the window closes, as of the
    impression; that `user-states` has caught up by then with all that came before it is the caller's to see to.

    Args:
        kept: what `snapshot` gave when the impression was read, where the token could not be read.
    """
    token = read_token(CandidateToken, impression.token)
    query_token = _query_token(impression.query_token)
    candidate = token.features if token is not None else kept
    if candidate is None:
        late = sight.candidate(impression.candidate_id)
        if late is None or late.attributes is None or late.deleted:
            return None
        # created after its impression was read: no counter of then is known, and those of now hold the label
        candidate = late.attributes.features(Counters())
    if _tells_features(query_token):
        query = query_token.features
    else:
        context = None if query_token is None else query_token.features.context
        query = query_features(sight.user_state(impression.user_id), context=context, before_ms=impression.event_time_ms)
    served = token is not None and _tells_features(query_token)
    return query, candidate, Provenance.SERVED if served else Provenance.RECONSTRUCTED


def takes_a_history(impression: Impression) -> bool:
    """Tell whether the query features of an impression are made of its user's state, as nothing it carries tells them."""
    return not _tells_features(_query_token(impression.query_token))


def _tells_features(query_token: QueryToken | None) -> TypeGuard[QueryToken]:
    return query_token is not None and bool(query_token.bundle)


# all impressions of one answer carry the same
@lru_cache(maxsize=1024)
def _query_token(text: str | None) -> QueryToken | None:
    return read_token(QueryToken, text)


def forget_tokens() -> None:
    """Let go of the tokens that were read: they name the authors that a user follows."""
    _query_token.cache_clear()


def label_of(entries: Sequence[UserEntry]) -> tuple[Label, tuple[str, ...]]:
    """Return the label of one join's engagements, and the kinds in force, sorted.

    Whoever asked to see less, or blocked, is an explicit negative whatever else they did: never a positive, never implicit.
    """
    negatives = {str(entry.kind) for entry in entries if entry.kind in EXPLICIT_NEGATIVES}
    if negatives:
        return Label.EXPLICIT_NEGATIVE, tuple(sorted(negatives))
    kinds = {str(entry.kind) for entry in in_force(entries)}
    return (Label.POSITIVE if kinds else Label.IMPLICIT_NEGATIVE), tuple(sorted(kinds))
