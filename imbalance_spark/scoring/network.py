"""A network of dense layers with embedded categories, evaluated by NumPy alone: scoring needs no PyTorch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.scoring.bundle_files import Floats, begins_with_metadata, decode_tensors, encode_tensors

_KIND, _SUM, _FORMAT = "network", "sum_of_networks", 1
_MOST_MEMBERS = 10_000
_FURTHEST = 10.0
"""In standard deviations: no outlier, which may be an error of a source, drives a score out of all proportion."""
_BLOCK = 16
_BLOCKS_AT_ONCE = 256

Rows = npt.NDArray[np.float32]
Layer = tuple[Floats, Floats]


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkInputs:
    """What a network sees of a row: scaled numbers with an indicator of missing ones, and codes of categories.

    Args:
        centres, widths: mean and standard deviation of each numeric feature, float64; these come first among features.
        entries: of each categorical feature the entries of its table; the last is for missing and unseen codes.
    """

    centres: FloatArray
    widths: FloatArray
    entries: tuple[int, ...]

    def numbers(self, data: Rows) -> FloatArray:
        """Standard deviations from the mean, at most 10 and 0 where missing; then 1 where missing, else 0."""
        values = data[:, : len(self.centres)]
        scaled = np.clip((values.astype(np.float64) - self.centres) / self.widths, -_FURTHEST, _FURTHEST)
        return np.hstack([np.nan_to_num(scaled, copy=False, nan=0.0), np.isnan(values)])

    def codes(self, data: Rows) -> IntArray:
        """The entry of each categorical feature, rows by features."""
        values, last = data[:, len(self.centres) :], np.array(self.entries, dtype=np.int64) - 1
        # NaN is below no number: it takes the last entry, as an unseen code does.
        return np.where(values < last, values, last).astype(np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkModel:
    """Dense layers with max(x, 0) between them, scored like a booster.

    A row's input is its scaled numbers, their indicators, and a row of each category's table (Guo and Berkhahn, 2016).

    Args:
        centres, widths: see `NetworkInputs`.
        tables: of each categorical feature, entries by size, float32.
        layers: weights, outputs by inputs, and biases, float32; the last one has an output for two classes, else one
            for each class.
    """

    centres: FloatArray
    widths: FloatArray
    tables: tuple[Floats, ...]
    layers: tuple[Layer, ...]

    @cached_property
    def inputs(self) -> NetworkInputs:
        """What it sees of a row."""
        return NetworkInputs(
            centres=self.centres, widths=self.widths, entries=tuple(len(table) for table in self.tables)
        )

    def inplace_predict(self, data: Rows, predict_type: str = "margin", validate_features: bool = False) -> FloatArray:
        """Margins, (rows,) or (rows, classes): what XGBoost's method of this name gives for `predict_type="margin"`.

        A row has the same margins, to the last bit, in any batch.

        Args:
            data: rows by features; NaN is missing.
        """
        outputs = len(self.layers[-1][1])
        margins = np.empty((len(data), outputs))
        at_once = _BLOCK * _BLOCKS_AT_ONCE
        for start in range(0, len(data), at_once):
            margins[start : start + at_once] = self._margins(data[start : start + at_once])
        return margins[:, 0] if outputs == 1 else margins

    def effects(self, data: Rows) -> FloatArray:
        """How far each feature moves the margins of each row; rows by margins by features.

        A margin, less that of the row with this number at its mean, or this category missing: for a linear model its
        contribution. Where features act together the effects do not add up to the margin.
        """
        reference = np.array([*self.centres, *[np.nan] * len(self.tables)], dtype=np.float32)
        margins = self._margins(data)
        effects = np.empty((*margins.shape, data.shape[1]))
        for k, value in enumerate(reference):
            without = data.copy()
            without[:, k] = value
            effects[:, :, k] = margins - self._margins(without)
        return effects

    def _margins(self, data: Rows) -> FloatArray:
        rows, codes = len(data), self.inputs.codes(data)
        embedded = [table[codes[:, k]] for k, table in enumerate(self.tables)]
        x = np.hstack([self.inputs.numbers(data), *embedded])
        # Products of one shape: BLAS may round a row differently in a batch of another size.
        blocks = np.zeros((-(-rows // _BLOCK), _BLOCK, x.shape[1]))
        blocks.reshape(-1, x.shape[1])[:rows] = x
        *hidden, (weights, biases) = self._transposed
        for weight, bias in hidden:
            blocks = np.maximum(blocks @ weight + bias, 0.0)
        return np.asarray((blocks @ weights + biases).reshape(-1, len(biases))[:rows], dtype=np.float64)

    @cached_property
    def _transposed(self) -> list[tuple[FloatArray, FloatArray]]:
        return [(weight.T.astype(np.float64, order="C"), bias.astype(np.float64)) for weight, bias in self.layers]

    def to_bytes(self) -> bytes:
        """The model in the safetensors format, with its kind as metadata; numbers come back to the last bit."""
        return encode_tensors(self._arrays(), {_KIND: json.dumps({"format": _FORMAT, **self._shape()})})

    @classmethod
    def from_bytes(cls, model: bytes) -> Self:
        """What `to_bytes` wrote.

        Raises:
            DataContractError: the bytes are damaged, or of a format that this package does not read.
        """
        arrays, metadata = decode_tensors(model)
        return cls._of_arrays(arrays, *_read_shape(_read_metadata(metadata, _KIND)))

    def scaled(self, factor: float) -> Self:
        """The network with `factor` times its margins."""
        *others, (weight, bias) = self.layers
        return replace(self, layers=(*others, (weight * np.float32(factor), bias * np.float32(factor))))

    def _shape(self) -> dict[str, int]:
        return {"tables": len(self.tables), "layers": len(self.layers)}

    def _arrays(self) -> dict[str, Floats]:
        named: dict[str, Floats] = {"centres": self.centres, "widths": self.widths}
        named |= {f"tables.{k}": table for k, table in enumerate(self.tables)}
        for k, (weight, bias) in enumerate(self.layers):
            named |= {f"layers.{k}.weight": weight, f"layers.{k}.bias": bias}
        return named

    @classmethod
    def _of_arrays(cls, arrays: Mapping[str, Floats], tables: int, layers: int) -> Self:
        of_layers = [(f"layers.{k}.weight", f"layers.{k}.bias") for k in range(layers)]
        of_tables = [f"tables.{k}" for k in range(tables)]
        expected = ["centres", "widths", *of_tables, *[name for pair in of_layers for name in pair]]
        if list(arrays) != expected:
            raise _damaged(f"it has the arrays {list(arrays)}, not {expected}")
        found = cls(
            centres=np.asarray(arrays["centres"], dtype=np.float64),
            widths=np.asarray(arrays["widths"], dtype=np.float64),
            tables=tuple(arrays[name] for name in of_tables),
            layers=tuple((arrays[weight], arrays[bias]) for weight, bias in of_layers),
        )
        found._check()
        return found

    def _check(self) -> None:
        """That each layer takes what the one before gives, and that all numbers are finite."""
        vectors = [self.centres, self.widths, *[bias for _, bias in self.layers]]
        matrices = [*self.tables, *[weight for weight, _ in self.layers]]
        if any(array.ndim != 1 for array in vectors) or any(array.ndim != 2 for array in matrices):
            raise _damaged("an array has the wrong number of dimensions")
        given = 2 * len(self.centres) + sum(table.shape[1] for table in self.tables)
        for k, (weight, bias) in enumerate(self.layers):
            if weight.shape != (len(bias), given):
                raise _damaged(f"layer {k} has weights of shape {weight.shape} for {given} inputs, {len(bias)} outputs")
            given = len(bias)
        if len(self.widths) != len(self.centres) or given in (0, 2) or not all(map(len, self.tables)):
            raise _damaged(f"{len(self.centres)} centres, {len(self.widths)} widths and {given} outputs do not fit")
        if not all(np.isfinite(array).all() for array in (*vectors, *matrices)) or not (self.widths > 0.0).all():
            raise _damaged("a number is not finite, or a width not above 0")


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkSum:
    """Networks whose margins are added up: what an ensemble of them is.

    Args:
        members: on the same features, with as many outputs.
    """

    members: tuple[NetworkModel, ...]

    def inplace_predict(self, data: Rows, predict_type: str = "margin", validate_features: bool = False) -> FloatArray:
        """See `NetworkModel.inplace_predict`."""
        return np.asarray(sum(member.inplace_predict(data) for member in self.members), dtype=np.float64)

    def effects(self, data: Rows) -> FloatArray:
        """See `NetworkModel.effects`; each member has means of its own."""
        return np.asarray(sum(member.effects(data) for member in self.members), dtype=np.float64)

    def to_bytes(self) -> bytes:
        """The networks in the safetensors format; numbers come back to the last bit."""
        shapes = [member._shape() for member in self.members]
        arrays = {
            f"{number}.{name}": array
            for number, member in enumerate(self.members)
            for name, array in member._arrays().items()
        }
        return encode_tensors(arrays, {_SUM: json.dumps({"format": _FORMAT, "members": shapes})})

    @classmethod
    def from_bytes(cls, model: bytes) -> Self:
        """What `to_bytes` wrote.

        Raises:
            DataContractError: the bytes are damaged, or of a format that this package does not read.
        """
        arrays, metadata = decode_tensors(model)
        shape = _read_metadata(metadata, _SUM)
        shapes = shape.get("members")
        if not isinstance(shapes, list) or not 1 <= len(shapes) <= _MOST_MEMBERS:
            raise _damaged("its metadata do not say of which networks it is the sum")
        by_member: list[dict[str, Floats]] = [{} for _ in shapes]
        for name, array in arrays.items():
            number, _, own_name = name.partition(".")
            if not number.isdecimal() or int(number) >= len(shapes):
                raise _damaged(f"array {name!r} is of none of its {len(shapes)} networks")
            by_member[int(number)][own_name] = array
        members = tuple(
            NetworkModel._of_arrays(found, *_read_shape({**_as_mapping(one), "format": shape.get("format")}))
            for one, found in zip(shapes, by_member, strict=True)
        )
        if len({(len(one.centres), len(one.tables), len(one.layers[-1][1])) for one in members}) > 1:
            raise _damaged("its networks are of different features or classes")
        return cls(members=members)


Network = NetworkModel | NetworkSum


def is_network(model: bytes) -> bool:
    """Whether these bytes are a network's, or a sum's of several."""
    return any(begins_with_metadata(model, kind) for kind in (_KIND, _SUM))


def load_network(model: bytes) -> Network:
    """What either's `to_bytes` wrote.

    Raises:
        DataContractError: the bytes are damaged, or of a format that this package does not read.
    """
    return (NetworkSum if begins_with_metadata(model, _SUM) else NetworkModel).from_bytes(model)


def sum_of_networks(models: Sequence[bytes], factor: float) -> bytes:
    """One model whose margins are `factor` times the sum of the networks'."""
    loaded = [load_network(model) for model in models]
    members = [one for found in loaded for one in (found.members if isinstance(found, NetworkSum) else (found,))]
    return NetworkSum(members=tuple(member.scaled(factor) for member in members)).to_bytes()


def _read_metadata(metadata: Mapping[str, str], kind: str) -> Mapping[str, Any]:
    try:
        return _as_mapping(json.loads(metadata[kind]))
    except (LookupError, ValueError, RecursionError):
        raise _damaged("its metadata do not say what it consists of") from None


def _as_mapping(shape: Any) -> Mapping[str, Any]:
    if not isinstance(shape, dict):
        raise _damaged("its metadata do not say what it consists of")
    return shape


def _read_shape(shape: Mapping[str, Any]) -> tuple[int, int]:
    """How many tables and layers there are."""
    try:
        found, tables, layers = (int(shape[key]) for key in ("format", "tables", "layers"))
    except (LookupError, TypeError, ValueError):
        raise _damaged("its metadata do not say what it consists of") from None
    if found != _FORMAT:
        raise DataContractError(
            f"a network of format {found}, this package reads {_FORMAT}. Use the one that wrote it."
        )
    if not (0 <= tables <= 100_000 and 1 <= layers <= 1000):
        raise _damaged(f"it is said to have {tables} tables and {layers} layers")
    return tables, layers


def _damaged(why: str) -> DataContractError:
    return DataContractError(f"a network is damaged: {why}. Fetch the model again.")
