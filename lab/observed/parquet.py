"""A world log as a folder of Parquet files, so that an experiment can run on a world that somebody else made. Draws nothing.

    users.parquet        user_id, languages [string], region, interests [string], follows [string]      as declared
    tweets.parquet       candidate_id, author_id, created_ms, language, region, topics [string], author_followers; optional dead_ms
    impressions.parquet  request_id, user_id, candidate_id, position, time_ms, label: 1 engaged, 0 not, -1 asked for less of it
    engagements.parquet  optional: user_id, request_id, candidate_id, kind (as in the engagement records), time_ms
    truth.parquet        user_id, candidate_id, time_ms, p; optional p_favorite, p_retweet, readable

Ids and words are strings, lists are lists of strings, times are Unix milliseconds (int64), p is float64. `truth` holds every (test
user, candidate alive at test time) pair, all with one `time_ms`. A `request_id` is unique among its user's; engagements may do
without `user_id` where it is unique among everybody's. Without `dead_ms` a tweet dies 48 h after `created_ms`; without
engagements.parquet each label of 1 is a favorite at the time of its impression; without p_favorite and p_retweet both are p;
without `readable` nobody says what a user truly reads. Order of rows and further columns do not matter.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lab.observed.columns import Bools, Floats, Ints
from lab.observed.log import (
    FAVORITE,
    KINDS,
    NO_TOPIC,
    POSITIVE,
    Engagements,
    Impressions,
    Names,
    Profiles,
    Truth,
    Tweets,
    WorldLog,
)
from schemas.errors import InvalidInput

# where a written world begins: 2026-01-01 00:00 UTC. A world that is read begins at the midnight before its first tweet
EPOCH_MS = 1_767_225_600_000
_DAY_MS = 86_400_000
_DEFAULT_LIFE_S = 48 * 3_600.0


def to_parquet(log: WorldLog, folder: Path) -> None:
    """Write a log; files of the same names are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    names, profiles, tweets, shown, done, truth = (
        log.names,
        log.profiles,
        log.tweets,
        log.impressions,
        log.engagements,
        log.truth,
    )
    _write(
        folder / "users.parquet",
        user_id=pa.array(names.users),
        languages=_lists(profiles.languages, names.languages),
        region=_words(profiles.region, names.regions),
        interests=_lists(profiles.interests, names.topics),
        follows=_lists(profiles.follows, names.authors),
    )
    _write(
        folder / "tweets.parquet",
        candidate_id=pa.array(names.candidates[: len(tweets)]),
        author_id=_words(tweets.author, names.authors),
        created_ms=_to_ms(tweets.created_s),
        dead_ms=_to_ms(tweets.dead_s),
        language=_words(tweets.language, names.languages),
        region=_words(tweets.region, names.regions),
        topics=pa.array([[names.topics[topic] for topic in row if topic != NO_TOPIC] for row in tweets.topics.tolist()]),
        author_followers=log.author_followers[tweets.author],
    )
    _write(
        folder / "impressions.parquet",
        request_id=pa.array([f"r:{request}" for request in shown.request.tolist()]),
        user_id=_words(shown.user, names.users),
        candidate_id=_words(shown.tweet, names.candidates),
        position=shown.position,
        time_ms=_to_ms(shown.time_s),
        label=shown.label,
    )
    _write(
        folder / "engagements.parquet",
        user_id=_words(shown.user[done.impression], names.users),
        request_id=pa.array([f"r:{request}" for request in shown.request[done.impression].tolist()]),
        candidate_id=_words(shown.tweet[done.impression], names.candidates),
        kind=_words(done.kind, [str(kind) for kind in KINDS]),
        time_ms=_to_ms(done.time_s),
    )
    user, tweet = (grid.ravel() for grid in np.meshgrid(truth.user, truth.tweet, indexing="ij"))
    readable = {} if truth.readable is None else {"readable": truth.readable.ravel()}
    _write(
        folder / "truth.parquet",
        user_id=_words(user, names.users),
        candidate_id=_words(tweet, names.candidates),
        time_ms=np.full(len(user), EPOCH_MS + round(truth.time_s * 1000)),
        p=truth.p.ravel(),
        p_favorite=truth.p_favorite.ravel(),
        p_retweet=truth.p_retweet.ravel(),
        **readable,
    )


