"""The space of the neighbour search: scaled numeric features, and distances between categories."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.columns import col
from imbalance_spark.train_only.sampling.feature_scale import FeatureScale
from imbalance_spark.train_only.sampling.neighbours.exact import Neighbours, nearest

HASH, CODE = "__hash", "__code"
"""Columns of a point: the hash of its row's key, which identifies it, and the number of its class."""

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.floating]
Words = npt.NDArray[np.int64]
_CODE_RANGE = 1 << 52
_BLOCK_NUMBERS = 1 << 21
_SPREAD_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class Space:
    """Distance^2 = sum of squared scaled differences + penalty^2 x number of differing categories (SMOTENC, 2002).

    Args:
        numeric: columns of `scale`'s divisors. categorical: columns that are equal or not.
        penalty: distance of two rows that differ in one category, >= 0.
    """

    numeric: tuple[str, ...]
    scale: FeatureScale
    categorical: tuple[str, ...] = ()
    penalty: float = 0.0

    @property
    def width(self) -> int:
        """Number of coordinates of a point."""
        return len(self.numeric) + len(self.categorical)

    @property
    def is_euclidean(self) -> bool:
        """Whether the Euclidean distance of `vectors` is that of the space."""
        return True

    def points(self, rows: DataFrame, hashed: Column, code: Column) -> DataFrame:
        """`HASH` (bigint), `CODE` (int) and the coordinates (double, never null); one select, lazy."""
        numbers = [*self.scale.scaled(self.numeric), *[_category(rows, name) for name in self.categorical]]
        named = [number.alias(f"__x_{i}") for i, number in enumerate(numbers)]
        return rows.select(hashed.alias(HASH), code.alias(CODE), *named)

    def vectors(self, queries: Numbers, rows: Numbers) -> tuple[Floats, Floats]:
        """Both as vectors whose Euclidean distance is that of the space; a category becomes a corner of a simplex."""
        asked, searched = np.asarray(queries, np.float64), np.asarray(rows, np.float64)
        first = len(self.numeric)
        if first == asked.shape[1]:
            return asked, searched
        left, right = [asked[:, :first]], [searched[:, :first]]
        for number in range(first, asked.shape[1]):
            known = np.unique(np.concatenate([asked[:, number], searched[:, number]]))
            left.append(_corners(asked[:, number], known, self.penalty))
            right.append(_corners(searched[:, number], known, self.penalty))
        return np.hstack(left), np.hstack(right)

    def nearest(self, queries: Numbers, rows: Numbers, k: int, own: Words) -> Neighbours:
        """As `exact.nearest`, in this distance."""
        return nearest(*self.vectors(queries, rows), k, own)

    def squares(self, queries: Numbers, rows: Numbers) -> Floats:
        """(queries, rows): squared distances, for small numbers of points."""
        left, right = self.vectors(queries, rows)
        return np.asarray(np.square(left[:, None, :] - right[None, :, :]).sum(axis=2), np.float64)

    def spread(self, values: Numbers) -> float:
        """Root mean square distance of two of these points: sqrt(2 x the sum of variances)."""
        vectors, _ = self.vectors(values, values)
        return float(np.sqrt(2.0 * vectors.var(axis=0).sum()))


