"""Pre-train and fine-tune, from records to a published bundle."""

from dataclasses import replace
from pathlib import Path

import pytest

from schemas.bundle import CANDIDATE_TOWER, QUERY_TOWER, list_bundles, read_bundle
from schemas.errors import BundleCorrupt, Refused
from schemas.features.catalog import TWEET
from schemas.features.spec import FeatureSpec
from schemas.records.feedback import Label
from schemas.records.users import QueryFeatures
from schemas.surfaces import Surface, load_surfaces
from schemas.towers import Towers
from tests.bundles import publish_bundle
from tests.tiny_world import tiny_world
from trainer.data.profile import last_profiles, profile_of
from trainer.gates import GateLimits
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective
from trainer.recipes import FINETUNE, PRETRAIN, FinetuneConfig, PretrainConfig, finetune, pretrain
from trainer.training import TrainingData

SURFACE: Surface = replace(load_surfaces()["home-timeline"], dim=64)
WORLD = tiny_world(users=120, tweets=300, impressions=3_000)
FIRST = TrainingData(WORLD.examples[:1_200], WORLD.examples[1_200:1_600], WORLD.corpus, {"0": (0, 1_200)})
FRESH = TrainingData(WORLD.examples[1_200:2_400], WORLD.examples[2_400:], WORLD.corpus, {"0": (1_200, 2_400)})
QUICK = PretrainConfig(epochs=3, min_steps=60, objectives=(Objective(negatives=Negatives("uniform", 32)),))
CREATED_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry that holds what the tests of this module publish."""
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def first(registry: Path) -> str:
    """A pre-trained bundle."""
    return pretrain(SURFACE, FIRST, QUICK, registry=registry, created_ms=CREATED_MS)


def test_a_pretrained_bundle_says_where_it_comes_from_and_how_good_it_is(registry: Path, first: str) -> None:
    """Offsets, seeds, metrics and every gate's verdict are in the manifest that the bundle's id vouches for."""
    manifest = read_bundle(registry, SURFACE.name, first).manifest
    assert (manifest.recipe, manifest.parent, manifest.examples) == (PRETRAIN, None, {"0": (0, 1_200)})
    assert manifest.seeds.keys() == {"towers", "fit", "evaluation"}
    assert {"auc", "per_user_auc", "language_mismatch", "popularity_correlation", "label_rate"} <= manifest.metrics.keys()
    assert manifest.gates
    assert all(gate.passed for gate in manifest.gates)
    assert manifest.metrics["language_mismatch"] < 0.1


def test_the_same_seeds_and_data_give_the_same_bundle(registry: Path, first: str) -> None:
    """Down to the id: a bundle can be rebuilt from its manifest on the same machine. Another seed gives other towers."""
    assert pretrain(SURFACE, FIRST, QUICK, registry=registry, created_ms=CREATED_MS) == first
    other = pretrain(SURFACE, FIRST, replace(QUICK, seed=1), registry=registry, created_ms=CREATED_MS)
    digests = [read_bundle(registry, SURFACE.name, bundle).manifest.files for bundle in (first, other)]
    assert digests[0][QUERY_TOWER] != digests[1][QUERY_TOWER]
    assert digests[0][CANDIDATE_TOWER] != digests[1][CANDIDATE_TOWER]


def test_a_fine_tune_starts_from_its_parents_weights_and_names_it(registry: Path, first: str) -> None:
    """One epoch at a tenth of the learning rate moves vectors a little: near the parent's, and not the parent's."""
    tuned = finetune(SURFACE, first, FRESH, FinetuneConfig(replay=1.0), registry=registry, created_ms=CREATED_MS)
    bundle, parent = read_bundle(registry, SURFACE.name, tuned), read_bundle(registry, SURFACE.name, first)
    assert (bundle.manifest.recipe, bundle.manifest.parent) == (FINETUNE, first)
    assert bundle.manifest.examples == {"0": (1_200, 2_400)}
    assert any(gate.name == "auc_against_live" for gate in bundle.manifest.gates)
    queries = [example.query for example in FRESH.train[:50]]
    cosines = (Towers(bundle).embed_queries(queries) * Towers(parent).embed_queries(queries)).sum(axis=1)
    assert 0.7 < cosines.mean() < 0.99999


def test_a_fine_tune_of_a_fine_tune_is_held_against_the_first_one(registry: Path, first: str) -> None:
    """The manifest of each says how far it is from the anchor; the first has none but its live bundle."""
    tuned = finetune(SURFACE, first, FRESH, FinetuneConfig(replay=1.0), registry=registry, created_ms=CREATED_MS)
    again = finetune(SURFACE, tuned, FRESH, FinetuneConfig(replay=1.0), registry=registry, created_ms=CREATED_MS)
    third = finetune(SURFACE, again, FRESH, FinetuneConfig(replay=1.0), registry=registry, created_ms=CREATED_MS)
    manifests = [read_bundle(registry, SURFACE.name, bundle).manifest for bundle in (tuned, again, third)]
    gates = [{gate.name: gate for gate in manifest.gates} for manifest in manifests]
    against = {"language_mismatch_at_5_against_anchor", "popularity_correlation_against_anchor"}
    assert not against & gates[0].keys()
    for manifest, found in zip(manifests[1:], gates[1:], strict=True):
        assert against <= found.keys()
        mismatch = found["language_mismatch_at_5_against_anchor"]
        assert mismatch.value == manifest.metrics["language_mismatch_at_5"]
        # all three were evaluated on one window, so the anchor's own figure is the one it was published with
        assert mismatch.limit == pytest.approx(manifests[0].metrics["language_mismatch_at_5"] + 0.01)
    # held against the anchor alone; where there is none yet, against the live bundle all the same
    alone = FinetuneConfig(replay=1.0, against_live=False)
    for parent, compared in ((tuned, "auc_against_anchor"), (first, "auc_against_live")):
        bundle = finetune(SURFACE, parent, FRESH, alone, registry=registry, created_ms=CREATED_MS)
        names = {gate.name for gate in read_bundle(registry, SURFACE.name, bundle).manifest.gates}
        assert {name for name in names if name.startswith("auc_against")} == {compared}
    strict = FinetuneConfig(replay=1.0, limits=GateLimits(anchor_language_mismatch_rise=-1.0), anchor_fine_tunes=0)
    with pytest.raises(Refused, match="language_mismatch_at_5_against_anchor"):
        finetune(SURFACE, first, FRESH, strict, registry=registry)


def test_a_fine_tune_is_held_against_the_windows_of_its_forebears(registry: Path, first: str) -> None:
    """Its manifest says by how much each figure moved; a window in one language alone is refused before it is trained on."""
    tuned = finetune(SURFACE, first, FRESH, FinetuneConfig(replay=1.0), registry=registry, created_ms=CREATED_MS)
    gates = {gate.name: gate for gate in read_bundle(registry, SURFACE.name, tuned).manifest.gates}
    assert {"volume_change", "label_rate_change", "language_mix_change", "unresolved_joins"} <= gates.keys()
    assert gates["volume_change"].value == pytest.approx(1.0, abs=0.05), "the tiny world's examples come at one pace"
    foreign = [replace(one, candidate=replace(one.candidate, language="xx")) for one in FRESH.train]
    with pytest.raises(Refused, match=r"language_mix_change 1 is above 0\.3"):
        finetune(SURFACE, first, replace(FRESH, train=foreign), registry=registry)
    bundles = [read_bundle(registry, SURFACE.name, bundle) for bundle in (tuned, first)]
    assert last_profiles(registry, SURFACE.name, bundles[0], count=9) == [profile_of(bundle) for bundle in bundles]
    assert last_profiles(registry, SURFACE.name, bundles[0], count=1) == [profile_of(bundles[0])]


def test_a_refused_bundle_is_not_published(registry: Path, first: str) -> None:
    """And the refusal says by how much, so that an operator can decide without training again."""
    before = list_bundles(registry, SURFACE.name)
    strict = GateLimits(auc_regression=-0.5)
    with pytest.raises(Refused, match=r"auc_against_live 0\.\d+ is .* \(the live bundle has 0\.\d+, allowed is"):
        finetune(SURFACE, first, FRESH, FinetuneConfig(limits=strict), registry=registry)
    assert list_bundles(registry, SURFACE.name) == before


@pytest.mark.parametrize("label", [Label.POSITIVE, Label.IMPLICIT_NEGATIVE, Label.EXPLICIT_NEGATIVE])
def test_a_window_of_one_class_is_refused_before_anything_is_trained(registry: Path, first: str, label: Label) -> None:
    """With the figures and what to wait for."""
    data = replace(FRESH, train=[replace(example, label=label) for example in FRESH.train])
    with pytest.raises(Refused, match="the training window of home-timeline is refused"):
        finetune(SURFACE, first, data, registry=registry)


def test_an_empty_window_and_an_empty_corpus_are_refused_with_a_sentence(registry: Path, first: str) -> None:
    """At the start of a deployment there is nothing; that is no crash."""
    with pytest.raises(Refused, match="wait for more examples"):
        pretrain(SURFACE, TrainingData([], [], WORLD.corpus), registry=registry)
    with pytest.raises(Refused, match="wait for more candidates"):
        finetune(SURFACE, first, replace(FRESH, corpus=[]), registry=registry)


def test_users_without_history_and_unknown_languages_are_trained_on_like_any(registry: Path) -> None:
    """The first minutes of a deployment: nobody has a profile, and no language is determined."""
    strangers = [replace(example, query=QueryFeatures()) for example in WORLD.examples[:1_600]]
    corpus = [
        replace(candidate, attributes=replace(candidate.attributes, language="und"))
        for candidate in WORLD.corpus
        if candidate.attributes
    ]
    limits = GateLimits(min_sampled_auc=0.4)
    data = TrainingData(strangers[:1_200], strangers[1_200:], corpus)
    bundle = pretrain(SURFACE, data, replace(QUICK, limits=limits), registry=registry)
    manifest = read_bundle(registry, SURFACE.name, bundle).manifest
    assert "language_mismatch" not in manifest.metrics
    assert "auc" in manifest.metrics


def test_a_corrupt_parent_or_live_bundle_costs_no_training(registry: Path, tmp_path: Path) -> None:
    """It is read before the first step."""
    with pytest.raises(BundleCorrupt):
        finetune(SURFACE, "0" * 16, FRESH, registry=registry)
    broken = publish_bundle(tmp_path)
    (tmp_path / SURFACE.name / broken / "query.onnx").write_bytes(b"not what was published")
    with pytest.raises(BundleCorrupt, match="SHA-256"):
        pretrain(SURFACE, FIRST, QUICK, registry=tmp_path, live=broken)


def test_a_live_bundle_of_another_feature_spec_is_compared_all_the_same(registry: Path) -> None:
    """A gate compares what is retrieved, not how: the same records are encoded once more as the live bundle reads them."""
    spec = FeatureSpec("older", "another-seed", TWEET.query[:3], TWEET.candidate[:3])
    live = publish_bundle(registry, spec=spec, dim=32)
    bundle = pretrain(SURFACE, FIRST, QUICK, registry=registry, live=live, created_ms=CREATED_MS)
    (gate,) = [g for g in read_bundle(registry, SURFACE.name, bundle).manifest.gates if g.name == "auc_against_live"]
    assert 0.35 < gate.limit + GateLimits().auc_regression < 0.65
