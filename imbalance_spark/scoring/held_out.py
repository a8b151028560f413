"""Held-out data to counts: of two classes in one Spark scan, of K classes from margins that are written once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import and_
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.calibration import MulticlassTemperature, PriorCorrection
from imbalance_spark.calibration.temperature import LOSS_SUMS, TEMPERATURES, loss_sums
from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.core.columns import FIT_NUMBER, HELD_OUT_FOLDS, SPLIT, VALIDATION, col, require_columns
from imbalance_spark.core.hashing import check_key, key_hash
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.orders.model_inputs import AMOUNT_VALUE, LABEL, ROW_WEIGHT
from imbalance_spark.scoring.boosters import (
    ArrowFunction,
    Candidate,
    as_float,
    column_of,
    common_features,
    load_booster,
    margins_of_matrix,
    matrix_of,
    probabilities,
)
from imbalance_spark.scoring.count_kernel import (
    KEYS,
    MEASURES,
    SUMS_SCHEMA,
    ModelSums,
    ScanRows,
    SegmentValues,
)
from imbalance_spark.scoring.count_table import confusions, counts_by_target, held_out_counts
from imbalance_spark.scoring.held_out_counts import Confusions, HeldOutCounts
from imbalance_spark.threshold.class_rules import Rule

FOLD, BUCKET = "fold", "bucket"
"""Columns of held-out rows: 0 is validation, 1 is test; hash bucket, 0 to 63."""


_BUCKET_PURPOSE = "bucket"


_Model = TypeVar("_Model")


def scan_held_out(
    inputs: DataFrame,
    candidates: Sequence[Candidate],
    *,
    key: Sequence[str],
    group: Sequence[str] = (),
    segments: Sequence[str] = (),
    grid: LogitGrid,
    has_weight: bool,
    has_amount: bool,
) -> dict[str, HeldOutCounts]:
    """Counts of the scores of models of two classes on validation and test, from one Spark scan of these rows.

    Each task adds up counts of its rows; Spark sums them. Collected are at most, for each model, 3 x bins x 2 rows
    of fine counts, and of coarse ones (512 bins) 2 x 512 x 2 for each of the 64 buckets and for each value of a
    segment column; in practice far fewer, since only what occurs is counted. Counts do not depend on the partitioning;
    sums of weights do in the last digits.

    Args:
        inputs: `split`, `x_0..`, `y`; `row_weight` and `amount_value` where the flags say so; the columns named here.
            Rows of other folds are not read. Candidates of a cross-fit need `fit_number` (int): which of their models
            scores the row.
        candidates: of one list of features, with different names.
        key: what identifies a row.
        group: what rows depend on each other within, such as the customer; it decides the hash bucket. A row with a
            null in it stands for itself, by its key.
        segments: columns of at most 50 values each, taken as text.
    Returns:
        By name of the model, counts of one target; scores are corrected probabilities.
    Raises:
        ConfigError: no candidates, equal names, or models with different features.
        MissingColumnsError: an input column is absent.
        DataContractError: a column cannot be a key, test or a half of validation has no row, rows whose label, weight
            or amount cannot be counted, or a segment column with too many values.
    """
    features, measures = common_features(candidates), _measures(has_weight, has_amount)
    held_out = held_out_rows(inputs, features, key=key, group=group, segments=segments, measures=measures)
    models = inputs.sparkSession.sparkContext.broadcast([c.models for c in candidates])

    def new_sums() -> list[ModelSums]:
        return [ModelSums(targets=1, grid=grid, segments=len(segments), rules={}) for _ in models.value]

    def load() -> _Scores:
        return scores_of_features(models.value, len(features))

    try:
        sums = _collect_sums(held_out, load, new_sums, measures, len(segments))
    finally:
        models.destroy()
    return {
        candidate.name: held_out_counts(_of_model(sums, number), targets=1, grid=grid, segments=segments)
        for number, candidate in enumerate(candidates)
    }


def scan_folds(
    rows: DataFrame,
    candidates: Sequence[Candidate],
    *,
    key: Sequence[str],
    group: Sequence[str] = (),
    grid: LogitGrid,
    has_weight: bool,
    has_amount: bool,
) -> dict[str, tuple[tuple[tuple[ScoreCounts, BucketCounts], ...], ...]]:
    """Counts of each fold's rows by the model of its own fit, from one Spark scan; those of test are not read.

    Collected are at most, for each candidate, fold and target, 2 x bins rows of fine counts and 64 x 512 x 2 of coarse
    ones; in practice far fewer.

    Args:
        rows: see `scan_held_out`, with `fit_number`.
        candidates: each with a model for every fold.
    Returns:
        By name of the candidate, for each fold and target its counts, and those by hash bucket; scores are corrected
        probabilities.
    Raises:
        DataContractError: a fold has no row, or rows that cannot be counted; see also `scan_held_out`.
    """
    features, measures = common_features(candidates), _measures(has_weight, has_amount)
    validation = rows.where(col(SPLIT) == VALIDATION)
    held_out = held_out_rows(validation, features, key=key, group=group, segments=(), measures=measures)
    of_fold = [(number, model) for c in candidates for number, model in enumerate(c.folds)]
    models = rows.sparkSession.sparkContext.broadcast(of_fold)
    classes = candidates[0].correction.classes
    targets = 1 if classes == 2 else classes

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        loaded = [(number, load_booster(model), correction) for number, (model, correction) in models.value]
        sums = [ModelSums(targets=targets, grid=grid, segments=0, rules={}) for _ in loaded]
        for batch in batches:
            if not batch.num_rows:
                continue
            matrix, counted, fit = matrix_of(batch, len(features)), _scan_rows(batch, measures, ()), _fit_of(batch)
            for of_model, (number, booster, correction) in zip(sums, loaded, strict=True):
                mine = np.flatnonzero(fit == number)
                score = probabilities if targets == 1 else _log_probabilities
                of_model.add(counted.only(mine), score(booster, matrix[mine], correction))
        for number, of_model in enumerate(sums):
            yield from of_model.batches(number, ())

    try:
        found = _added_up(held_out.mapInArrow(count, SUMS_SCHEMA))
    finally:
        models.destroy()
    counts = iter([counts_by_target(_of_model(found, n), targets=targets, grid=grid) for n in range(len(of_fold))])
    return {c.name: tuple(next(counts) for _ in c.folds) for c in candidates}


def held_out_margins(
    inputs: DataFrame,
    candidates: Sequence[Candidate],
    *,
    key: Sequence[str],
    group: Sequence[str] = (),
    segments: Sequence[str] = (),
    has_weight: bool,
    has_amount: bool = False,
) -> DataFrame:
    """Margins of models of K classes on each row of validation and test. Lazy; one Spark scan, no shuffle.

    Counts need them several times: to calibrate, to choose, and to count what was chosen. Written once, they
    are a narrow table, and no model runs twice.

    Args:
        see `scan_held_out`.
    Returns:
        `fold` (int, 0 is validation, 1 test), `bucket` (int, 0 to 63), `y` (double, the class number), `fit_number`,
        `row_weight` and `amount_value` (int and double, where rows have them), `segment_<i>` (string), and
        `margins_<number>` (array of float, one for each class) for each candidate.
    Raises:
        ConfigError: no candidates, equal names, or models with different features.
        MissingColumnsError: an input column is absent.
        DataContractError: a column cannot be a key.
    """
    features, measures = common_features(candidates), _measures(has_weight, has_amount)
    held_out = held_out_rows(inputs, features, key=key, group=group, segments=segments, measures=measures)
    own = held_out.select(*held_out.columns[len(features) :]).schema
    scored = ", ".join(f"{_margin_column(number)} array<float>" for number in range(len(candidates)))
    # The plan is lazy: the models live as long as the frame does.
    models = inputs.sparkSession.sparkContext.broadcast([c.models for c in candidates])
    schema = ", ".join([f"{f.name} {f.dataType.simpleString()}" for f in own.fields] + [scored])
    return held_out.mapInArrow(_margins_of_features(models, len(features)), schema)


@dataclass(frozen=True, kw_only=True)
class CountedModel:
    """What is counted of one model of K classes: its probabilities, and what each rule makes of them.

    Args:
        fold_corrections: of a cross-fit, of the model of each fold.
    """

    correction: PriorCorrection
    fold_corrections: tuple[PriorCorrection, ...] = ()
    temperature: MulticlassTemperature = field(default_factory=lambda: MulticlassTemperature(temperature=1.0))
    rules: Mapping[str, Rule] = field(default_factory=dict)

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return self.correction.classes

    def log_probabilities(self, margins: npt.NDArray[Any], fit: IntArray | None = None) -> FloatArray:
        """ln p, rows by classes: corrected, then calibrated; `fit` is each row's `fit_number`."""
        return self.temperature.apply_logs(self.corrected(margins, fit))

    def corrected(self, margins: npt.NDArray[Any], fit: IntArray | None) -> FloatArray:
        """ln p before calibration, each row corrected for what its own fit was given."""
        corrections = (*self.fold_corrections, self.correction)
        return _by_fit(fit, corrections, lambda correction, rows: correction.log_probabilities(margins[rows]))


