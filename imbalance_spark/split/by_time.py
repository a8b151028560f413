"""Fit a split along time: the folds follow each other, the last one is the latest part."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import Label, check_label, refuse_no_label
from imbalance_spark.core.columns import GAP, col
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.hash_ranks import largest_remainder
from imbalance_spark.core.instants import DAY_US, SECOND_US, time_us, utc_day
from imbalance_spark.split.plan import SplitPlan
from imbalance_spark.split.rules import KnownCounts, SplitRules

Days = Mapping[int, Mapping[Label, int]]
"""By day since 1970 (UTC), rows of each class."""


def fit_time(orders: DataFrame, rules: SplitRules, time: str, known: KnownCounts | None = None) -> SplitPlan:
    """Fit the split in two passes: rows per day, and per second of the days in which a fold or a gap may begin.

    With known rows per day, the second pass alone. A boundary is the first second before which at least the requested
    number of rows lies: exact, independent of the layout, and rows of one second stay together. Collected are one row
    per day and class, and at most 86,400 rows for each class and day in which a fold or a gap may begin.

    Raises:
        DataContractError: rows without a time; fewer distinct times than folds.
    """
    check_label(orders, rules.label, rules.purpose)
    instant = time_us(orders, time, rules.purpose)
    days = _collect_days(orders, instant, rules, time) if known is None or known.days is None else known.days
    targets = list(accumulate(largest_remainder(sum(map(_rows, days.values())), rules.shares)[:-1]))
    gap_us = round(rules.gap_days * DAY_US)
    around = {target: _days_around(days, target) for target in targets}
    wanted = sorted(_days_to_look_into(around.values(), gap_us))
    seconds = _collect_seconds(orders, instant, rules.label, wanted, gap_us)
    _require_same(days, seconds, rules.purpose)
    boundaries = tuple(_boundary(days, seconds, target, around[target], rules, time) for target in targets)
    return SplitPlan(rules=rules, boundaries_us=boundaries, counts=_counts(days, seconds, boundaries, gap_us, rules))


@dataclass(frozen=True, kw_only=True)
class _Second:
    """Rows of a class at one second; a gap that begins with them ends at second `after_gap`. Both since 1970."""

    second: int
    after_gap: int
    label: Label
    rows: int

    @property
    def day(self) -> int:
        return self.second * SECOND_US // DAY_US


def _collect_days(orders: DataFrame, instant: Column, rules: SplitRules, time: str) -> Days:
    """Rows of each day that has any."""
    cells = orders.groupBy(utc_day(instant).alias("day"), col(rules.label).alias("class"))
    rows = cells.agg(F.count(F.lit(1)).alias("n")).collect()
    per_class: dict[Label | None, int] = {}
    days: dict[int, dict[Label, int]] = {}
    for row in rows:
        per_class[row["class"]] = per_class.get(row["class"], 0) + row["n"]
        days.setdefault(row["day"], {})[row["class"]] = row["n"]
    refuse_no_label(per_class, rules.label, rules.purpose)
    if without := _rows(days.get(None, {})):  # type: ignore[call-overload]  # of rows without a time
        total = sum(per_class.values())
        raise DataContractError(
            f"{rules.purpose}: {without} of {total} rows have no time (null in {time!r}). Quarantine them upstream."
        )
    return days


def _rows(of_class: Mapping[Label, int]) -> int:
    return sum(of_class.values())


def _days_around(days: Days, target: int) -> tuple[int, int]:
    """The day in which row number `target` falls, and the next one that has rows: the boundary is in one of them."""
    ordered = sorted(days)
    ends = list(accumulate(_rows(days[day]) for day in ordered))
    at = next(i for i, end in enumerate(ends) if end >= target)
    return ordered[at], ordered[min(at + 1, len(ordered) - 1)]


def _days_to_look_into(around: Iterable[tuple[int, int]], gap_us: int) -> set[int]:
    """Days in which a fold may begin, or the gap before it."""
    found: set[int] = set()
    for day in {day for pair in around for day in pair}:
        first, last = day * DAY_US - gap_us, (day + 1) * DAY_US - 1 - gap_us
        found |= {day, *range(first // DAY_US, last // DAY_US + 1)}
    return found


def _collect_seconds(orders: DataFrame, instant: Column, label: str, days: Sequence[int], gap_us: int) -> list[_Second]:
    """Rows of each second of the given days that has any, in order of time."""
    second, after_gap = (F.floor((instant + F.lit(us)) / F.lit(SECOND_US)) for us in (0, gap_us))
    cells = orders.where(utc_day(instant).isin(list(days))).groupBy(
        second.alias("second"), after_gap.alias("after_gap"), col(label).alias("label")
    )
    found = [_Second(**row.asDict()) for row in cells.agg(F.count(F.lit(1)).alias("rows")).collect()]
    return sorted(found, key=lambda one: (one.second, one.after_gap))


def _require_same(days: Days, seconds: Sequence[_Second], stage: str) -> None:
    """Refuse rows that are others in the second scan than in the first."""
    by_second: dict[int, dict[Label, int]] = {}
    for one in seconds:
        of_class = by_second.setdefault(one.day, {})
        of_class[one.label] = of_class.get(one.label, 0) + one.rows
    for day, found in by_second.items():
        KnownCounts(classes=days.get(day, {})).require(found, stage)


def _boundary(
    days: Days, seconds: Sequence[_Second], target: int, around: tuple[int, int], rules: SplitRules, time: str
) -> int:
    before, last = sum(_rows(of_class) for day, of_class in days.items() if day < around[0]), around[0] * DAY_US - 1
    for one in seconds:
        if one.day not in around:
            continue
        if before >= target and one.second * SECOND_US > last:
            return one.second * SECOND_US
        before, last = before + one.rows, one.second * SECOND_US
    raise DataContractError(
        f"{rules.purpose}: no row is later than the first {target} by column {time!r}, so a fold would be empty. "
        "Rows of the same time stay together: use a finer time, or split without time."
    )


def _counts(
    days: Days, seconds: Sequence[_Second], boundaries: Sequence[int], gap_us: int, rules: SplitRules
) -> dict[str, dict[Label, int]]:
    """Rows per fold and class; of rows in a gap, too, where there are any.

    A day that is not known by second has no boundary in it: where its first instant lies, all of it lies.
    """
    by_second = {one.day for one in seconds}
    cells = [(one.second * SECOND_US, one.after_gap * SECOND_US, one.label, one.rows) for one in seconds]
    cells += [
        (day * DAY_US, day * DAY_US + gap_us, label, rows)
        for day, of_class in days.items()
        if day not in by_second
        for label, rows in of_class.items()
    ]
    labels = sorted({label for of_class in days.values() for label in of_class})
    counts = {fold: dict.fromkeys(labels, 0) for fold in (*rules.folds, GAP)}
    for start, after_gap, label, rows in cells:
        number = bisect_right(boundaries, start)
        is_in_gap = gap_us > 0 and bisect_right(boundaries, after_gap) > number
        counts[GAP if is_in_gap else rules.folds[number]][label] += rows
    return counts if any(counts[GAP].values()) else {fold: counts[fold] for fold in rules.folds}