def from_parquet(folder: Path) -> WorldLog:
    """Read a log.

    Raises:
        InvalidInput: a file or column is missing or of another type, an id is not known, an impression is there twice, a label or
            probability is none, or the truth is not whole; the sentence names which.
    """
    users = _Table(folder / "users.parquet")
    tweets = _Table(folder / "tweets.parquet")
    tweets = tweets.sorted_by("created_ms")
    origin_ms = int(tweets.milliseconds("created_ms").min(initial=EPOCH_MS) // _DAY_MS * _DAY_MS) if len(tweets) else EPOCH_MS
    names = Names(
        users=tuple(users.strings("user_id")),
        authors=_vocabulary(tweets.strings("author_id"), *users.lists("follows")),
        candidates=tuple(tweets.strings("candidate_id")),
        languages=_vocabulary(tweets.strings("language"), *users.lists("languages")),
        regions=_vocabulary(tweets.strings("region"), users.strings("region")),
        topics=_vocabulary(*tweets.lists("topics"), *users.lists("interests")),
    )
    for what, ids in (("user_id", names.users), ("candidate_id", names.candidates)):
        if len(set(ids)) != len(ids):
            raise InvalidInput(f"{folder} has a {what} twice; ids must be unique")
    author = tweets.rows("author_id", names.authors)
    followers = np.zeros(len(names.authors), np.int64)
    followers[author] = tweets.numbers("author_followers")
    impressions, request = _impressions(_Table(folder / "impressions.parquet"), names, origin_ms)
    return WorldLog(
        names=names,
        profiles=Profiles(
            languages=users.memberships("languages", names.languages),
            region=users.rows("region", names.regions),
            interests=users.memberships("interests", names.topics),
            follows=users.memberships("follows", names.authors),
        ),
        author_followers=followers,
        tweets=_tweets(tweets, names, author, origin_ms),
        impressions=impressions,
        engagements=_engagements(folder / "engagements.parquet", names, impressions, request, origin_ms),
        truth=_truth(_Table(folder / "truth.parquet"), names, origin_ms),
    )


class _Table:
    """A Parquet file whose every lack is told with its name."""

    def __init__(self, path: Path, table: pa.Table | None = None) -> None:
        self._path = path
        if table is None:
            try:
                table = pq.read_table(path)
            except (OSError, pa.ArrowInvalid) as error:
                raise InvalidInput(f"{path} cannot be read as Parquet ({error}); see `lab/observed/parquet.py`") from error
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __contains__(self, name: str) -> bool:
        return name in self._table.column_names

    def sorted_by(self, name: str) -> "_Table":
        self._column(name)
        return _Table(self._path, self._table.sort_by(name))

    def numbers(self, name: str) -> NDArray[Any]:
        values: NDArray[Any] = self._column(name).to_numpy()
        if values.dtype.kind not in "biuf" or (values.dtype.kind == "f" and not np.isfinite(values).all()):
            kind = self._table.column(name).type
            raise InvalidInput(
                f"{self._path}: column {name}, of type {kind}, holds something that is no number; write numbers alone"
            )
        return values

    def milliseconds(self, name: str) -> Ints:
        kind = self._column(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise InvalidInput(f"{self._path}: column {name} is of type {kind}; write Unix milliseconds as int64")
        return self.numbers(name).astype(np.int64)

    def seconds(self, name: str, origin_ms: int) -> Floats:
        return (self.milliseconds(name) - origin_ms) / 1000

    def probabilities(self, name: str) -> Floats:
        values = self.numbers(name).astype(np.float64)
        if len(wrong := values[(values < 0) | (values > 1)]):
            raise InvalidInput(f"{self._path}: column {name} holds {wrong[0]:g}; a probability lies in 0 to 1")
        return values

    def strings(self, name: str) -> list[str]:
        values: list[str] = self._cast(name, pa.string(), "strings").to_pylist()
        return values

    def lists(self, name: str) -> list[list[str]]:
        column = self._cast(name, pa.list_(pa.string()), "lists of strings")
        if nulls := pc.list_flatten(column).null_count:
            raise InvalidInput(f"{self._path}: the lists of column {name} hold {nulls} nulls; leave those out of the lists")
        values: list[list[str]] = column.to_pylist()
        return values

    def rows(self, name: str, names: Sequence[str]) -> Ints:
        """Return where each value lies in `names`, int64 [rows]."""
        known = {text: row for row, text in enumerate(names)}
        encoded = self._cast(name, pa.string(), "strings").combine_chunks().dictionary_encode()
        words = encoded.dictionary.to_pylist()
        if unknown := [word for word in words if word not in known]:
            raise InvalidInput(f"{self._path}: {name} {unknown[0]!r} is in no other file")
        place = np.array([known[word] for word in words] or [0], np.int64)
        rows: Ints = place[encoded.indices.to_numpy(zero_copy_only=False)]
        return rows

    def memberships(self, name: str, names: Sequence[str]) -> Bools:
        """Return bool [rows, names], whether a row's list holds a name."""
        known = {text: row for row, text in enumerate(names)}
        held = np.zeros((len(self), len(names)), np.bool_)
        for row, words in enumerate(self.lists(name)):
            held[row, [known[word] for word in words]] = True
        return held

    def _cast(self, name: str, kind: pa.DataType, words: str) -> Any:
        column = self._column(name)
        try:
            return column.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InvalidInput(f"{self._path}: column {name} is of type {column.type}; write {words}") from error

    def _column(self, name: str) -> Any:
        if name not in self._table.column_names:
            raise InvalidInput(f"{self._path} has no column {name}; it has {', '.join(self._table.column_names)}")
        column = self._table.column(name)
        if column.null_count:
            raise InvalidInput(f"{self._path}: column {name} has {column.null_count} nulls; leave out those rows")
        return column


def _tweets(table: _Table, names: Names, author: Ints, origin_ms: int) -> Tweets:
    known = {text: row for row, text in enumerate(names.topics)}
    lists = table.lists("topics")
    topics = np.full((len(table), max([1, *map(len, lists)])), NO_TOPIC, np.int64)
    for row, words in enumerate(lists):
        topics[row, : len(words)] = [known[word] for word in words]
    created_s = table.seconds("created_ms", origin_ms)
    dead_s = table.seconds("dead_ms", origin_ms) if "dead_ms" in table else created_s + _DEFAULT_LIFE_S
    return Tweets(
        author,
        table.rows("language", names.languages),
        table.rows("region", names.regions),
        topics,
        created_s,
        dead_s,
        np.zeros(len(table), np.bool_),
    )


def _impressions(table: _Table, names: Names, origin_ms: int) -> tuple[Impressions, tuple[str, ...]]:
    table = table.sorted_by("time_ms")
    request_ids = _vocabulary(table.strings("request_id"))
    user, tweet = table.rows("user_id", names.users), table.rows("candidate_id", names.candidates)
    label = table.numbers("label")
    # before they become int8, in which 257 is 1
    if not np.isin(label, (-1, 0, 1)).all():
        raise InvalidInput("labels of impressions.parquet must be 1, 0 or -1")
    shown = Impressions(
        # others may number their requests user by user: a visit is a user's request
        table.rows("request_id", request_ids) * len(names.users) + user,
        user,
        tweet,
        table.numbers("position").astype(np.int64),
        table.seconds("time_ms", origin_ms),
        label.astype(np.int8),
    )
    if repeated := len(shown) - len(np.unique(_pairs(shown.request, tweet, names))):
        raise InvalidInput(
            f"impressions.parquet has {repeated} impressions whose user_id, request_id and candidate_id another has; "
            "write each impression once"
        )
    return shown, request_ids


def _engagements(path: Path, names: Names, shown: Impressions, request_ids: tuple[str, ...], origin_ms: int) -> Engagements:
    if not path.exists():
        engaged = np.flatnonzero(shown.label == POSITIVE)
        return Engagements(engaged, np.full(len(engaged), FAVORITE, np.int8), shown.time_s[engaged])
    table = _Table(path)
    kinds = [str(kind) for kind in KINDS]
    visits, asked = shown.request, table.rows("request_id", request_ids)
    if "user_id" in table:
        asked = asked * len(names.users) + table.rows("user_id", names.users)
    else:
        visits = visits // len(names.users)
    tweets = np.concatenate([shown.tweet, table.rows("candidate_id", names.candidates)])
    shown_key, key = np.split(_pairs(np.concatenate([visits, asked]), tweets, names), [len(shown)])
    order = np.argsort(shown_key, kind="stable")
    begin, end = (np.searchsorted(shown_key[order], key, side=side) for side in ("left", "right"))
    if (begin == end).any():
        raise InvalidInput(f"{path} has an engagement whose (request_id, candidate_id) is no impression")
    if (end - begin > 1).any():
        raise InvalidInput(
            f"{path} has an engagement whose (request_id, candidate_id) several users were shown; add a column user_id"
        )
    return Engagements(order[begin], table.rows("kind", kinds).astype(np.int8), table.seconds("time_ms", origin_ms))


def _pairs(visits: Ints, tweets: Ints, names: Names) -> Ints:
    """Return a number for each (visit, tweet), int64 [n]; of ranks, since the visits' own numbers leave 64 bits no room."""
    _, rank = np.unique(visits, return_inverse=True)
    pairs: Ints = rank * len(names.candidates) + tweets
    return pairs


def _truth(table: _Table, names: Names, origin_ms: int) -> Truth:
    user, tweet, times = (
        table.rows("user_id", names.users),
        table.rows("candidate_id", names.candidates),
        table.milliseconds("time_ms"),
    )
    if not len(table) or times.min() != times.max():
        raise InvalidInput(f"truth.parquet must have one test time and some pairs; it has {len(table)} pairs of several times")
    # counting is many times faster than np.unique on millions of pairs
    users, tweets = np.flatnonzero(np.bincount(user)), np.flatnonzero(np.bincount(tweet))
    place = np.searchsorted(users, user) * len(tweets) + np.searchsorted(tweets, tweet)
    if (np.bincount(place, minlength=len(users) * len(tweets)) != 1).any():
        raise InvalidInput(
            f"truth.parquet has {len(place)} pairs, not each of {len(users)} users with each of {len(tweets)} candidates once"
        )

    def grid(values: NDArray[Any]) -> NDArray[Any]:
        whole = np.empty(len(place), values.dtype)
        whole[place] = values
        return whole.reshape(len(users), len(tweets))

    p = grid(table.probabilities("p"))
    p_favorite, p_retweet = (grid(table.probabilities(name)) if name in table else p for name in ("p_favorite", "p_retweet"))
    return Truth(
        float((times[0] - origin_ms) / 1000),
        users,
        tweets,
        p,
        p_favorite,
        p_retweet,
        grid(table.numbers("readable").astype(np.bool_)) if "readable" in table else None,
    )


def _vocabulary(*lists: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({word for words in lists for word in words}))


def _words(rows: NDArray[Any], names: Sequence[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(rows.astype(np.int32)), pa.array(names)).dictionary_decode()


def _lists(held: Bools, names: Sequence[str]) -> pa.Array:
    return pa.array([[names[n] for n in np.flatnonzero(row).tolist()] for row in held], pa.list_(pa.string()))


def _to_ms(seconds: Floats) -> Ints:
    return EPOCH_MS + np.rint(seconds * 1000).astype(np.int64)


def _write(path: Path, **columns: Any) -> None:
    pq.write_table(pa.table(columns), path, compression="zstd")
