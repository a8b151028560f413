"""Rows per class and per fold: one Spark scan each, and a bounded table on the driver."""

import math
from collections.abc import Mapping

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.core.columns import SPLIT, col, require_columns
from imbalance_spark.core.errors import ConfigError, DataContractError

Label = bool | int | float | str
"""A class as Spark hands it to Python; the label column is boolean, integer, floating or string."""
MOST_CLASSES = 1000
"""A column with more distinct values than this is no label: refused before they flood the driver."""
_LABEL_TYPES = (T.BooleanType, T.IntegralType, T.FloatType, T.DoubleType, T.StringType)


def count_classes(frame: DataFrame, label: str, stage: str) -> dict[Label, int]:
    """Rows of each class, sorted by class; one scan, at most `MOST_CLASSES` rows collected.

    Raises:
        MissingColumnsError: there is no column `label`.
        DataContractError: no rows, a null or NaN label, a type that cannot be a label, or too many classes.
    """
    return {found: row["n"] for found, row in collect_per_class(frame, label, stage, {}).items()}


def collect_per_class(frame: DataFrame, label: str, stage: str, aggregates: Mapping[str, Column]) -> dict[Label, Row]:
    """One row per class with `n` (its rows) and the named aggregates; raises what `count_classes` raises."""
    check_label(frame, label, stage)
    named = [aggregate.alias(name) for name, aggregate in aggregates.items()]
    per_class = frame.groupBy(col(label).alias("class")).agg(F.count(F.lit(1)).alias("n"), *named)
    # The limit decides nothing: one class too many is an error.
    rows = per_class.limit(MOST_CLASSES + 2).collect()
    refuse_no_label({row["class"]: row["n"] for row in rows}, label, stage)
    if len(rows) > MOST_CLASSES:
        raise DataContractError(
            f"{stage}: column {label!r} has more than {MOST_CLASSES} distinct values. Name the label column."
        )
    return {row["class"]: row for row in sorted(rows, key=lambda row: row["class"])}


def count_splits(frame: DataFrame, label: str) -> dict[str, dict[Label, int]]:
    """Rows of each class in each value of `split`; one scan, folds x classes rows collected.

    Raises:
        MissingColumnsError: there is no column `split` or `label`.
        DataContractError: a null label, or a column whose type cannot be a label.
    """
    require_columns(frame, (SPLIT,), "count_splits")
    return count_folds(frame, col(SPLIT), label, "count_splits")


def count_folds(frame: DataFrame, fold: Column, label: str, stage: str) -> dict[str, dict[Label, int]]:
    """Rows of each class for each value of the expression `fold`; as `count_splits`."""
    check_label(frame, label, stage)
    per_cell = frame.groupBy(fold.alias("fold"), col(label).alias("class")).count()
    rows = per_cell.limit(8 * MOST_CLASSES).collect()
    totals: dict[Label | None, int] = {}
    for row in rows:
        totals[row["class"]] = totals.get(row["class"], 0) + row["count"]
    refuse_no_label(totals, label, stage)
    counts: dict[str, dict[Label, int]] = {}
    for row in sorted(rows, key=lambda row: (str(row["fold"]), row["class"])):
        counts.setdefault(row["fold"], {})[row["class"]] = row["count"]
    return counts


def check_label(frame: DataFrame, label: str, stage: str) -> None:
    """Raise for a label column that is absent or whose type cannot be a label."""
    require_columns(frame, (label,), stage)
    found = frame.schema[label].dataType
    if not isinstance(found, _LABEL_TYPES):
        raise DataContractError(
            f"{stage}: label column {label!r} is {found.simpleString()}; a label is boolean, integer, double or "
            "string. Cast it upstream."
        )


def as_labels(frame: DataFrame, label: str, values: Mapping[Label, float], stage: str) -> dict[Label, float]:
    """The values keyed by class in the column's own type: Spark would compare 1 with true, or with '1', in its own way.

    Raises:
        ConfigError: a class that a column of this type cannot hold.
    """
    found = frame.schema[label].dataType
    if isinstance(found, T.BooleanType):
        converted: dict[Label, float] = {bool(name): value for name, value in values.items() if name in (0, 1)}
    else:
        is_text = isinstance(found, T.StringType)
        converted = {name: value for name, value in values.items() if isinstance(name, str) == is_text}
    if len(converted) < len(values):
        raise ConfigError(
            f"{stage}: label column {label!r} is {found.simpleString()}, so it cannot hold all of {list(values)}."
        )
    return converted


def refuse_no_label(counts: Mapping[Label | None, int], label: str, stage: str) -> None:
    """Raise for an empty table, and for rows without a label, which are counted."""
    total = sum(counts.values())
    if total == 0:
        raise DataContractError(f"{stage}: the input has no rows. Check the source and the filters before this stage.")
    without = sum(n for found, n in counts.items() if found is None or (isinstance(found, float) and math.isnan(found)))
    if without:
        raise DataContractError(
            f"{stage}: {without} of {total} rows have no label (null or NaN) in column {label!r}. "
            "Quarantine them upstream: a row without a class cannot be stratified."
        )


def refuse_one_class(counts: Mapping[Label, int], stage: str) -> None:
    """Raise for data of a single class: there is nothing to separate and nothing to balance."""
    present = {found: n for found, n in counts.items() if n > 0}
    if len(present) < 2:
        raise DataContractError(
            f"{stage}: only one class is present, {show_counts(present)}. At least two classes are "
            "needed: check the label column, its positive label and the filters."
        )


def show_counts(counts: Mapping[Label, int], most: int = 10) -> str:
    """Class counts for a message: `{0: 990 rows, 1: 10 rows}`, ten classes at most."""
    shown = [f"{found!r}: {n} rows" for found, n in list(counts.items())[:most]]
    more = [f"and {len(counts) - most} more"] if len(counts) > most else []
    return "{" + ", ".join([*shown, *more]) + "}"


def of_class(label: str, values: Mapping[Label, int | float], default: int | float) -> Column:
    """For each row the value of its class; `default` for classes without one."""
    found = F.lit(default)
    for name, value in values.items():
        found = F.when(col(label) == F.lit(name), F.lit(value)).otherwise(found)
    return found
