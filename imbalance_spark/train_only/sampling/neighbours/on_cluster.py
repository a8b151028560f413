"""The neighbour search for rows that stay on the cluster."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.hashing import HASH_RANGE, hash_bucket
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.neighbours.in_cells import fit_searched_partition
from imbalance_spark.train_only.sampling.neighbours.kmeans import SAMPLE_ROWS, Cells, Partition
from imbalance_spark.train_only.sampling.neighbours.lists import (
    ARROW,
    NEAR,
    SCHEMA,
    merged,
    merged_in_memory,
    nearest_lists,
)
from imbalance_spark.train_only.sampling.neighbours.space import CODE, HASH, Numbers, PointArrays, Space

RANK = "__rank"
"""Column of the rank of a row's hash, from 0."""

_BUCKET_ROWS = 1 << 15
IsQuery = Callable[[PointArrays], npt.NDArray[np.bool_]]
_CELL_SCHEMA = f"__cell int, __is_member boolean, {HASH} bigint, {CODE} int, __point binary"

_CELL = pa.schema(
    [
        ("__cell", pa.int32()), ("__is_member", pa.bool_()), (HASH, pa.int64()), (CODE, pa.int32()),
        ("__point", pa.binary()),
    ]
)  # fmt: skip

_SCAN_ROWS = 1 << 15
"""Rows that a task of the scan gathers before it compares them with the queries."""

_QUERY_ROWS = 1 << 13


def with_hash_ranks(lists: DataFrame, ids: DataFrame, rows: int, stage: str) -> DataFrame:
    """The lists with `RANK`; one pass over `ids`, the rest is lazy.

    A rank is the rank inside a bucket of the hash plus the bucket's offset.

    Args:
        lists: `HASH` and `NEAR`. ids: `HASH` of the same rows, `rows` of them.

    Raises:
        DataContractError: two rows have one key.
    """
    bucket = hash_bucket(HASH, rows, _BUCKET_ROWS)
    per_bucket = ids.groupBy(bucket.alias("__bucket")).agg(
        F.count(HASH).alias("rows"), F.size(F.array_distinct(F.collect_list(HASH))).alias("distinct")
    )
    with leakage_errors():
        # Bounded: one row per about 32,768 rows.
        found = sorted((row["__bucket"], row["rows"], row["distinct"]) for row in per_bucket.collect())
    if any(n != distinct for _, n, distinct in found):
        raise DataContractError(f"{stage}: a class has rows of the same key. Remove them upstream.")
    offsets, before = [], 0
    for number, n, _ in found:
        offsets.append((number, before))
        before += n
    table = F.broadcast(lists.sparkSession.createDataFrame(offsets, "__bucket bigint, __before bigint"))
    in_bucket = Window.partitionBy("__bucket").orderBy(HASH)
    with_offset = lists.select("*", bucket.alias("__bucket")).join(table, on="__bucket", how="inner")
    rank = F.col("__before") + F.row_number().over(in_bucket) - 1
    return with_offset.select(HASH, NEAR, rank.alias(RANK))


def fit_cells(points: DataFrame, rows: int, space: Space, seed: int, stage: str) -> Partition:
    """Cells from the points with the lowest hashes, about 262,144 at most, which are collected; one pass."""
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
    """For each query its k nearest points in the cells that it probes. Lazy, two shuffles.

    A point is shuffled once as a member of its cell, and as a query once for each cell that it probes. A task
    holds one cell with its queries, and a batch of rows to be assigned.

    Args:
        queries: number of points to find neighbours for. is_query: which points these are.
        among: the only cells to search; None searches all.
    """
    width = space.width
    # float32 without categories: half the bytes to shuffle, and the search by cells is approximate anyway.
    dtype = np.float64 if space.categorical else np.float32
    wanted = None if among is None else np.unique(among)

    def assign(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            arrays = PointArrays.of(batch)
            cells = partition.cells(arrays)
            # A point is a member of its first cell, and a query in each cell that it probes.
            is_sent = np.repeat(is_query(arrays)[:, None], cells.shape[1], axis=1)
            is_sent[:, 0] = True
            if wanted is not None:
                is_sent &= np.isin(cells, wanted)
            row, probe = np.nonzero(is_sent)
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


def collect_points(points: DataFrame, stage: str) -> PointArrays:
    """Collect the points on the driver; the caller has bounded their number.

    Raises:
        DataContractError: two rows have one key.
        LeakageError: a row whose split is not "train".
    """
    with leakage_errors():
        found = PointArrays.of(points.toArrow().combine_chunks())
    if (found.hashes[1:] == found.hashes[:-1]).any():
        raise DataContractError(f"{stage}: a class has rows of the same key. Remove them upstream.")
    return found


def search_by_scan(points: DataFrame, queries: PointArrays, space: Space, k: int) -> DataFrame:
    """The k nearest points of each query, exactly; queries are broadcast, one scan, lists merged after it. Lazy.

    A task holds the queries, k entries for each, and 32,768 rows; the merge shuffles k entries per query and task, so
    there are four tasks per core.
    """
    context = points.sparkSession.sparkContext
    shared, tasks = context.broadcast(queries), 4 * context.defaultParallelism

    def compare(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        best = ARROW.empty_table()
        for block in _blocks(batches):
            best = merged_in_memory(pa.concat_tables([best, _against(block, shared.value, space, k)]), k)
        yield from best.to_batches()

    return merged(points.coalesce(tasks).mapInArrow(compare, SCHEMA), k, len(queries) * tasks)


def _against(block: PointArrays, queries: PointArrays, space: Space, k: int) -> pa.Table:
    parts = range(0, len(queries), _QUERY_ROWS)
    positions = [np.arange(start, min(start + _QUERY_ROWS, len(queries))) for start in parts]
    return pa.Table.from_batches([nearest_lists(space, queries.where(part), block, k) for part in positions], ARROW)


def _blocks(batches: Iterator[pa.RecordBatch]) -> Iterator[PointArrays]:
    gathered: list[PointArrays] = []
    for batch in batches:
        if batch.num_rows:
            gathered.append(PointArrays.of(batch))
        if sum(map(len, gathered)) >= _SCAN_ROWS:
            yield PointArrays.joined(gathered)
            gathered = []
    if gathered:
        yield PointArrays.joined(gathered)
