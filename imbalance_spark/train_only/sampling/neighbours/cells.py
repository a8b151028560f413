"""Approximate neighbours of classes too large for one memory: exact inside the cells of several trees, then merged."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.hashing import HASH_RANGE
from imbalance_spark.train_only.sampling.neighbours.forest import SAMPLE_ROWS, Forest, fit_forest
from imbalance_spark.train_only.sampling.neighbours.lists import ARROW, SCHEMA, merged, nearest_lists
from imbalance_spark.train_only.sampling.neighbours.search import collect_points
from imbalance_spark.train_only.sampling.neighbours.space import CODE, HASH, Numbers, PointArrays, Space, Words

IsQuery = Callable[[PointArrays], npt.NDArray[np.bool_]]

_CELL_SCHEMA = f"__cell bigint, {HASH} bigint, {CODE} int, __point binary"
_CELL = pa.schema([("__cell", pa.int64()), (HASH, pa.int64()), (CODE, pa.int32()), ("__point", pa.binary())])


def fit_cells(points: DataFrame, rows: int, space: Space, seed: int, stage: str) -> Forest:
    """Trees from the points with the lowest hashes, at most some 262,144, which are collected; one pass."""
    share = min(1.0, SAMPLE_ROWS / rows)
    sample = collect_points(points.where(F.col(HASH) < F.lit(int(share * HASH_RANGE))), stage)
    return fit_forest(sample, space, rows, seed)


def search_cells(
    points: DataFrame, forest: Forest, space: Space, k: int, *, is_query: IsQuery, among: Words | None = None
) -> DataFrame:
    """For each query its k nearest of those points that share a cell with it in some tree. Lazy, two shuffles.

    A task holds one cell, some 512 rows and never much more, and a batch of rows to be assigned.

    Args:
        is_query: which points are asked for; the others are only found.
        among: cells, (points, trees), outside of which nothing is looked at.
    """
    width, trees = space.width, forest.trees
    # Without categories the vectors travel as float32: half the bytes, and their order is approximate anyway.
    dtype = np.float64 if space.categorical else np.float32
    wanted = None if among is None else np.unique(_numbered(among))

    def assign(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            arrays = PointArrays.of(batch)
            cells = _numbered(forest.cells(arrays))
            kept = np.ones(cells.shape, np.bool_) if wanted is None else np.isin(cells, wanted)
            row, tree = np.nonzero(kept)
            columns = [cells[row, tree], arrays.hashes[row], arrays.codes[row], _packed(arrays.values[row], dtype)]
            yield pa.RecordBatch.from_arrays([pa.array(c) for c in columns], schema=_CELL)

    def search(table: pa.Table) -> pa.Table:
        table = table.combine_chunks().sort_by(HASH)
        rows = PointArrays(
            hashes=table[HASH].to_numpy(), codes=table[CODE].to_numpy(), values=_unpacked(table, width, dtype)
        )
        queries = rows.where(is_query(rows))
        if not len(queries):
            return ARROW.empty_table()
        return pa.Table.from_batches([nearest_lists(space, queries, rows, k)])

    found = points.mapInArrow(assign, _CELL_SCHEMA).groupBy("__cell").applyInArrow(search, SCHEMA)
    return merged(found, k) if trees > 1 else found


def _numbered(cells: Words) -> Words:
    """Cells of all trees under numbers of their own."""
    return (cells << 8) + np.arange(cells.shape[1])


def _packed(values: Numbers, dtype: type) -> pa.Array:
    data: npt.NDArray[np.floating] = np.ascontiguousarray(values, dtype)
    offsets = np.arange(len(data) + 1, dtype=np.int32) * (data.shape[1] * data.itemsize)
    return pa.Array.from_buffers(pa.binary(), len(data), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def _unpacked(table: pa.Table, width: int, dtype: type) -> npt.NDArray[np.float64]:
    data = b"".join(table["__point"].to_pylist())
    return np.frombuffer(data, dtype).reshape(-1, width).astype(np.float64)
