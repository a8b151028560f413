"""What a fit asks of an engine, and what an engine gives back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame

from imbalance_spark.core.files import Folder
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.learners.cuts import CutKind
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.learners.stopping import StoppingMetric


@dataclass(frozen=True, kw_only=True)
class FitRequest:
    """A fit, as every engine is asked for it.

    Args:
        table: `inputs` (null is missing), `y`, `is_early_stopping`, `weight_col`.
        inputs: names of the feature columns.
        params: XGBoost's, without seed and threads.
        loss, metric: instead of XGBoost's.
        start: margin that the rows to fit on start from, which is the base score's.
        shift: added to it on the early-stopping set; 0 for a loss of our own and more classes than two.
        fit_rows: rows of each class outside the early-stopping set, where they are known.
        checkpoints: folder for what a fit keeps of its rounds.
        strategy: name for messages.
    """

    table: DataFrame
    inputs: tuple[str, ...]
    weight_col: str | None
    params: Mapping[str, Any]
    loss: FocalLoss | None
    metric: StoppingMetric | None
    start: float
    shift: float
    training: TrainingConfig
    cuts: CutKind
    key: Sequence[str]
    fit_rows: Mapping[int, int] | None
    checkpoints: Folder | None
    strategy: str


@dataclass(frozen=True, kw_only=True)
class BoostedRounds:
    """A booster of all rounds run, as XGBoost's binary JSON; the metric after each; the round with the best one.

    `notes` is what the engine did in its own way, for the record.
    """

    model: bytes
    training: tuple[float, ...]
    validation: tuple[float, ...]
    best_round: int
    notes: Mapping[str, Any]
