"""Answers visits from an index, lets users react, and writes both to a log. Measures nothing and trains nothing."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lab.observed.columns import Ints
from lab.observed.log import Engagements, Impressions
from lab.paper.ab_test import CANDIDATES
from lab.paper.continual.gated import Window
from lab.paper.continual.served_log import ServedLog
from lab.paper.truth import MISSING
from lab.world.policy import Visits
from lab.world.reactions import react
from lab.world.shown import Shown
from lab.world.world import World
from trainer.data.profile import WindowProfile
from trainer.learning.ensemble import Tunable
from trainer.learning.towers import TorchEmbedder
from trainer.metrics import nearest

# purposes of `World.rng` below these are the world's own
_REACTIONS, _RANKER, _EXPLORED = 7, 8, 9


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What all lines have in common: a world, its log so far, what was shown to whom, and towers.

    The towers came of one fine-tune, so that they are the anchor of all that come after (`FinetuneConfig.anchor_fine_tunes`).

    Attributes:
        window: what the towers were tuned on.
        profiles: of all windows they were trained on, in order.
    """

    world: World
    log: ServedLog
    shown: Shown
    towers: Tunable
    window: Window
    profiles: tuple[WindowProfile, ...]


class Feed:
    """One history of what was served."""

    def __init__(self, past: Past, *, ranker_noise: float | None) -> None:
        """Go on from a common past: log and what was shown are copied.

        Args:
            ranker_noise: see `ContinualSettings`.
        """
        self.log = past.log.copy()
        self._world = past.world
        self._shown = copy.deepcopy(past.shown)
        self._ranker_noise = ranker_noise

    def answer(
        self, visits: Visits, towers: Sequence[Tunable], arm: Ints, *, start_s: float, step: int, explored: Sequence[int] = ()
    ) -> Impressions:
        """Answer a step's visits from indexes of what was alive at its start, and return what was shown, with labels.

        The nearest 200 are ranked, and the first that the user has not seen fill the slots.

        Args:
            visits: who comes.
            towers: of each arm.
            arm: int64 [visits], whose index answers.
            explored: of each arm, slots that are filled with anything alive instead; none by default: there is no other source.
        """
        world = self._world
        alive = world.tweets.alive(start_s)
        drawn = self._retrieved(visits, towers, arm, alive, start_s)
        if self._ranker_noise is not None:
            drawn = self._ranked(drawn, visits, step, self._ranker_noise)
        if any(explored):
            drawn = self._explored(drawn, alive, np.array(explored)[arm], step)
        oldest = int(alive[0]) if len(alive) else 0
        impressions = self._shown.show(visits, drawn, slots=world.settings.tweets_per_visit, oldest=oldest)
        reactions = react(world, impressions.user, impressions.tweet, impressions.time_s, world.rng(_REACTIONS, step))
        impressions = Impressions(
            impressions.request, impressions.user, impressions.tweet, impressions.position, impressions.time_s, reactions.label
        )
        engaged_at = impressions.time_s[reactions.impression] + reactions.delay_s
        self.log.append(impressions, Engagements(reactions.impression, reactions.kind, engaged_at))
        return impressions

    def _retrieved(self, visits: Visits, towers: Sequence[Tunable], arm: Ints, alive: Ints, start_s: float) -> Ints:
        encoder = self.log.encoder()
        candidates = encoder.candidates(alive, np.full(len(alive), start_s))
        queries = encoder.queries(visits.user, visits.time_s).ids
        drawn = np.empty((len(visits), min(CANDIDATES, len(alive))), np.int64)
        for number, of_arm in enumerate(towers):
            model, rows = TorchEmbedder(of_arm), arm == number
            vectors = model.embed_candidates(candidates)
            drawn[rows] = alive[nearest(model.embed_queries(queries[rows]), vectors, CANDIDATES, metric=model.metric)]
        return drawn

    def _ranked(self, drawn: Ints, visits: Visits, step: int, noise: float) -> Ints:
        p = np.clip(self._world.probability(visits.user[:, None], drawn, visits.time_s[:, None]), 1e-12, 1 - 1e-12)
        scores = np.log(p) - np.log1p(-p) + noise * self._world.rng(_RANKER, step).standard_normal(p.shape)
        return np.take_along_axis(drawn, np.argsort(-scores, axis=1, kind="stable"), axis=1)

    def _explored(self, drawn: Ints, alive: Ints, slots: Ints, step: int) -> Ints:
        """Put as many at random as each visit explores before what was drawn for it."""
        anything = self._world.rng(_EXPLORED, step).choice(alive, (len(drawn), int(slots.max(initial=0))))
        anything[np.arange(anything.shape[1]) >= slots[:, None]] = MISSING
        return np.concatenate([anything, drawn], axis=1)
