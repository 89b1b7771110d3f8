"""The bundles that tests use are real: read, verified and run by the product's own code."""

from pathlib import Path

import numpy as np

from schemas.records.candidates import CandidateFeatures, Counters
from schemas.towers import Towers
from tests.bundles import publish_bundle, published


def test_a_test_bundle_loads_and_embeds(tmp_path: Path) -> None:
    """A fixture that the product refused would make every test that uses it prove nothing."""
    towers = Towers(published(tmp_path, dim=32))
    quiet = CandidateFeatures("u:1", "en", "", ("cats",), 10, Counters())
    loud = CandidateFeatures("u:1", "en", "", ("cats",), 10, Counters(favorite=500))
    vectors = towers.embed_candidates([quiet, loud])
    assert vectors.shape == (2, 32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert not np.allclose(vectors[0], vectors[1])


def test_the_same_arguments_publish_the_same_bundle(tmp_path: Path) -> None:
    """Tests in two processes must agree on a bundle's id."""
    assert publish_bundle(tmp_path / "a", seed=3) == publish_bundle(tmp_path / "b", seed=3)
    assert publish_bundle(tmp_path / "a", seed=3) != publish_bundle(tmp_path / "a", seed=4)
