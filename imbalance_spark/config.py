"""What a run is asked to do: one frozen model a section of the YAML, unknown keys are errors."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from imbalance_spark.config_section import Name, Section, Share
from imbalance_spark.config_strategy import BoosterParams, StrategyConfig, feature_problems, stacking_problems

MOST_FEATURES = 2000
"""Most features of a model: with more, planning takes Spark longer than the data."""


class SourceConfig(Section):
    """Where the orders are: a path or a table name, and for Delta which version.

    `preparation` names a built-in step that turns a raw log into orders (`retail`, `flights`).
    """

    path: str | None = None
    table: str | None = None
    format: Literal["delta", "parquet", "csv"] = "delta"
    version: Annotated[int, Field(ge=0)] | None = None
    preparation: Literal["retail", "flights"] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.path is not None and self.table is not None:
            raise ValueError("give either a path or a table, not both")
        if self.path is None and self.table is None and self.preparation != "flights":
            raise ValueError("give a path or a table to read the orders from")
        if self.version is not None and self.format != "delta":
            raise ValueError(f"a version is Delta's alone, the format is {self.format!r}: drop the version")
        return self


class OrdersConfig(Section):
    """The roles of an order log's columns.

    `max_quarantined` is the share of rows (0 to 1) that may break a rule before the job stops.
    `max_duplicated` is the share of held-out rows that may have the features of a training row; above, the
    job stops. Coarse features give twins by nature: it is 1 unless set.
    `weight` is a business weight of a row, such as a cost; it is part of training and of metrics.
    """

    source: SourceConfig
    key: tuple[str, ...] = ("order_id",)
    label: str
    positive_label: int | str | bool | None = None
    group: str | None = None
    time: str | None = None
    amount: str | None = None
    weight: str | None = None
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    max_quarantined: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    max_duplicated: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0
    max_categories: Annotated[int, Field(ge=2, le=100_000)] = 1000

    @property
    def features(self) -> tuple[str, ...]:
        """Numeric features, then categorical ones: the order of the model's inputs."""
        return self.numeric + self.categorical

    @property
    def grouping(self) -> tuple[str, ...]:
        """The group's column, where there is one."""
        return () if self.group is None else (self.group,)

    @model_validator(mode="after")
    def _roles_do_not_overlap(self) -> Self:
        problems = [*_repeated("features", self.features), *_repeated("key", self.key)]
        if len(self.features) > MOST_FEATURES:
            problems.append(
                f"{len(self.features)} features, at most {MOST_FEATURES}: Spark's plans grow with them. Leave some out"
            )
        if not self.features:
            problems.append("no features: name columns under numeric or categorical")
        for name in self.features:
            role = self._role_of(name)
            if role:
                problems.append(f"feature {name!r} is the {role} column: a model that sees it leaks. Take it out")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _role_of(self, name: str) -> str | None:
        # An amount may be a feature: it is known when the order is placed.
        roles = {"label": (self.label,), "key": self.key, "group": (self.group,), "time": (self.time,)}
        roles |= {"weight": (self.weight,), "gold standard": ("true_probability",)}
        return next((role for role, names in roles.items() if name in names), None)


class SplitConfig(Section):
    """How rows fall into train, validation and test; see `split.stratified_split`."""

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
    """The distributed fit. `num_workers` barrier tasks must find free slots at the same time.

    `early_stopping_metric` is computed over the rows of all workers; `expected_cost` takes its costs from the first
    objective with constant ones.
    """

    num_workers: Annotated[int, Field(ge=1, le=10_000)] = 2
    rounds: Annotated[int, Field(ge=1, le=100_000)] = 200
    early_stopping_rounds: Annotated[int, Field(ge=1)] = 20
    early_stopping_metric: Literal["log_loss", "average_precision", "expected_cost"] = "log_loss"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 7
    params: BoosterParams = BoosterParams()


class ScoringConfig(Section):
    """The scan that scores validation and test: bins uniform in logit of the corrected score.

    `segments` are columns of at most 50 values each, such as a country, by which results are also reported.
    """

    segments: tuple[str, ...] = ()
    bins: Annotated[int, Field(ge=1024, le=1 << 20)] = 65_536


class GateConfig(Section):
    """What the best strategy must reach, else exit code 4; and what it is chosen by, on validation.

    `mode` is about the registry: `enabled` makes the best strategy champion where it beats the present one, `dry_run`
    says whether it would, `disabled` compares nothing. In each of them its model is registered.
    """

    mode: Literal["disabled", "dry_run", "enabled"] = "enabled"
    metric: Literal["average_precision", "roc_auc"] = "average_precision"
    minimum: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    require_reachable: bool = False
    require_ledger: bool = False


class TrackingConfig(Section):
    """MLflow: where, which experiment, and the registered model's name (None registers nothing)."""

    uri: str = "sqlite:///mlflow.db"
    experiment: str = "orders"
    registered_model: str | None = "orders"


class SparkConfig(Section):
    """Spark settings that apply where spark-submit or the cluster has not set them."""

    master: str | None = None
    settings: dict[str, str] = {}


class RunConfig(Section):
    """One run of `jobs/train.py`."""

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
        problems = _repeated("strategies", [strategy.name for strategy in self.strategies])
        if self.split.by == "group" and self.orders.group is None:
            problems.append("split.by is group, but orders.group names no column")
        if self.split.by == "time" and self.orders.time is None:
            problems.append("split.by is time, but orders.time names no column")
        problems += feature_problems(self.strategies, self.orders.numeric, self.orders.categorical)
        if self.orders.weight is not None:
            problems += stacking_problems(self.strategies, self.orders.weight)
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _repeated(what: str, names: Any) -> list[str]:
    twice = sorted({name for name in names if list(names).count(name) > 1})
    return [f"{what} named twice: {twice}"] if twice else []
