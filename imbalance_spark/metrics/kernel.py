"""Rows to counts in numpy: what a scan runs on every batch."""

import numpy as np
import numpy.typing as npt

from imbalance_spark.metrics.grid import (
    INVALID_AMOUNT,
    INVALID_LABEL,
    INVALID_SCORE,
    INVALID_WEIGHT,
    FloatArray,
    IntArray,
    LogitGrid,
)

DEFAULT_GRID = LogitGrid()


def bin_counts(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    amounts: npt.ArrayLike | None = None,
    *,
    grid: LogitGrid = DEFAULT_GRID,
) -> dict[str, npt.NDArray[np.generic]]:
    """The rows of one batch as a counts table: only (bin, label) pairs that occur.

    Args:
        labels: 0 or 1 per row, any numeric or boolean type.
        scores: in [0, 1].
        weights: finite and not negative; absent means 1 each.
        amounts: finite and not negative.

    Returns:
        Columns `bin` (int32), `label` (int32), `n` (int64 rows), `weight` (float64, sum of weights), `amount`
        (float64, sum of weight times amount; NaN when no amounts are given). Rows that break a rule are counted
        under the first one's negative bin (INVALID_SCORE, ...), which `ScoreCounts.from_table` refuses.
    """
    label, score, weight, amount = as_columns(labels, scores, weights, amounts)
    code = invalid_code(label, score, weight, amount)
    bin_number = np.where(code < 0, code, grid.bin_of(score))
    slot = (bin_number - INVALID_AMOUNT) * 2 + (label == 1.0)
    rows = np.bincount(slot)
    kept = np.flatnonzero(rows)
    return {
        "bin": (kept // 2 + INVALID_AMOUNT).astype(np.int32),
        "label": (kept % 2).astype(np.int32),
        "n": rows[kept].astype(np.int64),
        "weight": _sums(slot, weight)[kept],
        "amount": np.full(len(kept), np.nan) if amount is None else _sums(slot, weight * amount)[kept],
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
    return np.select([~is_kept for _, is_kept in rules], [code for code, _ in rules], 0)


def describe_invalid(rows_by_code: dict[int, int]) -> list[str]:
    """One sentence for each rule that rows break, with how many break it."""
    rules = {
        INVALID_SCORE: "have a score that is null, NaN or outside [0, 1]",
        INVALID_LABEL: "have a label that is neither 0 nor 1",
        INVALID_WEIGHT: "have a weight that is null, NaN, infinite or negative",
        INVALID_AMOUNT: "have an amount that is null, NaN, infinite or negative",
    }
    return [f"{rows_by_code[code]} rows {rule}" for code, rule in rules.items() if rows_by_code.get(code)]


def _sums(slot: IntArray, values: FloatArray) -> FloatArray:
    # Of an empty batch, bincount makes integers whatever the weights are.
    return np.bincount(slot, values).astype(np.float64)


def _is_measure(values: FloatArray) -> npt.NDArray[np.bool_]:
    return (values >= 0.0) & (values < np.inf)
