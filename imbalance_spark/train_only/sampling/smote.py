"""SMOTE on numeric features, and the variants that focus on the class border: ADASYN and BorderlineSMOTE."""

import logging
from dataclasses import dataclass, field
from typing import Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import Label
from imbalance_spark.core.columns import col
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.train_only.sampling.base import CountedRows, Points
from imbalance_spark.train_only.sampling.feature_scale import FeatureScale
from imbalance_spark.train_only.sampling.neighbours import NeighbourIndex
from imbalance_spark.train_only.sampling.neighbours.index import IN_MEMORY_BYTES, index_in_memory
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.on_cluster import with_hash_ranks
from imbalance_spark.train_only.sampling.neighbours.space import HASH, Space
from imbalance_spark.train_only.sampling.smote_in_memory import (
    ClassInMemory,
    class_bytes,
    collect_class,
    draw_in_memory,
    drawn_bytes,
    with_draws,
)
from imbalance_spark.train_only.sampling.synthetic import (
    CODE_OF_NEIGHBOUR,
    NEIGHBOUR,
    SyntheticSampler,
    draw_for_each,
    draw_pairs,
    uniform_draw,
)

logger = logging.getLogger(__name__)

_TIMES, _SHARE = "__times", "__share"


class SMOTE(SyntheticSampler):
    """Synthetic minority over-sampling (Chawla et al., 2002), with imbalanced-learn's distribution of draws.

    Pairs of a row and a neighbour are drawn uniformly with replacement, the gap uniformly from [0, 1). Neighbours are
    of the same class, by Euclidean distance of the scaled features; a row is not its own neighbour, but a duplicate of
    it is. The search is exact for classes of up to `exact_rows` rows; for larger ones it covers the four or eight
    nearest k-means cells, and `neighbour_report_` gives its recall. A class that fits into a task's memory with its
    draws is broadcast and nothing is joined; the synthetic rows are the same either way.

    A feature that is null or NaN counts as the mean in distances. Where the parent's value is missing it is missing in
    the synthetic row too; where only the neighbour's is missing, the parent's is taken.

    Args:
        key: columns that identify a row; integer, string, date or decimal(p,0).
        label: column of the class; boolean, integer, double or string, never null.
        features: numeric columns to interpolate.
        sampling_strategy: rows to reach, as `check_sampling_strategy`.
        k_neighbors: integer >= 1.
        scaling: "standard", "robust" or "none"; used for distances only.
        seed: integer >= 0.
        exact_rows: largest class that is searched exactly.

    Attributes:
        neighbour_report_: after `fit_resample`, for each oversampled class a `NeighbourReport`; further as
            `RandomOverSampler`.

    Raises:
        ConfigError: a parameter is out of range.

    Examples:
        >>> train = spark.range(1000).selectExpr(
        ...     "id AS order_id", "id % 20 = 0 AS is_fraud", "'train' AS split", "sin(id) AS x1", "id % 7 AS x2"
        ... )
        >>> sampler = SMOTE(key="order_id", label="is_fraud", features=["x1", "x2"], sampling_strategy=0.1, seed=7)
        >>> sampled = sampler.fit_resample(train)
        >>> sampled.where("is_fraud").groupBy("is_synthetic").count().orderBy("is_synthetic").show()
        +------------+-----+
        |is_synthetic|count|
        +------------+-----+
        |       false|   50|
        |        true|   45|
        +------------+-----+
        <BLANKLINE>
        >>> sampler.neighbour_report_[True].engine
        'exact'
    """

    _purpose = "smote"

    def _oversampled(
        self, counted: CountedRows, scale: FeatureScale, name: Label, wanted: int
    ) -> tuple[DataFrame, int]:
        rows, space = counted.counts[name], Space(numeric=tuple(self.features), scale=scale)
        needed = class_bytes(rows, space) + drawn_bytes(wanted)
        if needed > IN_MEMORY_BYTES:
            return super()._oversampled(counted, scale, name, wanted)
        parents = counted.rows.where(col(self.label) == name)
        class_rows = collect_class(parents, self._hashed(), self._key, self.features, self._stage)
        return self._oversampled_in_memory(parents, class_rows, space, name, wanted), wanted

    def _oversampled_in_memory(
        self, parents: DataFrame, class_rows: ClassInMemory, space: Space, name: Label, wanted: int
    ) -> DataFrame:
        """The same rows as by joins on the cluster, from a class that every task holds in memory."""
        index = index_in_memory(class_rows.points(space), space, exact_rows=self.exact_rows, seed=self.seed)
        self._report(index, name, wanted)
        found = index.search(parents.sparkSession, self.k_neighbors)
        draws = draw_in_memory(parents.sparkSession, found, wanted, self._draw_seed(name))
        hashed = parents.select("*", self._hashed().alias(HASH))
        drawn = with_draws(hashed, HASH, class_rows, draws, parents.select(self._id()).schema[0].dataType)
        return drawn.select(*[self._output(parents, column) for column in parents.columns], *self._provenance())


