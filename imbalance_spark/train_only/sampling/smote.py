"""SMOTE on numeric features, and the two variants that look where it matters: ADASYN and Borderline."""

import logging
from collections.abc import Sequence
from typing import Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import Label
from imbalance_spark.core.columns import col
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.train_only.sampling.base import Census, Points
from imbalance_spark.train_only.sampling.feature_scale import FeatureScale, Scaling
from imbalance_spark.train_only.sampling.neighbours import EXACT_ROWS, NeighbourIndex
from imbalance_spark.train_only.sampling.neighbours.index import HELD_BYTES, index_held
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.on_cluster import with_places
from imbalance_spark.train_only.sampling.neighbours.space import HASH, Space
from imbalance_spark.train_only.sampling.sampling_strategy import SamplingStrategy
from imbalance_spark.train_only.sampling.smote_in_memory import (
    HeldClass,
    class_bytes,
    collect_class,
    draw_held,
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
    """Synthetic minority over-sampling (Chawla et al., 2002), drawn as imbalanced-learn draws.

    Pairs of row and neighbour are uniform with replacement, the gap is uniform in [0, 1). Neighbours are of
    the same class, by Euclidean distance of the scaled features; a row is not its own neighbour, a twin of it
    is. They are exact up to `exact_rows` rows of a class, and those of the eight nearest cells of k-means beyond;
    `neighbour_report_` says how many of the nearest these find. Where a class and its draws fit a task's memory
    they are broadcast and nothing is joined; the rows are the same.

    A feature that is null or NaN counts as the mean in distances. A synthetic row lacks what its parent
    lacks; where only the neighbour lacks a value, it has the parent's.

    Args:
        key: columns that identify a row. label: the class.
        features: numeric columns, which are interpolated.
        sampling_strategy: rows to reach, as `check_sampling_strategy`.
        k_neighbors: integer >= 1. scaling: "standard", "robust" or "none", before distances only.
        seed: integer >= 0.
        exact_rows: rows of a class up to which it is collected, broadcast and searched exactly.

    Attributes, after `fit_resample`: as `RandomOverSampler`, and
        neighbour_report_: for each class that gets rows, a `NeighbourReport`.
    """

    _purpose = "smote"

    def _made(self, census: Census, scale: FeatureScale, name: Label, wanted: int) -> tuple[DataFrame, int]:
        rows, space = census.counts[name], Space(numeric=self.features, scale=scale)
        needed = class_bytes(rows, space) + drawn_bytes(wanted)
        if needed > HELD_BYTES:
            return super()._made(census, scale, name, wanted)
        mine = census.rows.where(col(self.label) == name)
        held = collect_class(mine, self._hashed(), self.key, self.features, type(self).__name__)
        return self._made_in_memory(mine, held, space, name, wanted), wanted

    def _made_in_memory(self, mine: DataFrame, held: HeldClass, space: Space, name: Label, wanted: int) -> DataFrame:
        """As the joins on the cluster would make them, from a class that tasks hold whole."""
        index = index_held(held.points(space), space, exact_rows=self.exact_rows, seed=self.seed)
        self._report(index, name, wanted)
        found = index.search(mine.sparkSession, self.k_neighbors)
        draws = draw_held(mine.sparkSession, found, wanted, self._draw_seed(name))
        hashed = mine.select("*", self._hashed().alias(HASH))
        drawn = with_draws(hashed, HASH, held, draws, mine.select(self._id()).schema[0].dataType)
        return drawn.select(*[self._output(mine, column) for column in mine.columns], *self._provenance())


class ADASYN(SyntheticSampler):
    """Adaptive synthetic sampling (He et al., 2008).

    Of G rows asked for, row i gets g_i = rint(G r_i / sum r), r_i being the share of other classes among its
    k nearest rows of any class; their sum may differ from G by rounding, as in imbalanced-learn.

    Args: as `SMOTE`, whose `k_neighbors` serves both searches (imbalanced-learn's `n_neighbors`).

    Raises, in `fit_resample`: as `SMOTE`, and
        DataContractError: no row of a class has a foreign neighbour.
    """

    _purpose = "adasyn"

    def _draw(self, points: Points, name: Label, wanted: int, index: NeighbourIndex) -> tuple[DataFrame, int]:
        """As `SMOTE`; one more search, against all rows, whose shares stay on the executors."""
        k = self.k_neighbors
        foreign = F.size(F.filter(NEAR, lambda near: near["code"] != points.codes[name]))
        # A checkpoint: the shares serve to sum, to round and to draw, and are dear.
        shares = self._among_all(points, [name], k).select(HASH, (foreign / k).alias(_SHARE)).localCheckpoint()
        # Counted by value, at most k + 1 of them, so that the sum does not hang on the order of the rows.
        per_share = sorted((row[_SHARE], row["count"]) for row in shares.groupBy(_SHARE).count().collect())
        total = sum(share * n for share, n in per_share)
        if total == 0.0:
            raise DataContractError(
                f"ADASYN: no row of class {name!r} has a neighbour of another class: there is no border to adapt to. "
                "Use SMOTE, or leave the class out of sampling_strategy."
            )
        times = F.rint(F.col(_SHARE) / total * wanted)
        made = sum(n * round(share / total * wanted) for share, n in per_share)
        lists = index.nearest(points.frame.sparkSession, k).join(
            shares.select(HASH, times.alias(_TIMES)), on=HASH, how="inner"
        )
        return draw_for_each(lists, F.col(_TIMES), self._draw_seed(name)), made


class BorderlineSMOTE(SyntheticSampler):
    """SMOTE from the rows in danger (Han, Wang and Mao, 2005): half or more, but not all, of m neighbours are foreign.

    Kind "borderline-1" goes towards neighbours of the class; "borderline-2" towards the k nearest of any class,
    less than half of the way where that one is foreign. A class without a row in danger gets no rows,
    which is logged.

    Args: as `SMOTE`, and
        m_neighbors: integer >= 1, the neighbours of any class by which danger is judged.
        kind: "borderline-1" or "borderline-2".

    Attributes, after `fit_resample`: as `SMOTE`, and
        danger_rows_: for each class that was sampled the rows in danger.
    """

    _purpose = "borderline_smote"

    def __init__(
        self, *, key: str | Sequence[str], label: str, features: Sequence[str],
        sampling_strategy: SamplingStrategy = "auto", k_neighbors: int = 5, m_neighbors: int = 10,
        kind: Literal["borderline-1", "borderline-2"] = "borderline-1", scaling: Scaling = "standard", seed: int,
        exact_rows: int = EXACT_ROWS,
    ) -> None:  # fmt: skip
        super().__init__(
            key=key, label=label, features=features, sampling_strategy=sampling_strategy, k_neighbors=k_neighbors,
            scaling=scaling, seed=seed, exact_rows=exact_rows,
        )  # fmt: skip
        if kind not in ("borderline-1", "borderline-2"):
            raise ConfigError(f"BorderlineSMOTE.kind must be 'borderline-1' or 'borderline-2', got {kind!r}.")
        self.m_neighbors: int = self._whole("m_neighbors", m_neighbors, 1)
        self.kind: Literal["borderline-1", "borderline-2"] = kind
        self.danger_rows_: dict[Label, int] = {}

    def _draw(self, points: Points, name: Label, wanted: int, index: NeighbourIndex) -> tuple[DataFrame, int]:
        """As `SMOTE`, from rows in danger; one more search, against all rows, whose lists stay on the executors."""
        stage, m = type(self).__name__, self.m_neighbors
        # A checkpoint: the lists serve to count, to place and to draw, and are dear.
        lists = self._among_all(points, [name], max(m, self.k_neighbors)).localCheckpoint()
        foreign = F.size(F.filter(F.slice(NEAR, 1, m), lambda near: near["code"] != points.codes[name]))
        contested = lists.where((2 * foreign >= m) & (foreign < m))
        danger = contested.count()
        self.danger_rows_[name] = danger
        if not danger:
            logger.warning("%s: class %r has no row in danger, so it gets no rows", stage, name)
            wanted = 0
        if self.kind == "borderline-1":
            nearest = index.nearest(points.frame.sparkSession, self.k_neighbors).join(
                contested.select(HASH), HASH, "left_semi"
            )
        else:
            nearest = contested.select(HASH, F.slice(NEAR, 1, self.k_neighbors).alias(NEAR))
        seed = self._draw_seed(name)
        draws = draw_pairs(with_places(nearest, contested.select(HASH), danger, stage), danger, wanted, seed)
        is_foreign = F.col(CODE_OF_NEIGHBOUR) != points.codes[name]
        half = uniform_draw(seed, "half", F.col(HASH), F.col("copy_number"), F.col(NEIGHBOUR)) / 2
        return draws.withColumn("gap", F.when(is_foreign, F.col("gap") * half).otherwise(F.col("gap"))), wanted

    def _reached(self, census: Census, name: Label) -> tuple[DataFrame, int]:
        if self.kind == "borderline-1":
            return super()._reached(census, name)
        return census.rows, sum(census.counts.values())
