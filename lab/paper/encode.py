"""A world log as the trainer's columns: what embedder, labeler and encoder would have made of it, without 500,000 records.

The ids are those of `FeatureSpec.encode_queries` and `.encode_candidates`, bit for bit; a test holds them to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lab.observed.columns import Bools, Floats, Ints
from lab.observed.log import WorldLog
from lab.paper.served import ServedState
from schemas.errors import BundleMismatch
from schemas.features.hashing import hash_bucket
from schemas.features.spec import FeatureSpec, Field
from schemas.records.feedback import Provenance
from schemas.records.users import MAX_INTERESTS, MAX_LANGUAGES, MAX_QUERY_FOLLOWS
from trainer.data.columns import NO_LANGUAGE, PROVENANCES, Corpus, Examples, Queries

Ids = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class _Words:
    """A text feature: `rows` int64 [n, up to some], places in `names`, -1 for none; what is there comes first."""

    rows: Ints
    names: Sequence[str]


class LogEncoder:
    """Encodes pairs of a log as of the moment they were served."""

    def __init__(self, log: WorldLog, spec: FeatureSpec) -> None:
        self.log = log
        self.spec = spec
        self.state = ServedState(log)
        self._tables: dict[tuple[str, int, int], Ids] = {}

    def queries(self, users: Ints, times_s: Floats) -> Queries:
        """Return what a query tower reads of users (int64 [n], rows) at times (float64 [n])."""
        log, state = self.log, self.state
        profiles, tweets, names = log.profiles, log.tweets, log.names
        history = state.history(users, times_s)
        engaged = np.maximum(history, 0)
        languages = _first(profiles.languages[users], MAX_LANGUAGES)
        values: dict[str, Callable[[], _Words]] = {
            "languages": lambda: _Words(languages, names.languages),
            "region": lambda: _Words(profiles.region[users][:, None], names.regions),
            "interests": lambda: _Words(_first(profiles.interests[users], MAX_INTERESTS), names.topics),
            "follows": lambda: _Words(_first(profiles.follows[users], MAX_QUERY_FOLLOWS), names.authors),
            "history_authors": lambda: _Words(np.where(history < 0, -1, tweets.author[engaged]), names.authors),
            "history_topics": lambda: _Words(state.history_topics(history), names.topics),
            "history_languages": lambda: _Words(np.where(history < 0, -1, tweets.language[engaged]), names.languages),
        }
        blocks = [
            # the home timeline has no context
            np.zeros((len(users), field.slots), np.int32)
            if field.source.startswith("context.")
            else self._hashed(field, self._value(field, values)())
            for field in self.spec.query
        ]
        return Queries(np.concatenate(blocks, axis=1), users.astype(np.int32), languages.astype(np.int32))

    def contexts(self, tweets: Ints) -> Ids:
        """Return what a query tower reads where tweets (int64 [n], rows) ask and nothing is known of the user, int32 [n, width]."""
        columns, names = self.log.tweets, self.log.names
        values: dict[str, Callable[[], _Words]] = {
            "context.author_id": lambda: _Words(columns.author[tweets][:, None], names.authors),
            "context.language": lambda: _Words(columns.language[tweets][:, None], names.languages),
            "context.topic": lambda: _Words(columns.topics[tweets][:, :1], names.topics),
        }
        blocks = [
            self._hashed(field, values[field.source]())
            if field.source in values
            else np.zeros((len(tweets), field.slots), np.int32)
            for field in self.spec.query
        ]
        return np.concatenate(blocks, axis=1)

    def candidates(self, tweets: Ints, times_s: Floats) -> Ids:
        """Return what a candidate tower reads of tweets (int64 [n], rows) at times (float64 [n]), int32 [n, width]."""
        columns, names = self.log.tweets, self.log.names
        author = columns.author[tweets]
        values: dict[str, Callable[[], _Words]] = {
            "language": lambda: _Words(columns.language[tweets][:, None], names.languages),
            "author_id": lambda: _Words(author[:, None], names.authors),
            "topics": lambda: _Words(columns.topics[tweets], names.topics),
            "region": lambda: _Words(columns.region[tweets][:, None], names.regions),
        }
        blocks = []
        for field in self.spec.candidate:
            if field.source.startswith("counters."):
                counts = self.state.counter(field.source.removeprefix("counters."), tweets, times_s)
                blocks.append(_logarithmic(field, counts))
            elif field.source == "author_followers":
                blocks.append(_logarithmic(field, self.log.author_followers[author]))
            else:
                blocks.append(self._hashed(field, self._value(field, values)()))
        return np.concatenate(blocks, axis=1)

    def examples(self, rows: Ints) -> Examples:
        """Return impressions (int64 [n], rows) as examples; those of one visit share the query of its first moment."""
        shown = self.log.impressions.take(rows)
        _, first, query = np.unique(shown.request, return_index=True, return_inverse=True)
        return Examples(
            queries=self.queries(shown.user[first], shown.time_s[first]),
            query=query.astype(np.int32),
            candidate_ids=self.candidates(shown.tweet, shown.time_s),
            items=shown.tweet.astype(np.int32),
            labels=shown.label,
            popularity=self.state.popularity(shown.tweet, shown.time_s),
            event_time_ms=np.rint(shown.time_s * 1000).astype(np.int64),
            provenance=np.full(len(shown), PROVENANCES.index(Provenance.SERVED), np.int8),
        )

    def corpus(self, tweets: Ints, times_s: Floats) -> Corpus:
        """Return tweets (int64 [n], rows) as a corpus, each as it was at its time (float64 [n])."""
        return Corpus(
            candidate_ids=self.candidates(tweets, times_s),
            items=tweets.astype(np.int32),
            languages=self._language_numbers()[self.log.tweets.language[tweets]],
            popularity=self.state.popularity(tweets, times_s),
        )

    def _language_numbers(self) -> Ids:
        return np.array(
            [NO_LANGUAGE if name in ("", "und") else number for number, name in enumerate(self.log.names.languages)], np.int32
        )

    def _value(self, field: Field, values: dict[str, Callable[[], _Words]]) -> Callable[[], _Words]:
        if field.source not in values or field.kind != "hash":
            raise BundleMismatch(
                f"feature {field.name!r} reads {field.source!r}, which worlds do not have; teach lab/paper/encode.py to read it"
            )
        return values[field.source]

    def _hashed(self, field: Field, words: _Words) -> Ids:
        key = (field.table_name, field.buckets, id(words.names))
        if key not in self._tables:
            buckets = [hash_bucket(self.spec.seed, field.table_name, name, field.buckets) if name else 0 for name in words.names]
            # a last entry of 0, padding, stands for "none", which is -1
            self._tables[key] = np.array([*buckets, 0], np.int32)
        ids = np.zeros((len(words.rows), field.slots), np.int32)
        taken = words.rows[:, : field.slots]
        ids[:, : taken.shape[1]] = self._tables[key][taken]
        return ids


def _first(held: Bools, count: int) -> Ints:
    """Return the places of the first true entries of each row, int64 [n, count], -1 where there are fewer."""
    width = min(count, held.shape[1])
    order = np.argsort(~held, axis=1, kind="stable")[:, :width]
    return np.where(np.take_along_axis(held, order, axis=1), order, -1)


def _logarithmic(field: Field, counts: Ints) -> Ids:
    # frexp is exact where a logarithm may round up: 1 + n = m * 2**e with m in [0.5, 1)
    exponent = np.frexp(1.0 + np.maximum(counts, 0))[1] - 1
    ids: Ids = (1 + np.minimum(exponent, field.buckets - 1)).astype(np.int32)[:, None]
    return ids
