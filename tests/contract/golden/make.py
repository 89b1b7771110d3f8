"""Writes the golden files that do not exist yet, from the samples. Never overwrites one: a released byte is for ever.

Run from the repository's root: `python tests/contract/golden/make.py`.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from schemas.codec import encode, local_id, schema_json, subjects, versions  # noqa: E402  the path is set just above
from schemas.features.catalog import CATALOG  # noqa: E402  as above
from schemas.features.hashing import canary_bucket, feature_hash  # noqa: E402  as above
from tests.samples import BARE, FEATURES, FILLED, QUERY_FEATURES  # noqa: E402  as above

GOLDEN = Path(__file__).parent


def numbers() -> dict[str, object]:
    """Return, by file name, the numbers every process must compute: hashes, and the sample features' ids under each spec."""
    specs = {
        f"spec-{name}.json": {
            "digest": spec.digest,
            "query": spec.encode_queries([QUERY_FEATURES]).tolist(),
            "candidate": spec.encode_candidates([FEATURES]).tolist(),
        }
        for name, spec in CATALOG.items()
    }
    hashes = {
        "feature_hash": {text: feature_hash("seed", text.encode()) for text in ("", "a:ada", "音楽")},
        "canary_bucket": {user: canary_bucket("c-1", user) for user in ("u:1", "u:2", "ü")},
    }
    return {"hashes.json": hashes, **specs}


def main() -> None:
    """Write what is missing and say so."""
    wanted = {name: json.dumps(document, ensure_ascii=False) + "\n" for name, document in numbers().items()}
    for subject in subjects():
        newest = versions(subject)[-1]
        frames = {"filled": encode(FILLED[subject], subject=subject).hex(), "bare": encode(BARE[subject], subject=subject).hex()}
        document = {"local_id": local_id(schema_json(subject, newest)), **frames}
        wanted[f"{subject}-v{newest}.json"] = json.dumps(document, indent=1) + "\n"
    for name, text in wanted.items():
        if not (GOLDEN / name).exists():
            (GOLDEN / name).write_text(text, "utf-8")
            sys.stdout.write(f"wrote {name}\n")


if __name__ == "__main__":
    main()
