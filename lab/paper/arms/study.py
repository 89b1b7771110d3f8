"""Canaries of recipes that go on training while they are compared, on the shared log and on each arm's own examples.

A recipe's truth is what it does with all traffic to itself. A canary gives it a share of the users; as long as both arms train on
one log, each learns from what the other served, and what is compared is no longer what would be deployed. Diverting the training
data by arm (`roost train finetune --served-by`) takes that away, and leaves each arm less to learn from. Source: Brennan et al.,
"Reducing Symbiosis Bias Through Better A/B Tests of Recommendation Algorithms" (WWW 2025), who name the bias and the design.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypedDict

import numpy as np

from lab.observed.columns import Ints
from lab.paper.arms.effects import Effect, alone, measured, usual_rate, without_noise
from lab.paper.arms.traffic import Recipe, Traffic, evening
from lab.paper.continual.feed import Past
from lab.paper.continual.study import SCHEDULE, ContinualSettings, play, produced
from lab.paper.experiment import set_threads
from lab.paper.intervals import share_of
from lab.world.settings import DAY_S, HOUR_S, LIVELY
from lab.world.simulation import Simulation
from lab.world.world import World
from schemas.errors import InvalidInput
from schemas.features.hashing import canary_bucket
from trainer.recipes import LEARNING_RATE, FinetuneConfig

SHIPPED = Recipe("schedule", SCHEDULE)
# of the schedule in all but the draw of batches and negatives
EQUAL = Recipe("equal", SCHEDULE, draw=1_000)
NAIVE = Recipe("naive", FinetuneConfig(learning_rate=LEARNING_RATE))
EXPLORING = replace(NAIVE, name="naive, exploring", explored=1)
PAIRS = (
    (SHIPPED, EQUAL),
    (SHIPPED, NAIVE),
    (SHIPPED, Recipe("eager", replace(SCHEDULE, learning_rate=LEARNING_RATE))),
    (SHIPPED, Recipe("heavy replay", replace(SCHEDULE, replay=16.0))),
    # what the canary pays a slot for, both learn from on a shared log
    (NAIVE, EXPLORING),
)

Of = Literal["better", "equal", "worse"]


@dataclass(frozen=True, slots=True)
class ArmsSettings:
    """What is run for each seed: a canary of every pair of recipes, on either log, and every recipe alone.

    Attributes:
        past: the world, and how the towers that all recipes begin with are pre-trained; its `days` and `arms` are not used.
        days: a canary's; every evening both arms are tuned.
        share: of the users that the canary gets.
        pairs: the live recipe and the canary's of each comparison.
    """

    past: ContinualSettings = field(
        default_factory=lambda: ContinualSettings(
            world=replace(LIVELY, users=400, authors=150, tweets_per_day=320, languages=6, step_s=3 * HOUR_S)
        )
    )
    days: int = 3
    share: float = 0.5
    pairs: tuple[tuple[Recipe, Recipe], ...] = PAIRS
    threads: int = 1

    def __post_init__(self) -> None:
        """Raise `InvalidInput` where there is nothing to compare."""
        if self.days < 2:
            raise InvalidInput(
                f"{self.days} days are too few: what a canary serves is trained on from its second day; ask for 2 at least"
            )
        if not 0 < self.share < 1:
            raise InvalidInput(f"a share of {self.share:.0%} leaves an arm without users; give one between 0 and 100")


class Measured(TypedDict):
    """One canary: as its users' engagements show it, and without the noise of the coin and of the split."""

    seen: Effect
    quiet: Effect


class Comparison(TypedDict):
    """One pair of one seed.

    Attributes:
        of: what the canary's recipe is by its truth: better or worse where the interval leaves out 0; equal where it does not, and
            where it is the live one's own.
    """

    seed: int
    live: str
    canary: str
    of: Of
    truth: Effect
    shared: Measured
    diverted: Measured


class Summary(TypedDict):
    """All canaries on one log.

    Attributes:
        right, of: canaries of better and worse recipes with the sign of the truth, and their number; with Wilson's 95% interval.
        seen_right: the same by engagements alone, with the noise that a canary of this size has.
        recovered: the measured effect as a multiple of the truth's, by least squares over the same canaries; with the lowest and
            the highest of the seeds.
        false_alarms, equal: canaries of equal recipes whose interval leaves out 0, and their number.
    """

    log: str
    right: int
    of: int
    right_low: float
    right_high: float
    seen_right: int
    recovered: float
    recovered_low: float
    recovered_high: float
    false_alarms: int
    equal: int


class Study(TypedDict):
    """The whole study."""

    days: int
    users: int
    share: float
    seeds: list[int]
    rows: list[Summary]
    comparisons: list[Comparison]


OnProgress = Callable[[int, float], None]