def collect_temperature_losses(
    margins: DataFrame, models: Mapping[str, CountedModel], *, has_weight: bool
) -> dict[str, FloatArray]:
    """For each model the sums of losses that `calibration.temperature.choose_temperatures` reads.

    One Spark scan of validation's margins; at most models x 2 x 49 rows of sums come back.

    Args:
        margins: see `held_out_margins`. models: in the order of its columns.
    """
    validation, keys = margins.where(F.col(FOLD) == 0), ("model", "half", "step")
    schema = ", ".join([*[f"{name} int" for name in keys], *[f"{name} double" for name in LOSS_SUMS]])
    parts = validation.mapInArrow(_losses_of_margins(tuple(models.values()), has_weight), schema)
    table = parts.groupBy(*keys).agg(*[F.sum(name).alias(name) for name in LOSS_SUMS]).toPandas()
    sums = np.zeros((len(models), 2, len(TEMPERATURES), len(LOSS_SUMS)))
    sums[tuple(table[name] for name in keys)] = table[list(LOSS_SUMS)]
    return {name: sums[number] for number, name in enumerate(models)}


def count_classes(
    margins: DataFrame,
    models: Mapping[str, CountedModel],
    *,
    grid: LogitGrid,
    segments: Sequence[str] = (),
    has_weight: bool,
    has_amount: bool = False,
) -> dict[str, HeldOutCounts]:
    """Counts of each class against the rest, losses, and the confusions of the models' rules, in one Spark scan.

    What comes back is bound by models x classes x bins, see `scan_held_out`, and 128 x K x K cells for each rule.

    Args:
        margins: see `held_out_margins`. models: in the order of its columns. segments: as for the margins.
    Raises:
        DataContractError: test or a half of validation has no row, rows whose label, weight or amount cannot be
            counted, or a segment column with too many values.
    """
    sums = _count_margins(margins, models, grid, _measures(has_weight, has_amount), len(segments))
    return {
        name: held_out_counts(
            _of_model(sums, number), targets=model.classes, grid=grid, segments=segments, rules=tuple(model.rules)
        )
        for number, (name, model) in enumerate(models.items())
    }


