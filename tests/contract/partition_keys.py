"""1,000 keys to partition: ids of every kind, other scripts, raw bytes, short and long. Holds no test."""

import random


def _keys() -> list[bytes]:
    rng = random.Random(20_26)
    scripts = ("é", "音楽", "Ω", "🌍", "я", "\x00", " ")
    ids = [f"{kind}{rng.randrange(10 ** rng.randrange(1, 18))}".encode() for kind in ("t:", "a:", "n:", "u") for _ in range(200)]
    texts = [("t:" + "".join(rng.choice(scripts) for _ in range(rng.randrange(1, 15)))).encode() for _ in range(120)]
    raw = [rng.randbytes(length) for length in (1, 2, 3, 4, 5, 6, 7, 8, 63, 64, 65, 255, 1000, 4096, 65_535)]
    short = [bytes([byte]) for byte in range(256)]
    return list(dict.fromkeys([*ids, *texts, *raw, *short]))[:1000]


KEYS = _keys()
