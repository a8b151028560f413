"""Over-sampling by repetition: whole copies of a class, and a hash-chosen draw of the rest."""

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.checks import check_seed, refuse_columns
from imbalance_spark.class_counts import Label, of_class
from imbalance_spark.frames import col
from imbalance_spark.hashing import check_key, key_hash
from imbalance_spark.ranks import collect_cut_offs
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.census import Census, count_train
from imbalance_spark.train_only.sampling.strategy import SamplingStrategy, check_sampling_strategy
from imbalance_spark.train_only.sampling.weighing import with_sampling_weight

_STAGE = "RandomOverSampler"
COPY_NUMBER = "copy_number"
"""0 for the row itself, 1, 2 ... for its copies."""


class RandomOverSampler:
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

    def __init__(
        self, *, key: str | Sequence[str], label: str, sampling_strategy: SamplingStrategy = "auto", seed: int
    ) -> None:
        check_seed(seed, _STAGE)
        self.key = (key,) if isinstance(key, str) else tuple(key)
        self.label = label
        self.sampling_strategy = sampling_strategy
        self.seed = seed

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
        check_key(train, self.key, _STAGE)
        refuse_columns(train, (COPY_NUMBER,), _STAGE)
        census = count_train(train, self.label, _STAGE)
        add = check_sampling_strategy(self.sampling_strategy, census.counts, "over-sampling")
        self.sampling_strategy_ = add
        self.counts_before_ = dict(census.counts)
        self.kept_fractions_: dict[Label, float] = {
            name: (n + add.get(name, 0)) / n for name, n in census.counts.items()
        }
        return self._repeat(census, add)

    def _repeat(self, census: Census, add: Mapping[Label, int]) -> DataFrame:
        hashed = key_hash(self.key, self.seed, "oversample")
        rest = {name: (n % census.counts[name],) for name, n in add.items()}
        with leakage_errors():
            cut_offs = collect_cut_offs(
                census.rows, col(self.label), hashed, counts=census.counts, ranks=rest, stage=_STAGE
            )  # fmt: skip
        whole = of_class(self.label, {name: n // census.counts[name] for name, n in add.items()}, 0)
        is_drawn = hashed < of_class(self.label, {name: cuts[0] for name, cuts in cut_offs.items()}, 0)
        copies = (whole + is_drawn.cast("int")).cast("int")
        repeated = census.rows.select("*", F.explode(F.sequence(F.lit(0), copies)).alias(COPY_NUMBER))
        return with_sampling_weight(repeated, F.lit(1.0) / (copies + 1))