def count_decisions(
    margins: DataFrame, models: Mapping[str, CountedModel], *, has_weight: bool
) -> dict[str, dict[str, Confusions]]:
    """Confusion counts by model and rule; one Spark scan of the margins.

    Args:
        models: in the order of the margins' columns.
    """
    sums = _count_margins(margins, models, None, _measures(has_weight, has_amount=False), 0)
    return {
        name: confusions(_of_model(sums, number), model.classes, tuple(model.rules))
        for number, (name, model) in enumerate(models.items())
    }


def bucket_hash(key: Sequence[str], group: Sequence[str] = ()) -> Column:
    """The hash whose remainder by 64 is a row's bucket: of the group, or of the key where the group has a null."""
    by_key = key_hash(key, 0, _BUCKET_PURPOSE)
    if not group:
        return by_key
    has_group = reduce(and_, [col(name).isNotNull() for name in group])
    return F.when(has_group, key_hash(group, 0, _BUCKET_PURPOSE)).otherwise(by_key)


def _measures(has_weight: bool, has_amount: bool) -> list[str]:
    return [name for name, is_there in ((ROW_WEIGHT, has_weight), (AMOUNT_VALUE, has_amount)) if is_there]


def held_out_rows(
    inputs: DataFrame,
    features: Sequence[str],
    *,
    key: Sequence[str],
    group: Sequence[str],
    segments: Sequence[str],
    measures: Sequence[str],
    more: Mapping[str, Column] | None = None,
) -> DataFrame:
    """Rows of validation and test: the features as float32, then what counts need of a row, and more columns."""
    check_key(inputs, key, "scan")
    check_key(inputs, [*key, *group], "scan")
    require_columns(inputs, [SPLIT, *features, LABEL, *measures, *segments], "scan")
    return inputs.where(col(SPLIT).isin(*HELD_OUT_FOLDS)).select(
        *as_float(features),
        F.when(col(SPLIT) == VALIDATION, 0).otherwise(1).alias(FOLD),
        F.pmod(bucket_hash(key, group), F.lit(BUCKETS)).cast("int").alias(BUCKET),
        col(LABEL).cast("double").alias(LABEL),
        *[col(name).cast("int").alias(name) for name in inputs.columns if name == FIT_NUMBER],
        *[col(name).cast("double").alias(name) for name in measures],
        *[col(name).cast("string").alias(_segment(i)) for i, name in enumerate(segments)],
        *[column.alias(name) for name, column in (more or {}).items()],
    )


