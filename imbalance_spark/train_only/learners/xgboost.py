"""Distributed XGBoost on a materialised table: one barrier stage, stopped early by its own slice of the rows."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.calibration.correction import PriorCorrection
from imbalance_spark.core.columns import IS_EARLY_STOPPING, col, require_columns
from imbalance_spark.core.errors import ConfigError, TrainingError
from imbalance_spark.core.spark_errors import training_error
from imbalance_spark.orders.model_inputs import LABEL, feature_column
from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.learners.layout import one_file_a_worker
from imbalance_spark.train_only.learners.losses import BalancedSketchLoss, FocalLoss, SoftmaxFocalLoss
from imbalance_spark.train_only.learners.retry import fit_watched
from imbalance_spark.train_only.learners.stopping import ClassLogLoss, StoppingMetric, stopping_metric

_MARGIN = "start_margin"


_OBJECTIVE = "binary:logistic"


FIRST_FEATURE = "values"
# XGBoost 3.2 looks this column up in each Arrow batch that has no row of the slice, or none to fit on, and fails
# with a KeyError where features come as columns of other names. Nothing but the lookup depends on the name.


@dataclass(frozen=True, kw_only=True)
class FittedBooster:
    """A trained model as bytes, and how it came to be."""

    ubj: bytes
    """XGBoost's binary JSON, trees up to the best round only; or the bytes of a `LinearModel`."""
    features: tuple[str, ...]
    """Names of the inputs, in the order of `x_0, x_1, ...`."""
    best_iteration: int
    """Round, from 0, with the best metric on the early-stopping slice: the model has one tree more than this says."""
    rounds_run: int
    learning_curve: Mapping[str, tuple[float, ...]]
    """The metric after each round run: `training` (as weighted and sampled), `validation` (the slice)."""
    num_workers: int
    params: Mapping[str, Any]
    """What XGBoost was given."""
    metric: str = "log_loss"
    """What the learning curve shows, and stopped the fit."""

    @classmethod
    def from_record(cls, record: Mapping[str, Any], ubj: bytes) -> Self:
        """The booster from its bytes and its other fields, as `dataclasses.asdict` and JSON give them back."""
        curve = {part: tuple(losses) for part, losses in record["learning_curve"].items()}
        return cls(**{**record, "ubj": ubj, "features": tuple(record["features"]), "learning_curve": curve})


def fit_booster(
    table: DataFrame,
    *,
    features: Sequence[str],
    training: TrainingConfig,
    params: BoosterParams,
    base_score: float,
    strategy: str,
    weight_col: str | None = None,
    scale_pos_weight: float = 1.0,
    logit_shift: float = 0.0,
    loss: FocalLoss | None = None,
    costs: tuple[float, float] | None = None,
) -> FittedBooster:
    """Fit on the rows outside the early-stopping slice; keep the trees up to the slice's best round.

    The slice keeps its real class shares while the strategy may shift those of the other rows, so raw
    scores on it are off by the prior correction. Its rows therefore start from a margin moved by
    `logit_shift`: the metric that stops the fit is that of corrected probabilities, as it is with a loss
    of its own correction. Trees are not affected, since no gradient comes from the slice.

    Passes over `table`: one. A table of one file a worker is read as it lies; any other is dealt to the workers anew.
    Which worker has which row follows from the table's layout, and the trees differ with layout and `num_workers`,
    not between runs on the same table; `layout.laid_out_for` makes both follow from the key. A worker with one class
    is allowed: every metric is that of the rows of all workers. A custom loss, or a metric other than log loss, is
    evaluated by numpy on one thread a worker.

    Args:
        table: `x_0..` (double, null is missing), `y` (0 or 1), `is_early_stopping`, both parts with both classes.
        features: real names of `x_0..`.
        params: the strategy's, instead of `training.params`.
        base_score: raw score that training starts from, in (0, 1); for the logistic loss the share of positives.
        strategy: name for messages.
        weight_col: weight of a row, > 0. On the slice it must not hold class weights: the metric there is
            to be that of real class shares. `strategy.with_recipe_weight` makes it so.
        logit_shift: of the strategy's prior correction.
        loss: instead of the logistic one; it has class weights of its own, so `scale_pos_weight` must be 1.
        costs: of a missed positive and of a false alarm, where `training.early_stopping_metric` asks for them.
    Raises:
        ConfigError: `base_score` or `scale_pos_weight` out of range, or the metric lacks its costs.
        MissingColumnsError: an input column is absent.
        TrainingError: the fit failed, or its metric is not a number; see `fit_watched` for when it is tried again.
        SlotsUnavailableError: executors were lost, and none took their place.
    """
    _check_start(base_score, scale_pos_weight, strategy, loss)
    metric = stopping_metric(training.early_stopping_metric, loss, costs)
    inputs = [feature_column(i) for i in range(len(features))]
    weights = [] if weight_col is None else [weight_col]
    require_columns(table, [*inputs, LABEL, IS_EARLY_STOPPING, *weights], "fit_booster")
    fit_names = [FIRST_FEATURE, *inputs[1:]]
    columns = [col(name).cast("float").alias(alias) for name, alias in zip(inputs, fit_names, strict=True)]
    columns += [col(name) for name in (LABEL, IS_EARLY_STOPPING, *weights)]
    if logit_shift != 0.0:
        columns.append(_start_margin(base_score, logit_shift))
    settings = _settings(training, params, base_score, scale_pos_weight)
    margin_col = _MARGIN if logit_shift != 0.0 else None
    roles = {"features_col": fit_names, "weight_col": weight_col, "base_margin_col": margin_col}
    with one_file_a_worker(table, training.num_workers) as is_laid_out:
        settings_of_fit = {**settings, **roles, "objective": _OBJECTIVE, "force_repartition": not is_laid_out}
        callables = _callables(loss, metric)
        model = fit_estimator(table.select(*columns), {**settings_of_fit, **callables}, training, strategy)
    return export_booster(model, features, settings, training, strategy)


