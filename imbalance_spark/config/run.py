"""What a run is asked to do: its sections put together, and what does not go together."""

import warnings
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from imbalance_spark.core.section import AnyPath, Name, Section
from imbalance_spark.monitoring.config import MonitoringConfig
from imbalance_spark.orders.config import OrdersConfig, repeated
from imbalance_spark.split.config import SplitConfig
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.search.config import SearchConfig
from imbalance_spark.train_only.strategies import AnyStrategy, Strategy, strategies_of
from imbalance_spark.train_only.strategies.recipe import TWO_CLASSES
from imbalance_spark.train_only.strategies.searched import search_problems


class ScoringConfig(Section):
    """The scan that scores validation and test.

    Args:
        segments: columns of at most 50 values each, such as a country, by which results are also reported.
        bins: of scores, uniform in the logit of the corrected score.
        entity: column of what is followed up as a whole, such as a card; needs `orders.time`, for two classes. Reported
            is what flagging the `top_entities` of the highest score each day gives.
        top_entities: entities that are flagged each day.
        label_delay_days: days until a flagged entity is known to be compromised, and taken out from then on.
    """

    segments: tuple[str, ...] = ()
    bins: Annotated[int, Field(ge=1024, le=1 << 20)] = 65_536
    entity: str | None = None
    top_entities: Annotated[int, Field(ge=1, le=10_000)] = 100
    label_delay_days: Annotated[int, Field(ge=0, le=3650)] = 0


DecideBy = Literal["auto", "cost", "average_precision", "roc_auc"]

with warnings.catch_warnings():
    # `register` is a method of the metaclass, which no section and no instance of one has.
    warnings.filterwarnings("ignore", 'Field name "register"')

    class GateConfig(Section):
        """Which strategy is registered, by what models are compared on validation, and what they must reach.

        A strategy that misses `minimum` or a requirement ends the job with exit code 4.

        Args:
            mode: of the registry: `enabled` makes the registered strategy champion where it is better than the present
                one, `dry_run` says whether it would, `disabled` compares nothing. In each of them its model is
                registered.
            register: `advised` registers the strategy that the advice names, `highest` the first by `metric`, be it by
                chance.
            metric: by which strategies are ranked; of three or more classes its macro average.
            decide_by: what a strategy or a challenger must be better in, beyond chance: `cost` of the serving
                objective, a ranking metric, or `auto`, the cost where `serve_objective` is one and `metric` elsewhere.
            equivalence_margin: two models are equivalent where what decides differs by at most this share of what plain
                boosting, or the champion, has.
            incomparable: a champion that cannot be compared (other classes, a column that is gone, damaged files, or
                trained on nearly all of these rows) makes the job `fail` with exit code 5 at its end, is `keep` kept,
                or is `replace` replaced; whichever it is, the model is registered.
            minimum: value of `metric` below which nothing is registered.
            require_reachable: whether `serve_objective` must be within reach of some threshold.
            require_ledger: whether the registered strategy's probabilities must be right on average.
        """

        mode: Literal["disabled", "dry_run", "enabled"] = "enabled"
        register: Literal["advised", "highest"] = "advised"
        metric: Literal["average_precision", "roc_auc"] = "average_precision"
        decide_by: DecideBy = "auto"
        equivalence_margin: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.01
        incomparable: Literal["fail", "keep", "replace"] = "fail"
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
        search: how XGBoost's parameters are searched, for each strategy by itself; null leaves them as they are set.
        objectives: what thresholds are chosen for.
        serve_objective: name of the one whose threshold decides.
        evaluation: what ranks strategies, calibrates and chooses thresholds: with `holdout` the rows of validation;
            with `cross_fit` those of train and validation, each scored by a model fitted without it, which takes
            `split.cross_fit_folds` more fits of each strategy; `auto` cross-fits where validation has fewer than 100
            rows of the rarest class, and nothing is repeated or searched.
        metrics: what is logged: `short` has what decides (ranking, calibration, costs, precision, recall), `full` also
            the H-measure, PR gain, kappa, G-mean, index of balanced accuracy, calibration errors ...
        scoring: how held-out rows are scored.
        gate: what the best strategy must reach.
        tracking: where MLflow is.
        monitoring: what `jobs/monitor.py` reads; null where scored orders are not monitored.
        spark: settings of a session that the job starts itself.
    """

    name: Name
    run_id: Name | None = None
    output: AnyPath
    orders: OrdersConfig
    split: SplitConfig = SplitConfig()
    training: TrainingConfig = TrainingConfig()
    strategies: tuple[AnyStrategy, ...]
    search: SearchConfig | None = None
    objectives: tuple[str | dict[str, Any], ...] = (
        {"name": "max_f_beta", "beta": 1.0},
        {"name": "max_f_beta", "beta": 2.0},
        {"name": "max_recall", "precision": 0.9},
        {"name": "min_cost", "fn": 10.0, "fp": 1.0},
    )
    serve_objective: str = "min_cost_fn_10_fp_1"
    evaluation: Literal["holdout", "cross_fit", "auto"] = "auto"
    metrics: Literal["short", "full"] = "short"
    scoring: ScoringConfig = ScoringConfig()
    gate: GateConfig = GateConfig()
    tracking: TrackingConfig = TrackingConfig()
    monitoring: MonitoringConfig | None = None
    spark: SparkConfig = SparkConfig()

    @property
    def compared(self) -> tuple[Strategy, ...]:
        """The strategies that a run compares, each with its learner; see `strategies_of`."""
        return strategies_of(self.strategies, self.training.learner)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [strategy.name for strategy in self.strategies]
        problems = repeated("strategies", names) or repeated(
            "strategies (ignoring letter case, as file systems may)", [name.lower() for name in names]
        )
        if self.split.by == "group" and self.orders.group is None:
            problems.append("split.by is group, but orders.group names no column")
        if self.split.by == "time" and self.orders.time is None:
            problems.append("split.by is time, but orders.time names no column")
        if self.scoring.entity is not None and self.orders.time is None:
            problems.append("scoring.entity is flagged by day, but orders.time names no column")
        if self.scoring.entity is not None and self.orders.classes:
            problems.append("scoring.entity is for two classes: leave it out, or orders.classes")
        classes = self.orders.class_names or TWO_CLASSES
        for strategy in self.compared:
            problems += strategy.problems(classes, self.orders.numeric, self.orders.categorical)
            problems += strategy.problems_with(self.training, len(classes))
        if self.evaluation == "cross_fit" and self.training.repeats > 1:
            problems.append(
                f"training.repeats is {self.training.repeats}, but with evaluation: cross_fit each strategy is fitted "
                "several times already: set repeats to 1, or evaluation to holdout"
            )
        problems += [*self._stacking_problems(), *self._search_problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _search_problems(self) -> Iterator[str]:
        """What does not go together with a search."""
        if self.search is None:
            return
        yield from search_problems(self.search, self.compared)
        if self.evaluation == "cross_fit":
            yield (
                "search chooses parameters on rows of train, which evaluation: cross_fit would judge them by: set "
                "evaluation to holdout, or leave search out"
            )

    def _stacking_problems(self) -> list[str]:
        """Which strategies correct a second time what the business weight may correct already."""
        corrected = [s.name for s in self.strategies if s.corrects and not s.allow_stacked_correction]
        if self.orders.weight is None or not corrected:
            return []
        return [
            f"orders.weight {self.orders.weight!r} together with the corrections of {corrected} corrects twice: "
            "set allow_stacked_correction: true on a strategy that means it, or drop the weight"
        ]
