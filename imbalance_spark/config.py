"""What a run is asked to do: one frozen model a section of the YAML, unknown keys are errors."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from imbalance_spark.config_classes import class_problems, two_class_problems
from imbalance_spark.config_orders import OrdersConfig, repeated
from imbalance_spark.config_section import Name, Section, Share
from imbalance_spark.config_strategy import BoosterParams, StrategyConfig, feature_problems, stacking_problems


class SplitConfig(Section):
    """How rows fall into train, validation and test; see `split.stratified_split`.

    Args:
        by: `key` draws rows, `group` draws whole groups, `time` makes the latest rows validation and test.
        fractions: share of each fold; they sum to 1.
        seed: of the split and of what is sampled; another one gives another split.
        exact_below: classes of fewer rows get exact counts in each fold; 0 leaves all to the hash.
        gap_days: days between the folds of a split by time whose rows belong to none: how long a label takes to be
            known.
        early_stopping_fraction: share of train that decides when a fit stops, and is not fitted on.
    """

    by: Literal["key", "group", "time"] = "key"
    fractions: dict[str, float] = {"train": 0.7, "validation": 0.15, "test": 0.15}
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 7
    exact_below: Annotated[int, Field(ge=0, le=1_000_000)] = 10_000
    gap_days: Annotated[float, Field(ge=0.0)] = 0.0
    early_stopping_fraction: Share = 0.15

    @field_validator("fractions")
    @classmethod
    def _three_folds(cls, fractions: dict[str, float]) -> dict[str, float]:
        if set(fractions) != {"train", "validation", "test"}:
            raise ValueError(f"needs exactly train, validation and test, got {sorted(fractions)}")
        outside = {fold: share for fold, share in fractions.items() if not 0.0 < share < 1.0}
        if outside:
            raise ValueError(f"each share must be in (0, 1), got {outside}: every fold is needed for an honest report")
        if not math.isclose(sum(fractions.values()), 1.0, abs_tol=1e-9):
            raise ValueError(f"shares must sum to 1, got {sum(fractions.values()):.6g}")
        return fractions


class TrainingConfig(Section):
    """The distributed fit.

    Args:
        num_workers: barrier tasks of a fit, which must find free slots at the same time.
        rounds: trees at most.
        early_stopping_rounds: rounds without a better metric after which a fit stops; the best round counts.
        early_stopping_metric: computed over the rows of all workers; `expected_cost` takes its costs from the first
            objective with constant ones.
        seed: of what a fit draws.
        stall_limit_s: seconds in which no round ends and no row is loaded, after which a fit is cancelled and begun
            again. Like the two below it has no say in the result, nor in the run id.
        max_fit_attempts: how often a fit is begun that lost a worker or was cancelled, the first time counted.
        slot_wait_s: seconds that each attempt waits for the slots of all workers.
        params: XGBoost's parameters for all strategies.
    """

    num_workers: Annotated[int, Field(ge=1, le=10_000)] = 2
    rounds: Annotated[int, Field(ge=1, le=100_000)] = 200
    early_stopping_rounds: Annotated[int, Field(ge=1)] = 20
    early_stopping_metric: Literal["log_loss", "average_precision", "expected_cost"] = "log_loss"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 7
    stall_limit_s: Annotated[float, Field(gt=0.0)] = 600.0
    max_fit_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    slot_wait_s: Annotated[float, Field(ge=0.0)] = 60.0
    params: BoosterParams = BoosterParams()


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


class TrackingConfig(Section):
    """MLflow: where the record of a run goes.

    Args:
        uri: of the tracking store, such as `http://mlflow.internal:5000` or `databricks`.
        experiment: its name; on Databricks a path of the workspace.
        registered_model: name under which the best model gets a version; null registers nothing.
    """

    uri: str = "sqlite:///mlflow.db"
    experiment: str = "orders"
    registered_model: str | None = "orders"


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
