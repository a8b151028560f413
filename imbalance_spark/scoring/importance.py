"""Global importance of features: how far each one moves a model's log-odds, on a sample of test rows."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column
from pyspark.sql import functions as F

from imbalance_spark.core.hashing import uniform
from imbalance_spark.orders.model_inputs import ROW_WEIGHT
from imbalance_spark.scoring.boosters import Model, column_of, effects, load_booster, matrix_of
from imbalance_spark.scoring.count_kernel import CONTRIBUTION, sums_batch

EXPLAINED_ROWS = 500
"""Rows of test on average, whatever their number: the contributions of one take as long as hundreds of scores."""

EXPLAINED = "is_explained"
"""Column of held-out rows: 1 of the sample, else 0."""


def is_explained(key: Sequence[str], share: float) -> Column:
    """Whether a row is of the sample, by a hash of its key; as an int.

    Args:
        share: of the rows of test, in [0, 1].
    """
    return (uniform(key, 0, "importance") < F.lit(share)).cast("int")


class ContributionSums:
    """Absolute contributions of a task's explained rows, summed for each model and feature.

    Args:
        models: of each candidate the one that serves.
        width: number of features, the first columns of a batch.
    """

    def __init__(self, models: Sequence[bytes], width: int) -> None:
        self._models, self._width = models, width
        self._sums, self._rows, self._weight = np.zeros((len(models), width)), 0, 0.0

    def add(self, batch: pa.RecordBatch) -> None:
        """Explain a batch's rows of the sample, by TreeSHAP where it can be; see `boosters.effects`."""
        sample = batch.filter(pa.array(column_of(batch, EXPLAINED) == 1))
        if not sample.num_rows:
            return
        has_weight = ROW_WEIGHT in sample.schema.names
        matrix = matrix_of(sample, self._width)
        weight = column_of(sample, ROW_WEIGHT) if has_weight else np.ones(len(matrix))
        for sums, model in zip(self._sums, self._loaded, strict=True):
            sums += weight @ np.abs(effects(model, matrix))
        self._rows, self._weight = self._rows + len(matrix), self._weight + float(weight.sum())

    @cached_property
    def _loaded(self) -> list[Model]:
        # Most tasks have no row of the sample.
        return [load_booster(model) for model in self._models]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The sums as rows of SUMS_SCHEMA: a feature's number is `bin`, the sum of the weights is `amount`."""
        for number, sums in enumerate(self._sums):
            columns = {"bin": np.arange(self._width), "n": self._rows, "weight": sums, "amount": self._weight}
            yield sums_batch(self._width, None, model=number, kind=CONTRIBUTION, **columns)


def importance_of(sums: pa.Table, features: Sequence[str]) -> dict[str, float]:
    """Mean absolute contribution of each feature, in log-odds; empty where no row was explained.

    Args:
        sums: one model's rows of SUMS_SCHEMA.
        features: in the model's order.
    """
    table = sums.filter(pc.field("kind") == CONTRIBUTION).sort_by("bin")
    weights = table.column("amount").to_numpy()
    if not weights.sum() > 0.0:
        return {}
    return dict(zip(features, (table.column("weight").to_numpy() / weights).tolist(), strict=True))
