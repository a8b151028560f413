"""Synthetic samples: how many, between which neighbours, and with what provenance."""

import logging
from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.class_counts import Label, of_class, show_counts
from imbalance_spark.core.columns import COPY_NUMBER, col
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.train_only.sampling.base import Census, NeighbourSampler, Points, with_sampling_weight
from imbalance_spark.train_only.sampling.feature_scale import FeatureScale, Scaling
from imbalance_spark.train_only.sampling.neighbour_report import NeighbourReport, report_neighbours
from imbalance_spark.train_only.sampling.neighbours import EXACT_ROWS, NeighbourIndex
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.on_cluster import PLACE
from imbalance_spark.train_only.sampling.neighbours.space import HASH
from imbalance_spark.train_only.sampling.sampling_strategy import SamplingStrategy

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


def draw_pairs(placed: DataFrame, rows: int, wanted: int, seed: str) -> DataFrame:
    """`wanted` pairs of parent and neighbour, uniform with replacement: SMOTE as imbalanced-learn draws it. Lazy.

    A draw names its parent by the place of the parent's hash among all; fewer draws are the first of more.

    Args:
        placed: `HASH`, `NEAR` and `PLACE`, from 0, of the `rows` rows that may be a parent.

    Returns:
        `HASH` of the parent, `NEIGHBOUR`, `CODE_OF_NEIGHBOUR`, `gap` (double, in [0, 1)) and `copy_number`
        (int, from 1 for each parent).
    """
    draws = numbered_draws(placed.sparkSession, wanted, rows, seed)
    of_parent = Window.partitionBy(PLACE).orderBy("__number")
    chosen = F.get(NEAR, F.floor(F.col(CHOICE) * F.size(NEAR)).cast("int"))
    return draws.join(placed.hint(join_hint(rows, _NUMBERS_OF_LIST)), on=PLACE, how="inner").select(
        HASH,
        chosen["near"].alias(NEIGHBOUR),
        chosen["code"].alias(CODE_OF_NEIGHBOUR),
        F.row_number().over(of_parent).alias(COPY_NUMBER),
        F.col("gap"),
    )


def join_hint(rows: int, numbers: int) -> str:
    """How to join drawn rows, which are many, with a side of so many rows that is unique by what it is joined on."""
    # Never sorted; a small side goes to all executors, and the drawn rows are not shuffled then.
    return "broadcast" if rows * numbers * 8 <= _BROADCAST_BYTES else "shuffle_hash"


def draw_for_each(lists: DataFrame, times: Column, seed: str) -> DataFrame:
    """For each row `times` neighbours of its own, uniform with replacement; columns as `draw_pairs`. Lazy."""
    copies = F.explode(F.sequence(F.lit(1), times.cast("int"))).alias(COPY_NUMBER)
    repeated = lists.where(times > 0).select(HASH, NEAR, copies)
    numbers = (F.col(HASH), F.col(COPY_NUMBER))
    place = F.floor(uniform_draw(seed, "choice", *numbers) * F.size(NEAR)).cast("int")
    chosen = F.get(NEAR, place)
    return repeated.select(
        HASH,
        chosen["near"].alias(NEIGHBOUR),
        chosen["code"].alias(CODE_OF_NEIGHBOUR),
        F.col(COPY_NUMBER),
        uniform_draw(seed, "gap", *numbers).alias("gap"),
    )


def numbered_draws(spark: SparkSession, wanted: int, rows: int, seed: str) -> DataFrame:
    """`wanted` draws: `__number`, the parent's `PLACE` among so many rows, `CHOICE` and `gap`, both in [0, 1). Lazy."""
    number = F.col("id")
    return spark.range(wanted).select(
        number.alias("__number"),
        F.floor(uniform_draw(seed, "parent", number) * rows).alias(PLACE),
        uniform_draw(seed, "choice", number).alias(CHOICE),
        uniform_draw(seed, "gap", number).alias("gap"),
    )


