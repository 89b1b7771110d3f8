"""The world and its truth: p of every user and tweet at any time, and what follows from it. Serves nothing, records nothing."""

import numpy as np
from numpy.typing import ArrayLike

from lab.observed.columns import Bools, Floats, Ints
from lab.observed.log import Tweets
from lab.world.population import TASTES, draw_authors, draw_users
from lab.world.settings import DAY_S, HOUR_S, WorldSettings
from lab.world.tweets import TOPICS_PER_TWEET, Catalogue, Drift, HiddenTweets, draw_day

# pairs computed at once: bounds memory at some 200 MB
_BLOCK_PAIRS = 1_000_000


class World:
    """Users, authors, and tweets that come into being as time is asked for. Not thread-safe."""

    def __init__(self, settings: WorldSettings) -> None:
        """Draw the population. Tweets are drawn day by day by `reach`."""
        self.settings = settings
        self.authors = draw_authors(settings, self.rng(0))
        self.users = draw_users(settings, self.authors, self.rng(1))
        self.drift = Drift(settings, self.users.interests)
        self._days: list[tuple[Tweets, HiddenTweets]] = []
        self.reach(0.0)

    def rng(self, *purpose: int) -> np.random.Generator:
        """Return the generator of one purpose: draws for one never shift those for another."""
        return np.random.default_rng((self.settings.seed, *purpose))

    def reach(self, time_s: float) -> None:
        """Draw the tweets of every day up to and including the one `time_s` lies in."""
        grown = False
        while len(self._days) <= time_s // DAY_S:
            day = len(self._days)
            self._days.append(draw_day(self.settings, self.authors, self.drift.trends(day), day, self.rng(2, day)))
            grown = True
        if grown:
            # hidden first: whoever sees a tweet's row finds its quality
            self.hidden = HiddenTweets.joined([hidden for _, hidden in self._days])
            self.tweets = Tweets.joined([visible for visible, _ in self._days])

    def probability(
        self, user: ArrayLike, tweet: ArrayLike, time_s: ArrayLike, *, of: Catalogue | None = None, leaning: ArrayLike = 0.0
    ) -> Floats:
        """Return the true probability p that a user engages with a tweet shown at `time_s`.

        p = understood(user, language) * willing(user) * sigmoid(intercept + w_topic * interest + w_follow * follows
        + w_taste * taste . style + w_quality * quality + w_trend * trend - w_age * age); interests and trends are the day's.
        Whether the language is understood is a factor, not a summand: no quality makes up for it. So is willingness: users differ
        by orders of magnitude in how much they engage, and nothing shown to a silent one changes that.

        Args:
            user: rows of `users`; broadcasts against the others.
            tweet: rows of `tweets`.
            time_s: seconds since the world began; before a tweet's creation its age counts as 0.
            of: rows are of this catalogue instead of `tweets`.
            leaning: added to the logit: what the moment is about, besides user and tweet.

        Returns:
            float64 of the broadcast shape, in [0, 1].
        """
        s, users, authors = self.settings, self.users, self.authors
        user_row, row, time = np.broadcast_arrays(user, tweet, np.asarray(time_s, np.float64))
        items, hidden = (self.tweets, self.hidden) if of is None else (of.items, of.hidden)
        author, topics = items.author[row], items.topics[row]
        interest, trend = np.empty(row.shape), np.empty(row.shape)
        # before the world began nothing has drifted
        days = np.maximum(time // DAY_S, 0).astype(np.int64)
        for day in np.unique(days):
            today = np.s_[...] if days.min() == days.max() else days == day
            interest[today], trend[today] = self._of_day(int(day), user_row[today], topics[today])
        count = (topics >= 0).sum(-1)
        taste = np.einsum("...k,...k->...", users.taste[user_row], authors.style[author]) / np.sqrt(TASTES)
        logit = (
            s.intercept
            + s.w_topic * interest / np.sqrt(count)
            + s.w_follow * users.profiles.follows[user_row, author]
            + s.w_taste * taste
            + s.w_quality * hidden.quality[row]
            + s.w_trend * trend / count
            - s.w_age_per_h * np.maximum(time - items.created_s[row], 0.0) / HOUR_S
            + leaning
        )
        understood: Floats = users.understood[user_row, items.language[row]]
        p: Floats = understood * users.willing[user_row] / (1 + np.exp(-logit))
        return p

    def _of_day(self, day: int, user_row: Ints, topics: Ints) -> tuple[Floats, Floats]:
        """Return the sums of a user's interests and of the trends over a tweet's topics, each float64 [...]."""
        # a last entry of 0 stands for "no topic", which is -1
        interests = np.pad(self.drift.interests(day), ((0, 0), (0, 1)))
        trends = np.append(self.drift.trends(day), 0.0)
        interest, trend = np.zeros(user_row.shape), np.zeros(user_row.shape)
        for slot in range(TOPICS_PER_TWEET):
            interest += interests[user_row, topics[..., slot]]
            trend += trends[topics[..., slot]]
        return interest, trend

    def probabilities(self, users: Ints, tweets: Ints, time_s: float) -> Floats:
        """Return p of every pair, float64 [users, tweets]."""
        p = np.empty((len(users), len(tweets)))
        rows = max(1, _BLOCK_PAIRS // max(1, len(tweets)))
        for start in range(0, len(users), rows):
            p[start : start + rows] = self.probability(users[start : start + rows, None], tweets[None, :], time_s)
        return p

    def oracle(self, users: Ints, time_s: float, k: int) -> Ints:
        """Return the k tweets alive at `time_s` with the highest p for each user, best first, int64 [users, min(k, alive)]."""
        self.reach(time_s)
        alive = self.tweets.alive(time_s)
        best = [alive[np.argsort(-self.probabilities(users[i : i + 1], alive, time_s)[0])[:k]] for i in range(len(users))]
        return np.array(best, np.int64).reshape(len(users), min(k, len(alive)))

    def unreadable_share(self, users: Ints, lists: Ints) -> Floats:
        """Return the share of each user's list in a language that the user truly cannot read, float64 [users]."""
        shares: Floats = (~self.users.spoken[users[:, None], self.tweets.language[lists]]).mean(1)
        return shares

    def mismatched(self, users: Ints, tweets: Ints) -> Bools:
        """Tell for each pair whether the tweet's language is none the user declared (paper, section 4.3.2); bool [users]."""
        declared: Bools = self.users.profiles.languages[users, self.tweets.language[tweets]]
        return ~declared
