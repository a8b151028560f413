"""What a run is asked to do: its sections put together, and what does not go together."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from imbalance_spark.core.section import Name, Section
from imbalance_spark.orders.config import OrdersConfig, repeated
from imbalance_spark.split.config import SplitConfig
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.strategies.config import StrategyConfig, feature_problems, stacking_problems

CLASS_KINDS = (
    "none", "undersample", "oversample", "class_weight", "balanced_sketch", "focal", "class_balanced_focal",
    "max_delta_step",
)  # fmt: skip
"""Kinds of strategies that there are for more than two classes."""


_INSTEAD = {
    "scale_pos_weight": "class_weight",
    "class_weight_power": "balanced_sketch",
    "asymmetric_focal": "focal",
    "undersample_ensemble": "undersample",
    "logistic_class_weight": "class_weight",
}


def class_problems(
    names: Sequence[str], strategies: Sequence[StrategyConfig], *, early_stopping_metric: str, segments: Sequence[str]
) -> Iterator[str]:
    """What there is for two classes only, and strategies that do not fit these classes."""
    for strategy in strategies:
        if strategy.kind not in CLASS_KINDS:
            instead = f": use {_INSTEAD[strategy.kind]}" if strategy.kind in _INSTEAD else ""
            yield (
                f"strategy {strategy.name!r}: {strategy.kind} is for two classes, orders.classes has {len(names)}"
                f"{instead}; for these there are {list(CLASS_KINDS)}"
            )
        else:
            yield from _strategy_problems(strategy, names)
    if early_stopping_metric != "log_loss":
        yield (
            f"training.early_stopping_metric {early_stopping_metric} is for two classes, orders.classes has "
            f"{len(names)}: stop by log_loss"
        )
    if segments:
        yield f"scoring.segments {list(segments)} are counted for two classes only: leave them out"


def two_class_problems(strategies: Sequence[StrategyConfig]) -> Iterator[str]:
    """Weights that do not name the two classes, 0 and 1."""
    for strategy in strategies:
        if not isinstance(strategy.weights, str) and set(strategy.weights) != {0, 1}:
            yield (
                f"strategy {strategy.name!r}: weights must name class 0 and class 1 (the positive one), and no other, "
                f"got {list(strategy.weights)}"
            )


def _strategy_problems(strategy: StrategyConfig, names: Sequence[str]) -> Iterator[str]:
    if not isinstance(strategy.weights, str) and set(map(str, strategy.weights)) != set(names):
        yield (
            f"strategy {strategy.name!r}: weights must name each class of orders.classes {list(names)}, and no other, "
            f"got {list(strategy.weights)}"
        )
    if isinstance(strategy.sampling_strategy, float):
        yield (
            f"strategy {strategy.name!r}: sampling_strategy {strategy.sampling_strategy} is a ratio of two classes: "
            "give rows per class, or 'auto'"
        )
    elif not isinstance(strategy.sampling_strategy, str) and (
        unknown := sorted(set(map(str, strategy.sampling_strategy)) - set(names))
    ):
        yield (
            f"strategy {strategy.name!r}: sampling_strategy names {unknown}, which orders.classes {list(names)} lacks"
        )
    if strategy.alpha is not None:
        yield (
            f"strategy {strategy.name!r}: alpha weighs the positive one of two classes: leave it out, or use "
            "class_balanced_focal, which weighs all"
        )


class ScoringConfig(Section):
    """The scan that scores validation and test.

    Args:
        segments: columns of at most 50 values each, such as a country, by which results are also reported.
        bins: of scores, uniform in the logit of the corrected score.
    """

    segments: tuple[str, ...] = ()
    bins: Annotated[int, Field(ge=1024, le=1 << 20)] = 65_536


class GateConfig(Section):
    """What the best strategy must reach, else exit code 4; and what it is chosen by, on validation.

    Args:
        mode: of the registry: `enabled` makes the best strategy champion where it beats the present one, `dry_run`
            says whether it would, `disabled` compares nothing. In each of them its model is registered.
        metric: by which strategies are ranked, and challenger and champion are compared.
        minimum: value of that metric below which nothing is registered.
        require_reachable: whether `serve_objective` must be within reach of some threshold.
        require_ledger: whether the best strategy's probabilities must be right on average.
    """

    mode: Literal["disabled", "dry_run", "enabled"] = "enabled"
    metric: Literal["average_precision", "roc_auc"] = "average_precision"
    minimum: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    require_reachable: bool = False
    require_ledger: bool = False


class SparkConfig(Section):
    """Spark settings that apply where spark-submit or the cluster has not set them.

    Args:
        master: such as `local[2]`.
        settings: by Spark's own names, all as text.
    """

    master: str | None = None
    settings: dict[str, str] = {}


class RunConfig(Section):
    """One run of `jobs/train.py`.

    Args:
        name: of the job, in MLflow and in the run's id.
        run_id: the run to start or to go on with; if none is given it follows from the config and the orders.
        output: folder of the runs: any path that Spark can write.
        orders: what the columns are.
        split: how rows fall into folds.
        training: how models are fitted.
        strategies: what is compared.
        objectives: what thresholds are chosen for.
        serve_objective: name of the one whose threshold decides.
        scoring: how held-out rows are scored.
        gate: what the best strategy must reach.
        tracking: where MLflow is.
        spark: settings of a session that the job starts itself.
    """

    name: Name
    run_id: Name | None = None
    output: str
    orders: OrdersConfig
    split: SplitConfig = SplitConfig()
    training: TrainingConfig = TrainingConfig()
    strategies: tuple[StrategyConfig, ...]
    objectives: tuple[str | dict[str, Any], ...] = (
        {"name": "max_f_beta", "beta": 1.0},
        {"name": "max_f_beta", "beta": 2.0},
        {"name": "max_recall", "precision": 0.9},
        {"name": "min_cost", "fn": 10.0, "fp": 1.0},
    )
    serve_objective: str = "min_cost_fn_10_fp_1"
    scoring: ScoringConfig = ScoringConfig()
    gate: GateConfig = GateConfig()
    tracking: TrackingConfig = TrackingConfig()
    spark: SparkConfig = SparkConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = repeated("strategies", [strategy.name for strategy in self.strategies])
        if self.split.by == "group" and self.orders.group is None:
            problems.append("split.by is group, but orders.group names no column")
        if self.split.by == "time" and self.orders.time is None:
            problems.append("split.by is time, but orders.time names no column")
        problems += feature_problems(self.strategies, self.orders.numeric, self.orders.categorical)
        if self.orders.weight is not None:
            problems += stacking_problems(self.strategies, self.orders.weight)
        if names := self.orders.class_names:
            metric, segments = self.training.early_stopping_metric, self.scoring.segments
            problems += class_problems(names, self.strategies, early_stopping_metric=metric, segments=segments)
        else:
            problems += two_class_problems(self.strategies)
        if problems:
            raise ValueError("; ".join(problems))
        return self
