"""Synthetic samples: how many, interpolated between which neighbours, and with what provenance."""

import logging
from dataclasses import dataclass, field
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.class_counts import Label, of_class, show_counts
from imbalance_spark.core.columns import COPY_NUMBER, col
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.train_only.sampling.base import CountedRows, NeighbourSampler, Points, with_sampling_weight
from imbalance_spark.train_only.sampling.feature_scale import FeatureScale
from imbalance_spark.train_only.sampling.neighbour_report import NeighbourReport, report_neighbours
from imbalance_spark.train_only.sampling.neighbours import NeighbourIndex
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.on_cluster import RANK
from imbalance_spark.train_only.sampling.neighbours.space import HASH

logger = logging.getLogger(__name__)

NEIGHBOUR, CODE_OF_NEIGHBOUR = "__neighbour", "__neighbour_code"

CHOICE = "__choice"
"""Column of the draw in [0, 1) that chooses among a parent's neighbours."""

_BROADCAST_BYTES = 1 << 25
_NUMBERS_OF_LIST = 24
PROVENANCE = (COPY_NUMBER, "is_synthetic", "parent_id", "neighbour_id", "gap")


def uniform_draw(seed: str, purpose: str, *numbers: Column) -> Column:
    """A double in [0, 1) from seed, purpose and numbers."""
    return F.pmod(F.xxhash64(F.lit(f"{seed}/{purpose}"), *numbers), F.lit(1 << 53)) / F.lit(float(1 << 53))


def draw_pairs(ranked: DataFrame, rows: int, wanted: int, seed: str) -> DataFrame:
    """`wanted` pairs of parent and neighbour, uniform with replacement: SMOTE as imbalanced-learn draws it. Lazy.

    A draw names its parent by the rank of the parent's hash; fewer draws are the first of more.

    Args:
        ranked: `HASH`, `NEAR` and `RANK`, from 0, of the `rows` rows that can be a parent.

    Returns:
        `HASH` of the parent, `NEIGHBOUR`, `CODE_OF_NEIGHBOUR`, `gap` (double, in [0, 1)) and `copy_number`
        (int, from 1 for each parent).
    """
    draws = numbered_draws(ranked.sparkSession, wanted, rows, seed)
    of_parent = Window.partitionBy(RANK).orderBy("__number")
    chosen = F.get(NEAR, F.floor(F.col(CHOICE) * F.size(NEAR)).cast("int"))
    return draws.join(ranked.hint(join_hint(rows, _NUMBERS_OF_LIST)), on=RANK, how="inner").select(
        HASH,
        chosen["near"].alias(NEIGHBOUR),
        chosen["code"].alias(CODE_OF_NEIGHBOUR),
        F.row_number().over(of_parent).alias(COPY_NUMBER),
        F.col("gap"),
    )


def join_hint(rows: int, numbers: int) -> str:
    """The hint for a join of many drawn rows with a side of `rows` rows, which is unique in the join key.

    Args:
        numbers: values per row of that side.
    """
    # No sort-merge join; a small side is broadcast, so that the drawn rows are not shuffled.
    return "broadcast" if rows * numbers * 8 <= _BROADCAST_BYTES else "shuffle_hash"


def draw_for_each(lists: DataFrame, times: Column, seed: str) -> DataFrame:
    """`times` neighbours for each row, uniform with replacement; columns as `draw_pairs`. Lazy."""
    copies = F.explode(F.sequence(F.lit(1), times.cast("int"))).alias(COPY_NUMBER)
    repeated = lists.where(times > 0).select(HASH, NEAR, copies)
    numbers = (F.col(HASH), F.col(COPY_NUMBER))
    index = F.floor(uniform_draw(seed, "choice", *numbers) * F.size(NEAR)).cast("int")
    chosen = F.get(NEAR, index)
    return repeated.select(
        HASH,
        chosen["near"].alias(NEIGHBOUR),
        chosen["code"].alias(CODE_OF_NEIGHBOUR),
        F.col(COPY_NUMBER),
        uniform_draw(seed, "gap", *numbers).alias("gap"),
    )


def numbered_draws(spark: SparkSession, wanted: int, rows: int, seed: str) -> DataFrame:
    """`wanted` draws: `__number`, the parent's `RANK` among `rows`, `CHOICE` and `gap`, both in [0, 1). Lazy."""
    number = F.col("id")
    return spark.range(wanted).select(
        number.alias("__number"),
        F.floor(uniform_draw(seed, "parent", number) * rows).alias(RANK),
        uniform_draw(seed, "choice", number).alias(CHOICE),
        uniform_draw(seed, "gap", number).alias("gap"),
    )


