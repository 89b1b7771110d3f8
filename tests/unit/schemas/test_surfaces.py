"""Surfaces as configuration: what is shipped, and that a mistake in a file is named, not guessed around."""

from dataclasses import fields
from pathlib import Path

import pytest

from schemas.surfaces import FIXED, Surface, asked_refresh_fault, load_surfaces, refresh_fault, surfaces_of

GOOD = """
[accounts-1]
candidate_topic = "accounts"
id_prefix = "a:"
feature_spec = "tweet-v1"
dim = 64
popularity = "followers"
refresh = "write-time"
label_window_s = 5
recency_window_s = 0
"""


def load(tmp_path: Path, text: str) -> dict[str, Surface]:
    """Read surfaces from a text."""
    path = tmp_path / "surfaces.toml"
    path.write_text(text, "utf-8")
    return load_surfaces(path)


def test_the_shipped_surfaces_are_read() -> None:
    """They are the product out of the box."""
    surfaces = load_surfaces()
    home, movies = surfaces["home-timeline"], surfaces["movies"]
    assert (home.label_window_s, home.lateness_s) == (1800, 180)
    assert home.holds(1_000, 1_000 + 172_800_000 - 1)
    assert not home.holds(1_000, 1_000 + 172_800_000)
    assert movies.holds(0, 10**15)


def test_a_surface_of_ones_own_is_read(tmp_path: Path) -> None:
    """All windows and names are configuration."""
    assert load(tmp_path, GOOD)["accounts-1"].popularity == "followers"


MISTAKES = [
    ("dim = 64", "dim = 65", "dim"),
    ("dim = 64", 'dim = "64"', "dim"),
    ("dim = 64", "dim = true", "dim"),
    ("dim = 64", "", "lacks"),
    ("dim = 64", "dim = 64\ndims = 64", "unknown keys"),
    ('"accounts"', '"tweet"', "candidate_topic"),
    ('"accounts"', '["accounts"]', "candidate_topic"),
    ('"a:"', '"t:"', "id_prefix"),
    ('"a:"', '""', "id_prefix"),
    ('"a:"', "1", "id_prefix"),
    ('"tweet-v1"', '"tweet-v0"', "feature_spec"),
    ('"tweet-v1"', "[]", "feature_spec"),
    ('"followers"', '"fame"', "popularity"),
    ('"write-time"', '"never"', "refresh"),
    ('"write-time"', '"every=0s"', "refresh"),
    ('"write-time"', '"every=30"', "refresh"),
    ('"write-time"', '"value=-1/s"', "refresh"),
    ('"write-time"', '["threshold"]', "refresh"),
    ("label_window_s = 5", "label_window_s = 0", "label_window_s"),
    ("label_window_s = 5", "label_window_s = nan", "label_window_s"),
    ("label_window_s = 5", "label_window_s = inf", "label_window_s"),
    ("label_window_s = 5", 'label_window_s = "5"', "label_window_s"),
    ("recency_window_s = 0", "recency_window_s = -1", "recency_window_s"),
    ("recency_window_s = 0", "recency_window_s = true", "recency_window_s"),
    ("[accounts-1]", '["../accounts"]', "named with"),
    ("[accounts-1]", "accounts = 1", "must be a table"),
    ("dim = 64", "dim = ", "Invalid"),
    ("dim = 64", "dim = 64.0", "dim must be one of"),
    (GOOD, "", "names no surface"),
]


@pytest.mark.parametrize(("old", "new", "named"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_refused_and_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    """Two processes that read a typing error as a default would run two products."""
    assert GOOD.count(old) == 1
    with pytest.raises(ValueError, match=named):
        load(tmp_path, GOOD.replace(old, new))


def test_a_candidate_belongs_to_the_surfaces_of_the_longest_prefix() -> None:
    """Films must not turn up in a home timeline although both ids begin with t:."""
    surfaces = load_surfaces()
    of_tweets = ["home-timeline", "notification-landing", "related-tweets"]
    assert [surface.name for surface in surfaces_of("t:1", surfaces)] == of_tweets
    assert [surface.name for surface in surfaces_of("t:ml-1", surfaces)] == ["movies"]
    assert [surface.name for surface in surfaces_of("a:1", surfaces)] == ["who-to-follow"]
    assert [surface.name for surface in surfaces_of("n:1", surfaces)] == ["news-push"]
    assert surfaces_of("x:1", surfaces) == ()


@pytest.mark.parametrize("refresh", ["write-time", "threshold", "every=30s", "value=100/s"])
def test_a_surface_names_when_its_candidates_are_embedded_again(tmp_path: Path, refresh: str) -> None:
    """The policies of the embedder, by the names an operator writes."""
    file = tmp_path / "surfaces.toml"
    file.write_text(GOOD.replace("write-time", refresh))
    assert {surface.refresh for surface in load_surfaces(file).values()} == {refresh}


def test_every_setting_of_a_surface_may_change_at_run_time_or_says_why_not() -> None:
    """An operator who tries gets the reason and what to do instead, not an unknown option."""
    assert {field.name for field in fields(Surface)} == {"name", "refresh", *FIXED}


@pytest.mark.parametrize("refresh", ["default", "threshold", "every=1s"])
def test_a_policy_asked_for_at_run_time_may_be_that_of_the_file(refresh: str) -> None:
    """The way back to what every other deployment runs; in the file itself it would mean nothing."""
    assert asked_refresh_fault(refresh) == ""
    assert "default" in asked_refresh_fault("hourly")
    assert refresh_fault("default")