class ADASYN(SyntheticSampler):
    """Adaptive synthetic sampling (He et al., 2008).

    Of G requested rows, row i is the parent of g_i = rint(G r_i / sum r), where r_i is the share of other classes among
    its k nearest rows of any class; the g_i may differ from G in sum by rounding, as in imbalanced-learn.

    Args: as `SMOTE`, whose `k_neighbors` serves both searches (imbalanced-learn's `n_neighbors`).

    Raises, in `fit_resample`: as `SMOTE`, and
        DataContractError: no row of a class has a foreign neighbour.
    """

    _purpose = "adasyn"

    def _draw(self, points: Points, name: Label, wanted: int, index: NeighbourIndex) -> tuple[DataFrame, int]:
        """As `SMOTE`, with one more search against all rows, whose shares stay on the executors."""
        k = self.k_neighbors
        foreign = F.size(F.filter(NEAR, lambda near: near["code"] != points.codes[name]))
        # A checkpoint: the shares are expensive and read three times: to sum, to round and to draw.
        shares = self._among_all(points, [name], k).select(HASH, (foreign / k).alias(_SHARE)).localCheckpoint()
        # Counted by value, at most k + 1 of them, so that the sum does not depend on the order of the rows.
        per_share = sorted((row[_SHARE], row["count"]) for row in shares.groupBy(_SHARE).count().collect())
        total = sum(share * n for share, n in per_share)
        if total == 0.0:
            raise DataContractError(
                f"ADASYN: no row of class {name!r} has a neighbour of another class: there is no border to adapt to. "
                "Use SMOTE, or leave the class out of sampling_strategy."
            )
        times = F.rint(F.col(_SHARE) / total * wanted)
        drawn = sum(n * round(share / total * wanted) for share, n in per_share)
        lists = index.nearest(points.frame.sparkSession, k).join(
            shares.select(HASH, times.alias(_TIMES)), on=HASH, how="inner"
        )
        return draw_for_each(lists, F.col(_TIMES), self._draw_seed(name)), drawn


@dataclass(kw_only=True, eq=False)
class BorderlineSMOTE(SyntheticSampler):
    """SMOTE from the rows in danger (Han, Wang and Mao, 2005): at least half of their m neighbours are foreign.

    Kind "borderline-1" interpolates towards neighbours of the same class; "borderline-2" towards the k nearest of any
    class, less than half of the way where the neighbour is of another class. A class without a row in danger gets no
    synthetic rows, which is logged as a warning.

    Args: as `SMOTE`, and
        m_neighbors: integer >= 1. A row is in danger if at least half, but not all, of its m_neighbors nearest rows
            are of other classes.
        kind: "borderline-1" or "borderline-2".

    Attributes:
        danger_rows_: after `fit_resample`, for each oversampled class the rows in danger; further as `SMOTE`.
    """

    _purpose = "borderline_smote"

    m_neighbors: int = field(default=10, metadata={"least": 1})
    kind: Literal["borderline-1", "borderline-2"] = field(
        default="borderline-1", metadata={"choices": ("borderline-1", "borderline-2")}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.danger_rows_: dict[Label, int] = {}

    def _draw(self, points: Points, name: Label, wanted: int, index: NeighbourIndex) -> tuple[DataFrame, int]:
        """As `SMOTE`, from rows in danger, with one more search against all rows, whose lists stay on the executors."""
        stage, m = self._stage, self.m_neighbors
        # A checkpoint: the lists are expensive and read three times: to count, to rank and to draw.
        lists = self._among_all(points, [name], max(m, self.k_neighbors)).localCheckpoint()
        foreign = F.size(F.filter(F.slice(NEAR, 1, m), lambda near: near["code"] != points.codes[name]))
        contested = lists.where((2 * foreign >= m) & (foreign < m))
        danger = contested.count()
        self.danger_rows_[name] = danger
        if not danger:
            logger.warning("%s: class %r has no row in danger, so it gets no synthetic rows", stage, name)
            wanted = 0
        if self.kind == "borderline-1":
            nearest = index.nearest(points.frame.sparkSession, self.k_neighbors).join(
                contested.select(HASH), HASH, "left_semi"
            )
        else:
            nearest = contested.select(HASH, F.slice(NEAR, 1, self.k_neighbors).alias(NEAR))
        seed = self._draw_seed(name)
        draws = draw_pairs(with_hash_ranks(nearest, contested.select(HASH), danger, stage), danger, wanted, seed)
        is_foreign = F.col(CODE_OF_NEIGHBOUR) != points.codes[name]
        half = uniform_draw(seed, "half", F.col(HASH), F.col("copy_number"), F.col(NEIGHBOUR)) / 2
        return draws.withColumn("gap", F.when(is_foreign, F.col("gap") * half).otherwise(F.col("gap"))), wanted

    def _neighbour_rows(self, counted: CountedRows, name: Label) -> tuple[DataFrame, int]:
        if self.kind == "borderline-1":
            return super()._neighbour_rows(counted, name)
        return counted.rows, sum(counted.counts.values())
