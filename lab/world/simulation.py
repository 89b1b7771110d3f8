"""Plays a world forward in steps under the production policy. Keeps columns; knows no records and no clock."""

from dataclasses import dataclass, replace

import numpy as np

from lab.observed.columns import Bools, Floats, Ints
from lab.observed.log import CLICK, UNFAVORITE, Engagements, Impressions, Names, Truth, WorldLog
from lab.world.policy import Shelf, Visits, serve
from lab.world.reactions import react
from lab.world.settings import DAY_S, WorldSettings
from lab.world.shown import Shown
from lab.world.vocabulary import LANGUAGES, region_names, topic_names
from lab.world.world import World

# a fresh draw holds some tweets shown before: draw more, drop those
_OVERSAMPLING = 2


@dataclass(frozen=True)
class Step:
    """What happened in one step; engagements may lie after its end.

    Attributes:
        impressions: of the production policy, in order of time.
        engagements: with those impressions; `impression` counts from the step's first.
        visits: those left to somebody else, in order of time.
    """

    impressions: Impressions
    engagements: Engagements
    visits: Visits


class Simulation:
    """A world in motion. Two with equal settings and equal `elsewhere` take the same steps."""

    def __init__(self, world: World, *, elsewhere: Bools | None = None) -> None:
        """Stand at time 0.

        Args:
            world: what is played.
            elsewhere: bool [users], users whose visits the production policy does not serve; nobody by default.
        """
        self.world = world
        self._elsewhere = np.zeros(len(world.users), np.bool_) if elsewhere is None else elsewhere
        self._steps = 0
        self._counts = np.zeros(0)
        self._pending: list[tuple[Floats, Ints]] = []
        self.shown = Shown()

    @property
    def time_s(self) -> float:
        """Where the next step begins."""
        return self._steps * self.world.settings.step_s

    @property
    def engagement_counts(self) -> Floats:
        """Positive engagements of each tweet as of `time_s`, float64 [tweets]."""
        self._catch_up()
        return self._counts

    def note(self, tweets: Ints, times_s: Floats) -> None:
        """Count positive engagements with `tweets` (int64 [n]) from `times_s` (float64 [n]) on."""
        self._pending.append((times_s, tweets))

    def hand_over(self) -> None:
        """Leave every visit to somebody else from the next step on; who visits when does not change."""
        self._elsewhere = np.ones(len(self.world.users), np.bool_)

    def step(self) -> Step:
        """Take one step of `step_s` seconds."""
        world, s = self.world, self.world.settings
        rng = world.rng(4, self._steps)
        start, end = self.time_s, self.time_s + s.step_s
        world.reach(end - 1e-6)
        counts = self.engagement_counts
        count = rng.poisson(world.users.visit_rate * s.step_s / DAY_S)
        user = np.repeat(np.arange(len(count)), count)
        visits = Visits(user, start + rng.random(len(user)) * s.step_s)
        visits = visits.take(np.argsort(visits.time_s, kind="stable"))
        ours = ~self._elsewhere[visits.user]
        rows = world.tweets.alive_within(start, end)
        impressions = self._serve(visits.take(ours), Shelf(rows, counts[rows]), rng)
        reactions = react(world, impressions.user, impressions.tweet, impressions.time_s, rng)
        impressions = replace(impressions, label=reactions.label)
        engaged_at = impressions.time_s[reactions.impression] + reactions.delay_s
        counted = reactions.kind <= CLICK
        # an accidental favorite is counted by nobody for long
        counted &= ~np.isin(reactions.impression, reactions.impression[reactions.kind == UNFAVORITE])
        self.note(impressions.tweet[reactions.impression[counted]], engaged_at[counted])
        self._steps += 1
        return Step(impressions, Engagements(reactions.impression, reactions.kind, engaged_at), visits.take(~ours))

    def _serve(self, visits: Visits, shelf: Shelf, rng: np.random.Generator) -> Impressions:
        world, slots = self.world, self.world.settings.tweets_per_visit
        drawn = serve(world.users.profiles, world.tweets, shelf, visits, k=slots * _OVERSAMPLING, rng=rng)
        oldest = int(shelf.tweet[0]) if len(shelf) else 0
        return self.shown.show(visits, drawn, slots=slots, oldest=oldest)

    def _catch_up(self) -> None:
        size = len(self.world.tweets)
        if len(self._counts) < size:
            self._counts = np.concatenate([self._counts, np.zeros(size - len(self._counts))])
        later: list[tuple[Floats, Ints]] = []
        for times, tweets in self._pending:
            due = times < self.time_s
            np.add.at(self._counts, tweets[due], 1.0)
            if not due.all():
                later.append((times[~due], tweets[~due]))
        self._pending = later


def simulate(settings: WorldSettings, days: float, *, test_users: int = 500) -> WorldLog:
    """Play `days` days of a new world under the production policy.

    Args:
        settings: the world.
        days: how long; whole steps are played.
        test_users: how many users, drawn evenly, the truth at the end is written down for.
    """
    simulation = Simulation(World(settings))
    steps = []
    while simulation.time_s < days * DAY_S:
        steps.append(simulation.step())
    return write_log(simulation.world, steps, simulation.time_s, test_users=test_users)


def write_log(world: World, steps: list[Step], time_s: float, *, test_users: int) -> WorldLog:
    """Put steps together into one log, with the truth at `time_s`.

    Nothing that comes after it is in the log, but that labels are final: few are of an engagement still to come (5 in 29,000).
    """
    tweets = world.tweets.until(time_s)
    first, engagements = 0, []
    for step in steps:
        engagements.append(replace(step.engagements, impression=step.engagements.impression + first))
        first += len(step.impressions)
    shown = Impressions.joined([step.impressions for step in steps])
    # a visit may reach into the next step
    order = np.argsort(shown.time_s, kind="stable")
    place = np.argsort(order)
    done = Engagements.joined(engagements)
    done = replace(done, impression=place[done.impression]).take(done.time_s <= time_s)
    users = np.sort(world.rng(5).permutation(len(world.users))[:test_users])
    return WorldLog(
        names=names_of(world),
        profiles=world.users.profiles,
        author_followers=world.authors.followers,
        tweets=tweets,
        impressions=shown.take(order[shown.time_s[order] <= time_s]),
        engagements=done,
        truth=truth_at(world, users, time_s),
    )


def truth_at(world: World, users: Ints, time_s: float) -> Truth:
    """Return the truth for `users` and every tweet alive at `time_s`."""
    alive = world.tweets.alive(time_s)
    p = world.probabilities(users, alive, time_s)
    return Truth(
        time_s,
        users,
        alive,
        p,
        p * world.settings.favorite_share,
        p * world.hidden.retweet_share[alive],
        world.users.spoken[users][:, world.tweets.language[alive]],
    )


def names_of(world: World) -> Names:
    """Return the ids and words of a world: users `u:<n>`, authors `a:<n>`, tweets `t:<n>`."""
    s = world.settings
    return Names(
        tuple(f"u:{n}" for n in range(len(world.users))),
        tuple(f"a:{n}" for n in range(len(world.authors))),
        tuple(f"t:{n}" for n in range(len(world.tweets))),
        LANGUAGES[: s.languages],
        region_names(s.regions),
        topic_names(s.topics),
    )
