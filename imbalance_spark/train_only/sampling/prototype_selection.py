"""Undersampling by features or by a model's probabilities: NearMiss and the instance hardness threshold."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import collect_per_class, of_class, show_counts
from imbalance_spark.core.columns import col, require_columns
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.base import (
    NeighbourSampler,
    Points,
    RandomSampler,
    refuse_lost_classes,
    with_sampling_weight,
)
from imbalance_spark.train_only.sampling.neighbours.exact import nearest
from imbalance_spark.train_only.sampling.neighbours.on_cluster import collect_points
from imbalance_spark.train_only.sampling.neighbours.space import CODE, HASH, PointArrays, Space

_SCORE = "__score"
_BLOCK = 1024


@dataclass(kw_only=True, eq=False)
class NearMiss(NeighbourSampler):
    """Keep the rows with the smallest mean distance to minority rows (Mani and Zhang, 2003).

    Args: as `CleaningSampler`, whose `sampling_strategy` here gives rows to keep, and
        version: 1 for the `n_neighbors` nearest minority rows, 2 for the farthest ones.
        n_neighbors: integer >= 1, at most the rows of the minority.
        exact_rows: most rows that the minority may have; it is collected and broadcast.

    Attributes and errors: as `RandomUnderSampler`.
    """

    _kind = "under-sampling"
    _purpose = "near_miss"

    seed: int = 0
    version: int = field(default=1, metadata={"choices": (1, 2), "hint": ": version 3 picks rows beforehand"})
    n_neighbors: int = field(default=3, metadata={"least": 1})

    def fit_resample(self, train: DataFrame) -> DataFrame:
        """The kept rows with every input column and `sampling_weight` (double, >= 1): class rows before / after.

        Three passes (counts, scale, minority); then, lazily, one of distances and a sort by them for each class.

        Raises:
            ConfigError, LeakageError, MissingColumnsError: as `RandomUnderSampler`.
            DataContractError: as there; a minority of fewer than n_neighbors or more than `exact_rows` rows.
        """
        counted = self._check(train)
        after = {**counted.counts, **self.sampling_strategy_}
        refuse_lost_classes(counted.counts, after, "NearMiss")
        points = self._points(counted, Space(numeric=tuple(self.features), scale=self._scale(counted)))
        scored = self._scored(points)
        best = [
            scored.where(F.col(CODE) == points.codes[name]).orderBy(_SCORE, HASH).limit(rows)
            for name, rows in self.sampling_strategy_.items()
        ]
        self._learn_kept_fractions(after)
        named = counted.rows.select("*", self._hashed().alias(HASH))
        untouched = ~col(self.label).isin([F.lit(name) for name in self.sampling_strategy_])
        kept = [named.join(part.select(HASH), on=HASH, how="left_semi") for part in best]
        rows = reduce(DataFrame.unionByName, kept, named.where(untouched))
        weights = {name: 1 / share for name, share in self.kept_fractions_.items() if share > 0}
        rows = rows.select(*[col(name) for name in counted.rows.columns])
        return with_sampling_weight(rows, of_class(self.label, weights, 1.0))

    def _scored(self, points: Points) -> DataFrame:
        """`HASH`, `CODE` and the mean distance to minority rows; lazy."""
        minority = points.minority
        least = points.counts[minority]
        if not self.n_neighbors <= least <= self.exact_rows:
            raise DataContractError(
                f"NearMiss: {show_counts({minority: least})} of the minority, but n_neighbors={self.n_neighbors} and "
                f"exact_rows={self.exact_rows} require a number between. Change them, or use RandomUnderSampler."
            )
        with leakage_errors():
            shared = collect_points(points.of(minority), "NearMiss")
        rare = points.frame.sparkSession.sparkContext.broadcast(shared)
        space, k, is_near = points.space, self.n_neighbors, self.version == 1

        def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                for start in range(0, batch.num_rows, _BLOCK):
                    block = PointArrays.of(batch.slice(start, _BLOCK))
                    means = _mean_distances(block, rare.value, space, k, is_near)
                    columns = [pa.array(block.hashes), pa.array(block.codes), pa.array(means)]
                    yield pa.RecordBatch.from_arrays(columns, names=[HASH, CODE, _SCORE])

        targets = [points.codes[name] for name in self.sampling_strategy_]
        schema = f"{HASH} bigint, {CODE} int, {_SCORE} double"
        return points.frame.where(F.col(CODE).isin(targets)).mapInArrow(score, schema)


def _mean_distances(block: PointArrays, rare: PointArrays, space: Space, k: int, is_near: bool) -> np.ndarray:
    queries, rows = space.vectors(block.values, rare.values)
    if is_near:
        return np.asarray(nearest(queries, rows, k).distances.mean(axis=1))
    lengths = np.square(queries).sum(axis=1)[:, None] + np.square(rows).sum(axis=1)
    # einsum, not a matrix product: the sum of a row must not depend on the rows beside it.
    squares = lengths - 2 * np.einsum("ij,kj->ik", queries, rows)
    farthest = np.partition(squares, len(rows) - k, axis=1)[:, len(rows) - k :]
    return np.asarray(np.sqrt(np.maximum(np.sort(farthest, axis=1), 0.0)).mean(axis=1))


@dataclass(kw_only=True, eq=False)
class InstanceHardnessThreshold(RandomSampler):
    """Keep the rows whose out-of-fold probability of their own class is highest (Smith et al., 2014).

    Counts are met approximately: the threshold is the percentile that would leave the requested rows, and all rows
    at the threshold stay, as in imbalanced-learn.

    Args:
        key: columns that identify a row; integer, string, date or decimal(p,0).
        label: column of the class; boolean, integer, double or string, never null.
        probability: column (double in [0, 1], never null): the probability of the row's own class by a model that
            was not fitted on the row.
        sampling_strategy: rows to keep, as `check_sampling_strategy`.

    Attributes:
        thresholds_: after `fit_resample`, for each sampled class the lowest probability of the rows that stay; further
            as `RandomUnderSampler`.
    """

    _kind = "under-sampling"
    _purpose = "instance_hardness"

    seed: int = field(default=0, init=False, repr=False)
    probability: str

    def fit_resample(self, train: DataFrame) -> DataFrame:
        """The kept rows with every input column and `sampling_weight` (double, >= 1): class rows before / after.

        Three passes, for the counts, the percentiles (exact: an executor holds the distinct probabilities of a
        class) and the rows that stay; the result is lazy.

        Raises:
            ConfigError, LeakageError, MissingColumnsError: as `RandomUnderSampler`.
            DataContractError: as there; probabilities that are null, NaN or outside [0, 1].
        """
        stage = "InstanceHardnessThreshold"
        require_columns(train, (self.probability,), stage)
        counted = self._count(train)
        value = col(self.probability).cast("double")
        shares = {name: 1.0 - rows / counted.counts[name] for name, rows in self.sampling_strategy_.items()}
        aggregates = {f"cut_{i}": F.percentile(value, share) for i, share in enumerate(shares.values())}
        aggregates["bad"] = F.count_if(value.isNull() | F.isnan(value) | ~value.between(0.0, 1.0))
        with leakage_errors():
            found = collect_per_class(counted.rows, self.label, stage, aggregates)
        if bad := sum(row["bad"] for row in found.values()):
            raise DataContractError(
                f"{stage}: {bad} rows have a {self.probability!r} that is null or outside [0, 1]. Give each training "
                "row its out-of-fold probability."
            )
        self.thresholds_ = {name: found[name][f"cut_{i}"] for i, name in enumerate(shares)}
        kept = counted.rows.where(value >= of_class(self.label, self.thresholds_, 0.0))
        after = {name: row["n"] for name, row in collect_per_class(kept, self.label, stage, {}).items()}
        refuse_lost_classes(counted.counts, after, stage)
        self._learn_kept_fractions({**dict.fromkeys(counted.counts, 0), **after})
        weights = {name: counted.counts[name] / n for name, n in after.items()}
        return with_sampling_weight(kept, of_class(self.label, weights, 1.0))
