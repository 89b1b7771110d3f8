"""The world as records on a clock: a stream in time order, and the reaction to an answer. Publishes nothing, never sleeps."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import numpy as np

from lab.observed.columns import Bools, Ints
from lab.observed.log import CLICK, KINDS
from lab.world.reactions import react
from lab.world.shown import READING_S
from lab.world.simulation import Simulation, Step, names_of
from lab.world.vocabulary import sentence
from lab.world.world import World
from schemas.records.candidates import Tweet
from schemas.records.feedback import Engagement, EngagementKind, Impression
from schemas.records.users import User


@dataclass(frozen=True, slots=True)
class Clock:
    """Maps world time onto Unix time: world second `world_s` is `unix_ms`, and `speed` world seconds pass in one.

    Delays from impression to engagement shrink by the same factor: at `speed` 360 the 30 minutes of a label window are 5 s.
    """

    unix_ms: int
    world_s: float = 0.0
    speed: float = 1.0

    def to_unix_ms(self, world_s: float) -> int:
        """Return the Unix time, in milliseconds, of a world time."""
        return self.unix_ms + round((world_s - self.world_s) * 1000 / self.speed)

    def to_world_s(self, unix_ms: float) -> float:
        """Return the world time, in seconds, of a Unix time."""
        return self.world_s + (unix_ms - self.unix_ms) * self.speed / 1000


@dataclass(frozen=True, slots=True)
class Visit:
    """A user opens the app and nothing has been served yet: query for them, then hand the answer to `LiveWorld.react`."""

    user_id: str
    event_time_ms: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a retrieve call returned, as far as the world must know it.

    Attributes:
        candidate_ids: best first. An id that is not of this world is shown and never engaged with.
        tokens: one for each candidate, copied into its impression; may be empty.
    """

    request_id: str
    user_id: str
    candidate_ids: Sequence[str]
    surface: str
    bundle: str | None = None
    query_token: str | None = None
    tokens: Sequence[str | None] = ()


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a user does with an answer.

    Attributes:
        impressions: in order of position.
        engagements: in order of time, with event times up to some label windows after the impressions'.
        expected: mean true p of what was shown.
        unreadable: share of what was shown in a language the user truly cannot read.
    """

    impressions: list[Impression] = field(default_factory=list)
    engagements: list[Engagement] = field(default_factory=list)
    expected: float = 0.0
    unreadable: float = 0.0


Event = Tweet | Impression | Engagement | Visit


class LiveWorld:
    """One world played on one clock. `events` and `react` may be called from two threads."""

    def __init__(
        self, world: World, clock: Clock, *, surface: str = "home-timeline", elsewhere: Bools | None = None, run: str = ""
    ) -> None:
        """Stand at world time 0.

        Args:
            world: what is played.
            clock: to stream a first slice as fast as possible and then live, let the slice's end be now.
            surface: of the production policy's impressions.
            elsewhere: bool [users], users whose visits the production policy does not serve: they come as `Visit`.
            run: makes request and event ids unique between runs; the clock's start by default.
        """
        self.world = world
        self.clock = clock
        self._surface = surface
        self._simulation = Simulation(world, elsewhere=elsewhere)
        self._run = run or f"{clock.unix_ms:x}"
        self._lock = threading.Lock()
        self._names = names_of(world)
        self._user_rows = {user_id: row for row, user_id in enumerate(self._names.users)}
        self._pending: list[tuple[float, Event]] = []
        self._announced_tweets = 0
        self._reactions = 0

    def users(self) -> Iterator[User]:
        """Yield every user's profile, with the event time of world time 0."""
        names, profiles = self._names, self.world.users.profiles
        event_time_ms = self.clock.to_unix_ms(0.0)
        for row, user_id in enumerate(names.users):
            yield User(
                user_id=user_id,
                event_time_ms=event_time_ms,
                sequence=0,
                languages=tuple(names.languages[n] for n in np.flatnonzero(profiles.languages[row])),
                region=names.regions[profiles.region[row]],
                follows=tuple(names.authors[n] for n in np.flatnonzero(profiles.follows[row])),
                interests=tuple(names.topics[n] for n in np.flatnonzero(profiles.interests[row])),
            )

    def events(self, until_s: float | None = None) -> Iterator[Event]:
        """Yield what happens next in order of event time, from where the last call stopped.

        Args:
            until_s: world time to stop at, rounded up to whole steps; for ever by default.
        """
        while until_s is None or self._simulation.time_s < until_s:
            with self._lock:
                step = self._simulation.step()
                end_s = self._simulation.time_s
                due = self._pending
                due.extend(self._tweets(end_s))
                due.extend(self._shown(step))
                due.sort(key=itemgetter(0))
                split = next((n for n, (time_s, _) in enumerate(due) if time_s >= end_s), len(due))
                self._pending = due[split:]
            for _, event in due[:split]:
                yield event

    def react(self, answer: Answer, now_ms: int, *, shown: int | None = None) -> Reaction:
        """Return what the user of an answer does with it.

        Args:
            answer: what was retrieved for the user.
            now_ms: when it is shown, in Unix milliseconds.
            shown: how many of the first candidates the user gets to see; the world's tweets per visit by default.

        Raises:
            ValueError: the user is not of this world.
        """
        user = self._user_rows.get(answer.user_id)
        if user is None:
            raise ValueError(f"user {answer.user_id!r} is not of this world; its users are u:0 to u:{len(self._user_rows) - 1}")
        ids = answer.candidate_ids[: self.world.settings.tweets_per_visit if shown is None else shown]
        tokens = (*answer.tokens[: len(ids)], *(None,) * (len(ids) - len(answer.tokens)))
        times_ms = [now_ms + round(READING_S * 1000 / self.clock.speed) * position for position in range(len(ids))]
        impressions = [
            Impression(
                request_id=answer.request_id,
                candidate_id=candidate_id,
                user_id=answer.user_id,
                surface=answer.surface,
                position=position,
                event_time_ms=times_ms[position],
                bundle=answer.bundle,
                query_token=answer.query_token,
                token=tokens[position],
            )
            for position, candidate_id in enumerate(ids)
        ]
        with self._lock:
            return self._engage(user, impressions)

    def _engage(self, user: int, impressions: list[Impression]) -> Reaction:
        rows = [self.row_of(impression.candidate_id) for impression in impressions]
        known = [position for position, row in enumerate(rows) if row is not None]
        if not known:
            return Reaction(impressions)
        tweets = np.array([row for row in rows if row is not None], np.int64)
        users = np.full(len(tweets), user)
        times = np.array([self.clock.to_world_s(impressions[position].event_time_ms) for position in known])
        self._reactions += 1
        reactions = react(self.world, users, tweets, times, self.world.rng(6, self._reactions))
        engaged_at = times[reactions.impression] + reactions.delay_s
        counted = (reactions.kind <= CLICK) & (reactions.label[reactions.impression] == 1)
        self._simulation.note(tweets[reactions.impression[counted]], engaged_at[counted])
        engagements = [
            self._engagement(impressions[known[index]], kind, time_s)
            for index, kind, time_s in zip(reactions.impression, reactions.kind, engaged_at, strict=True)
        ]
        unreadable = self.world.unreadable_share(users[:1], tweets[None, :])[0]
        return Reaction(
            impressions,
            sorted(engagements, key=lambda engagement: engagement.event_time_ms),
            # what is not of this world has p = 0
            float(self.world.probability(users, tweets, times).sum() / len(impressions)),
            float(unreadable * len(known) / len(impressions)),
        )

    def row_of(self, candidate_id: str) -> int | None:
        """Return the row of `t:<n>` in the world's tweets, or None for an id that is not of this world."""
        number = candidate_id[2:]
        if not (candidate_id.startswith("t:") and number.isascii() and number.isdecimal() and len(number) <= 18):
            return None
        row = int(number)
        return row if row < len(self.world.tweets) and str(row) == number else None

    def tweet(self, row: int) -> Tweet:
        """Return the record that creates the tweet of one row."""
        tweets, names = self.world.tweets, self._names
        author = int(tweets.author[row])
        topics = tuple(names.topics[topic] for topic in tweets.topics[row].tolist() if topic >= 0)
        created_ms = self.clock.to_unix_ms(float(tweets.created_s[row]))
        return Tweet(
            candidate_id=f"t:{row}",
            event_time_ms=created_ms,
            sequence=0,
            author_id=names.authors[author],
            created_ms=created_ms,
            language=names.languages[tweets.language[row]],
            region=names.regions[tweets.region[row]],
            topics=topics,
            text=sentence(int(tweets.language[row]), topics[0], row),
            author_followers=int(self.world.authors.followers[author]),
        )

    def _tweets(self, end_s: float) -> Iterator[tuple[float, Event]]:
        tweets = self.world.tweets
        end = int(np.searchsorted(tweets.created_s, end_s))
        for row in range(self._announced_tweets, end):
            record = self.tweet(row)
            yield float(tweets.created_s[row]), record
            if tweets.deleted[row]:
                dead_s = float(tweets.dead_s[row])
                event_time_ms = max(self.clock.to_unix_ms(dead_s), record.event_time_ms)
                yield dead_s, Tweet(record.candidate_id, event_time_ms, 1, record.author_id, record.created_ms, deleted=True)
        self._announced_tweets = end

    def _shown(self, step: Step) -> Iterator[tuple[float, Event]]:
        shown, to_ms, names = step.impressions, self.clock.to_unix_ms, self._names
        impressions: list[Impression] = []
        rows = _rows(shown.request, shown.user, shown.tweet, shown.position)
        for (request, user, tweet, position), time_s in zip(rows, shown.time_s.tolist(), strict=True):
            impression = Impression(
                f"w-{self._run}-{request}", f"t:{tweet}", names.users[user], self._surface, position, to_ms(time_s)
            )
            impressions.append(impression)
            yield time_s, impression
        done = step.engagements
        for index, kind, time_s in zip(done.impression.tolist(), done.kind.tolist(), done.time_s.tolist(), strict=True):
            yield time_s, self._engagement(impressions[index], kind, time_s)
        for user, time_s in zip(step.visits.user.tolist(), step.visits.time_s.tolist(), strict=True):
            yield time_s, Visit(names.users[user], to_ms(time_s))

    def _engagement(self, impression: Impression, kind: int, time_s: float) -> Engagement:
        name: EngagementKind = KINDS[kind]
        return Engagement(
            event_id=f"{impression.request_id}/{impression.candidate_id}/{name}",
            user_id=impression.user_id,
            candidate_id=impression.candidate_id,
            kind=name,
            event_time_ms=max(self.clock.to_unix_ms(time_s), impression.event_time_ms),
            request_id=impression.request_id,
        )


def _rows(*columns: Ints) -> Iterator[tuple[int, ...]]:
    return zip(*(column.tolist() for column in columns), strict=True)
