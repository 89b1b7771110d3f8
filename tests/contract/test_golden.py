"""Bytes and numbers that were released once and may never change: frames, local ids, feature ids."""

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import pytest

from schemas.codec import decode, decode_embedding, encode, frame_id, local_id, schema_json, subjects, versions
from schemas.records.base import Message
from schemas.records.candidates import Embedding
from tests.samples import BARE, FILLED

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "contract" / "golden"
RELEASED = [(subject, version) for subject in subjects() for version in versions(subject)]


def golden(subject: str, version: int) -> dict[str, Any]:
    """Return the committed frames and id of a schema version."""
    document: dict[str, Any] = json.loads((GOLDEN / f"{subject}-v{version}.json").read_text("utf-8"))
    return document


def read(subject: str, data: bytes) -> Message:
    """Decode a frame as the subject's readers do."""
    if subject.startswith("embedding-d"):
        return decode_embedding(int(subject.removeprefix("embedding-d")), data)
    return decode(type(FILLED[subject]), data)


def as_released(message: Any, subject: str, version: int) -> Any:
    """Return the record as that version could say it: what was added since has its default."""
    known = {field["name"] for field in schema_json(subject, version)["fields"]}
    added = [field for field in dataclasses.fields(message) if field.name not in known]
    defaults = {field.name: field.default if field.default_factory is MISSING else field.default_factory() for field in added}
    return dataclasses.replace(message, **defaults)


@pytest.mark.parametrize(("subject", "version"), RELEASED)
def test_a_released_frame_is_read_as_the_record_it_was(subject: str, version: int) -> None:
    """Topics keep records for weeks, compacted ones for ever: every release must read all earlier bytes."""
    frames = golden(subject, version)
    assert read(subject, bytes.fromhex(frames["filled"])) == as_released(FILLED[subject], subject, version)
    assert read(subject, bytes.fromhex(frames["bare"])) == as_released(BARE[subject], subject, version)


@pytest.mark.parametrize("subject", subjects())
def test_the_newest_version_is_written_byte_for_byte(subject: str) -> None:
    """Nodes of several releases run side by side; two byte forms of one record would be two records to a compare."""
    frames = golden(subject, versions(subject)[-1])
    assert encode(FILLED[subject], subject=subject).hex() == frames["filled"]
    assert encode(BARE[subject], subject=subject).hex() == frames["bare"]


@pytest.mark.parametrize(("subject", "version"), RELEASED)
def test_a_released_schema_keeps_its_local_id(subject: str, version: int) -> None:
    """One changed letter in an .avsc, even in a doc, makes all its frames unreadable: released files are immutable."""
    frames = golden(subject, version)
    assert local_id(schema_json(subject, version)) == frames["local_id"]
    assert frame_id(bytes.fromhex(frames["filled"])) == frames["local_id"]
    assert frames["local_id"] >> 30 == 1


def test_local_ids_are_unique() -> None:
    """Two schemas under one id would make one of them unreadable."""
    assert len({local_id(schema_json(subject, version)) for subject, version in RELEASED}) == len(RELEASED)


def test_every_field_of_every_record_is_filled_in_the_samples() -> None:
    """A golden frame proves nothing of a field that holds its default."""
    for subject, message in FILLED.items():
        for name, value in message.to_avro().items():
            assert value not in (None, "", [], {}) or isinstance(message, Embedding), f"{subject}.{name} is empty"


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_features_are_the_same_in_another_process_and_under_another_hash_seed(hash_seed: str) -> None:
    """Embedder, node and trainer are three processes: one different id and a tower reads another author's weights."""
    script = "import json, runpy; print(json.dumps(runpy.run_path('tests/contract/golden/make.py')['numbers']()))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    for name, document in json.loads(done.stdout).items():
        assert document == json.loads((GOLDEN / name).read_text("utf-8")), name
