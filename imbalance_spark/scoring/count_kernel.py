"""What one task counts of its held-out rows for each model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.columns import HELD_OUT_FOLDS
from imbalance_spark.metrics.binning import invalid_code
from imbalance_spark.metrics.buckets import BUCKETS, COARSE_GRID
from imbalance_spark.metrics.grid import INVALID_AMOUNT, LogitGrid
from imbalance_spark.threshold.class_rules import ClassRule

CALIBRATION_SET, THRESHOLD_SET, TEST_SET = range(3)
"""Parts of the rows in fine counts: the half of validation that calibrates, the half that chooses thresholds, test."""


FINE, BY_BUCKET, CONFUSION, LOSS, FIRST_SEGMENT = range(5)
"""Kinds of sums; segment column i is kind FIRST_SEGMENT + i."""


SEGMENT_LIMIT = 50
"""Most values of a segment column: each one is counted on all coarse bins."""


SUMS_SCHEMA = (
    "model int, target int, kind int, part int, value string, bin int, label int, n bigint, weight double, "
    "amount double"
)
"""`part` is the set in fine counts, fold * 64 + bucket in counts by bucket, the fold in counts by segment. Confusions
have their cell, and losses their fold * 64 + bucket as `bin`; `value` names the rule, the loss or the segment."""


KEYS = ("model", "target", "kind", "part", "value", "bin", "label")


MEASURES = ("n", "weight", "amount")


LOSSES = ("log_loss", "brier")


_SMALLEST_LOG = -700.0


_BELOW = -INVALID_AMOUNT  # bins below 0 that count invalid rows


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanRows:
    """A batch without its features. `weight` and `amount` are None where rows have none."""

    fold: IntArray
    """0 is validation, 1 is test."""
    bucket: IntArray
    label: FloatArray
    """Class number."""
    weight: FloatArray | None
    amount: FloatArray | None
    segments: Sequence[IntArray]
    """For each segment column the number of the row's value, in [0, SEGMENT_LIMIT]."""

    def only(self, rows: IntArray) -> Self:
        """The rows at these positions."""
        return replace(
            self,
            fold=self.fold[rows],
            bucket=self.bucket[rows],
            label=self.label[rows],
            weight=None if self.weight is None else self.weight[rows],
            amount=None if self.amount is None else self.amount[rows],
            segments=[values[rows] for values in self.segments],
        )

    def against_rest(self, k: int, classes: int) -> Self:
        """The same rows with label 1 where they are of class k, else 0; a label that is not a class stays invalid."""
        return replace(self, label=np.where(is_class(self.label, classes), self.label == k, np.nan))


def is_class(label: FloatArray, classes: int) -> npt.NDArray[np.bool_]:
    """Which labels are class numbers."""
    return np.asarray((label >= 0.0) & (label < classes) & (np.rint(label) == label), dtype=np.bool_)


class ModelSums:
    """Sums of one model's rows; memory is bound by targets, bins, buckets, segments and rules, not by rows.

    Args:
        targets: 1, or the number of classes.
        grid: of the scores; None where only decisions are counted.
        segments: number of segment columns.
        rules: of K classes, whose decisions are counted.
    """

    def __init__(self, *, targets: int, grid: LogitGrid | None, segments: int, rules: Mapping[str, ClassRule]) -> None:
        self._targets = [] if grid is None else [_TargetSums(grid, segments) for _ in range(targets)]
        self._decisions = None if targets == 1 else _DecisionSums(rules, targets)
        self._classes = targets

    def add(self, rows: ScanRows, scores: FloatArray) -> None:
        """Count a batch.

        Args:
            scores: of one target its probability, shape (rows,); of K classes ln p, shape (rows, K).
        """
        if self._decisions is None:
            self._targets[0].add(rows, scores)
            return
        self._decisions.add(rows, scores)
        for k, target in enumerate(self._targets):
            target.add(rows.against_rest(k, self._classes), np.exp(scores[:, k]))

    def batches(self, model: int, values: Sequence[Sequence[str | None]]) -> Iterator[pa.RecordBatch]:
        """What was counted, as rows of SUMS_SCHEMA; `values` are the texts of each segment column's numbers."""
        for number, target in enumerate(self._targets):
            yield from target.batches(values, model=model, target=number)
        if self._decisions is not None:
            yield from self._decisions.batches(model)


