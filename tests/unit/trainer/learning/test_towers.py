"""The towers: shape, sharing, padding, seeds."""

import numpy as np
import pytest
import torch

from schemas.errors import BundleMismatch
from schemas.features.catalog import TWEET
from schemas.features.spec import FeatureSpec, Field
from trainer.learning.towers import TowerConfig, TwoTowers

SPEC = FeatureSpec(
    "test",
    "seed",
    query=(Field("languages", "languages", "hash", 5, slots=3, table="language"), Field("region", "region", "hash", 4)),
    candidate=(Field("language", "language", "hash", 5), Field("followers", "author_followers", "log", 6)),
)
CONFIG = TowerConfig(dim=32, embedding_dim=4, hidden=(16,))


def test_vectors_are_of_unit_length_also_for_nothing_but_padding() -> None:
    """An inner product is a cosine only of unit vectors; a user never seen and without context is all padding."""
    towers = TwoTowers(TWEET, TowerConfig(), seed=0)
    ids = torch.randint(1, 20, (5, TWEET.query_width), generator=torch.Generator().manual_seed(0))
    ids[0] = 0
    lengths = towers.embed_queries(ids).norm(dim=1)
    assert lengths.tolist() == pytest.approx([1.0] * 5, abs=1e-5)


def test_a_field_is_the_mean_of_its_values_whatever_slot_they_are_in() -> None:
    """Two languages in three slots are averaged over two, and padding moves nothing."""
    towers = TwoTowers(SPEC, CONFIG, seed=1)
    a, b, c, one = towers.embed_queries(torch.tensor([[2, 5, 0, 1], [5, 0, 2, 1], [2, 2, 5, 1], [2, 0, 0, 1]]))
    assert torch.allclose(a, b)
    assert not torch.allclose(a, c)
    assert not torch.allclose(a, one)


def test_both_forward_forms_agree() -> None:
    """Training uses an embedding bag, the export plain operators: the exported graph must be the trained function."""
    towers = TwoTowers(TWEET, TowerConfig(), seed=2)
    rng = np.random.default_rng(0)
    buckets = np.array([field.buckets for field in TWEET.query for _ in range(field.slots)])
    ids = torch.from_numpy(rng.integers(0, buckets + 1, (64, len(buckets))))
    with torch.no_grad():
        bag, plain = towers.query.raw(ids, towers.table), towers.query.raw_by_operators(ids, towers.table)
    assert float((bag - plain).abs().max()) < 1e-6


def test_fields_that_name_one_table_share_its_weights_across_both_sides() -> None:
    """A user's language and a tweet's language must be the same language."""
    towers = TwoTowers(SPEC, CONFIG, seed=0)
    query_before = towers.embed_queries(torch.tensor([[3, 0, 0, 0]])).detach()
    towers.embed_candidates(torch.tensor([[3, 1]])).sum().backward()  # type: ignore[no-untyped-call]
    assert towers.table.grad is not None
    changed = np.flatnonzero(towers.table.grad.abs().sum(dim=1).numpy())
    # language rows are 1..5, region 6..9, followers 10..15
    assert changed.tolist() == [3, 10]
    with torch.no_grad():
        towers.table[3] += 1.0
    assert not torch.allclose(towers.embed_queries(torch.tensor([[3, 0, 0, 0]])), query_before)


@pytest.mark.parametrize("sparse", [False, True])
def test_padding_is_never_trained(*, sparse: bool) -> None:
    """Row 0 stands for nothing: were it trained, everything absent would drift together."""
    towers = TwoTowers(SPEC, TowerConfig(dim=32, embedding_dim=4, hidden=(16,), sparse_gradients=sparse), seed=0)
    towers.embed_queries(torch.tensor([[3, 0, 0, 0], [0, 0, 0, 0]])).sum().backward()  # type: ignore[no-untyped-call]
    grad = towers.table.grad
    assert grad is not None
    dense = grad.to_dense() if sparse else grad
    assert not dense[0].any()
    assert dense[3].any()


def test_the_seed_alone_decides_the_weights() -> None:
    """Also when something else drew from torch's global generator in between, which building must not touch either."""
    state = torch.random.get_rng_state()
    first = TwoTowers(SPEC, CONFIG, seed=7).weights()
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(3)
    second, other = TwoTowers(SPEC, CONFIG, seed=7).weights(), TwoTowers(SPEC, CONFIG, seed=8).weights()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["table"], other["table"])


def test_weights_of_another_architecture_are_refused_with_what_to_do() -> None:
    """A fine-tune must not start from half-fitting weights."""
    other = TwoTowers(SPEC, TowerConfig(dim=64, embedding_dim=4, hidden=(16,)), seed=0)
    with pytest.raises(BundleMismatch, match="pre-train a new bundle"):
        TwoTowers(SPEC, CONFIG, seed=0).load_weights(other.weights())


def test_a_towers_inputs_are_the_specs_fields() -> None:
    """The towers read the spec: a new field costs no line of code. `test_trained_bundle` takes one all the way to an answer."""
    wider = FeatureSpec("wider", "seed", SPEC.query, (*SPEC.candidate, Field("author", "author_id", "hash", 9)))
    vectors = TwoTowers(wider, CONFIG, seed=0).embed_candidates(torch.tensor([[1, 2, 9]]))
    assert vectors.shape == (1, 32)


def test_an_unknown_configuration_key_is_refused() -> None:
    """A bundle of a later release must not be read with an option left out in silence."""
    assert TowerConfig.from_json(CONFIG.to_json()) == CONFIG
    with pytest.raises(BundleMismatch):
        TowerConfig.from_json({**CONFIG.to_json(), "gating": "softmax"})
