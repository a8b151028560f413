"""Fit a split of whole groups, stratified by each group's rarest class."""

import logging
from collections.abc import Sequence
from itertools import accumulate

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import Label, count_classes, of_class
from imbalance_spark.core.columns import col
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.hash_ranks import counts_of_folds
from imbalance_spark.split.plan import SplitPlan, fold_number
from imbalance_spark.split.rules import KnownCounts, SplitRules

logger = logging.getLogger(__name__)

_LARGE_SHARE = 0.2
"""With a group of more than this share of the rows, folds miss the requested fractions."""


def fit_groups(orders: DataFrame, rules: SplitRules, known: KnownCounts | None = None) -> SplitPlan:
    """Fit the split in two passes: class counts, and one that makes a row of each group; with known counts in one.

    A group's stratum is its rarest class, by rows over all data. In a stratum of fewer than
    `exact_below` groups each fold gets its largest-remainder count of groups; for that, about 1 %
    of them move out of the fold of their hash. Only those are collected. While the split is fitted, executors keep the
    groups on disk.
    """
    totals = count_classes(orders, rules.label, rules.purpose) if known is None else known.classes
    by_rarity = sorted(totals, key=lambda label: totals[label])
    groups = _groups(orders, rules, by_rarity).persist(StorageLevel.DISK_ONLY)
    try:
        cells = _collect_cells(groups, by_rarity)
        _check_groups(cells, rules, by_rarity, sum(totals.values()))
        moved = _collect_moved(groups, rules, cells)
    finally:
        groups.unpersist()
    counts = _counts(cells, moved, rules, by_rarity)
    if known is not None:
        known.require({label: sum(fold[label] for fold in counts.values()) for label in by_rarity}, rules.purpose)
    return SplitPlan(rules=rules, moved_groups={row["hash"]: rules.folds[row["fold"]] for row in moved}, counts=counts)


def _groups(orders: DataFrame, rules: SplitRules, by_rarity: Sequence[Label]) -> DataFrame:
    """One row per group: hash, stratum (index in `by_rarity`), nominal fold, and its rows per class."""
    stratum = of_class(rules.label, {label: i for i, label in enumerate(by_rarity)}, len(by_rarity))
    per_class = [F.count_if(col(rules.label) == F.lit(label)).alias(f"rows_{i}") for i, label in enumerate(by_rarity)]
    groups = orders.groupBy(rules.hash().alias("hash")).agg(
        F.min(stratum).alias("stratum"), F.count(F.lit(1)).alias("n"), *per_class
    )  # fmt: skip
    nominal = fold_number(F.col("hash"), [F.lit(end) for end in rules.nominal()])
    return groups.select("*", nominal.alias("nominal"))


def _collect_cells(groups: DataFrame, by_rarity: Sequence[Label]) -> list[Row]:
    """One row for each stratum and nominal fold: groups, rows and groups per class, largest group."""
    per_class = [
        column
        for i in range(len(by_rarity))
        for column in (
            F.sum(f"rows_{i}").alias(f"rows_{i}"),
            F.count_if(F.col(f"rows_{i}") > 0).alias(f"groups_{i}"),
        )
    ]
    cells = groups.groupBy("stratum", "nominal").agg(
        F.count(F.lit(1)).alias("groups"), F.max("n").alias("largest"), *per_class
    )
    return cells.collect()


def _check_groups(cells: Sequence[Row], rules: SplitRules, by_rarity: Sequence[Label], rows: int) -> None:
    problems = []
    for i, label in enumerate(by_rarity):
        holding = sum(cell[f"groups_{i}"] for cell in cells)
        if holding < len(rules.folds):
            problems.append(
                f"{rules.purpose}: class {label!r} is in {holding} groups of {list(rules.group)}, fewer than the "
                f"{len(rules.folds)} folds, "
                "so a fold has none of it. Use more data, fewer folds, or a finer group."
            )
    if problems:
        raise DataContractError.of_all(problems)
    largest = max(cell["largest"] for cell in cells)
    if largest > _LARGE_SHARE * rows:
        logger.warning(
            "%s: one group of %s has %.0f %% of all rows; folds are whole groups, so the fractions of rows cannot be "
            "met",
            rules.purpose, list(rules.group), 100 * largest / rows,
        )  # fmt: skip


def _collect_moved(groups: DataFrame, rules: SplitRules, cells: Sequence[Row]) -> list[Row]:
    """The groups of small strata whose fold by rank is not the nominal one: about sqrt(groups) per stratum.

    At most strata x `exact_below` rows; each has hash, fold, nominal and its rows per class.
    """
    sizes: dict[int, int] = {}
    for cell in cells:
        sizes[cell["stratum"]] = sizes.get(cell["stratum"], 0) + cell["groups"]
    small = {stratum: n for stratum, n in sizes.items() if n < rules.exact_below}
    if not small:
        return []
    # A window by stratum is safe: a small stratum has fewer than exact_below groups.
    by_hash = Window.partitionBy("stratum").orderBy("hash").rowsBetween(Window.unboundedPreceding, Window.currentRow)
    rank = F.count(F.lit(1)).over(by_hash) - 1
    ends = {stratum: tuple(accumulate(counts_of_folds(n, rules.shares)[:-1])) for stratum, n in small.items()}
    by_rank = fold_number(F.col("rank"), [_of_stratum(ends, i) for i in range(len(rules.folds) - 1)])
    ranked = groups.where(F.col("stratum").isin(list(small))).select("*", rank.alias("rank"))
    return ranked.select("*", by_rank.alias("fold")).where(F.col("fold") != F.col("nominal")).collect()


def _of_stratum(ends: dict[int, tuple[int, ...]], number: int) -> Column:
    return of_class("stratum", {stratum: cuts[number] for stratum, cuts in ends.items()}, 0)


def _counts(
    cells: Sequence[Row], moved: Sequence[Row], rules: SplitRules, by_rarity: Sequence[Label]
) -> dict[str, dict[Label, int]]:
    """Rows per fold and class: the nominal ones, adjusted for the groups that moved."""
    counts = {fold: dict.fromkeys(sorted(by_rarity), 0) for fold in rules.folds}
    for i, label in enumerate(by_rarity):
        for cell in cells:
            counts[rules.folds[cell["nominal"]]][label] += cell[f"rows_{i}"]
        for group in moved:
            counts[rules.folds[group["nominal"]]][label] -= group[f"rows_{i}"]
            counts[rules.folds[group["fold"]]][label] += group[f"rows_{i}"]
    return counts