class SyntheticSampler(NeighbourSampler):
    """Pairs of row and neighbour are drawn, and the rows between them made, by joins on the cluster.

    Args: as `SMOTE`.
    """

    _kind = "over-sampling"

    def __init__(
        self, *, key: str | Sequence[str], label: str, features: Sequence[str],
        sampling_strategy: SamplingStrategy = "auto", k_neighbors: int = 5, scaling: Scaling = "standard", seed: int,
        exact_rows: int = EXACT_ROWS,
    ) -> None:  # fmt: skip
        super().__init__(
            key=key, label=label, features=features, sampling_strategy=sampling_strategy, scaling=scaling, seed=seed,
            exact_rows=exact_rows,
        )  # fmt: skip
        self.k_neighbors: int = self._whole("k_neighbors", k_neighbors, 1)

    def fit_resample(self, train: DataFrame) -> DataFrame:
        """All rows unchanged, then the synthetic ones; every input column and six more.

        Passes: counts, the scale (two), and for each class that gets rows one, which brings it to the driver; of
        a class too large for that a sample comes, and four more follow: three for the report, one for the places
        of its hashes; its search is lazy. A synthetic row has its parent's value in each column that is no
        feature, key included; integers are rounded half to even.

        Returns:
            `copy_number` (int): 0 for an original, from 1 for a parent's synthetic rows. `is_synthetic`
            (boolean). `parent_id`, `neighbour_id`: keys (a struct if of several columns) and `gap` (double, in
            [0, 1)): null for originals. `sampling_weight` (double): class rows before / after.

        Raises:
            ConfigError, LeakageError, MissingColumnsError: as `RandomOverSampler`.
            DataContractError: as there; features that are not numeric or have infinite values; a class
                of fewer than k_neighbors + 1 rows.
        """
        census = self._check(train, PROVENANCE)
        before = census.counts
        wanted = {name: n for name, n in self.sampling_strategy_.items() if n > 0}
        self._refuse_small({name: before[name] for name in wanted})
        self.neighbour_report_: dict[Label, NeighbourReport] = {}
        made, after, scale = [], dict(before), self._scale(census)
        for name, rows in wanted.items():
            synthetic, made_rows = self._made(census, scale, name, rows)
            after[name] += made_rows
            made.append(synthetic)
        self._learn_kept(after)
        weight = of_class(self.label, {name: before[name] / after[name] for name in before}, 1.0)
        return with_sampling_weight(reduce(DataFrame.unionByName, made, self._originals(census.rows)), weight)

    def _made(self, census: Census, scale: FeatureScale, name: Label, wanted: int) -> tuple[DataFrame, int]:
        """The synthetic rows of a class, and how many there are."""
        points = self._points(census, self._space(census, scale, name))
        index = self._index(points, points.of(name), census.counts[name])
        self._report(index, name, wanted)
        draws, made_rows = self._draw(points, name, wanted, index)
        return self._synthetic(census, name, draws), made_rows

    def _refuse_small(self, sampled: dict[Label, int]) -> None:
        least = self.k_neighbors + 1
        if small := {name: n for name, n in sampled.items() if n < least}:
            raise DataContractError(
                f"{type(self).__name__}: {show_counts(small)}, but k_neighbors={self.k_neighbors} needs {least} rows "
                "of a class. Lower k_neighbors, or leave the class out of sampling_strategy."
            )

    def _report(self, index: NeighbourIndex, name: Label, wanted: int) -> None:
        slots = SparkSession.active().sparkContext.defaultParallelism
        self.neighbour_report_[name] = report_neighbours(
            index, self.k_neighbors, wanted=wanted, slots=slots, stage=type(self).__name__
        )
        logger.info("%s, class %r: %s", type(self).__name__, name, self.neighbour_report_[name].sentence)

    def _draw(self, points: Points, name: Label, wanted: int, index: NeighbourIndex) -> tuple[DataFrame, int]:
        """Parents, neighbours and gaps as `draw_pairs`, and how many there are."""
        placed = index.placed(points.frame.sparkSession, self.k_neighbors, type(self).__name__)
        return draw_pairs(placed, index.rows, wanted, self._draw_seed(name)), wanted

    def _draw_seed(self, name: Label) -> str:
        return f"{self._purpose}/{self.seed}/{name!r}"

    def _originals(self, rows: DataFrame) -> DataFrame:
        id_type = rows.select(self._id().alias(HASH)).schema[HASH].dataType
        values = (F.lit(0), F.lit(False), F.lit(None).cast(id_type), F.lit(None).cast(id_type))
        added = [value.alias(name) for name, value in zip(PROVENANCE, values, strict=False)]
        return rows.select("*", *added, F.lit(None).cast("double").alias("gap"))

    def _synthetic(self, census: Census, name: Label, draws: DataFrame) -> DataFrame:
        """The drawn rows, interpolated by Spark's own expressions: two joins by hash."""
        rows = census.rows
        mine = rows.where(col(self.label) == F.lit(name)).select("*", self._hashed().alias(HASH))
        reached, among = self._reached(census, name)
        ends = [col(feature).alias(f"__end_{i}") for i, feature in enumerate(self.features)]
        neighbours = reached.select(self._hashed().alias(NEIGHBOUR), self._id().alias("neighbour_id"), *ends)
        joined = draws.drop(CODE_OF_NEIGHBOUR).join(
            neighbours.hint(join_hint(among, len(neighbours.columns))), NEIGHBOUR, "inner"
        )
        joined = joined.join(mine.hint(join_hint(census.counts[name], len(mine.columns))), on=HASH, how="inner")
        return joined.select(*[self._output(rows, column) for column in rows.columns], *self._provenance())

    def _reached(self, census: Census, name: Label) -> tuple[DataFrame, int]:
        """The rows that a neighbour may be, and how many they are."""
        return census.rows.where(col(self.label) == F.lit(name)), census.counts[name]

    def _output(self, rows: DataFrame, name: str) -> Column:
        if name not in self.features:
            return col(name)
        found = rows.schema[name].dataType
        start, end = col(name).cast("double"), col(f"__end_{self.features.index(name)}").cast("double")
        value = start + F.col("gap") * (end - start)
        made = (F.rint(value) if isinstance(found, T.IntegralType) else value).cast(found)
        # What the parent lacks stays as the parent has it: null is not NaN, and no integer is NaN.
        return F.when(value.isNull() | F.isnan(value), col(name)).otherwise(made).alias(name)

    def _provenance(self) -> list[Column]:
        first = [col(COPY_NUMBER), F.lit(True).alias("is_synthetic"), self._id().alias("parent_id")]
        return [*first, col("neighbour_id"), col("gap")]
