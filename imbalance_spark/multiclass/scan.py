"""Counts of every strategy's classes and decisions, from one pass over the margins."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.calibration.temperature import ClassProbabilities
from imbalance_spark.metrics.buckets import BUCKETS
from imbalance_spark.metrics.grid import FloatArray, IntArray, LogitGrid
from imbalance_spark.multiclass.held_out import ClassHeldOut, Confusions
from imbalance_spark.multiclass.margins import BUCKET, FOLD, margins_of
from imbalance_spark.orders.model_inputs import LABEL, ROW_WEIGHT
from imbalance_spark.scoring.boosters import ArrowFunction, column_of
from imbalance_spark.scoring.count_kernel import KEYS, MEASURES, SUMS_SCHEMA, ScanRows, StrategySums, held_out_counts
from imbalance_spark.threshold.class_rules import Rule

_CONFUSION, _LOSS = -1, -2


_SMALLEST_LOG = -700.0


@dataclass(frozen=True, kw_only=True)
class CountedModel:
    """What is counted of one contender: its probabilities, and what each rule makes of them."""

    probabilities: ClassProbabilities
    rules: Mapping[str, Rule] = field(default_factory=dict)


def count_classes(
    margins: DataFrame, models: Mapping[str, CountedModel], *, classes: int, grid: LogitGrid, has_weight: bool
) -> dict[str, ClassHeldOut]:
    """One-vs-rest counts of each class, losses, and the confusions of the models' rules, from one pass.

    What comes back is bound by models x classes x bins, see `scan_held_out`, and 128 x K x K cells a rule.

    Args:
        margins: see `held_out_margins`. models: in the order of its columns, each with a rule at least.
    Raises:
        DataContractError: test or a half of validation has no row, or a label or weight cannot be counted.
    """
    table = _counted(margins, list(models.values()), classes, grid, has_weight)
    return {
        name: ClassHeldOut(
            by_class=tuple(
                held_out_counts(table.filter(pc.field("strategy") == number * classes + k), grid, ())
                for k in range(classes)
            ),
            confusions=_confusions(table, number, model, classes),
            losses=_losses(table, number),
        )
        for number, (name, model) in enumerate(models.items())
    }


def count_decisions(
    margins: DataFrame, models: Mapping[str, CountedModel], *, classes: int, has_weight: bool
) -> dict[str, dict[str, Confusions]]:
    """By model and rule, who was taken for whom; one pass over the margins.

    Args:
        models: in the order of the margins' columns.
    """
    table = _counted(margins, list(models.values()), classes, None, has_weight)
    return {name: _confusions(table, number, model, classes) for number, (name, model) in enumerate(models.items())}


def _counted(
    margins: DataFrame, models: Sequence[CountedModel], classes: int, grid: LogitGrid | None, has_weight: bool
) -> pa.Table:
    parts = margins.mapInArrow(_sum_partition(models, classes, grid, has_weight), SUMS_SCHEMA)
    return parts.groupBy(*KEYS).agg(*[F.sum(name).alias(name) for name in MEASURES]).toArrow()


def _sum_partition(
    models: Sequence[CountedModel], classes: int, grid: LogitGrid | None, has_weight: bool
) -> ArrowFunction:
    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        decided = [_Decided(model, classes) for model in models]
        scored = [[StrategySums(grid, 0) for _ in range(classes)] if grid is not None else [] for _ in models]
        for batch in batches:
            if not batch.num_rows:
                continue
            rows = _rows(batch, has_weight)
            for number, model in enumerate(models):
                logs = model.probabilities.logs_of_margins(margins_of(batch, number))
                decided[number].add(rows, logs)
                for k, sums in enumerate(scored[number]):
                    sums.add(_against_rest(rows, k), np.exp(logs[:, k]))
        for number, found in enumerate(decided):
            yield found.batch(number)
            for k, sums in enumerate(scored[number]):
                yield from sums.batches(number * classes + k, [])

    return count


class _Decided:
    """Confusions and losses of one model; memory is bound by classes and rules, not by rows."""

    def __init__(self, model: CountedModel, classes: int) -> None:
        self._rules, self._classes = model.rules, classes
        size = 2 * BUCKETS * classes**2
        self._sums = {name: (np.zeros(size, dtype=np.int64), np.zeros(size)) for name in model.rules}
        self._losses = {name: np.zeros(2 * BUCKETS) for name in ("log_loss", "brier")}

    def add(self, rows: ScanRows, logs: FloatArray) -> None:
        p, label = np.exp(logs), rows.label.astype(np.int64)
        weight = np.ones(len(label)) if rows.weight is None else rows.weight
        place = rows.fold * BUCKETS + rows.bucket
        for name, rule in self._rules.items():
            cell = (place * self._classes + label) * self._classes + rule.decide(p)
            np.add.at(self._sums[name][0], cell, 1)
            np.add.at(self._sums[name][1], cell, weight)
        of_true = logs[np.arange(len(label)), label]
        np.add.at(self._losses["log_loss"], place, -weight * np.maximum(of_true, _SMALLEST_LOG))
        # Sum of squares of p, with the true class's p replaced by 1 - p.
        np.add.at(self._losses["brier"], place, weight * ((p**2).sum(axis=1) - 2.0 * np.exp(of_true) + 1.0))

    def batch(self, number: int) -> pa.RecordBatch:
        kinds: list[tuple[int, str, IntArray, Any, Any]] = []
        for name, (n, weight) in self._sums.items():
            cell = np.flatnonzero(n)
            kinds.append((_CONFUSION, name, cell, n[cell], weight[cell]))
        for name, sums in self._losses.items():
            kinds.append((_LOSS, name, np.arange(len(sums)), np.zeros(len(sums), dtype=np.int64), sums))
        size = [len(cell) for _, _, cell, _, _ in kinds]
        columns = {
            "strategy": np.full(sum(size), number, dtype=np.int32),
            "kind": np.repeat([kind for kind, *_ in kinds], size).astype(np.int32),
            "place": np.zeros(sum(size), dtype=np.int32),
            "value": np.repeat([name for _, name, *_ in kinds], size),
            "bin": np.concatenate([cell for _, _, cell, _, _ in kinds]).astype(np.int32),
            "label": np.zeros(sum(size), dtype=np.int32),
            "n": np.concatenate([n for _, _, _, n, _ in kinds]),
            "weight": np.concatenate([weight for *_, weight in kinds]),
            "amount": np.full(sum(size), np.nan),
        }
        arrays = {name: pa.array(values.tolist() if name == "value" else values) for name, values in columns.items()}
        return pa.RecordBatch.from_pydict({name: arrays[name] for name in (*KEYS, *MEASURES)})


def _rows(batch: pa.RecordBatch, has_weight: bool) -> ScanRows:
    return ScanRows(
        fold=column_of(batch, FOLD).astype(np.int64),
        bucket=column_of(batch, BUCKET).astype(np.int64),
        label=column_of(batch, LABEL).astype(np.float64),
        weight=column_of(batch, ROW_WEIGHT) if has_weight else None,
        amount=None,
        segments=(),
    )


def _against_rest(rows: ScanRows, k: int) -> ScanRows:
    return ScanRows(
        fold=rows.fold, bucket=rows.bucket, label=(rows.label == k).astype(np.float64), weight=rows.weight, amount=None,
        segments=(),
    )  # fmt: skip


def _confusions(table: pa.Table, number: int, model: CountedModel, classes: int) -> dict[str, Confusions]:
    of_model = table.filter((pc.field("strategy") == number) & (pc.field("kind") == _CONFUSION))
    found = {}
    for name in model.rules:
        cells = of_model.filter(pc.field("value") == name)
        cell, n, weight = (cells.column(column).to_numpy() for column in ("bin", "n", "weight"))
        found[name] = Confusions.of_cells(cell, n, weight, classes)
    return found


def _losses(table: pa.Table, number: int) -> dict[str, FloatArray]:
    of_model = table.filter((pc.field("strategy") == number) & (pc.field("kind") == _LOSS))
    found = {}
    for name in ("log_loss", "brier"):
        rows = of_model.filter(pc.field("value") == name)
        place, sums = rows.column("bin").to_numpy(), rows.column("weight").to_numpy()
        found[name] = np.bincount(place, sums, minlength=2 * BUCKETS).astype(np.float64)
    return found
