"""Examples and a corpus as columns: ids encoded once, names as numbers. Reads no topic and samples nothing.

Of records that were kept as a table no record is made: they are encoded column by column, to the same numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Self

import numpy as np
from numpy.typing import NDArray

from schemas.features.columns import Texts
from schemas.features.spec import FeatureSpec
from schemas.records.candidates import UNDETERMINED, Candidate, CandidateFeatures, Counters
from schemas.records.feedback import Example, Label, Provenance
from schemas.records.users import MAX_LANGUAGES, QueryFeatures
from schemas.surfaces import Popularity
from trainer.data.tables import Columns, Rows, numbered

POSITIVE = 1
IMPLICIT_NEGATIVE = 0
# show-less and block: never a positive, never an implicit negative (CONTRACTS, 'The label join')
EXPLICIT_NEGATIVE = -1
NO_LANGUAGE = -1

_LABELS = {
    Label.POSITIVE: POSITIVE,
    Label.IMPLICIT_NEGATIVE: IMPLICIT_NEGATIVE,
    Label.EXPLICIT_NEGATIVE: EXPLICIT_NEGATIVE,
}
_UNKNOWN_LABEL = -128
PROVENANCES = tuple(Provenance)
_ENGAGEMENTS = ("favorite", "retweet", "reply", "click", "follow")
_engagements = attrgetter(*_ENGAGEMENTS)


@dataclass(frozen=True, slots=True, eq=False)
class Queries:
    """Distinct queries: one row for all that was shown in answer to it.

    Attributes:
        ids: int32 [queries, query width].
        users: int32 [queries], a number for each user id.
        languages: int32 [queries, 4], numbers of the declared languages, `NO_LANGUAGE` where there is none.
    """

    ids: NDArray[np.int32]
    users: NDArray[np.int32]
    languages: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Served pairs with labels. Every column but `queries` has one row an example.

    Attributes:
        query: int32, row in `queries`.
        candidate_ids: int32 [examples, candidate width], the candidate's features as they were served.
        items: int32, a number for each candidate id, shared with the `Corpus` of the same encoder.
        labels: int8, `POSITIVE`, `IMPLICIT_NEGATIVE` or `EXPLICIT_NEGATIVE`.
        popularity: int64, the candidate's popularity when it was served.
        event_time_ms: int64, of the impression.
        provenance: int8, index into `PROVENANCES`.
    """

    queries: Queries
    query: NDArray[np.int32]
    candidate_ids: NDArray[np.int32]
    items: NDArray[np.int32]
    labels: NDArray[np.int8]
    popularity: NDArray[np.int64]
    event_time_ms: NDArray[np.int64]
    provenance: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def users(self) -> NDArray[np.int32]:
        """The user's number, one an example."""
        return self.queries.users[self.query]

    @property
    def positives(self) -> NDArray[np.int64]:
        """Rows of the positives."""
        return np.flatnonzero(self.labels == POSITIVE)

    @property
    def implicit(self) -> NDArray[np.int64]:
        """Rows of the positives and implicit negatives: what served-traffic training and AUC may use."""
        return np.flatnonzero(self.labels != EXPLICIT_NEGATIVE)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Self:
        """Return the named rows, or those where a mask is true; the queries stay whole."""
        columns = {column.name: getattr(self, column.name)[rows] for column in fields(self) if column.name != "queries"}
        return replace(self, **columns)

    def without_idle_queries(self) -> Self:
        """Return the same without the queries of no example: what is measured of queries is else measured of those too."""
        rows, query = np.unique(self.query, return_inverse=True)
        queries = Queries(*(getattr(self.queries, column.name)[rows] for column in fields(Queries)))
        return replace(self, queries=queries, query=query.astype(np.int32))


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """The candidates a retrieval can return, as of one moment.

    Attributes:
        candidate_ids: int32 [candidates, candidate width], current features.
        items: int32, numbers shared with the `Examples` of the same encoder.
        languages: int32, `NO_LANGUAGE` where it is not determined.
        popularity: int64.
    """

    candidate_ids: NDArray[np.int32]
    items: NDArray[np.int32]
    languages: NDArray[np.int32]
    popularity: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.items)


