"""Arrays in the safetensors format: as the format's own package reads and writes it, and bytes that lie."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imbalance_spark.core.errors import DataContractError
from imbalance_spark.scoring.bundle_files import begins_with_metadata, decode_tensors, encode_tensors

ARRAYS = {
    "a": np.arange(6, dtype=np.float64).reshape(2, 3),
    "b": np.array([0.1, np.inf, -0.0], dtype=np.float32),
    "none": np.zeros((0, 4), dtype=np.float32),
}


def content_of(header: Any, numbers: bytes = bytes(48)) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + numbers


def of_array(**changes: object) -> dict[str, object]:
    return {"a": {"dtype": "F64", "shape": [2, 3], "data_offsets": [0, 48], **changes}}


def test_arrays_and_texts_come_back_to_the_last_bit() -> None:
    content = encode_tensors(ARRAYS, {"kind": "x"})
    assert begins_with_metadata(content, "kind")
    assert not begins_with_metadata(content, "kin")
    arrays, metadata = decode_tensors(content)
    assert metadata == {"kind": "x"}
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        assert arrays[name].tobytes() == array.tobytes()


def test_the_bytes_are_those_that_the_formats_own_package_reads(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    found = numpy.load(encode_tensors(ARRAYS, {"kind": "x"}))
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: array.tobytes() for name, array in ARRAYS.items()
    }
    arrays, metadata = decode_tensors(numpy.save(ARRAYS, {"kind": "x"}))
    assert metadata == {"kind": "x"}
    assert {name: array.tobytes() for name, array in arrays.items()} == {
        name: array.tobytes() for name, array in ARRAYS.items()
    }


@pytest.mark.parametrize(("content", "why"), [
    (b"", "longer than the 0 bytes there"),
    (b"\xff" * 40, "longer than the 40 bytes there"),
    ((1 << 21).to_bytes(8, "little") + bytes(1 << 22), "or than 1 MiB"),
    (content_of(None).replace(b"null", b"\xffull"), "header is no JSON"),
    (content_of([]), "no JSON object"),
    (content_of({"__metadata__": {"a": 1}}), "no mapping of texts"),
    (content_of({"a": 1}), "has no dtype, shape and data_offsets"),
    (content_of(of_array(more=1)), "or more than these"),
    (content_of(of_array(dtype="O")), r"dtype 'O', not of \['F32', 'F64'\]"),
    (content_of(of_array(shape=[-2, -3])), r"has the shape \[-2, -3\]"),
    (content_of(of_array(shape=[True, 6])), "has the shape"),
    (content_of(of_array(shape=6)), "has the shape 6"),
    (content_of(of_array(shape=[1 << 40, 1 << 40])), "is said to be at"),
    (content_of(of_array(data_offsets=[8, 56])), r"said to be at \[8, 56\], not at \[0, 48\]"),
    (content_of(of_array(shape=[1 << 30], data_offsets=[0, 1 << 33])), "ends behind the last byte"),
    (content_of(of_array(), bytes(47)), "ends behind the last byte"),
    (content_of(of_array(), bytes(49)), "1 bytes follow the last array"),
])  # fmt: skip
def test_bytes_that_lie_are_refused_in_one_sentence(content: bytes, why: str) -> None:
    with pytest.raises(DataContractError, match=why) as refused:
        decode_tensors(content)
    assert str(refused.value).startswith("a model's arrays (safetensors) are damaged: ")


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_changed_byte_gives_other_numbers_or_one_clear_error(data: st.DataObject) -> None:
    content = bytearray(encode_tensors(ARRAYS, {"kind": "x"}))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    try:
        arrays, _ = decode_tensors(bytes(content))
    except DataContractError:
        return
    assert sum(array.nbytes for array in arrays.values()) == sum(array.nbytes for array in ARRAYS.values())
