"""Epochs without a broker: real small towers, and an exact index filled through the node's own decoding. Holds no test."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from schemas.codec import encode
from schemas.features.catalog import TWEET
from schemas.ids import Version
from schemas.positions import Positions
from schemas.records.candidates import Embedding, embedding_subject
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
from tests.posts import Post, deletion, embedding

HOME = Surface("home", "tweets", "t:", TWEET.name, 64, "engagements", "write-time", 1800, 0)
DIM = 64


def tweeted(candidate_id: str, **attributes: Any) -> Post:
    """Return a post of version (1,000, 0) unless told otherwise."""
    return Post(candidate_id, **({"created_ms": 1_000} | attributes))


def record(embedding: Embedding, *, dim: int = DIM, offset: int = 0, key: bytes | None = None) -> InboundRecord:
    """Return an embedding as consumed."""
    value = encode(embedding, subject=embedding_subject(dim))
    return InboundRecord("embeddings.x", 0, offset, 5_000, key or embedding.candidate_id.encode(), value)


def live(post: Post, vector: Iterable[float]) -> InboundRecord:
    """Return the consumed embedding of a live post."""
    return record(embedding(post, vector, append_time_ms=2_000))


def deleted(candidate_id: str, version: Version) -> InboundRecord:
    """Return the consumed delete of a post."""
    return record(deletion(candidate_id, version, dim=DIM, append_time_ms=2_000))


class FilledEpoch:
    """A bundle's towers with an index to fill."""

    def __init__(self, registry: Path, *, seed: int, masks: Masks | None = None) -> None:
        bundle = published(registry, surface=HOME.name, seed=seed)
        self.towers = Towers(bundle)
        self.filled = FilledIndex(ExactIndex(DIM), Masks() if masks is None else masks, id_prefix=HOME.id_prefix)
        self.reflects: Positions = {}
        self.epoch = Epoch(bundle.id, self.towers, self.filled.index, self)

    @property
    def bundle(self) -> str:
        """The bundle's id."""
        return self.epoch.bundle

    def freshness(self) -> Freshness:
        """See `IndexSource`."""
        return Freshness(as_of_ms=self.filled.newest_append_ms, lag_ms=0, applied={})

    def as_of(self) -> Positions:
        """See `IndexSource`."""
        return self.reflects

    def fill(self, *tweets: Post) -> None:
        """Embed the tweets by this bundle and put them in force."""
        vectors = self.towers.embed_candidates([tweet.features for tweet in tweets])
        records = [live(tweet, vector.tolist()) for tweet, vector in zip(tweets, vectors, strict=True)]
        self.filled.apply(decode_batch(self.bundle, DIM, records))

    def delete(self, candidate_id: str, version: Version) -> None:
        """Put a delete on this bundle's topic in force."""
        self.filled.apply(decode_batch(self.bundle, DIM, [deleted(candidate_id, version)]))
