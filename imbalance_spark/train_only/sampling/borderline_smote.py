"""Borderline-SMOTE: synthetic rows only from those whose neighbourhood is contested."""

import logging
from collections.abc import Sequence
from typing import Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.class_counts import Label
from imbalance_spark.errors import ConfigError
from imbalance_spark.train_only.sampling.census import Census
from imbalance_spark.train_only.sampling.feature_scale import Scaling
from imbalance_spark.train_only.sampling.neighbour_sampler import Points
from imbalance_spark.train_only.sampling.neighbours import EXACT_ROWS, NeighbourIndex
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.places import with_places
from imbalance_spark.train_only.sampling.neighbours.space import HASH
from imbalance_spark.train_only.sampling.strategy import SamplingStrategy
from imbalance_spark.train_only.sampling.synthetic_draws import CODE_OF_NEIGHBOUR, NEIGHBOUR, draw_pairs, uniform_draw
from imbalance_spark.train_only.sampling.synthetic_sampler import SyntheticSampler

logger = logging.getLogger(__name__)


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
