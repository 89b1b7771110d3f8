"""Pairs of towers joined as one, and fitted as one training."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import BundleMismatch
from schemas.features.catalog import TWEET
from tests.cut_off import CutOff, Cutting
from tests.unit.trainer.conftest import Encoded
from trainer.learning.checkpoint import Checkpoint
from trainer.learning.ensemble import Ensemble, EnsembleShape
from trainer.learning.ensemble_fit import EnsembleFit, Part, fit_ensemble
from trainer.learning.fit import FitConfig, FitProgress
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective
from trainer.learning.towers import TorchEmbedder, TowerConfig, TwoTowers
from trainer.recipes import FinetuneConfig

CONFIG = EnsembleFit(
    (
        Part("implicit", 0.75, FitConfig((Objective(negatives=Negatives("implicit")),), 1e-3, epochs=2, batch_size=64)),
        Part("random", 0.25, FitConfig((Objective(negatives=Negatives("uniform", 8)),), 1e-3, epochs=3, batch_size=32)),
    )
)


def test_an_ensembles_cosines_are_the_weighted_mean_of_its_parts_times_one_factor(
    small: Encoded, small_towers: TowerConfig
) -> None:
    """With as many dimensions as its parts have together, and two that keep the length, nothing is lost."""
    parts = [TwoTowers(TWEET, replace(small_towers, dim=6), seed=seed) for seed in (1, 2)]
    ensemble = Ensemble(parts, 14)
    ensemble.join([0.75, 0.25], small.train, small.corpus, seed=0)
    queries, candidates = small.train.queries.ids, small.corpus.candidate_ids
    embedded = [
        (one.embed_queries(queries), one.embed_candidates(candidates))
        for one in (TorchEmbedder(ensemble), *map(TorchEmbedder, parts))
    ]
    for vectors in embedded[0]:
        assert vectors.shape[1] == 14
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    cosines, first, second = (query @ candidate.T for query, candidate in embedded)
    mean = 0.75 * first + 0.25 * second
    assert cosines * (mean.std() / cosines.std()) == pytest.approx(mean, abs=1e-3)


@pytest.mark.parametrize("weights", [[0.7, 0.7], [1.2, -0.2], [1.0, 0.0]])
def test_weights_under_which_vectors_have_another_length_are_refused(weights: list[float], small: Encoded) -> None:
    """An index of unit vectors would rank them wrongly, and nobody would see it."""
    ensemble = Ensemble.untrained(TWEET, EnsembleShape(TowerConfig(dim=8), 2, 8), seed=0)
    with pytest.raises(ValueError, match="add up to 1"):
        ensemble.join(weights, small.train, small.corpus, seed=0)


def test_a_shape_reads_back_and_one_of_parts_without_length_1_is_refused() -> None:
    """The mean of cosines is one of inner products only where each part's vectors have length 1."""
    shape = EnsembleShape(TowerConfig(dim=8, hidden=(16, 8)), 2, 12)
    assert EnsembleShape.from_json(json.loads(json.dumps(shape.to_json()))) == shape
    with pytest.raises(BundleMismatch, match="shape cannot be read"):
        EnsembleShape.from_json({**shape.to_json(), "heads": 2})
    with pytest.raises(ValueError, match="by cosine, not by euclidean"):
        EnsembleShape(TowerConfig(metric="euclidean"), 2, 12)


