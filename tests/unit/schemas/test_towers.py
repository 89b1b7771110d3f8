"""Towers that differ from what their manifest says are refused before they answer anything."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from schemas.bundle import CANDIDATE_TOWER, QUERY_TOWER, Bundle, CanaryVectors, read_bundle, write_bundle
from schemas.errors import BundleCorrupt, BundleError, BundleMismatch
from schemas.records.users import QueryFeatures
from schemas.towers import Towers
from tests.bundles import published
from tests.samples import FEATURES, QUERY_FEATURES


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a good bundle."""
    return published(tmp_path_factory.mktemp("registry"), dim=32)


def forged(bundle: Bundle, change: Callable[[onnx.ModelProto], None], *, side: str = CANDIDATE_TOWER) -> Bundle:
    """Return the bundle with a changed tower, signed as if the trainer had written it so."""
    model = onnx.load_from_string(bundle.files[side])
    change(model)
    return signed(bundle, {**bundle.files, side: model.SerializeToString()})


def signed(bundle: Bundle, files: dict[str, bytes]) -> Bundle:
    """Return the bundle with other files under their true digests."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, files=digests), files=files)


def initializer(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    """Return an initializer by name."""
    found: list[onnx.TensorProto] = [tensor for tensor in model.graph.initializer if tensor.name == name]
    return found[0]


def with_table(change: Callable[[Any], None]) -> Callable[[onnx.ModelProto], None]:
    """Return a change of the tower's table of weights."""

    def apply(model: onnx.ModelProto) -> None:
        tensor = initializer(model, "table")
        table = numpy_helper.to_array(tensor).copy()
        change(table)
        tensor.CopyFrom(numpy_helper.from_array(table, "table"))

    return apply


def test_a_good_bundle_yields_unit_vectors_whatever_the_batch(bundle: Bundle) -> None:
    """Scores are inner products: a longer vector would win every query."""
    towers = Towers(bundle)
    for rows in (0, 1, 3, 130):
        candidates = towers.embed_candidates([FEATURES] * rows)
        queries = towers.embed_queries([QUERY_FEATURES] * rows)
        assert candidates.shape == queries.shape == (rows, 32)
        assert candidates.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(candidates, axis=1), 1, atol=1e-5)
    assert np.isfinite(towers.embed_queries([QueryFeatures()])).all()


def test_nan_weights_are_refused_at_load(bundle: Bundle) -> None:
    """Every score would be NaN, and hnswlib accepts NaN."""
    with pytest.raises(BundleCorrupt, match="NaN or infinite"):
        Towers(forged(bundle, with_table(lambda table: table.fill(np.nan))))


def test_one_row_of_nan_is_refused_at_load_though_no_canary_input_reads_it(bundle: Bundle) -> None:
    """It went live, and one tweet that read the row froze its surface."""
    for side in (CANDIDATE_TOWER, QUERY_TOWER):
        broken = forged(bundle, with_table(lambda table: table[4095].fill(np.nan)), side=side)
        with pytest.raises(BundleCorrupt, match=f"{side} holds NaN or infinite weights"):
            Towers(broken)


def test_a_vector_of_zeros_for_one_input_only_is_noticed_when_that_input_comes(bundle: Bundle) -> None:
    """A finite weight so large that a length overflows makes one, and one such tweet took the node that read it out of service."""
    used = {one for row in bundle.manifest.canary.candidate_ids for one in row}
    clean = Towers(bundle)
    features = [dataclasses.replace(FEATURES, author_id=f"a:{n}") for n in range(50)]
    buckets = clean.spec.encode_candidates(features)[:, 1].tolist()
    bad = next(n for n, bucket in enumerate(buckets) if bucket not in used and buckets.count(bucket) == 1)
    broken = Towers(forged(bundle, lambda model: _root_for_id(model, buckets[bad], of=0)))
    assert broken.embed_candidates([*features[:bad], *features[bad + 1 :]]).any(axis=1).all()
    with pytest.raises(BundleCorrupt, match="zeros; abort its rollout"):
        broken.embed_candidates(features)


def test_a_query_of_zeros_is_the_towers_failure(bundle: Bundle) -> None:
    """An index refused the question as the caller's fault: no guard counted it, and a node that measured the bundle fell silent."""
    used = {one for row in bundle.manifest.canary.query_ids for one in row}
    clean = Towers(bundle)
    features = [dataclasses.replace(QUERY_FEATURES, interests=(f"topic{n}",)) for n in range(50)]
    ids = clean.spec.encode_queries(features)
    bad, bucket = next((n, one) for n, row in enumerate(ids.tolist()) for one in row if one not in used and (ids == one).sum() == 1)
    broken = Towers(forged(bundle, lambda model: _root_for_id(model, bucket, of=0), side=QUERY_TOWER))
    assert broken.embed_queries([*features[:bad], *features[bad + 1 :]]).any(axis=1).all()
    with pytest.raises(BundleCorrupt, match="zeros; abort its rollout"):
        broken.embed_queries(features)