class _TargetSums:
    def __init__(self, grid: LogitGrid, segments: int) -> None:
        self._grid = grid
        # A fine bin belongs to the coarse bin that holds its middle, whether the grids nest or not.
        self._coarse = COARSE_GRID.bin_of(grid.value(np.arange(grid.bins)))
        self._fine = _Sums(3 * (grid.bins + _BELOW) * 2)
        self._by_bucket = _Sums(len(HELD_OUT_FOLDS) * BUCKETS * COARSE_GRID.bins * 2)
        size = len(HELD_OUT_FOLDS) * (SEGMENT_LIMIT + 1) * COARSE_GRID.bins * 2
        self._by_segment = [_Sums(size) for _ in range(segments)]

    def add(self, rows: ScanRows, score: FloatArray) -> None:
        """Count a batch. Invalid rows are counted below bin 0 of the fine counts and nowhere else."""
        weight = np.ones(len(score)) if rows.weight is None else rows.weight
        weighted = None if rows.amount is None else weight * rows.amount
        code = invalid_code(rows.label, score, weight, rows.amount)
        is_positive = rows.label == 1.0
        bins = np.where(code < 0, code, self._grid.bin_of(score))
        part = np.where(rows.fold == 1, TEST_SET, rows.bucket & 1)
        self._fine.add((part * (self._grid.bins + _BELOW) + bins + _BELOW) * 2 + is_positive, weight, weighted)
        valid: Any = slice(None) if not code.any() else code == 0
        coarse = self._coarse[bins[valid]] * 2 + is_positive[valid]
        measures = weight[valid], None if weighted is None else weighted[valid]
        groups = (
            rows.fold * BUCKETS + rows.bucket,
            *(rows.fold * (SEGMENT_LIMIT + 1) + value for value in rows.segments),
        )
        for sums, group in zip((self._by_bucket, *self._by_segment), groups, strict=True):
            sums.add(group[valid] * (COARSE_GRID.bins * 2) + coarse, *measures)

    def batches(self, values: Sequence[Sequence[str | None]], **ids: int) -> Iterator[pa.RecordBatch]:
        yield _score_batch(self._fine, self._grid.bins + _BELOW, _BELOW, kind=FINE, **ids)
        yield _score_batch(self._by_bucket, COARSE_GRID.bins, 0, kind=BY_BUCKET, **ids)
        for number, sums in enumerate(self._by_segment):
            batch = _score_batch(sums, COARSE_GRID.bins, 0, kind=FIRST_SEGMENT + number, **ids)
            yield _with_values(batch, values[number])


class _DecisionSums:
    """Confusions of one model's rules, and its losses."""

    def __init__(self, rules: Mapping[str, ClassRule], classes: int) -> None:
        self._rules, self._classes = rules, classes
        parts = len(HELD_OUT_FOLDS) * BUCKETS
        self._confusions = {name: _Sums(parts * classes**2) for name in rules}
        self._losses = {name: np.zeros(parts) for name in LOSSES}

    def add(self, rows: ScanRows, logs: FloatArray) -> None:
        valid = is_class(rows.label, self._classes)  # the fine counts refuse the others
        logs, label, p = logs[valid], rows.label[valid].astype(np.int64), np.exp(logs[valid])
        weight = np.ones(len(label)) if rows.weight is None else rows.weight[valid]
        part = (rows.fold * BUCKETS + rows.bucket)[valid]
        for name, rule in self._rules.items():
            self._confusions[name].add((part * self._classes + label) * self._classes + rule.decide(p), weight, None)
        of_true = logs[np.arange(len(label)), label]
        # Sum of squares of p, with the true class's p replaced by 1 - p.
        brier = (p**2).sum(axis=1) - 2.0 * np.exp(of_true) + 1.0
        for name, loss in zip(LOSSES, (-np.maximum(of_true, _SMALLEST_LOG), brier), strict=True):
            np.add.at(self._losses[name], part, weight * loss)

    def batches(self, model: int) -> Iterator[pa.RecordBatch]:
        for name, sums in self._confusions.items():
            cell, measures = sums.occupied()
            yield sums_batch(len(cell), name, model=model, kind=CONFUSION, bin=cell, **measures)
        for name, losses in self._losses.items():
            yield sums_batch(len(losses), name, model=model, kind=LOSS, bin=np.arange(len(losses)), weight=losses)


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

    def occupied(self) -> tuple[IntArray, dict[str, npt.NDArray[Any]]]:
        """Slots that hold a row, and their sums by measure."""
        slot = np.flatnonzero(self._n)
        sums = {"n": self._n[slot], "weight": self._weight[slot]}
        return slot, {**sums, "amount": self._amount[slot]} if self._has_amount else sums


def _score_batch(sums: _Sums, bins: int, below: int, **ids: Any) -> pa.RecordBatch:
    slot, measures = sums.occupied()
    columns = {"part": slot // (2 * bins), "bin": slot // 2 % bins - below, "label": slot % 2, **measures, **ids}
    return sums_batch(len(slot), None, **columns)


def sums_batch(rows: int, value: str | None, **columns: Any) -> pa.RecordBatch:
    """Rows of SUMS_SCHEMA; numbers that are not given are 0, an amount is NaN."""
    arrays = {name: pa.array(np.broadcast_to(columns.get(name, 0), rows).astype(np.int32)) for name in KEYS}
    arrays["value"] = pa.nulls(rows, pa.string()) if value is None else pa.array([value] * rows)
    for name, (kind, absent) in {"n": (np.int64, 0), "weight": (np.float64, 0), "amount": (np.float64, np.nan)}.items():
        arrays[name] = pa.array(np.broadcast_to(columns.get(name, absent), rows).astype(kind))
    return pa.RecordBatch.from_pydict({name: arrays[name] for name in (*KEYS, *MEASURES)})


def _with_values(batch: pa.RecordBatch, values: Sequence[str | None]) -> pa.RecordBatch:
    """The batch of a segment column: its groups taken apart into the fold and the text of the value."""
    group = batch.column(KEYS.index("part")).to_numpy()
    text = pa.array(values, pa.string()).take(pa.array(group % (SEGMENT_LIMIT + 1)))
    fold = pa.array(group // (SEGMENT_LIMIT + 1), pa.int32())
    return batch.set_column(KEYS.index("value"), "value", text).set_column(KEYS.index("part"), "part", fold)


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
