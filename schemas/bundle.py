"""The bundle on disk: a manifest that names every file by SHA-256. Runs no tower; see `schemas.towers`.

A registry is a folder `<root>/<surface>/<bundle id>/` of immutable bundles. The id is the first 16 hex digits of the SHA-256 of the
manifest's bytes, so the id vouches for the manifest and the manifest for every file.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from schemas.errors import BundleCorrupt, BundleMismatch
from schemas.features.spec import FeatureSpec
from schemas.ids import is_bundle_id

FORMAT = 1
MANIFEST_NAME = "manifest.json"
QUERY_TOWER = "query.onnx"
CANDIDATE_TOWER = "candidate.onnx"
MAX_FILE_BYTES = 1 << 30

Metric = Literal["cosine"]


@dataclass(frozen=True, slots=True)
class CanaryVectors:
    """Inputs with the vectors the trainer got for them: whoever loads the bundle must get the same.

    Attributes:
        query_ids, candidate_ids: int64 rows of the width the feature spec gives, as nested lists.
        query_vectors, candidate_vectors: float rows of the bundle's dimension.
    """

    query_ids: list[list[int]]
    query_vectors: list[list[float]]
    candidate_ids: list[list[int]]
    candidate_vectors: list[list[float]]


@dataclass(frozen=True, slots=True)
class Gate:
    """One offline gate's verdict, written by the trainer."""

    name: str
    value: float
    limit: float
    passed: bool
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle is, and where it comes from.

    Attributes:
        files: SHA-256, in hex, by file name.
        parent: the bundle it was fine-tuned from, if any.
        recipe: how it was trained, in the trainer's words ("pretrain", "fine-tune").
        examples: per partition of the examples topic, [first offset, next offset] it was trained on.
        seeds: random seeds by purpose.
        metrics: offline metrics by name.
    """

    surface: str
    dim: int
    metric: Metric
    feature_spec: FeatureSpec
    files: Mapping[str, str]
    canary: CanaryVectors
    created_ms: int
    recipe: str
    code_version: str
    parent: str | None = None
    examples: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    gates: tuple[Gate, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the manifest as canonical JSON: the bytes whose digest is the bundle id."""
        data = {
            "format": FORMAT,
            "surface": self.surface,
            "dim": self.dim,
            "metric": self.metric,
            "feature_spec": self.feature_spec.to_json(),
            "files": dict(self.files),
            "canary": {name: getattr(self.canary, name) for name in CanaryVectors.__dataclass_fields__},
            "created_ms": self.created_ms,
            "recipe": self.recipe,
            "code_version": self.code_version,
            "parent": self.parent,
            "examples": {partition: list(offsets) for partition, offsets in self.examples.items()},
            "seeds": dict(self.seeds),
            "metrics": dict(self.metrics),
            "gates": [{name: getattr(gate, name) for name in Gate.__dataclass_fields__} for gate in self.gates],
        }
        # allow_nan=False: a NaN metric would make JSON that other readers refuse
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """Read a manifest; raises `BundleCorrupt` when it is none, `BundleMismatch` when this build cannot use it."""
        try:
            raw: dict[str, Any] = json.loads(data)
            if raw["format"] != FORMAT:
                raise BundleMismatch(f"bundle format {raw['format']!r} is not {FORMAT}; deploy the release of roost that wrote it")
            return cls(
                surface=str(raw["surface"]),
                dim=int(raw["dim"]),
                metric=raw["metric"],
                feature_spec=FeatureSpec.from_json(raw["feature_spec"]),
                files={str(name): str(digest) for name, digest in raw["files"].items()},
                canary=CanaryVectors(**raw["canary"]),
                created_ms=int(raw["created_ms"]),
                recipe=str(raw["recipe"]),
                code_version=str(raw["code_version"]),
                parent=raw["parent"],
                examples={str(p): (int(a), int(b)) for p, (a, b) in raw["examples"].items()},
                seeds={str(name): int(seed) for name, seed in raw["seeds"].items()},
                metrics={str(name): float(value) for name, value in raw["metrics"].items()},
                gates=tuple(Gate(**gate) for gate in raw["gates"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BundleCorrupt(
                f"the manifest cannot be read ({type(error).__name__}: {error}); publish the bundle again"
            ) from error


def bundle_id(manifest: bytes) -> str:
    """Return the id of the bundle with these manifest bytes."""
    return hashlib.sha256(manifest).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose every byte was checked against its id. Towers load from these bytes, never from the disk again."""

    id: str
    manifest: Manifest
    files: Mapping[str, bytes]


def read_bundle(root: Path, surface: str, bundle: str) -> Bundle:
    """Read and verify a bundle.

    Raises:
        BundleCorrupt: the id is not 16 hex digits, a file is missing, or bytes differ from what the id vouches for.
        BundleMismatch: whole, but of another format, surface or feature-spec release.
    """
    if not is_bundle_id(bundle):
        raise BundleCorrupt(f"bundle id {bundle[:64]!r} is not 16 lower-case hex digits; see `roost models list`")
    folder = _surface_folder(root, surface) / bundle
    manifest_bytes = _read_file(folder / MANIFEST_NAME, bundle)
    if bundle_id(manifest_bytes) != bundle:
        raise BundleCorrupt(f"bundle {bundle}: the manifest was altered; publish the bundle again")
    manifest = Manifest.from_bytes(manifest_bytes)
    if manifest.surface != surface:
        raise BundleMismatch(f"bundle {bundle} is for surface {manifest.surface!r}, not {surface!r}")
    files: dict[str, bytes] = {}
    for name, digest in manifest.files.items():
        if "/" in name or "\\" in name or name in ("", ".", ".."):
            raise BundleCorrupt(f"bundle {bundle} names a file {name!r} outside its folder")
        files[name] = _read_file(folder / name, bundle)
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise BundleCorrupt(f"bundle {bundle}: {name} differs from its SHA-256 in the manifest; publish the bundle again")
    if missing := {QUERY_TOWER, CANDIDATE_TOWER} - files.keys():
        raise BundleCorrupt(f"bundle {bundle} lacks {sorted(missing)}")
    return Bundle(bundle, manifest, files)


def write_bundle(root: Path, manifest: Manifest, files: Mapping[str, bytes]) -> str:
    """Publish a bundle whole, under the id it gets, and return the id. Publishing the same bundle again changes nothing.

    The folder is written under a hidden name, synced, then renamed: a reader sees all of it or none.
    """
    data = manifest.to_bytes()
    bundle = bundle_id(data)
    target = _surface_folder(root, manifest.surface) / bundle
    if target.exists():
        read_bundle(root, manifest.surface, bundle)
        return bundle
    staging = target.with_name(f".{bundle}.{os.getpid()}")
    staging.mkdir(parents=True)
    for name, content in {**files, MANIFEST_NAME: data}.items():
        with (staging / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    staging.rename(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return bundle


def list_bundles(root: Path, surface: str) -> list[str]:
    """Return the ids of a surface's bundles, oldest first by creation time; unreadable ones are left out."""
    folder = _surface_folder(root, surface)
    found: list[tuple[int, str]] = []
    for entry in folder.iterdir() if folder.is_dir() else ():
        if is_bundle_id(entry.name) and (entry / MANIFEST_NAME).is_file():
            try:
                found.append((Manifest.from_bytes((entry / MANIFEST_NAME).read_bytes()).created_ms, entry.name))
            except (BundleCorrupt, BundleMismatch):
                continue
    return [name for _, name in sorted(found)]


def _surface_folder(root: Path, surface: str) -> Path:
    if not surface.replace("-", "").replace("_", "").isalnum() or not surface.isascii():
        raise BundleCorrupt(f"surface name {surface[:64]!r} may hold letters, digits, - and _ only")
    return root / surface


def _read_file(path: Path, bundle: str) -> bytes:
    try:
        if path.is_symlink() or path.stat().st_size > MAX_FILE_BYTES:
            raise BundleCorrupt(f"bundle {bundle}: {path.name} is a link or over {MAX_FILE_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise BundleCorrupt(f"bundle {bundle}: {path.name} cannot be read ({error.strerror}); publish the bundle again") from error
