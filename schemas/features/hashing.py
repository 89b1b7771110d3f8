"""The only feature hash in the repository: keyed BLAKE2b. Every process and release must get the same number."""

import hashlib
from collections.abc import Callable
from functools import lru_cache


def feature_hash(seed: str, data: bytes) -> int:
    """Return 64 bits of keyed BLAKE2b (RFC 7693), as an unsigned integer, of `data` under `seed` (at most 64 bytes of UTF-8)."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8, key=seed.encode()).digest(), "little")


@lru_cache(maxsize=256)
def bucket_of(seed: str, namespace: str, buckets: int) -> Callable[[str], int]:
    """Return the function of a text of a namespace to its bucket, in 1..buckets; 0 is left for padding."""

    # languages, topics and authors repeat: a hash costs 5 us, a hit a thirtieth; 180 bytes an entry, 18 MB a namespace when full
    @lru_cache(maxsize=100_000)
    def bucket(text: str) -> int:
        return 1 + feature_hash(seed, f"{namespace}\x1f{text}".encode()) % buckets

    return bucket


def hash_bucket(seed: str, namespace: str, text: str, buckets: int) -> int:
    """Return the bucket of one text."""
    return bucket_of(seed, namespace, buckets)(text)


def canary_bucket(salt: str, user_id: str) -> int:
    """Return the user's bucket, in 0..9,999, of the canary salted with `salt`: the same on every node."""
    return feature_hash(salt, user_id.encode()) % 10_000
