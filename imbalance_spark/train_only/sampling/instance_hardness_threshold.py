"""Instance hardness: of the classes to be reduced, the rows that a model takes for what they are."""

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.class_counts import collect_per_class, of_class
from imbalance_spark.errors import DataContractError
from imbalance_spark.frames import col, require_columns
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.census import refuse_lost_classes
from imbalance_spark.train_only.sampling.random_sampler import RandomSampler
from imbalance_spark.train_only.sampling.strategy import SamplingStrategy
from imbalance_spark.train_only.sampling.weighing import with_sampling_weight


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
