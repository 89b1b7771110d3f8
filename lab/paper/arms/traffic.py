"""Traffic answered by the towers of one recipe, or of two with the users split between them, each tuned every evening.

One log holds what all of it came to, so histories and counters are everybody's, as in the product; what an arm trains on is the
whole log, or only the examples that it served itself. Compares nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lab.observed.columns import Floats, Ints
from lab.paper.continual.feed import Feed, Past
from lab.paper.continual.gated import Window, tuned
from lab.paper.continual.line import cut
from lab.world.policy import Visits
from trainer.data.columns import POSITIVE
from trainer.learning.ensemble import Tunable
from trainer.recipes import FinetuneConfig


@dataclass(frozen=True, slots=True)
class Recipe:
    """How towers are tuned every evening.

    Attributes:
        draw: of batches and negatives: two recipes that differ in it alone are equal ones.
        explored: slots of each visit that are filled at random, to learn from.
    """

    name: str
    tuning: FinetuneConfig
    draw: int = 0
    explored: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Fed:
    """What users were shown, by user; float64 [users] each.

    Attributes:
        shown: impressions.
        engaged: impressions engaged with.
        expected: the sum of their true probabilities.
    """

    shown: Floats
    engaged: Floats
    expected: Floats


class Traffic:
    """All visits, and the towers that answer them."""

    def __init__(
        self,
        past: Past,
        recipes: Sequence[Recipe],
        towers: Sequence[Tunable],
        arm_of: Ints,
        *,
        diverted: bool,
        ranker_noise: float | None,
    ) -> None:
        """Begin where production ended.

        Args:
            past: its log and what it showed; its towers answer nobody.
            recipes, towers: of each arm.
            arm_of: int64 [users], the arm that answers a user.
            diverted: whether an arm trains on the examples it served, and not on all.
        """
        self._world = past.world
        self._feed = Feed(past, ranker_noise=ranker_noise)
        self._recipes = tuple(recipes)
        self._towers = list(towers)
        self._arm_of = arm_of
        self._diverted = diverted
        users = len(arm_of)
        self._fed = Fed(np.zeros(users), np.zeros(users), np.zeros(users))

    def serve(self, visits: Visits, start_s: float, step: int) -> None:
        """Answer a step's visits, each from the index of its user's arm, and count what came of it."""
        explored = [recipe.explored for recipe in self._recipes]
        arm = self._arm_of[visits.user]
        shown = self._feed.answer(visits, self._towers, arm, start_s=start_s, step=step, explored=explored)
        np.add.at(self._fed.shown, shown.user, 1.0)
        np.add.at(self._fed.engaged, shown.user, shown.label == POSITIVE)
        np.add.at(self._fed.expected, shown.user, self._world.probability(shown.user, shown.tweet, shown.time_s))

    def learn(self, now_s: float, *, seed: int) -> None:
        """Tune every arm's towers, and forget what was trained on; the newest share waits for the next evening's."""
        window, trained = cut(self._feed.log, self._world, now_s)
        for number, recipe in enumerate(self._recipes):
            self._towers[number] = evening(self._towers[number], self._of_arm(window, number), recipe, seed=seed)
        self._feed.log.forget(trained)

    def _of_arm(self, window: Window, number: int) -> Window:
        if not self._diverted:
            return window
        # users are sticky: whom an arm answers, it has answered from the first day on
        return replace(window, train=window.train.take(self._arm_of[window.train.users] == number))

    @property
    def towers(self) -> tuple[Tunable, ...]:
        """Of each arm, as they are now."""
        return tuple(self._towers)

    @property
    def fed(self) -> Fed:
        """What users were shown so far."""
        return self._fed


def evening(towers: Tunable, window: Window, recipe: Recipe, *, seed: int) -> Tunable:
    """Return the towers that a recipe makes of these and a day's examples."""
    return tuned(towers, window, recipe.tuning, seed=seed + recipe.draw)
