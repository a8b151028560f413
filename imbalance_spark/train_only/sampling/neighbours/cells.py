"""Approximate neighbours of classes too large for one memory: exact inside a few near cells, then merged."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.hashing import HASH_RANGE
from imbalance_spark.train_only.sampling.neighbours.lists import ARROW, SCHEMA, merged, nearest_lists
from imbalance_spark.train_only.sampling.neighbours.partition import SAMPLE_ROWS, Cells, Partition
from imbalance_spark.train_only.sampling.neighbours.probing import fit_searched_partition
from imbalance_spark.train_only.sampling.neighbours.search import collect_points
from imbalance_spark.train_only.sampling.neighbours.space import CODE, HASH, Numbers, PointArrays, Space

IsQuery = Callable[[PointArrays], npt.NDArray[np.bool_]]

_CELL_SCHEMA = f"__cell int, __is_member boolean, {HASH} bigint, {CODE} int, __point binary"
_CELL = pa.schema(
    [
        ("__cell", pa.int32()), ("__is_member", pa.bool_()), (HASH, pa.int64()), (CODE, pa.int32()),
        ("__point", pa.binary()),
    ]
)  # fmt: skip


def fit_cells(points: DataFrame, rows: int, space: Space, seed: int, stage: str) -> Partition:
    """Cells from the points with the lowest hashes, at most some 262,144, which are collected; one pass."""
    share = min(1.0, SAMPLE_ROWS / rows)
    sample = collect_points(points.where(F.col(HASH) < F.lit(int(share * HASH_RANGE))), stage)
    return fit_searched_partition(sample, space, rows, seed)[0]


def search_cells(
    points: DataFrame,
    partition: Partition,
    space: Space,
    k: int,
    *,
    queries: int,
    is_query: IsQuery,
    among: Cells | None = None,
) -> DataFrame:
    """For each query its k nearest of those points that lie in a cell it looks at. Lazy, two shuffles.

    A point travels once as a member of its cell, and as a query once for each cell that it looks at. A task
    holds one cell with its queries, and a batch of rows to be assigned.

    Args:
        queries: points that are asked for. is_query: which they are; the others are only found.
        among: cells outside of which nothing is looked at.
    """
    width = space.width
    # Without categories the vectors travel as float32: half the bytes, and their order is approximate anyway.
    dtype = np.float64 if space.categorical else np.float32
    wanted = None if among is None else np.unique(among)

    def assign(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            arrays = PointArrays.of(batch)
            cells = partition.cells(arrays)
            # The first cell is where a point lies: there it is a member, and a query if it is one anywhere.
            kept = np.repeat(is_query(arrays)[:, None], cells.shape[1], axis=1)
            kept[:, 0] = True
            if wanted is not None:
                kept &= np.isin(cells, wanted)
            row, probe = np.nonzero(kept)
            columns = [cells[row, probe], probe == 0, arrays.hashes[row], arrays.codes[row]]
            packed = _packed(arrays.values[row], dtype)
            yield pa.RecordBatch.from_arrays([*[pa.array(c) for c in columns], packed], schema=_CELL)

    def search(table: pa.Table) -> pa.Table:
        table = table.combine_chunks().sort_by(HASH)
        rows = PointArrays(
            hashes=table[HASH].to_numpy(), codes=table[CODE].to_numpy(), values=_unpacked(table, width, dtype)
        )
        asked = rows.where(is_query(rows))
        members = rows.where(np.asarray(table["__is_member"], np.bool_))
        if not len(asked) or not len(members):
            return ARROW.empty_table()
        return pa.Table.from_batches([nearest_lists(space, asked, members, k)])

    found = points.mapInArrow(assign, _CELL_SCHEMA).groupBy("__cell").applyInArrow(search, SCHEMA)
    return merged(found, k, queries * partition.probes)


def _packed(values: Numbers, dtype: type) -> pa.Array:
    data: npt.NDArray[np.floating] = np.ascontiguousarray(values, dtype)
    offsets = np.arange(len(data) + 1, dtype=np.int32) * (data.shape[1] * data.itemsize)
    return pa.Array.from_buffers(pa.binary(), len(data), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def _unpacked(table: pa.Table, width: int, dtype: type) -> npt.NDArray[np.float64]:
    data = b"".join(table["__point"].to_pylist())
    return np.frombuffer(data, dtype).reshape(-1, width).astype(np.float64)
