"""The rows that a scan brings back, taken apart into counts."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imbalance_spark.errors import DataContractError
from imbalance_spark.held_out import HeldOutCounts, SegmentCounts
from imbalance_spark.metrics.buckets import BUCKETS, COARSE_GRID, BucketCounts
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.grid import IntArray, LogitGrid
from imbalance_spark.scan_sums import (
    BY_BUCKET,
    CALIBRATE,
    CHOOSE,
    FINE,
    FIRST_SEGMENT,
    FOLDS,
    JUDGE,
    SEGMENT_LIMIT,
)

_PLACES = {
    CALIBRATE: "the calibrating half of validation",
    CHOOSE: "the choosing half of validation",
    JUDGE: "test",
}


def held_out_counts(table: pa.Table, grid: LogitGrid, segments: Sequence[str]) -> HeldOutCounts:
    """One strategy's rows of SUMS_SCHEMA as counts; a key that comes twice is added up.

    Raises:
        DataContractError: test or a half of validation has no row, rows whose label, weight or amount cannot be
            counted, or a segment column with more than SEGMENT_LIMIT values.
    """
    fine = _where(table, kind=FINE)
    ScoreCounts.from_table(fine, grid)  # refuses invalid rows of all places in one sentence
    by_bucket = _where(table, kind=BY_BUCKET)
    return HeldOutCounts(
        calibrate=_fine(fine, CALIBRATE, grid),
        choose=_fine(fine, CHOOSE, grid),
        test=_fine(fine, JUDGE, grid),
        buckets={fold: _buckets(by_bucket, number) for number, fold in enumerate(FOLDS)},
        segments={fold: _segments(table, number, segments) for number, fold in enumerate(FOLDS)},
    )


def _where(table: pa.Table, **wanted: int) -> pa.Table:
    for name, value in wanted.items():
        table = table.filter(pc.field(name) == value)
    return table


def _fine(fine: pa.Table, place: int, grid: LogitGrid) -> ScoreCounts:
    table = _where(fine, place=place)
    if not table.num_rows:
        raise DataContractError(
            f"scan: {_PLACES[place]} has no row. A fold is halved by the hash of the group, or of the key "
            "where rows have no group: give the fold more of them."
        )
    return ScoreCounts.from_table(table, grid)


def _buckets(table: pa.Table, fold: int) -> BucketCounts:
    place = table.column("place").to_numpy().astype(np.int64) - fold * BUCKETS
    is_in_fold = (place >= 0) & (place < BUCKETS)
    return _coarse(table.filter(pa.array(is_in_fold)), place[is_in_fold], BUCKETS)


def _segments(table: pa.Table, fold: int, columns: Sequence[str]) -> dict[str, SegmentCounts]:
    return {
        column: _segment(_where(table, kind=FIRST_SEGMENT + number, place=fold), column)
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