_Scores = Callable[[pa.RecordBatch], Iterator[FloatArray]]
"""A batch to the scores of each model, as `ModelSums.add` takes them."""


def scores_of_features(
    candidates: Sequence[Sequence[tuple[bytes, PriorCorrection]]],
    width: int,
    score: Callable[[Any, npt.NDArray[np.float32], PriorCorrection], npt.NDArray[Any]] = probabilities,
) -> _Scores:
    """What gives a batch the scores of each candidate; called once in each task.

    Args:
        candidates: the models of each, see `Candidate.models`.
        width: number of features, the first columns of a batch.
        score: of a loaded model, features and correction.
    """
    loaded = [[(load_booster(model), correction) for model, correction in models] for models in candidates]

    def scores(batch: pa.RecordBatch) -> Iterator[FloatArray]:
        matrix, fit = matrix_of(batch, width), _fit_of(batch)
        for models in loaded:
            yield _by_fit(fit, models, lambda model, rows: score(model[0], matrix[rows], model[1]))

    return scores


def _fit_of(batch: pa.RecordBatch) -> IntArray | None:
    """Each row's `fit_number`, where rows have one."""
    return column_of(batch, FIT_NUMBER).astype(np.int64) if FIT_NUMBER in batch.schema.names else None


def _by_fit(
    fit: IntArray | None, models: Sequence[_Model], scores: Callable[[_Model, Any], npt.NDArray[Any]]
) -> npt.NDArray[Any]:
    """The scores of each row by the model of its own fit; a single model scores all rows.

    Args:
        scores: of a model, for the rows that an index selects.
    """
    if len(models) == 1 or fit is None:
        return scores(models[-1], slice(None))
    rows = [np.flatnonzero(fit == number) for number in range(len(models))]
    found = np.concatenate([scores(model, part) for model, part in zip(models, rows, strict=True)])
    return found[np.argsort(np.concatenate(rows))]


def _count_margins(
    margins: DataFrame,
    models: Mapping[str, CountedModel],
    grid: LogitGrid | None,
    measures: Sequence[str],
    segments: int,
) -> pa.Table:
    counted = tuple(models.values())

    def new_sums() -> list[ModelSums]:
        return [ModelSums(targets=m.classes, grid=grid, segments=segments, rules=m.rules) for m in counted]

    def scores(batch: pa.RecordBatch) -> Iterator[FloatArray]:
        for number, model in enumerate(counted):
            yield model.log_probabilities(_margins_of(batch, number), _fit_of(batch))

    return _collect_sums(margins, lambda: scores, new_sums, measures, segments)


