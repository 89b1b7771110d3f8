"""Models that reach beyond their file are found before a runtime sees them, wherever the reference is nested."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.onnx_ml_pb2 import ModelProto

from schemas import onnx_weights
from schemas.errors import BundleCorrupt
from schemas.onnx_file import MESSAGES, NODE_DOMAIN, TENSOR_DATA_LOCATION, TENSOR_EXTERNAL_DATA, check_model

WEIGHTS = np.ones((4, 3), np.float32)


def model(nodes: Iterable[onnx.NodeProto] = (), tensors: Iterable[onnx.TensorProto] = ()) -> onnx.ModelProto:
    """Return a small model with extra nodes and initializers."""
    gather = helper.make_node("Gather", ["w", "ids"], ["vector"])
    graph = helper.make_graph(
        [gather, *nodes],
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch"])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(WEIGHTS, "w"), *tensors],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def external(location: str = "../weights.bin") -> onnx.TensorProto:
    """Return a tensor whose bytes lie in another file."""
    tensor = onnx.TensorProto(name="far", dims=[4, 3], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


def location_only() -> onnx.TensorProto:
    """Return a tensor that says EXTERNAL without saying where."""
    tensor = external()
    tensor.ClearField("external_data")
    return tensor


def entry_only() -> onnx.TensorProto:
    """Return a tensor that names a file without saying EXTERNAL."""
    tensor = external()
    tensor.ClearField("data_location")
    return tensor


def constant(tensor: onnx.TensorProto) -> onnx.NodeProto:
    """Return a node that holds a tensor."""
    return helper.make_node("Constant", [], ["c"], value=tensor)


def branch(node: onnx.NodeProto) -> onnx.NodeProto:
    """Return an If node with a node in a branch."""
    graph = helper.make_graph([node], "b", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, None)])
    return helper.make_node("If", ["condition"], ["out"], then_branch=graph, else_branch=graph)


def in_sparse_initializer() -> onnx.ModelProto:
    """Return a model with a sparse initializer whose values lie elsewhere."""
    found = model()
    found.graph.sparse_initializer.add().values.CopyFrom(external())
    return found


def in_function(node: onnx.NodeProto) -> onnx.ModelProto:
    """Return a model with a local function that holds a node."""
    found = model()
    found.functions.append(helper.make_function("", "F", ["x"], ["c"], [node], [helper.make_opsetid("", 18)]))
    return found


def in_training_info() -> onnx.ModelProto:
    """Return a model whose training graph holds a far tensor."""
    found = model()
    found.training_info.add().initialization.initializer.append(external())
    return found


def in_tensor_list() -> onnx.ModelProto:
    """Return a model with a far tensor in an attribute's list of tensors."""
    node = helper.make_node("Constant", [], ["c"])
    attribute = node.attribute.add()
    attribute.name = "many"
    attribute.tensors.append(external())
    return model([node])


EXTERNAL: dict[str, Callable[[], onnx.ModelProto]] = {
    "initializer": lambda: model(tensors=[external()]),
    "same folder": lambda: model(tensors=[external("weights.bin")]),
    "absolute": lambda: model(tensors=[external("/etc/hostname")]),
    "location only": lambda: model(tensors=[location_only()]),
    "entry only": lambda: model(tensors=[entry_only()]),
    "constant": lambda: model([constant(external())]),
    "branch": lambda: model([branch(constant(external()))]),
    "branch in branch": lambda: model([branch(branch(constant(external())))]),
    "tensor list": in_tensor_list,
    "sparse": in_sparse_initializer,
    "function": lambda: in_function(constant(external())),
    "training": in_training_info,
}
CUSTOM = helper.make_node("Evil", ["ids"], ["c"], domain="com.evil")
FOREIGN: dict[str, Callable[[], onnx.ModelProto]] = {
    "node": lambda: model([CUSTOM]),
    "contrib": lambda: model([helper.make_node("Gelu", ["ids"], ["c"], domain="com.microsoft")]),
    "branch": lambda: model([branch(CUSTOM)]),
    "function": lambda: in_function(CUSTOM),
}


