"""The section `split` of a config: how rows are assigned to train, validation and test."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from imbalance_spark.core.section import Section, Share


class BacktestConfig(Section):
    """A rolling-origin backtest: fits on earlier and earlier rows, each judged on the days that followed.

    The last of the judged windows ends where test begins, or the gap before it; test has no part in it.

    Args:
        folds: how many windows are judged, one right after the other.
        train_days: days that each fit reads.
        gap_days: days between them and the window; set it to the time until a label is known.
        test_days: days of a window.
    """

    folds: Annotated[int, Field(ge=2, le=50)] = 4
    train_days: Annotated[float, Field(gt=0.0)]
    gap_days: Annotated[float, Field(ge=0.0)] = 0.0
    test_days: Annotated[float, Field(gt=0.0)]


class SplitConfig(Section):
    """How rows are assigned to train, validation and test; see `split.stratified_split`.

    Args:
        by: `key` assigns single rows, `group` whole groups, `time` makes the latest rows validation and test.
        fractions: share of each fold; they sum to 1.
        seed: of the split and of all sampling; a different seed gives an independent split.
        exact_below: classes of fewer rows get exact counts in each fold; 0 relies on the hash alone.
        gap_days: with a split by time, days between the folds whose rows are left out; set it to the time until a
            label is known.
        early_stopping_fraction: share of train in the early-stopping set: it decides when a fit stops and is not
            fitted on.
        cross_fit_folds: of a cross-fit, see `evaluation`: folds of train and validation, by key, group or time as `by`;
            never more than the rarest class has rows.
        backtest: with a split by time, fits of every strategy on earlier windows, to see how it fares over time.
    """

    by: Literal["key", "group", "time"] = "key"
    fractions: dict[str, float] = {"train": 0.7, "validation": 0.15, "test": 0.15}
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 7
    exact_below: Annotated[int, Field(ge=0, le=1_000_000)] = 10_000
    gap_days: Annotated[float, Field(ge=0.0)] = 0.0
    early_stopping_fraction: Share = 0.15
    cross_fit_folds: Annotated[int, Field(ge=2, le=20)] = 5
    backtest: BacktestConfig | None = None

    @field_validator("fractions")
    @classmethod
    def _three_folds(cls, fractions: dict[str, float]) -> dict[str, float]:
        if set(fractions) != {"train", "validation", "test"}:
            raise ValueError(f"needs exactly train, validation and test, got {sorted(fractions)}")
        outside = {fold: share for fold, share in fractions.items() if not 0.0 < share < 1.0}
        if outside:
            raise ValueError(f"each share must be in (0, 1), got {outside}: every fold is needed")
        if not math.isclose(sum(fractions.values()), 1.0, abs_tol=1e-9):
            raise ValueError(f"shares must sum to 1, got {sum(fractions.values()):.6g}")
        return fractions

    @model_validator(mode="after")
    def _backtest_along_time(self) -> Self:
        if self.backtest is not None and self.by != "time":
            raise ValueError(f"backtest goes along time, and by is {self.by}: set by to time, or leave backtest out")
        return self