def _check_start(base_score: float, scale_pos_weight: float, strategy: str, loss: FocalLoss | None) -> None:
    problems = []
    if not 0.0 < base_score < 1.0:
        problems.append(
            f"strategy {strategy!r}: base_score must be in (0, 1), got {base_score!r}. "
            "It is the share of positives to start from: both classes need rows."
        )
    if not 0.0 < scale_pos_weight < math.inf:
        problems.append(
            f"strategy {strategy!r}: scale_pos_weight must be a number above 0, got {scale_pos_weight!r}. "
            "'balanced' is n_neg / n_pos."
        )
    if loss is not None and scale_pos_weight != 1.0:
        problems.append(
            f"strategy {strategy!r}: scale_pos_weight {scale_pos_weight!r} has no effect on a custom loss. "
            "Put the weight into the loss."
        )
    if problems:
        raise ConfigError.of_all(problems)


def _start_margin(base_score: float, logit_shift: float) -> Column:
    # A margin replaces the base score of its row, in the fit only: the model itself starts from base_score.
    start = math.log(base_score) - math.log1p(-base_score)
    return (F.lit(start) + F.when(col(IS_EARLY_STOPPING), logit_shift).otherwise(0.0)).alias(_MARGIN)


def _callables(loss: FocalLoss | None, metric: StoppingMetric | None) -> dict[str, Any]:
    """What XGBoost's Spark estimator passes on to `xgboost.train` on each worker, though it documents neither."""
    found: dict[str, Any] = {} if loss is None else {"obj": loss}
    if metric is None:
        # Distributed auc and aucpr are means over workers, and NaN where one has no positive.
        return found | {"eval_metric": "logloss"}
    return found | {"custom_metric": metric, "maximize": metric.is_maximised, "disable_default_eval_metric": 1}


def _settings(
    training: TrainingConfig, params: BoosterParams, base_score: float, scale_pos_weight: float
) -> dict[str, Any]:
    return {
        **params.model_dump(),
        "n_estimators": training.rounds,
        "early_stopping_rounds": training.early_stopping_rounds,
        "random_state": training.seed,
        "base_score": base_score,
        "scale_pos_weight": scale_pos_weight,
        "tree_method": "hist",
    }


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
    """A fitted estimator's trees up to the best round; a metric that is no number in some round is refused."""
    history = model.training_summary
    [training_curve], [validation_curve] = (
        part.values() for part in (history.train_objective_history, history.validation_objective_history)
    )
    curve = {"training": tuple(training_curve), "validation": tuple(validation_curve)}
    if bad := [part for part, losses in curve.items() if not all(map(math.isfinite, losses))]:
        raise TrainingError(
            f"training of strategy {strategy!r}: {training.early_stopping_metric} on {bad} is no finite number in some "
            "round. Check that the early-stopping slice has rows and that weights are moderate, or lower learning_rate."
        )
    booster = model.get_booster()
    best = booster[: booster.best_iteration + 1]
    best.feature_names = booster_names(features)
    return FittedBooster(
        ubj=bytes(best.save_raw("ubj")),
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


ClassLoss = SoftmaxFocalLoss | BalancedSketchLoss


def fit_class_booster(
    table: DataFrame,
    *,
    features: Sequence[str],
    training: TrainingConfig,
    params: BoosterParams,
    start: Sequence[float],
    correction: PriorCorrection,
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
    settings = _class_settings(training, params, start)
    with one_file_a_worker(table, training.num_workers) as is_laid_out:
        roles = {"features_col": fit_names, "weight_col": weight_col, "force_repartition": not is_laid_out}
        objective = {"objective": "multi:softprob", "num_class": len(start)}
        asked = {**settings, **roles, **objective, **_class_callables(loss, correction)}
        model = fit_estimator(table.select(*columns), asked, training, strategy)
    return export_booster(model, features, settings, training, strategy)


def _class_callables(loss: ClassLoss | None, correction: PriorCorrection) -> dict[str, Any]:
    if loss is None and correction.is_identity:
        # XGBoost's own is summed over workers too, and takes no time.
        return {"eval_metric": "mlogloss"}
    metric = ClassLogLoss(correction=correction, is_margin=loss is not None)
    found = {"custom_metric": metric, "maximize": False, "disable_default_eval_metric": 1}
    return found if loss is None else {**found, "obj": loss}


def _class_settings(training: TrainingConfig, params: BoosterParams, start: Sequence[float]) -> dict[str, Any]:
    return {
        **params.model_dump(),
        "n_estimators": training.rounds,
        "early_stopping_rounds": training.early_stopping_rounds,
        "random_state": training.seed,
        "base_score": list(start),
        "tree_method": "hist",
    }
