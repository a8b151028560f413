"""XGBoost's own Spark estimator as the engine of a fit: what ours is compared with."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F
from xgboost import collective
from xgboost.callback import TrainingCallback
from xgboost.spark import SparkXGBRegressor

from imbalance_spark.core.columns import IS_EARLY_STOPPING, col
from imbalance_spark.core.imports import shared_workers
from imbalance_spark.orders.model_inputs import LABEL
from imbalance_spark.train_only.learners.engine import BoostedRounds, FitRequest, xgboost_params
from imbalance_spark.train_only.learners.layout import one_file_a_worker
from imbalance_spark.train_only.learners.retry import fit_watched
from imbalance_spark.train_only.learners.round_reports import RoundReporter

_MARGIN = "start_margin"

_FIRST_FEATURE = "values"
# XGBoost 3.2 looks this column up in each Arrow batch that has no row of the slice, or none to fit on, and fails
# with a KeyError where features come as columns of other names. Nothing but the lookup depends on the name.


def fit_with_xgboost_spark(request: FitRequest) -> BoostedRounds:
    """The rounds of XGBoost's Spark estimator; a lost fit begins again at the first one.

    Which worker has which row follows from the table's layout, and so do the cuts and the trees.
    """
    training, fit_names = request.training, [_FIRST_FEATURE, *request.inputs[1:]]
    columns = [col(name).cast("float").alias(alias) for name, alias in zip(request.inputs, fit_names, strict=True)]
    weights = [] if request.weight_col is None else [request.weight_col]
    columns += [col(name) for name in (LABEL, IS_EARLY_STOPPING, *weights)]
    params = xgboost_params(request)
    settings: dict[str, Any] = {
        **params, "n_estimators": training.rounds, "early_stopping_rounds": training.early_stopping_rounds,
        "random_state": training.seed, "features_col": fit_names, "weight_col": request.weight_col,
        "label_col": LABEL, "validation_indicator_col": IS_EARLY_STOPPING, "num_workers": training.num_workers,
        "missing": math.nan, "device": "cpu", "verbosity": 0, "verbose": False,
    }  # fmt: skip
    if request.loss is not None:
        settings["obj"] = request.loss
    if request.metric is not None:
        # Its Spark estimator passes callables on to `xgboost.train` on each worker, though it documents neither.
        settings |= {"custom_metric": request.metric, "maximize": request.metric.is_maximised}
    if request.shift != 0.0:
        columns.append(_start_margin(request.margins[0], request.shift))
        settings["base_margin_col"] = _MARGIN
    with one_file_a_worker(request.table, training.num_workers) as is_laid_out:
        rows = request.table.select(*columns)

        def fit(reporter: RoundReporter) -> Any:
            # A new estimator for each attempt, and with it a tracker that no earlier worker knows. The classifier would
            # count classes in a pass of its own; the regressor takes a classifier's objective, and does not.
            told = [_Told(reporter)]
            return SparkXGBRegressor(callbacks=told, force_repartition=not is_laid_out, **settings).fit(rows)

        with _quiet(), shared_workers(rows.sparkSession.sparkContext):
            model = fit_watched(rows.sparkSession, fit, training, request.strategy, keep=_nothing)
    history, booster = model.training_summary, model.get_booster()
    [on_train], [on_stopping] = (
        part.values() for part in (history.train_objective_history, history.validation_objective_history)
    )
    return BoostedRounds(
        model=bytes(booster.save_raw("ubj")),
        training=tuple(on_train),
        validation=tuple(on_stopping),
        best_round=booster.best_iteration,
        params=params,
        notes={},
    )


class _Told(TrainingCallback):
    """Runs on every worker."""

    def __init__(self, reporter: RoundReporter) -> None:
        super().__init__()
        self._reporter = reporter

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        if collective.get_rank() == 0:
            self._reporter.tell(epoch)
        return False


def _start_margin(start: float, shift: float) -> Column:
    # A margin replaces the base score of its row, in the fit only: the model itself starts from base_score.
    return (F.lit(start) + F.when(col(IS_EARLY_STOPPING), shift).otherwise(0.0)).alias(_MARGIN)


def _nothing(_: bytes) -> None:
    """A fit by this engine hands no checkpoints over."""


@contextmanager
def _quiet() -> Iterator[None]:
    # XGBoost gives its own logger a handler and prints each fit's settings.
    logger = logging.getLogger("XGBoost-PySpark")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