def test_a_model_of_standard_operators_with_its_weights_inside_passes() -> None:
    """This is what the trainer exports."""
    check_model(model().SerializeToString(), "query.onnx")
    check_model(model([branch(constant(numpy_helper.from_array(WEIGHTS)))]).SerializeToString(), "query.onnx")
    check_model(model([helper.make_node("Relu", ["vector"], ["c"], domain="ai.onnx")]).SerializeToString(), "query.onnx")


@pytest.mark.parametrize("where", EXTERNAL)
def test_weights_in_another_file_are_found_wherever_they_are_named(where: str) -> None:
    """ONNX Runtime 1.32 reads such a file from the working directory even for a model given as bytes."""
    with pytest.raises(BundleCorrupt, match="keeps weights in another file"):
        check_model(EXTERNAL[where]().SerializeToString(), "query.onnx")


@pytest.mark.parametrize("where", FOREIGN)
def test_an_operator_of_another_domain_is_found_wherever_it_is_used(where: str) -> None:
    """A custom operator is native code that somebody registered."""
    with pytest.raises(BundleCorrupt, match="operator of the domain '"):
        check_model(FOREIGN[where]().SerializeToString(), "query.onnx")


def weights(bad: float, kind: int, *, raw: bool) -> onnx.TensorProto:
    """Return a tensor of seven fine numbers and one other, in raw bytes or in the field of its type."""
    values = np.array([*[0.5] * 7, bad], helper.tensor_dtype_to_np_dtype(kind))
    return helper.make_tensor("bad", kind, [8], values.tobytes() if raw else values, raw=raw)


FLOATS = {name: getattr(TensorProto, name) for name in ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "COMPLEX64", "COMPLEX128")}


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
def test_one_weight_that_is_not_finite_is_found_however_it_is_held(kind: str, raw: bool) -> None:  # noqa: FBT001 - a parameter
    """The canary inputs read few rows: the row of NaN waits for the one record that reads it."""
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(BundleCorrupt, match="NaN or infinite"):
            check_model(model(tensors=[weights(bad, FLOATS[kind], raw=raw)]).SerializeToString(), "query.onnx")
    check_model(model(tensors=[weights(1.5, FLOATS[kind], raw=raw)]).SerializeToString(), "query.onnx")


def test_weights_of_a_constant_are_weights_too() -> None:
    """An exporter may write a table as a node, and a node may lie in a branch."""
    bad = weights(np.nan, TensorProto.FLOAT, raw=True)
    for node in (constant(bad), branch(constant(bad))):
        with pytest.raises(BundleCorrupt, match="NaN or infinite"):
            check_model(model([node]).SerializeToString(), "query.onnx")


def test_integers_are_always_finite_and_numbers_one_by_one_are_read_too() -> None:
    """An offset of all ones has the bits of a NaN; and protobuf takes a repeated number packed or not."""
    check_model(model(tensors=[numpy_helper.from_array(np.full(8, -1, np.int64), "o")]).SerializeToString(), "query.onnx")
    nan = b"\x25" + np.float32(np.nan).tobytes()
    tensor = b"\x08\x01\x10\x01" + nan
    graph = b"\x2a" + _length(tensor) + tensor
    with pytest.raises(BundleCorrupt, match="NaN or infinite"):
        check_model(b"\x3a" + _length(graph) + graph, "query.onnx")


def test_the_weights_of_large_towers_are_looked_at_in_no_time() -> None:
    """25 MB are more than our towers are: a node that loads a bundle must not stand still for it."""
    table = numpy_helper.from_array(np.ones((50_000, 128), np.float32), "table")
    data = model(tensors=[table]).SerializeToString()
    started_s = time.perf_counter()
    check_model(data, "query.onnx")
    assert time.perf_counter() - started_s < 2


