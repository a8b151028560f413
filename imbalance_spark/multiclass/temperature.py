"""The temperature of each model, from sums of losses at every step of a grid: one pass over validation's margins."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.calibration.temperature import ClassProbabilities, heated
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics.grid import FloatArray
from imbalance_spark.multiclass.margins import BUCKET, FOLD, margins_of
from imbalance_spark.orders.model_inputs import LABEL, ROW_WEIGHT
from imbalance_spark.scoring.boosters import ArrowFunction, column_of

TEMPERATURES = tuple(float(2.0 ** (step / 12.0)) for step in range(-24, 25))
"""A quarter to 4 in steps of 6 %: the loss is flat around its least, so that no finer step is worth a pass."""


_UNCHANGED = TEMPERATURES.index(1.0)


_SCHEMA = "model int, half int, step int, n bigint, weight double, loss double, more double, square double"


_KEYS, _SUMS = ("model", "half", "step"), ("n", "weight", "loss", "more", "square")


@dataclass(frozen=True, kw_only=True)
class ChosenTemperature:
    """How a model's probabilities are calibrated, and what that is worth on rows it was not chosen on."""

    temperature: float
    log_loss: float
    """Mean, on the half of validation that does not calibrate, at this temperature."""
    log_loss_before: float
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def choose_temperatures(
    margins: DataFrame, models: Mapping[str, ClassProbabilities], *, has_weight: bool
) -> dict[str, ChosenTemperature]:
    """For each model, the temperature of least log loss on one half of validation, if the other half confirms it.

    1, which changes nothing, stays unless the other half is better by more than one standard error: what is gained by
    less may be noise.

    One pass over validation; at most models x 2 x 49 rows of sums come back.

    Args:
        margins: see `held_out_margins`. models: in the order of its columns.
    Raises:
        DataContractError: a half of validation has no row.
    """
    validation = margins.where(F.col(FOLD) == 0)
    parts = validation.mapInArrow(_sum_partition(tuple(models.values()), has_weight), _SCHEMA)
    table = parts.groupBy(*_KEYS).agg(*[F.sum(name).alias(name) for name in _SUMS]).toPandas()
    sums = np.zeros((len(models), 2, len(TEMPERATURES), len(_SUMS)))
    sums[tuple(table[name] for name in _KEYS)] = table[list(_SUMS)]
    return {name: _chosen(sums[number]) for number, name in enumerate(models)}


def _chosen(sums: FloatArray) -> ChosenTemperature:
    calibrate, choose = sums
    if not (calibrate[0, 0] > 0 and choose[0, 0] > 0):
        raise DataContractError(
            "calibration: a half of validation has no row. A fold is halved by the hash of the group, or of the key "
            "where rows have no group: give the fold more of them."
        )
    best = int(np.argmin(calibrate[:, 2]))
    rows, weight, loss, more, square = choose[best]
    before, gain = float(choose[_UNCHANGED, 2] / weight), -float(more / weight)
    error = math.sqrt(max(square / weight - gain**2, 0.0) / rows)
    if best == _UNCHANGED or gain <= error:
        return ChosenTemperature(
            temperature=1.0, log_loss=before, log_loss_before=before,
            sentence=f"Not calibrated: temperature {TEMPERATURES[best]:.3g} would change the log loss by {-gain:+.2g}, "
            f"standard error {error:.2g}, on rows it was not chosen on.",
        )  # fmt: skip
    return ChosenTemperature(
        temperature=TEMPERATURES[best], log_loss=float(loss / weight), log_loss_before=before,
        sentence=f"Calibrated by temperature {TEMPERATURES[best]:.3g}: log loss {loss / weight:.6g}, {gain:.2g} less "
        "than without, on rows it was not chosen on.",
    )  # fmt: skip


def _sum_partition(models: Sequence[ClassProbabilities], has_weight: bool) -> ArrowFunction:
    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        sums = np.zeros((len(models), 2, len(TEMPERATURES), len(_SUMS)))
        for batch in batches:
            label, half = column_of(batch, LABEL).astype(np.int64), column_of(batch, BUCKET).astype(np.int64) & 1
            weight = column_of(batch, ROW_WEIGHT) if has_weight else np.ones(len(label))
            for number, model in enumerate(models):
                logs = model.logs_of_margins(margins_of(batch, number))
                _add_losses(sums[number], logs, label, half, weight)
        place = np.indices(sums.shape[:3]).reshape(3, -1).astype(np.int32)
        columns = dict(zip(_KEYS, place, strict=True)) | dict(zip(_SUMS, sums.reshape(-1, len(_SUMS)).T, strict=True))
        columns["n"] = columns["n"].astype(np.int64)
        yield pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in columns.items()})

    return count


def _add_losses(sums: FloatArray, logs: FloatArray, label: Any, half: Any, weight: FloatArray) -> None:
    row = np.arange(len(label))
    unchanged = -logs[row, label]
    for step, temperature in enumerate(TEMPERATURES):
        loss = unchanged if step == _UNCHANGED else -heated(logs, temperature)[row, label]
        more = loss - unchanged
        for side in (0, 1):
            w = weight * (half == side)
            sums[side, step] += [np.sum(half == side), w.sum(), w @ loss, w @ more, w @ more**2]
