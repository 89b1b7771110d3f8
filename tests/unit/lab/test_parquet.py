"""A world in files: what is written reads back equal, and somebody else's world is read or refused with a reason."""

from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from lab.observed.log import WorldLog
from lab.observed.parquet import from_parquet, to_parquet
from lab.paper.encode import LogEncoder
from lab.world import WorldSettings, simulate
from schemas.errors import InvalidInput
from schemas.features.catalog import TWEET

SMALL = WorldSettings(seed=2, users=80, authors=30, tweets_per_day=150, languages=4)


@pytest.fixture(scope="module")
def log() -> WorldLog:
    """One day of a small world."""
    return simulate(SMALL, 1, test_users=20)


@pytest.fixture
def folder(log: WorldLog, tmp_path: Path) -> Path:
    """The log, written."""
    to_parquet(log, tmp_path)
    return tmp_path


def test_what_is_written_reads_back_equal(log: WorldLog, folder: Path) -> None:
    """An experiment on `--world DIR` must be the experiment on the world that was written there."""
    read = from_parquet(folder)
    assert read.names.users == log.names.users
    assert read.names.candidates == log.names.candidates[: len(log.tweets)]
    assert [read.names.languages[n] for n in read.tweets.language] == [log.names.languages[n] for n in log.tweets.language]
    assert [read.names.authors[n] for n in read.tweets.author] == [log.names.authors[n] for n in log.tweets.author]
    assert (read.author_followers[read.tweets.author] == log.author_followers[log.tweets.author]).all()
    for column in fields(log.impressions):
        theirs, ours = getattr(read.impressions, column.name), getattr(log.impressions, column.name)
        if column.name == "time_s":
            assert theirs == pytest.approx(ours, abs=0.001)
        elif column.name != "request":
            assert (theirs == ours).all()
    assert len(np.unique(read.impressions.request)) == len(np.unique(log.impressions.request))
    assert (read.engagements.impression == log.engagements.impression).all()
    assert (read.engagements.kind == log.engagements.kind).all()
    assert (read.truth.tweet == log.truth.tweet).all()
    assert (read.truth.p == log.truth.p).all()
    assert read.truth.readable is not None
    assert log.truth.readable is not None
    assert (read.truth.readable == log.truth.readable).all()
    for user in range(5):
        declared = {read.names.languages[n] for n in np.flatnonzero(read.profiles.languages[user])}
        assert declared == {log.names.languages[n] for n in np.flatnonzero(log.profiles.languages[user])}
        follows = {read.names.authors[n] for n in np.flatnonzero(read.profiles.follows[user])}
        assert follows == {log.names.authors[n] for n in np.flatnonzero(log.profiles.follows[user])}


def test_the_files_hold_the_documented_columns(folder: Path) -> None:
    """Somebody who has only the layout's description must be able to read them."""
    schemas = {path.stem: pq.read_schema(path) for path in folder.iterdir()}
    assert {name: schema.names for name, schema in schemas.items()} == {
        "users": ["user_id", "languages", "region", "interests", "follows"],
        "tweets": ["candidate_id", "author_id", "created_ms", "dead_ms", "language", "region", "topics", "author_followers"],
        "impressions": ["request_id", "user_id", "candidate_id", "position", "time_ms", "label"],
        "engagements": ["user_id", "request_id", "candidate_id", "kind", "time_ms"],
        "truth": ["user_id", "candidate_id", "time_ms", "p", "p_favorite", "p_retweet", "readable"],
    }
    assert schemas["users"].field("follows").type == pa.list_(pa.string())
    assert schemas["truth"].field("p").type == pa.float64()
    assert schemas["tweets"].field("created_ms").type == pa.int64()


def test_a_world_of_the_least_columns_in_any_order_is_read(log: WorldLog, folder: Path) -> None:
    """Others have no engagement kinds, no deaths and no truth about what users read."""
    (folder / "engagements.parquet").unlink()
    _change(folder / "tweets.parquet", drop="dead_ms")
    _change(folder / "truth.parquet", drop="readable")
    _change(folder / "truth.parquet", drop="p_favorite")
    for name in ("truth", "tweets", "impressions"):
        table = pq.read_table(folder / f"{name}.parquet")
        shuffled = table.take(np.random.default_rng(0).permutation(table.num_rows))
        pq.write_table(shuffled, folder / f"{name}.parquet")
    read = from_parquet(folder)
    assert (read.truth.p == log.truth.p).all()
    assert read.truth.p_favorite is read.truth.p
    assert read.truth.readable is None
    assert len(read.engagements) == (log.impressions.label == 1).sum()
    assert read.tweets.dead_s == pytest.approx(read.tweets.created_s + 48 * 3600)