def _collect_sums(
    rows: DataFrame,
    load: Callable[[], _Scores],
    new_sums: Callable[[], list[ModelSums]],
    measures: Sequence[str],
    segments: int,
) -> pa.Table:
    """Rows of SUMS_SCHEMA from one Spark scan; `load` and `new_sums` are called once in each task."""

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scores, sums, values = load(), new_sums(), [SegmentValues() for _ in range(segments)]
        for batch in batches:
            if not batch.num_rows:
                continue
            counted = _scan_rows(batch, measures, values)
            for of_model, scored in zip(sums, scores(batch), strict=True):
                of_model.add(counted, scored)
        for number, of_model in enumerate(sums):
            yield from of_model.batches(number, [seen.values for seen in values])

    return _added_up(rows.mapInArrow(count, SUMS_SCHEMA))


def _added_up(parts: DataFrame) -> pa.Table:
    """Rows of SUMS_SCHEMA of all tasks."""
    return parts.groupBy(*KEYS).agg(*[F.sum(name).alias(name) for name in MEASURES]).toArrow()


def _of_model(sums: pa.Table, number: int) -> pa.Table:
    return sums.filter(pc.field("model") == number)


def _scan_rows(batch: pa.RecordBatch, measures: Sequence[str], values: Sequence[SegmentValues]) -> ScanRows:
    return ScanRows(
        fold=column_of(batch, FOLD).astype(np.int64),
        bucket=column_of(batch, BUCKET).astype(np.int64),
        label=column_of(batch, LABEL),
        weight=column_of(batch, ROW_WEIGHT) if ROW_WEIGHT in measures else None,
        amount=column_of(batch, AMOUNT_VALUE) if AMOUNT_VALUE in measures else None,
        segments=[
            seen.numbers(batch.column(batch.schema.get_field_index(_segment(i)))) for i, seen in enumerate(values)
        ],
    )


def _segment(number: int) -> str:
    return f"segment_{number}"


def _margin_column(number: int) -> str:
    return f"margins_{number}"


def _margins_of(batch: pa.RecordBatch, number: int) -> npt.NDArray[np.float32]:
    """A model's margins in a batch of the table, rows by classes."""
    column = batch.column(batch.schema.get_field_index(_margin_column(number)))
    values = np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
    return values.reshape(batch.num_rows, -1)


def _margins_of_features(models: Any, width: int) -> ArrowFunction:
    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scores = scores_of_features(models.value, width, _margins)
        for batch in batches:
            if not batch.num_rows:
                continue
            margins = [_as_lists(found.astype(np.float32)) for found in scores(batch)]
            names = [*batch.schema.names[width:], *[_margin_column(number) for number in range(len(margins))]]
            yield pa.RecordBatch.from_arrays([*batch.columns[width:], *margins], names=names)

    return score


def _margins(booster: Any, matrix: npt.NDArray[np.float32], correction: PriorCorrection) -> npt.NDArray[Any]:
    return margins_of_matrix(booster, matrix, correction.classes)


def _log_probabilities(booster: Any, matrix: npt.NDArray[np.float32], correction: PriorCorrection) -> FloatArray:
    return correction.log_probabilities(_margins(booster, matrix, correction))


def _as_lists(margins: npt.NDArray[np.float32]) -> pa.Array:
    rows, classes = margins.shape
    offsets = pa.array(np.arange(0, (rows + 1) * classes, classes, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(margins).ravel()))


def _losses_of_margins(models: Sequence[CountedModel], has_weight: bool) -> ArrowFunction:
    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        sums = np.zeros((len(models), 2, len(TEMPERATURES), len(LOSS_SUMS)))
        for batch in batches:
            label, half = column_of(batch, LABEL).astype(np.int64), column_of(batch, BUCKET).astype(np.int64) & 1
            weight = column_of(batch, ROW_WEIGHT) if has_weight else np.ones(len(label))
            for number, model in enumerate(models):
                logs = model.corrected(_margins_of(batch, number), _fit_of(batch))
                sums[number] += loss_sums(logs, label, half, weight)
        numbers, half, step = np.indices(sums.shape[:3]).reshape(3, -1).astype(np.int32)
        columns = {"model": numbers, "half": half, "step": step}
        columns |= dict(zip(LOSS_SUMS, sums.reshape(-1, len(LOSS_SUMS)).T, strict=True))
        yield pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in columns.items()})

    return count
