"""Export: the graph is the towers, or nothing is written."""

import numpy as np
import onnx
import pytest
import torch

from schemas.bundle import CANDIDATE_TOWER, QUERY_TOWER
from schemas.features.catalog import TWEET
from schemas.manifest import Metric
from tests.unit.trainer.conftest import Encoded
from trainer.export import NotAtParity, export, parity_rows
from trainer.learning.ensemble import Ensemble, EnsembleShape
from trainer.learning.towers import TowerConfig, TwoTowers


@pytest.fixture(scope="module")
def towers() -> TwoTowers:
    """Untrained towers, which are as good as any to export."""
    return TwoTowers(TWEET, TowerConfig(), seed=3)


def test_equal_towers_become_equal_files_that_tell_nothing_of_this_machine(towers: TwoTowers) -> None:
    """Lineage compares tower hashes; a path of the training machine in a published file is nobody's business."""
    first, second = export(towers), export(towers)
    assert first.files == second.files
    assert first.max_difference < 1e-5
    for name in (QUERY_TOWER, CANDIDATE_TOWER):
        onnx.checker.check_model(onnx.load_from_string(first.files[name]))
        assert b"/" + b"trainer" not in first.files[name]
        assert b".py" not in first.files[name]


@pytest.mark.parametrize("metric", ["inner_product", "euclidean"])
def test_towers_of_every_metric_are_exported_for_the_one_that_an_index_has(metric: Metric) -> None:
    """What differs between metrics ends here: manifest, gates and index know vectors of length 1 and cosines."""
    # as in test_trained_bundle: the exporter takes seconds for each shape, once a process
    config = TowerConfig(embedding_dim=8, hidden=(32,), metric=metric).of_served_dim(32)
    exported = export(TwoTowers(TWEET, config, seed=3))
    assert exported.metric == "cosine"
    assert exported.max_difference < 1e-5
    for vectors in (exported.canary.query_vectors, exported.canary.candidate_vectors):
        assert np.shape(vectors)[1] == 32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_an_ensemble_is_one_graph_a_side_whatever_its_rows_are_like(small: Encoded) -> None:
    """Where nothing is missing to length 1 the root of it would be one of rounding errors; rows unlike the sample get there."""
    towers = Ensemble.untrained(TWEET, EnsembleShape(TowerConfig(dim=24, hidden=(32,)), parts=3, dim=16), seed=3)
    towers.join([0.6, 0.2, 0.2], small.train, small.corpus, seed=0)
    for head in (towers.query, towers.candidate):
        head.matrix *= 10.0
    exported = export(towers)
    assert exported.max_difference < 1e-5
    assert export(towers).files == exported.files
    for vectors in (exported.canary.query_vectors, exported.canary.candidate_vectors):
        assert np.shape(vectors)[1] == 16
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_an_earlier_bundles_graph_with_new_weights_is_what_the_exporter_would_make(towers: TwoTowers) -> None:
    """A fine-tune reuses its parent's graph: milliseconds instead of seconds of a busy machine, and the same bytes."""
    other = TwoTowers(TWEET, TowerConfig(), seed=9)
    assert export(other, graphs=export(towers).files).files == export(other).files
    assert export(other).files != export(towers).files


def test_a_graph_of_another_architecture_is_refused(towers: TwoTowers) -> None:
    """Weights that find no place must not be left behind in silence."""
    with pytest.raises(NotAtParity, match="no place for"):
        export(TwoTowers(TWEET, TowerConfig(hidden=(64,)), seed=0), graphs=export(towers).files)


def test_a_graph_is_of_the_operator_set_that_is_pinned(towers: TwoTowers) -> None:
    """Nodes of another onnxruntime read what they know; the exporter's own choice would change with torch."""
    for name in (QUERY_TOWER, CANDIDATE_TOWER):
        assert {one.domain: one.version for one in onnx.load_from_string(export(towers).files[name]).opset_import} == {"": 18}


def test_parity_rows_hold_the_edges() -> None:
    """All padding, and the last id of every field: an offset wrong by one would read another table's rows."""
    rows = parity_rows(TWEET, "candidate", seed=0)
    assert not rows[0].any()
    assert rows[1].tolist() == [field.buckets for field in TWEET.candidate for _ in range(field.slots)]


def test_towers_with_nan_weights_are_not_exported() -> None:
    """NaN compares unequal to everything, so a careless parity check would let it pass."""
    broken = TwoTowers(TWEET, TowerConfig(), seed=0)
    with torch.no_grad():
        broken.table[1:] = float("nan")
    with pytest.raises(NotAtParity, match="nothing was written"):
        export(broken)


def test_canary_vectors_are_finite_and_include_the_row_of_padding(towers: TwoTowers) -> None:
    """Whoever loads the bundle runs these first."""
    canary = export(towers).canary
    assert np.isfinite(canary.query_vectors).all()
    assert not np.any(canary.query_ids[0])
