"""The registered versions that scored the orders: their validation counts, and the threshold for another base rate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np

from imbalance_spark.calibration import ledger_check
from imbalance_spark.core.arrays import logit, sigmoid
from imbalance_spark.core.columns import VALIDATION
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.masking import masked_uri
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.monitoring.cells import LabelledCells
from imbalance_spark.monitoring.expected import Estimate, Reference
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.held_out_counts import OTHER, TargetCounts
from imbalance_spark.threshold.change import ThresholdChange, at_base_rate, change_threshold
from imbalance_spark.threshold.objective import Objective
from imbalance_spark.threshold.objectives import NOT_RETUNED
from imbalance_spark.threshold.rule import design_effect
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.tracking.models import load_logged_model
from imbalance_spark.tracking.registry import aliases_of, load_registered_model


@dataclass(frozen=True, kw_only=True, eq=False)
class MonitoredModel:
    """A version in the registry with the counts that were logged when it was made.

    Args:
        aliases: such as `champion`; sorted.
        contributions: by feature the mean absolute one, see `HeldOutCounts.importance`; empty where none were logged.
    """

    version: str
    aliases: tuple[str, ...]
    run_id: str
    bundle: ModelBundle
    target: TargetCounts
    contributions: Mapping[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The version with its aliases, such as `3 (champion)`."""
        return f"{self.version} ({', '.join(self.aliases)})" if self.aliases else self.version

    @cached_property
    def served(self) -> Curve:
        """All of validation on the probabilities that are served; at the base rate that the version was moved to."""
        curve = self.target.validation.curve(self.bundle.calibrator.apply)
        shift = self.bundle.base_rate_shift
        if shift is None:
            return curve
        return at_base_rate(curve, float(sigmoid(logit(np.array(curve.prevalence())) + shift.logit_shift)))

    @cached_property
    def reference(self) -> Reference:
        """Validation as cells, with the uncertainty of the calibration."""
        cells = LabelledCells.of_curve(self.served, self.bundle.threshold)
        return Reference.of(cells, base_rate_error=self.bundle.base_rate_error)

    @cached_property
    def importance(self) -> Mapping[str, float]:
        """Each feature's share of what moves the scores: of the sum of all mean absolute contributions."""
        total = sum(self.contributions.values())
        return {name: value / total for name, value in self.contributions.items()} if total > 0.0 else {}

    def segments(self) -> dict[str, tuple[str, ...]]:
        """By segment column the values that validation was counted by."""
        columns = self.target.segments.get(VALIDATION, {})
        return {
            name: tuple(value for value in found.values if value is not None and value != OTHER)
            for name, found in columns.items()
        }

    def retuned(self, objective: Objective, base_rate: float, orders_per_day: float) -> ThresholdChange:
        """What `jobs/retune.py` would choose for another base rate."""
        sample = self.target.bucketed(VALIDATION, self.bundle.calibrator.apply)
        shift, threshold = self.bundle.base_rate_shift, self.bundle.threshold
        old = threshold if shift is None or threshold > 1.0 else float(shift.inverse(threshold))
        return change_threshold(
            sample.curve,
            objective,
            old_threshold=old,
            base_rate=base_rate,
            days=float(sample.curve.flagged_rows[-1]) / orders_per_day,
            ledger=ledger_check(sample),
            design_effect=design_effect(sample, sample.curve, objective),
        )


def load_models(tracking: TrackingConfig, versions: Sequence[str]) -> list[MonitoredModel]:
    """The versions of `tracking.registered_model`.

    Raises:
        ConfigError: no model is named, the store has no such version, or its model has more than two classes or
            decides order by order.
    """
    name = tracking.registered_model
    if name is None:
        raise ConfigError("tracking.registered_model is null. Name the registered model that scored the orders.")
    loaded = []
    for version in versions:
        registered = load_registered_model(tracking.uri, f"models:/{name}/{version}")
        if registered.bundle.targets > 1:
            raise ConfigError(f"monitoring: {registered.label} has {registered.bundle.targets} classes, it takes two.")
        if registered.bundle.order_rule is not None:
            raise ConfigError(
                f"monitoring: {registered.label} decides order by order, and estimates without labels know one "
                "threshold. Serve an objective with one threshold, such as min_cost with single_threshold: true."
            )
        logged = load_logged_model(tracking.uri, registered.run_id)
        aliases = tuple(sorted(alias for alias, of in aliases_of(name).items() if of == version))
        loaded.append(
            MonitoredModel(
                version=version,
                aliases=aliases,
                run_id=registered.run_id,
                bundle=registered.bundle,
                target=logged.held_out.target,
                contributions=logged.held_out.importance,
            )
        )
    return loaded


def retune_command(
    model: MonitoredModel, objective: Objective, base_rate: Estimate, orders_per_day: float, tracking: TrackingConfig
) -> str:
    """The command line that moves the served threshold to another base rate, with its interval where it has one."""
    low, high = base_rate.low, base_rate.high
    has_limits = low is not None and high is not None and 0.0 < low <= high < 1.0
    interval = f" --base-rate-interval {low:.6g} {high:.6g}" if has_limits else ""
    given = [
        f"--{setting.name.replace('_', '-')} {getattr(objective, setting.name)}"
        for setting in fields(objective)
        if setting.name not in NOT_RETUNED and getattr(objective, setting.name) != setting.default
    ]
    return " ".join(
        [
            f"python jobs/retune.py --run {model.run_id} --objective {objective.key}", *given,
            f"--base-rate {base_rate.value:.6g}{interval} --orders-per-day {orders_per_day:.6g}",
            f"--tracking-uri {masked_uri(tracking.uri)} --register {tracking.registered_model} --alias champion",
        ]
    )  # fmt: skip
