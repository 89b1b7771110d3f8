"""Towers out of torch: ONNX graphs proven equal to them, weights and canary vectors. Writes no file and decides nothing.

Whatever towers were trained to compare by, what they are exported as ranks by cosine (`trainer.learning.similarity.for_index`).
"""

import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schemas.bundle import CANDIDATE_TOWER, QUERY_TOWER, Bundle, CanaryVectors
from schemas.errors import BundleCorrupt, BundleMismatch
from schemas.features.spec import FeatureSpec, Side
from schemas.manifest import INDEXED_METRIC, Metric
from schemas.progress import OnProgress, untold
from schemas.towers import INPUT_NAME, OUTPUT_NAME
from trainer.learning.ensemble import Ensemble, EnsembleShape, Head, Tunable, untrained
from trainer.learning.similarity import for_index
from trainer.learning.towers import Tower, TowerConfig, TwoTowers

WEIGHTS = "weights.npz"
ARCHITECTURE = "towers.json"
PARITY_LIMIT = 1e-5
OPSET = 18
MAX_BATCH = 65_536
CANARY_ROWS = 8
_PARITY_ROWS = 64
_CHUNK_ROWS = 4096


class NotAtParity(BundleCorrupt):
    """The exported graph does not yield the towers' vectors; nothing was written."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A pair of towers ready to be published: files by name, and the canary vectors and the metric for the manifest."""

    files: Mapping[str, bytes]
    canary: CanaryVectors
    metric: Metric
    max_difference: float


