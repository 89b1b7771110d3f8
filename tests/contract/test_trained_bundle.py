"""What the trainer publishes is what every online role loads: torch's towers, through files, are ONNX Runtime's."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.bundle import read_bundle
from schemas.errors import BundleCorrupt, BundleMismatch
from schemas.features.catalog import TWEET
from schemas.manifest import Metric
from schemas.towers import Towers
from tests.bundles import published
from tests.tiny_world import tiny_world
from trainer.export import ARCHITECTURE, WEIGHTS, export, unpack_towers
from trainer.learning.towers import TowerConfig, TwoTowers
from trainer.registry import Origin, entries, publish, show, verify

SURFACE = "home-timeline"
ORIGIN = Origin(recipe="pretrain", code_version="test", created_ms=1_700_000_000_000, seeds={"towers": 5})


@pytest.fixture(scope="module")
def towers() -> TwoTowers:
    """Towers of the shape that bundles of the shipped surfaces have."""
    torch.set_num_threads(1)
    return TwoTowers(TWEET, TowerConfig(), seed=5)


@pytest.fixture(scope="module")
def registry(towers: TwoTowers, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A registry with one published bundle."""
    root = tmp_path_factory.mktemp("registry")
    return root, publish(root, export(towers), surface=SURFACE, spec=TWEET, origin=ORIGIN)


def test_a_published_bundle_yields_the_vectors_torch_yields(towers: TwoTowers, registry: tuple[Path, str]) -> None:
    """From raw features to vectors, by both ways, for real records, empty ones, and a batch of one."""
    loaded = Towers(read_bundle(registry[0], SURFACE, registry[1]))
    world = tiny_world(users=30, tweets=60, impressions=90)
    queries = [type(world.examples[0].query)(), *(example.query for example in world.examples)]
    candidates = [features for candidate in world.corpus if (features := candidate.features())]
    with torch.no_grad():
        query_vectors = towers.embed_queries(torch.from_numpy(TWEET.encode_queries(queries))).numpy()
        candidate_vectors = towers.embed_candidates(torch.from_numpy(TWEET.encode_candidates(candidates))).numpy()
    assert np.abs(loaded.embed_queries(queries) - query_vectors).max() < 1e-5
    assert np.abs(loaded.embed_candidates(candidates) - candidate_vectors).max() < 1e-5
    assert np.abs(loaded.embed_queries(queries[:1]) - query_vectors[:1]).max() < 1e-5
    assert np.allclose(np.linalg.norm(loaded.embed_candidates(candidates), axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("metric", ["inner_product", "euclidean"])
def test_towers_of_another_metric_are_published_loaded_and_refused_by_an_index(metric: Metric, tmp_path: Path) -> None:
    """They can be evaluated and compared; an index that ranked them by cosine would be wrong in silence."""
    towers = TwoTowers(TWEET, TowerConfig(dim=32, hidden=(16,), metric=metric), seed=5)
    bundle = read_bundle(tmp_path, SURFACE, publish(tmp_path, export(towers), surface=SURFACE, spec=TWEET, origin=ORIGIN))
    assert bundle.manifest.metric == metric == unpack_towers(bundle).config.metric
    queries = [example.query for example in tiny_world(users=30, tweets=60, impressions=90).examples]
    with torch.no_grad():
        expected = towers.embed_queries(torch.from_numpy(TWEET.encode_queries(queries))).numpy()
    assert np.abs(Towers(bundle).embed_queries(queries) - expected).max() < 1e-5
    with pytest.raises(BundleMismatch, match=f"compares vectors by {metric}, and an index ranks by cosine"):
        bundle.manifest.check_indexed(bundle.id)


def test_a_bundle_carries_the_weights_a_fine_tune_starts_from(towers: TwoTowers, registry: tuple[Path, str]) -> None:
    """Bit for bit: continuing from a published bundle is continuing from the towers that were trained."""
    again = unpack_towers(read_bundle(registry[0], SURFACE, registry[1]))
    assert again.config == towers.config
    weights = towers.weights()
    assert all(np.array_equal(value, weights[name]) for name, value in again.weights().items())


def test_the_registry_lists_shows_and_verifies(registry: tuple[Path, str], tmp_path: Path) -> None:
    """And says what is wrong with a bundle whose bytes were altered, instead of leaving it out or failing for all."""
    root, bundle = registry
    assert [entry.id for entry in entries(root, SURFACE)] == [bundle]
    assert show(root, SURFACE, bundle).recipe == "pretrain"
    assert verify(root, SURFACE, bundle).id == bundle
    assert entries(root, "movies") == []
    broken = published(tmp_path, seed=4)
    (tmp_path / SURFACE / broken.id / "query.onnx").write_bytes(b"not what was published")
    (entry,) = entries(tmp_path, SURFACE)
    assert entry.manifest is None
    assert "SHA-256" in entry.error
    with pytest.raises(BundleCorrupt):
        verify(tmp_path, SURFACE, broken.id)


def test_a_bundle_without_weights_can_be_served_but_not_fine_tuned(tmp_path: Path) -> None:
    """One made elsewhere is refused with the way out, not with a KeyError."""
    with pytest.raises(BundleMismatch, match="pre-train anew"):
        unpack_towers(published(tmp_path))


def test_weights_are_never_unpickled(registry: tuple[Path, str]) -> None:
    """A pickle runs code when it is read: an object array in the archive is refused."""
    bundle = read_bundle(registry[0], SURFACE, registry[1])
    import io

    buffer = io.BytesIO()
    np.savez(buffer, table=np.array([{"a": 1}], dtype=object))
    evil = type(bundle)(bundle.id, bundle.manifest, {**bundle.files, WEIGHTS: buffer.getvalue()})
    with pytest.raises(BundleCorrupt, match="cannot be read"):
        unpack_towers(evil)
    other = {**bundle.files, ARCHITECTURE: json.dumps({"dim": 64, "hidden": [64], "embedding_dim": 16}).encode()}
    with pytest.raises(BundleMismatch):
        unpack_towers(type(bundle)(bundle.id, bundle.manifest, other))
