"""Distributed XGBoost on a materialised table: one barrier stage, stopped early by rows that are not fitted on."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.columns import IS_EARLY_STOPPING, col, require_columns
from imbalance_spark.core.errors import ConfigError, TrainingError
from imbalance_spark.core.spark_errors import training_error
from imbalance_spark.orders.model_inputs import LABEL, feature_column
from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.learners.layout import one_file_a_worker
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.learners.retry import fit_watched
from imbalance_spark.train_only.learners.stopping import Costs, StoppingMetric, stopping_metric

_MARGIN = "start_margin"

FIRST_FEATURE = "values"
# XGBoost 3.2 looks this column up in each Arrow batch that has no row of the slice, or none to fit on, and fails
# with a KeyError where features come as columns of other names. Nothing but the lookup depends on the name.


@dataclass(frozen=True, kw_only=True)
class FittedBooster:
    """A trained model as bytes, and how it came to be."""

    model_bytes: bytes
    """XGBoost's binary JSON, trees up to the best round only; or the bytes of a `LinearModel`."""
    features: tuple[str, ...]
    """Names of the inputs, in the order of `x_0, x_1, ...`."""
    best_iteration: int
    """Round, from 0, with the best metric on the early-stopping set: the model has one round more than this says."""
    rounds_run: int
    learning_curve: Mapping[str, tuple[float, ...]]
    """The metric after each round run: `training` (as weighted and sampled), `validation` (the early-stopping set)."""
    num_workers: int
    params: Mapping[str, Any]
    """What XGBoost was given."""
    metric: str = "log_loss"
    """What the learning curve shows, and stopped the fit."""

    @classmethod
    def from_record(cls, record: Mapping[str, Any], model_bytes: bytes) -> Self:
        """The booster from its bytes and its other fields, as `dataclasses.asdict` and JSON give them back."""
        curve = {part: tuple(losses) for part, losses in record["learning_curve"].items()}
        features = tuple(record["features"])
        return cls(**{**record, "model_bytes": model_bytes, "features": features, "learning_curve": curve})


def fit_booster(
    table: DataFrame,
    *,
    features: Sequence[str],
    training: TrainingConfig,
    params: BoosterParams,
    start: Sequence[float],
    correction: PriorCorrection,
    strategy: str,
    weight_col: str | None = None,
    scale_pos_weight: float = 1.0,
    loss: FocalLoss | None = None,
    costs: Costs | None = None,
) -> FittedBooster:
    """Fit on the rows outside the early-stopping set; keep the trees up to its best round.

    Two classes are fitted with `binary:logistic`, one tree a round; K with `multi:softprob`, one tree a class and
    round.

    The early-stopping set keeps its real class shares while the strategy may shift those of the other rows, so the
    metric that stops the fit is that of corrected probabilities. For two classes without a loss of their own, the rows
    of the set start from a margin moved by the correction's logit shift, and XGBoost's own log loss is that metric.
    Trees are not affected, since no gradient comes from the set.

    Passes over `table`: one. A table with exactly one file per worker is read without a shuffle; any other is
    repartitioned. Which worker has which row follows from the table's layout, and the trees differ with layout and
    `num_workers`, not between runs on the same table; `layout.laid_out_for` makes both follow from the key. A worker
    with one class is allowed: every metric is that of the rows of all workers. A custom loss, or a metric other than
    log loss, is evaluated by numpy on one thread a worker.

    Args:
        table: `x_0..` (double, null is missing), `y` (class number from 0), `is_early_stopping`; each class has rows
            to fit on, and of two classes both have rows in the early-stopping set.
        features: real names of `x_0..`.
        params: the strategy's, instead of `training.params`.
        start: margin of each class that training starts from; for the logistic loss ln of the class shares.
        correction: from the model's scores to probabilities at the real class shares.
        strategy: name for messages.
        weight_col: weight of a row, > 0. In the early-stopping set it must not hold class weights: the metric there is
            to be that of real class shares. `strategies.with_recipe_weight` makes it so.
        scale_pos_weight: XGBoost's, for two classes without a loss of their own.
        loss: instead of XGBoost's; it has class weights of its own.
        costs: where `training.early_stopping_metric` asks for them, see `StoppingMetric`.
    Returns:
        The booster of the best round, with the metric of each round.
    Raises:
        ConfigError: `start` or `scale_pos_weight` out of range, or the metric lacks its costs.
        MissingColumnsError: an input column is absent.
        TrainingError: the fit failed, or its metric is not a number; see `fit_watched` for when it is tried again.
        SlotsUnavailableError: executors were lost, and none took their place.
    """
    _check_start(start, correction.classes, scale_pos_weight, strategy, loss)
    # Only two classes have a single margin that a shift can move.
    shift = correction.logit_shift if correction.classes == 2 and loss is None else 0.0
    stops_on = PriorCorrection.identity() if correction.classes == 2 and loss is None else correction
    metric = stopping_metric(training.early_stopping_metric, stops_on, is_margin=loss is not None, costs=costs)
    inputs = [feature_column(i) for i in range(len(features))]
    weights = [] if weight_col is None else [weight_col]
    require_columns(table, [*inputs, LABEL, IS_EARLY_STOPPING, *weights], "fit_booster")
    fit_names = [FIRST_FEATURE, *inputs[1:]]
    columns = [col(name).cast("float").alias(alias) for name, alias in zip(inputs, fit_names, strict=True)]
    columns += [col(name) for name in (LABEL, IS_EARLY_STOPPING, *weights)]
    if shift != 0.0:
        columns.append(_start_margin(start[1] - start[0], shift))
    settings = _settings(training, params, start, scale_pos_weight)
    roles = {"features_col": fit_names, "weight_col": weight_col, "base_margin_col": _MARGIN if shift != 0.0 else None}
    objective = _objective(correction.classes, loss, metric)
    with one_file_a_worker(table, training.num_workers) as is_laid_out:
        asked = {**settings, **roles, **objective, "force_repartition": not is_laid_out}
        model = fit_estimator(table.select(*columns), asked, training, strategy)
    return export_booster(model, features, settings, training, strategy)


