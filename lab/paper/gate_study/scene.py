"""One seed's stage: live towers, the day they served, and the truth at its end. Trains no candidate and judges none.

The live towers are the product's own, pre-trained and fine-tuned with replay as the schedule does, since those are what its gates
guard; candidates are tuned from them, on the day that their own index served, as the schedule would.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lab.observed.columns import Ints
from lab.observed.log import Truth
from lab.paper.ab_test import CANDIDATES
from lab.paper.continual.feed import Past
from lab.paper.continual.gated import Window, profile
from lab.paper.continual.line import Line, cut
from lab.paper.continual.study import FROZEN, ContinualSettings, common_past, play
from lab.paper.encode import Ids
from lab.world.settings import DAY_S
from lab.world.simulation import Simulation, truth_at
from lab.world.world import World
from trainer.data.columns import Corpus, Examples, Queries
from trainer.data.profile import WindowProfile
from trainer.evaluation import Embedder
from trainer.learning.ensemble import Tunable
from trainer.learning.towers import TorchEmbedder
from trainer.metrics import nearest


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What all candidates of a seed have in common.

    Attributes:
        live: the towers to beat.
        window: what the schedule would train on in the evening, the newest share held out.
        yesterday: what the live towers were tuned on.
        profiles: of the windows that they were trained on.
        late_ids: candidate features of the window's training and held-out rows as of the evening, not as they were served.
        item_languages: the language of every tweet, a place in `languages`.
        truth: at the end of the day.
        queries, corpus: of the truth's users and candidates.
        lists: what the live towers retrieve for them, int64 [users, 200].
    """

    live: Tunable
    window: Window
    yesterday: Window
    profiles: Sequence[WindowProfile]
    late_ids: tuple[Ids, Ids]
    item_languages: Ints
    languages: Sequence[str]
    truth: Truth
    queries: Queries
    corpus: Corpus
    lists: Ints

    def with_examples(self, train: Examples, evaluation: Examples) -> Window:
        """Return the window with other examples, its profile theirs."""
        return replace(self.window, train=train, evaluation=evaluation, profile=self.profile(train))

    def profile(self, examples: Examples) -> WindowProfile:
        """Return the profile of examples of this world."""
        return profile(examples, [self.languages[language] for language in self.item_languages[examples.items].tolist()])

    def retrieve(self, model: Embedder) -> Ints:
        """Return each test user's nearest candidates by exhaustive search, int64 [users, 200], columns of the truth."""
        queries, candidates = model.embed_queries(self.queries.ids), model.embed_candidates(self.corpus.candidate_ids)
        return nearest(queries, candidates, CANDIDATES, metric=model.metric)


def scene(seed: int, how: ContinualSettings) -> Scene:
    """Play a world to the evening of the live towers' first day; of the settings, the past's and the test users' are read."""
    simulation = Simulation(World(replace(how.world, seed=seed)))
    past = common_past(simulation, how, seed)
    line = Line(FROZEN, past, ranker_noise=how.ranker_noise)
    simulation.hand_over()
    play(simulation, [line], simulation.time_s + DAY_S)
    return _evening(past, line, simulation.time_s, how.test_users)


def _evening(past: Past, line: Line, now_s: float, test_users: int) -> Scene:
    world = past.world
    window, _ = cut(line.log, world, now_s)
    encoder = line.log.encoder()

    def late(examples: Examples) -> Ids:
        return encoder.candidates(examples.items.astype(np.int64), np.full(len(examples), now_s))

    users = np.sort(world.rng(5).permutation(len(world.users))[:test_users])
    truth = truth_at(world, users, now_s)
    made = Scene(
        live=past.towers,
        window=window,
        yesterday=past.window,
        profiles=past.profiles,
        late_ids=(late(window.train), late(window.evaluation)),
        item_languages=world.tweets.language,
        languages=encoder.log.names.languages,
        truth=truth,
        queries=encoder.queries(users, np.full(len(users), now_s)),
        corpus=encoder.corpus(truth.tweet, np.full(len(truth.tweet), now_s)),
        lists=np.zeros((0, 0), np.int64),
    )
    return replace(made, lists=made.retrieve(TorchEmbedder(past.towers)))
