"""Points that one memory holds, searched whole or by the cells of several trees, without a shuffle."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.train_only.sampling.neighbours.exact import Neighbours
from imbalance_spark.train_only.sampling.neighbours.forest import TREES, Forest
from imbalance_spark.train_only.sampling.neighbours.lists import SCHEMA, listed, nearest_in, nearest_lists
from imbalance_spark.train_only.sampling.neighbours.places import PLACE
from imbalance_spark.train_only.sampling.neighbours.space import PointArrays, Space, Words

Engine = Literal["exact", "cells"]

BLOCK_BYTES = 1 << 26
"""Of a block of distances and what is chosen from it, roughly."""
_EXACT_QUERIES = 1 << 13
_CELL_QUERIES = 1 << 17
"""Queries of one search: many, so that those of one cell are compared in one matrix product."""


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Which point is in which cell, (points, trees), and each tree's points in the order of their cells."""

    of_point: npt.NDArray[np.int32]
    order: npt.NDArray[np.int32]

    @classmethod
    def of(cls, forest: Forest, points: PointArrays) -> Self:
        """The cells of these points."""
        cells = forest.cells(points).astype(np.int32)
        return cls(of_point=cells, order=np.argsort(cells, axis=0, kind="stable").astype(np.int32))

    @property
    def trees(self) -> int:
        """How many cells a point is in."""
        return int(self.order.shape[1])

    def shared(self, places: Words, tree: int) -> Iterator[tuple[Words, Words]]:
        """For each cell that the places are in: which of them, and all points of the cell, ascending."""
        asked = self.of_point[places, tree]
        by_cell = np.argsort(asked, kind="stable")
        sorted_cells = self.of_point[self.order[:, tree], tree]
        for part in np.split(by_cell, np.flatnonzero(np.diff(asked[by_cell])) + 1):
            first, last = np.searchsorted(sorted_cells, [asked[part[0]], asked[part[0]] + 1])
            yield part, self.order[first:last, tree].astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class HeldIndex:
    """Points in the order of their hashes, and their cells; without cells a search compares all."""

    points: PointArrays
    space: Space
    cells: Cells | None = None

    @classmethod
    def by_cells(cls, points: PointArrays, space: Space, forest: Forest) -> Self:
        """Points to be searched by the trees' cells, as `search_cells` does on the cluster."""
        # Without categories float32: half the bytes, and their order is approximate anyway.
        return cls(
            points=points if space.categorical else points.as_floats(), space=space, cells=Cells.of(forest, points)
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
    def task_bytes(self) -> int:
        """Most bytes that a task holds, roughly: all points, their cells, and a block of distances."""
        return held_bytes(self.rows, self.space, self.engine) + BLOCK_BYTES

    def nearest(self, spark: SparkSession, k: int) -> DataFrame:
        """Each point's k nearest others; the points are broadcast, queries spread over the tasks. Lazy."""
        return self.placed(spark, k, "nearest").drop(PLACE)

    def placed(self, spark: SparkSession, k: int, stage: str) -> DataFrame:
        """As `nearest`, with `PLACE`."""
        shared = spark.sparkContext.broadcast(self)
        most = _EXACT_QUERIES if self.cells is None else _CELL_QUERIES

        def search(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for numbers in _gathered(batches, most):
                places = shared.value._places(numbers)
                yield shared.value._lists(places, k).append_column(PLACE, pa.array(places))

        return spark.range(0, self.rows).mapInArrow(search, f"{SCHEMA}, {PLACE} bigint")

    def sample(self, rows: int, stage: str) -> PointArrays:
        """The points with the lowest hashes."""
        return self.points.where(np.arange(min(rows, self.rows)))

    def brute_force(self, queries: PointArrays, k: int) -> pa.Table:
        """The k nearest of these points, by comparing all."""
        return pa.Table.from_batches([nearest_lists(self.space, queries, self.points, k)])

    def found(self, queries: PointArrays, k: int) -> pa.Table:
        """The k nearest of these points, as `nearest` finds them."""
        return pa.Table.from_batches([self._lists(np.searchsorted(self.points.hashes, queries.hashes), k)])

    def _places(self, numbers: Words) -> Words:
        # In the order of the first tree, so that queries of one block share cells in the others too.
        return numbers if self.cells is None else self.cells.order[numbers, 0].astype(np.int64)

    def _lists(self, places: Words, k: int) -> pa.RecordBatch:
        values = self.points.values
        if self.cells is None:
            found = nearest_in(self.space, values[places], values, k, places)
        else:
            found = self._by_cells(self.cells, places, k)
        return listed(self.points.where(places), self.points, found)

    def _by_cells(self, cells: Cells, places: Words, k: int) -> Neighbours:
        positions = np.full((len(places), cells.trees * k), -1, np.int64)
        distances = np.full(positions.shape, np.inf)
        values = self.points.values
        for tree in range(cells.trees):
            for part, members in cells.shared(places, tree):
                own = np.searchsorted(members, places[part])
                found = nearest_in(self.space, values[places[part]], values[members], k, own)
                columns = slice(tree * k, tree * k + min(k, len(members)))
                positions[part, columns] = members[found.positions[:, :k]]
                distances[part, columns] = found.distances[:, :k]
        return _merged(positions, distances, k)


def held_bytes(rows: int, space: Space, engine: Engine) -> int:
    """What so many points take in memory: exact distances need doubles, cells floats and two whole numbers a tree."""
    number = 8 if engine == "exact" or space.categorical else 4
    return rows * (space.width * number + 12 + (8 * TREES if engine == "cells" else 0))


def _gathered(batches: Iterator[pa.RecordBatch], most: int) -> Iterator[Words]:
    held: list[Words] = []
    for batch in batches:
        held.append(batch.column(0).to_numpy())
        if sum(map(len, held)) >= most:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _merged(positions: Words, distances: npt.NDArray[np.float64], k: int) -> Neighbours:
    """The k nearest of each row, every position once; equally near ones by position."""
    order = np.argsort(positions, axis=1, kind="stable")
    positions, distances = np.take_along_axis(positions, order, 1), np.take_along_axis(distances, order, 1)
    distances[:, 1:][positions[:, 1:] == positions[:, :-1]] = np.inf
    # Stable: equally near ones stay in the order of their positions.
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return Neighbours(
        positions=np.take_along_axis(positions, order, 1), distances=np.take_along_axis(distances, order, 1)
    )
