"""Neighbour lists as Spark columns: one array of (distance, near, code) per query, nearest first; and their merge."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame

from imbalance_spark.core.hashing import hash_bucket
from imbalance_spark.train_only.sampling.neighbours.exact import Neighbours
from imbalance_spark.train_only.sampling.neighbours.space import CODE, HASH, Numbers, PointArrays, Space, Words

NEAR = "__near"
"""Column of a query's neighbours: distance (double, >= 0), near (their hash) and code (their class)."""

SCHEMA = f"{HASH} bigint, {CODE} int, {NEAR} array<struct<distance: double, near: bigint, code: int>>"
_ITEM = pa.struct([("distance", pa.float64()), ("near", pa.int64()), ("code", pa.int32())])

_LISTS_OF_TASK = 1 << 18
"""Most lists that a task merges at a time."""

ARROW = pa.schema([(HASH, pa.int64()), (CODE, pa.int32()), (NEAR, pa.list_(_ITEM))])


def nearest_lists(space: Space, queries: PointArrays, rows: PointArrays, k: int) -> pa.RecordBatch:
    """The k nearest rows of each query, exactly, or all rows if there are fewer; a query is not its own neighbour."""
    own = np.searchsorted(rows.hashes, queries.hashes)
    is_own = np.append(rows.hashes, -1)[np.minimum(own, len(rows))] == queries.hashes
    return listed(queries, rows, nearest_in(space, queries.values, rows.values, k, np.where(is_own, own, -1)))


def nearest_in(space: Space, queries: Numbers, rows: Numbers, k: int, own: Words) -> Neighbours:
    """As `nearest`, in the space's distance; with k rows or fewer, missing neighbours are at infinity."""
    if len(rows) > k:
        return space.nearest(queries, rows, k, own)
    distances = np.sqrt(space.squares(queries, rows))
    has_own = np.flatnonzero(own >= 0)
    distances[has_own, own[has_own]] = np.inf
    order = np.argsort(distances, axis=1, kind="stable")
    return Neighbours(positions=order, distances=np.take_along_axis(distances, order, axis=1))


def merged(lists: DataFrame, k: int, number: int) -> DataFrame:
    """One list per query: the k nearest of all its lists; equally near rows by hash. Lazy, one shuffle.

    A row is in at most one of a query's lists. They are merged in NumPy: Spark interprets its own expressions on arrays
    of structs, entry by entry.

    Args:
        number: of lists, at most.
    """

    def merge(table: pa.Table) -> pa.Table:
        return merged_in_memory(table, k)

    bucket = hash_bucket(HASH, number, _LISTS_OF_TASK).alias("__bucket")
    return lists.select("*", bucket).groupBy("__bucket").applyInArrow(merge, SCHEMA)


def merged_in_memory(lists: pa.Table, k: int) -> pa.Table:
    """As `merged`, in the order of the queries' hashes."""
    lists = lists.combine_chunks()
    entries = lists[NEAR].chunk(0)
    hashes, first, query = np.unique(np.asarray(lists[HASH]), return_index=True, return_inverse=True)
    query = np.repeat(query, np.diff(entries.offsets))
    distance, near, code = (np.asarray(column) for column in entries.flatten().flatten())
    order = np.lexsort((near, distance, query))
    query = query[order]
    rank = np.arange(len(order)) - np.searchsorted(query, query)
    kept, sizes = order[rank < k], np.bincount(query[rank < k], minlength=len(hashes))
    columns = (distance[kept], near[kept], code[kept])
    return pa.Table.from_batches([_batch(hashes, np.asarray(lists[CODE])[first], sizes, columns)])


def listed(queries: PointArrays, rows: PointArrays, found: Neighbours) -> pa.RecordBatch:
    """The lists in the schema `ARROW`, without neighbours at infinity."""
    is_there = np.isfinite(found.distances)
    flat = found.positions[is_there]
    columns = (found.distances[is_there], rows.hashes[flat], rows.codes[flat])
    return _batch(queries.hashes, queries.codes, is_there.sum(axis=1), columns)


def _batch(
    hashes: Words, codes: npt.NDArray[np.int32], sizes: Words, columns: tuple[npt.NDArray[np.generic], ...]
) -> pa.RecordBatch:
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    items = pa.StructArray.from_arrays([pa.array(column) for column in columns], fields=list(_ITEM))
    lists = pa.ListArray.from_arrays(pa.array(offsets), items, type=pa.list_(_ITEM))
    return pa.RecordBatch.from_arrays([pa.array(hashes), pa.array(codes), lists], schema=ARROW)
