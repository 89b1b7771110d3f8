"""A log of what was declared, published, shown and done, with the truth at one moment beside it. Draws nothing.

Everything but `Truth` is what a production system could see; policies and trainers are given no more than that.
"""

from dataclasses import dataclass

import numpy as np

from lab.observed.columns import Bools, Columns, Floats, Ints, Labels
from schemas.records.feedback import EngagementKind

# an engagement's `kind` is an index into this
KINDS = (
    EngagementKind.FAVORITE,
    EngagementKind.RETWEET,
    EngagementKind.REPLY,
    EngagementKind.CLICK,
    EngagementKind.UNFAVORITE,
    EngagementKind.SHOW_LESS,
)
FAVORITE, RETWEET, REPLY, CLICK, UNFAVORITE, SHOW_LESS = range(len(KINDS))
POSITIVE, IMPLICIT_NEGATIVE, EXPLICIT_NEGATIVE = 1, 0, -1
NO_TOPIC = -1


@dataclass(frozen=True)
class Names:
    """Ids and words behind the numbers of a log's columns."""

    users: tuple[str, ...]
    authors: tuple[str, ...]
    candidates: tuple[str, ...]
    languages: tuple[str, ...]
    regions: tuple[str, ...]
    topics: tuple[str, ...]


@dataclass(frozen=True)
class Profiles(Columns):
    """What users declare.

    Attributes:
        languages: bool [users, languages].
        region: int64 [users].
        interests: bool [users, topics].
        follows: bool [users, authors].
    """

    languages: Bools
    region: Ints
    interests: Bools
    follows: Bools


@dataclass(frozen=True)
class Tweets(Columns):
    """What anybody can see of tweets, in order of creation.

    Attributes:
        author, language, region: int64 [tweets].
        topics: int64 [tweets, topics of a tweet], the first always there, `NO_TOPIC` where there are fewer.
        created_s: float64 [tweets], seconds since the world began, ascending.
        dead_s: float64 [tweets], when it expires or is deleted.
        deleted: bool [tweets], whether its author deletes it at `dead_s`.
    """

    author: Ints
    language: Ints
    region: Ints
    topics: Ints
    created_s: Floats
    dead_s: Floats
    deleted: Bools

    def alive(self, time_s: float) -> Ints:
        """Return the rows created and not yet dead at `time_s`, int64, ascending."""
        return self.alive_within(time_s, time_s)

    def alive_within(self, start_s: float, end_s: float) -> Ints:
        """Return the rows alive at some moment of [start_s, end_s], int64, ascending."""
        created = int(np.searchsorted(self.created_s, end_s, side="right"))
        return np.flatnonzero(self.dead_s[:created] > start_s)

    def until(self, time_s: float) -> "Tweets":
        """Return the tweets created by `time_s`."""
        return self.take(slice(int(np.searchsorted(self.created_s, time_s, side="right"))))


@dataclass(frozen=True)
class Impressions(Columns):
    """What was shown, in order of time.

    Attributes:
        request: int64 [n], impressions of one visit share it.
        user, tweet: int64 [n], rows.
        position: int64 [n], 0 first.
        time_s: float64 [n].
        label: int8 [n], `POSITIVE`, `IMPLICIT_NEGATIVE` or `EXPLICIT_NEGATIVE`.
    """

    request: Ints
    user: Ints
    tweet: Ints
    position: Ints
    time_s: Floats
    label: Labels


@dataclass(frozen=True)
class Engagements(Columns):
    """What users did, in no particular order.

    Attributes:
        impression: int64 [n], row of the impression reacted to.
        kind: int8 [n], index into `KINDS`.
        time_s: float64 [n].
    """

    impression: Ints
    kind: Labels
    time_s: Floats


@dataclass(frozen=True)
class Truth:
    """The true probabilities of every (test user, candidate alive at test time) pair.

    Attributes:
        time_s: test time.
        user: int64 [users], rows.
        tweet: int64 [candidates], rows.
        p: float64 [users, candidates], of any engagement.
        p_favorite, p_retweet: float64 [users, candidates].
        readable: bool [users, candidates], whether the user truly reads the language; None where nobody says.
    """

    time_s: float
    user: Ints
    tweet: Ints
    p: Floats
    p_favorite: Floats
    p_retweet: Floats
    readable: Bools | None


@dataclass(frozen=True)
class WorldLog:
    """A log and the truth behind it. `author_followers` is int64 [authors]."""

    names: Names
    profiles: Profiles
    author_followers: Ints
    tweets: Tweets
    impressions: Impressions
    engagements: Engagements
    truth: Truth
