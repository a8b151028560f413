"""Distributed XGBoost on a materialised table: one barrier stage, stopped early by rows that are not fitted on."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pyspark.sql import DataFrame

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.columns import IS_EARLY_STOPPING, require_columns
from imbalance_spark.core.errors import ConfigError, TrainingError
from imbalance_spark.core.files import Folder
from imbalance_spark.core.spark_errors import training_error
from imbalance_spark.orders.model_inputs import LABEL, feature_column
from imbalance_spark.train_only.config import BoosterParams, EngineName, TrainingConfig
from imbalance_spark.train_only.learners.cuts import CutKind
from imbalance_spark.train_only.learners.engine import BoostedRounds, FitRequest
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.learners.stopping import Costs, StoppingMetric, stopping_metric


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
    cuts: CutKind = "plain",
    key: Sequence[str] = (),
    fit_rows: Mapping[int, int] | None = None,
    checkpoints: Folder | None = None,
) -> FittedBooster:
    """Fit on the rows outside the early-stopping set; keep the trees up to its best round.

    Two classes are fitted with `binary:logistic`, one tree a round; K with `multi:softprob`, one tree a class and
    round.

    The early-stopping set keeps its real class shares while the strategy may shift those of the other rows, so the
    metric that stops the fit is that of corrected probabilities. For two classes without a loss of their own, the rows
    of the set start from a margin moved by the correction's logit shift, and XGBoost's own log loss is that metric.
    Trees are not affected, since no gradient comes from the set.

    Passes over `table`: see the engine. A table with exactly one file per worker is read without a shuffle; any other
    is repartitioned. By the `native` engine the same rows give the same splits in any layout; by `xgboost_spark` they
    differ with layout and `num_workers`, and `layout.laid_out_for` makes both follow from the key. A worker with one
    class is allowed: every metric is that of the rows of all workers. A custom loss, or a metric other than log loss,
    is evaluated by numpy on one thread a worker.

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
        cuts: see `collect_cuts`; the `xgboost_spark` engine has only those of its own sketch.
        key: columns that identify a row; needed by the `native` engine beyond about 100,000 rows of a class.
        fit_rows: rows of each class outside the early-stopping set; counted if not given.
        checkpoints: folder in which the `native` engine keeps its rounds, so that another driver can resume the fit.
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
    is_shifted = correction.classes == 2 and loss is None
    stops_on = PriorCorrection.identity() if is_shifted else correction
    metric = stopping_metric(training.early_stopping_metric, stops_on, is_margin=loss is not None, costs=costs)
    inputs = tuple(feature_column(i) for i in range(len(features)))
    weights = [] if weight_col is None else [weight_col]
    require_columns(table, [*inputs, LABEL, IS_EARLY_STOPPING, *weights], "fit_booster")
    request = FitRequest(
        table=table,
        inputs=inputs,
        weight_col=weight_col,
        params={**_params(params, start, scale_pos_weight), **_objective(correction.classes, metric)},
        loss=loss,
        metric=metric,
        start=start[1] - start[0],
        shift=correction.logit_shift if is_shifted else 0.0,
        training=training,
        cuts=cuts,
        key=key,
        fit_rows=fit_rows,
        checkpoints=checkpoints,
        strategy=strategy,
    )
    try:
        boosted = _engine(training.engine)(request)
    except Exception as error:
        raise training_error(error, strategy) from error
    return _exported(boosted, features, request)


def _engine(name: EngineName) -> Callable[[FitRequest], BoostedRounds]:
    # Importing this package needs no xgboost.
    if name == "native":
        from imbalance_spark.train_only.learners.native import fit_native

        return fit_native
    from imbalance_spark.train_only.learners.xgboost_spark import fit_with_xgboost_spark

    return fit_with_xgboost_spark


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


def _objective(classes: int, metric: StoppingMetric | None) -> dict[str, Any]:
    found: dict[str, Any] = {"objective": "binary:logistic"}
    if classes > 2:
        found = {"objective": "multi:softprob", "num_class": classes}
    # XGBoost's distributed auc and aucpr are means over workers, and NaN where one has no positive.
    of_xgboost = {"eval_metric": "logloss" if classes == 2 else "mlogloss"}
    return found | (of_xgboost if metric is None else {"disable_default_eval_metric": 1})


def _params(params: BoosterParams, start: Sequence[float], scale_pos_weight: float) -> dict[str, Any]:
    found = {**params.model_dump(), "tree_method": "hist"}
    if len(start) > 2:
        return found | {"base_score": list(start)}
    # XGBoost wants a probability, and keeps it as float32.
    base_score = math.exp(start[1] - np.logaddexp(start[0], start[1]))
    return found | {"base_score": base_score, "scale_pos_weight": scale_pos_weight}


def _exported(boosted: BoostedRounds, features: Sequence[str], request: FitRequest) -> FittedBooster:
    """The trees up to the best round; a metric that is not a number in some round is refused."""
    import xgboost

    training, curve = request.training, {"training": boosted.training, "validation": boosted.validation}
    if bad := [part for part, losses in curve.items() if not all(map(math.isfinite, losses))]:
        raise TrainingError(
            f"training of strategy {request.strategy!r}: {training.early_stopping_metric} on {bad} is not finite in "
            "some round. Check that the early-stopping set has rows and that weights are moderate, or lower "
            "learning_rate."
        )
    best = xgboost.Booster(model_file=bytearray(boosted.model))[: boosted.best_round + 1]
    best.feature_names = booster_names(features)
    return FittedBooster(
        model_bytes=bytes(best.save_raw("ubj")),
        features=tuple(features),
        best_iteration=boosted.best_round,
        rounds_run=len(boosted.validation),
        learning_curve=curve,
        num_workers=training.num_workers,
        params={**request.params, "rounds": training.rounds, "seed": training.seed, **boosted.notes},
        metric=training.early_stopping_metric,
    )


def booster_names(features: Sequence[str]) -> list[str]:
    """What a booster calls its features: `x_0..` where XGBoost, which forbids three characters, refuses a real name."""
    if any(character in name for name in features for character in "[]<"):
        return [feature_column(i) for i in range(len(features))]
    return list(features)
