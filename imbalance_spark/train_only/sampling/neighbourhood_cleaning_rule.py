"""The neighbourhood cleaning rule: what neighbours contradict, and what stands in the way of the minority."""

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.train_only.sampling.edited_nearest_neighbours import EditedNearestNeighbours, most_voted
from imbalance_spark.train_only.sampling.feature_scale import Scaling
from imbalance_spark.train_only.sampling.neighbour_sampler import Points
from imbalance_spark.train_only.sampling.neighbours import EXACT_ROWS
from imbalance_spark.train_only.sampling.neighbours.lists import NEAR
from imbalance_spark.train_only.sampling.neighbours.space import CODE, HASH
from imbalance_spark.train_only.sampling.strategy import SamplingStrategy


class NeighbourhoodCleaningRule(EditedNearestNeighbours):
    """Remove rows by `EditedNearestNeighbours` of kind "mode", and the neighbours that outvote a minority row.

    Laurikkala (2001), as imbalanced-learn has it: a minority row votes for itself beside its k - 1 nearest; if it
    is outvoted, those of its k nearest go whose class is cleaned and has more than `threshold_cleaning` times the
    minority's rows.

    Args: as `EditedNearestNeighbours`, and
        threshold_cleaning: >= 0.
    """

    def __init__(
        self, *, key: str | Sequence[str], label: str, features: Sequence[str],
        sampling_strategy: SamplingStrategy = "auto", n_neighbors: int = 3, threshold_cleaning: float = 0.5,
        scaling: Scaling = "standard", seed: int = 0, exact_rows: int = EXACT_ROWS,
    ) -> None:  # fmt: skip
        super().__init__(
            key=key, label=label, features=features, sampling_strategy=sampling_strategy, n_neighbors=n_neighbors,
            kind_sel="mode", scaling=scaling, seed=seed, exact_rows=exact_rows,
        )  # fmt: skip
        self.threshold_cleaning: float = threshold_cleaning

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
        outvoted = lists.where(most_voted(F.concat(own, near)) != points.codes[minority])
        rivals = outvoted.select(F.explode(NEAR).alias("__rival")).select(
            F.col("__rival")["near"].alias(HASH), F.col("__rival")["code"].alias(CODE)
        )
        return super()._removed(points).unionByName(rivals.where(F.col(CODE).isin(cleaned)))