def test_nan_on_one_input_only_is_noticed_when_that_input_comes(bundle: Bundle) -> None:
    """Weights and canary inputs are fine; the batch that holds the input must fail, not slip one NaN into an index."""
    clean = Towers(bundle)
    used = {int(one) for row in bundle.manifest.canary.candidate_ids for one in row}
    bucket = next(i for i in range(1, 4000) if i not in used)
    broken = Towers(forged(bundle, lambda model: _root_for_id(model, bucket, of=-1)))
    good, bad = _ids(clean, bucket, present=False), _ids(clean, bucket, present=True)
    assert np.isfinite(broken._run(broken._candidate, good)).all()
    with pytest.raises(BundleCorrupt, match="abort its rollout"):
        broken._run(broken._candidate, np.concatenate([good, bad]))


def _root_for_id(model: onnx.ModelProto, bucket: int, *, of: int) -> None:
    """Make the vector a root, that of -1 is NaN, when an id is `bucket`."""
    for node in model.graph.node:
        if node.op_type == "Div":
            node.output[0] = "fine"
    model.graph.initializer.append(numpy_helper.from_array(np.array(bucket, np.int64), "bad_id"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(of, np.float32), "square"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "columns"))
    model.graph.node.extend(
        [
            helper.make_node("Sqrt", ["square"], ["root"]),
            helper.make_node("Equal", ["ids", "bad_id"], ["is_bad"]),
            helper.make_node("Cast", ["is_bad"], ["bad_number"], to=TensorProto.INT64),
            helper.make_node("ReduceMax", ["bad_number", "columns"], ["any_bad"], keepdims=1),
            helper.make_node("Cast", ["any_bad"], ["any_bad_flag"], to=TensorProto.BOOL),
            helper.make_node("Where", ["any_bad_flag", "root", "fine"], ["vector"]),
        ]
    )


def _ids(towers: Towers, bucket: int, *, present: bool) -> Any:
    ids = np.zeros((1, towers.spec.candidate_width), np.int64)
    ids[0, 0] = bucket if present else 0
    return ids


def rename_input(model: onnx.ModelProto) -> None:
    """Give the tower's input another name."""
    model.graph.input[0].name = "tokens"
    for node in model.graph.node:
        node.input[:] = ["tokens" if name == "ids" else name for name in node.input]


def rename_output(model: onnx.ModelProto) -> None:
    """Give the tower's output another name."""
    model.graph.output[0].name = "embedding"
    model.graph.node[-1].output[0] = "embedding"


def float_input(model: onnx.ModelProto) -> None:
    """Let the tower read float ids."""
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    model.graph.input[0].name = "ids_f"
    model.graph.node.insert(0, helper.make_node("Cast", ["ids_f"], ["ids"], to=TensorProto.INT64))


def double_output(model: onnx.ModelProto) -> None:
    """Let the tower yield float64."""
    model.graph.node[-1].output[0] = "single"
    model.graph.node.append(helper.make_node("Cast", ["single"], ["vector"], to=TensorProto.DOUBLE))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def fixed_batch(model: onnx.ModelProto) -> None:
    """Let the tower read exactly the canary's four rows."""
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].ClearField("dim_param")
        value.type.tensor_type.shape.dim[0].dim_value = 4


def other_width(model: onnx.ModelProto) -> None:
    """Let the tower read one column more."""
    offsets = initializer(model, "offsets")
    wider = np.append(numpy_helper.to_array(offsets), 0)
    offsets.CopyFrom(numpy_helper.from_array(wider, "offsets"))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = len(wider)


def scalar_output(model: onnx.ModelProto) -> None:
    """Let the tower yield one number."""
    model.graph.node[-1].output[0] = "all_rows"
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 1], np.int64), "both"))
    model.graph.node.append(helper.make_node("ReduceSum", ["all_rows", "both"], ["vector"], keepdims=0))
    model.graph.output[0].type.tensor_type.shape.Clear()


def second_input(model: onnx.ModelProto) -> None:
    """Let the tower ask for a second input."""
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


MISMATCHES = [rename_input, rename_output, float_input, double_output, fixed_batch, other_width, scalar_output]


@pytest.mark.parametrize("change", MISMATCHES, ids=lambda change: change.__name__)
def test_a_tower_of_another_shape_is_a_mismatch(bundle: Bundle, change: Callable[[onnx.ModelProto], None]) -> None:
    """Found at load, not at the first query."""
    with pytest.raises(BundleMismatch, match=bundle.id):
        Towers(forged(bundle, change))


def test_a_manifest_of_another_dimension_is_a_mismatch(bundle: Bundle) -> None:
    """The index would be built for vectors that never come."""
    with pytest.raises(BundleMismatch, match="64 float32"):
        Towers(dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, dim=64)))


@pytest.mark.parametrize("content", [b"", b"ONNX", b"\0" * 100, b"\x08\x09", b"xxxxORTM" + b"\0" * 100])
def test_what_is_no_onnx_is_corrupt(bundle: Bundle, content: bytes) -> None:
    """ONNX Runtime's own format is refused too: the check for outside files cannot read it."""
    with pytest.raises(BundleCorrupt):
        Towers(signed(bundle, {**bundle.files, QUERY_TOWER: content}))


