"""Engagement against the delay from publish to retrievable, while a stream of tweets goes on. Draws no curve.

At random moments of the last day every test user asks once, and every delay is played on the same askings: what towers trained as
in Table 1 retrieve of the tweets that have been out for the delay. Vectors are of the features as of the moment.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, TypedDict

import numpy as np

from lab.observed.columns import Floats, Ints
from lab.paper.ab_test import CANDIDATES
from lab.paper.encode import LogEncoder
from lab.paper.experiment import ExperimentSettings, OnProgress, Trained, experiment, silent
from lab.paper.freshness.delayed import Ranked, delayed
from lab.paper.intervals import Interval, Resampling
from lab.paper.models.joined import ROOST
from lab.paper.models.recipes import PAPER
from lab.world.settings import DAY_S
from lab.world.world import World
from trainer.evaluation import Embedder
from trainer.metrics import nearest

DELAYS_S = (0.1, 1.0, 10.0, 60.0, 300.0, 1_200.0, 3_600.0)
# what is lost is a share of the same figure without delay
LOSSES = {
    "loss_at_10_pct": "engagement_at_10",
    "loss_at_200_pct": "engagement_at_200",
    "ranked_loss_at_10_pct": "ranked_at_10",
}
# purposes of `World.rng` below this are taken
_MOMENTS = 9


@dataclass(frozen=True, slots=True)
class FreshnessSettings:
    """What is run for each seed.

    Attributes:
        experiment: the world and the recipes; the last of its models is the one that retrieves.
        delays_s: no delay is measured besides.
        moments: how many are drawn, evenly over the last day.
    """

    experiment: ExperimentSettings = field(
        default_factory=lambda: ExperimentSettings(recipes=tuple(recipe for recipe in PAPER if recipe.name in ROOST.weights))
    )
    delays_s: tuple[float, ...] = DELAYS_S
    moments: int = 288

    @classmethod
    def of(cls, *, moments: int, threads: int = 1) -> Self:
        """Return the study with other numbers of moments and threads."""
        default = cls()
        return replace(default, moments=moments, experiment=replace(default.experiment, threads=threads))


class Row(TypedDict):
    """One delay: figures as in `delayed`, and losses in percent of the same figure at no delay.

    Attributes:
        ci: [low, high] by figure, 95%: bootstrapped over users and moments.
    """

    delay_s: float
    held_back: float
    engagement_at_10: float
    engagement_at_200: float
    ranked_at_10: float
    loss_at_10_pct: float
    loss_at_200_pct: float
    ranked_loss_at_10_pct: float
    fresh_at_10: float
    fresh_at_200: float
    ci: dict[str, list[float]]


class Curve(TypedDict):
    """`rows` are means over the seeds, bootstrapped over the users and moments of each; the first is of no delay.

    Attributes:
        model: whose towers retrieve.
        users, moments: of each seed; every user asks at every moment.
        tweets_per_day, age_logit_per_h: of the world: what it publishes, and by how much an hour lowers the logit of p.
    """

    seeds: list[int]
    model: str
    users: int
    moments: int
    tweets_per_day: int
    age_logit_per_h: float
    rows: list[Row]
    per_seed: list[list[Row]]


# of one delay, by name: the estimate, then one value a draw
_Draws = Mapping[str, Floats]


def freshness(seeds: Sequence[int], settings: FreshnessSettings | None = None, *, on_progress: OnProgress = silent) -> Curve:
    """Run the study; errors are those of `experiment`."""
    how = settings or FreshnessSettings()
    model, per_seed = "", []
    for trained in experiment(seeds, how.experiment, on_progress=on_progress):
        on_progress(trained.seed, "asking", None)
        model = list(trained.models)[-1]
        per_seed.append(_of_seed(trained, trained.models[model], how))
    delays = (0.0, *how.delays_s)
    return Curve(
        seeds=list(seeds),
        model=model,
        users=how.experiment.test_users,
        moments=how.moments,
        tweets_per_day=how.experiment.world.tweets_per_day,
        age_logit_per_h=how.experiment.world.w_age_per_h,
        rows=[_row(delay_s, _mean(drawn)) for delay_s, drawn in zip(delays, zip(*per_seed, strict=True), strict=True)],
        per_seed=[[_row(delay_s, drawn) for delay_s, drawn in zip(delays, of_seed, strict=True)] for of_seed in per_seed],
    )


def _of_seed(trained: Trained, model: Embedder, how: FreshnessSettings) -> list[_Draws]:
    log = trained.data.log
    world = World(replace(how.experiment.world, seed=trained.seed))
    world.reach(log.truth.time_s)
    moments = np.sort(log.truth.time_s - DAY_S * world.rng(_MOMENTS).random(how.moments))
    encoder = LogEncoder(log, how.experiment.spec)
    asked = _asked(model, encoder, world, log.truth.user, moments, longest_s=max(how.delays_s))
    by_moment = [[delayed(ranked, delay_s) for delay_s in (0.0, *how.delays_s)] for ranked in asked]
    resampling = Resampling.of(len(log.truth.user), len(moments), seed=trained.seed)
    now: Mapping[str, Floats] = {}
    found: list[_Draws] = []
    for of_delay in zip(*by_moment, strict=True):
        values = {name: np.stack([one[name] for one in of_delay], axis=1) for name in of_delay[0]}
        now = now or values
        losses = {
            loss: 100 * resampling.means(now[name] - values[name]) / resampling.means(now[name]) for loss, name in LOSSES.items()
        }
        found.append({name: resampling.means(value) for name, value in values.items()} | losses)
    return found


def _asked(
    model: Embedder, encoder: LogEncoder, world: World, users: Ints, moments_s: Floats, *, longest_s: float
) -> Iterator[Ranked]:
    """Yield what each moment's index holds for the users: 200, and as many more as the longest delay may hold back."""
    created_s = world.tweets.created_s
    for now_s in moments_s.tolist():
        alive = world.tweets.alive(now_s)
        young = int((now_s - created_s[alive] < longest_s).sum())
        candidates = model.embed_candidates(encoder.candidates(alive, np.full(len(alive), now_s)))
        queries = model.embed_queries(encoder.queries(users, np.full(len(users), now_s)).ids)
        tweets = alive[nearest(queries, candidates, CANDIDATES + young, metric=model.metric)]
        yield Ranked(now_s - created_s[tweets], world.probability(users[:, None], tweets, now_s))


def _mean(of_seeds: Sequence[_Draws]) -> _Draws:
    return {name: np.mean([one[name] for one in of_seeds], axis=0) for name in of_seeds[0]}


def _row(delay_s: float, drawn: _Draws) -> Row:
    intervals = {name: Interval.of_draws(values) for name, values in drawn.items()}
    row: Row = {
        "delay_s": delay_s,
        **{name: interval.value for name, interval in intervals.items()},  # type: ignore[typeddict-item]
        "ci": {name: [interval.low, interval.high] for name, interval in intervals.items()},
    }
    return row
