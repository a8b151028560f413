"""Folds of the rows of train and validation: each is held out from a fit of its own, and test from all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Protocol

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.columns import FIT_NUMBER, GAP, SPLIT, TEST, TRAIN, VALIDATION, col, refuse_columns
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.instants import DAY_US, time_us
from imbalance_spark.split.config import BacktestConfig, SplitConfig
from imbalance_spark.split.plan import SplitPlan
from imbalance_spark.split.rules import SplitRules
from imbalance_spark.split.stratified import fit_rules

_PURPOSE = "cross_fit"
_ALL_TIME_US = -(1 << 62)
_FITTED, _HELD_OUT = "fitted", "held_out"


class Folds(Protocol):
    """Which rows the fit of each fold reads, and which are held out from it; rows of test are neither."""

    @property
    def count(self) -> int:
        """How many folds there are."""

    def number(self, rows: DataFrame) -> Column:
        """The fold that holds a row out, from 0; null where none does."""

    def is_fitted(self, rows: DataFrame, fold: int) -> Column:
        """Whether the fit of a fold reads a row; never null."""


@dataclass(frozen=True, kw_only=True)
class HashFolds:
    """Folds by the hash of the key or the group, stratified by class; the fit of one reads all the others.

    Stratified, so that the models of all folds start from nearly the same share of positives: what they score is
    ranked together.
    """

    plan: SplitPlan

    @property
    def count(self) -> int:
        """How many folds there are."""
        return len(self.plan.rules.folds)

    def number(self, rows: DataFrame) -> Column:
        """The fold that holds a row out; null in test."""
        return F.when(_is_known(), self.plan.fold(rows).cast("int"))

    def is_fitted(self, rows: DataFrame, fold: int) -> Column:
        """Whether a row is in another fold."""
        return _is_known() & (self.number(rows) != fold)


@dataclass(frozen=True, kw_only=True)
class Window:
    """What one fit along time reads, and what is held out from it: [from, until) in microseconds since 1970 UTC."""

    fit_from: int
    fit_until: int
    from_: int
    until: int


@dataclass(frozen=True, kw_only=True)
class TimeFolds:
    """Folds along time, each held out from a fit on earlier rows (rolling origin)."""

    windows: tuple[Window, ...]
    time: str

    @property
    def count(self) -> int:
        """How many folds there are."""
        return len(self.windows)

    def number(self, rows: DataFrame) -> Column:
        """The fold in whose window a row is."""
        instant = time_us(rows, self.time, _PURPOSE)
        return F.coalesce(
            *[F.when((instant >= w.from_) & (instant < w.until), number) for number, w in enumerate(self.windows)]
        )

    def is_fitted(self, rows: DataFrame, fold: int) -> Column:
        """Whether a row is in the window before the fold's."""
        instant, window = time_us(rows, self.time, _PURPOSE), self.windows[fold]
        return F.coalesce((instant >= window.fit_from) & (instant < window.fit_until), F.lit(False))


@dataclass(frozen=True, kw_only=True)
class TrainShare:
    """One fold, a share of train, held out from a fit on the others of its rows; the other folds are neither."""

    plan: SplitPlan

    @property
    def count(self) -> int:
        """One."""
        return 1

    def number(self, rows: DataFrame) -> Column:
        """0 in the share, null elsewhere."""
        return F.when(col(SPLIT).eqNullSafe(TRAIN) & (self.plan.fold(rows) == _HELD_OUT), 0)

    def is_fitted(self, rows: DataFrame, fold: int) -> Column:
        """Whether a row is in train, and neither in the share nor in a gap before it."""
        return F.coalesce(col(SPLIT).eqNullSafe(TRAIN) & (self.plan.fold(rows) == _FITTED), F.lit(False))


def fit_train_share(
    rows: DataFrame,
    fraction: float,
    split: SplitConfig,
    *,
    purpose: str,
    key: Sequence[str],
    label: str,
    group: str | None = None,
    time: str | None = None,
) -> SplitPlan:
    """Learn a share of train by key, group or time as the split is, along time the latest rows after the split's gap.

    Passes and errors as `fit_split`.

    Args:
        rows: with `split`; those of train are divided.
        fraction: of the share, in (0, 1).
        purpose: what the share is for; another one gives an independent draw.
        key, label, group, time: as in `fit_split_by_config`.
    """
    parts = ((_FITTED, 1.0 - fraction), (_HELD_OUT, fraction))
    rules = _rules_as(split, parts, purpose, key=key, label=label, group=group, time=time)
    if split.by == "time":
        rules = replace(rules, gap_days=split.gap_days)
    return fit_rules(rows.where(col(SPLIT) == TRAIN), rules)


