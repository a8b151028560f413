"""Arrays as bytes in the safetensors format: a length, a JSON header, the numbers. Nothing in it can run.

The format (huggingface/safetensors): 8 bytes with the header's length (little-endian), the header as a JSON object that
gives each array's dtype, shape and place, with texts under `__metadata__`; then the arrays, without gaps.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.errors import DataContractError

Floats = npt.NDArray[np.floating]

_METADATA = "__metadata__"
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_LENGTH_BYTES = 8
_LONGEST_HEADER = 1 << 20


def encode_tensors(arrays: Mapping[str, Floats], metadata: Mapping[str, str]) -> bytes:
    """The arrays, of float32 or float64, in their order; the header begins with the metadata."""
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": f"F{8 * array.itemsize}", "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)  # so that the numbers are aligned
    parts = [array.astype(_DTYPES[header[name]["dtype"]]).tobytes() for name, array in arrays.items()]
    return b"".join([len(text).to_bytes(_LENGTH_BYTES, "little"), text, *parts])


def begins_with_metadata(content: bytes, key: str) -> bool:
    """Whether these bytes are `encode_tensors`' with this first key of metadata; nothing is checked."""
    return content[_LENGTH_BYTES:].startswith(f'{{"{_METADATA}":{{"{key}":'.encode())


def decode_tensors(content: bytes) -> tuple[dict[str, Floats], dict[str, str]]:
    """Arrays by name, and the metadata; the bytes need not be trusted: all sizes are checked before they are used.

    Raises:
        DataContractError: these are no such bytes, or their header does not say what follows it.
    """
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    start = _LENGTH_BYTES + length
    if length > _LONGEST_HEADER or start > len(content):
        raise _damaged(f"its header of {length:,} bytes is longer than the {len(content):,} bytes there, or than 1 MiB")
    header = _header(content[_LENGTH_BYTES:start])
    metadata = header.pop(_METADATA, {})
    arrays: dict[str, Floats] = {}
    end = 0
    for name, described in header.items():
        dtype, shape, size = _described(name, described)
        # One behind the other: neither do arrays overlap, nor is anything hidden between them.
        if described["data_offsets"] != [end, end + size]:
            raise _damaged(f"array {name!r} is said to be at {described['data_offsets']}, not at {[end, end + size]}")
        if start + end + size > len(content):
            raise _damaged(f"array {name!r} ends behind the last byte")
        values = np.frombuffer(content, dtype, math.prod(shape), start + end)
        arrays[name] = values.reshape(shape).astype(dtype.newbyteorder("="))
        end += size
    if start + end != len(content):
        raise _damaged(f"{len(content) - start - end:,} bytes follow the last array")
    return arrays, metadata


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):  # neither text nor JSON
        raise _damaged("its header is no JSON") from None
    if not isinstance(header, dict):
        raise _damaged("its header is no JSON object")
    metadata = header.get(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged(f"{_METADATA} is no mapping of texts")
    return header


def _described(name: str, described: Any) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Dtype, shape and number of bytes of an array."""
    if not isinstance(described, dict) or set(described) != {"dtype", "shape", "data_offsets"}:
        raise _damaged(f"array {name!r} has no dtype, shape and data_offsets, or more than these")
    dtype, shape = _DTYPES.get(str(described["dtype"])), described["shape"]
    if dtype is None:
        raise _damaged(f"array {name!r} is of dtype {described['dtype']!r}, not of {sorted(_DTYPES)}")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise _damaged(f"array {name!r} has the shape {shape!r}")
    return dtype, tuple(shape), math.prod(shape) * dtype.itemsize


def _damaged(why: str) -> DataContractError:
    return DataContractError(f"a model's arrays (safetensors) are damaged: {why}. Fetch the model again.")
