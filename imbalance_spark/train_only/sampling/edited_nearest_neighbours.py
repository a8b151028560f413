"""Edited nearest neighbours: rows that their neighbours contradict."""

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Literal

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.errors import ConfigError
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.cleaning_sampler import CleaningSampler
from imbalance_spark.train_only.sampling.feature_scale import Scaling
from imbalance_spark.train_only.sampling.neighbour_sampler import Points
from imbalance_spark.train_only.sampling.neighbours import EXACT_ROWS
from imbalance_spark.train_only.sampling.neighbours.exact import nearest
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.search import collect_points
from imbalance_spark.train_only.sampling.neighbours.space import CODE, HASH, PointArrays, Space
from imbalance_spark.train_only.sampling.strategy import SamplingStrategy

_BLOCK = 2048
"""Rows among which a majority row's k nearest bound its true radius from above."""


class EditedNearestNeighbours(CleaningSampler):
    """Remove a row if its k nearest rows disagree with its class (Wilson, 1972).

    A row of the majority class can only fail if a row of another class lies within its radius. Each such row is
    compared with all rows of the other classes, and with a block of its own, whose k-th distance bounds the
    radius from above; only rows that this leaves in doubt are searched among all rows.

    Args: as `CleaningSampler`, and
        n_neighbors: integer >= 1.
        kind_sel: "all": a row stays if all its neighbours are of its class; "mode": if the most frequent class
            among them (of equally frequent ones the first in sorted order) is its own.

    Attributes and errors: as `CleaningSampler`.
    """

    def __init__(
        self, *, key: str | Sequence[str], label: str, features: Sequence[str],
        sampling_strategy: SamplingStrategy = "auto", n_neighbors: int = 3, kind_sel: Literal["all", "mode"] = "all",
        scaling: Scaling = "standard", seed: int = 0, exact_rows: int = EXACT_ROWS,
    ) -> None:  # fmt: skip
        super().__init__(
            key=key, label=label, features=features, sampling_strategy=sampling_strategy, scaling=scaling, seed=seed,
            exact_rows=exact_rows,
        )  # fmt: skip
        if kind_sel not in ("all", "mode"):
            raise ConfigError(f"{type(self).__name__}.kind_sel must be 'all' or 'mode', got {kind_sel!r}.")
        self.n_neighbors: int = self._whole("n_neighbors", n_neighbors, 1)
        self.kind_sel: Literal["all", "mode"] = kind_sel

    def _removed(self, points: Points) -> DataFrame:
        targets, k = self._targets(points), self.n_neighbors
        majority = points.codes[points.majority]
        others = [name for name, code in points.codes.items() if code in targets and code != majority]
        lists = [self._among_all(points, others, k)] if others else []
        if majority in targets:
            lists.append(self._lists_of_majority(points, majority, k))
        found = reduce(DataFrame.unionByName, lists)
        codes = F.transform(NEAR, lambda entry: entry["code"])
        return found.where(self._is_contradicted(codes)).select(HASH, CODE)

    def _is_contradicted(self, codes: Column) -> Column:
        if self.kind_sel == "all":
            return F.exists(codes, lambda code: code != F.col(CODE))
        return most_voted(codes) != F.col(CODE)

    def _lists_of_majority(self, points: Points, majority: int, k: int) -> DataFrame:
        """Neighbour lists of the majority's rows that may fail; exact unless the other classes are too large."""
        mine = F.col(CODE) == majority
        rows = sum(points.counts[name] for name, code in points.codes.items() if code != majority)
        if not self._is_exact(points, rows):
            return self._nearest_of(points, points.frame.where(mine), sum(points.counts.values()) - rows, k)
        with leakage_errors():
            foreign = collect_points(points.frame.where(~mine), type(self).__name__)
            doubtful = _in_doubt(points.frame, foreign, points.space, majority, k).localCheckpoint()
        asked = points.frame.join(doubtful, on=HASH, how="left_semi").localCheckpoint()
        # In doubt are more than fit at once where classes overlap: so many scans, by hash.
        scans = 1 + asked.count() // self.exact_rows
        parts = [asked.where(F.pmod(F.shiftright(HASH, 20), F.lit(scans)) == part) for part in range(scans)]
        return reduce(DataFrame.unionByName, [self._nearest_of(points, part, self.exact_rows, k) for part in parts])


def most_voted(codes: Column) -> Column:
    """The most frequent code; of equally frequent ones the smallest."""
    # -votes, then the code, sort as wanted.
    votes = F.transform(
        F.array_distinct(codes),
        lambda code: F.struct((-F.size(F.filter(codes, lambda other: other == code))).alias("n"), code.alias("of")),
    )
    return F.array_min(votes)["of"]


def _in_doubt(frame: DataFrame, foreign: PointArrays, space: Space, majority: int, k: int) -> DataFrame:
    """`HASH` of majority rows whose nearest foreign row is not farther than their k-th nearest of a block; lazy."""
    shared = frame.sparkSession.sparkContext.broadcast(foreign)

    def bound(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for start in range(0, batch.num_rows, _BLOCK):
                block = PointArrays.of(batch.slice(start, _BLOCK))
                mine = np.flatnonzero(block.codes == majority)
                yield _names(block.where(mine[_may_fail(block, mine, shared.value, space, k)]))

    return frame.mapInArrow(bound, f"{HASH} bigint")


def _may_fail(block: PointArrays, mine: np.ndarray, foreign: PointArrays, space: Space, k: int) -> np.ndarray:
    if len(block) <= k or not len(mine):
        return np.ones(len(mine), np.bool_)
    queries = block.values[mine]
    radius = nearest(*space.vectors(queries, block.values), k, mine).distances[:, -1]
    # A hair wider: the two distances of one pair need not round alike.
    return np.asarray(nearest(*space.vectors(queries, foreign.values), 1).distances[:, 0] <= radius * (1 + 1e-9))


def _names(points: PointArrays) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(points.hashes)], names=[HASH])
