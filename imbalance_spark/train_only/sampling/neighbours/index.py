"""An index of points: held in memory where they fit, by cells on the cluster where they do not."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.hashing import HASH_RANGE
from imbalance_spark.train_only.sampling.neighbours.in_cells import fit_searched_partition
from imbalance_spark.train_only.sampling.neighbours.in_memory import BLOCK_BYTES, Engine, HeldIndex, held_bytes
from imbalance_spark.train_only.sampling.neighbours.kmeans import SAMPLE_ROWS, Partition, driver_threads
from imbalance_spark.train_only.sampling.neighbours.on_cluster import (
    collect_points,
    fit_cells,
    search_by_scan,
    search_cells,
    with_places,
)
from imbalance_spark.train_only.sampling.neighbours.space import HASH, PointArrays, Space

EXACT_ROWS = 50_000
"""Default of the rows up to which a class is searched exactly."""

HELD_BYTES = 1 << 28
"""Points of up to so many bytes are collected and broadcast; of more, a sample leaves the cluster."""


class NeighbourIndex(Protocol):
    """Points among which each finds its nearest others."""

    @property
    def rows(self) -> int:
        """Points that are searched."""

    @property
    def space(self) -> Space:
        """What a distance is."""

    @property
    def engine(self) -> Engine:
        """How they are searched."""

    @property
    def compared(self) -> int:
        """Points that a query is compared with, on average."""

    @property
    def task_bytes(self) -> int:
        """Most bytes of points and distances that a task holds, roughly."""

    def nearest(self, spark: SparkSession, k: int) -> DataFrame:
        """Each point's k nearest others: `HASH`, `CODE` and `NEAR`."""

    def placed(self, spark: SparkSession, k: int, stage: str) -> DataFrame:
        """As `nearest`, with `PLACE`."""

    def sample(self, rows: int, stage: str) -> PointArrays:
        """Some of the points, on average so many, by their hashes."""

    def brute_force(self, queries: PointArrays, k: int) -> pa.Table:
        """The k nearest of these points, by comparing all."""

    def found(self, queries: PointArrays, k: int) -> pa.Table:
        """The k nearest of these points, as `nearest` finds them."""


@dataclass(frozen=True, kw_only=True)
class ClusterIndex:
    """Points that stay on the cluster, searched by their cells; each method but `nearest` is one pass."""

    frame: DataFrame
    rows: int
    space: Space
    partition: Partition

    engine: Engine = "cells"

    @property
    def compared(self) -> int:
        """Points that a query is compared with, on average."""
        return self.partition.probes * self._cell_rows

    @property
    def task_bytes(self) -> int:
        """Of a cell with all rows that look at it, of which there are as many as it has itself for each probe."""
        return 16 * self.space.width * (1 + self.partition.probes) * self._cell_rows + BLOCK_BYTES

    @property
    def _cell_rows(self) -> int:
        return self.rows // int(self.partition.parts.sum()) + 1

    def nearest(self, spark: SparkSession, k: int) -> DataFrame:
        """As `search_cells`."""
        return search_cells(self.frame, self.partition, self.space, k, queries=self.rows, is_query=_all)

    def placed(self, spark: SparkSession, k: int, stage: str) -> DataFrame:
        """As `nearest`; one pass for the places, the rest is lazy."""
        return with_places(self.nearest(spark, k), self.frame.select(HASH), self.rows, stage)

    def sample(self, rows: int, stage: str) -> PointArrays:
        """The points with the lowest hashes."""
        below = int(min(1.0, rows / self.rows) * HASH_RANGE)
        return collect_points(self.frame.where(F.col(HASH) < F.lit(below)), stage)

    def brute_force(self, queries: PointArrays, k: int) -> pa.Table:
        """As `search_by_scan`; bounded by the queries."""
        return search_by_scan(self.frame, queries, self.space, k).toArrow()

    def found(self, queries: PointArrays, k: int) -> pa.Table:
        """As `nearest`, in the queries' cells alone; bounded by the queries."""
        names = queries.hashes

        def is_query(points: PointArrays) -> npt.NDArray[np.bool_]:
            return np.isin(points.hashes, names)

        among = self.partition.cells(queries)
        found = search_cells(
            self.frame, self.partition, self.space, k, queries=len(queries), is_query=is_query, among=among
        )
        return found.toArrow()


def index_points(
    frame: DataFrame, rows: int, space: Space, *, exact_rows: int, seed: int, stage: str
) -> NeighbourIndex:
    """An index of `rows` points; one pass, which brings them or a sample of them to the driver.

    Raises:
        DataContractError: two rows have one key. LeakageError: a row whose split is not "train".
    """
    if not is_exact(rows, space, exact_rows) and held_bytes(rows, space, "cells") > HELD_BYTES:
        return ClusterIndex(frame=frame, rows=rows, space=space, partition=fit_cells(frame, rows, space, seed, stage))
    return index_held(collect_points(frame, stage), space, exact_rows=exact_rows, seed=seed)


def index_held(points: PointArrays, space: Space, *, exact_rows: int, seed: int) -> HeldIndex:
    """An index of points in memory."""
    rows = len(points)
    if is_exact(rows, space, exact_rows):
        return HeldIndex(points=points, space=space)
    # The lowest hashes: the sample that cells are learnt on where rows stay on the cluster.
    share = min(1.0, SAMPLE_ROWS / rows)
    sample = points.where(points.hashes < int(share * HASH_RANGE))
    partition, cells = fit_searched_partition(sample, space, rows, seed)
    if len(sample) < rows:
        cells = partition.cells(points, driver_threads())
    return HeldIndex.by_cells(points, space, cells)


def is_exact(rows: int, space: Space, exact_rows: int) -> bool:
    """Whether so many points are held and searched exactly."""
    return rows <= exact_rows and held_bytes(rows, space, "exact") <= HELD_BYTES


def _all(points: PointArrays) -> npt.NDArray[np.bool_]:
    return np.ones(len(points), np.bool_)
