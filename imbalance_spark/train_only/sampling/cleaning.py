"""Cleaning: drop rows whose neighbours are of other classes."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from typing import Literal

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import of_class
from imbalance_spark.core.columns import col
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.base import NeighbourSampler, Points, refuse_lost_classes, with_sampling_weight
from imbalance_spark.train_only.sampling.neighbours.exact import nearest
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.on_cluster import collect_points
from imbalance_spark.train_only.sampling.neighbours.space import CODE, HASH, PointArrays, Space

_BLOCK = 2048
"""Rows among which a majority row's k-th distance bounds its true one from above."""


@dataclass(kw_only=True, eq=False)
class CleaningSampler(NeighbourSampler):
    """Removes rows by a rule over their neighbours; the data decide how many.

    Args:
        key: columns that identify a row; integer, string, date or decimal(p,0).
        label: column of the class; boolean, integer, double or string, never null.
        features: numeric columns to compute distances of.
        sampling_strategy: classes to clean: a word or a list, as `check_sampling_strategy`.
        scaling: "standard", "robust" or "none"; used for distances only.
        seed: integer >= 0, for the k-means cells of large classes only.
        exact_rows: most queries that are searched exactly; more are searched by cells.

    Attributes:
        removed_: after `fit_resample`, for each class the rows removed; further as `RandomUnderSampler`.

    Raises:
        ConfigError: a parameter is out of range.
    """

    _kind = "clean-sampling"
    _purpose = "clean"

    seed: int = 0

    def fit_resample(self, train: DataFrame) -> DataFrame:
        """The rows that stay, with every input column and `sampling_weight` (double, >= 1): class rows before / after.

        Passes: counts, scale, and those of the searches; the hashes of removed rows stay on the executors.

        Raises:
            ConfigError, LeakageError, MissingColumnsError: as `RandomUnderSampler`.
            DataContractError: as there; features that are not numeric or have infinite values.
        """
        counted = self._check(train)
        space = Space(numeric=tuple(self.features), scale=self._scale(counted))
        points = self._points(counted, space)
        with leakage_errors():
            # A checkpoint: the removed rows are expensive and read twice, to count and to remove.
            removed = self._removed(points).select(HASH, CODE).distinct().localCheckpoint()
        per_code = {row[CODE]: row["count"] for row in removed.groupBy(CODE).count().collect()}
        self.removed_ = {name: per_code.get(code, 0) for name, code in points.codes.items()}
        after = {name: n - self.removed_[name] for name, n in counted.counts.items()}
        refuse_lost_classes(counted.counts, after, self._stage)
        self._learn_kept_fractions(after)
        weights = {name: counted.counts[name] / n for name, n in after.items() if n}
        kept = counted.rows.select("*", self._hashed().alias(HASH)).join(removed.select(HASH), HASH, "left_anti")
        return with_sampling_weight(
            kept.select(*[col(name) for name in counted.rows.columns]), of_class(self.label, weights, 1.0)
        )

    @abstractmethod
    def _removed(self, points: Points) -> DataFrame:
        """`HASH` and `CODE` of the rows that the rule removes."""

    def _targets(self, points: Points) -> list[int]:
        return [points.codes[name] for name in self.sampling_strategy_]


class TomekLinks(CleaningSampler):
    """Remove the members of Tomek links (Tomek, 1976) whose class is to be cleaned: by default all but the minority.

    A Tomek link is a pair of rows of different classes that are each other's nearest neighbour. At most one of them is
    of the majority class, so the nearest neighbours are searched for the rows of the other classes first, and then only
    for the rows of another class found there: two scans.

    Args, attributes and errors: as `CleaningSampler`.
    """

    def _removed(self, points: Points) -> DataFrame:
        others = [name for name in points.codes if name != points.majority]
        forth = _first(self._among_all(points, others, 1)).where(F.col("__to_code") != F.col(CODE)).localCheckpoint()
        partners = forth.select(F.col("__to").alias(HASH)).distinct().localCheckpoint()
        asked = points.frame.join(partners, on=HASH, how="left_semi")
        back = _first(self._nearest_of(points, asked, partners.count(), 1))
        looking_back = back.select(F.col(HASH).alias("__to"), F.col("__to").alias(HASH))
        links = forth.join(looking_back, on=[HASH, "__to"], how="inner")
        members = F.array(F.struct(HASH, CODE), F.struct(F.col("__to").alias(HASH), F.col("__to_code").alias(CODE)))
        return links.select(F.inline(members)).where(F.col(CODE).isin(self._targets(points)))


def _first(lists: DataFrame) -> DataFrame:
    nearest = F.get(NEAR, F.lit(0))
    return lists.select(HASH, CODE, nearest["near"].alias("__to"), nearest["code"].alias("__to_code"))


