"""What becomes of data that should not be: docs/concepts/training.md says it, one test a row. Empty windows: see test_recipes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.bundle import read_bundle
from schemas.codec import schema_json, writer_version
from schemas.errors import InvalidRecord, Refused
from schemas.features.catalog import TWEET
from schemas.records.candidates import Candidate
from schemas.records.feedback import Example, Impression, Label
from schemas.records.users import QueryFeatures
from schemas.surfaces import load_surfaces
from tests.tiny_world import tiny_world
from trainer.data.columns import Encoder
from trainer.data.profile import WindowProfile
from trainer.export import export
from trainer.gates import GateLimits
from trainer.learning.fit import FitConfig, fit
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective
from trainer.learning.towers import TowerConfig, TwoTowers
from trainer.recipes import FinetuneConfig, finetune
from trainer.registry import Origin, publish
from trainer.training import TrainingData

SURFACE = load_surfaces()["home-timeline"]
WORLD = tiny_world(users=40, tweets=100, impressions=800)
DATA = TrainingData(WORLD.examples[:600], WORLD.examples[600:], WORLD.corpus)
# the shape of other tests here: the exporter takes seconds for each shape, once a process
SMALL = TowerConfig(dim=32, embedding_dim=8, hidden=(32,))
FAR_MS = 4_102_444_800_000


def weights_after(examples: list[Example]) -> dict[str, np.ndarray]:
    """Return the towers' weights after a short fit on these examples."""
    encoder = Encoder(TWEET)
    towers = TwoTowers(TWEET, SMALL, seed=0)
    columns, corpus = encoder.examples(examples), encoder.corpus(WORLD.corpus)
    fit(towers, columns, corpus, FitConfig((Objective(negatives=Negatives("uniform", 4)),), 3e-3, epochs=1, batch_size=64))
    return towers.weights()


def test_a_timestamp_of_the_future_is_dead_lettered_and_moves_nothing_that_is_trained() -> None:
    """A producer's clock is wrong by decades: the labeler refuses the impression; an older example that has one is read as any."""
    impression = Impression("r", "t:1", "u", "home-timeline", 0, FAR_MS)
    with pytest.raises(InvalidRecord, match="check the producer's clock"):
        impression.check(append_time_ms=1_700_000_000_000)
    wrong = [replace(WORLD.examples[0], event_time_ms=FAR_MS), *WORLD.examples[1:600]]
    right = weights_after(WORLD.examples[:600])
    assert all(np.array_equal(value, right[name]) for name, value in weights_after(wrong).items())
    paces = [WindowProfile.of(examples).per_hour for examples in (wrong, WORLD.examples[:600])]
    assert paces[0] == pytest.approx(paces[1], rel=0.05), "one clock must not make a window of a minute one of decades"


def test_no_feature_can_be_nan() -> None:
    """Raw features are text and whole numbers: a float would need a rule for NaN in every process that encodes it."""
    for record in (Example, Candidate):
        text = json.dumps(schema_json(record.SUBJECT, writer_version(record.SUBJECT)))
        assert '"float"' not in text
        assert '"double"' not in text
    ids = TWEET.encode_candidates([replace(WORLD.examples[0].candidate, author_followers=-(2**62))])
    assert ids.min() >= 0, "a count below nothing is read as nothing"


def test_towers_of_nan_weights_are_refused_at_the_first_step() -> None:
    """Fitted on, they would be NaN for every candidate: the step is named, and nothing comes of it."""
    towers = TwoTowers(TWEET, replace(SMALL, dim=SURFACE.dim), seed=0)
    with torch.no_grad():
        towers.table.fill_(float("nan"))
    encoder = Encoder(TWEET)
    columns, corpus = encoder.examples(DATA.train), encoder.corpus(DATA.corpus)
    with pytest.raises(Refused, match="the loss is nan at step 1"):
        fit(towers, columns, corpus, FitConfig((Objective(negatives=Negatives("uniform", 4)),), 3e-3, epochs=1))


def test_a_language_nobody_knows_is_a_language_and_und_is_none() -> None:
    """A code of the future is hashed like any; what is undetermined matches nobody and mismatches nobody."""
    base = WORLD.examples[0]
    new, und, none = (TWEET.encode_candidates([replace(base.candidate, language=code)])[0, 0] for code in ("zz-Future", "und", ""))
    assert new > 0
    assert none == 0
    assert new != und
    odd = [replace(one, candidate=replace(one.candidate, language="zz-Future")) for one in WORLD.examples[:600]]
    assert all(np.isfinite(value).all() for value in weights_after(odd).values())


def test_a_user_without_history_has_a_vector_of_their_own_features(tmp_path: Path) -> None:
    """The first visit: a profile and nothing else, or not even that; the tower answers, with a vector of length 1."""
    towers = TwoTowers(TWEET, SMALL, seed=0)
    rows = TWEET.encode_queries([QueryFeatures(), QueryFeatures(languages=("en",)), WORLD.examples[0].query])
    with torch.no_grad():
        vectors = towers.embed_queries(torch.from_numpy(rows)).numpy()
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1.0] * 3, abs=1e-5)
    assert not np.allclose(vectors[0], vectors[1])
    towers = TwoTowers(TWEET, replace(SMALL, dim=SURFACE.dim), seed=0)
    origin = Origin(recipe="pretrain", code_version="test", created_ms=1)
    parent = publish(tmp_path, export(towers), surface=SURFACE.name, spec=TWEET, origin=origin)
    strangers = [replace(one, query=QueryFeatures()) for one in WORLD.examples]
    lenient = GateLimits(
        min_sampled_auc=0.0, min_auc=0.0, sampled_auc_regression=1.0, auc_regression=1.0, per_user_auc_regression=1.0
    )
    data = TrainingData(strangers[:600], strangers[600:], WORLD.corpus)
    tuned = finetune(SURFACE, parent, data, FinetuneConfig(limits=lenient), registry=tmp_path)
    assert "language_mismatch" not in read_bundle(tmp_path, SURFACE.name, tuned).manifest.metrics


def test_a_label_of_a_later_release_is_left_out_of_every_count() -> None:
    """An enum's default: what this build does not know is neither a positive nor a negative."""
    later = [replace(one, label=Label.UNKNOWN) if n % 2 else one for n, one in enumerate(WORLD.examples[:600])]
    assert len(Encoder(TWEET).examples(later)) == 300
    assert WindowProfile.of(later).label_rate == WindowProfile.of(later[::2]).label_rate