def arms(seeds: Sequence[int], settings: ArmsSettings | None = None, *, on_progress: OnProgress = lambda _s, _d: None) -> Study:
    """Run the study: one world a seed. Told of progress: the seed and the day that begins, 0 for the common past.

    Raises:
        Refused: the production days hold nothing to learn from.
    """
    how = settings or ArmsSettings()
    set_threads(how.threads)
    found = [comparison for seed in seeds for comparison in _of_seed(seed, how, on_progress)]
    return Study(
        days=how.days,
        users=how.past.world.users,
        share=how.share,
        seeds=list(seeds),
        rows=[summary(found, "shared"), summary(found, "diverted")],
        comparisons=found,
    )


def summary(found: Sequence[Comparison], log: Literal["shared", "diverted"]) -> Summary:
    """Return the summary of one log's canaries."""
    told = [one for one in found if one["of"] != "equal"]
    equal = [one for one in found if one["of"] == "equal"]
    right = sum(_agrees(one[log]["quiet"], one["truth"]) for one in told)
    interval = share_of(right, len(told))
    by_seed = [_recovered([one for one in told if one["seed"] == seed], log) for seed in dict.fromkeys(one["seed"] for one in told)]
    return Summary(
        log=log,
        right=right,
        of=len(told),
        right_low=interval.low,
        right_high=interval.high,
        seen_right=sum(_agrees(one[log]["seen"], one["truth"]) for one in told),
        recovered=_recovered(told, log),
        recovered_low=min(by_seed, default=0.0),
        recovered_high=max(by_seed, default=0.0),
        false_alarms=sum(not one[log]["quiet"]["low"] <= 0 <= one[log]["quiet"]["high"] for one in equal),
        equal=len(equal),
    )


def _agrees(effect: Effect, truth: Effect) -> bool:
    return effect["value"] * truth["value"] > 0


def _recovered(told: Sequence[Comparison], log: Literal["shared", "diverted"]) -> float:
    truth = np.array([one["truth"]["value"] for one in told])
    effect = np.array([one[log]["quiet"]["value"] for one in told])
    return float((truth * effect).sum() / (truth**2).sum()) if len(told) else 0.0


def _of_seed(seed: int, how: ArmsSettings, on_progress: OnProgress) -> list[Comparison]:
    on_progress(seed, 0)
    simulation = Simulation(World(replace(how.past.world, seed=seed)))
    made = produced(simulation, how.past, seed)
    # what production served, neither arm did
    made.log.forget(made.log.untrained)
    world = simulation.world
    past = Past(world, made.log, simulation.shown, made.pretrained, made.fresh, (made.first.profile, made.fresh.profile))
    recipes = {one.name: one for pair in how.pairs for one in pair}
    # the first evening of each recipe is on production's last day, which is nobody's own
    first = {name: evening(past.towers, made.fresh, one, seed=seed) for name, one in recipes.items()}

    def traffic(names: Sequence[str], arm_of: Ints, *, diverted: bool = False) -> Traffic:
        of, towers = [recipes[name] for name in names], [first[name] for name in names]
        return Traffic(past, of, towers, arm_of, diverted=diverted, ranker_noise=how.past.ranker_noise)

    alone_on_all = {name: traffic([name], np.zeros(len(world.users), np.int64)) for name in recipes}
    splits = [_split(len(world.users), f"{seed}/{canary.name}", how.share) for _, canary in how.pairs]
    shared, diverted = (
        [traffic([live.name, canary.name], split, diverted=own) for (live, canary), split in zip(how.pairs, splits, strict=True)]
        for own in (False, True)
    )
    everything = [*alone_on_all.values(), *shared, *diverted]
    simulation.hand_over()
    begin_s = simulation.time_s
    for day in range(1, how.days + 1):
        on_progress(seed, day)
        play(simulation, everything, begin_s + day * DAY_S)
        if day < how.days:
            for one in everything:
                one.learn(simulation.time_s, seed=seed + day)
    found = []
    for (live, canary), split, *both in zip(how.pairs, splits, shared, diverted, strict=True):
        pair = alone_on_all[live.name].fed, alone_on_all[canary.name].fed
        truth, usual, in_canary = alone(*pair), usual_rate(*pair), split == 1
        of: Of = "equal" if live.tuning == canary.tuning and live.explored == canary.explored else _kind(truth)
        on_shared, on_diverted = (
            Measured(seen=measured(one.fed, in_canary), quiet=without_noise(one.fed, in_canary, usual)) for one in both
        )
        found.append(
            Comparison(seed=seed, live=live.name, canary=canary.name, of=of, truth=truth, shared=on_shared, diverted=on_diverted)
        )
    return found


def _split(users: int, salt: str, share: float) -> Ints:
    """Return each user's arm, 1 for the canary's, as nodes would route them."""
    return np.array([int(canary_bucket(salt, f"u:{user}") < share * 10_000) for user in range(users)], np.int64)


def _kind(truth: Effect) -> Of:
    if truth["low"] <= 0 <= truth["high"]:
        return "equal"
    return "better" if truth["value"] > 0 else "worse"
