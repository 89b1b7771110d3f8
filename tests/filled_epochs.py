"""Epochs without a broker: real small towers, and an exact index filled through the node's own decoding. Holds no test."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from schemas.codec import encode
from schemas.features.catalog import TWEET
from schemas.ids import Version
from schemas.records.candidates import CandidateFeatures, Counters, Embedding, embedding_subject
from schemas.surfaces import Surface
from schemas.towers import Towers
from schemas.wire.inbound import InboundRecord
from serving.api import Freshness
from serving.filling.embeddings import decode_batch
from serving.filling.filled import FilledIndex
from serving.filling.masks import Masks
from serving.index import ExactIndex
from serving.query.epochs import Epoch
from tests.bundles import published

HOME = Surface("home", "tweets", "t:", TWEET.name, 64, "engagements", "write-time", 1800, 0)
DIM = 64
FIRST = Version(1_000, 0)


@dataclass(frozen=True)
class Tweeted:
    """A tweet as the embedder would have folded it."""

    candidate_id: str
    language: str = "en"
    author_id: str = "author-1"
    topics: tuple[str, ...] = ("sports",)
    text: str = "a text"
    version: Version = FIRST
    created_ms: int = 1_000

    @property
    def features(self) -> CandidateFeatures:
        """What a tower reads of it."""
        return CandidateFeatures(self.author_id, self.language, "us", self.topics, 10, Counters())


def record(embedding: Embedding, *, dim: int = DIM, offset: int = 0, key: bytes | None = None) -> InboundRecord:
    """Return an embedding as consumed."""
    value = encode(embedding, subject=embedding_subject(dim))
    return InboundRecord("embeddings.x", 0, offset, 5_000, key or embedding.candidate_id.encode(), value)


def embedding(tweet: Tweeted, vector: Iterable[float]) -> Embedding:
    """Return the record of a live tweet."""
    return Embedding(
        np.asarray(list(vector), "<f4").tobytes(),
        tweet.candidate_id,
        *tweet.version,
        tweet.created_ms,
        append_time_ms=2_000,
        embedded_ms=2_001,
        text=tweet.text,
        features=tweet.features,
    )


def deletion(candidate_id: str, version: Version, *, dim: int = DIM) -> Embedding:
    """Return the record of a delete."""
    return Embedding(bytes(4 * dim), candidate_id, *version, created_ms=0, append_time_ms=2_000, embedded_ms=2_001, deleted=True)


class FilledEpoch:
    """A bundle's towers with an index to fill."""

    def __init__(self, registry: Path, *, seed: int, masks: Masks | None = None) -> None:
        bundle = published(registry, surface=HOME.name, seed=seed)
        self.towers = Towers(bundle)
        self.filled = FilledIndex(ExactIndex(DIM), Masks() if masks is None else masks)
        self.epoch = Epoch(bundle.id, self.towers, self.filled.index, self)

    @property
    def bundle(self) -> str:
        """The bundle's id."""
        return self.epoch.bundle

    def freshness(self) -> Freshness:
        """See `HasFreshness`."""
        return Freshness(as_of_ms=self.filled.newest_append_ms, lag_ms=0, applied={})

    def fill(self, *tweets: Tweeted) -> None:
        """Embed the tweets by this bundle and put them in force."""
        vectors = self.towers.embed_candidates([tweet.features for tweet in tweets])
        records = [record(embedding(tweet, vector.tolist())) for tweet, vector in zip(tweets, vectors, strict=True)]
        self.filled.apply(decode_batch(self.bundle, DIM, records))

    def delete(self, candidate_id: str, version: Version) -> None:
        """Put a delete on this bundle's topic in force."""
        self.filled.apply(decode_batch(self.bundle, DIM, [record(deletion(candidate_id, version))]))


def now_ms() -> int:
    """Return Unix milliseconds."""
    return time.time_ns() // 1_000_000
