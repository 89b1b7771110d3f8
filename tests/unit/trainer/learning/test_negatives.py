"""Negatives: which are drawn, how often, and what is said of it."""

import numpy as np
import pytest

from schemas.errors import Refused
from tests.unit.trainer.conftest import Encoded
from trainer.data.columns import IMPLICIT_NEGATIVE, POSITIVE
from trainer.learning.negatives import Negatives, Sampler


def test_uniform_negatives_are_the_corpus_not_the_served_traffic(small: Encoded) -> None:
    """What no user was ever shown is what a retrieval must learn to leave out (section 3.3)."""
    sampler = Sampler(Negatives("uniform", 4_000), small.train, small.corpus)
    draw = sampler.draw(small.train.positives[:8], np.random.default_rng(0))
    assert draw.shared
    assert draw.candidate_ids.shape == (4_000, small.train.candidate_ids.shape[1])
    assert draw.valid.shape == (8, 4_000)
    assert np.allclose(draw.log_q, -np.log(len(small.corpus)))
    # 4,000 draws from 200: each about 20 times
    assert len(np.unique(draw.candidate_ids, axis=0)) == len(np.unique(small.corpus.candidate_ids, axis=0))


def test_a_query_is_never_set_against_its_own_candidate(small: Encoded) -> None:
    """Drawn by chance, the positive would be pulled and pushed at once."""
    rows = small.train.positives[:32]
    for kind in ("uniform", "frequency", "in_batch"):
        sampler = Sampler(Negatives(kind, 500), small.train, small.corpus)
        draw = sampler.draw(rows, np.random.default_rng(0))
        own = small.train.candidate_ids[rows]
        # the same item may be served with other counters: only the own item is left out, and it is
        for query in range(len(rows)):
            same = (draw.candidate_ids == own[query]).all(axis=1)
            assert not (draw.valid[query] & same).any()


def test_frequency_negatives_come_as_often_as_they_were_served(small: Encoded) -> None:
    """Section 5.3's other extreme; log q must say the true frequency, or the correction corrects towards nothing."""
    sampler = Sampler(Negatives("frequency", 64), small.train, small.corpus)
    counts = np.bincount(small.train.items)
    often = int(counts.argmax())
    assert sampler.log_q(np.array([often], np.int32))[0] == pytest.approx(np.log(counts[often] / len(small.train)), abs=1e-5)


def test_mixed_negatives_say_the_probability_of_the_mixture(small: Encoded) -> None:
    """An item drawn by two sources is as likely as both together: 0.5 / corpus + 0.5 * served share."""
    sampler = Sampler(Negatives("mixed", 100, {"uniform": 0.5, "frequency": 0.5}), small.train, small.corpus)
    item = int(small.train.items[0])
    expected = 0.5 / len(small.corpus) + 0.5 * (small.train.items == item).mean()
    assert sampler.log_q(np.array([item], np.int32))[0] == pytest.approx(np.log(expected), abs=1e-5)
    assert sampler.draw(small.train.positives[:4], np.random.default_rng(0)).valid.shape == (4, 100)


def test_the_shares_of_a_mixture_add_up_to_what_was_asked_for(small: Encoded) -> None:
    """Three of 2.5, 1.25 and 1.25: rounded one by one they are 2, 1 and 1, which is one too few."""
    negatives = Negatives("mixed", 5, {"uniform": 0.25, "frequency": 0.5, "in_batch": 0.25})
    sampler = Sampler(negatives, small.train, small.corpus)
    assert sampler.draw(small.train.positives[:4], np.random.default_rng(0)).valid.shape == (4, 5)


def test_in_batch_negatives_are_the_other_queries_positives(small: Encoded) -> None:
    """Each query of a batch of 16 has 15 negatives, less those that are its own candidate again."""
    rows = small.train.positives[:16]
    draw = Sampler(Negatives("in_batch"), small.train, small.corpus).draw(rows, np.random.default_rng(0))
    assert np.array_equal(draw.candidate_ids, small.train.candidate_ids[rows])
    assert not draw.valid.diagonal().any()


def test_implicit_negatives_are_the_same_users_and_never_engaged_with(small: Encoded) -> None:
    """They teach "engaging against merely relevant" for one user; another user's would teach who engages at all."""
    train = small.train
    rows = train.positives[:20]
    draw = Sampler(Negatives("implicit", 5), train, small.corpus).draw(rows, np.random.default_rng(0))
    assert not draw.shared
    assert draw.candidate_ids.shape[0] == 100
    negatives = train.labels == IMPLICIT_NEGATIVE
    for query, row in enumerate(rows):
        own = train.candidate_ids[negatives & (train.users == train.users[row])]
        assert draw.valid[query].all() == bool(len(own))
        for ids in draw.candidate_ids[query * 5 : query * 5 + 5] if len(own) else ():
            assert (own == ids).all(axis=1).any()


def test_a_user_without_implicit_negatives_contributes_none(small: Encoded) -> None:
    """A user who engaged with all that was shown has nothing to contrast: no other user's rows stand in."""
    train = small.train
    lucky = int(train.users[train.positives[0]])
    kept = train.take((train.users != lucky) | (train.labels == POSITIVE))
    row = np.flatnonzero(kept.users == lucky)[:1]
    draw = Sampler(Negatives("implicit", 3), kept, small.corpus).draw(row, np.random.default_rng(0))
    assert not draw.valid.any()


def test_what_cannot_be_drawn_is_refused_with_what_to_do(small: Encoded) -> None:
    """An empty corpus or window is normal at the start of a deployment."""
    nothing = np.zeros(0, np.int64)
    with pytest.raises(Refused, match="wait for candidates"):
        Sampler(Negatives("uniform"), small.train, type(small.corpus)(*(getattr(small.corpus, n)[nothing] for n in _CORPUS)))
    with pytest.raises(Refused, match="wait for examples"):
        Sampler(Negatives("frequency"), small.train.take(nothing), small.corpus)
    with pytest.raises(Refused, match="no implicit negative"):
        Sampler(Negatives("implicit"), small.train.take(small.train.positives), small.corpus)


_CORPUS = ("candidate_ids", "items", "languages", "popularity")


def test_nonsense_options_are_refused_when_they_are_written() -> None:
    """Shares that do not sum to 1, or 5,000 negatives, are mistakes, not wishes."""
    for wrong in (
        {"per_positive": 0},
        {"per_positive": 4_001},
        {"kind": "mixed"},
        {"kind": "uniform", "mix": {"uniform": 1.0}},
        {"kind": "mixed", "mix": {"uniform": 0.5, "frequency": 0.6}},
        {"kind": "mixed", "mix": {"uniform": 1.0, "frequency": 0.0}},
        {"kind": "mixed", "mix": {"uniform": 0.5, "implicit": 0.5}},
        {"kind": "mixed", "mix": {"uniform": 0.4, "frequency": 0.3, "in_batch": 0.3}, "per_positive": 1},
        {"kind": "nonsense"},
    ):
        with pytest.raises(ValueError, match="negatives"):
            Negatives(**wrong)
