"""A training kept as Parquet is the training: whatever its records hold, columns say what the records would have said."""

import tempfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.features.catalog import TWEET
from schemas.records.candidates import Candidate, CandidateAttributes, CandidateFeatures, Counters
from schemas.records.feedback import Example, Label, Provenance
from schemas.records.users import QueryFeatures
from trainer.data.cache import read_cache, write_cache
from trainer.data.columns import Corpus, Encoder, Examples, Queries
from trainer.data.profile import WindowProfile
from trainer.data.windows import CorpusAt, LoggedExample, Window
from trainer.lineage import inputs_digest
from trainer.training import TrainingData

SURFACE = "home-timeline"
BUNDLE = "a" * 16
# few, so that ids, users and whole queries come up again
texts = st.one_of(
    st.just(""), st.just("und"), st.sampled_from(["en", "ja", "猫"]), st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
)
names = st.sampled_from(["one", "two", "three", "vier"])
lists = st.lists(texts, max_size=20).map(tuple)
short_lists = st.lists(st.sampled_from(["en", "ja", "", "und"]), max_size=6).map(tuple)
counts = st.one_of(st.integers(-3, 40), st.sampled_from([2**31, 2**40 - 1, 2**40]))
counters = st.builds(Counters, *[counts] * 7)
candidates_served = st.builds(CandidateFeatures, texts, texts, texts, lists, counts, counters)
contexts = st.dictionaries(st.sampled_from(["author_id", "language", "topic", "a.b"]), texts)
queries = st.one_of(
    st.builds(QueryFeatures, short_lists, texts, lists, lists, lists, lists, lists, contexts),
    # what only a context, and an empty text in one, tells apart
    st.builds(QueryFeatures, short_lists, context=contexts),
)
examples = st.builds(
    Example,
    example_id=names,
    revision=st.integers(0, 2),
    surface=st.just(SURFACE),
    request_id=names,
    user_id=names,
    candidate_id=texts,
    position=st.integers(0, 9),
    event_time_ms=st.integers(0, 2**40),
    candidate=candidates_served,
    label=st.sampled_from(Label),
    kinds=lists,
    provenance=st.sampled_from(Provenance),
    bundle=st.sampled_from([None, BUNDLE, "b" * 16]),
    query=queries,
    source_time_ms=st.none() | st.integers(0, 2**40),
)
corpora = st.lists(
    st.builds(
        Candidate,
        candidate_id=texts,
        event_time_ms=st.just(1),
        sequence=st.just(0),
        append_time_ms=st.just(1),
        deleted=st.booleans(),
        attributes=st.none() | st.builds(CandidateAttributes, texts, st.integers(0, 2**40), texts, texts, lists, texts, counts),
        counters=counters,
        source=st.dictionaries(names, st.integers(0, 9)),
    ),
    max_size=6,
)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Return a window of two partitions."""
    logged = [
        LoggedExample(draw(st.integers(0, 1)), 2 * n, example) for n, example in enumerate(draw(st.lists(examples, max_size=8)))
    ]
    return Window(tuple(logged), {0: (0, 2 * len(logged)), 1: (0, 2 * len(logged) + 1)}, skipped=draw(st.integers(0, 3)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(windows(), corpora, st.sampled_from([0.0, 0.3, 1.0]), st.booleans())
def test_a_kept_training_trains_and_evaluates_as_its_records_would(
    window: Window,
    corpus: list[Candidate],
    share: float,
    own: bool,  # noqa: FBT001  drawn by position
) -> None:
    """Its columns are encoded without its records: an id or a number that differed would be another bundle, and silently so."""
    at = CorpusAt(corpus, {0: 3}, 7)
    with tempfile.TemporaryDirectory() as folder:
        write_cache(Path(folder) / "kept", SURFACE, window, at)
        kept, kept_at = read_cache(Path(folder) / "kept", SURFACE)
        assert replace(kept, logged=tuple(kept.logged)) == window
        assert replace(kept_at, candidates=list(kept_at.candidates)) == at
        if own:
            window, kept = window.of_arm(BUNDLE), kept.of_arm(BUNDLE)
        data, kept_data = (TrainingData.of_window(*pair, evaluation_share=share) for pair in ((window, at), (kept, kept_at)))
    assert (kept_data.offsets, list(kept_data.train)) == (data.offsets, list(data.train))
    assert window.between(data.offsets).examples() == list(kept.between(data.offsets).examples())
    assert WindowProfile.of(kept_data.train) == WindowProfile.of(data.train)
    for popularity in ("engagements", "followers"):
        encoder, of_columns = Encoder(TWEET, popularity), Encoder(TWEET, popularity)
        train, evaluation, candidates = encoder.examples(data.train), encoder.examples(data.evaluation), encoder.corpus(data.corpus)
        train_, evaluation_ = of_columns.examples(kept_data.train), of_columns.examples(kept_data.evaluation)
        candidates_ = of_columns.corpus(kept_data.corpus)
        for expected, found in (
            (train, train_),
            (evaluation, evaluation_),
            (train.queries, train_.queries),
            (candidates, candidates_),
        ):
            _same_columns(expected, found)
        assert inputs_digest(train, candidates) == inputs_digest(train_, candidates_)


def _same_columns(expected: Examples | Queries | Corpus, found: Examples | Queries | Corpus) -> None:
    for column in fields(expected):
        one, other = getattr(expected, column.name), getattr(found, column.name)
        if column.name != "queries":
            assert one.dtype == other.dtype, column.name
            np.testing.assert_array_equal(one, other, column.name)
