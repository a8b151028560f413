"""Days of generated orders with shifts of known size, scored by a booster that is fitted on orders of the same kind."""

import argparse
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import xgboost
from pyspark.sql import functions as F

from benchmarks.regret_data import SETTINGS, inputs_of
from benchmarks.shifted_days import BASE_RATE, Model
from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.monitoring.cells import LabelledCells
from imbalance_spark.orders.datasets.population import (
    CHANNELS,
    COUNTRIES,
    MERCHANT_CATEGORIES,
    NUMERIC_FEATURES,
    PAYMENT_METHODS,
)
from imbalance_spark.orders.datasets.synthetic import generate_orders
from imbalance_spark.orders.datasets.synthetic_plan import OrderShift

SHIFTS: Mapping[str, OrderShift | None] = {
    "none": None,
    "covariate": OrderShift(kind="covariate", size=3.0),
    "label": OrderShift(kind="label", size=2.5),
    "concept": OrderShift(kind="concept", size=0.6),
}
_CATEGORIES: Mapping[str, Sequence[str]] = {
    "country": COUNTRIES, "payment_method": PAYMENT_METHODS, "channel": CHANNELS,
    "merchant_category": MERCHANT_CATEGORIES,
}  # fmt: skip
_FIT_ROWS, _ROUNDS = 400_000, 60
_PARAMS = {"objective": "binary:logistic", "max_depth": 4, "learning_rate": 0.1, "tree_method": "hist"}

Scored = tuple[FloatArray, FloatArray]
"""Labels, and what the booster says."""


class Logs:
    """Generated orders of one booster: what it is calibrated on, and days of each kind of shift."""

    def __init__(self, args: argparse.Namespace, days_a_model: int) -> None:
        self._args, self._days_a_model = args, days_a_model
        names = [*NUMERIC_FEATURES, *_CATEGORIES]
        with spark_session("bench-monitor", "local[*]", SETTINGS) as spark:
            codes = {name: F.array_position(F.lit([*known]), F.col(name)) for name, known in _CATEGORIES.items()}

            def log(rows: int, seed: int, shift: OrderShift | None = None) -> tuple[np.ndarray, np.ndarray]:
                orders = generate_orders(spark, rows=rows, prevalence=BASE_RATE, seed=seed, shift=shift)
                return inputs_of(orders.withColumns(codes), names, "is_fraud")

            inputs, label = log(_FIT_ROWS, 1)
            booster = xgboost.train(_PARAMS, xgboost.DMatrix(inputs, label), _ROUNDS)

            def scored(rows: int, seed: int, shift: OrderShift | None = None) -> Scored:
                inputs, label = log(rows, seed, shift)
                return label.astype(np.float64), booster.inplace_predict(inputs).astype(np.float64)

            models = -(-args.days // days_a_model)
            self._validation = scored(models * args.validation_rows, 2)
            self._days = {
                kind: scored(args.days * args.orders_per_day, 3 + number, shift)
                for number, (kind, shift) in enumerate(SHIFTS.items())
            }

    def days(self, kind: str) -> Iterator[tuple[Model, LabelledCells]]:
        """Each day's counts by a model's decisions, and the model: one for some days, as if each had been promoted."""
        for number in range(self._args.days):
            if number % self._days_a_model == 0:
                at = number // self._days_a_model
                model = Model.of(*_part(self._validation, at, self._args.validation_rows))
            yield model, model.count_raw(*_part(self._days[kind], number, self._args.orders_per_day))


def _part(scored: Scored, number: int, rows: int) -> Scored:
    label, raw = (values[number * rows : (number + 1) * rows] for values in scored)
    return label, raw
