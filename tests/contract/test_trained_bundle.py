"""What the trainer publishes is what every online role loads: torch's towers, through files, are ONNX Runtime's."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.bundle import list_bundles, read_bundle
from schemas.errors import BundleCorrupt, BundleMismatch
from schemas.features.catalog import CATALOG, TWEET
from schemas.features.spec import Field
from schemas.manifest import Metric
from schemas.records.candidates import Counters
from schemas.records.feedback import Label
from schemas.surfaces import load_surfaces
from schemas.towers import Towers
from serving.index import CompressedConfig, GraphConfig, IndexConfig, LiveIndex
from tests.bundles import published
from tests.numbered_rows import numbered_rows
from tests.tiny_world import tiny_world
from trainer.data.columns import Encoder
from trainer.export import ARCHITECTURE, WEIGHTS, export, pack, unpack_towers
from trainer.gates import GateLimits
from trainer.learning.fit import FitConfig, fit
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective
from trainer.learning.towers import TorchEmbedder, TowerConfig, TwoTowers
from trainer.metrics import ranking_scores
from trainer.recipes import PretrainConfig, pretrain
from trainer.registry import Origin, publish
from trainer.training import TrainingData

SURFACE = "home-timeline"
ANY = GateLimits(min_auc=0.0, min_sampled_auc=0.0, max_language_mismatch=1.0)
K = 50
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


@pytest.mark.parametrize("metric", ["cosine", "inner_product", "euclidean"])
def test_a_trained_bundle_of_any_similarity_is_served_in_its_order(metric: Metric, tmp_path: Path) -> None:
    """Trained, published, loaded by the online runtime and put into a live index, whose tiers all rank by cosine."""
    world = tiny_world(users=60, tweets=4_000, impressions=3_000)
    encoder = Encoder(TWEET)
    examples, corpus = encoder.examples(world.examples), encoder.corpus(world.corpus)
    towers = TwoTowers(TWEET, TowerConfig(embedding_dim=8, hidden=(32,), metric=metric).of_served_dim(32), seed=5)
    fit(towers, examples, corpus, FitConfig((Objective(negatives=Negatives("uniform", 4)),), 3e-3, epochs=3))
    bundle = read_bundle(tmp_path, SURFACE, publish(tmp_path, export(towers), surface=SURFACE, spec=TWEET, origin=ORIGIN))
    bundle.manifest.check_indexed(bundle.id)
    assert unpack_towers(bundle).config == towers.config
    served = Towers(bundle)
    features = [told for candidate in world.corpus if (told := candidate.features())]
    queries = list({example.user_id: example.query for example in world.examples}.values())
    vectors = served.embed_candidates(features)
    codes = _index(vectors, compressed=CompressedConfig(train_from_rows=500), graph=None)
    graph = _index(vectors, compressed=None, graph=GraphConfig(build_from_rows=500))
    as_trained = TorchEmbedder(towers)
    similarities = ranking_scores(
        as_trained.embed_queries(TWEET.encode_queries(queries)), as_trained.embed_candidates(corpus.candidate_ids), metric
    )
    found = {codes: 0, graph: 0}
    for similar, vector in zip(similarities, served.embed_queries(queries), strict=True):
        best = np.sort(similar)[::-1][:K]
        exact = [int(name[2:]) for name in codes.search_exact(vector, K).candidate_ids]
        # two that torch's last bit does not tell apart may change places
        assert similar[exact] == pytest.approx(best, abs=1e-5)
        for index in found:
            found[index] += len(set(exact) & {int(name[2:]) for name in index.search(vector, K).candidate_ids})
    for index, plan in ((codes, "searches_codes"), (graph, "searches_graph")):
        assert [name for name in index.stats().counters if name.startswith("searches_")] == [plan]
        assert found[index] >= 0.98 * K * len(queries), f"recall {found[index] / K / len(queries):.3f} of {plan}"


def test_a_feature_is_added_in_the_spec_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalog names one field more: encoded, trained, exported and served by the recipe and the runtime as they are."""
    wider = replace(TWEET, candidate=(*TWEET.candidate, Field("show_less", "counters.show_less", "log", 24)))
    monkeypatch.setitem(CATALOG, TWEET.name, wider)
    world = tiny_world(users=60, tweets=200, impressions=1_000)
    # engaged with where nobody asked for less of it: nothing but the new field tells
    rows = [
        replace(one, candidate=replace(one.candidate, counters=Counters(show_less=0 if one.label == Label.POSITIVE else 500)))
        for one in world.examples
    ]
    data = TrainingData(rows[:800], rows[800:], world.corpus, {"0": (0, 800)})
    surface = load_surfaces()[SURFACE]
    config = PretrainConfig(
        objectives=(Objective(negatives=Negatives("implicit", 1)),), learning_rate=0.01, epochs=1, min_steps=20, limits=ANY
    )
    bundle = read_bundle(tmp_path, SURFACE, pretrain(surface, data, config, registry=tmp_path))
    served, query, seen = Towers(bundle), rows[0].query, rows[0].candidate
    liked, disliked = (replace(seen, counters=Counters(show_less=count)) for count in (0, 500))
    assert bundle.manifest.feature_spec == wider
    near, far = served.embed_candidates([liked, disliked]) @ served.embed_queries([query])[0]
    assert near > far + 0.1


def _index(vectors: np.ndarray, *, compressed: CompressedConfig | None, graph: GraphConfig | None) -> LiveIndex:
    """A settled index of one tier, in which an exact scan costs too much."""
    config = IndexConfig(compressed=compressed, graph=graph, fresh_rows=256, background=False, exact_us_per_row=1.0)
    index = LiveIndex(vectors.shape[1], config)
    index.upsert(numbered_rows(vectors))
    index.maintain()
    return index


def test_a_bundle_that_an_older_release_made_for_another_metric_is_not_tuned_on(tmp_path: Path) -> None:
    """Its towers' vectors were of any length: tuned on inside the unit ball, they would be other towers."""
    bundle = published(tmp_path, metric="inner_product")
    config = json.dumps(TowerConfig(metric="inner_product").to_json()).encode()
    weights = pack(TwoTowers(TWEET, TowerConfig(metric="inner_product"), seed=0))[WEIGHTS]
    old = replace(bundle, files={**bundle.files, WEIGHTS: weights, ARCHITECTURE: config})
    with pytest.raises(BundleMismatch, match="pre-train anew"):
        unpack_towers(old)


def test_a_bundle_carries_the_weights_a_fine_tune_starts_from(towers: TwoTowers, registry: tuple[Path, str]) -> None:
    """Bit for bit: continuing from a published bundle is continuing from the towers that were trained."""
    again = unpack_towers(read_bundle(registry[0], SURFACE, registry[1]))
    assert again.config == towers.config
    weights = towers.weights()
    assert all(np.array_equal(value, weights[name]) for name, value in again.weights().items())


def test_what_was_published_is_listed_and_one_altered_byte_is_told(registry: tuple[Path, str], tmp_path: Path) -> None:
    """A bundle whose bytes were altered stays in the list, and is never taken for what was published."""
    root, bundle = registry
    assert list_bundles(root, SURFACE) == [bundle]
    assert read_bundle(root, SURFACE, bundle).manifest.recipe == "pretrain"
    assert list_bundles(root, "movies") == []
    broken = published(tmp_path, seed=4)
    (tmp_path / SURFACE / broken.id / "query.onnx").write_bytes(b"not what was published")
    assert list_bundles(tmp_path, SURFACE) == [broken.id]
    with pytest.raises(BundleCorrupt, match="SHA-256"):
        read_bundle(tmp_path, SURFACE, broken.id)


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
