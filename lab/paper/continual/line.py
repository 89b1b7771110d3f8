"""One line of towers: it serves, is shown what came of it, and is tuned on that. Compares no lines."""

from dataclasses import dataclass, replace

import numpy as np

from lab.observed.columns import Ints
from lab.observed.log import Impressions, Truth
from lab.paper.ab_test import CANDIDATES
from lab.paper.continual.feed import Feed, Past
from lab.paper.continual.gated import Candidate, Window, judge, profile, tuned
from lab.paper.continual.served_log import ServedLog
from lab.paper.continual.thermometer import effective_share
from lab.paper.encode import LogEncoder
from lab.paper.evaluate import served_scores
from lab.paper.truth import MISSING, true_engagement_at
from lab.world.policy import Visits
from lab.world.settings import DAY_S
from lab.world.world import World
from trainer.data.columns import NO_LANGUAGE, POSITIVE
from trainer.gates import lacks_examples
from trainer.ladder import climb
from trainer.learning.ensemble import Tunable
from trainer.learning.towers import TorchEmbedder
from trainer.metrics import language_mismatch, nearest, roc_auc
from trainer.recipes import FinetuneConfig, attempts
from trainer.settings import TrainerSettings
from trainer.training import LAST_WINDOWS

EVALUATION_SHARE: float = TrainerSettings.model_fields["evaluation_share"].default


@dataclass(frozen=True, slots=True)
class Arm:
    """How a line goes on.

    Attributes:
        tuning: after every day; None stays as it is.
        gated: whether what the gates refuse is left out. Where not, their verdicts are only written down.
        drift_replay: as in `trainer.schedule.Plan`.
        ensemble: it begins with an ensemble in place of pre-trained towers, trained and fine-tuned on the same days.
    """

    name: str
    tuning: FinetuneConfig | None = None
    gated: bool = True
    drift_replay: float = 0.0
    ensemble: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """One day of a line, by the towers that were live on it: see `lab.paper.evaluate.Evaluation` and `thermometer`."""

    auc: float
    language_mismatch: float
    engagement_at_10: float
    engagement_at_200: float
    effective_share: float


class Line:
    """Towers, and the history they made."""

    def __init__(self, arm: Arm, past: Past, *, ranker_noise: float | None) -> None:
        """Go on from a common past: log and what was shown are copied.

        Args:
            ranker_noise: see `ContinualSettings`.
        """
        self.arm = arm
        self.towers = self._anchor = past.towers
        self._world = past.world
        self._feed = Feed(past, ranker_noise=ranker_noise)
        self._profiles = list(past.profiles)
        self._today: list[Impressions] = []

    @property
    def log(self) -> ServedLog:
        """What this line's users were shown and did."""
        return self._feed.log

    def serve(self, visits: Visits, start_s: float, step: int) -> None:
        """Answer a step's visits, and let the users react: see `Feed.answer`."""
        everybody = np.zeros(len(visits), np.int64)
        self._today.append(self._feed.answer(visits, [self.towers], everybody, start_s=start_s, step=step))

    def measure(self, truth: Truth) -> Measured:
        """Measure the day that ends at the truth's time, before anything is learned from it."""
        today = Impressions.joined(self._today)
        encoder, rows = self.log.window()
        examples = encoder.examples(rows[len(rows) - len(today) :])
        served = examples.take(examples.implicit)
        model = TorchEmbedder(self.towers)
        queries = encoder.queries(truth.user, np.full(len(truth.user), truth.time_s))
        corpus = encoder.corpus(truth.tweet, np.full(len(truth.tweet), truth.time_s))
        lists = nearest(
            model.embed_queries(queries.ids), model.embed_candidates(corpus.candidate_ids), CANDIDATES, metric=model.metric
        )
        possible = self._world.tweets.alive_within(truth.time_s - DAY_S, truth.time_s)
        self._today = []
        return Measured(
            auc=roc_auc(served_scores(model, served), served.labels == POSITIVE),
            language_mismatch=language_mismatch(_top_languages(lists, corpus.languages), queries.languages),
            engagement_at_10=float(true_engagement_at(truth, lists, 10).mean()),
            engagement_at_200=float(true_engagement_at(truth, lists, CANDIDATES).mean()),
            effective_share=effective_share(today.tweet, len(possible)),
        )

    def learn(self, now_s: float, *, seed: int) -> Candidate | None:
        """Tune on the window, its newest share held out, and go on with what came of it where the arm says so.

        Returns:
            The new towers and the verdicts on them; None for a frozen line.
        """
        if self.arm.tuning is None:
            self.log.forget(self.log.untrained)
            return None
        window, trained = cut(self.log, self._world, now_s)
        tuning, last = self.arm.tuning, self._profiles[-LAST_WINDOWS:]

        def tune(attempt: FinetuneConfig) -> tuple[Tunable, None]:
            return tuned(self.towers, window, attempt, seed=seed), None

        def judged(towers: Tunable, *, against_live: bool) -> Candidate:
            return judge(towers, self.towers, window, tuning.limits, anchor=self._anchor, against_live=against_live, last=last)

        # as the schedule does
        made = climb(attempts(tuning, drift_replay=self.arm.drift_replay), tune=tune, judge=judged, base=lambda: self._anchor)
        candidate = replace(made.judged, again=made.again, share=made.share)
        accepted = not (self.arm.gated and candidate.refused_by)
        if accepted:
            self.towers = candidate.towers
            self._profiles.append(window.profile)
        # as the schedule does: what was refused is passed over, unless there was too little of it
        if accepted or not lacks_examples(candidate.gates):
            self.log.forget(trained)
        return candidate


def cut(log: ServedLog, world: World, now_s: float) -> tuple[Window, int]:
    """Return what can be trained on at a time, and how many impressions of the log's window that is without the held-out ones."""
    encoder, rows = log.window()
    trained = len(rows) - round(len(rows) * EVALUATION_SHARE)
    alive = world.tweets.alive(now_s)
    train = encoder.examples(rows[:trained])
    return (
        Window(
            train,
            encoder.examples(rows[trained:]),
            # as of now, as the schedule reads it
            encoder.corpus(alive, np.full(len(alive), now_s)),
            profile(train, _languages(encoder, rows[:trained])),
        ),
        trained,
    )


def _languages(encoder: LogEncoder, rows: Ints) -> list[str]:
    log = encoder.log
    return [log.names.languages[number] for number in log.tweets.language[log.impressions.tweet[rows]].tolist()]


def _top_languages(
    lists: Ints, languages: np.ndarray[tuple[int], np.dtype[np.int32]]
) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    if not lists.shape[1]:
        return np.full(len(lists), NO_LANGUAGE, np.int32)
    return np.where(lists[:, 0] == MISSING, NO_LANGUAGE, languages[lists[:, 0]]).astype(np.int32)
