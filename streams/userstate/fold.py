"""The fold of a user's state: profile by version, newest entries as a set. Any order and repetition of inputs gives one state."""

from collections.abc import Iterable
from dataclasses import replace

from schemas.records.users import MAX_ENTRIES, User, UserEntry, UserState
from streams.userstate.withdrawn import is_withdrawn, place_of

ProfileRank = tuple[int, int, bool, tuple[str, ...], str, tuple[str, ...], tuple[str, ...]]


def fold_profile(state: UserState, user: User) -> UserState:
    """Return the state after a profile or a delete.

    The highest version wins. Of two records with one version the delete wins, as an empty profile does; else the greater content,
    so that no order decides. A delete leaves a marker: entries at or before it are gone, and stay gone.
    """
    offered = replace(
        state,
        profile_time_ms=user.event_time_ms,
        profile_sequence=user.sequence,
        languages=() if user.deleted else user.languages,
        region="" if user.deleted else user.region,
        follows=() if user.deleted else user.follows,
        interests=() if user.deleted else user.interests,
    )
    if _rank(offered) > _rank(state):
        state = offered
    if user.deleted and user.event_time_ms > state.erased_ms:
        kept = tuple(entry for entry in state.entries if entry.event_time_ms > user.event_time_ms)
        state = replace(state, erased_ms=user.event_time_ms, entries=kept)
    return state


def fold_entries(state: UserState, entries: Iterable[UserEntry], *, most: int = MAX_ENTRIES) -> UserState:
    """Return the state with `entries` put into its set: the newest `most` by (event time, id), newest first.

    Of two entries with one id, or of which one stands in the other's place, the later one stays, then the one that knows the
    candidate, then the greater content. Event time comes first because it decides who falls out: else the order of arrival would.
    """
    entries = tuple(entries)
    # hashes cost, and next to no user has such an entry
    place = place_of if any(map(is_withdrawn, (*state.entries, *entries))) else _entry_id
    kept = {place(entry): entry for entry in state.entries}
    changed = False
    for entry in entries:
        if entry.event_time_ms <= state.erased_ms:
            continue
        known = kept.get(place(entry))
        if known is None or _worth(entry) > _worth(known):
            kept[place(entry)] = entry
            changed = True
    if not changed:
        return state
    newest = sorted(kept.values(), key=lambda entry: (entry.event_time_ms, entry.entry_id), reverse=True)[:most]
    return replace(state, entries=tuple(newest))


def _entry_id(entry: UserEntry) -> str:
    return entry.entry_id


def _rank(state: UserState) -> ProfileRank:
    content = (state.languages, state.region, state.follows, state.interests)
    return (state.profile_time_ms, state.profile_sequence, not any(content), *content)


def _worth(entry: UserEntry) -> tuple[int, bool, tuple[str, ...]]:
    known = entry.author_id is not None
    content = (entry.author_id or "", entry.language or "", *entry.topics, entry.kind, entry.candidate_id)
    return (entry.event_time_ms, known, content)