@dataclass(slots=True)
class Encoder:
    """Turns records into columns. Numbers given to users, items and languages hold across all calls of one encoder."""

    spec: FeatureSpec
    popularity: Popularity = "engagements"
    _users: dict[str, int] = field(default_factory=dict)
    _items: dict[str, int] = field(default_factory=dict)
    _languages: dict[str, int] = field(default_factory=dict)

    def examples(self, examples: Sequence[Example]) -> Examples:
        """Return the columns of examples, in their order; one whose label this build does not know is left out."""
        if isinstance(examples, Rows):
            return self._examples_of(examples)
        known = [example for example in examples if example.label in _LABELS]
        rows: dict[tuple[object, ...], int] = {}
        distinct: list[Example] = []
        query = np.empty(len(known), np.int32)
        for index, example in enumerate(known):
            key = _query_key(example.user_id, example.query)
            if key not in rows:
                rows[key] = len(distinct)
                distinct.append(example)
            query[index] = rows[key]
        return Examples(
            queries=self._queries(distinct),
            query=query,
            candidate_ids=self.spec.encode_candidates([example.candidate for example in known]).astype(np.int32),
            items=np.array([_number(self._items, example.candidate_id) for example in known], np.int32),
            labels=np.array([_LABELS[example.label] for example in known], np.int8),
            popularity=np.array([popularity_of(example.candidate, self.popularity) for example in known], np.int64),
            event_time_ms=np.array([example.event_time_ms for example in known], np.int64),
            provenance=np.array([PROVENANCES.index(example.provenance) for example in known], np.int8),
        )

    def corpus(self, candidates: Sequence[Candidate]) -> Corpus:
        """Return the columns of candidates, in their order; stubs and deletes are in no corpus."""
        if isinstance(candidates, Rows):
            return self._corpus_of(candidates)
        live = [(c.candidate_id, features) for c in candidates if (features := c.features()) is not None]
        return Corpus(
            candidate_ids=self.spec.encode_candidates([features for _, features in live]).astype(np.int32),
            items=np.array([_number(self._items, candidate_id) for candidate_id, _ in live], np.int32),
            languages=np.array([self._language(features.language) for _, features in live], np.int32),
            popularity=np.array([popularity_of(features, self.popularity) for _, features in live], np.int64),
        )

    def _queries(self, distinct: Sequence[Example]) -> Queries:
        languages = np.full((len(distinct), MAX_LANGUAGES), NO_LANGUAGE, np.int32)
        for row, example in enumerate(distinct):
            for column, language in enumerate(example.query.languages[:MAX_LANGUAGES]):
                languages[row, column] = self._language(language)
        return Queries(
            ids=self.spec.encode_queries([example.query for example in distinct]).astype(np.int32),
            users=np.array([_number(self._users, example.user_id) for example in distinct], np.int32),
            languages=languages,
        )

    def _examples_of(self, rows: Rows[Example]) -> Examples:
        labels = _numbers(rows.columns("label").texts("label"), lambda label: _LABELS.get(Label(label), _UNKNOWN_LABEL))
        rows, labels = rows.take(labels != _UNKNOWN_LABEL), labels[labels != _UNKNOWN_LABEL]
        columns = rows.columns("user_id", "query", "candidate_id", "candidate", "event_time_ms", "provenance")
        candidate = Columns.within(columns.array("candidate"))
        query = Columns.within(columns.array("query"))
        numbers = numbered([columns.array("user_id"), *query.arrays.values()])
        distinct = np.unique(numbers, return_index=True)[1]
        return Examples(
            queries=self._queries_of(rows.take(distinct).columns("user_id", "query")),
            query=numbers,
            candidate_ids=self.spec.encode_candidate_columns(candidate).astype(np.int32),
            items=_numbers(columns.texts("candidate_id"), lambda name: _number(self._items, name)),
            labels=labels.astype(np.int8),
            popularity=_popularity_of_columns(candidate, self.popularity),
            event_time_ms=columns.counts("event_time_ms"),
            provenance=_numbers(columns.texts("provenance"), lambda name: PROVENANCES.index(Provenance(name))).astype(np.int8),
        )

    def _queries_of(self, columns: Columns) -> Queries:
        query = Columns.within(columns.array("query"))
        declared = query.texts("languages", most=MAX_LANGUAGES)
        languages = np.full((len(query), MAX_LANGUAGES), NO_LANGUAGE, np.int32)
        languages[declared.places()] = _numbers(declared, self._language)
        return Queries(
            ids=self.spec.encode_query_columns(query).astype(np.int32),
            users=_numbers(columns.texts("user_id"), lambda name: _number(self._users, name)),
            languages=languages,
        )

    def _corpus_of(self, rows: Rows[Candidate]) -> Corpus:
        state = rows.columns("deleted", "attributes")
        attributes, deleted = state.array("attributes"), state.array("deleted").to_numpy(zero_copy_only=False)
        columns = rows.take(attributes.is_valid().to_numpy(zero_copy_only=False) & ~deleted).columns(
            "candidate_id", "attributes", "counters"
        )
        features = Columns({**Columns.within(columns.array("attributes")).arrays, "counters": columns.array("counters")})
        return Corpus(
            candidate_ids=self.spec.encode_candidate_columns(features).astype(np.int32),
            items=_numbers(columns.texts("candidate_id"), lambda name: _number(self._items, name)),
            languages=_numbers(features.texts("language"), self._language),
            popularity=_popularity_of_columns(features, self.popularity),
        )

    def _language(self, language: str) -> int:
        return NO_LANGUAGE if language in ("", UNDETERMINED) else _number(self._languages, language)


def popularity_of(features: CandidateFeatures, popularity: Popularity) -> int:
    """Return an item's popularity as its surface defines it (paper, section 4.3.2): followers, or engagements received."""
    if popularity == "followers":
        return features.author_followers
    counters: Counters = features.counters.clipped()
    return sum(_engagements(counters))


def _popularity_of_columns(features: Columns, popularity: Popularity) -> NDArray[np.int64]:
    if popularity == "followers":
        return features.counts("author_followers")
    counters = Columns.within(features.array("counters"))
    total: NDArray[np.int64] = np.sum([np.maximum(counters.counts(name), 0) for name in _ENGAGEMENTS], axis=0)
    return total


def _numbers(texts: Texts, number: Callable[[str], int]) -> NDArray[np.int32]:
    """Return a number for each text; each word is asked for once, in the order in which they come up."""
    numbers: NDArray[np.int32] = np.array([number(word) for word in texts.words], np.int32)[texts.codes]
    return numbers


def _number(numbers: dict[str, int], name: str) -> int:
    return numbers.setdefault(name, len(numbers))


def _query_key(user_id: str, query: QueryFeatures) -> tuple[object, ...]:
    context: Mapping[str, str] = query.context
    return (
        user_id,
        query.languages,
        query.region,
        query.interests,
        query.follows,
        query.history_authors,
        query.history_topics,
        query.history_languages,
        tuple(sorted(context.items())) if context else (),
    )
