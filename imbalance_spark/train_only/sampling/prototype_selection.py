"""Undersampling that looks at the features: NearMiss and the instance hardness threshold."""

from collections.abc import Iterator, Sequence
from functools import reduce

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import collect_per_class, of_class, show_counts
from imbalance_spark.core.columns import col, require_columns
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.base import (
    NeighbourSampler,
    Points,
    RandomSampler,
    refuse_lost_classes,
    with_sampling_weight,
)
from imbalance_spark.train_only.sampling.feature_scale import Scaling
from imbalance_spark.train_only.sampling.neighbours import EXACT_ROWS
from imbalance_spark.train_only.sampling.neighbours.exact import nearest
from imbalance_spark.train_only.sampling.neighbours.on_cluster import collect_points
from imbalance_spark.train_only.sampling.neighbours.space import CODE, HASH, PointArrays, Space
from imbalance_spark.train_only.sampling.sampling_strategy import SamplingStrategy

_SCORE = "__score"
_BLOCK = 1024


class NearMiss(NeighbourSampler):
    """Keep the rows with the smallest mean distance to minority rows (Mani and Zhang, 2003).

    Args: as `CleaningSampler`, whose `sampling_strategy` here gives rows to keep, and
        version: 1, by the `n_neighbors` nearest minority rows, or 2, by the farthest ones.
        n_neighbors: integer >= 1, at most the rows of the minority.
        exact_rows: most rows of the minority, which is collected and broadcast.

    Attributes, after `fit_resample`: as `RandomUnderSampler`.
    """

    _kind = "under-sampling"
    _purpose = "near_miss"

    def __init__(
        self, *, key: str | Sequence[str], label: str, features: Sequence[str],
        sampling_strategy: SamplingStrategy = "auto", version: int = 1, n_neighbors: int = 3,
        scaling: Scaling = "standard", seed: int = 0, exact_rows: int = EXACT_ROWS,
    ) -> None:  # fmt: skip
        super().__init__(
            key=key, label=label, features=features, sampling_strategy=sampling_strategy, scaling=scaling, seed=seed,
            exact_rows=exact_rows,
        )  # fmt: skip
        if version not in (1, 2):
            raise ConfigError(f"NearMiss.version must be 1 or 2, got {version!r}: version 3 picks rows beforehand.")
        self.version: int = version
        self.n_neighbors: int = self._whole("n_neighbors", n_neighbors, 1)

    def fit_resample(self, train: DataFrame) -> DataFrame:
        """The kept rows with every input column and `sampling_weight` (double, >= 1): class rows before / after.

        Three passes (counts, scale, minority); then, lazily, one of distances and a sort by them for each class.

        Raises:
            ConfigError, LeakageError, MissingColumnsError: as `RandomUnderSampler`.
            DataContractError: as there; a minority of fewer than n_neighbors or more than `exact_rows` rows.
        """
        census = self._check(train)
        after = {**census.counts, **self.sampling_strategy_}
        refuse_lost_classes(census.counts, after, "NearMiss")
        points = self._points(census, Space(numeric=self.features, scale=self._scale(census)))
        scored = self._scored(points)
        best = [
            scored.where(F.col(CODE) == points.codes[name]).orderBy(_SCORE, HASH).limit(rows)
            for name, rows in self.sampling_strategy_.items()
        ]
        self._learn_kept(after)
        named = census.rows.select("*", self._hashed().alias(HASH))
        untouched = ~col(self.label).isin([F.lit(name) for name in self.sampling_strategy_])
        kept = [named.join(part.select(HASH), on=HASH, how="left_semi") for part in best]
        rows = reduce(DataFrame.unionByName, kept, named.where(untouched))
        weights = {name: 1 / share for name, share in self.kept_fractions_.items() if share > 0}
        rows = rows.select(*[col(name) for name in census.rows.columns])
        return with_sampling_weight(rows, of_class(self.label, weights, 1.0))

    def _scored(self, points: Points) -> DataFrame:
        """`HASH`, `CODE` and the mean distance to minority rows; lazy."""
        minority = points.minority
        least = points.counts[minority]
        if not self.n_neighbors <= least <= self.exact_rows:
            raise DataContractError(
                f"NearMiss: {show_counts({minority: least})} of the minority, but n_neighbors={self.n_neighbors} and "
                f"exact_rows={self.exact_rows} ask for a number between. Change them, or use RandomUnderSampler."
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
    # einsum, not a matrix product: the sum of a row must not hang on the rows beside it.
    squares = lengths - 2 * np.einsum("ij,kj->ik", queries, rows)
    farthest = np.partition(squares, len(rows) - k, axis=1)[:, len(rows) - k :]
    return np.asarray(np.sqrt(np.maximum(np.sort(farthest, axis=1), 0.0)).mean(axis=1))


class InstanceHardnessThreshold(RandomSampler):
    """Keep the rows whose out-of-fold probability of their own class is highest (Smith et al., 2014).

    Counts are met approximately: the threshold is the percentile that would leave the asked rows, and all rows
    on it stay, as in imbalanced-learn.

    Args:
        key: columns that identify a row. label: the class.
        probability: column (double in [0, 1], never null): the probability of the row's own class by a model that
            was not fitted on the row.
        sampling_strategy: rows to keep, as `check_sampling_strategy`.

    Attributes, after `fit_resample`: as `RandomUnderSampler`, and
        thresholds_: for each class that was sampled the probability from which rows stay.
    """

    _kind = "under-sampling"
    _purpose = "instance_hardness"

    def __init__(
        self, *, key: str | Sequence[str], label: str, probability: str, sampling_strategy: SamplingStrategy = "auto"
    ) -> None:
        super().__init__(key=key, label=label, sampling_strategy=sampling_strategy, seed=0)
        self.probability = probability

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
        census = self._count(train)
        value = col(self.probability).cast("double")
        shares = {name: 1.0 - rows / census.counts[name] for name, rows in self.sampling_strategy_.items()}
        aggregates = {f"cut_{i}": F.percentile(value, share) for i, share in enumerate(shares.values())}
        aggregates["bad"] = F.count_if(value.isNull() | F.isnan(value) | ~value.between(0.0, 1.0))
        with leakage_errors():
            found = collect_per_class(census.rows, self.label, stage, aggregates)
        if bad := sum(row["bad"] for row in found.values()):
            raise DataContractError(
                f"{stage}: {bad} rows have a {self.probability!r} that is null or outside [0, 1]. Give each training "
                "row its out-of-fold probability."
            )
        self.thresholds_ = {name: found[name][f"cut_{i}"] for i, name in enumerate(shares)}
        kept = census.rows.where(value >= of_class(self.label, self.thresholds_, 0.0))
        after = {name: row["n"] for name, row in collect_per_class(kept, self.label, stage, {}).items()}
        refuse_lost_classes(census.counts, after, stage)
        self._learn_kept({**dict.fromkeys(census.counts, 0), **after})
        weights = {name: census.counts[name] / n for name, n in after.items()}
        return with_sampling_weight(kept, of_class(self.label, weights, 1.0))
