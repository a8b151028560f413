"""What one task counts of its held-out rows for each model, and how the counts are put together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics.binning import invalid_code
from imbalance_spark.metrics.buckets import BUCKETS, COARSE_GRID, BucketCounts
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.grid import INVALID_AMOUNT, FloatArray, IntArray, LogitGrid
from imbalance_spark.scoring.held_out_counts import HeldOutCounts, SegmentCounts

FOLDS = (VALIDATION, TEST)


CALIBRATE, CHOOSE, JUDGE = range(3)
"""Places of a row: the half of validation that calibrates, the half that chooses thresholds, and test."""


FINE, BY_BUCKET, FIRST_SEGMENT = range(3)
"""Kinds of counts; segment column i is kind FIRST_SEGMENT + i."""


SEGMENT_LIMIT = 50
"""Most values of a segment column: each one is counted on all coarse bins."""


SUMS_SCHEMA = (
    "strategy int, kind int, place int, value string, bin int, label int, n bigint, weight double, amount double"
)


KEYS = ("strategy", "kind", "place", "value", "bin", "label")


MEASURES = ("n", "weight", "amount")


_BELOW = -INVALID_AMOUNT  # bins below 0 that count invalid rows


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanRows:
    """A batch without its features. `weight` and `amount` are None where rows have none."""

    fold: IntArray
    """0 is validation, 1 is test."""
    bucket: IntArray
    label: FloatArray
    weight: FloatArray | None
    amount: FloatArray | None
    segments: Sequence[IntArray]
    """For each segment column the number of the row's value, in [0, SEGMENT_LIMIT]."""


class StrategySums:
    """Sums of one strategy's rows; memory is bound by bins, buckets and segments, not by rows."""

    def __init__(self, grid: LogitGrid, segments: int) -> None:
        self._grid = grid
        # A fine bin belongs to the coarse bin that holds its middle, whether the grids nest or not.
        self._coarse = COARSE_GRID.bin_of(grid.value(np.arange(grid.bins)))
        self._fine = _Sums(3 * (grid.bins + _BELOW) * 2)
        self._by_bucket = _Sums(len(FOLDS) * BUCKETS * COARSE_GRID.bins * 2)
        size = len(FOLDS) * (SEGMENT_LIMIT + 1) * COARSE_GRID.bins * 2
        self._by_segment = [_Sums(size) for _ in range(segments)]

    def add(self, rows: ScanRows, score: FloatArray) -> None:
        """Count a batch. Invalid rows are counted below bin 0 of the fine counts and nowhere else."""
        weight = np.ones(len(score)) if rows.weight is None else rows.weight
        weighted = None if rows.amount is None else weight * rows.amount
        code = invalid_code(rows.label, score, weight, rows.amount)
        is_positive = rows.label == 1.0
        bins = np.where(code < 0, code, self._grid.bin_of(score))
        place = np.where(rows.fold == 1, JUDGE, rows.bucket & 1)
        self._fine.add((place * (self._grid.bins + _BELOW) + bins + _BELOW) * 2 + is_positive, weight, weighted)
        valid: Any = slice(None) if not code.any() else code == 0
        coarse = self._coarse[bins[valid]] * 2 + is_positive[valid]
        measures = weight[valid], None if weighted is None else weighted[valid]
        groups = (
            rows.fold * BUCKETS + rows.bucket,
            *(rows.fold * (SEGMENT_LIMIT + 1) + value for value in rows.segments),
        )
        for sums, group in zip((self._by_bucket, *self._by_segment), groups, strict=True):
            sums.add(group[valid] * (COARSE_GRID.bins * 2) + coarse, *measures)

    def batches(self, strategy: int, values: Sequence[Sequence[str | None]]) -> Iterator[pa.RecordBatch]:
        """What was counted, as rows of SUMS_SCHEMA; `values` are the texts of each segment column's numbers."""
        yield self._fine.batch(self._grid.bins + _BELOW, _BELOW, strategy=strategy, kind=FINE)
        yield self._by_bucket.batch(COARSE_GRID.bins, 0, strategy=strategy, kind=BY_BUCKET)
        for number, sums in enumerate(self._by_segment):
            batch = sums.batch(COARSE_GRID.bins, 0, strategy=strategy, kind=FIRST_SEGMENT + number)
            yield _with_values(batch, values[number])


class SegmentValues:
    """Numbers a segment column's values in order of appearance; memory is bound, whatever the column holds."""

    def __init__(self) -> None:
        self._number: dict[str | None, int] = {}

    @property
    def values(self) -> list[str | None]:
        """The values by number. One above the limit is kept, which is enough for the driver to refuse."""
        return list(self._number)

    def numbers(self, column: pa.Array) -> IntArray:
        """Each row's number; all values above the limit share the last one."""
        encoded = pc.dictionary_encode(column, null_encoding="encode")
        numbers = np.array([self._number_of(value) for value in encoded.dictionary.to_pylist()], dtype=np.int64)
        return np.asarray(numbers[encoded.indices.to_numpy()], dtype=np.int64)

    def _number_of(self, value: str | None) -> int:
        if value not in self._number and len(self._number) <= SEGMENT_LIMIT:
            self._number[value] = len(self._number)
        return self._number.get(value, SEGMENT_LIMIT)


class _Sums:
    def __init__(self, size: int) -> None:
        self._n = np.zeros(size, dtype=np.int64)
        self._weight = np.zeros(size)
        self._amount = np.zeros(size)
        self._has_amount = False

    def add(self, slot: IntArray, weight: FloatArray, weighted_amount: FloatArray | None) -> None:
        # Adds at the rows' slots alone; bincount would make an array of all slots for each batch.
        np.add.at(self._n, slot, 1)
        np.add.at(self._weight, slot, weight)
        if weighted_amount is not None:
            self._has_amount = True
            np.add.at(self._amount, slot, weighted_amount)

    def batch(self, bins: int, below: int, *, strategy: int, kind: int) -> pa.RecordBatch:
        slot = np.flatnonzero(self._n)
        columns: dict[str, npt.NDArray[Any]] = {
            "strategy": np.full(len(slot), strategy, dtype=np.int32),
            "kind": np.full(len(slot), kind, dtype=np.int32),
            "place": (slot // (2 * bins)).astype(np.int32),
            "bin": (slot // 2 % bins - below).astype(np.int32),
            "label": (slot % 2).astype(np.int32),
            "n": self._n[slot],
            "weight": self._weight[slot],
            "amount": self._amount[slot] if self._has_amount else np.full(len(slot), np.nan),
        }
        arrays = {name: pa.array(values) for name, values in columns.items()}
        arrays["value"] = pa.nulls(len(slot), pa.string())
        return pa.RecordBatch.from_pydict({name: arrays[name] for name in (*KEYS, *MEASURES)})


def _with_values(batch: pa.RecordBatch, values: Sequence[str | None]) -> pa.RecordBatch:
    """The batch of a segment column: its groups taken apart into fold (`place`) and text of the value."""
    group = batch.column(KEYS.index("place")).to_numpy()
    text = pa.array(values, pa.string()).take(pa.array(group % (SEGMENT_LIMIT + 1)))
    place = pa.array(group // (SEGMENT_LIMIT + 1), pa.int32())
    return batch.set_column(KEYS.index("value"), "value", text).set_column(KEYS.index("place"), "place", place)


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
