"""What an ONNX file asks for beyond itself, read off its bytes before any runtime sees it. Runs and builds no graph.

ONNX Runtime reads `external_data` of a model given as bytes from the working directory: weights that no digest vouches for. The
online roles do not install the `onnx` package, so this walks the protobuf wire format (protobuf.dev, "Encoding"; field numbers from
onnx.proto3) just far enough to find every tensor and every node, wherever they are nested.
"""

from collections.abc import Iterator

from schemas.errors import BundleCorrupt

# the operators of the ONNX standard; every other domain is somebody's own code
STANDARD_DOMAINS = frozenset({b"", b"ai.onnx"})

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

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


def check_self_contained(data: bytes, name: str) -> None:
    """Raise `BundleCorrupt` unless `data` is an ONNX model of standard operators that holds all its weights itself.

    Args:
        name: the file's name, for the sentence.
    """
    graphs = 0
    try:
        for message, number, value in _walk(data):
            graphs += message == "GraphProto"
            if reason := _objection(message, number, value):
                raise BundleCorrupt(f"{name} {reason}; export it as one file of standard operators")
    except (ValueError, IndexError) as error:
        raise BundleCorrupt(f"{name} is no ONNX model ({error}); export it again") from error
    if not graphs:
        raise BundleCorrupt(f"{name} holds no graph; export it again")


def _walk(data: bytes) -> Iterator[tuple[str, int, "memoryview | int"]]:
    """Yield (message, field number, value) of every field of every message in `MESSAGES`."""
    waiting = [("ModelProto", memoryview(data))]
    while waiting:
        message, content = waiting.pop()
        for number, value in _fields(content):
            yield message, number, value
            child = MESSAGES[message].get(number)
            if child is None:
                continue
            if isinstance(value, int):
                raise ValueError(f"field {number} of {message} is no message")  # noqa: TRY004  the bytes are wrong, not our type
            waiting.append((child, value))


def _objection(message: str, number: int, value: "memoryview | int") -> str | None:
    if message == "TensorProto" and (number == TENSOR_EXTERNAL_DATA or (number == TENSOR_DATA_LOCATION and value != 0)):
        return "keeps weights in another file"
    if message == "NodeProto" and number == NODE_DOMAIN:
        domain = b"" if isinstance(value, int) else bytes(value)
        return None if domain in STANDARD_DOMAINS else f"uses an operator of the domain {domain[:64]!r}"
    return None


def _fields(content: memoryview) -> Iterator[tuple[int, "memoryview | int"]]:
    """Yield (field number, value) of one message: the bytes of a length-delimited field, the integer of a varint, else 0."""
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("field number 0")
        if wire_type == _VARINT:
            value, at = _varint(content, at)
            yield number, value
        elif wire_type == _BYTES:
            length, at = _varint(content, at)
            end = at + length
            if end > len(content):
                raise ValueError("a field ends behind its message")
            yield number, content[at:end]
            at = end
        elif wire_type in (_FIXED32, _FIXED64):
            at += 4 if wire_type == _FIXED32 else 8
            if at > len(content):
                raise ValueError("a number ends behind its message")
            yield number, 0
        else:
            raise ValueError(f"wire type {wire_type}")


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        byte: int = content[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("a number of more than ten bytes")
