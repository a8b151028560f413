"""Random under- and oversampling: rows dropped, or repeated, by a hash of their key."""

from collections.abc import Mapping, Sequence

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.class_counts import Label, collect_per_class, of_class
from imbalance_spark.core.columns import COPY_NUMBER, col, is_number, refuse_columns
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.hashing import HASH_RANGE, key_hash, uniform
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.base import (
    Census,
    RandomSampler,
    count_train,
    refuse_lost_classes,
    with_sampling_weight,
)
from imbalance_spark.train_only.sampling.feature_scale import check_numeric
from imbalance_spark.train_only.sampling.sampling_strategy import SamplingStrategy, check_sampling_strategy
from imbalance_spark.train_only.sampling.synthetic import uniform_draw


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


def perturbed(
    copies: DataFrame, originals: DataFrame, *, label: str, features: Sequence[str], shrinkage: Mapping[Label, float],
    rows: int, is_copy: Column, hashed: Column, copy_number: Column, seed: str, stage: str,
) -> DataFrame:  # fmt: skip
    """The rows, each copy's features moved by shrinkage x h x (its class's standard deviation) x a standard normal.

    h = (4 / ((features + 2) rows)) ** (1 / (features + 4)), with the rows of all classes, as in imbalanced-learn.
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
        shrinkage: None, or how far copies are moved, >= 0: one number, or one for each class that is sampled;
            see `smoothed_bootstrap`.
        features: numeric columns that `shrinkage` moves.

    Attributes, after `fit_resample`:
        sampling_strategy_: rows added to each class that was sampled.
        counts_before_: rows of each class before.
        kept_fractions_: for each class rows after / rows before, >= 1.
    """

    _kind = "over-sampling"
    _purpose = "oversample"

    def __init__(
        self, *, key: str | Sequence[str], label: str, sampling_strategy: SamplingStrategy = "auto", seed: int,
        shrinkage: float | Mapping[Label, float] | None = None, features: Sequence[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(key=key, label=label, sampling_strategy=sampling_strategy, seed=seed)
        self.shrinkage: float | Mapping[Label, float] | None = shrinkage
        self.features: tuple[str, ...] = tuple(features)

    def fit_resample(self, train: DataFrame) -> DataFrame:
        """All rows and their copies, every input column, and two more.

        Two passes, for the counts and for the cut-offs, and one for `shrinkage`; the result is lazy.

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
        weighed = with_sampling_weight(repeated, F.lit(1.0) / (copies + 1))
        return weighed if self.shrinkage is None else self._moved(weighed, census)

    def _moved(self, copies: DataFrame, census: Census) -> DataFrame:
        check_numeric(census.rows, self.features, "RandomOverSampler")
        asked = self._shrinkage_of(census)
        if problems := _shrinkage_problems(asked, self.sampling_strategy_):
            raise ConfigError.of_all(problems)
        return perturbed(
            copies, census.rows, label=self.label, features=self.features, shrinkage=asked,
            rows=sum(census.counts.values()), is_copy=col(COPY_NUMBER) > 0,
            hashed=key_hash(self.key, self.seed, self._purpose), copy_number=col(COPY_NUMBER),
            seed=f"{self._purpose}/{self.seed}", stage="RandomOverSampler",
        )  # fmt: skip

    def _shrinkage_of(self, census: Census) -> dict[Label, float]:
        if isinstance(self.shrinkage, Mapping):
            return dict(self.shrinkage)
        return {} if self.shrinkage is None else dict.fromkeys(census.counts, self.shrinkage)


def _shrinkage_problems(asked: Mapping[Label, float], sampled: Mapping[Label, int]) -> list[str]:
    problems = [
        f"RandomOverSampler.shrinkage[{name!r}] must be a number >= 0, got {value!r}."
        for name, value in asked.items()
        if not is_number(value) or not value >= 0
    ]
    if missing := sorted(set(sampled) - set(asked)):
        problems.append(f"RandomOverSampler.shrinkage names no value for the classes {missing}. Add them.")
    return problems