@pytest.mark.parametrize(
    ("file", "column", "values", "complaint"),
    [
        ("impressions", "user_id", lambda n: ["nobody"] * n, "user_id 'nobody'"),
        ("impressions", "label", lambda n: [7] * n, "must be 1, 0 or -1"),
        ("impressions", "time_ms", None, "has no column time_ms"),
        ("engagements", "request_id", lambda n: ["nowhere"] * n, "request_id 'nowhere'"),
        ("engagements", "candidate_id", lambda n: ["t:0"] * n, "is no impression"),
        ("impressions", "label", lambda n: [257] * n, "must be 1, 0 or -1"),
        (
            "impressions",
            "time_ms",
            lambda n: [datetime(2026, 1, 1, tzinfo=UTC)] * n,
            "impressions.*time_ms.*write Unix milliseconds",
        ),
        ("tweets", "created_ms", lambda n: [datetime(2026, 1, 1, tzinfo=UTC)] * n, "created_ms.*write Unix milliseconds"),
        ("truth", "time_ms", lambda n: [datetime(2026, 1, 1, tzinfo=UTC)] * n, "time_ms.*write Unix milliseconds"),
        ("users", "languages", lambda n: ["en"] * n, "languages is of type string; write lists of strings"),
        ("users", "follows", lambda n: [["a:1", None]] * n, "follows hold .* nulls"),
        ("tweets", "topics", lambda n: [[None]] * n, "topics hold .* nulls"),
        ("users", "region", lambda n: [["us"]] * n, "region is of type list.*; write strings"),
        ("truth", "p_favorite", lambda n: [7.0] * n, "p_favorite holds 7"),
        ("truth", "p_retweet", lambda n: [-1.0] * n, "p_retweet holds -1"),
        ("truth", "p", lambda n: [1.5] * n, "1.5"),
        ("truth", "p", lambda n: [float("nan")] * n, "no number"),
        ("truth", "p", lambda n: [None] * n, "nulls"),
        ("truth", "time_ms", range, "one test time"),
        ("truth", "candidate_id", lambda n: ["t:1"] * n, "pairs"),
        ("tweets", "candidate_id", lambda n: ["t:1"] * n, "candidate_id twice"),
    ],
)
def test_a_broken_world_is_refused_with_what_is_wrong(folder: Path, file: str, column: str, values: object, complaint: str) -> None:
    """A wrong world that ran would print wrong science."""
    _change(folder / f"{file}.parquet", drop=column, values=values)
    with pytest.raises(InvalidInput, match=complaint):
        from_parquet(folder)


def test_an_impression_that_is_there_twice_is_refused(folder: Path) -> None:
    """Two exports put together: each of its examples would weigh double."""
    path = folder / "impressions.parquet"
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table.slice(3, 2)]), path)
    with pytest.raises(InvalidInput, match=r"impressions\.parquet has 2 impressions .* write each impression once"):
        from_parquet(folder)


def test_requests_may_be_numbered_user_by_user(log: WorldLog, folder: Path) -> None:
    """A request is its user's: grouped by its id alone, a training reads another user's features, and nothing says so."""
    expected = from_parquet(folder)
    numbered = _numbered_by_user(log)
    _change(folder / "impressions.parquet", drop="request_id", values=lambda _: numbered)
    _change(folder / "engagements.parquet", drop="request_id", values=lambda _: numbered[log.engagements.impression])
    read = from_parquet(folder)
    assert (read.engagements.impression == expected.engagements.impression).all()
    encoded, examples = (LogEncoder(one, TWEET).examples(np.arange(len(log.impressions))) for one in (read, expected))
    assert (encoded.users == log.impressions.user).all()
    assert len(encoded.queries) == len(examples.queries)
    assert (encoded.queries.ids[encoded.query] == examples.queries.ids[examples.query]).all()


def test_engagements_of_no_user_need_request_ids_of_one_user(log: WorldLog, folder: Path) -> None:
    """Who engaged can be told by the request while only one user has it; else it would be anybody of several."""
    _change(folder / "engagements.parquet", drop="user_id")
    assert (from_parquet(folder).engagements.impression == log.engagements.impression).all()
    _change(folder / "impressions.parquet", drop="request_id", values=lambda n: ["1"] * n)
    _change(folder / "engagements.parquet", drop="request_id", values=lambda n: ["1"] * n)
    with pytest.raises(InvalidInput, match="add a column user_id"):
        from_parquet(folder)


def test_a_missing_or_foreign_file_is_named(folder: Path) -> None:
    """`--world` pointing elsewhere is the commonest mistake."""
    (folder / "users.parquet").write_bytes(b"user_id\nann\n")
    with pytest.raises(InvalidInput, match=r"users\.parquet cannot be read"):
        from_parquet(folder)
    with pytest.raises(InvalidInput, match=r"users\.parquet cannot be read"):
        from_parquet(folder / "nowhere")


def _numbered_by_user(log: WorldLog) -> NDArray[np.str_]:
    """Return each impression's request, numbered "1", "2" and so on among its user's."""
    begun: dict[int, dict[int, str]] = {}
    of_user = [begun.setdefault(user, {}) for user in log.impressions.user.tolist()]
    requests = zip(of_user, log.impressions.request.tolist(), strict=True)
    return np.array([known.setdefault(request, str(len(known) + 1)) for known, request in requests])


def _change(path: Path, *, drop: str, values: object = None) -> None:
    table = pq.read_table(path)
    changed = table.drop_columns([drop])
    if callable(values):
        changed = changed.append_column(drop, pa.array(list(values(table.num_rows))))
    pq.write_table(changed, path)
