"""What cleaning samplers share: rows that a rule over neighbours removes, counted, and the others with their weight."""

from abc import abstractmethod
from collections.abc import Sequence

from pyspark.sql import DataFrame

from imbalance_spark.class_counts import of_class
from imbalance_spark.frames import col
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.census import refuse_lost_classes
from imbalance_spark.train_only.sampling.feature_scale import Scaling
from imbalance_spark.train_only.sampling.neighbour_sampler import NeighbourSampler, Points
from imbalance_spark.train_only.sampling.neighbours import EXACT_ROWS
from imbalance_spark.train_only.sampling.neighbours.space import CODE, HASH, Space
from imbalance_spark.train_only.sampling.strategy import SamplingStrategy
from imbalance_spark.train_only.sampling.weighing import with_sampling_weight


class CleaningSampler(NeighbourSampler):
    """Removes rows by a rule over their neighbours; how many, the data decide.

    Args:
        key: columns that identify a row. label: the class. features: numeric columns that span the space.
        sampling_strategy: classes to clean: a word or a list, as `check_sampling_strategy`.
        scaling: "standard", "robust" or "none", before distances. seed: integer >= 0, for trees of cells only.
        exact_rows: queries up to which the search is exact; beyond, by cells.

    Attributes, after `fit_resample`: as `RandomUnderSampler`, and
        removed_: for each class the rows removed.
    """

    _kind = "clean-sampling"
    _purpose = "clean"

    def __init__(
        self, *, key: str | Sequence[str], label: str, features: Sequence[str],
        sampling_strategy: SamplingStrategy = "auto", scaling: Scaling = "standard", seed: int = 0,
        exact_rows: int = EXACT_ROWS,
    ) -> None:  # fmt: skip
        super().__init__(
            key=key, label=label, features=features, sampling_strategy=sampling_strategy, scaling=scaling, seed=seed,
            exact_rows=exact_rows,
        )  # fmt: skip

    def fit_resample(self, train: DataFrame) -> DataFrame:
        """The rows that stay, with every input column and `sampling_weight` (double, >= 1): class rows before / after.

        Passes: counts, scale, and those of the searches; the hashes of removed rows stay on the executors.

        Raises:
            ConfigError, LeakageError, MissingColumnsError: as `RandomUnderSampler`.
            DataContractError: as there; features that are not numeric or have infinite values.
        """
        census = self._check(train)
        space = Space(numeric=self.features, scale=self._scale(census))
        points = self._points(census, space)
        with leakage_errors():
            # A checkpoint: the removed rows serve to count and to remove, and are dear.
            removed = self._removed(points).select(HASH, CODE).distinct().localCheckpoint()
        per_code = {row[CODE]: row["count"] for row in removed.groupBy(CODE).count().collect()}
        self.removed_ = {name: per_code.get(code, 0) for name, code in points.codes.items()}
        after = {name: n - self.removed_[name] for name, n in census.counts.items()}
        refuse_lost_classes(census.counts, after, type(self).__name__)
        self._learn_kept(after)
        weights = {name: census.counts[name] / n for name, n in after.items() if n}
        kept = census.rows.select("*", self._hashed().alias(HASH)).join(removed.select(HASH), HASH, "left_anti")
        return with_sampling_weight(
            kept.select(*[col(name) for name in census.rows.columns]), of_class(self.label, weights, 1.0)
        )

    @abstractmethod
    def _removed(self, points: Points) -> DataFrame:
        """`HASH` and `CODE` of the rows that the rule removes."""

    def _targets(self, points: Points) -> list[int]:
        return [points.codes[name] for name in self.sampling_strategy_]