class OnnxTowers:
    """Both towers as the online roles run them, on ids. `schemas.towers.Towers` is the same on features, from a bundle."""

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        metric: Metric = "cosine",
        threads: int = 1,
        on_progress: OnProgress = untold,
    ) -> None:
        """Load from a bundle's files; the metric is its manifest's.

        Args:
            on_progress: called after each chunk, with the tower, how many rows it has embedded, and of how many.
        """
        self._on_progress = on_progress
        self.metric = metric
        self._sessions: dict[str, ort.InferenceSession] = {side: _session(files[name], threads) for side, name in _SIDES}

    def embed_queries(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return vectors, float32 [n, dim], of query ids [n, query width]."""
        return self._run("query", ids)

    def embed_candidates(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return vectors, float32 [n, dim], of candidate ids [n, candidate width]."""
        return self._run("candidate", ids)

    def _run(self, side: str, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        session = self._sessions[side]
        # an empty matrix is run too: it has the right width
        vectors = []
        for begin in range(0, max(len(ids), 1), _CHUNK_ROWS):
            chunk = ids[begin : begin + _CHUNK_ROWS].astype(np.int64)
            vectors.append(session.run([OUTPUT_NAME], {INPUT_NAME: chunk})[0])
            self._on_progress(f"{side} tower", begin + len(chunk), len(ids))
        return np.concatenate(vectors)


_SIDES: tuple[tuple[Side, str], ...] = (("query", QUERY_TOWER), ("candidate", CANDIDATE_TOWER))


def export(towers: Tunable, *, graphs: Mapping[str, bytes] | None = None, seed: int = 0) -> Exported:
    """Export both towers and check them against torch on random rows, full rows, rows of padding, and batches of 1.

    Args:
        graphs: an earlier bundle's towers of the same spec and configuration, such as the parent's: they are filled with the new
            weights, which takes milliseconds where the exporter takes seconds. Without them `export_graphs` is asked.
        seed: of the random rows; the canary rows are among them.

    Raises:
        NotAtParity: a vector differs from torch's by 1e-5 or more (of the largest value, where that is above 1), or is not finite.
    """
    rows = {side: parity_rows(towers.spec, side, seed=seed) for side, _ in _SIDES}
    graphs = graphs or export_graphs(towers.spec, _graph_shape(towers.config))
    files = {name: _filled(graphs[name], _exportable(towers, side)) for side, name in _SIDES}
    onnx_towers = OnnxTowers(files)
    worst = 0.0
    canary: dict[str, list[list[float]]] = {}
    for (side, _), embed_onnx in zip(_SIDES, (onnx_towers.embed_queries, onnx_towers.embed_candidates), strict=True):
        for batch in (rows[side], rows[side][:1], rows[side][-1:]):
            with torch.no_grad():
                expected = towers.for_index(torch.from_numpy(batch), side).numpy()
            difference = float(np.abs(embed_onnx(batch) - expected).max() / max(1.0, np.abs(expected).max()))
            # not >=: a NaN must fail too
            if not difference < PARITY_LIMIT:
                raise NotAtParity(
                    f"the exported {side} tower differs from torch by {difference:.1e} (limit {PARITY_LIMIT:.0e}); nothing was "
                    "written; check the weights for NaN, then the versions of torch and onnxruntime"
                )
            worst = max(worst, difference)
        canary[side] = embed_onnx(rows[side][:CANARY_ROWS]).tolist()
    return Exported(
        files={**files, **pack(towers)},
        canary=CanaryVectors(
            query_ids=rows["query"][:CANARY_ROWS].tolist(),
            query_vectors=canary["query"],
            candidate_ids=rows["candidate"][:CANARY_ROWS].tolist(),
            candidate_vectors=canary["candidate"],
        ),
        metric=INDEXED_METRIC,
        max_difference=worst,
    )


def parity_rows(spec: FeatureSpec, side: str, *, seed: int) -> NDArray[np.int64]:
    """Return test ids, int64 [66, width]: first only padding, then the last id of every field, then random rows with gaps."""
    rng = np.random.default_rng(seed)
    fields = spec.query if side == "query" else spec.candidate
    last = np.array([field.buckets for field in fields for _ in range(field.slots)], np.int64)
    random = rng.integers(1, last + 1, size=(_PARITY_ROWS, len(last)))
    random[rng.random(random.shape) < 0.4] = 0
    return np.concatenate([np.zeros((1, len(last)), np.int64), last[None, :], random])


def pack(towers: Tunable) -> dict[str, bytes]:
    """Return the files a rebuild or a fine-tune starts from: plain arrays and JSON, which cannot carry code as a pickle can."""
    buffer = io.BytesIO()
    # mypy takes each array for the allow_pickle flag
    np.savez(buffer, **towers.weights())  # type: ignore[arg-type]
    return {WEIGHTS: buffer.getvalue(), ARCHITECTURE: json.dumps(towers.config.to_json(), sort_keys=True).encode()}


def shape_of(bundle: Bundle) -> TowerConfig | EnsembleShape:
    """Return what a bundle's weights are of; raises `BundleMismatch` for what this build does not know."""
    shape = json.loads(bundle.files[ARCHITECTURE])
    return EnsembleShape.from_json(shape) if "parts" in shape else TowerConfig.from_json(shape)


def unpack_towers(bundle: Bundle) -> Tunable:
    """Return the towers of a verified bundle, ready to be trained on.

    Raises:
        BundleMismatch: the bundle carries no weights, or those of an architecture this build does not know.
        BundleCorrupt: the weights cannot be read.
    """
    if missing := {WEIGHTS, ARCHITECTURE} - bundle.files.keys():
        raise BundleMismatch(f"bundle {bundle.id} lacks {sorted(missing)}: it can be served but not fine-tuned; pre-train anew")
    try:
        shape = shape_of(bundle)
        with np.load(io.BytesIO(bundle.files[WEIGHTS]), allow_pickle=False) as archive:
            weights = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, KeyError, EOFError) as error:
        raise BundleCorrupt(f"bundle {bundle.id}: the weights cannot be read ({error}); pre-train anew") from error
    served_dim = shape.dim if isinstance(shape, EnsembleShape) else shape.served_dim
    if (served_dim, INDEXED_METRIC) != (bundle.manifest.dim, bundle.manifest.metric):
        raise BundleMismatch(
            f"bundle {bundle.id} has {bundle.manifest.dim} dimensions and ranks by {bundle.manifest.metric}; its towers would be "
            f"exported with {served_dim} that rank by {INDEXED_METRIC}; pre-train anew"
        )
    towers = untrained(bundle.manifest.feature_spec, shape, seed=0)
    towers.load_weights(weights)
    return towers


class _Exportable(nn.Module):
    def __init__(self, towers: TwoTowers, side: Side) -> None:
        super().__init__()
        self.tower: Tower = getattr(towers, side)
        self.table = towers.table
        self._side: Side = side
        self._metric = towers.config.metric

    def forward(self, ids: Tensor) -> Tensor:
        return for_index(self.tower.raw_by_operators(ids, self.table), self._metric, self._side)


class _ExportableEnsemble(nn.Module):
    def __init__(self, ensemble: Ensemble, side: Side) -> None:
        super().__init__()
        self.parts = nn.ModuleList(_Exportable(part, side) for part in ensemble.parts)
        self.head: Head = getattr(ensemble, side)

    def forward(self, ids: Tensor) -> Tensor:
        vectors: Tensor = self.head([part(ids) for part in self.parts])
        return vectors


def _exportable(towers: Tunable, side: Side) -> nn.Module:
    return _ExportableEnsemble(towers, side) if isinstance(towers, Ensemble) else _Exportable(towers, side)


def _graph_shape(config: TowerConfig | EnsembleShape) -> TowerConfig | EnsembleShape:
    # how gradients are kept is no part of the graph
    return config if isinstance(config, EnsembleShape) else replace(config, sparse_gradients=False)


@lru_cache(maxsize=8)
def export_graphs(spec: FeatureSpec, config: TowerConfig | EnsembleShape) -> Mapping[str, bytes]:
    """Return both towers' graphs, with untrained weights: what the exporter makes depends on spec and configuration alone.

    The first call takes seconds (measured: 3 to 7 s of a core); later ones are remembered.
    """
    towers = untrained(spec, config, seed=0)
    return {name: _to_onnx(_exportable(towers, side), parity_rows(spec, side, seed=0)[:4]) for side, name in _SIDES}


def _filled(graph: bytes, exportable: nn.Module) -> bytes:
    """Return the graph with the weights of this tower in place of its own."""
    model = onnx.load_from_string(graph)
    weights = {name: tensor.detach().numpy() for name, tensor in exportable.state_dict().items()}
    for tensor in model.graph.initializer:
        if tensor.name in weights and tuple(tensor.dims) == weights[tensor.name].shape:
            tensor.CopyFrom(onnx.numpy_helper.from_array(weights.pop(tensor.name), tensor.name))
    if weights:
        raise NotAtParity(f"the graph has no place for {sorted(weights)}; export without the earlier bundle's graphs")
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _to_onnx(exportable: nn.Module, example: NDArray[np.int64]) -> bytes:
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    with _quiet_exporter():
        program = torch.onnx.export(
            exportable.eval(),
            (torch.from_numpy(example),),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_shapes={INPUT_NAME: {0: batch}},
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise NotAtParity("the ONNX exporter returned nothing; check the versions of torch and onnxscript")
    data: bytes = _without_traces(program.model_proto).SerializeToString(deterministic=True)
    return data


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the exporter's notes: they hold paths of this machine, and would make equal towers unequal files."""
    for annotated in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info):
        del annotated.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
    model.doc_string = ""
    return model


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    # it reports each operator library that is not installed, at every call
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch's own use of a name it deprecates
            warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _session(graph: bytes, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
