"""Under-sampling several times without a common row: the samples of an ensemble."""

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.class_counts import Label, of_class
from imbalance_spark.errors import ConfigError
from imbalance_spark.frames import col
from imbalance_spark.hashing import uniform
from imbalance_spark.train_only.sampling.census import count_train
from imbalance_spark.train_only.sampling.strategy import SamplingStrategy, check_sampling_strategy
from imbalance_spark.train_only.sampling.weighing import with_sampling_weight


def disjoint_undersample(
    train: DataFrame,
    *,
    key: Sequence[str],
    label: str,
    sampling_strategy: SamplingStrategy,
    seed: int,
    member: int,
    members: int,
) -> DataFrame:
    """Sample `member` (from 0) of `members`, of which no two share a row of a class that is sampled.

    Each takes its own stretch of the key's hash, so its rows follow from key and seed alone; target rows are reached
    on average. Classes that are not sampled are whole in each. One pass for the counts; the result is lazy.

    Returns:
        The rows with every input column and `sampling_weight` (double, >= 1).
    Raises:
        ConfigError: the strategy does not fit the classes, or they have too few rows for so many samples.
        LeakageError: a row whose split is not "train".
        DataContractError: no rows, null labels, or one class.
    """
    census = count_train(train, label, "undersample_ensemble")
    target = disjoint_target(census.counts, sampling_strategy, members)
    shares = {name: rows / census.counts[name] for name, rows in target.items()}
    share, place = of_class(label, shares, 1.0), uniform(key, seed, "undersample_ensemble")
    is_sampled = col(label).isin(list(shares))
    is_kept = ~is_sampled | ((place >= share * F.lit(member)) & (place < share * F.lit(member + 1)))
    weights = {name: 1.0 / share for name, share in shares.items()}
    return with_sampling_weight(census.rows.where(is_kept), of_class(label, weights, 1.0))


def disjoint_target(counts: Mapping[Label, int], sampling_strategy: SamplingStrategy, members: int) -> dict[Label, int]:
    """Rows of each sampled class in each of so many samples. Pure.

    Raises:
        ConfigError: the strategy does not fit the classes, or they have too few rows for so many samples.
    """
    target = check_sampling_strategy(sampling_strategy, counts, "under-sampling")
    if few := {name: counts[name] for name, rows in target.items() if rows * members > counts[name]}:
        raise ConfigError(
            f"undersample_ensemble: {members} samples without a common row need {members} times {dict(target)} rows, "
            f"but there are {few}. Ask for fewer members, or for a larger sampling_strategy."
        )
    return dict(target)
