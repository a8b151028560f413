"""What a fit asks of a learner and its engine, and what an engine gives back."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from pyspark.sql import DataFrame

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.files import Folder
from imbalance_spark.orders.model_inputs import feature_column
from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.learners.cuts import CutKind
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.learners.stopping import Costs, StoppingMetric, stopping_metric


@dataclass(frozen=True, kw_only=True)
class FitRequest:
    """A fit on the rows outside the early-stopping set, as every learner is asked for it.

    Args:
        table: `x_0..` (double, null is missing), `y` (class number from 0), `is_early_stopping`; each class has rows
            to fit on, and of two classes both have rows in the early-stopping set.
        features: real names of `x_0..`.
        categorical: how many of the last features are codes of categories, from 0, the most frequent first.
        params: the strategy's, instead of `training.params`.
        own_params: parameters that only this learner has.
        start: margin of each class that training starts from; for the logistic loss ln of the class shares.
        correction: from the model's scores to probabilities at the real class shares.
        strategy: name for messages.
        weight_col: weight of a row, > 0. In the early-stopping set it must not hold class weights: the metric there is
            to be that of real class shares. `strategies.with_recipe_weight` makes it so.
        scale_pos_weight: XGBoost's, for two classes without a loss of their own.
        loss: instead of the learner's; it has class weights of its own.
        costs: where `training.early_stopping_metric` asks for them, see `StoppingMetric`.
        cuts: see `collect_cuts`; the `xgboost_spark` engine has only those of its own sketch.
        key: columns that identify a row; needed where cuts are given and a class has more than about 100,000 rows.
        fit_rows: rows of each class outside the early-stopping set; counted if not given.
        checkpoints: folder in which the `native` engine keeps its rounds, so that another driver can resume the fit.
    Raises:
        ConfigError: `start` or `scale_pos_weight` out of range, or the metric lacks its costs.
    """

    table: DataFrame
    features: Sequence[str]
    training: TrainingConfig
    params: BoosterParams
    start: Sequence[float]
    correction: PriorCorrection
    strategy: str
    categorical: int = 0
    own_params: Mapping[str, Any] = field(default_factory=dict)
    weight_col: str | None = None
    scale_pos_weight: float = 1.0
    loss: FocalLoss | None = None
    costs: Costs | None = None
    cuts: CutKind = "plain"
    key: Sequence[str] = ()
    fit_rows: Mapping[int, int] | None = None
    checkpoints: Folder | None = None

    def __post_init__(self) -> None:
        problems = []
        if len(self.start) != self.classes or not all(map(math.isfinite, self.start)):
            problems.append(
                f"strategy {self.strategy!r}: start must be a finite margin for each of {self.classes} classes, got "
                f"{list(self.start)}. Every class needs rows to fit on."
            )
        if not 0.0 < self.scale_pos_weight < math.inf:
            problems.append(
                f"strategy {self.strategy!r}: scale_pos_weight must be a number above 0, got "
                f"{self.scale_pos_weight!r}. 'balanced' is n_neg / n_pos."
            )
        if self.scale_pos_weight != 1.0 and (self.loss is not None or self.classes > 2):
            problems.append(
                f"strategy {self.strategy!r}: scale_pos_weight {self.scale_pos_weight!r} has no effect on a custom "
                "loss, nor on more than two classes. Put the weight into the loss."
            )
        if problems:
            raise ConfigError.of_all(problems)
        self.metric  # noqa: B018  # refuses what it lacks before anything is read

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the feature columns."""
        return tuple(feature_column(i) for i in range(len(self.features)))

    @property
    def classes(self) -> int:
        """How many there are."""
        return self.correction.classes

    @property
    def margins(self) -> tuple[float, ...]:
        """What scores of the rows to fit on start from: one margin for two classes, else one for each."""
        return (self.start[1] - self.start[0],) if self.classes == 2 else tuple(self.start)

    @property
    def row_factors(self) -> tuple[float, ...]:
        """What a row of each class weighs in the gradient beside its weight column."""
        if self.loss is not None:
            return self.loss.weights
        return tuple(self.scale_pos_weight if k == 1 else 1.0 for k in range(self.classes))

    @property
    def shift(self) -> float:
        """Of two classes, what moves a margin of the early-stopping set to that of a corrected probability.

        0 for a loss of our own, which needs more than a shift, and for more classes, which have no single margin.
        """
        return self.correction.logit_shift if self.classes == 2 and self.loss is None else 0.0

    @cached_property
    def metric(self) -> StoppingMetric | None:
        """What stops the fit; None is the learner's own log loss."""
        is_shifted = self.classes == 2 and self.loss is None
        stops_on = PriorCorrection.identity() if is_shifted else self.correction
        name = self.training.early_stopping_metric
        return stopping_metric(name, stops_on, is_margin=self.loss is not None, costs=self.costs)


def xgboost_params(request: FitRequest) -> dict[str, Any]:
    """XGBoost's parameters of a fit, without seed and threads."""
    found: dict[str, Any] = {**request.params.model_dump(), "tree_method": "hist"}
    if request.classes > 2:
        found |= {"base_score": list(request.start), "objective": "multi:softprob", "num_class": request.classes}
    else:
        # XGBoost wants a probability, and keeps it as float32.
        base_score = math.exp(request.start[1] - np.logaddexp(request.start[0], request.start[1]))
        found |= {"base_score": base_score, "scale_pos_weight": request.scale_pos_weight}
        found["objective"] = "binary:logistic"
    # XGBoost's distributed auc and aucpr are means over workers, and NaN where one has no positive.
    of_xgboost = {"eval_metric": "logloss" if request.classes == 2 else "mlogloss"}
    return found | (of_xgboost if request.metric is None else {"disable_default_eval_metric": 1})


@dataclass(frozen=True, kw_only=True)
class BoostedRounds:
    """The booster of all rounds run, as XGBoost's binary JSON; the metric after each; the round with the best one.

    Of a network the model is that of the best round alone.

    `params` is what the learner was given, `notes` what its engine did in its own way, for the record.
    """

    model: bytes
    training: tuple[float, ...]
    validation: tuple[float, ...]
    best_round: int
    params: Mapping[str, Any]
    notes: Mapping[str, Any]
