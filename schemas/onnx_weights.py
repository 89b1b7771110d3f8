"""Whether a tensor of an ONNX file holds finite numbers only. Finds no tensor; see `schemas.onnx_file`.

A tower with one row of NaN in its table yields the manifest's canary vectors, and fails at the first input that reads the row.
Field and type numbers are those of TensorProto (onnx.proto3); floats of 8 bits and fewer, which nothing exports, are not looked at.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from schemas.protobuf import Value, varints

DATA_TYPE, FLOAT_DATA, INT32_DATA, RAW_DATA, DOUBLE_DATA = 2, 4, 5, 9, 10
FLOAT, FLOAT16, DOUBLE, COMPLEX64, COMPLEX128, BFLOAT16 = 1, 10, 11, 14, 15, 16

# a complex number is two of its parts' type
_WHOLE = {FLOAT: "<f4", COMPLEX64: "<f4", DOUBLE: "<f8", COMPLEX128: "<f8"}


def is_finite(tensor: Iterable[tuple[int, Value]]) -> bool:
    """Tell whether a tensor, given as its fields, holds neither NaN nor infinity; raises `ValueError` where bytes are none."""
    data_type = 0
    held: list[tuple[int, Value]] = []
    for number, value in tensor:
        if number == DATA_TYPE and isinstance(value, int):
            # of a field given twice the last counts
            data_type = value
        elif number in (FLOAT_DATA, INT32_DATA, RAW_DATA, DOUBLE_DATA):
            held.append((number, value))
    if data_type in _WHOLE:
        # the one field of its type, or the raw bytes; a field that is not packed comes number by number
        return all(
            np.isfinite(np.frombuffer(value, _WHOLE[data_type])).all()
            for number, value in held
            if number != INT32_DATA and not isinstance(value, int)
        )
    if data_type in (FLOAT16, BFLOAT16):
        return all(np.isfinite(_halves(data_type, number, value)).all() for number, value in held)
    return True


def _halves(data_type: int, number: int, value: Value) -> NDArray[np.floating]:
    """Return numbers of 16 bits, of which int32_data holds the bits."""
    if number == RAW_DATA and not isinstance(value, int):
        bits = np.frombuffer(value, "<u2")
    else:
        given = [value] if isinstance(value, int) else list(varints(memoryview(value)))
        bits = (np.array(given, np.uint64) & 0xFFFF).astype(np.uint16)
    return bits.view(np.float16) if data_type == FLOAT16 else (bits.astype(np.uint32) << 16).view(np.float32)
