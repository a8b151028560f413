"""The sums that tasks counted, put together into one model's counts."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.columns import HELD_OUT_FOLDS
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics.buckets import BUCKETS, COARSE_GRID, BucketCounts
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.grid import INVALID_LABEL, LogitGrid
from imbalance_spark.scoring.count_kernel import (
    BY_BUCKET,
    CALIBRATION_SET,
    CONFUSION,
    FINE,
    FIRST_SEGMENT,
    LOSS,
    LOSSES,
    SEGMENT_LIMIT,
    TEST_SET,
    THRESHOLD_SET,
)
from imbalance_spark.scoring.held_out_counts import Confusions, HeldOutCounts, SegmentCounts, TargetCounts


def held_out_counts(
    sums: pa.Table, *, targets: int, grid: LogitGrid, segments: Sequence[str], rules: Sequence[str] = ()
) -> HeldOutCounts:
    """One model's rows of SUMS_SCHEMA as counts; a key that comes twice is added up.

    Raises:
        DataContractError: test or a half of validation has no row, rows whose label, weight or amount cannot be
            counted, or a segment column with more than SEGMENT_LIMIT values.
    """
    is_score = (pc.field("kind") != CONFUSION) & (pc.field("kind") != LOSS)
    scores = sums.filter(is_score)
    if targets > 1:
        _refuse_labels(_where(scores, kind=FINE, target=0), targets)
    return HeldOutCounts(
        targets=tuple(_target_counts(_where(scores, target=k), grid, segments) for k in range(targets)),
        confusions=confusions(sums, targets, rules),
        losses=_losses(sums) if targets > 1 else {},
    )


def counts_by_target(sums: pa.Table, *, targets: int, grid: LogitGrid) -> tuple[tuple[ScoreCounts, BucketCounts], ...]:
    """One model's rows of SUMS_SCHEMA: of each target its counts, all halves together, and those by hash bucket.

    Raises:
        DataContractError: there is no row, or one whose label, weight or amount cannot be counted.
    """
    scores = [_where(sums, target=k) for k in range(targets)]
    return tuple(
        (ScoreCounts.from_table(_where(one, kind=FINE), grid), _buckets(_where(one, kind=BY_BUCKET), 0))
        for one in scores
    )


def _refuse_labels(fine: pa.Table, classes: int) -> None:
    rows = pc.sum(_where(fine, bin=INVALID_LABEL).column("n")).as_py()
    if rows:
        raise DataContractError(
            f"scan: {rows} rows have a label that is not a class number, 0 to {classes - 1}. Quarantine these rows."
        )


def confusions(sums: pa.Table, classes: int, rules: Sequence[str]) -> dict[str, Confusions]:
    """Confusion counts by rule, from one model's rows of SUMS_SCHEMA."""
    counted, by_rule = _where(sums, kind=CONFUSION), {}
    for rule in rules:
        of_rule = counted.filter(pc.field("value") == rule)
        cell, rows, weight = (of_rule.column(name).to_numpy() for name in ("bin", "n", "weight"))
        by_rule[rule] = Confusions.of_cells(cell, rows, weight, classes)
    return by_rule


def _losses(sums: pa.Table) -> dict[str, FloatArray]:
    counted, losses = _where(sums, kind=LOSS), {}
    for name in LOSSES:
        of_loss = counted.filter(pc.field("value") == name)
        part, weight = of_loss.column("bin").to_numpy(), of_loss.column("weight").to_numpy()
        losses[name] = np.bincount(part, weight, minlength=len(HELD_OUT_FOLDS) * BUCKETS).astype(np.float64)
    return losses


_SETS = {
    CALIBRATION_SET: "the calibration half of validation",
    THRESHOLD_SET: "the threshold half of validation",
    TEST_SET: "test",
}


def _target_counts(table: pa.Table, grid: LogitGrid, segments: Sequence[str]) -> TargetCounts:
    fine = _where(table, kind=FINE)
    ScoreCounts.from_table(fine, grid)  # refuses invalid rows of all sets in one sentence
    by_bucket = _where(table, kind=BY_BUCKET)
    return TargetCounts(
        calibrate=_fine(fine, CALIBRATION_SET, grid),
        choose=_fine(fine, THRESHOLD_SET, grid),
        test=_fine(fine, TEST_SET, grid),
        buckets={fold: _buckets(by_bucket, number) for number, fold in enumerate(HELD_OUT_FOLDS)},
        segments={fold: _segments(table, number, segments) for number, fold in enumerate(HELD_OUT_FOLDS)},
    )


def _where(table: pa.Table, **wanted: int) -> pa.Table:
    for name, value in wanted.items():
        table = table.filter(pc.field(name) == value)
    return table


def _fine(fine: pa.Table, part: int, grid: LogitGrid) -> ScoreCounts:
    table = _where(fine, part=part)
    if not table.num_rows:
        raise DataContractError(
            f"scan: {_SETS[part]} has no row. A fold is halved by the hash of the group, or of the key "
            "where rows have no group: give the fold more of them."
        )
    return ScoreCounts.from_table(table, grid)


def _buckets(table: pa.Table, fold: int) -> BucketCounts:
    bucket = table.column("part").to_numpy().astype(np.int64) - fold * BUCKETS
    is_in_fold = (bucket >= 0) & (bucket < BUCKETS)
    return _coarse(table.filter(pa.array(is_in_fold)), bucket[is_in_fold], BUCKETS)


def _segments(table: pa.Table, fold: int, columns: Sequence[str]) -> dict[str, SegmentCounts]:
    return {
        column: _segment(_where(table, kind=FIRST_SEGMENT + number, part=fold), column)
        for number, column in enumerate(columns)
    }


def _segment(table: pa.Table, column: str) -> SegmentCounts:
    found = pc.unique(table.column("value")).to_pylist()
    if len(found) > SEGMENT_LIMIT:
        raise DataContractError(
            f"scan: segment column {column!r} has more than {SEGMENT_LIMIT} values. "
            "Give a column of few values: band numbers, join rare texts into one, or leave the column out."
        )
    # Null last; the order is that of the texts, whatever partition came first.
    values = sorted(found, key=lambda value: (value is None, value or ""))
    number = {value: i for i, value in enumerate(values)}
    group = np.array([number[value] for value in table.column("value").to_pylist()], dtype=np.int64)
    return SegmentCounts(values=tuple(values), counts=_coarse(table, group, len(values)))


def _coarse(table: pa.Table, group: IntArray, size: int) -> BucketCounts:
    column = {name: table.column(name).to_numpy() for name in ("bin", "label", "n", "weight", "amount")}
    slot = (group * COARSE_GRID.bins + column["bin"]) * 2 + column["label"]
    amount = None if np.isnan(column["amount"]).all() else column["amount"]
    return BucketCounts.of_slots(slot, column["n"], column["weight"], amount, size=size, grid=COARSE_GRID)
