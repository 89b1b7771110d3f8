"""Small real bundles for tests: ONNX graphs built by hand, deterministic by seed. Nothing here is trained."""

import hashlib
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from schemas.bundle import CANDIDATE_TOWER, QUERY_TOWER, Bundle, CanaryVectors, Gate, Manifest, Metric, read_bundle, write_bundle
from schemas.features.catalog import TWEET
from schemas.features.spec import FeatureSpec, Field
from schemas.registry.place import RegistryPlace
from schemas.towers import INPUT_NAME, OUTPUT_NAME

_TABLE_ROWS = 4096
_CANARY_ROWS = 4


def make_tower(fields: tuple[Field, ...], dim: int, *, seed: int, tables: dict[str, int]) -> bytes:
    """Return a tower as ONNX bytes: each id picks a row of one random table, rows are summed and scaled to length 1.

    Both sides of a spec share the table and a field's table name decides the rows, so that a user's language and a tweet's
    language pull their vectors together, as in a trained pair.
    """
    width = sum(field.slots for field in fields)
    offsets = np.concatenate([np.full(field.slots, tables[field.table_name]) for field in fields]).astype(np.int64)
    table = np.random.default_rng(seed).normal(size=(_TABLE_ROWS, dim)).astype(np.float32)
    nodes = [
        helper.make_node("Add", [INPUT_NAME, "offsets"], ["shifted"]),
        helper.make_node("Mod", ["shifted", "rows"], ["row"]),
        helper.make_node("Gather", ["table", "row"], ["vectors"]),
        helper.make_node("Greater", [INPUT_NAME, "zero"], ["given"]),
        helper.make_node("Cast", ["given"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["vectors", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "bias"], ["biased"]),
        helper.make_node("ReduceL2", ["biased", "last"], ["length"], keepdims=1),
        helper.make_node("Div", ["biased", "length"], [OUTPUT_NAME]),
    ]
    constants: dict[str, NDArray[Any]] = {
        "offsets": offsets,
        "rows": np.array(_TABLE_ROWS, np.int64),
        "table": table,
        "zero": np.array(0, np.int64),
        "last": np.array([-1], np.int64),
        "middle": np.array([1], np.int64),
        # an all-padding row still has a direction
        "bias": np.full(dim, 1e-3, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "tower",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.INT64, ["batch", width])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["batch", dim])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def publish_bundle(
    root: RegistryPlace,
    *,
    surface: str = "home-timeline",
    dim: int = 64,
    spec: FeatureSpec = TWEET,
    seed: int = 0,
    created_ms: int = 1_700_000_000_000,
    recipe: str = "pretrain",
    parent: str | None = None,
    gates: tuple[Gate, ...] = (),
    metric: Metric = "cosine",
) -> str:
    """Write a real bundle to the registry `root` and return its id. The same arguments give the same id."""
    tables = {name: 1 + 131 * place for place, name in enumerate(sorted(spec.tables()))}
    files = {
        QUERY_TOWER: make_tower(spec.query, dim, seed=seed, tables=tables),
        CANDIDATE_TOWER: make_tower(spec.candidate, dim, seed=seed, tables=tables),
    }
    rng = np.random.default_rng(seed)
    query_ids = _random_ids(rng, spec.query)
    candidate_ids = _random_ids(rng, spec.candidate)
    manifest = Manifest(
        surface=surface,
        dim=dim,
        metric=metric,
        feature_spec=spec,
        files={name: sha256_of(content) for name, content in files.items()},
        canary=CanaryVectors(
            query_ids=query_ids.tolist(),
            query_vectors=_run(files[QUERY_TOWER], query_ids).tolist(),
            candidate_ids=candidate_ids.tolist(),
            candidate_vectors=_run(files[CANDIDATE_TOWER], candidate_ids).tolist(),
        ),
        created_ms=created_ms,
        recipe=recipe,
        code_version="test",
        parent=parent,
        seeds={"towers": seed},
        gates=gates,
    )
    return write_bundle(root, manifest, files)


def published(root: RegistryPlace, **arguments: Any) -> Bundle:
    """Publish a bundle and return it read back and verified; arguments as `publish_bundle`."""
    bundle = publish_bundle(root, **arguments)
    return read_bundle(root, arguments.get("surface", "home-timeline"), bundle)


def _random_ids(rng: np.random.Generator, fields: tuple[Field, ...]) -> NDArray[np.int64]:
    columns = [rng.integers(0, field.buckets + 1, (_CANARY_ROWS, field.slots)) for field in fields]
    return np.concatenate(columns, axis=1).astype(np.int64)


def _run(tower: bytes, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    session = ort.InferenceSession(tower, providers=["CPUExecutionProvider"])
    vectors: NDArray[np.float32] = session.run([OUTPUT_NAME], {INPUT_NAME: ids})[0]
    return vectors


def sha256_of(content: bytes) -> str:
    """Return a digest as a manifest holds it."""
    return hashlib.sha256(content).hexdigest()
