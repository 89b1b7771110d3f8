"""Whether an ONNX file may be given to a runtime, by its bytes: whole in itself, of finite weights. Runs and builds no graph.

ONNX Runtime reads `external_data` of a model given as bytes from the working directory: weights that no digest vouches for. The
online roles do not install the `onnx` package, so this walks the protobuf messages (field numbers from onnx.proto3) just far enough
to find every tensor and every node, wherever they are nested.
"""

from collections.abc import Iterator

from schemas.errors import BundleCorrupt
from schemas.onnx_weights import is_finite
from schemas.protobuf import Value, fields

# the operators of the ONNX standard; every other domain is somebody's own code
STANDARD_DOMAINS = frozenset({b"", b"ai.onnx"})

# message -> field number -> message: all fields through which a tensor or a node can be reached
MESSAGES: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
NODE_DOMAIN = 7
TENSOR_EXTERNAL_DATA = 13
TENSOR_DATA_LOCATION = 14


def check_model(data: bytes, name: str) -> None:
    """Raise `BundleCorrupt` unless `data` is an ONNX model of standard operators that holds all its weights itself, all finite.

    Args:
        name: the file's name, for the sentence.
    """
    graphs = 0
    try:
        for message, content in _walk(data):
            for number, value in fields(content):
                graphs += message == "GraphProto"
                if reason := _objection(message, number, value):
                    raise BundleCorrupt(f"{name} {reason}; export it as one file of standard operators")
            if message == "TensorProto" and not is_finite(fields(content)):
                raise BundleCorrupt(f"{name} holds NaN or infinite weights; train and export it again")
    except (ValueError, IndexError) as error:
        raise BundleCorrupt(f"{name} is no ONNX model ({error}); export it again") from error
    if not graphs:
        raise BundleCorrupt(f"{name} holds no graph; export it again")


def _walk(data: bytes) -> Iterator[tuple[str, memoryview]]:
    """Yield (message, its bytes) for every one in `MESSAGES`."""
    waiting = [("ModelProto", memoryview(data))]
    while waiting:
        message, content = waiting.pop()
        yield message, content
        for number, value in fields(content):
            child = MESSAGES[message].get(number)
            if child is None:
                continue
            if not isinstance(value, memoryview):
                raise ValueError(f"field {number} of {message} is no message")  # noqa: TRY004  the bytes are wrong, not our type
            waiting.append((child, value))


def _objection(message: str, number: int, value: Value) -> str | None:
    if message == "TensorProto" and (number == TENSOR_EXTERNAL_DATA or (number == TENSOR_DATA_LOCATION and value != 0)):
        return "keeps weights in another file"
    if message == "NodeProto" and number == NODE_DOMAIN:
        domain = b"" if isinstance(value, int) else bytes(value)
        return None if domain in STANDARD_DOMAINS else f"uses an operator of the domain {domain[:64].decode(errors='replace')!r}"
    return None
