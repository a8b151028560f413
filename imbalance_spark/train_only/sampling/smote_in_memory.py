"""SMOTE of a class that fits into one process's memory: no join, no shuffle."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.functions import arrow_udf

from imbalance_spark.core.columns import COPY_NUMBER, col
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.neighbours.exact import Neighbours
from imbalance_spark.train_only.sampling.neighbours.in_memory import bytes_in_memory
from imbalance_spark.train_only.sampling.neighbours.on_cluster import RANK
from imbalance_spark.train_only.sampling.neighbours.space import HASH, Floats, PointArrays, Space, Words
from imbalance_spark.train_only.sampling.synthetic import CHOICE, numbered_draws

_KEY_BYTES = 32
_DRAW_BYTES = 44


@dataclass(frozen=True, kw_only=True)
class ClassInMemory:
    """Rows of one class, ascending by hash.

    Args:
        hashes: of the keys. keys: the key columns.
        values: (rows, features), unscaled; NaN where a value is missing.
    """

    hashes: Words
    keys: pa.Table
    values: Floats

    def points(self, space: Space) -> PointArrays:
        """The rows as points of this space."""
        return PointArrays(
            hashes=self.hashes,
            codes=np.zeros(len(self.hashes), np.int32),
            values=space.scale.scaled_values(self.values),
        )


def collect_class(
    rows: DataFrame, hashed: Column, key: Sequence[str], features: Sequence[str], stage: str
) -> ClassInMemory:
    """Collect the rows of a class on the driver, in one pass; the caller has bounded their number.

    Raises:
        DataContractError: two rows have one key.
        LeakageError: a row whose split is not "train".
    """
    numbers = [col(name).cast("double").alias(f"__x_{i}") for i, name in enumerate(features)]
    keys = [col(name) for name in key]
    with leakage_errors():
        table = rows.select(hashed.alias(HASH), *keys, *numbers).toArrow().combine_chunks()
    hashes = np.asarray(table[HASH], np.int64)
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    if (hashes[1:] == hashes[:-1]).any():
        raise DataContractError(f"{stage}: a class has rows of the same key. Remove them upstream.")
    values = np.empty((len(order), len(features)))
    for i in range(len(features)):
        values[:, i] = np.asarray(table[f"__x_{i}"], np.float64)[order]
    named = table.select(list(key)).take(pa.array(order)).combine_chunks()
    return ClassInMemory(hashes=hashes, keys=named, values=values)


def class_bytes(rows: int, space: Space) -> int:
    """Memory of a class of `rows` rows, its points and their cells included."""
    return rows * (8 * space.width + _KEY_BYTES) + bytes_in_memory(rows, space, "cells")


@dataclass(frozen=True, kw_only=True)
class DrawsInMemory:
    """Draws in the order of their parents, those of a parent by number.

    Args:
        starts: (rows + 1,), where the draws of each parent begin.
        neighbours: positions of the neighbours among the rows of the class. gaps: in [0, 1).
    """

    starts: Words
    neighbours: npt.NDArray[np.int32]
    gaps: Floats


def draw_in_memory(spark: SparkSession, found: Neighbours, wanted: int, seed: str) -> DrawsInMemory:
    """`wanted` draws, the same as by `draw_pairs`; 24 bytes per draw are collected, which the caller has bounded."""
    rows = len(found.positions)
    table = numbered_draws(spark, wanted, rows, seed).toArrow()
    parent, number = np.asarray(table[RANK], np.int64), np.asarray(table["__number"], np.int64)
    order = np.lexsort((number, parent))
    parent = parent[order]
    sizes = (found.positions >= 0).sum(axis=1)[parent]
    choice = np.floor(np.asarray(table[CHOICE], np.float64)[order] * sizes).astype(np.int64)
    return DrawsInMemory(
        starts=np.searchsorted(parent, np.arange(rows + 1)),
        neighbours=found.positions[parent, choice].astype(np.int32),
        gaps=np.asarray(table["gap"], np.float64)[order],
    )


def with_draws(
    parents: DataFrame, hashed: str, class_rows: ClassInMemory, draws: DrawsInMemory, id_type: T.DataType
) -> DataFrame:
    """One row per draw: the parent's columns and those of the draw. Lazy, no shuffle.

    Args:
        hashed: name of the column with a parent's hash. id_type: type of `neighbour_id`.

    Returns:
        The parent's columns, `copy_number` (int, from 1), `gap`, `neighbour_id` (the key, a struct if of several
        columns) and `__end_0`, ... (double): the neighbour's features, NaN where a value is missing.
    """
    shared = parents.sparkSession.sparkContext.broadcast((class_rows, draws))
    # An Arrow function, since it looks up arrays in memory; the parent's own columns do not leave the JVM.
    drawn = _drawn_type(id_type, class_rows.values.shape[1])
    looked_up = arrow_udf(_lookup(shared), drawn)  # type: ignore[call-overload]  # the stub wants a number for hints
    return parents.select("*", F.inline(looked_up(F.col(hashed))))


def drawn_bytes(wanted: int) -> int:
    """Most memory that `wanted` draws take while they are sorted."""
    return _DRAW_BYTES * wanted


def _lookup(shared: object) -> Callable[[pa.Array], pa.Array]:
    def look(hashes: pa.Array) -> pa.Array:
        class_rows, draws = shared.value  # type: ignore[attr-defined]
        parent = np.searchsorted(class_rows.hashes, np.asarray(hashes, np.int64))
        counts = draws.starts[parent + 1] - draws.starts[parent]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        copy = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
        draw = np.repeat(draws.starts[parent], counts) + copy
        near = draws.neighbours[draw]
        ends = [pa.array(class_rows.values[near, i]) for i in range(class_rows.values.shape[1])]
        columns = [
            pa.array((copy + 1).astype(np.int32)),
            pa.array(draws.gaps[draw]),
            _ids(class_rows.keys, near),
            *ends,
        ]
        names = [COPY_NUMBER, "gap", "neighbour_id", *[f"__end_{i}" for i in range(len(ends))]]
        entries = pa.StructArray.from_arrays(columns, names=names)
        return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), entries)

    return look


def _drawn_type(id_type: T.DataType, features: int) -> T.ArrayType:
    fields = [(COPY_NUMBER, T.IntegerType()), ("gap", T.DoubleType()), ("neighbour_id", id_type)]
    ends = [(f"__end_{i}", T.DoubleType()) for i in range(features)]
    return T.ArrayType(T.StructType([T.StructField(name, found, False) for name, found in [*fields, *ends]]), False)


def _ids(keys: pa.Table, positions: npt.NDArray[np.int32]) -> pa.Array:
    taken = keys.take(pa.array(positions)).combine_chunks()
    columns = [column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in taken.columns]
    return columns[0] if len(columns) == 1 else pa.StructArray.from_arrays(columns, names=taken.column_names)
