"""The consumer groups whose committed offsets say how far a role is, what each reads, and what waits for it. Joins none.

Whoever runs a role commits under its name here, whoever watches it asks under it: by another, one that stands still looks well.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.positions import SOURCE_TOPICS, Place
from schemas.topics import ENGAGEMENTS, IMPRESSIONS, ROLLOUT_COMMANDS, USER_EVENTS, USERS

Committed = Mapping[Place, int | None]
"""The next offset that a group has committed; None where it never has."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A role that commits.

    Attributes:
        role: the command that runs it.
    """

    role: str
    group: str
    topics: tuple[str, ...]


EMBED = Reader("embed", "embedder", SOURCE_TOPICS)
# labeler and user state in one process
LABEL = Reader("label", "labeler-and-user-state", (IMPRESSIONS, ENGAGEMENTS, USERS, USER_EVENTS))
CONTROL = Reader("control", "controller", (ROLLOUT_COMMANDS,))
READERS = (EMBED, LABEL, CONTROL)


def waiting(committed: Committed, ends: Mapping[Place, int]) -> dict[Place, int]:
    """Return how many records wait in each partition in which some do."""
    return {place: ends[place] - (offset or 0) for place, offset in committed.items() if ends[place] > (offset or 0)}


def standing(before: Committed, after: Committed, ends: Mapping[Place, int]) -> dict[Place, int]:
    """Return how many records wait in each partition of which none was taken between two moments; `ends` are of the first."""
    return {place: count for place, count in waiting(after, ends).items() if before.get(place) == after[place]}


def sentence_of(stuck: Mapping[Place, int], apart_s: float) -> str:
    """Return what `standing` found between two moments so far apart, for people."""
    places = [f"{topic}/{partition}" for topic, partition in sorted(stuck)]
    where = ", ".join(places[:4]) + (" and others" if len(places) > 4 else "")
    return f"{sum(stuck.values()):,} records wait in {where}, none was taken in {apart_s:g} s"