@dataclass(kw_only=True, eq=False)
class EditedNearestNeighbours(CleaningSampler):
    """Remove a row if its k nearest rows disagree with its class (Wilson, 1972).

    A row of the majority class can be removed only if a row of another class is among its k nearest. Each such row is
    compared with all rows of the other classes and with one block of rows, whose k-th distance bounds the true one from
    above; only rows that this leaves open are searched among all rows.

    Args: as `CleaningSampler`, and
        n_neighbors: integer >= 1.
        kind_sel: "all" keeps a row if all its neighbours are of its class; "mode" if the most frequent class
            among them (of equally frequent ones the first in sorted order) is its own.

    Attributes and errors: as `CleaningSampler`.
    """

    n_neighbors: int = field(default=3, metadata={"least": 1})
    kind_sel: Literal["all", "mode"] = field(default="all", metadata={"choices": ("all", "mode")})

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
        return most_frequent_code(codes) != F.col(CODE)

    def _lists_of_majority(self, points: Points, majority: int, k: int) -> DataFrame:
        """Neighbour lists of the majority's rows that may be removed; exact unless the other classes are too large."""
        mine = F.col(CODE) == majority
        rows = sum(points.counts[name] for name, code in points.codes.items() if code != majority)
        if not self._is_exact(points, rows):
            return self._nearest_of(points, points.frame.where(mine), sum(points.counts.values()) - rows, k)
        with leakage_errors():
            foreign = collect_points(points.frame.where(~mine), self._stage)
            doubtful = _in_doubt(points.frame, foreign, points.space, majority, k).localCheckpoint()
        asked = points.frame.join(doubtful, on=HASH, how="left_semi").localCheckpoint()
        # Where classes overlap, more rows are open than fit at once: several scans, by hash.
        scans = 1 + asked.count() // self.exact_rows
        parts = [asked.where(F.pmod(F.shiftright(HASH, 20), F.lit(scans)) == part) for part in range(scans)]
        return reduce(DataFrame.unionByName, [self._nearest_of(points, part, self.exact_rows, k) for part in parts])


def most_frequent_code(codes: Column) -> Column:
    """The most frequent code; of equally frequent ones the smallest."""
    # Ordered by -count, then by code.
    counts = F.transform(
        F.array_distinct(codes),
        lambda code: F.struct((-F.size(F.filter(codes, lambda other: other == code))).alias("n"), code.alias("of")),
    )
    return F.array_min(counts)["of"]


def _in_doubt(frame: DataFrame, foreign: PointArrays, space: Space, majority: int, k: int) -> DataFrame:
    """`HASH` of majority rows whose nearest row of another class is not farther than their k-th of a block; lazy."""
    shared = frame.sparkSession.sparkContext.broadcast(foreign)

    def bound(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for start in range(0, batch.num_rows, _BLOCK):
                block = PointArrays.of(batch.slice(start, _BLOCK))
                mine = np.flatnonzero(block.codes == majority)
                yield _hashes(block.where(mine[_is_open(block, mine, shared.value, space, k)]))

    return frame.mapInArrow(bound, f"{HASH} bigint")


def _is_open(block: PointArrays, mine: np.ndarray, foreign: PointArrays, space: Space, k: int) -> np.ndarray:
    if len(block) <= k or not len(mine):
        return np.ones(len(mine), np.bool_)
    queries = block.values[mine]
    radius = nearest(*space.vectors(queries, block.values), k, mine).distances[:, -1]
    # Slightly wider: the two distances of one pair may be rounded differently.
    return np.asarray(nearest(*space.vectors(queries, foreign.values), 1).distances[:, 0] <= radius * (1 + 1e-9))


def _hashes(points: PointArrays) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(points.hashes)], names=[HASH])


@dataclass(kw_only=True, eq=False)
class NeighbourhoodCleaningRule(EditedNearestNeighbours):
    """Remove rows by `EditedNearestNeighbours` of kind "mode", and neighbours that misclassify a minority row.

    Laurikkala (2001), as in imbalanced-learn: a minority row is misclassified if its class is not the most frequent one
    among itself and its k - 1 nearest rows. Then those of its k nearest rows are removed whose class is cleaned and has
    more than `threshold_cleaning` times the minority's rows.

    Args: as `EditedNearestNeighbours`, and
        threshold_cleaning: >= 0.
    """

    threshold_cleaning: float = 0.5
    kind_sel: Literal["all", "mode"] = field(default="mode", init=False)

    def _removed(self, points: Points) -> DataFrame:
        minority = points.minority
        least = points.counts[minority]
        cleaned = [
            points.codes[name]
            for name in self.sampling_strategy_
            if points.counts[name] > least * self.threshold_cleaning
        ]
        lists = self._among_all(points, [minority], self.n_neighbors)
        own = F.array(F.lit(points.codes[minority]))
        near = F.transform(F.slice(NEAR, 1, self.n_neighbors - 1), lambda entry: entry["code"])
        misclassified = lists.where(most_frequent_code(F.concat(own, near)) != points.codes[minority])
        rivals = misclassified.select(F.explode(NEAR).alias("__rival")).select(
            F.col("__rival")["near"].alias(HASH), F.col("__rival")["code"].alias(CODE)
        )
        return super()._removed(points).unionByName(rivals.where(F.col(CODE).isin(cleaned)))
