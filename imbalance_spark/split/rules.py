"""The settings of a split: folds, fractions, key, and group or time."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

from pyspark.sql import Column
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import Label, show_counts
from imbalance_spark.core.columns import FOLDS, TEST, TRAIN, check_seed, col, is_number
from imbalance_spark.core.errors import ConfigError, DataContractError, nearest
from imbalance_spark.core.hashing import HASH_RANGE, key_hash

_ROUNDING = 1e-9  # error of adding a few decimals as doubles


@dataclass(frozen=True, kw_only=True)
class SplitRules:
    """The settings of a split; `fractions` are (fold, share) in the order of the hash, or of time."""

    key: tuple[str, ...]
    label: str
    seed: int
    fractions: tuple[tuple[str, float], ...]
    group: tuple[str, ...] = ()
    time: str | None = None
    exact_below: int = 10_000
    gap_days: float = 0.0
    purpose: str = "split"

    def __post_init__(self) -> None:
        check_seed(self.seed, self.purpose)
        if problems := [*self._settings_problems(), *self._fraction_problems()]:
            raise ConfigError.of_all(problems)

    @property
    def folds(self) -> tuple[str, ...]:
        """The folds' names, in order."""
        return tuple(name for name, _ in self.fractions)

    @property
    def shares(self) -> tuple[float, ...]:
        """The folds' fractions, in order."""
        return tuple(share for _, share in self.fractions)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that decide the fold of a row."""
        return (self.time,) if self.time else (*self.key, *self.group, self.label)

    def nominal(self) -> tuple[int, ...]:
        """The hashes at which the folds end without exact counts: cumulative shares of the hash range."""
        # As decimals: 0.7 + 0.15 must end at the same hash as 0.85.
        ends = accumulate(Fraction(repr(float(share))) for share in self.shares[:-1])
        return tuple(int(end * HASH_RANGE) for end in ends)

    def hash(self) -> Column:
        """The hash that decides: of the group; of the key where there is no group."""
        by_key = key_hash(self.key, self.seed, self.purpose)
        if not self.group:
            return by_key
        has_group = F.lit(True)
        for name in self.group:
            has_group = has_group & col(name).isNotNull()
        # Rows without a group must not become one giant group: each is a group of its own.
        return F.when(has_group, key_hash(self.group, self.seed, self.purpose)).otherwise(by_key)

    def _settings_problems(self) -> list[str]:
        problems = []
        if (
            isinstance(self.exact_below, bool)
            or not isinstance(self.exact_below, int)
            or not 0 <= self.exact_below <= 1_000_000
        ):
            problems.append(
                f"{self.purpose}.exact_below must be an integer in [0, 1000000], got {self.exact_below!r}. "
                "Classes with fewer rows get exact counts; with 0 the fold does not depend on the label."
            )
        if not is_number(self.gap_days) or self.gap_days < 0:
            problems.append(f"{self.purpose}.gap_days must be a number >= 0, got {self.gap_days!r}. It is in days.")
        elif self.gap_days > 0 and self.time is None:
            problems.append(
                f"{self.purpose}.gap_days is {self.gap_days!r} but no time column is named. Set time, or gap_days to 0."
            )
        if self.time is not None and self.group:
            problems.append(
                f"{self.purpose}: time {self.time!r} and group {list(self.group)} exclude each other: a group recurs "
                "over time, so its rows fall on both sides of a time boundary. Set one of the two."
            )
        return problems

    def _fraction_problems(self) -> list[str]:
        problems = [
            f"{self.purpose}.fractions[{name!r}] must be in (0, 1], got {share!r}. It is the fold's share of the rows."
            for name, share in self.fractions
            if not is_number(share) or not 0 < share <= 1
        ]
        if not problems and abs(sum(self.shares) - 1) > _ROUNDING:
            problems.append(
                f"{self.purpose}.fractions must sum to 1, got {dict(self.fractions)} with sum {sum(self.shares):.6g}."
            )
        return problems


def fold_fractions(fractions: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """The fractions in the order of `FOLDS`; train and test are required, validation is optional.

    Raises:
        ConfigError: an unknown fold, or one that is missing.
    """
    problems = []
    if unknown := [name for name in fractions if name not in FOLDS]:
        problems.append(
            f"split.fractions: unknown fold {unknown}; the folds are {list(FOLDS)}.{nearest(unknown, FOLDS)}"
        )
    if missing := [name for name in (TRAIN, TEST) if name not in fractions]:
        problems.append(f"split.fractions: no fraction for {missing}. Train is needed to fit, and test to report.")
    if problems:
        raise ConfigError.of_all(problems)
    return tuple((name, fractions[name]) for name in FOLDS if name in fractions)


@dataclass(frozen=True, kw_only=True)
class KnownCounts:
    """What an earlier pass has counted of the rows that a split is fitted on, so that it need not be counted again.

    Args:
        classes: rows of each class.
        days: by day since 1970 (UTC), rows of each class; None where nobody counted them.
    """

    classes: Mapping[Label, int]
    days: Mapping[int, Mapping[Label, int]] | None = None

    def require(self, found: Mapping[Label, int], stage: str) -> None:
        """Refuse rows that are others than those that were counted.

        Raises:
            DataContractError: they are.
        """
        if {label: n for label, n in self.classes.items() if n} != dict(found):
            raise DataContractError(
                f"{stage}: {show_counts(self.classes)} in one scan, {show_counts(found)} in the next. "
                "Write the input to a table first, so that every scan reads the same rows."
            )
