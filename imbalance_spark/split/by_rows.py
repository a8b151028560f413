"""Fit a split of single rows: nominal shares by hash, exact counts for classes with few rows."""

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import accumulate

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import Label, collect_per_class
from imbalance_spark.core.columns import col
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.hash_ranks import CutOffSearch, counts_of_folds
from imbalance_spark.split.plan import SplitPlan, fold_number
from imbalance_spark.split.rules import KnownCounts, SplitRules


def fit_rows(orders: DataFrame, rules: SplitRules, known: KnownCounts | None = None) -> SplitPlan:
    """Fit the split in one pass for the counts, and a second one if a class has fewer than `exact_below` rows.

    With the rows of each class known, one pass does for both.
    """
    if known is None:
        per_class = _collect_counts(orders, rules, {})
        search = _search(rules, {label: row["n"] for label, row in per_class.items()})
    else:
        search = _search(rules, known.classes)
        per_class = _collect_counts(orders, rules, search.aggregates())
        known.require({label: row["n"] for label, row in per_class.items()}, rules.purpose)
        search.learn(per_class.__getitem__)
    allotted = _allotted(rules, {label: row["n"] for label, row in per_class.items()})
    by_class = {label: allotted.get(label) or nominal_counts(row, rules) for label, row in per_class.items()}
    return SplitPlan(rules=rules, hash_bounds=search.finish(orders), counts=by_fold(rules, by_class))


def _allotted(rules: SplitRules, totals: Mapping[Label, int]) -> dict[Label, tuple[int, ...]]:
    """Rows in each fold of the classes that get exact counts."""
    return {label: counts_of_folds(n, rules.shares) for label, n in totals.items() if n < rules.exact_below}


def _search(rules: SplitRules, totals: Mapping[Label, int]) -> CutOffSearch:
    ends = {label: tuple(accumulate(counts[:-1])) for label, counts in _allotted(rules, totals).items()}
    return CutOffSearch(col(rules.label), rules.hash(), counts=totals, ranks=ends, stage=rules.purpose)


def _collect_counts(orders: DataFrame, rules: SplitRules, more: Mapping[str, Column]) -> dict[Label, Row]:
    """Per class `n`, `fold_0`, `fold_1` ... (its rows, and those in each fold by nominal shares), and more aggregates.

    Raises:
        DataContractError: rows with a null key, which no hash can distinguish; and as `collect_per_class`.
    """
    number = fold_number(rules.hash(), [F.lit(end) for end in rules.nominal()])
    aggregates = {f"fold_{i}": F.count_if(number == i) for i in range(len(rules.folds))}
    is_without_key = reduce(Column.__and__, [col(name).isNull() for name in rules.key])
    per_class = collect_per_class(
        orders, rules.label, rules.purpose, {**aggregates, "without_key": F.count_if(is_without_key), **more}
    )
    without_key = sum(row["without_key"] for row in per_class.values())
    if without_key:
        raise DataContractError(
            f"{rules.purpose}: {without_key} of {sum(row['n'] for row in per_class.values())} rows have no key (null "
            f"in {list(rules.key)}). Quarantine them upstream: all of them would fall into one fold."
        )
    return per_class


def nominal_counts(row: Row, rules: SplitRules) -> tuple[int, ...]:
    """The counts `fold_0`, `fold_1` ... of a row, in the order of the folds."""
    return tuple(row[f"fold_{i}"] for i in range(len(rules.folds)))


def by_fold(rules: SplitRules, by_class: Mapping[Label, Sequence[int]]) -> dict[str, dict[Label, int]]:
    """Counts per class turned into counts per fold and class."""
    return {fold: {label: counts[i] for label, counts in by_class.items()} for i, fold in enumerate(rules.folds)}
