"""Neighbour lists as they travel: one array of (distance, near, code) a query, nearest first, merged by Spark."""

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.train_only.sampling.neighbours.exact import Neighbours
from imbalance_spark.train_only.sampling.neighbours.space import CODE, HASH, Numbers, PointArrays, Space, Words

NEAR = "__near"
"""Column of a query's neighbours: distance (double, >= 0), near (their hash) and code (their class)."""
SCHEMA = f"{HASH} bigint, {CODE} int, {NEAR} array<struct<distance: double, near: bigint, code: int>>"
_ITEM = pa.struct([("distance", pa.float64()), ("near", pa.int64()), ("code", pa.int32())])
ARROW = pa.schema([(HASH, pa.int64()), (CODE, pa.int32()), (NEAR, pa.list_(_ITEM))])


def nearest_lists(space: Space, queries: PointArrays, rows: PointArrays, k: int) -> pa.RecordBatch:
    """The k nearest rows of each query, exactly, or all there are; a query is no neighbour of itself."""
    own = np.searchsorted(rows.hashes, queries.hashes)
    is_own = np.append(rows.hashes, -1)[np.minimum(own, len(rows))] == queries.hashes
    return listed(queries, rows, nearest_in(space, queries.values, rows.values, k, np.where(is_own, own, -1)))


def nearest_in(space: Space, queries: Numbers, rows: Numbers, k: int, own: Words) -> Neighbours:
    """As `nearest`, in the space's distance, also among k rows and fewer: those that are not there are at infinity."""
    if len(rows) > k:
        return space.nearest(queries, rows, k, own)
    distances = np.sqrt(space.squares(queries, rows))
    has_own = np.flatnonzero(own >= 0)
    distances[has_own, own[has_own]] = np.inf
    order = np.argsort(distances, axis=1, kind="stable")
    return Neighbours(positions=order, distances=np.take_along_axis(distances, order, axis=1))


def merged(lists: DataFrame, k: int) -> DataFrame:
    """One list a query: the k nearest of all its lists; equally near rows by hash. Lazy, one shuffle."""
    together = F.array_sort(F.array_distinct(F.flatten(F.collect_list(NEAR))))
    return lists.groupBy(HASH, CODE).agg(F.slice(together, 1, k).alias(NEAR))


def listed(queries: PointArrays, rows: PointArrays, found: Neighbours) -> pa.RecordBatch:
    """The lists of `ARROW`, without what is at infinity."""
    is_there = np.isfinite(found.distances)
    offsets = np.concatenate([[0], np.cumsum(is_there.sum(axis=1))]).astype(np.int32)
    flat = found.positions[is_there]
    columns = (found.distances[is_there], rows.hashes[flat], rows.codes[flat])
    items = pa.StructArray.from_arrays([pa.array(column) for column in columns], fields=list(_ITEM))
    lists = pa.ListArray.from_arrays(pa.array(offsets), items, type=pa.list_(_ITEM))
    return pa.RecordBatch.from_arrays([pa.array(queries.hashes), pa.array(queries.codes), lists], schema=ARROW)
