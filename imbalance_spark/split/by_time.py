"""Fit a split along time: the folds follow each other, the last one is the latest part."""

from itertools import accumulate

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import count_folds
from imbalance_spark.core.columns import GAP
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.hash_ranks import largest_remainder
from imbalance_spark.split.plan import DAY_US, SECOND_US, SplitPlan, time_us
from imbalance_spark.split.rules import SplitRules


def fit_time(orders: DataFrame, rules: SplitRules, time: str) -> SplitPlan:
    """Fit the split in three passes: rows per day, per second of the days with a boundary, per fold and class.

    A boundary is the first second before which at least the requested number of rows lies: exact, independent
    of the layout, and rows of one second stay together. One row per day, and at most 172,800
    rows per boundary, are collected.

    Raises:
        DataContractError: rows without a time; fewer distinct times than folds.
    """
    instant = time_us(orders, time, rules.purpose)
    days = _collect_days(orders, instant, rules, time)
    targets = list(accumulate(largest_remainder(sum(row["n"] for row in days), rules.shares)[:-1]))
    wanted = sorted({day for target in targets for day in _days_around(days, target)})
    seconds = _collect_seconds(orders, instant, wanted)
    boundaries = tuple(_boundary(days, seconds, target, rules, time) for target in targets)
    plan = SplitPlan(rules=rules, boundaries_us=boundaries)
    counts = count_folds(orders, plan.fold(orders), rules.label, rules.purpose)
    labels = sorted({label for per_class in counts.values() for label in per_class})
    names = [*rules.folds, GAP] if GAP in counts else rules.folds
    full = {fold: {label: counts.get(fold, {}).get(label, 0) for label in labels} for fold in names}
    return SplitPlan(rules=rules, boundaries_us=boundaries, counts=full)


def _collect_days(orders: DataFrame, instant: Column, rules: SplitRules, time: str) -> list[Row]:
    """Rows of each day that has any, in order of time."""
    day = F.floor(instant / F.lit(DAY_US))
    rows = orders.groupBy(day.alias("day")).agg(F.count(F.lit(1)).alias("n")).collect()
    total, without = sum(row["n"] for row in rows), sum(row["n"] for row in rows if row["day"] is None)
    if total == 0:
        raise DataContractError(
            f"{rules.purpose}: the input has no rows. Check the source and the filters before this stage."
        )
    if without:
        raise DataContractError(
            f"{rules.purpose}: {without} of {total} rows have no time (null in {time!r}). Quarantine them upstream."
        )
    return sorted(rows, key=lambda row: row["day"])


def _days_around(days: list[Row], target: int) -> list[int]:
    """The day in which row number `target` falls, and the next one: the boundary is in one of them."""
    ends = list(accumulate(row["n"] for row in days))
    at = next(i for i, end in enumerate(ends) if end >= target)
    return [row["day"] for row in days[at : at + 2]]


def _collect_seconds(orders: DataFrame, instant: Column, days: list[int]) -> list[Row]:
    """Rows of each second of the given days that has any, in order of time."""
    in_days = F.lit(False)
    for day in days:
        in_days = in_days | ((instant >= day * DAY_US) & (instant < (day + 1) * DAY_US))
    second = F.floor(instant / F.lit(SECOND_US))
    per_second = orders.where(in_days).groupBy(second.alias("second")).agg(F.count(F.lit(1)).alias("n"))
    return sorted(per_second.collect(), key=lambda row: row["second"])


def _boundary(days: list[Row], seconds: list[Row], target: int, rules: SplitRules, time: str) -> int:
    around = _days_around(days, target)
    before = sum(row["n"] for row in days if row["day"] < around[0])
    for row in seconds:
        if not around[0] * DAY_US <= row["second"] * SECOND_US < (around[-1] + 1) * DAY_US:
            continue
        if before >= target:
            return int(row["second"]) * SECOND_US
        before += row["n"]
    raise DataContractError(
        f"{rules.purpose}: no row is later than the first {target} by column {time!r}, so a fold would be empty. "
        "Rows of the same time stay together: use a finer time, or split without time."
    )
