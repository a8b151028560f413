"""Over-sampling by repetition: whole copies of a class, and a hash-chosen draw of the rest."""

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.checks import is_number, refuse_columns
from imbalance_spark.class_counts import Label, of_class
from imbalance_spark.errors import ConfigError
from imbalance_spark.frames import COPY_NUMBER, col
from imbalance_spark.hashing import key_hash
from imbalance_spark.train_only.sampling.census import Census
from imbalance_spark.train_only.sampling.feature_scale import check_numeric
from imbalance_spark.train_only.sampling.random_sampler import RandomSampler
from imbalance_spark.train_only.sampling.smoothed_bootstrap import perturbed
from imbalance_spark.train_only.sampling.strategy import SamplingStrategy
from imbalance_spark.train_only.sampling.weighing import with_sampling_weight


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
