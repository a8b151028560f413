"""Under-sampling to exact counts by hash rank."""

from collections.abc import Sequence

from pyspark.sql import DataFrame

from imbalance_spark.checks import check_seed
from imbalance_spark.class_counts import Label, of_class
from imbalance_spark.frames import col
from imbalance_spark.hashing import HASH_RANGE, check_key, key_hash
from imbalance_spark.ranks import collect_cut_offs
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.census import count_train, refuse_lost_classes
from imbalance_spark.train_only.sampling.strategy import SamplingStrategy, check_sampling_strategy
from imbalance_spark.train_only.sampling.weighing import with_sampling_weight

_STAGE = "RandomUnderSampler"


class RandomUnderSampler:
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

    def __init__(
        self, *, key: str | Sequence[str], label: str, sampling_strategy: SamplingStrategy = "auto", seed: int
    ) -> None:
        check_seed(seed, _STAGE)
        self.key = (key,) if isinstance(key, str) else tuple(key)
        self.label = label
        self.sampling_strategy = sampling_strategy
        self.seed = seed

    def fit_resample(self, train: DataFrame) -> DataFrame:
        """The kept rows with every input column and `sampling_weight` (double, >= 1).

        Two passes, for the counts and for the cut-offs; the result is lazy.

        Raises:
            ConfigError: the strategy does not fit the classes.
            LeakageError: a row whose split is not "train".
            DataContractError: no rows, null labels, one class before or after, duplicate keys.
        """
        check_key(train, self.key, _STAGE)
        census = count_train(train, self.label, _STAGE)
        keep = check_sampling_strategy(self.sampling_strategy, census.counts, "under-sampling")
        after = {**census.counts, **keep}
        refuse_lost_classes(census.counts, after, _STAGE)
        hashed = key_hash(self.key, self.seed, "undersample")
        ranks = {name: (n,) for name, n in keep.items()}
        with leakage_errors():
            cut_offs = collect_cut_offs(
                census.rows, col(self.label), hashed, counts=census.counts, ranks=ranks, stage=_STAGE
            )  # fmt: skip
        self.sampling_strategy_ = keep
        self.counts_before_ = dict(census.counts)
        self.kept_fractions_: dict[Label, float] = {name: after[name] / n for name, n in census.counts.items()}
        weights = {name: 1 / fraction for name, fraction in self.kept_fractions_.items() if fraction > 0}
        is_kept = hashed < of_class(self.label, {name: cuts[0] for name, cuts in cut_offs.items()}, HASH_RANGE)
        return with_sampling_weight(census.rows.where(is_kept), of_class(self.label, weights, 1.0))
