"""Each loss against arithmetic done by hand."""

import math

import pytest
import torch

from trainer.learning.losses import cross_entropy, pointwise_cross_entropy, popularity_weight, sampled_softmax, triplet

ONE = torch.tensor(1.0)
ZERO = torch.tensor(0.0)


def test_cross_entropy_is_the_mean_of_minus_log_likelihoods_over_all_pairs() -> None:
    """Logits 2 * cosine - 1: 0.8 gives 0.6, 0.5 gives 0, -0.5 gives -2. softplus(-0.6) = 0.4375, softplus(0) = 0.6931,
    softplus(-2) = 0.1269; one positive and two negatives: (0.4375 + 0.6931 + 0.1269) / 3 = 0.4192.
    """
    loss = cross_entropy(
        torch.tensor([0.8]), torch.tensor([[0.5, -0.5]]), scale=torch.tensor(2.0), bias=torch.tensor(-1.0), weight=torch.ones(1, 2)
    )
    assert loss.item() == pytest.approx(0.4192, abs=1e-4)


def test_a_negative_of_weight_zero_is_not_there() -> None:
    """A query's own candidate, drawn by chance as its negative, must not push the two apart."""
    with_hit = cross_entropy(
        torch.tensor([0.8]), torch.tensor([[0.5, 0.8]]), scale=ONE, bias=ZERO, weight=torch.tensor([[1.0, 0.0]])
    )
    without = cross_entropy(torch.tensor([0.8]), torch.tensor([[0.5]]), scale=ONE, bias=ZERO, weight=torch.ones(1, 1))
    assert with_hit.item() == pytest.approx(without.item())
    softmax = {"scale": ONE, "log_q_positive": torch.zeros(1), "log_q_negative": torch.zeros(1, 1)}
    masked = sampled_softmax(torch.tensor([0.8]), torch.tensor([[0.5, 0.8]]), weight=torch.tensor([[1.0, 0.0]]), **softmax)
    plain = sampled_softmax(torch.tensor([0.8]), torch.tensor([[0.5]]), weight=torch.ones(1, 1), **softmax)
    assert masked.item() == pytest.approx(plain.item())


def test_pointwise_cross_entropy_reads_a_served_pair_with_its_label() -> None:
    """Probabilities sigmoid(0) = 0.5 for both pairs: the loss is log 2, whatever the labels."""
    loss = pointwise_cross_entropy(torch.tensor([0.3, 0.3]), torch.tensor([1.0, 0.0]), scale=ZERO, bias=ZERO, weight=torch.ones(2))
    assert loss.item() == pytest.approx(math.log(2))


def test_pointwise_cross_entropy_weighs_its_pairs() -> None:
    """Logits 1 and 1: a positive costs softplus(-1) = 0.3133, a negative softplus(1) = 1.3133 at half the weight:
    (0.3133 + 0.5 * 1.3133) / 1.5 = 0.6466.
    """
    weight = torch.tensor([1.0, 0.5])
    loss = pointwise_cross_entropy(torch.ones(2), torch.tensor([1.0, 0.0]), scale=ONE, bias=ZERO, weight=weight)
    assert loss.item() == pytest.approx(0.6466, abs=1e-4)


def test_triplet_is_equation_1_of_the_paper() -> None:
    """Cosines 0.9 (own), 0.8 and 0.2: distances 0.1, 0.2 and 0.8. With margin 0.3: 0.1 - 0.2 + 0.3 = 0.2 and
    0.1 - 0.8 + 0.3 < 0, which counts as 0; the mean is 0.1.
    """
    own, others = torch.tensor([0.9]), torch.tensor([[0.8, 0.2]])
    loss = triplet(own, others, margin=0.3, weight=torch.ones(1, 2))
    assert loss.item() == pytest.approx(0.1)


def test_triplet_of_distances_takes_minus_the_similarity() -> None:
    """Distances 1 (own) and 1.4: similarities -1 and -1.4; 1 - 1.4 + 0.5 = 0.1."""
    loss = triplet(torch.tensor([-1.0]), torch.tensor([[-1.4]]), margin=0.5, weight=torch.ones(1, 1))
    assert loss.item() == pytest.approx(0.1)


def test_triplet_with_no_valid_negative_is_zero_and_not_nan() -> None:
    """A batch of users none of whom has an implicit negative happens; it must not end the training."""
    loss = triplet(torch.tensor([0.5]), torch.tensor([[0.9]]), margin=0.3, weight=torch.zeros(1, 1))
    assert loss.item() == 0.0


def test_sampled_softmax_subtracts_the_log_of_the_sampling_probability() -> None:
    """Logits 1 (own, sampled with 0.1) and 1 (negative, sampled with 0.4): corrected 1 + 2.3026 and 1 + 0.9163, so the
    loss is log(1 + exp(0.9163 - 2.3026)) = log 1.25 = 0.2231. Added instead of subtracted, it would be log 5.
    """
    loss = sampled_softmax(
        torch.tensor([1.0]),
        torch.tensor([[1.0]]),
        scale=ONE,
        log_q_positive=torch.tensor([0.1]).log(),
        log_q_negative=torch.tensor([[0.4]]).log(),
        weight=torch.ones(1, 1),
    )
    assert loss.item() == pytest.approx(math.log(1.25), abs=1e-5)


def test_the_correction_keeps_popular_items_from_being_pushed_away_for_being_popular() -> None:
    """The sign, end to end: two items chosen equally often, one sampled as a negative nine times as often. Corrected, both
    get the same score; with the sign reversed the popular one would fall far below.
    """
    generator = torch.Generator().manual_seed(0)
    scores = torch.zeros(2, requires_grad=True)
    log_q = torch.tensor([0.9, 0.1]).log()
    optimiser = torch.optim.SGD([scores], 0.5)
    for _ in range(150):
        own = torch.randint(2, (64,), generator=generator)
        drawn = (torch.rand(32, generator=generator) < 0.1).long()
        loss = sampled_softmax(
            scores[own],
            scores[drawn].expand(64, 32),
            scale=ONE,
            log_q_positive=log_q[own],
            log_q_negative=log_q[drawn].unsqueeze(0),
            weight=torch.ones(64, 32),
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert abs((scores[0] - scores[1]).item()) < 0.5


def test_popularity_weight_falls_from_one_to_a_half() -> None:
    """0.5 + 0.5 exp(-theta / t): theta 0 gives 1, theta = t gives 0.5 + 0.5 / e = 0.6839, a huge theta 0.5 (section 5.3)."""
    weights = popularity_weight(torch.tensor([0.0, 2500.0, 1e9]), 2500.0)
    assert weights.tolist() == pytest.approx([1.0, 0.6839, 0.5], abs=1e-4)
