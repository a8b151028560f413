"""Scored rows with the slot that each one is counted in: (bin, label) as one integer, as Column expressions."""

import sys
from collections.abc import Mapping, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.frames import col
from imbalance_spark.metrics.grid import INVALID_AMOUNT, INVALID_LABEL, INVALID_SCORE, INVALID_WEIGHT, LogitGrid

_CODES = {"weight": INVALID_WEIGHT, "amount": INVALID_AMOUNT}
_LARGEST_MEASURE = sys.float_info.max
_SMALLEST, _LARGEST = 1e-300, 1.0 - 2.0**-53  # as in the grid: 0 and 1 have no finite odds
_AWAY_FROM_EDGE = 1e-6
"""In bins. Two libraries' logarithms differ by far less, so that farther from an edge any of them finds the bin."""


def slotted_rows(
    scored: DataFrame,
    *,
    score: str,
    label: str,
    weight: str | None,
    amount: str | None,
    by: Sequence[str],
    grid: LogitGrid,
) -> DataFrame:
    """`by_0..`, `slot` (int), `score`, and, where they are named, `weight` and `amount` (double). Lazy.

    Slot is (bin - INVALID_AMOUNT) * 2 + label: never negative, so that shift and mask take it apart. The bin is that of
    `LogitGrid.bin_of` for every double; invalid rows are in the negative bin of the first rule that they break.
    """
    measures = {name: column for name, column in (("weight", weight), ("amount", amount)) if column is not None}
    kept = [f"by_{i}" for i in range(len(by))] + ["score", *measures]
    value = col(score).cast("double")
    # Each layer computes once what the next one reads more than once: Spark keeps such projections apart.
    with_finite = scored.select(
        *[col(name).alias(f"by_{i}") for i, name in enumerate(by)],
        value.alias("score"),
        col(label).cast("double").alias("label"),
        *[col(column).cast("double").alias(name) for name, column in measures.items()],
        F.greatest(F.least(value, F.lit(_LARGEST)), F.lit(_SMALLEST)).alias("finite"),
    )
    with_place = with_finite.select(*kept, "label", _place(grid).alias("place"))
    return with_place.select(*kept, _slot(list(measures), grid).alias("slot"))


def _place(grid: LogitGrid) -> Column:
    """Where the score lies on the grid, in bins: its whole part is the bin."""
    odds = F.col("finite") / (F.lit(1.0) - F.col("finite"))
    return (F.ln(odds) + F.lit(grid.bound)) * F.lit(grid.bins / (2.0 * grid.bound))


def _slot(measures: Sequence[str], grid: LogitGrid) -> Column:
    place, is_positive = F.col("place"), F.col("label") == 1.0
    inside = F.greatest(F.least(place, F.lit(float(grid.bins - 1))), F.lit(0.0)).cast("int")
    is_near_edge = F.abs(place - F.rint(place)) < F.lit(_AWAY_FROM_EDGE)
    # The grid's own expression compares with the edge itself and costs ten times as much.
    bin_number = F.when(is_near_edge, grid.bin_column(F.col("score"))).otherwise(inside)
    is_score, is_label = F.col("score").between(0.0, 1.0), is_positive | (F.col("label") == 0.0)
    rules = {INVALID_SCORE: is_score, INVALID_LABEL: is_label}
    rules |= {_CODES[name]: F.col(name).between(0.0, _LARGEST_MEASURE) for name in measures}
    is_kept = F.coalesce(reduce(Column.__and__, rules.values()), F.lit(False))
    return F.when(is_kept, _slot_of(bin_number, is_positive)).otherwise(_slot_of(_code(rules), is_positive))


def _slot_of(bin_number: Column, is_positive: Column) -> Column:
    label = F.coalesce(is_positive, F.lit(False)).cast("int")
    return (bin_number - F.lit(INVALID_AMOUNT)) * F.lit(2) + label


def _code(rules: Mapping[int, Column]) -> Column:
    """The code of the first rule that a row breaks."""
    broken = [F.when(~F.coalesce(rule, F.lit(False)), F.lit(code)) for code, rule in rules.items()]
    return F.coalesce(*broken)
