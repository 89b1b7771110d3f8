"""The manifest of a bundle: what it is and where it comes from, as JSON that is checked to the last value. Reads no disk."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

from schemas.errors import BundleCorrupt, BundleMismatch, InvalidRecord
from schemas.features.spec import FeatureSpec
from schemas.records.candidates import embedding_subject

FORMAT = 1
MANIFEST_NAME = "manifest.json"
QUERY_TOWER = "query.onnx"
CANDIDATE_TOWER = "candidate.onnx"
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")

Metric = Literal["cosine", "inner_product", "euclidean"]
"""How two vectors are compared (paper, section 4.2): nearer is a larger inner product, or a smaller distance. Under `cosine` towers
yield vectors of length 1; under the others of any length.
"""
INDEXED_METRIC: Metric = "cosine"
"""What a node's index ranks by. It stores directions and probes itself by their own vectors, which only a cosine puts first."""
T = TypeVar("T", str, int, bool, dict[str, Any], list[Any])


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
        """Return the manifest as canonical JSON: the bytes whose digest is the bundle id.

        Raises:
            BundleCorrupt: it holds NaN, an infinite number, or what is no JSON at all, such as a NumPy number.
        """
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
        try:
            # allow_nan=False: a NaN metric would make JSON that other readers refuse
            return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise BundleCorrupt(f"the manifest cannot be written: {error}; train again or mend the figures") from error

    def check_indexed(self, bundle: str) -> None:
        """Raise `BundleMismatch` unless an index can rank by the bundle's metric: it must not rank by another in silence."""
        if self.metric != INDEXED_METRIC:
            raise BundleMismatch(
                f"bundle {bundle} compares vectors by {self.metric}, and an index ranks by {INDEXED_METRIC}: "
                f"it can be evaluated but not served; train with --metric {INDEXED_METRIC}"
            )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """Read a manifest; raises `BundleCorrupt` when it is none, `BundleMismatch` when this build cannot use it."""
        try:
            raw = _of(dict, json.loads(data))
            if raw["format"] != FORMAT:
                raise BundleMismatch(f"bundle format {raw['format']!r:.40} is not {FORMAT}; deploy the release that wrote it")
            if raw["metric"] not in get_args(Metric):
                raise BundleMismatch(
                    f"metric {raw['metric']!r:.40} is none of {', '.join(get_args(Metric))}; deploy the release that wrote it"
                )
            embedding_subject(_of(int, raw["dim"]))
            spec = FeatureSpec.from_json(_of(dict, raw["feature_spec"]))
            return cls(
                surface=_of(str, raw["surface"]),
                dim=raw["dim"],
                metric=raw["metric"],
                feature_spec=spec,
                files=_files(_of(dict, raw["files"])),
                canary=_canary(_of(dict, raw["canary"]), spec, raw["dim"]),
                created_ms=_of(int, raw["created_ms"]),
                recipe=_of(str, raw["recipe"]),
                code_version=_of(str, raw["code_version"]),
                parent=None if raw["parent"] is None else _of(str, raw["parent"]),
                examples={p: (_of(int, a), _of(int, b)) for p, (a, b) in _of(dict, raw["examples"]).items()},
                seeds={name: _of(int, seed) for name, seed in _of(dict, raw["seeds"]).items()},
                metrics={name: _finite(value) for name, value in _of(dict, raw["metrics"]).items()},
                gates=tuple(_gate(**_of(dict, gate)) for gate in _of(list, raw["gates"])),
            )
        except InvalidRecord as error:
            raise BundleMismatch(f"the bundle's dimension is not one of this build: {error!s:.200}") from error
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise BundleCorrupt(
                f"the manifest cannot be read ({type(error).__name__}: {error!s:.200}); publish the bundle again"
            ) from error


def _files(raw: dict[str, Any]) -> dict[str, str]:
    for name, digest in raw.items():
        if not _FILE_NAME.match(name) or name == MANIFEST_NAME:
            raise ValueError(f"{name!r:.100} is no name of a file inside the bundle's folder")
        if not _DIGEST.match(_of(str, digest)):
            raise ValueError(f"{name} has no SHA-256 in 64 hex digits")
    if missing := {QUERY_TOWER, CANDIDATE_TOWER} - raw.keys():
        raise ValueError(f"no {' and no '.join(sorted(missing))}")
    return raw


def _canary(raw: dict[str, Any], spec: FeatureSpec, dim: int) -> CanaryVectors:
    canary = CanaryVectors(**raw)
    for ids, width, vectors in (
        (canary.query_ids, spec.query_width, canary.query_vectors),
        (canary.candidate_ids, spec.candidate_width, canary.candidate_vectors),
    ):
        if not 0 < len(_of(list, ids)) == len(_of(list, vectors)):
            raise ValueError("canary ids and vectors must be of one length, above 0")
        for row, vector in zip(ids, vectors, strict=True):
            if len(_of(list, row)) != width or not all(0 <= _of(int, one) < 2**63 for one in row):
                raise ValueError(f"a canary row is not {width} ids")
            if len([_finite(value) for value in _of(list, vector)]) != dim:
                raise ValueError(f"a canary vector is not {dim} numbers")
    return canary


def _gate(name: object, value: object, limit: object, passed: object, sentence: object) -> Gate:
    return Gate(_of(str, name), _finite(value), _finite(limit), _of(bool, passed), _of(str, sentence))


def _of(kind: type[T], value: object) -> T:
    # `type() is`, since True is an int to isinstance
    if type(value) is not kind:
        raise TypeError(f"{value!r:.40} is no {kind.__name__}")
    return value


def _finite(value: object) -> float:
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not math.isfinite(number):
        raise TypeError(f"{value!r:.40} is no finite number")
    return number
