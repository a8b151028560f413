"""Points that fit into one process's memory, searched exactly or by cells, without a shuffle."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.train_only.sampling.neighbours.exact import Neighbours
from imbalance_spark.train_only.sampling.neighbours.in_cells import CellRows, nearest_in_cells
from imbalance_spark.train_only.sampling.neighbours.kmeans import PROBES, Cells
from imbalance_spark.train_only.sampling.neighbours.lists import SCHEMA, listed, nearest_in, nearest_lists
from imbalance_spark.train_only.sampling.neighbours.on_cluster import RANK
from imbalance_spark.train_only.sampling.neighbours.space import PointArrays, Space, Words

Engine = Literal["exact", "cells"]

BLOCK_BYTES = 1 << 26
"""Approximate size of a block of distances and of what is selected from it."""

_EXACT_QUERIES = 1 << 13

_CELL_QUERIES = 1 << 17
"""Queries of one search: many, so that those of one cell share one matrix product."""

_BLOCK_SCHEMA = "__queries binary, __positions binary, __distances binary"


@dataclass(frozen=True, kw_only=True)
class InMemoryIndex:
    """Points in the order of their hashes, and their cells; without cells a search compares all points."""

    points: PointArrays
    space: Space
    cells: CellRows | None = None

    @classmethod
    def by_cells(cls, points: PointArrays, space: Space, cells: Cells) -> Self:
        """Points to be searched by their cells (`Partition.cells`), as `search_cells` does on the cluster."""
        # float32 without categories: half the bytes, and the search by cells is approximate anyway.
        return cls(
            points=points if space.categorical else points.as_floats(),
            space=space,
            cells=CellRows.of(cells),
        )

    @property
    def rows(self) -> int:
        """Number of points."""
        return len(self.points)

    @property
    def engine(self) -> Engine:
        """How the points are searched."""
        return "exact" if self.cells is None else "cells"

    @property
    def compared(self) -> int:
        """Average number of points that a query is compared with."""
        return self.rows if self.cells is None else self.cells.compared

    @property
    def task_bytes(self) -> int:
        """Approximate peak of one task, in bytes: all points, their cells, and a block of distances."""
        return bytes_in_memory(self.rows, self.space, self.engine) + BLOCK_BYTES

    def nearest(self, spark: SparkSession, k: int) -> DataFrame:
        """Each point's k nearest others; searched now, by tasks that each have all points in memory."""
        return self.ranked(spark, k, "nearest").drop(RANK)

    def ranked(self, spark: SparkSession, k: int, stage: str) -> DataFrame:
        """As `nearest`, with `RANK`, the rank of each point's hash."""
        shared = spark.sparkContext.broadcast((self.points.names(), self.search(spark, k)))

        def listings(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            names, found = shared.value
            for batch in batches:
                ranks = batch.column(0).to_numpy()
                yield listed(names.where(ranks), names, found.where(ranks)).append_column(RANK, pa.array(ranks))

        return spark.range(0, self.rows).mapInArrow(listings, f"{SCHEMA}, {RANK} bigint")

    def search(self, spark: SparkSession, k: int) -> Neighbours:
        """Each point's k nearest others on the driver, in hash order; 12 k bytes per point are collected."""
        shared = spark.sparkContext.broadcast(self)
        most = _EXACT_QUERIES if self.cells is None else _CELL_QUERIES

        def look(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for numbers in _gathered(batches, most):
                queries = shared.value._by_cell(numbers)
                found = shared.value._nearest(queries, k)
                parts = (queries, found.positions.astype(np.int32), found.distances)
                columns = [pa.array([part.tobytes()], pa.binary()) for part in parts]
                yield pa.RecordBatch.from_arrays(columns, names=["__queries", "__positions", "__distances"])

        # Bounded: one row per block of queries.
        blocks = spark.range(0, self.rows).mapInArrow(look, _BLOCK_SCHEMA).toArrow()
        return _joined(blocks, self.rows, k)

    def sample(self, rows: int, stage: str) -> PointArrays:
        """The points with the lowest hashes."""
        return self.points.where(np.arange(min(rows, self.rows)))

    def brute_force(self, queries: PointArrays, k: int) -> pa.Table:
        """The k nearest points of each query, by comparing it with all points."""
        return pa.Table.from_batches([nearest_lists(self.space, queries, self.points, k)])

    def found(self, queries: PointArrays, k: int) -> pa.Table:
        """The k nearest points of each query, as `nearest` finds them."""
        positions = np.searchsorted(self.points.hashes, queries.hashes)
        return pa.Table.from_batches([listed(queries, self.points, self._nearest(positions, k))])

    def _by_cell(self, numbers: Words) -> Words:
        # In the order of their cells, so that the queries of one block share cells.
        return numbers if self.cells is None else self.cells.order[numbers].astype(np.int64)

    def _nearest(self, queries: Words, k: int) -> Neighbours:
        values = self.points.values
        if self.cells is None:
            return _padded(nearest_in(self.space, values[queries], values, k, queries), k)
        return nearest_in_cells(self.space, values, self.cells, queries, k)


def bytes_in_memory(rows: int, space: Space, engine: Engine) -> int:
    """Memory of `rows` points: float64 for exact distances; float32 and one integer per probe for cells."""
    number = 8 if engine == "exact" or space.categorical else 4
    return rows * (space.width * number + 12 + (4 * (PROBES + 1) if engine == "cells" else 0))


def _gathered(batches: Iterator[pa.RecordBatch], most: int) -> Iterator[Words]:
    gathered: list[Words] = []
    for batch in batches:
        gathered.append(batch.column(0).to_numpy())
        if sum(map(len, gathered)) >= most:
            yield np.concatenate(gathered)
            gathered = []
    if gathered:
        yield np.concatenate(gathered)


def _padded(found: Neighbours, k: int) -> Neighbours:
    """The lists with k entries each: missing neighbours are at infinity."""
    missing = ((0, 0), (0, k - min(k, found.positions.shape[1])))
    return Neighbours(
        positions=np.pad(found.positions[:, :k], missing, constant_values=-1),
        distances=np.pad(found.distances[:, :k], missing, constant_values=np.inf),
    )


def _joined(blocks: pa.Table, rows: int, k: int) -> Neighbours:
    positions = np.empty((rows, k), np.int32)
    distances = np.empty((rows, k))
    for block in blocks.to_batches():
        for columns in zip(*(column.to_pylist() for column in block.columns), strict=True):
            queries, found, far = map(np.frombuffer, columns, (np.int64, np.int32, np.float64))
            positions[queries], distances[queries] = found.reshape(-1, k), far.reshape(-1, k)
    return Neighbours(positions=positions, distances=distances)
