"""What was known when something was served: counters of a tweet, history of a user, as of any moment. Encodes nothing."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lab.observed.columns import Floats, Ints
from lab.observed.log import (
    CLICK,
    FAVORITE,
    NO_TOPIC,
    POSITIVE,
    REPLY,
    RETWEET,
    SHOW_LESS,
    UNFAVORITE,
    WorldLog,
)
from schemas.records.users import MAX_HISTORY

# of (tweet or user, milliseconds) in one int64: 69 years of time
_TIME_BITS = 41
_COUNTED = {"favorite": FAVORITE, "retweet": RETWEET, "reply": REPLY, "click": CLICK, "show_less": SHOW_LESS}
POSITIVE_COUNTERS = ("favorite", "retweet", "reply", "click")


@dataclass(frozen=True)
class ServedState:
    """A log, asked about moments in it. An event counts from the millisecond after it on."""

    log: WorldLog

    def counter(self, name: str, tweets: Ints, times_s: Floats) -> Ints:
        """Return a counter of tweets as of times, both [n], never below 0, int64 [n]; 0 for a kind the log does not know."""
        if name not in _COUNTED:
            return np.zeros(len(tweets), np.int64)
        count = self._before(_COUNTED[name], tweets, times_s)
        if name == "favorite":
            count = count - self._before(UNFAVORITE, tweets, times_s)
        return np.maximum(count, 0)

    def popularity(self, tweets: Ints, times_s: Floats) -> Ints:
        """Return positive engagements of tweets as of times, int64 [n] (paper, section 4.3.2)."""
        return sum((self.counter(name, tweets, times_s) for name in POSITIVE_COUNTERS), np.zeros(len(tweets), np.int64))

    def history(self, users: Ints, times_s: Floats) -> Ints:
        """Return the tweets each user engaged with before a time, newest first, int64 [n, 16], -1 where there are fewer."""
        keys, tweets = self._engaged
        end = np.searchsorted(keys, _key(users, times_s))
        begin = np.searchsorted(keys, _key(users, np.zeros(len(users))))
        place = end[:, None] - 1 - np.arange(MAX_HISTORY)
        return np.where(place >= begin[:, None], tweets[np.maximum(place, 0)], -1) if len(tweets) else np.full(place.shape, -1)

    def history_topics(self, history: Ints) -> Ints:
        """Return the topics of a history, newest first, int64 [n, 16], `NO_TOPIC` where there are fewer."""
        topics = self.log.tweets.topics[np.maximum(history, 0)]
        topics = np.where((history < 0)[:, :, None], NO_TOPIC, topics).reshape(len(history), -1)
        # holes go last, the order of the rest stays
        order = np.argsort(topics == NO_TOPIC, axis=1, kind="stable")
        return np.take_along_axis(topics, order, axis=1)[:, :MAX_HISTORY]

    def _before(self, kind: int, tweets: Ints, times_s: Floats) -> Ints:
        keys = self._events[kind]
        return np.searchsorted(keys, _key(tweets, times_s)) - np.searchsorted(keys, _key(tweets, np.zeros(len(tweets))))

    @cached_property
    def _events(self) -> list[NDArray[np.int64]]:
        """Sorted keys of the events of each kind, by tweet and time."""
        done = self.log.engagements
        keys = _key(self.log.impressions.tweet[done.impression], done.time_s)
        return [np.sort(keys[done.kind == kind]) for kind in range(SHOW_LESS + 1)]

    @cached_property
    def _engaged(self) -> tuple[Ints, Ints]:
        """Each positive impression once, at its first engagement: sorted keys by user and time, and the tweets."""
        shown, done = self.log.impressions, self.log.engagements
        first_s = np.full(len(shown), np.inf)
        positive = done.kind <= CLICK
        np.minimum.at(first_s, done.impression[positive], done.time_s[positive])
        rows = np.flatnonzero((shown.label == POSITIVE) & np.isfinite(first_s))
        keys = _key(shown.user[rows], first_s[rows])
        order = np.argsort(keys, kind="stable")
        return keys[order], shown.tweet[rows][order]


def _key(rows: Ints, times_s: Floats) -> Ints:
    return (rows << _TIME_BITS) + np.rint(times_s * 1000).astype(np.int64)
