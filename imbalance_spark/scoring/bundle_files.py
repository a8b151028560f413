"""A model's parts as files: no pickle, each with its sha256 in a manifest that is checked before a part is parsed.

Arrays are in the safetensors format (huggingface/safetensors): 8 bytes with the header's length (little-endian), the
header as a JSON object that gives each array's dtype, shape and place, with texts under `__metadata__`; then the
arrays, without gaps. Nothing in it can run.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.errors import DataContractError

BOOSTER, LINEAR, NETWORK = "model.ubj", "linear.json", "network.safetensors"
"""The model itself: XGBoost's bytes, a linear model's coefficients, or a network's weights."""


DESCRIPTION, DECISION, MANIFEST = "model.json", "threshold.json", "manifest.json"
"""What never changes; how probabilities become decisions, which may be changed later; the hashes."""

Floats = npt.NDArray[np.floating]
_METADATA = "__metadata__"
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_LENGTH_BYTES = 8
_LONGEST_HEADER = 1 << 20


def encode_parts(
    name: str, model: bytes, description: Mapping[str, Any], decision: Mapping[str, Any]
) -> dict[str, bytes]:
    """The content of each part's file by its name; `name` is that of the model."""
    described, decided = (json.dumps(part, indent=1).encode() for part in (description, decision))
    return {name: model, DESCRIPTION: described, DECISION: decided}


def manifest_of(parts: Mapping[str, bytes]) -> dict[str, str]:
    """The sha256 of each part, by its file's name."""
    return {name: _sha256(content) for name, content in parts.items()}


def sha256_of(parts: Mapping[str, bytes]) -> str:
    """One sha256 of all parts: that of their manifest."""
    return _sha256(json.dumps(manifest_of(parts), sort_keys=True).encode())


def check_identity(folder: str, sha256: str) -> None:
    """Refuse a bundle whose manifest is not that of the bundle with this hash; its parts are checked when it is read.

    Raises:
        DataContractError: it is another bundle, or has no manifest.
    """
    manifest = Path(folder) / MANIFEST
    if not manifest.is_file():
        raise DataContractError(f"model bundle: {[MANIFEST]} are missing. Fetch the model again.")
    found = _sha256(json.dumps(_read_manifest(manifest), sort_keys=True).encode())
    if found != sha256:
        raise DataContractError(
            f"model bundle: it was changed together with its manifest: the registry expects sha256 {sha256}, found "
            f"{found}. Restore the model's files, or register another version."
        )


def write_parts(folder: str, parts: Mapping[str, bytes]) -> dict[str, str]:
    """Write the parts of `encode_parts` and a manifest of their sha256; give the manifest."""
    target, manifest = Path(folder), manifest_of(parts)
    target.mkdir(parents=True, exist_ok=True)
    for name, content in parts.items():
        (target / name).write_bytes(content)
    (target / MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")
    return manifest


def read_parts(folder: str) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    """The model's bytes, the description and the decision, as `encode_parts` was given them.

    Raises:
        DataContractError: a part is missing, or is not what the manifest says.
    """
    source = Path(folder)
    model = next((name for name in (LINEAR, NETWORK) if (source / name).is_file()), BOOSTER)
    _check_manifest(source, (model, DESCRIPTION, DECISION))
    description: dict[str, Any] = json.loads((source / DESCRIPTION).read_text("utf-8"))
    decision: dict[str, Any] = json.loads((source / DECISION).read_text("utf-8"))
    return (source / model).read_bytes(), description, decision


def _check_manifest(source: Path, parts: Sequence[str]) -> None:
    if absent := [name for name in (MANIFEST, *parts) if not (source / name).is_file()]:
        raise DataContractError(f"model bundle: {absent} are missing. Fetch the model again.")
    manifest = _read_manifest(source / MANIFEST)
    for name in parts:
        found = _sha256((source / name).read_bytes())
        if found != manifest.get(name):
            raise DataContractError(
                f"model bundle: {name} was changed: expected sha256 {manifest.get(name)}, found {found}. "
                "Fetch it again."
            )


def _read_manifest(file: Path) -> dict[str, str]:
    try:
        manifest = json.loads(file.read_bytes())
        if isinstance(manifest, dict):
            return manifest
    except ValueError:  # neither text nor JSON
        pass
    raise DataContractError(f"model bundle: {file.name} was changed: it is no list of hashes. Fetch it again.")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


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