def test_a_field_given_twice_is_looked_at_twice() -> None:
    """Protobuf merges repeated messages: a second graph behind an innocent one is executed too."""
    data = model().SerializeToString() + model(tensors=[external()]).SerializeToString()
    with pytest.raises(BundleCorrupt, match="another file"):
        check_model(data, "query.onnx")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\xff" * 64,
        b"not a model",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x38\x01",
        b"\x0b\x0c",
        b"\x3d\0",
        b"\x08",
        b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    ],
)
def test_bytes_that_are_no_model_are_corrupt(data: bytes) -> None:
    """Whatever comes, the answer is one typed error."""
    with pytest.raises(BundleCorrupt):
        check_model(data, "query.onnx")


def test_a_model_cut_anywhere_is_corrupt_or_lacks_its_graph() -> None:
    """The graph is one field: cut inside it, its length lies."""
    data = model().SerializeToString()
    graph_end = data.rindex(b"batch") + 1
    for length in range(0, graph_end, 7):
        with pytest.raises(BundleCorrupt):
            check_model(data[:length], "query.onnx")


@given(st.binary(max_size=300))
def test_no_bytes_provoke_another_error(data: bytes) -> None:
    """A node that meets a bad file must keep its live bundle, not die of a surprise."""
    with suppress(BundleCorrupt):
        check_model(data, "query.onnx")


def test_deep_nesting_and_many_fields_cost_no_stack_and_little_time() -> None:
    """A crafted file must not be able to kill or stall whoever looks at it."""
    data = b""
    for _ in range(2_000):
        attribute = b"\x32" + _length(data) + data
        node = b"\x2a" + _length(attribute) + attribute
        data = b"\x0a" + _length(node) + node
    started_s = time.perf_counter()
    check_model(b"\x3a" + _length(data) + data, "query.onnx")
    with pytest.raises(BundleCorrupt, match="no graph"):
        check_model(b"\x3a\x00" * 50_000, "query.onnx")
    assert time.perf_counter() - started_s < 5


def _length(data: bytes) -> bytes:
    value, out = len(data), bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def test_the_walked_fields_are_all_that_can_hold_a_tensor_or_a_node() -> None:
    """A new field of a later onnx.proto that holds a graph would be a way around the check: this test names it."""
    reachable: dict[str, dict[int, str]] = {}

    def holds(message: Any, seen: frozenset[str]) -> bool:
        if message.name in ("TensorProto", "NodeProto"):
            return True
        fields = [f.message_type for f in message.fields if f.message_type and f.message_type.name not in seen]
        return any(holds(child, seen | {message.name}) for child in fields)

    def walk(message: Any) -> None:
        if message.name in reachable:
            return
        children = {f.number: f.message_type for f in message.fields if f.message_type and holds(f.message_type, frozenset())}
        reachable[message.name] = {number: child.name for number, child in children.items()}
        for child in children.values():
            walk(child)

    walk(ModelProto.DESCRIPTOR)
    assert reachable == MESSAGES
    assert onnx.NodeProto.DESCRIPTOR.fields_by_name["domain"].number == NODE_DOMAIN
    assert onnx.TensorProto.DESCRIPTOR.fields_by_name["external_data"].number == TENSOR_EXTERNAL_DATA
    assert onnx.TensorProto.DESCRIPTOR.fields_by_name["data_location"].number == TENSOR_DATA_LOCATION
    tensor_fields = onnx.TensorProto.DESCRIPTOR.fields_by_name
    for name in ("DATA_TYPE", "FLOAT_DATA", "INT32_DATA", "RAW_DATA", "DOUBLE_DATA"):
        assert tensor_fields[name.lower()].number == getattr(onnx_weights, name)
    for name, kind in FLOATS.items():
        assert kind == getattr(onnx_weights, name)
