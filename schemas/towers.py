"""The tower runtime: features in, vectors out, by ONNX Runtime. Knows no topics, no index, no training.

A tower is an ONNX graph with one input `ids` (int64 [batch, width]) and one output `vector` (float32 [batch, dim]), of length 1
where the manifest's metric is cosine.
"""

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from schemas.bundle import CANDIDATE_TOWER, QUERY_TOWER, Bundle
from schemas.errors import BundleCorrupt, BundleMismatch
from schemas.features.columns import Values
from schemas.onnx_file import check_model
from schemas.records.candidates import CandidateFeatures
from schemas.records.users import QueryFeatures

# ONNX Runtime picks kernels by batch size and CPU; measured differences stay below 1e-6
CANARY_TOLERANCE = 1e-4
INPUT_NAME = "ids"
OUTPUT_NAME = "vector"
_MEND = "abort its rollout, or roll back from it where it is live, and export it again"


class Towers:
    """Both towers of one bundle. Thread-safe: ONNX Runtime sessions may run concurrently."""

    def __init__(self, bundle: Bundle, *, threads: int = 1) -> None:
        """Load both towers from verified bytes and check them against the manifest's canary vectors.

        Args:
            threads: intra-op threads a session may use.

        Raises:
            BundleCorrupt: not an ONNX graph of standard operators and finite weights in one file, or it yields NaN, vectors that
                are not of length 1 although the metric is cosine, or other vectors than the trainer got.
            BundleMismatch: another input width or output dimension than the manifest says, or a fixed batch size.
        """
        manifest = bundle.manifest
        self.bundle_id = bundle.id
        self.manifest = manifest
        self.spec = manifest.feature_spec
        self.dim = manifest.dim
        self._query = _session(bundle, QUERY_TOWER, self.spec.query_width, threads)
        self._candidate = _session(bundle, CANDIDATE_TOWER, self.spec.candidate_width, threads)
        for side, session, ids, vectors in (
            ("query", self._query, manifest.canary.query_ids, manifest.canary.query_vectors),
            ("candidate", self._candidate, manifest.canary.candidate_ids, manifest.canary.candidate_vectors),
        ):
            got = self._run(session, np.asarray(ids, np.int64))
            # doubles, as the manifest has them: one beyond 3.4e38 would be infinite, and what is told from it within any tolerance
            expected = np.asarray(vectors, np.float64)
            # written so that a NaN in the manifest fails; what the tower yielded is finite
            tolerance = CANARY_TOLERANCE * max(1.0, np.abs(got).max())
            if got.shape != expected.shape or not np.abs(got - expected).max() <= tolerance:
                raise BundleCorrupt(
                    f"bundle {bundle.id}: the {side} tower does not yield the manifest's canary vectors; export it again"
                )
            if manifest.metric == "cosine" and not np.abs(np.linalg.norm(got, axis=1) - 1).max() <= CANARY_TOLERANCE:
                raise BundleCorrupt(f"bundle {bundle.id}: the {side} tower's vectors are not of length 1; normalise, then export")

    def embed_queries(self, features: Sequence[QueryFeatures]) -> NDArray[np.float32]:
        """Return vectors, float32 [n, dim]; raises `BundleCorrupt` if the tower fails, or one is not finite, or of zeros."""
        return self._embed(self._query, self.spec.encode_queries(features))

    def embed_candidates(self, features: Sequence[CandidateFeatures]) -> NDArray[np.float32]:
        """Return vectors, float32 [n, dim]; raises `BundleCorrupt` if the tower fails, or one is not finite, or of zeros."""
        return self._embed(self._candidate, self.spec.encode_candidates(features))

    def embed_candidate_values(self, values: Values) -> NDArray[np.float32]:
        """Return and raise the same, of candidates whose values are told by their source: see `schemas.features.spec.Field`."""
        return self._embed(self._candidate, self.spec.encode_candidate_values(values))

    def _embed(self, session: ort.InferenceSession, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        vectors = self._run(session, ids)
        # what a sum that overflows becomes once it is scaled to length 1; no index takes it, or searches for it
        if self.manifest.metric == "cosine" and not vectors.any(axis=1).all():
            raise BundleCorrupt(f"bundle {self.bundle_id}: a tower yields vectors of zeros; {_MEND}")
        return vectors

    def _run(self, session: ort.InferenceSession, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        if not len(ids):
            return np.empty((0, self.dim), np.float32)
        try:
            vectors: NDArray[np.float32] = session.run([OUTPUT_NAME], {INPUT_NAME: ids})[0]
        # onnxruntime's exceptions share no public base class
        except Exception as error:
            raise BundleCorrupt(f"bundle {self.bundle_id}: a tower fails ({str(error)[:200]}); export it again") from error
        if vectors.shape != (len(ids), self.dim):
            raise BundleCorrupt(f"bundle {self.bundle_id}: a tower yields {vectors.shape} for {len(ids)} rows; export it again")
        if not np.isfinite(vectors).all():
            raise BundleCorrupt(f"bundle {self.bundle_id}: a tower yields NaN or infinite values; {_MEND}")
        return vectors


def _session(bundle: Bundle, name: str, width: int, threads: int) -> ort.InferenceSession:
    check_model(bundle.files[name], f"bundle {bundle.id}: {name}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # a spinning pool would take the core that the index and the broker need
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # the arena keeps the largest batch's memory for ever: at each hot swap resident memory would grow
    options.enable_cpu_mem_arena = False
    # the check above read it as ONNX: the runtime must not take it for its own format
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(bundle.files[name], options, providers=["CPUExecutionProvider"])
        (graph_input,), (graph_output,) = session.get_inputs(), session.get_outputs()
    # onnxruntime's exceptions share no public base class
    except Exception as error:
        raise BundleCorrupt(f"bundle {bundle.id}: {name} is not a usable tower ({str(error)[:200]}); export it again") from error
    if (graph_input.name, graph_input.type) != (INPUT_NAME, "tensor(int64)") or _columns(graph_input.shape) != width:
        raise BundleMismatch(
            f"bundle {bundle.id}: {name} reads {graph_input.name} {graph_input.type}{graph_input.shape}, "
            f"the feature spec gives {width} ids"
        )
    if (graph_output.name, graph_output.type) != (OUTPUT_NAME, "tensor(float)") or _columns(
        graph_output.shape
    ) != bundle.manifest.dim:
        raise BundleMismatch(
            f"bundle {bundle.id}: {name} yields {graph_output.name} {graph_output.type}{graph_output.shape}, "
            f"the manifest says {bundle.manifest.dim} float32 values"
        )
    return session


def _columns(shape: Sequence[int | str | None]) -> int | str | None:
    """Return the number of columns of a matrix with any number of rows; None for another shape."""
    return shape[1] if len(shape) == 2 and not isinstance(shape[0], int) else None
