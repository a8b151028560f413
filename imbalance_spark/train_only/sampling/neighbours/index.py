"""An index of points: in memory where they fit, by k-means cells on the cluster where they do not."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.hashing import HASH_RANGE
from imbalance_spark.train_only.sampling.neighbours.in_cells import fit_searched_partition
from imbalance_spark.train_only.sampling.neighbours.in_memory import BLOCK_BYTES, Engine, InMemoryIndex, bytes_in_memory
from imbalance_spark.train_only.sampling.neighbours.kmeans import SAMPLE_ROWS, Partition, driver_threads
from imbalance_spark.train_only.sampling.neighbours.on_cluster import (
    collect_points,
    fit_cells,
    search_by_scan,
    search_cells,
    with_hash_ranks,
)
from imbalance_spark.train_only.sampling.neighbours.space import HASH, PointArrays, Space

EXACT_ROWS = 50_000
"""Default for the largest class that is searched exactly."""

IN_MEMORY_BYTES = 1 << 28
"""Points of up to this size are collected and broadcast; of larger classes only a sample is collected."""


class NeighbourIndex(Protocol):
    """Points, searchable for the nearest others of each."""

    @property
    def rows(self) -> int:
        """Number of points."""

    @property
    def space(self) -> Space:
        """Defines the distance."""

    @property
    def engine(self) -> Engine:
        """How the points are searched."""

    @property
    def compared(self) -> int:
        """Average number of points that a query is compared with."""

    @property
    def task_bytes(self) -> int:
        """Approximate peak of points and distances in one task, in bytes."""

    def nearest(self, spark: SparkSession, k: int) -> DataFrame:
        """Each point's k nearest others: `HASH`, `CODE` and `NEAR`."""

    def ranked(self, spark: SparkSession, k: int, stage: str) -> DataFrame:
        """As `nearest`, with `RANK`, the rank of each point's hash."""

    def sample(self, rows: int, stage: str) -> PointArrays:
        """A sample of about `rows` points, by their hashes."""

    def brute_force(self, queries: PointArrays, k: int) -> pa.Table:
        """The k nearest points of each query, by comparing it with all points."""

    def found(self, queries: PointArrays, k: int) -> pa.Table:
        """The k nearest points of each query, as `nearest` finds them."""


@dataclass(frozen=True, kw_only=True)
class ClusterIndex:
    """Points that stay on the cluster, searched by cells; each method except `nearest` is one pass."""

    frame: DataFrame
    rows: int
    space: Space
    partition: Partition

    engine: Engine = "cells"

    @property
    def compared(self) -> int:
        """Average number of points that a query is compared with."""
        return self.partition.probes * self._cell_rows

    @property
    def task_bytes(self) -> int:
        """Of one cell with all rows that probe it: on average as many per probe as the cell has rows."""
        return 16 * self.space.width * (1 + self.partition.probes) * self._cell_rows + BLOCK_BYTES

    @property
    def _cell_rows(self) -> int:
        return self.rows // int(self.partition.parts.sum()) + 1

    def nearest(self, spark: SparkSession, k: int) -> DataFrame:
        """As `search_cells`."""
        return search_cells(self.frame, self.partition, self.space, k, queries=self.rows, is_query=_all)

    def ranked(self, spark: SparkSession, k: int, stage: str) -> DataFrame:
        """As `nearest`; one pass for the ranks, the rest is lazy."""
        return with_hash_ranks(self.nearest(spark, k), self.frame.select(HASH), self.rows, stage)

    def sample(self, rows: int, stage: str) -> PointArrays:
        """The points with the lowest hashes."""
        below = int(min(1.0, rows / self.rows) * HASH_RANGE)
        return collect_points(self.frame.where(F.col(HASH) < F.lit(below)), stage)

    def brute_force(self, queries: PointArrays, k: int) -> pa.Table:
        """As `search_by_scan`; the result is bounded by the queries."""
        return search_by_scan(self.frame, queries, self.space, k).toArrow()

    def found(self, queries: PointArrays, k: int) -> pa.Table:
        """As `nearest`, in the cells of the queries only; the result is bounded by the queries."""
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
    """An index of `rows` points; one pass, which collects them or a sample of them.

    Args:
        frame: one row per point. rows: their number. space: how distance is measured.
        exact_rows: up to so many points are searched exactly. seed: of the sample that cells are fitted on.
        stage: name for messages.
    Returns:
        An index in memory, or one of cells on the cluster where the points do not fit.
    Raises:
        DataContractError: two rows have one key. LeakageError: a row whose split is not "train".
    """
    if not is_exact(rows, space, exact_rows) and bytes_in_memory(rows, space, "cells") > IN_MEMORY_BYTES:
        return ClusterIndex(frame=frame, rows=rows, space=space, partition=fit_cells(frame, rows, space, seed, stage))
    return index_in_memory(collect_points(frame, stage), space, exact_rows=exact_rows, seed=seed)


def index_in_memory(points: PointArrays, space: Space, *, exact_rows: int, seed: int) -> InMemoryIndex:
    """An index of points in memory."""
    rows = len(points)
    if is_exact(rows, space, exact_rows):
        return InMemoryIndex(points=points, space=space)
    # The lowest hashes: the same sample as where the rows stay on the cluster.
    share = min(1.0, SAMPLE_ROWS / rows)
    sample = points.where(points.hashes < int(share * HASH_RANGE))
    partition, cells = fit_searched_partition(sample, space, rows, seed)
    if len(sample) < rows:
        cells = partition.cells(points, driver_threads())
    return InMemoryIndex.by_cells(points, space, cells)


def is_exact(rows: int, space: Space, exact_rows: int) -> bool:
    """Whether `rows` points are collected and searched exactly.

    Args:
        rows: number of points. space: how distance is measured. exact_rows: as in `index_points`.
    Returns:
        False where cells of points are searched instead, or memory would not suffice.
    """
    return rows <= exact_rows and bytes_in_memory(rows, space, "exact") <= IN_MEMORY_BYTES


def _all(points: PointArrays) -> npt.NDArray[np.bool_]:
    return np.ones(len(points), np.bool_)
