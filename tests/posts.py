"""Tweets as the embedder would have folded them, and their embedding records. Holds no test."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from schemas.ids import Version
from schemas.records.candidates import CandidateFeatures, Counters, Embedding


def now_ms() -> int:
    """Return Unix milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Post:
    """A tweet. Its version, when none is given, is its first: (created_ms, 0)."""

    candidate_id: str
    language: str = "en"
    author_id: str = "author-1"
    topics: tuple[str, ...] = ("sports",)
    text: str = "a text"
    created_ms: int = field(default_factory=now_ms)
    version: Version | None = None

    @property
    def features(self) -> CandidateFeatures:
        """What a tower reads of it."""
        return CandidateFeatures(self.author_id, self.language, "us", self.topics, 10, Counters())

    @property
    def current_version(self) -> Version:
        """The version its embedding carries."""
        return self.version or Version(self.created_ms, 0)


def embedding(post: Post, vector: Iterable[float], *, append_time_ms: int) -> Embedding:
    """Return the record of a live post."""
    return Embedding(
        np.asarray(list(vector), "<f4").tobytes(),
        post.candidate_id,
        *post.current_version,
        post.created_ms,
        append_time_ms,
        append_time_ms,
        text=post.text,
        features=post.features,
    )


def deletion(candidate_id: str, version: Version, *, dim: int, append_time_ms: int) -> Embedding:
    """Return the record of a delete."""
    return Embedding(bytes(4 * dim), candidate_id, *version, append_time_ms, append_time_ms, append_time_ms, deleted=True)