def test_an_ensemble_whose_training_was_cut_off_goes_on_in_the_part_it_was_in_to_the_same_bytes(
    small: Encoded, small_towers: TowerConfig, tmp_path: Path
) -> None:
    """Within the first part, between the two, and within the second: nothing that had ended is trained again."""
    shape = EnsembleShape(small_towers, 2, small_towers.dim)

    def trained(progress: list[FitProgress], kind: type[Checkpoint] = Checkpoint) -> tuple[Ensemble, int]:
        ensemble = Ensemble.untrained(TWEET, shape, seed=1)
        checkpoint = kind.at(tmp_path, "a" * 64, every_s=0.0).of_inputs("these")
        report = fit_ensemble(ensemble, small.train, small.corpus, CONFIG, on_step=progress.append, checkpoint=checkpoint)
        return ensemble, report.steps

    whole: list[FitProgress] = []
    expected, steps = trained(whole)
    first = whole[-1].steps - 3 * -(-len(small.train.positives) // 32)
    assert [at.step for at in whole] == list(range(1, steps + 1)), "one bar for all parts"
    assert {at.steps for at in whole} == {steps}
    assert 1 < first < steps
    Checkpoint.at(tmp_path, "a" * 64, every_s=0.0).remove()
    # the state after a part's last step is followed by one of its end
    begun = 0
    for states, until in ((2, 2), (first - 1, first), (3, first + 3)):
        Cutting.left = states
        told: list[FitProgress] = []
        with pytest.raises(CutOff):
            trained(told, Cutting)
        assert told[0].step == begun + 1
        assert told[-1].step == until
        begun = until
    told = []
    again, steps_again = trained(told)
    assert told[0].step == begun + 1
    assert steps_again == steps
    for name, weights in again.state_dict().items():
        assert weights.numpy().tobytes() == expected.state_dict()[name].numpy().tobytes(), name


def test_a_fine_tune_moves_every_part_and_leaves_the_heads_cut_off_or_not(
    small: Encoded, small_towers: TowerConfig, tmp_path: Path
) -> None:
    """Other heads would turn all vectors: between two such ensembles nothing lies that a line could be drawn back to."""
    fitted = Ensemble.untrained(TWEET, EnsembleShape(small_towers, 2, small_towers.dim), seed=1)
    fit_ensemble(fitted, small.train, small.corpus, CONFIG)
    config = FinetuneConfig(replay=1.0, batch_size=64).fit_of_parts(CONFIG.parts)
    kinds = [[objective.negatives.kind for objective in part.fit.objectives] for part in config.parts]
    assert kinds == [["implicit", "uniform"], ["uniform", "uniform"]], "each part's own, and the replay"
    assert config.parts[1].fit.objectives[0] == CONFIG.parts[1].fit.objectives[0]
    again = FinetuneConfig(replay=1.0, batch_size=64).fit_of_parts(config.parts)
    assert again == config, "a fine-tune of a fine-tune replays once"

    def tuned(told: list[FitProgress], kind: type[Checkpoint] = Checkpoint) -> dict[str, bytes]:
        ensemble = Ensemble.untrained(TWEET, fitted.config, seed=9)
        ensemble.load_weights(fitted.weights())
        checkpoint = kind.at(tmp_path, "a" * 64, every_s=0.0).of_inputs("these")
        fit_ensemble(ensemble, small.train, small.corpus, config, on_step=told.append, checkpoint=checkpoint)
        return {name: weights.tobytes() for name, weights in ensemble.weights().items()}

    whole: list[FitProgress] = []
    expected = tuned(whole)
    before = {name: weights.tobytes() for name, weights in fitted.weights().items()}
    same = {name for name in expected if expected[name] == before[name]}
    assert same == {"query.matrix", "candidate.matrix"}
    Checkpoint.at(tmp_path, "a" * 64, every_s=0.0).remove()
    told: list[FitProgress] = []
    Cutting.left = whole[-1].steps - 1
    with pytest.raises(CutOff):
        tuned(told, Cutting)
    assert tuned(told) == expected
    assert [at.step for at in told] == [at.step for at in whole], "no step is made twice"


def test_weights_of_another_ensemble_are_refused(small_towers: TowerConfig) -> None:
    """Weights that find no place must not be left behind in silence."""
    two, three = (Ensemble.untrained(TWEET, EnsembleShape(small_towers, parts, 8), seed=1) for parts in (2, 3))
    with pytest.raises(BundleMismatch, match="are not of an ensemble"):
        two.load_weights(three.weights())
