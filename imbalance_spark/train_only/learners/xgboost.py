"""Boosting on a materialised table, stopped early by rows that are not fitted on; XGBoost as a learner."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pyspark.sql import DataFrame

from imbalance_spark.core.columns import IS_EARLY_STOPPING, require_columns
from imbalance_spark.core.errors import TrainingError
from imbalance_spark.core.spark_errors import training_error
from imbalance_spark.orders.model_inputs import LABEL, feature_column
from imbalance_spark.train_only.config import EngineName
from imbalance_spark.train_only.learners.engine import BoostedRounds, FitRequest
from imbalance_spark.train_only.learners.learner import Learner


@dataclass(frozen=True, kw_only=True)
class FittedBooster:
    """A trained model as bytes, and how it came to be."""

    model_bytes: bytes
    """XGBoost's binary JSON, trees up to the best round only; or the bytes of a `LinearModel` or a `NetworkModel`."""
    features: tuple[str, ...]
    """Names of the inputs, in the order of `x_0, x_1, ...`."""
    best_iteration: int
    """Round, from 0, with the best metric on the early-stopping set: the model has one round more than this says."""
    rounds_run: int
    learning_curve: Mapping[str, tuple[float, ...]]
    """The metric after each round run: `training` (as weighted and sampled), `validation` (the early-stopping set)."""
    num_workers: int
    params: Mapping[str, Any]
    """What the learner was given."""
    metric: str = "log_loss"
    """What the learning curve shows, and stopped the fit."""

    @classmethod
    def from_record(cls, record: Mapping[str, Any], model_bytes: bytes) -> Self:
        """The booster from its bytes and its other fields, as `dataclasses.asdict` and JSON give them back."""
        curve = {part: tuple(losses) for part, losses in record["learning_curve"].items()}
        features = tuple(record["features"])
        return cls(**{**record, "model_bytes": model_bytes, "features": features, "learning_curve": curve})


class XGBoost(Learner):
    """XGBoost, on all workers together.

    Two classes are fitted with `binary:logistic`, one tree a round; K with `multi:softprob`, one tree a class and
    round. Codes of categories are numbers to it, the most frequent ones first.
    """

    name = "xgboost"
    package = "xgboost"
    has_external_memory = True

    def has_own_sketch(self, engine: EngineName) -> bool:
        """XGBoost's Spark estimator does; the native engine is given cuts."""
        return engine == "xgboost_spark"

    def passes(self, features: int, engine: EngineName) -> int:
        """One; the native engine takes its cuts first."""
        return 2 if engine == "native" else 1

    def fit(self, request: FitRequest) -> FittedBooster:
        """See `fit_rounds`.

        Passes over the table: see the engine. A table with exactly one file per worker is read without a shuffle; any
        other is repartitioned. By the `native` engine the same rows give the same splits in any layout; by
        `xgboost_spark` they differ with layout and `num_workers`, and `layout.laid_out_for` makes both follow from the
        key. A custom loss, or a metric other than log loss, is evaluated by numpy on one thread a worker.
        """
        return fit_rounds(request, _engine(request.training.engine))


def fit_booster(table: DataFrame, **settings: Any) -> FittedBooster:
    """Fit XGBoost on a training table.

    Args:
        table, settings: see `FitRequest`.
    """
    return XGBoost().fit(FitRequest(table=table, **settings))


def best_trees(boosted: BoostedRounds, request: FitRequest) -> bytes:
    """The trees up to the best round."""
    import xgboost

    best = xgboost.Booster(model_file=bytearray(boosted.model))[: boosted.best_round + 1]
    best.feature_names = booster_names(request.features)
    return bytes(best.save_raw("ubj"))


def fit_rounds(
    request: FitRequest,
    boost: Callable[[FitRequest], BoostedRounds],
    best: Callable[[BoostedRounds, FitRequest], bytes] = best_trees,
) -> FittedBooster:
    """Boost on the rows outside the early-stopping set; keep the model of its best round.

    The early-stopping set keeps its real class shares while the strategy may shift those of the other rows, so the
    metric that stops the fit is that of corrected probabilities. For two classes without a loss of their own, the rows
    of the set start from a margin moved by the correction's logit shift, and the log loss of scores is that metric.
    Trees are not affected, since no gradient comes from the set. A worker with one class is allowed: every metric is
    that of the rows of all workers.

    Args:
        best: the model of the best round from what `boost` gave.
    Returns:
        The model of the best round, with the metric of each round.
    Raises:
        MissingColumnsError: an input column is absent.
        TrainingError: the fit failed, or its metric is not a number; see `fit_watched` for when it is tried again.
        SlotsUnavailableError: executors were lost, and none took their place.
    """
    weights = [] if request.weight_col is None else [request.weight_col]
    require_columns(request.table, [*request.inputs, LABEL, IS_EARLY_STOPPING, *weights], "fit_booster")
    try:
        boosted = boost(request)
    except Exception as error:
        raise training_error(error, request.strategy) from error
    return _exported(boosted, best, request)


def _engine(name: EngineName) -> Callable[[FitRequest], BoostedRounds]:
    # Importing this package needs no xgboost.
    if name == "native":
        from imbalance_spark.train_only.learners.native import fit_native

        return fit_native
    from imbalance_spark.train_only.learners.xgboost_spark import fit_with_xgboost_spark

    return fit_with_xgboost_spark


def _exported(
    boosted: BoostedRounds, best: Callable[[BoostedRounds, FitRequest], bytes], request: FitRequest
) -> FittedBooster:
    """The model of the best round; a metric that is not a number in some round is refused."""
    training, curve = request.training, {"training": boosted.training, "validation": boosted.validation}
    if bad := [part for part, losses in curve.items() if not all(map(math.isfinite, losses))]:
        raise TrainingError(
            f"training of strategy {request.strategy!r}: {training.early_stopping_metric} on {bad} is not finite in "
            "some round. Check that the early-stopping set has rows and that weights are moderate, or lower "
            "learning_rate."
        )
    return FittedBooster(
        model_bytes=best(boosted, request),
        features=tuple(request.features),
        best_iteration=boosted.best_round,
        rounds_run=len(boosted.validation),
        learning_curve=curve,
        num_workers=training.num_workers,
        params={**boosted.params, "rounds": training.rounds, "seed": training.seed, **boosted.notes},
        metric=training.early_stopping_metric,
    )


def booster_names(features: Sequence[str]) -> list[str]:
    """What a booster calls its features: `x_0..` where XGBoost, which forbids three characters, refuses a real name."""
    if any(character in name for name in features for character in "[]<"):
        return [feature_column(i) for i in range(len(features))]
    return list(features)
