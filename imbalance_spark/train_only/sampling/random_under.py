"""Under-sampling to exact counts by hash rank."""

from pyspark.sql import DataFrame

from imbalance_spark.class_counts import of_class
from imbalance_spark.hashing import HASH_RANGE
from imbalance_spark.train_only.sampling.census import refuse_lost_classes
from imbalance_spark.train_only.sampling.random_sampler import RandomSampler
from imbalance_spark.train_only.sampling.weighing import with_sampling_weight


class RandomUnderSampler(RandomSampler):
    """Keep exactly so many rows of each class: those whose key has the lowest hashes.

    Which rows stay depends on key and seed alone; a smaller count keeps a subset of a larger one's.

    Args:
        key: columns that identify a row.
        label: the class.
        sampling_strategy: rows to keep, as `check_sampling_strategy`; "auto" brings every class down
            to the rarest one.
        seed: integer >= 0.

    Attributes, after `fit_resample`:
        sampling_strategy_: rows kept of each class that was sampled.
        counts_before_: rows of each class before.
        kept_fractions_: for each class rows after / rows before, in [0, 1].
    """

    _kind = "under-sampling"
    _purpose = "undersample"

    def fit_resample(self, train: DataFrame) -> DataFrame:
        """The kept rows with every input column and `sampling_weight` (double, >= 1).

        Two passes, for the counts and for the cut-offs; the result is lazy.

        Raises:
            ConfigError: the strategy does not fit the classes.
            LeakageError: a row whose split is not "train".
            DataContractError: no rows, null labels, one class before or after, duplicate keys.
        """
        census = self._count(train)
        after = {**census.counts, **self.sampling_strategy_}
        refuse_lost_classes(census.counts, after, type(self).__name__)
        is_kept = self._is_among_lowest(census, self.sampling_strategy_, HASH_RANGE)
        self._learn_kept(after)
        weights = {name: 1 / fraction for name, fraction in self.kept_fractions_.items() if fraction > 0}
        return with_sampling_weight(census.rows.where(is_kept), of_class(self.label, weights, 1.0))
