"""Records as columns: nothing lost, nothing counted twice."""

from dataclasses import replace

import numpy as np
import pytest

from schemas.features.catalog import CATALOG, TWEET
from schemas.records.candidates import Candidate, CandidateAttributes, CandidateFeatures, Counters
from schemas.records.feedback import Label, Provenance
from schemas.records.users import QueryFeatures
from schemas.surfaces import load_surfaces
from tests.tiny_world import tiny_world
from trainer.data.columns import EXPLICIT_NEGATIVE, IMPLICIT_NEGATIVE, NO_LANGUAGE, POSITIVE, PROVENANCES, Encoder, popularity_of
from trainer.metrics import popularity_correlation

WORLD = tiny_world(users=20, tweets=40, impressions=60)


def test_a_query_is_encoded_once_for_all_that_was_shown_in_answer_to_it() -> None:
    """80 of 94 columns are the query's, and one request shows many candidates."""
    encoded = Encoder(TWEET).examples(WORLD.examples)
    assert len(encoded) == 60
    assert len(encoded.queries) == len({example.user_id for example in WORLD.examples})
    again = TWEET.encode_queries([example.query for example in WORLD.examples])
    assert np.array_equal(encoded.queries.ids[encoded.query], again)


def test_the_same_features_of_two_users_stay_two_queries() -> None:
    """Per-user AUC groups by user: two newcomers with nothing known of them are still two."""
    a, b = (replace(WORLD.examples[0], user_id=name, query=QueryFeatures()) for name in ("ü-1", "ü-2"))
    encoded = Encoder(TWEET).examples([a, b, a])
    assert encoded.users.tolist() == [0, 1, 0]


def test_another_context_is_another_query() -> None:
    """The clicked tweet of a notification is part of the query."""
    base = WORLD.examples[0]
    clicked = replace(base, query=replace(base.query, context={"author_id": "a:1"}))
    assert len(Encoder(TWEET).examples([base, clicked]).queries) == 2


def test_labels_keep_their_three_kinds_and_an_unknown_one_is_left_out() -> None:
    """A label of a later release must not be read as a negative."""
    labels = (Label.POSITIVE, Label.IMPLICIT_NEGATIVE, Label.EXPLICIT_NEGATIVE, Label.UNKNOWN)
    examples = [replace(WORLD.examples[n], label=label) for n, label in enumerate(labels)]
    encoded = Encoder(TWEET).examples(examples)
    assert encoded.labels.tolist() == [POSITIVE, IMPLICIT_NEGATIVE, EXPLICIT_NEGATIVE]
    assert encoded.positives.tolist() == [0]
    assert encoded.implicit.tolist() == [0, 1]


def test_provenance_is_kept_with_every_example() -> None:
    """Served features and reconstructed ones may differ; whoever asks must be able to tell them apart."""
    examples = [WORLD.examples[0], replace(WORLD.examples[1], provenance=Provenance.RECONSTRUCTED)]
    encoded = Encoder(TWEET).examples(examples)
    assert [PROVENANCES[code] for code in encoded.provenance] == [Provenance.SERVED, Provenance.RECONSTRUCTED]


def test_items_and_languages_have_one_number_in_examples_and_corpus() -> None:
    """Mismatch compares a user's language with a candidate's, and a query must know its own candidate among the negatives."""
    encoder = Encoder(TWEET)
    examples, corpus = encoder.examples(WORLD.examples), encoder.corpus(WORLD.corpus)
    assert set(examples.items) <= set(corpus.items)
    first = WORLD.examples[0]
    row = [candidate.candidate_id for candidate in WORLD.corpus].index(first.candidate_id)
    assert corpus.items[row] == examples.items[0]
    same = first.candidate.language in first.query.languages
    assert (corpus.languages[row] == examples.queries.languages[examples.query[0]][0]) == same


def test_stubs_and_deletes_are_in_no_corpus_and_undetermined_languages_are_no_language() -> None:
    """A stub has no attributes to embed; "und" is not a language two things can share."""
    stub = Candidate("t:stub", -1, -1, 0, counters=Counters(favorite=3))
    deleted = replace(WORLD.corpus[0], deleted=True)
    und = Candidate("t:und", 1, 0, 1, attributes=CandidateAttributes("a:1", 1))
    corpus = Encoder(TWEET).corpus([stub, deleted, und])
    assert corpus.languages.tolist() == [NO_LANGUAGE]


def test_no_records_are_columns_of_no_rows() -> None:
    """An empty window is normal; the right widths keep everything downstream working."""
    encoder = Encoder(TWEET)
    examples, corpus = encoder.examples([]), encoder.corpus([])
    assert examples.queries.ids.shape == (0, TWEET.query_width)
    assert examples.candidate_ids.shape == corpus.candidate_ids.shape == (0, TWEET.candidate_width)


def test_popularity_is_what_the_surface_says_it_is() -> None:
    """Followers for accounts, engagements received for tweets; explicit negatives and undone counts add nothing (4.3.2)."""
    counters = Counters(favorite=3, retweet=2, reply=-1, click=1, show_less=9, block=9)
    features = CandidateFeatures("a:1", "en", "", (), 70, counters)
    assert popularity_of(features, "engagements") == 6
    assert popularity_of(features, "followers") == 70


def test_one_retrieval_has_another_popularity_correlation_on_another_surface() -> None:
    """Two of three users get candidate 0 and one gets 1: shares 2/3, 1/3, 0, from their mean +1/3, 0, -1/3.

    By engagements 30, 0, 0 (mean 10): (20 + 10) / 3 = 10, over sqrt((400 + 100 + 100) * 2/9) = 11.547: 0.866, the home timeline
    retrieves what is popular. By followers 0, 10, 50 (mean 20): (-20 - 30) / 3 = -16.667, over sqrt((400 + 100 + 900) * 2/9) =
    17.638: -0.945, who-to-follow retrieves whom nobody follows.
    """
    home = load_surfaces()["home-timeline"]
    accounts = replace(home, name="who-to-follow", popularity="followers")
    candidates = [
        Candidate(
            f"x:{n}",
            1,
            0,
            1,
            attributes=CandidateAttributes("a:1", 1, author_followers=followers),
            counters=Counters(favorite=count),
        )
        for n, (followers, count) in enumerate([(0, 30), (10, 0), (50, 0)])
    ]
    retrieved = np.array([[0], [0], [1]])
    for surface, correlation in ((home, 0.866), (accounts, -0.945)):
        corpus = Encoder(CATALOG[surface.feature_spec], surface.popularity).corpus(candidates)
        assert popularity_correlation(retrieved, corpus.popularity) == pytest.approx(correlation, abs=1e-3), surface.name
