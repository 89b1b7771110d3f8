"""One candidate: trained, judged by the trainer's gates as in production, and put against the live towers by what is true.

The gates get everything but the evidence of a skew audit: worlds keep columns, not records.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lab.observed.columns import Floats, Ints
from lab.observed.log import Truth
from lab.paper.ab_test import CANDIDATES, ABSettings, ab_test
from lab.paper.continual.gated import Window, judge, pretrained, tuned
from lab.paper.gate_study.scene import Scene
from lab.paper.gate_study.variants import Variant
from lab.paper.intervals import Interval, ratio_over_users
from lab.paper.table2 import NOISE
from lab.paper.truth import true_engagement_at
from schemas.bundle import Gate
from trainer.data.columns import Examples
from trainer.evaluation import Embedder
from trainer.gates import GateLimits
from trainer.learning.ensemble import Tunable
from trainer.learning.towers import TorchEmbedder, TowerConfig
from trainer.metrics import MISMATCH_OF_PLACES, nearest
from trainer.recipes import PretrainConfig
from trainer.training import LAST_WINDOWS

# by name, whether more of it is better
METRICS: Mapping[str, int] = {
    "auc": 1,
    "per_user_auc": 1,
    "sampled_auc": 1,
    "language_mismatch": -1,
    MISMATCH_OF_PLACES: -1,
    "popularity_correlation": -1,
    "canary_vectors": -1,
    "canary_shift": -1,
    "recall_at_200": 1,
}
# the others are measured here alone
GATED = ("auc", "per_user_auc", "sampled_auc", MISMATCH_OF_PLACES, "popularity_correlation", "canary_vectors", "canary_shift")


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What was said of one candidate, and what it is worth.

    Attributes:
        gates: all verdicts.
        metrics, live_metrics: by the names of `METRICS`; one that could not be measured is left out.
        outcomes: change against the live towers in percent, with intervals over users, see `outcomes_of`.
    """

    gates: tuple[Gate, ...]
    metrics: Mapping[str, float]
    live_metrics: Mapping[str, float]
    outcomes: Mapping[str, Interval]


def judged(variant: Variant, scene: Scene, shape: TowerConfig, *, seed: int) -> Judged:
    """Train one variant on a scene and judge it.

    Args:
        shape: of towers that are trained from scratch.
        seed: of the training, and of what is drawn for a damage.

    Raises:
        Refused: the fit found nothing to learn from, or diverged.
    """
    data = variant.data(scene, np.random.default_rng(seed))
    towers = _trained(variant, scene, data.training, shape, seed=seed)
    window = data.window
    # the live towers came of their line's first fine-tune: they are the anchor too
    found = judge(towers, scene.live, window, GateLimits(), anchor=scene.live, last=scene.profiles[-LAST_WINDOWS:])
    model = TorchEmbedder(towers)
    metrics, live = dict(found.metrics), dict(found.live_metrics)
    metrics["canary_vectors"] = next(gate.value for gate in found.gates if gate.name == "canary_vectors")
    live["canary_vectors"], live["canary_shift"] = 0.0, 0.0
    for figures, one in ((metrics, model), (live, TorchEmbedder(scene.live))):
        figures["recall_at_200"] = recall(one, window.evaluation, window)
    return Judged(
        found.gates,
        {name: metrics[name] for name in METRICS if name in metrics and np.isfinite(metrics[name])},
        {name: live[name] for name in METRICS if name in live and np.isfinite(live[name])},
        outcomes_of(scene.truth, scene.retrieve(model), scene.lists),
    )


def outcomes_of(truth: Truth, lists: Ints, live: Ints) -> dict[str, Interval]:
    """Return a candidate's lists, int64 [users, 200], against the live towers', by name, in percent.

    ab_favorite_pct, ab_retweet_pct: Table 2's experiment under an oracle ranker; noisy_…: under the ranker that served the day.
    engagement_at_10, engagement_at_200: true engagement of what is retrieved, without a ranker.
    """
    exact = ab_test(truth, lists, live)
    noisy = ab_test(truth, lists, live, ABSettings(ranker_noise=NOISE))
    return {
        "ab_favorite_pct": exact.favorite_pct,
        "ab_retweet_pct": exact.retweet_pct,
        "noisy_favorite_pct": noisy.favorite_pct,
        "noisy_retweet_pct": noisy.retweet_pct,
        **{f"engagement_at_{k}_pct": _change(truth, lists, live, k) for k in (10, CANDIDATES)},
    }


def recall(model: Embedder, held_out: Examples, window: Window) -> float:
    """Return the share of held-out positives that their query's 200 nearest hold; NaN of none.

    Left out are positives whose candidate can be retrieved no more.
    """
    rows = held_out.positives
    rows = rows[np.isin(held_out.items[rows], window.corpus.items)]
    if not len(rows):
        return float("nan")
    queries, place = np.unique(held_out.query[rows], return_inverse=True)
    best = nearest(
        model.embed_queries(held_out.queries.ids[queries]),
        model.embed_candidates(window.corpus.candidate_ids),
        CANDIDATES,
        metric=model.metric,
    )
    return float((window.corpus.items[best][place] == held_out.items[rows][:, None]).any(axis=1).mean())


def _trained(variant: Variant, scene: Scene, window: Window, shape: TowerConfig, *, seed: int) -> Tunable:
    if not isinstance(variant.config, PretrainConfig):
        return tuned(scene.live, window, variant.config, seed=seed)
    towers = pretrained(window, scene.live.spec, shape, variant.config, seed=seed)
    return towers if variant.then is None else tuned(towers, window, variant.then, seed=seed)


def _change(truth: Truth, lists: Ints, live: Ints, k: int) -> Interval:
    ours, theirs = (true_engagement_at(truth, one, k) for one in (lists, live))
    change: Floats = ours - theirs
    found = ratio_over_users(change, theirs)
    return Interval(100 * found.value, 100 * found.low, 100 * found.high)