def test_a_tower_with_a_second_input_is_corrupt(bundle: Bundle) -> None:
    """Nobody would feed it."""
    with pytest.raises(BundleCorrupt, match="not a usable tower"):
        Towers(forged(bundle, second_input))


def test_a_truncated_tower_is_corrupt(bundle: Bundle) -> None:
    """With a digest that fits, as if it had been cut before it was signed."""
    tower = bundle.files[QUERY_TOWER]
    for length in (10, len(tower) // 2, len(tower) - 1):
        with pytest.raises(BundleError):
            Towers(signed(bundle, {**bundle.files, QUERY_TOWER: tower[:length]}))


def test_towers_that_yield_other_vectors_than_the_trainers_are_corrupt(bundle: Bundle) -> None:
    """A swapped pair, a changed weight, another feature layout: all show in the canary vectors."""
    with pytest.raises(BundleCorrupt, match="canary vectors"):
        Towers(forged(bundle, with_table(lambda table: table.__imul__(np.linspace(0.5, 1.5, table.shape[1], dtype=np.float32)))))


def test_vectors_that_are_not_of_length_one_are_corrupt(bundle: Bundle) -> None:
    """Cosine is computed as an inner product: without normalising, long vectors win every query."""

    def doubled(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = "half"
        model.graph.node.append(helper.make_node("Add", ["half", "half"], ["vector"]))

    canary = dataclasses.replace(
        bundle.manifest.canary, candidate_vectors=[[2 * x for x in row] for row in bundle.manifest.canary.candidate_vectors]
    )
    changed = forged(bundle, doubled)
    with pytest.raises(BundleCorrupt, match="not of length 1"):
        Towers(dataclasses.replace(changed, manifest=dataclasses.replace(changed.manifest, canary=canary)))


def test_canary_vectors_of_nan_prove_nothing(bundle: Bundle) -> None:
    """NaN compares false with every limit: the check must be written the other way round."""
    width, dim = bundle.manifest.feature_spec.query_width, bundle.manifest.dim
    canary = dataclasses.replace(bundle.manifest.canary, query_ids=[[0] * width], query_vectors=[[float("nan")] * dim])
    with pytest.raises(BundleCorrupt, match="canary vectors"):
        Towers(dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, canary=canary)))


@pytest.mark.parametrize("beyond", [1e300, float("inf")])
def test_a_canary_value_that_no_tower_yields_excuses_no_other(bundle: Bundle, beyond: float) -> None:
    """It was infinite as a float, so were the difference and the tolerance: any tower passed."""
    vectors = [list(row) for row in bundle.manifest.canary.query_vectors]
    vectors[0][0] = beyond
    canary = dataclasses.replace(bundle.manifest.canary, query_vectors=vectors)
    with pytest.raises(BundleCorrupt, match="canary vectors"):
        Towers(dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, canary=canary)))


def test_an_id_outside_a_towers_table_is_corrupt_not_a_crash(bundle: Bundle) -> None:
    """A spec with more buckets than the exported table has rows."""

    def without_modulo(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.input[:] = ["shifted" if name == "row" else name for name in node.input]
        model.graph.node.remove(next(node for node in model.graph.node if node.op_type == "Mod"))

    with pytest.raises(BundleCorrupt, match="a tower fails"):
        Towers(forged(bundle, without_modulo))


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/hostname"])
def test_weights_outside_the_bundle_are_never_read(
    bundle: Bundle, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime would take weights.bin from the working directory: bytes that no digest vouches for."""

    def moved_out(model: onnx.ModelProto) -> None:
        tensor = initializer(model, "table")
        (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", location

    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleCorrupt, match="another file"):
        Towers(forged(bundle, moved_out))


def test_a_custom_operator_is_refused(bundle: Bundle) -> None:
    """Before the runtime looks for its code."""

    def custom(model: onnx.ModelProto) -> None:
        model.graph.node[-1].domain = "com.evil"

    with pytest.raises(BundleCorrupt, match=r"com\.evil"):
        Towers(forged(bundle, custom))


def test_a_bundle_is_loaded_from_the_bytes_that_were_checked(tmp_path: Path) -> None:
    """Files that change on disk after the check change nothing."""
    bundle = published(tmp_path, dim=32)
    (tmp_path / "home-timeline" / bundle.id / QUERY_TOWER).write_bytes(b"changed since")
    assert Towers(bundle).embed_queries([QUERY_FEATURES]).shape == (1, 32)


def test_a_written_bundle_needs_its_canary_vectors(bundle: Bundle, tmp_path: Path) -> None:
    """Without them nobody can tell a wrong tower from a right one."""
    manifest = dataclasses.replace(bundle.manifest, canary=CanaryVectors([], [], [], []))
    with pytest.raises(BundleCorrupt):
        write_bundle(tmp_path, manifest, dict(bundle.files))
    with pytest.raises(BundleCorrupt):
        read_bundle(tmp_path, "home-timeline", bundle.id)
