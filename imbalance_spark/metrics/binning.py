"""Scores to bins and sums, in NumPy and in Spark, bit for bit the same."""

import sys
from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.arrays import LARGEST_PROBABILITY, SMALLEST_PROBABILITY, FloatArray, IntArray
from imbalance_spark.core.columns import col
from imbalance_spark.metrics.grid import (
    INVALID_AMOUNT,
    INVALID_LABEL,
    INVALID_SCORE,
    INVALID_WEIGHT,
    LogitGrid,
)

DEFAULT_GRID = LogitGrid()
_CODES = {"weight": INVALID_WEIGHT, "amount": INVALID_AMOUNT}
_LARGEST_MEASURE = sys.float_info.max

_AWAY_FROM_EDGE = 1e-6
"""In bins. The logarithms of two libraries differ by far less, so farther from an edge both find the same bin."""


def bin_counts(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    amounts: npt.ArrayLike | None = None,
    *,
    grid: LogitGrid = DEFAULT_GRID,
) -> dict[str, npt.NDArray[np.generic]]:
    """Count the rows of one batch by bin and label; only pairs that occur.

    Args:
        labels: 0 or 1 per row, any numeric or boolean type.
        scores: in [0, 1].
        weights: finite and not negative; None means 1 each.
        amounts: finite and not negative.

    Returns:
        Columns `bin` (int32), `label` (int32), `n` (int64 rows), `weight` (float64, sum of weights), `amount`
        (float64, sum of weight times amount; NaN if no amounts are given). Rows that break a rule are counted
        under the first one's negative bin (INVALID_SCORE, ...), which `ScoreCounts.from_table` refuses.
    """
    label, score, weight, amount = as_columns(labels, scores, weights, amounts)
    code = invalid_code(label, score, weight, amount)
    bin_number = np.where(code < 0, code, grid.bin_of(score))
    slot = (bin_number - INVALID_AMOUNT) * 2 + (label == 1.0)
    rows = np.bincount(slot)
    occupied = np.flatnonzero(rows)
    return {
        "bin": (occupied // 2 + INVALID_AMOUNT).astype(np.int32),
        "label": (occupied % 2).astype(np.int32),
        "n": rows[occupied].astype(np.int64),
        "weight": _sums(slot, weight)[occupied],
        "amount": np.full(len(occupied), np.nan) if amount is None else _sums(slot, weight * amount)[occupied],
    }


def as_columns(
    labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None, amounts: npt.ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray | None]:
    """The four inputs as float64, weights filled with 1; a masked or missing value is NaN."""
    label, score = (np.asarray(column, dtype=np.float64) for column in (labels, scores))
    weight = np.ones(len(score)) if weights is None else np.asarray(weights, dtype=np.float64)
    return label, score, weight, None if amounts is None else np.asarray(amounts, dtype=np.float64)


def invalid_code(label: FloatArray, score: FloatArray, weight: FloatArray, amount: FloatArray | None) -> IntArray:
    """For each row the negative code of the first rule that it breaks, or 0."""
    rules = [
        (INVALID_SCORE, (score >= 0.0) & (score <= 1.0)),
        (INVALID_LABEL, (label == 0.0) | (label == 1.0)),
        (INVALID_WEIGHT, _is_measure(weight)),
        *([] if amount is None else [(INVALID_AMOUNT, _is_measure(amount))]),
    ]
    return np.select([~is_met for _, is_met in rules], [code for code, _ in rules], 0)


def describe_invalid(rows_by_code: dict[int, int]) -> list[str]:
    """One clause for each broken rule, with its number of rows."""
    rules = {
        INVALID_SCORE: "have a score that is null, NaN or outside [0, 1]",
        INVALID_LABEL: "have a label that is neither 0 nor 1",
        INVALID_WEIGHT: "have a weight that is null, NaN, infinite or negative",
        INVALID_AMOUNT: "have an amount that is null, NaN, infinite or negative",
    }
    return [f"{rows_by_code[code]} rows {rule}" for code, rule in rules.items() if rows_by_code.get(code)]


def _sums(slot: IntArray, values: FloatArray) -> FloatArray:
    # For an empty batch, bincount returns integers whatever the weights are.
    return np.bincount(slot, values).astype(np.float64)


def _is_measure(values: FloatArray) -> npt.NDArray[np.bool_]:
    return (values >= 0.0) & (values < np.inf)


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

    Slot is (bin - INVALID_AMOUNT) * 2 + label: never negative, so shift and mask separate the two. The bin is that of
    `LogitGrid.bin_of` for every double; invalid rows are in the negative bin of the first rule that they break.
    """
    measures = {name: column for name, column in (("weight", weight), ("amount", amount)) if column is not None}
    passed = [f"by_{i}" for i in range(len(by))] + ["score", *measures]
    value = col(score).cast("double")
    # One projection per step: Spark keeps them apart, so a value that is read several times is computed once.
    with_finite = scored.select(
        *[col(name).alias(f"by_{i}") for i, name in enumerate(by)],
        value.alias("score"),
        col(label).cast("double").alias("label"),
        *[col(column).cast("double").alias(name) for name, column in measures.items()],
        F.greatest(F.least(value, F.lit(LARGEST_PROBABILITY)), F.lit(SMALLEST_PROBABILITY)).alias("finite"),
    )
    with_position = with_finite.select(*passed, "label", _position(grid).alias("position"))
    return with_position.select(*passed, _slot(list(measures), grid).alias("slot"))


def _position(grid: LogitGrid) -> Column:
    """Position of the score on the grid, in bins: its integer part is the bin."""
    odds = F.col("finite") / (F.lit(1.0) - F.col("finite"))
    return (F.ln(odds) + F.lit(grid.bound)) * F.lit(grid.bins / (2.0 * grid.bound))


def _slot(measures: Sequence[str], grid: LogitGrid) -> Column:
    position, is_positive = F.col("position"), F.col("label") == 1.0
    inside = F.greatest(F.least(position, F.lit(float(grid.bins - 1))), F.lit(0.0)).cast("int")
    is_near_edge = F.abs(position - F.rint(position)) < F.lit(_AWAY_FROM_EDGE)
    # The exact expression of the grid costs ten times as much.
    bin_number = F.when(is_near_edge, grid.bin_column(F.col("score"))).otherwise(inside)
    is_score, is_label = F.col("score").between(0.0, 1.0), is_positive | (F.col("label") == 0.0)
    rules = {INVALID_SCORE: is_score, INVALID_LABEL: is_label}
    rules |= {_CODES[name]: F.col(name).between(0.0, _LARGEST_MEASURE) for name in measures}
    is_valid = F.coalesce(reduce(Column.__and__, rules.values()), F.lit(False))
    return F.when(is_valid, _slot_of(bin_number, is_positive)).otherwise(_slot_of(_code(rules), is_positive))


def _slot_of(bin_number: Column, is_positive: Column) -> Column:
    label = F.coalesce(is_positive, F.lit(False)).cast("int")
    return (bin_number - F.lit(INVALID_AMOUNT)) * F.lit(2) + label


def _code(rules: Mapping[int, Column]) -> Column:
    """The code of the first rule that a row breaks."""
    broken = [F.when(~F.coalesce(rule, F.lit(False)), F.lit(code)) for code, rule in rules.items()]
    return F.coalesce(*broken)