def fit_folds(
    rows: DataFrame,
    folds: int,
    split: SplitConfig,
    *,
    key: Sequence[str],
    label: str,
    group: str | None = None,
    time: str | None = None,
) -> SplitPlan:
    """Learn the folds of a cross-fit, by key, group or time as the split is; passes and errors as `fit_split`.

    Along time there is one part more than folds: the first is held out from no fit.

    Args:
        rows: with `split`; those of train and validation are divided.
        folds: how many, 2 or more.
        key, label, group, time: as in `fit_split_by_config`.
    """  # fmt: skip
    count = folds + (split.by == "time")
    parts = tuple((str(number), 1 / count) for number in range(count))
    rules = _rules_as(split, parts, _PURPOSE, key=key, label=label, group=group, time=time)
    try:
        return fit_rules(rows.where(_is_known()), rules)
    except DataContractError as error:
        raise DataContractError(f"{error} Or set split.cross_fit_folds lower, or evaluation to holdout.") from None


def _rules_as(
    split: SplitConfig,
    parts: tuple[tuple[str, float], ...],
    purpose: str,
    *,
    key: Sequence[str],
    label: str,
    group: str | None,
    time: str | None,
) -> SplitRules:
    """The rules of other parts of the rows, by key, group or time as the split is, without a gap."""
    return SplitRules(
        key=tuple(key),
        label=label,
        seed=split.seed,
        fractions=parts,
        group=(group,) if split.by == "group" and group is not None else (),
        time=time if split.by == "time" else None,
        exact_below=split.exact_below,
        purpose=purpose,
    )


def cross_fit_folds(plan: SplitPlan, split: SplitPlan) -> Folds:
    """The folds of a plan that `fit_folds` learned.

    Args:
        split: the plan of train, validation and test; along time its gap lies before every fold, as before test.
    """
    if plan.rules.time is None:
        return HashFolds(plan=plan)
    gap = round(split.rules.gap_days * DAY_US)
    ends = (*plan.boundaries_us[1:], split.boundaries_us[-1] - gap)
    windows = [
        Window(fit_from=_ALL_TIME_US, fit_until=start - gap, from_=start, until=end)
        for start, end in zip(plan.boundaries_us, ends, strict=True)
    ]
    return TimeFolds(windows=tuple(windows), time=plan.rules.time)


def backtest_folds(split: SplitPlan, backtest: BacktestConfig) -> TimeFolds:
    """The windows of a backtest, oldest first; the last one ends where test begins, or the gap before it.

    Args:
        split: by time; its boundaries alone decide, so that no row is read.
    """
    assert split.rules.time is not None, "SplitConfig has seen to it"  # noqa: S101  # for the type checker
    end = split.boundaries_us[-1] - round(split.rules.gap_days * DAY_US)
    train, gap, test = (round(days * DAY_US) for days in (backtest.train_days, backtest.gap_days, backtest.test_days))
    windows = []
    for left in reversed(range(backtest.folds)):
        start = end - (left + 1) * test
        windows.append(Window(fit_from=start - gap - train, fit_until=start - gap, from_=start, until=start + test))
    return TimeFolds(windows=tuple(windows), time=split.rules.time)


def as_split(rows: DataFrame, folds: Folds, fold: int) -> DataFrame:
    """The rows as one fold splits them: `split` is "train" where its fit reads a row, "validation" for the fold itself.

    So whatever is refused to a fit on train alone, validation and test, is refused to the fit of a fold, too.
    """
    is_held_out = F.coalesce(folds.number(rows) == fold, F.lit(False))
    named = F.when(folds.is_fitted(rows, fold), TRAIN).when(is_held_out, VALIDATION)
    return _with_split(rows, named.when(col(SPLIT) == TEST, TEST).otherwise(GAP))


def as_trained(rows: DataFrame) -> DataFrame:
    """The rows as the fit on all of train and validation reads them: `split` is "train" for both."""
    return _with_split(rows, F.when(_is_known(), TRAIN).otherwise(col(SPLIT)))


def as_scored(rows: DataFrame, folds: Folds) -> DataFrame:
    """The rows as they are scored, each by the fit that left it out.

    Returns:
        Every column; `split` is "validation" for rows that a fold holds out; and `fit_number` (int), the fold, or for
        test their number: that of the fit on all.
    """
    refuse_columns(rows, (FIT_NUMBER,), _PURPOSE)
    number = folds.number(rows)
    named = F.when(number.isNotNull(), VALIDATION).when(col(SPLIT) == TEST, TEST).otherwise(GAP)
    return _with_split(rows, named, F.coalesce(number, F.lit(folds.count)).alias(FIT_NUMBER))


def _is_known() -> Column:
    return reduce(or_, [col(SPLIT).eqNullSafe(fold) for fold in (TRAIN, VALIDATION)])


def _with_split(rows: DataFrame, split: Column, *more: Column) -> DataFrame:
    return rows.select(*[split.alias(SPLIT) if name == SPLIT else col(name) for name in rows.columns], *more)