def _check_start(
    start: Sequence[float], classes: int, scale_pos_weight: float, strategy: str, loss: FocalLoss | None
) -> None:
    problems = []
    if len(start) != classes or not all(map(math.isfinite, start)):
        problems.append(
            f"strategy {strategy!r}: start must be a finite margin for each of {classes} classes, got {list(start)}. "
            "Every class needs rows to fit on."
        )
    if not 0.0 < scale_pos_weight < math.inf:
        problems.append(
            f"strategy {strategy!r}: scale_pos_weight must be a number above 0, got {scale_pos_weight!r}. "
            "'balanced' is n_neg / n_pos."
        )
    if scale_pos_weight != 1.0 and (loss is not None or classes > 2):
        problems.append(
            f"strategy {strategy!r}: scale_pos_weight {scale_pos_weight!r} has no effect on a custom loss, nor on more "
            "than two classes. Put the weight into the loss."
        )
    if problems:
        raise ConfigError.of_all(problems)


def _start_margin(start: float, shift: float) -> Column:
    # A margin replaces the base score of its row, in the fit only: the model itself starts from base_score.
    return (F.lit(start) + F.when(col(IS_EARLY_STOPPING), shift).otherwise(0.0)).alias(_MARGIN)


def _objective(classes: int, loss: FocalLoss | None, metric: StoppingMetric | None) -> dict[str, Any]:
    """Objective and metric; the callables XGBoost's Spark estimator passes on to `xgboost.train` on each worker, though
    it documents neither."""
    found: dict[str, Any] = {"objective": "binary:logistic"}
    if classes > 2:
        found = {"objective": "multi:softprob", "num_class": classes}
    if loss is not None:
        found["obj"] = loss
    if metric is None:
        # Distributed auc and aucpr are means over workers, and NaN where one has no positive.
        return found | {"eval_metric": "logloss" if classes == 2 else "mlogloss"}
    return found | {"custom_metric": metric, "maximize": metric.is_maximised, "disable_default_eval_metric": 1}


def _settings(
    training: TrainingConfig, params: BoosterParams, start: Sequence[float], scale_pos_weight: float
) -> dict[str, Any]:
    found = {
        **params.model_dump(),
        "n_estimators": training.rounds,
        "early_stopping_rounds": training.early_stopping_rounds,
        "random_state": training.seed,
        "tree_method": "hist",
    }
    if len(start) > 2:
        return found | {"base_score": list(start)}
    # XGBoost wants a probability, and keeps it as float32.
    base_score = math.exp(start[1] - np.logaddexp(start[0], start[1]))
    return found | {"base_score": base_score, "scale_pos_weight": scale_pos_weight}


def fit_estimator(rows: DataFrame, settings: Mapping[str, Any], training: TrainingConfig, strategy: str) -> Any:
    """XGBoost's Spark estimator, fitted quietly; a failure says which strategy's, in one line."""
    from xgboost.spark import SparkXGBClassifier, SparkXGBRegressor  # importing this package needs no xgboost

    # The classifier counts classes in a pass of its own; the regressor takes a classifier's objective, and does not.
    kind = SparkXGBRegressor if "objective" in settings else SparkXGBClassifier

    def fit(callbacks: list[Any]) -> Any:
        # A new estimator for each attempt, and with it a tracker that no earlier worker knows.
        estimator = kind(
            label_col=LABEL,
            validation_indicator_col=IS_EARLY_STOPPING,
            num_workers=training.num_workers,
            missing=math.nan,
            device="cpu",
            verbosity=0,
            verbose=False,
            callbacks=callbacks,
            **settings,
        )
        return estimator.fit(rows)

    with _quiet():
        try:
            return fit_watched(rows.sparkSession, fit, training, strategy)
        except Exception as error:
            raise training_error(error, strategy) from error


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


def export_booster(
    model: Any, features: Sequence[str], settings: Mapping[str, Any], training: TrainingConfig, strategy: str
) -> FittedBooster:
    """A fitted estimator's trees up to the best round; a metric that is not a number in some round is refused."""
    history = model.training_summary
    [training_curve], [validation_curve] = (
        part.values() for part in (history.train_objective_history, history.validation_objective_history)
    )
    curve = {"training": tuple(training_curve), "validation": tuple(validation_curve)}
    if bad := [part for part, losses in curve.items() if not all(map(math.isfinite, losses))]:
        raise TrainingError(
            f"training of strategy {strategy!r}: {training.early_stopping_metric} on {bad} is not finite in some "
            "round. Check that the early-stopping set has rows and that weights are moderate, or lower learning_rate."
        )
    booster = model.get_booster()
    best = booster[: booster.best_iteration + 1]
    best.feature_names = booster_names(features)
    return FittedBooster(
        model_bytes=bytes(best.save_raw("ubj")),
        features=tuple(features),
        best_iteration=booster.best_iteration,
        rounds_run=booster.num_boosted_rounds(),
        learning_curve=curve,
        num_workers=training.num_workers,
        params=dict(settings),
        metric=training.early_stopping_metric,
    )


def booster_names(features: Sequence[str]) -> list[str]:
    """What a booster calls its features: `x_0..` where XGBoost, which forbids three characters, refuses a real name."""
    if any(character in name for name in features for character in "[]<"):
        return [feature_column(i) for i in range(len(features))]
    return list(features)
