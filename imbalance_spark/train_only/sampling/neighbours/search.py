"""The exact search of a few queries against all rows in one scan."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from imbalance_spark.errors import DataContractError
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.neighbours.lists import (
    ARROW,
    SCHEMA,
    merged,
    merged_in_memory,
    nearest_lists,
)
from imbalance_spark.train_only.sampling.neighbours.space import PointArrays, Space

_SCAN_ROWS = 1 << 15
"""Rows that a task of a scan gathers before it compares them with the queries."""
_QUERY_ROWS = 1 << 13


def collect_points(points: DataFrame, stage: str) -> PointArrays:
    """The points on the driver; the caller has bounded their number.

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

    A task holds the queries, k entries for each, and 32,768 rows; the merge moves k entries a query and task, so tasks
    are gathered to four a core.
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
    places = [np.arange(start, min(start + _QUERY_ROWS, len(queries))) for start in parts]
    return pa.Table.from_batches([nearest_lists(space, queries.where(part), block, k) for part in places], ARROW)


def _blocks(batches: Iterator[pa.RecordBatch]) -> Iterator[PointArrays]:
    held: list[PointArrays] = []
    for batch in batches:
        if batch.num_rows:
            held.append(PointArrays.of(batch))
        if sum(map(len, held)) >= _SCAN_ROWS:
            yield PointArrays.joined(held)
            held = []
    if held:
        yield PointArrays.joined(held)
