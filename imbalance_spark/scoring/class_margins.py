"""Held-out data to counts, for models of K classes: margins are written once and read several times."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.calibration import MulticlassTemperature, PriorCorrection
from imbalance_spark.calibration.temperature import LOSS_SUMS, TEMPERATURES, loss_sums
from imbalance_spark.core.arrays import FloatArray, IntArray
from imbalance_spark.metrics.buckets import BUCKETS
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.orders.model_inputs import LABEL, ROW_WEIGHT
from imbalance_spark.scoring.boosters import (
    ArrowFunction,
    Candidate,
    column_of,
    common_features,
    margins_of_matrix,
)
from imbalance_spark.scoring.count_kernel import ModelSums
from imbalance_spark.scoring.count_table import confusions, held_out_counts
from imbalance_spark.scoring.held_out_counts import Confusions, HeldOutCounts
from imbalance_spark.scoring.held_out_rows import (
    BUCKET,
    FOLD,
    by_fit,
    collect_sums,
    fit_of,
    held_out_rows,
    measures_of,
    model_sums,
    scores_of_features,
)
from imbalance_spark.threshold.class_rules import ClassRule


@dataclass(frozen=True, kw_only=True)
class CountedModel:
    """What is counted of one model of K classes: its probabilities, and what each rule makes of them.

    Args:
        fold_corrections: of a cross-fit, of the model of each fold.
    """

    correction: PriorCorrection
    fold_corrections: tuple[PriorCorrection, ...] = ()
    temperature: MulticlassTemperature = field(default_factory=lambda: MulticlassTemperature(temperature=1.0))
    rules: Mapping[str, ClassRule] = field(default_factory=dict)

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
        return by_fit(fit, corrections, lambda correction, rows: correction.log_probabilities(margins[rows]))


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
    features, measures = common_features(candidates), measures_of(has_weight, has_amount)
    held_out = held_out_rows(inputs, features, key=key, group=group, segments=segments, measures=measures)
    own = held_out.select(*held_out.columns[len(features) :]).schema
    scored = ", ".join(f"{_margin_column(number)} array<float>" for number in range(len(candidates)))
    # The plan is lazy: the models live as long as the frame does.
    models = inputs.sparkSession.sparkContext.broadcast([c.models for c in candidates])
    schema = ", ".join([f"{f.name} {f.dataType.simpleString()}" for f in own.fields] + [scored])
    return held_out.mapInArrow(_margins_of_features(models, len(features)), schema)


def collect_temperature_losses(
    margins: DataFrame, models: Mapping[str, CountedModel], *, has_weight: bool
) -> dict[str, FloatArray]:
    """For each model the sums of losses that `calibration.temperature.choose_temperatures` reads.

    One Spark scan of validation's margins; at most models x 64 x 49 rows of sums come back.

    Args:
        margins: see `held_out_margins`. models: in the order of its columns.
    """
    validation, keys = margins.where(F.col(FOLD) == 0), ("model", BUCKET, "step")
    schema = ", ".join([*[f"{name} int" for name in keys], *[f"{name} double" for name in LOSS_SUMS]])
    parts = validation.mapInArrow(_losses_of_margins(tuple(models.values()), has_weight), schema)
    table = parts.groupBy(*keys).agg(*[F.sum(name).alias(name) for name in LOSS_SUMS]).toPandas()
    sums = np.zeros((len(models), BUCKETS, len(TEMPERATURES), len(LOSS_SUMS)))
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
    sums = _count_margins(margins, models, grid, measures_of(has_weight, has_amount), len(segments))
    return {
        name: held_out_counts(
            model_sums(sums, number), targets=model.classes, grid=grid, segments=segments, rules=tuple(model.rules)
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
    sums = _count_margins(margins, models, None, measures_of(has_weight, has_amount=False), 0)
    return {
        name: confusions(model_sums(sums, number), model.classes, tuple(model.rules))
        for number, (name, model) in enumerate(models.items())
    }


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
            yield model.log_probabilities(_margins_of(batch, number), fit_of(batch))

    return collect_sums(margins, lambda: scores, new_sums, measures, segments)


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


def _as_lists(margins: npt.NDArray[np.float32]) -> pa.Array:
    rows, classes = margins.shape
    offsets = pa.array(np.arange(0, (rows + 1) * classes, classes, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(margins).ravel()))


def _losses_of_margins(models: Sequence[CountedModel], has_weight: bool) -> ArrowFunction:
    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        sums = np.zeros((len(models), BUCKETS, len(TEMPERATURES), len(LOSS_SUMS)))
        for batch in batches:
            label, bucket = column_of(batch, LABEL).astype(np.int64), column_of(batch, BUCKET).astype(np.int64)
            weight = column_of(batch, ROW_WEIGHT) if has_weight else np.ones(len(label))
            for number, model in enumerate(models):
                logs = model.corrected(_margins_of(batch, number), fit_of(batch))
                sums[number] += loss_sums(logs, label, bucket, weight)
        # Small shares of the rows lie in few buckets.
        model_number, bucket, step = np.nonzero(sums[..., 0])
        keys = {"model": model_number, BUCKET: bucket, "step": step}
        columns = {name: values.astype(np.int32) for name, values in keys.items()}
        columns |= dict(zip(LOSS_SUMS, sums[model_number, bucket, step].T, strict=True))
        yield pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in columns.items()})

    return count


def log_probabilities(booster: Any, matrix: npt.NDArray[np.float32], correction: PriorCorrection) -> FloatArray:
    """ln p of a model of K classes, rows by classes, corrected."""
    return correction.log_probabilities(_margins(booster, matrix, correction))


def _margins(booster: Any, matrix: npt.NDArray[np.float32], correction: PriorCorrection) -> npt.NDArray[Any]:
    return margins_of_matrix(booster, matrix, correction.classes)
