"""What another threshold changes: alerts, precision, recall and cost, before and after, from counts alone."""

from dataclasses import dataclass

import numpy as np

from imbalance_spark.calibration import LedgerCheck, PriorCorrection
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.threshold.base_rate import at_base_rate, base_rate_correction
from imbalance_spark.threshold.choice import ChosenThreshold, cut_at
from imbalance_spark.threshold.objective import Objective, require_number
from imbalance_spark.threshold.rule import choose_on


@dataclass(frozen=True, kw_only=True)
class ThresholdOutcome:
    """What one threshold does on the counted rows, at the base rate that was asked for."""

    threshold: float
    """On the scores that the model gives now."""
    alerts: float
    """Flagged orders, whatever they weigh; at another base rate, those to expect."""
    alerts_per_day: float | None
    """None when the days that the counts cover are not known."""
    precision: float | None
    """None when no row is flagged."""
    recall: float
    cost: float | None
    """None when no costs were given."""


@dataclass(frozen=True, kw_only=True)
class ThresholdChange:
    """An old and a new threshold on the same rows."""

    before: ThresholdOutcome
    after: ThresholdOutcome
    chosen: ChosenThreshold
    """The choice in full; its threshold is on probabilities at the new base rate, `correction.apply` of `after`'s."""
    correction: PriorCorrection
    """From the model's probabilities to those at the new base rate; the identity when the rate has not moved."""

    @property
    def sentence(self) -> str:
        """The change in one line."""
        pairs = [
            ("threshold", self.before.threshold, self.after.threshold),
            ("alerts", self.before.alerts, self.after.alerts),
            ("alerts a day", self.before.alerts_per_day, self.after.alerts_per_day),
            ("precision", self.before.precision, self.after.precision),
            ("recall", self.before.recall, self.after.recall),
            ("cost", self.before.cost, self.after.cost),
        ]
        parts = [f"{name} {old:.6g} -> {new:.6g}" for name, old, new in pairs if old is not None and new is not None]
        return f"{self.chosen.objective}: {', '.join(parts)}."


def change_threshold(
    curve: Curve,
    objective: Objective,
    *,
    old_threshold: float,
    base_rate: float | None = None,
    cost: Objective | None = None,
    days: float | None = None,
    ledger: LedgerCheck | None = None,
    design_effect: float = 1.0,
) -> ThresholdChange:
    """Choose a new threshold by the rule that jobs serve, and compare it with the old one on the same rows.

    The model is not touched: both outcomes' thresholds are on the scores that it gives now.

    Args:
        curve: of logged counts, on the scores that the model gives now.
        old_threshold: on the same scores.
        base_rate: share of positives to expect from now on, in (0, 1); None when it is that of the counts. Both
            thresholds are judged at it.
        cost: the costs to report; by default the objective itself where it is a cost.
        days: how many days the counts cover, above 0; see `count_days`.
        ledger: `calibration.ledger_check` of the curve, for objectives that need calibrated scores.
        design_effect: see `threshold.rule.design_effect`; 1 for independent rows without weights.
    Returns:
        What both thresholds give on these rows, and what the change is worth.
    Raises:
        ConfigError: a setting is out of range, `cost` is not a cost, or the objective needs what the counts lack.
        DataContractError: the counts have no positive or no negative row.
    """
    if cost is not None and not cost.is_loss:
        raise ConfigError(f"change_threshold: {cost.name} is not a cost. Give min_cost or bayes_cost.")
    if days is not None:
        require_number("change_threshold.days", days, above=0.0, hint="It is the days the counted rows amount to.")
        objective = objective.with_days(days)
    moved, correction = curve, PriorCorrection.identity()
    if base_rate is not None:
        moved, correction = at_base_rate(curve, base_rate), base_rate_correction(curve.prevalence(), base_rate)
    chosen = choose_on(moved, objective, design_effect, ledger=ledger)
    costs = cost or (objective if objective.is_loss else None)
    new_threshold = _on_old_scale(chosen.threshold, curve, moved, correction)
    return ThresholdChange(
        before=outcome_at(old_threshold, cut_at(curve, old_threshold), moved, costs, days),
        after=outcome_at(new_threshold, cut_at(moved, chosen.threshold), moved, costs, days),
        chosen=chosen,
        correction=correction,
    )


def _on_old_scale(threshold: float, curve: Curve, moved: Curve, correction: PriorCorrection) -> float:
    """Where the curve has the threshold, its own entry: going back through logits could drop the rows on it."""
    found = np.flatnonzero(moved.threshold == threshold)
    return float(curve.threshold[found[-1]] if len(found) else correction.inverse(threshold))


def outcome_at(
    threshold: float, cut: int, curve: Curve, costs: Objective | None, days: float | None
) -> ThresholdOutcome:
    """What a threshold does on the rows of a curve, which has it at the entry `cut` and amounts to `days` days."""
    matrix = curve.matrix(cut)
    return ThresholdOutcome(
        threshold=threshold,
        alerts=float(curve.alerts[cut]),
        alerts_per_day=None if days is None else float(curve.alerts[cut]) / days,
        precision=matrix.precision if matrix.flagged > 0.0 else None,
        recall=matrix.recall,
        cost=None if costs is None else float(costs.values(curve)[cut]),
    )
