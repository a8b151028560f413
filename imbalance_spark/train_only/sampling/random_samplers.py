"""Random under- and oversampling: rows dropped or repeated by a hash of their key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.class_counts import Label, collect_per_class, of_class
from imbalance_spark.core.columns import COPY_NUMBER, col, is_number, refuse_columns
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.hashing import HASH_RANGE, uniform
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.base import (
    CountedRows,
    RandomSampler,
    count_train,
    refuse_lost_classes,
    with_sampling_weight,
)
from imbalance_spark.train_only.sampling.feature_scale import check_numeric
from imbalance_spark.train_only.sampling.sampling_strategy import SamplingStrategy, check_sampling_strategy
from imbalance_spark.train_only.sampling.synthetic import uniform_draw


class RandomUnderSampler(RandomSampler):
    """Keep an exact number of rows of each class: those whose key has the lowest hashes.

    Which rows stay depends on key and seed alone; a smaller number keeps a subset of a larger one.

    Args:
        key: columns that identify a row; integer, string, date or decimal(p,0).
        label: column of the class; boolean, integer, double or string, never null.
        sampling_strategy: rows to keep, as `check_sampling_strategy`; "auto" brings every class down
            to the rarest one.
        seed: integer >= 0.

    Attributes:
        sampling_strategy_: after `fit_resample`, rows kept of each class that was sampled.
        counts_before_: rows of each class before.
        kept_fractions_: for each class rows after / rows before, in [0, 1].

    Raises:
        ConfigError: `seed` is not an integer >= 0.

    Examples:
        >>> orders = spark.range(1000).selectExpr("id AS order_id", "id % 20 = 0 AS is_fraud", "'train' AS split")
        >>> sampler = RandomUnderSampler(key="order_id", label="is_fraud", sampling_strategy=0.25, seed=7)
        >>> sampled = sampler.fit_resample(orders)
        >>> sampled.groupBy("is_fraud", "sampling_weight").count().orderBy("is_fraud").show()
        +--------+---------------+-----+
        |is_fraud|sampling_weight|count|
        +--------+---------------+-----+
        |   false|           4.75|  200|
        |    true|            1.0|   50|
        +--------+---------------+-----+
        <BLANKLINE>
    """

    _kind = "under-sampling"
    _purpose = "undersample"

    def fit_resample(self, train: DataFrame) -> DataFrame:
        """The kept rows with every input column and `sampling_weight` (double, >= 1).

        Two passes, for the counts and for the hash bounds; the result is lazy.

        Args:
            train: training rows, with `split`.

        Raises:
            ConfigError: the strategy does not fit the classes.
            LeakageError: a row whose split is not "train".
            DataContractError: no rows, null labels, one class before or after, duplicate keys.
        """
        counted = self._count(train)
        after = {**counted.counts, **self.sampling_strategy_}
        refuse_lost_classes(counted.counts, after, self._stage)
        is_kept = self._is_among_lowest(counted, self.sampling_strategy_, HASH_RANGE)
        self._learn_kept_fractions(after)
        weights = {name: 1 / fraction for name, fraction in self.kept_fractions_.items() if fraction > 0}
        return with_sampling_weight(counted.rows.where(is_kept), of_class(self.label, weights, 1.0))


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
    """Sample `member` (from 0) of `members`, no two of which share a row of a class that is sampled.

    Each takes its own range of the key's hash, so its rows follow from key and seed alone; target counts are met on
    average. Classes that are not sampled are whole in each. One pass for the counts; the result is lazy.

    Returns:
        The rows with every input column and `sampling_weight` (double, >= 1).

    Raises:
        ConfigError: the strategy does not fit the classes, or they have too few rows for `members` samples.
        LeakageError: a row whose split is not "train".
        DataContractError: no rows, null labels, or one class.
    """
    counted = count_train(train, label, "undersample_ensemble")
    target = disjoint_target(counted.counts, sampling_strategy, members)
    shares = {name: rows / counted.counts[name] for name, rows in target.items()}
    share, position = of_class(label, shares, 1.0), uniform(key, seed, "undersample_ensemble")
    is_sampled = col(label).isin(list(shares))
    is_kept = ~is_sampled | ((position >= share * F.lit(member)) & (position < share * F.lit(member + 1)))
    weights = {name: 1.0 / share for name, share in shares.items()}
    return with_sampling_weight(counted.rows.where(is_kept), of_class(label, weights, 1.0))


def disjoint_target(counts: Mapping[Label, int], sampling_strategy: SamplingStrategy, members: int) -> dict[Label, int]:
    """Rows of each sampled class in each of `members` samples. Pure.

    Raises:
        ConfigError: the strategy does not fit the classes, or they have too few rows for `members` samples.
    """
    target = check_sampling_strategy(sampling_strategy, counts, "under-sampling")
    if few := {name: counts[name] for name, rows in target.items() if rows * members > counts[name]}:
        raise ConfigError(
            f"undersample_ensemble: {members} samples without a common row need {members} times {dict(target)} rows, "
            f"but there are {few}. Ask for fewer members, for a larger sampling_strategy, or for balanced_bagging."
        )
    return dict(target)


def perturbed(
    copies: DataFrame, originals: DataFrame, *, label: str, features: Sequence[str], shrinkage: Mapping[Label, float],
    rows: int, is_copy: Column, hashed: Column, copy_number: Column, seed: str, stage: str,
) -> DataFrame:  # fmt: skip
    """The rows, each copy's features moved by shrinkage x h x (its class's standard deviation) x a standard normal.

    The smoothed bootstrap with h = (4 / ((features + 2) rows)) ** (1 / (features + 4)) over the rows of all classes, as
    in imbalanced-learn (Menardi and Torelli, 2014).
    Integers are rounded half to even; a null stays null. One pass for the deviations; lazy.
    """
    width = len(features)
    h = (4.0 / ((width + 2) * rows)) ** (1.0 / (width + 4))
    spreads = {f"spread_{i}": F.stddev_pop(col(name).cast("double")) for i, name in enumerate(features)}
    with leakage_errors():
        found = collect_per_class(originals, label, stage, spreads)
    moved = {}
    for i, name in enumerate(features):
        scale = {k: float(f"{shrinkage.get(k, 0.0) * h * (row[f'spread_{i}'] or 0.0):.6g}") for k, row in found.items()}
        noise = of_class(label, scale, 0.0) * _normal(f"{seed}/{i}", hashed, copy_number)
        value = col(name).cast("double") + noise
        kept = copies.schema[name].dataType
        new = (F.rint(value) if isinstance(kept, T.IntegralType) else value).cast(kept)
        moved[name] = F.when(is_copy, new).otherwise(col(name))
    return copies.select(*[moved[name].alias(name) if name in moved else col(name) for name in copies.columns])


def _normal(seed: str, *numbers: Column) -> Column:
    """A standard normal from two uniform draws (Box and Muller, 1958)."""
    radius = F.sqrt(-2.0 * F.log(1.0 - uniform_draw(seed, "radius", *numbers)))
    return radius * F.cos(2.0 * np.pi * uniform_draw(seed, "angle", *numbers))


@dataclass(kw_only=True, eq=False)
class RandomOverSampler(RandomSampler):
    """Repeat the rows of each class until it has an exact number of rows.

    Unlike a draw with replacement, repetitions of two rows differ by at most one: to add g rows to n, each row is
    copied g // n times, and the g % n rows with the lowest hashes once more. Which ones depends on key and seed alone;
    a smaller g yields a subset of the copies of a larger one.

    Args:
        key: columns that identify a row; integer, string, date or decimal(p,0).
        label: column of the class; boolean, integer, double or string, never null.
        sampling_strategy: rows to reach, as `check_sampling_strategy`; "auto" brings every class up
            to the most frequent one.
        seed: integer >= 0.
        shrinkage: None, or how far copies are moved, >= 0: one number, or one for each class that is sampled;
            see `perturbed`.
        features: numeric columns that `shrinkage` moves.

    Attributes:
        sampling_strategy_: after `fit_resample`, rows added to each class that was sampled.
        counts_before_: rows of each class before.
        kept_fractions_: for each class rows after / rows before, >= 1.

    Raises:
        ConfigError: `seed` is not an integer >= 0.

    Examples:
        >>> orders = spark.range(1000).selectExpr("id AS order_id", "id % 20 = 0 AS is_fraud", "'train' AS split")
        >>> sampler = RandomOverSampler(key="order_id", label="is_fraud", sampling_strategy=0.25, seed=7)
        >>> sampler.fit_resample(orders).where("is_fraud").groupBy("copy_number").count().orderBy("copy_number").show()
        +-----------+-----+
        |copy_number|count|
        +-----------+-----+
        |          0|   50|
        |          1|   50|
        |          2|   50|
        |          3|   50|
        |          4|   37|
        +-----------+-----+
        <BLANKLINE>
    """

    _kind = "over-sampling"
    _purpose = "oversample"

    shrinkage: float | Mapping[Label, float] | None = None
    features: Sequence[str] = ()

    def fit_resample(self, train: DataFrame) -> DataFrame:
        """All rows and their copies, every input column, and two more.

        Two passes, for the counts and for the hash bounds, and one for `shrinkage`; the result is lazy.

        Args:
            train: training rows, with `split`.

        Returns:
            The input columns, `copy_number` (int; 0 for the row itself) and `sampling_weight` (double in (0, 1]; 1 /
            number of a row's copies, itself included, so that the weights of a row and its copies sum to 1).

        Raises:
            ConfigError: the strategy does not fit the classes.
            LeakageError: a row whose split is not "train".
            DataContractError: no rows, null labels, one class only, duplicate keys, `copy_number` taken.
        """
        refuse_columns(train, (COPY_NUMBER,), self._stage)
        counted = self._count(train)
        add, before = self.sampling_strategy_, counted.counts
        self._learn_kept_fractions({name: rows + add.get(name, 0) for name, rows in before.items()})
        whole = of_class(self.label, {name: rows // before[name] for name, rows in add.items()}, 0)
        is_drawn = self._is_among_lowest(counted, {name: rows % before[name] for name, rows in add.items()}, 0)
        copies = (whole + is_drawn.cast("int")).cast("int")
        repeated = counted.rows.select("*", F.explode(F.sequence(F.lit(0), copies)).alias(COPY_NUMBER))
        weighed = with_sampling_weight(repeated, F.lit(1.0) / (copies + 1))
        return weighed if self.shrinkage is None else self._moved(weighed, counted)

    def _moved(self, copies: DataFrame, counted: CountedRows) -> DataFrame:
        check_numeric(counted.rows, self.features, "RandomOverSampler")
        asked = self._shrinkage_of(counted)
        if problems := _shrinkage_problems(asked, self.sampling_strategy_):
            raise ConfigError.of_all(problems)
        return perturbed(
            copies, counted.rows, label=self.label, features=self.features, shrinkage=asked,
            rows=sum(counted.counts.values()), is_copy=col(COPY_NUMBER) > 0,
            hashed=self._hashed(), copy_number=col(COPY_NUMBER),
            seed=f"{self._purpose}/{self.seed}", stage="RandomOverSampler",
        )  # fmt: skip

    def _shrinkage_of(self, counted: CountedRows) -> dict[Label, float]:
        if isinstance(self.shrinkage, Mapping):
            return dict(self.shrinkage)
        return {} if self.shrinkage is None else dict.fromkeys(counted.counts, self.shrinkage)


def _shrinkage_problems(asked: Mapping[Label, float], sampled: Mapping[Label, int]) -> list[str]:
    problems = [
        f"RandomOverSampler.shrinkage[{name!r}] must be a number >= 0, got {value!r}."
        for name, value in asked.items()
        if not is_number(value) or not value >= 0
    ]
    if missing := sorted(set(sampled) - set(asked)):
        problems.append(f"RandomOverSampler.shrinkage has no value for the classes {missing}. Add them.")
    return problems
