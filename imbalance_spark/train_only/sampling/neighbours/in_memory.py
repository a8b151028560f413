"""Points that one memory holds, searched whole or by their cells, without a shuffle."""

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
from imbalance_spark.train_only.sampling.neighbours.on_cluster import PLACE
from imbalance_spark.train_only.sampling.neighbours.space import PointArrays, Space, Words

Engine = Literal["exact", "cells"]

BLOCK_BYTES = 1 << 26
"""Of a block of distances and what is chosen from it, roughly."""

_EXACT_QUERIES = 1 << 13

_CELL_QUERIES = 1 << 17
"""Queries of one search: many, so that those of one cell are compared in one matrix product."""

_BLOCK_SCHEMA = "__places binary, __positions binary, __distances binary"


@dataclass(frozen=True, kw_only=True)
class HeldIndex:
    """Points in the order of their hashes, and their cells; without cells a search compares all."""

    points: PointArrays
    space: Space
    cells: CellRows | None = None

    @classmethod
    def by_cells(cls, points: PointArrays, space: Space, cells: Cells) -> Self:
        """Points to be searched by their cells (`Partition.cells`), as `search_cells` does on the cluster."""
        # Without categories float32: half the bytes, and their order is approximate anyway.
        return cls(
            points=points if space.categorical else points.as_floats(),
            space=space,
            cells=CellRows.of(cells),
        )

    @property
    def rows(self) -> int:
        """Points that are searched."""
        return len(self.points)

    @property
    def engine(self) -> Engine:
        """How they are searched."""
        return "exact" if self.cells is None else "cells"

    @property
    def compared(self) -> int:
        """Points that a query is compared with, on average."""
        return self.rows if self.cells is None else self.cells.compared

    @property
    def task_bytes(self) -> int:
        """Most bytes that a task holds, roughly: all points, their cells, and a block of distances."""
        return held_bytes(self.rows, self.space, self.engine) + BLOCK_BYTES

    def nearest(self, spark: SparkSession, k: int) -> DataFrame:
        """Each point's k nearest others; searched now, by tasks that each hold all points."""
        return self.placed(spark, k, "nearest").drop(PLACE)

    def placed(self, spark: SparkSession, k: int, stage: str) -> DataFrame:
        """As `nearest`, with `PLACE`."""
        shared = spark.sparkContext.broadcast((self.points.names(), self.search(spark, k)))

        def listings(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            names, found = shared.value
            for batch in batches:
                places = batch.column(0).to_numpy()
                yield listed(names.where(places), names, found.where(places)).append_column(PLACE, pa.array(places))

        return spark.range(0, self.rows).mapInArrow(listings, f"{SCHEMA}, {PLACE} bigint")

    def search(self, spark: SparkSession, k: int) -> Neighbours:
        """Each point's k nearest others on the driver, by place; searched on the cluster, 12 k bytes a point come."""
        shared = spark.sparkContext.broadcast(self)
        most = _EXACT_QUERIES if self.cells is None else _CELL_QUERIES

        def look(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for numbers in _gathered(batches, most):
                places = shared.value._places(numbers)
                found = shared.value._nearest(places, k)
                parts = (places, found.positions.astype(np.int32), found.distances)
                columns = [pa.array([part.tobytes()], pa.binary()) for part in parts]
                yield pa.RecordBatch.from_arrays(columns, names=["__places", "__positions", "__distances"])

        # Bounded: a row a block of queries.
        blocks = spark.range(0, self.rows).mapInArrow(look, _BLOCK_SCHEMA).toArrow()
        return _joined(blocks, self.rows, k)

    def sample(self, rows: int, stage: str) -> PointArrays:
        """The points with the lowest hashes."""
        return self.points.where(np.arange(min(rows, self.rows)))

    def brute_force(self, queries: PointArrays, k: int) -> pa.Table:
        """The k nearest of these points, by comparing all."""
        return pa.Table.from_batches([nearest_lists(self.space, queries, self.points, k)])

    def found(self, queries: PointArrays, k: int) -> pa.Table:
        """The k nearest of these points, as `nearest` finds them."""
        places = np.searchsorted(self.points.hashes, queries.hashes)
        return pa.Table.from_batches([listed(queries, self.points, self._nearest(places, k))])

    def _places(self, numbers: Words) -> Words:
        # In the order of their cells, so that queries of one block share them.
        return numbers if self.cells is None else self.cells.order[numbers].astype(np.int64)

    def _nearest(self, places: Words, k: int) -> Neighbours:
        values = self.points.values
        if self.cells is None:
            return _padded(nearest_in(self.space, values[places], values, k, places), k)
        return nearest_in_cells(self.space, values, self.cells, places, k)


def held_bytes(rows: int, space: Space, engine: Engine) -> int:
    """What so many points take in memory: exact distances need doubles, cells floats and a whole number a probe."""
    number = 8 if engine == "exact" or space.categorical else 4
    return rows * (space.width * number + 12 + (4 * (PROBES + 1) if engine == "cells" else 0))


def _gathered(batches: Iterator[pa.RecordBatch], most: int) -> Iterator[Words]:
    held: list[Words] = []
    for batch in batches:
        held.append(batch.column(0).to_numpy())
        if sum(map(len, held)) >= most:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _padded(found: Neighbours, k: int) -> Neighbours:
    """The lists with k entries each: what is not there is at infinity."""
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
            places, found, far = map(np.frombuffer, columns, (np.int64, np.int32, np.float64))
            positions[places], distances[places] = found.reshape(-1, k), far.reshape(-1, k)
    return Neighbours(positions=positions, distances=distances)