@dataclass(frozen=True, kw_only=True)
class PointArrays:
    """Points in memory, in the order of their hashes; values are float64, or float32 where that is accurate enough."""

    hashes: Words
    codes: npt.NDArray[np.int32]
    values: Numbers

    def __len__(self) -> int:
        return len(self.hashes)

    @classmethod
    def of(cls, table: pa.Table | pa.RecordBatch) -> "PointArrays":
        """From an Arrow table with the columns of `Space.points`."""
        numbers = [name for name in table.schema.names if name.startswith("__x_")]
        values = [np.asarray(table.column(name), np.float64) for name in numbers]
        found = cls(
            hashes=np.asarray(table.column(HASH), np.int64),
            codes=np.asarray(table.column(CODE), np.int32),
            values=np.column_stack(values) if values else np.empty((table.num_rows, 0)),
        )
        return found.where(np.argsort(found.hashes, kind="stable"))

    def where(self, chosen: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "PointArrays":
        """The chosen points."""
        return PointArrays(hashes=self.hashes[chosen], codes=self.codes[chosen], values=self.values[chosen])

    def as_floats(self) -> "PointArrays":
        """The same with values as float32."""
        return PointArrays(hashes=self.hashes, codes=self.codes, values=self.values.astype(np.float32))

    def names(self) -> "PointArrays":
        """The same without values."""
        return PointArrays(hashes=self.hashes, codes=self.codes, values=np.empty((len(self), 0)))

    @classmethod
    def joined(cls, parts: Sequence["PointArrays"]) -> "PointArrays":
        """All parts, again in the order of hashes."""
        whole = cls(
            hashes=np.concatenate([part.hashes for part in parts]),
            codes=np.concatenate([part.codes for part in parts]),
            values=np.concatenate([part.values for part in parts]),
        )
        return whole.where(np.argsort(whole.hashes, kind="stable"))


def _category(rows: DataFrame, name: str) -> Column:
    """A double that is the same for equal categories; null is a category of its own."""
    if isinstance(rows.schema[name].dataType, T.FloatType | T.DoubleType):
        return F.coalesce(col(name).cast("double"), F.lit(-0.5))
    code = F.pmod(F.xxhash64(col(name).cast("string")), F.lit(_CODE_RANGE)).cast("double")
    return F.when(col(name).isNull(), F.lit(-0.5)).otherwise(code)


def _corners(values: Floats, known: Floats, penalty: float) -> Floats:
    return np.where(values[:, None] == known[None, :], penalty / np.sqrt(2.0), 0.0)


@dataclass(frozen=True, kw_only=True)
class ValueDifferenceSpace(Space):
    """Distance^2 = sum over features of (sum over classes of |p(c | v) - p(c | w)|)^2, as imbalanced-learn's VDM.

    Args:
        numeric: p(c | value) of each feature and class, feature after feature.
        classes: number of classes.
    """

    classes: int

    @property
    def is_euclidean(self) -> bool:
        """True with two classes."""
        return self.classes == 2

    def nearest(self, queries: Numbers, rows: Numbers, k: int, own: Words) -> Neighbours:
        """As `exact.nearest`; Euclidean with two classes, else by comparing each pair."""
        if self.classes == 2:
            return super().nearest(queries, rows, k, own)
        size = max(1, _BLOCK_NUMBERS // (len(rows) * self.classes))
        blocks = range(0, len(queries), size)
        parts = [self._of_block(queries[start : start + size], rows, k, own[start : start + size]) for start in blocks]
        return Neighbours(
            positions=np.vstack([part.positions for part in parts]),
            distances=np.vstack([part.distances for part in parts]),
        )

    def vectors(self, queries: Numbers, rows: Numbers) -> tuple[Floats, Floats]:
        """With two classes |p - q| is the same for both, so one coordinate of twice its size represents a feature."""
        left, right = super().vectors(queries, rows)
        return (2 * left[:, ::2], 2 * right[:, ::2]) if self.classes == 2 else (left, right)

    def squares(self, queries: Numbers, rows: Numbers) -> Floats:
        """(queries, rows): squared distances, class by class, so that only one class's block is in memory."""
        left, right = np.asarray(queries, np.float64), np.asarray(rows, np.float64)
        total = np.zeros((len(left), len(right)))
        for first in range(0, self.width, self.classes):
            apart = np.zeros_like(total)
            for column in range(first, first + self.classes):
                apart += np.abs(left[:, column, None] - right[None, :, column])
            total += np.square(apart)
        return total

    def spread(self, values: Numbers) -> float:
        """Root mean square distance of two points, estimated from the first 1,024."""
        few = values[:_SPREAD_ROWS]
        return float(np.sqrt(self.squares(few, few).mean()))

    def _of_block(self, queries: Numbers, rows: Numbers, k: int, own: Words) -> Neighbours:
        squares = self.squares(queries, rows)
        has_own = np.flatnonzero(own >= 0)
        squares[has_own, own[has_own]] = np.inf
        limits = np.partition(squares, k - 1, axis=1)[:, k - 1]
        positions = np.empty((len(queries), k), np.int64)
        for query, limit in enumerate(limits):
            near = np.flatnonzero(squares[query] <= limit)
            positions[query] = near[np.argsort(squares[query, near], kind="stable")][:k]
        return Neighbours(positions=positions, distances=np.sqrt(np.take_along_axis(squares, positions, axis=1)))
