"""Distributed XGBoost of several classes on a materialised table."""

import math
from collections.abc import Sequence
from typing import Any

from pyspark.sql import DataFrame

from imbalance_spark.calibration.softmax import SoftmaxCorrection
from imbalance_spark.config import TrainingConfig
from imbalance_spark.config_strategy import BoosterParams
from imbalance_spark.encoding import LABEL, feature_column
from imbalance_spark.errors import ConfigError
from imbalance_spark.frames import IS_EARLY_STOPPING, col, require_columns
from imbalance_spark.learners.class_losses import BalancedSketchLoss
from imbalance_spark.learners.class_stopping import ClassLogLoss
from imbalance_spark.learners.layout import one_file_a_worker
from imbalance_spark.learners.losses import SoftmaxFocalLoss
from imbalance_spark.learners.xgboost import FIRST_FEATURE, FittedBooster, export_booster, fit_estimator

ClassLoss = SoftmaxFocalLoss | BalancedSketchLoss


def fit_class_booster(
    table: DataFrame,
    *,
    features: Sequence[str],
    training: TrainingConfig,
    params: BoosterParams,
    start: Sequence[float],
    correction: SoftmaxCorrection,
    strategy: str,
    weight_col: str | None = None,
    loss: ClassLoss | None = None,
) -> FittedBooster:
    """As `fit_booster`, for several classes: a tree a class and round, and the log loss of corrected probabilities
    stops the fit.

    Passes over `table`: one. Which worker has which row, and which rows may be absent, is as in `fit_booster`.

    Args:
        table: `x_0..` (double, null is missing), `y` (from 0), `is_early_stopping`; each class has rows to fit on.
        params: the strategy's, instead of `training.params`.
        start: margin of each class that every row starts from.
        correction: from raw scores to probabilities at the real class shares.
        strategy: name for messages.
        weight_col: weight of a row, > 0; on the slice without class weights.
        loss: instead of `multi:softprob`.
    Raises:
        ConfigError: `start` is not one finite number a class.
        MissingColumnsError: an input column is absent.
        TrainingError: the fit failed, or its metric is not a number.
    """
    if len(start) != len(correction.factors) or not all(map(math.isfinite, start)):
        raise ConfigError(
            f"strategy {strategy!r}: start must be a finite margin for each of {len(correction.factors)} classes, got "
            f"{list(start)}. Every class needs rows to fit on."
        )
    inputs = [feature_column(i) for i in range(len(features))]
    weights = [] if weight_col is None else [weight_col]
    require_columns(table, [*inputs, LABEL, IS_EARLY_STOPPING, *weights], "fit_class_booster")
    fit_names = [FIRST_FEATURE, *inputs[1:]]
    columns = [col(name).cast("float").alias(alias) for name, alias in zip(inputs, fit_names, strict=True)]
    columns += [col(name) for name in (LABEL, IS_EARLY_STOPPING, *weights)]
    settings = _settings(training, params, start)
    with one_file_a_worker(table, training.num_workers) as is_laid_out:
        roles = {"features_col": fit_names, "weight_col": weight_col, "force_repartition": not is_laid_out}
        objective = {"objective": "multi:softprob", "num_class": len(start)}
        asked = {**settings, **roles, **objective, **_callables(loss, correction)}
        model = fit_estimator(table.select(*columns), asked, training, strategy)
    return export_booster(model, features, settings, training, strategy)


def _callables(loss: ClassLoss | None, correction: SoftmaxCorrection) -> dict[str, Any]:
    if loss is None and correction.is_identity:
        # XGBoost's own is summed over workers too, and takes no time.
        return {"eval_metric": "mlogloss"}
    metric = ClassLogLoss(correction=correction, is_margin=loss is not None)
    found = {"custom_metric": metric, "maximize": False, "disable_default_eval_metric": 1}
    return found if loss is None else {**found, "obj": loss}


def _settings(training: TrainingConfig, params: BoosterParams, start: Sequence[float]) -> dict[str, Any]:
    return {
        **params.model_dump(),
        "n_estimators": training.rounds,
        "early_stopping_rounds": training.early_stopping_rounds,
        "random_state": training.seed,
        "base_score": list(start),
        "tree_method": "hist",
    }
