"""Over-sampling by repetition: whole copies of a class, and a hash-chosen draw of the rest."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.checks import refuse_columns
from imbalance_spark.class_counts import of_class
from imbalance_spark.train_only.sampling.random_sampler import RandomSampler
from imbalance_spark.train_only.sampling.weighing import with_sampling_weight

COPY_NUMBER = "copy_number"
"""0 for the row itself, 1, 2 ... for its copies."""


class RandomOverSampler(RandomSampler):
    """Repeat the rows of each class until it has exactly so many.

    Unlike a draw with replacement, no row is repeated twice more often than another: to add g rows
    to n, each row is copied g // n times, and the g % n rows with the lowest hashes once more. Which
    ones depends on key and seed alone; a smaller g makes a subset of a larger one's copies.

    Args:
        key: columns that identify a row.
        label: the class.
        sampling_strategy: rows to reach, as `check_sampling_strategy`; "auto" brings every class up
            to the most frequent one.
        seed: integer >= 0.

    Attributes, after `fit_resample`:
        sampling_strategy_: rows added to each class that was sampled.
        counts_before_: rows of each class before.
        kept_fractions_: for each class rows after / rows before, >= 1.
    """

    _kind = "over-sampling"
    _purpose = "oversample"

    def fit_resample(self, train: DataFrame) -> DataFrame:
        """All rows and their copies, every input column, and two more.

        Two passes, for the counts and for the cut-offs; the result is lazy.

        Returns:
            `copy_number` (int): 0 for the row itself. `sampling_weight` (double, in (0, 1]): one over
            the times its row is there, so that the weights of a row and its copies sum to 1.

        Raises:
            ConfigError: the strategy does not fit the classes.
            LeakageError: a row whose split is not "train".
            DataContractError: no rows, null labels, one class only, duplicate keys, `copy_number` taken.
        """
        refuse_columns(train, (COPY_NUMBER,), type(self).__name__)
        census = self._count(train)
        add, before = self.sampling_strategy_, census.counts
        self._learn_kept({name: rows + add.get(name, 0) for name, rows in before.items()})
        whole = of_class(self.label, {name: rows // before[name] for name, rows in add.items()}, 0)
        is_drawn = self._is_among_lowest(census, {name: rows % before[name] for name, rows in add.items()}, 0)
        copies = (whole + is_drawn.cast("int")).cast("int")
        repeated = census.rows.select("*", F.explode(F.sequence(F.lit(0), copies)).alias(COPY_NUMBER))
        return with_sampling_weight(repeated, F.lit(1.0) / (copies + 1))
