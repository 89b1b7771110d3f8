"""Figure 3 on a handful of made ratings: the split, the bias, and that a tau which keeps nothing is told from a result."""

import json

import numpy as np
import pytest

from lab.paper.figures.fig3 import Classifier, Fig3Settings, accuracy, fig3, pairs
from lab.replay.movielens import Movie, MovieLens, Person, Rating

SETTINGS = Fig3Settings(taus=(0.0, 0.4, 1.0), epochs=12, batch_size=64, hidden=8, embedding_dim=4, learning_rate=0.01)


@pytest.fixture(scope="module")
def made() -> MovieLens:
    """Forty people; the young rate the first half of twenty films, the old the second."""
    rng = np.random.default_rng(0)
    people = {n: Person(n, 20 if n % 2 else 60, "F" if n % 3 else "M", "other") for n in range(40)}
    movies = {n: Movie(n, f"film {n}", 1990, ()) for n in range(20)}
    ratings = tuple(
        Rating(n, int(movie) + (0 if n % 2 else 10), 4.0, n) for n in people for movie in rng.choice(10, 8, replace=False)
    )
    return MovieLens(movies, people, ratings)


def test_no_user_is_in_training_and_test_and_half_the_pairs_are_random(made: MovieLens) -> None:
    """The paper splits by user id; every rating is a positive, and there is one random pair for each."""
    parted = pairs(made, seed=1)
    assert len(parted.train) + len(parted.test) == 2 * len(made.ratings)
    assert parted.test.positive.sum() == 8 * 8, "a fifth of the forty users, eight films each"
    assert parted.train.positive.sum() == 32 * 8
    for column, size in enumerate(parted.sizes):
        assert parted.train.ids[:, column].max() < size
    assert (pairs(made, seed=1).test.ids == parted.test.ids).all()
    assert (pairs(made, seed=2).train.ids[:50] != parted.train.ids[:50]).any()


def test_accuracy_is_of_a_probability_of_one_half() -> None:
    """.6 and .9 are called positive, .5 and .1 are not: right for the first, second and fourth of four."""
    scores, positive = np.array([0.6, 0.5, 0.9, 0.1], np.float32), np.array([True, False, False, False])
    assert accuracy(scores, positive) == 0.75
    assert np.isnan(accuracy(scores[:0], positive[:0]))


def test_the_classifier_learns_who_rates_what(made: MovieLens) -> None:
    """For users it never saw: without features of users nothing but popularity could be learned."""
    parted = pairs(made, seed=1)
    model = Classifier.trained(parted.train, parted.sizes, SETTINGS, seed=0)
    scores = model.scores(parted.test.ids)
    assert scores[parted.test.positive].mean() > scores[~parted.test.positive].mean() + 0.1


def test_a_model_of_biased_data_is_measured_on_the_biased_and_on_all_pairs(made: MovieLens) -> None:
    """Below every score nothing is biased yet: both figures agree. Above every score nothing is left: not measured, not 0."""
    figure = fig3([1, 2], made, SETTINGS)
    every, some, none = figure["rows"]
    assert every["kept_share"] == 1.0
    assert every["biased_accuracy"] == every["full_accuracy"]
    assert 0 < some["kept_share"] < 1
    assert some["kept_positive_share"] is not None
    assert every["kept_positive_share"] is not None
    assert some["kept_positive_share"] > every["kept_positive_share"], "what scores high is mostly positive"
    assert none["biased_accuracy"] is None
    assert none["kept_share"] == 0
    assert figure["baseline"]["auc"] > 0.6
    assert [len(rows) for rows in figure["per_seed"]] == [3, 3]
    json.dumps(figure, allow_nan=False)