@dataclass(kw_only=True, eq=False)
class SyntheticSampler(NeighbourSampler):
    """Draws pairs of a row and a neighbour and interpolates between them, by joins on the cluster.

    Args: as `SMOTE`.
    """

    _kind = "over-sampling"

    k_neighbors: int = field(default=5, metadata={"least": 1})

    def fit_resample(self, train: DataFrame) -> DataFrame:
        """All rows unchanged, followed by the synthetic ones; every input column and six more.

        Passes: one for counts and sums, at most one for the scale, and one per oversampled class, which collects it
        on the driver. Of a class too large for that only a sample is collected, and four more passes follow: three for
        the report, one for the ranks of its hashes; its search is lazy. A synthetic row has its parent's value in every
        column that is not a feature, key included; integer features are rounded half to even.

        Returns:
            The input columns, `copy_number` (int; 0 for an original, from 1 for the synthetic rows of a parent),
            `is_synthetic` (boolean), `parent_id` and `neighbour_id` (keys, a struct if of several columns; null for
            originals), `gap` (double in [0, 1), null for originals) and `sampling_weight` (double; class rows before /
            after).

        Raises:
            ConfigError, LeakageError, MissingColumnsError: as `RandomOverSampler`.
            DataContractError: as there; features that are not numeric or have infinite values; a class
                of fewer than k_neighbors + 1 rows.
        """
        counted = self._check(train, PROVENANCE)
        before = counted.counts
        wanted = {name: n for name, n in self.sampling_strategy_.items() if n > 0}
        self._refuse_small({name: before[name] for name in wanted})
        self.neighbour_report_: dict[Label, NeighbourReport] = {}
        parts, after, scale = [self._originals(counted.rows)], dict(before), self._scale(counted)
        for name, rows in wanted.items():
            synthetic, synthetic_rows = self._oversampled(counted, scale, name, rows)
            after[name] += synthetic_rows
            parts.append(synthetic)
        self._learn_kept_fractions(after)
        weight = of_class(self.label, {name: before[name] / after[name] for name in before}, 1.0)
        return with_sampling_weight(reduce(DataFrame.unionByName, parts), weight)

    def _oversampled(
        self, counted: CountedRows, scale: FeatureScale, name: Label, wanted: int
    ) -> tuple[DataFrame, int]:
        """The synthetic rows of a class, and how many there are."""
        points = self._points(counted, self._space(counted, scale, name))
        index = self._index(points, points.of(name), counted.counts[name])
        self._report(index, name, wanted)
        draws, rows = self._draw(points, name, wanted, index)
        return self._synthetic(counted, name, draws), rows

    def _refuse_small(self, sampled: dict[Label, int]) -> None:
        least = self.k_neighbors + 1
        if small := {name: n for name, n in sampled.items() if n < least}:
            raise DataContractError(
                f"{self._stage}: {show_counts(small)}, but k_neighbors={self.k_neighbors} needs {least} rows "
                "of a class. Lower k_neighbors, or leave the class out of sampling_strategy."
            )

    def _report(self, index: NeighbourIndex, name: Label, wanted: int) -> None:
        slots = SparkSession.active().sparkContext.defaultParallelism
        self.neighbour_report_[name] = report_neighbours(
            index, self.k_neighbors, wanted=wanted, slots=slots, stage=self._stage
        )
        logger.info("%s, class %r: %s", self._stage, name, self.neighbour_report_[name].sentence)

    def _draw(self, points: Points, name: Label, wanted: int, index: NeighbourIndex) -> tuple[DataFrame, int]:
        """Parents, neighbours and gaps as `draw_pairs`, and how many there are."""
        ranked = index.ranked(points.frame.sparkSession, self.k_neighbors, self._stage)
        return draw_pairs(ranked, index.rows, wanted, self._draw_seed(name)), wanted

    def _draw_seed(self, name: Label) -> str:
        return f"{self._purpose}/{self.seed}/{name!r}"

    def _originals(self, rows: DataFrame) -> DataFrame:
        id_type = rows.select(self._id().alias(HASH)).schema[HASH].dataType
        values = (F.lit(0), F.lit(False), F.lit(None).cast(id_type), F.lit(None).cast(id_type))
        added = [value.alias(name) for name, value in zip(PROVENANCE, values, strict=False)]
        return rows.select("*", *added, F.lit(None).cast("double").alias("gap"))

    def _synthetic(self, counted: CountedRows, name: Label, draws: DataFrame) -> DataFrame:
        """The synthetic rows, interpolated by column expressions: two joins by hash."""
        rows = counted.rows
        parents = rows.where(col(self.label) == F.lit(name)).select("*", self._hashed().alias(HASH))
        candidates, number = self._neighbour_rows(counted, name)
        ends = [col(feature).alias(f"__end_{i}") for i, feature in enumerate(self.features)]
        neighbours = candidates.select(self._hashed().alias(NEIGHBOUR), self._id().alias("neighbour_id"), *ends)
        joined = draws.drop(CODE_OF_NEIGHBOUR).join(
            neighbours.hint(join_hint(number, len(neighbours.columns))), NEIGHBOUR, "inner"
        )
        joined = joined.join(parents.hint(join_hint(counted.counts[name], len(parents.columns))), on=HASH, how="inner")
        return joined.select(*[self._output(rows, column) for column in rows.columns], *self._provenance())

    def _neighbour_rows(self, counted: CountedRows, name: Label) -> tuple[DataFrame, int]:
        """The rows among which neighbours are, and their number."""
        return counted.rows.where(col(self.label) == F.lit(name)), counted.counts[name]

    def _output(self, rows: DataFrame, name: str) -> Column:
        if name not in self.features:
            return col(name)
        found = rows.schema[name].dataType
        start, end = col(name).cast("double"), col(f"__end_{self.features.index(name)}").cast("double")
        value = start + F.col("gap") * (end - start)
        interpolated = (F.rint(value) if isinstance(found, T.IntegralType) else value).cast(found)
        # Where a value is missing the parent's stays, null or NaN as it is: an integer column has no NaN.
        return F.when(value.isNull() | F.isnan(value), col(name)).otherwise(interpolated).alias(name)

    def _provenance(self) -> list[Column]:
        first = [col(COPY_NUMBER), F.lit(True).alias("is_synthetic"), self._id().alias("parent_id")]
        return [*first, col("neighbour_id"), col("gap")]
