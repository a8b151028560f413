"""What another threshold, or another base rate, changes: alerts, precision, recall and cost, from counts alone."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.special import ndtri

from imbalance_spark.calibration import LedgerCheck, PriorCorrection
from imbalance_spark.core.arrays import logit
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.curve import FLAG_NOBODY, Curve
from imbalance_spark.metrics.intervals import wilson_interval
from imbalance_spark.threshold.choice import ChosenThreshold, cut_at
from imbalance_spark.threshold.objective import Objective, require_number
from imbalance_spark.threshold.rule import choose_on


@dataclass(frozen=True, kw_only=True)
class EstimatedBaseRate:
    """The share of positives of counted rows, with Wilson's 95 % interval.

    Weights count in the share; the width of the interval is that of so many rows without weights.
    """

    rate: float
    low: float
    high: float
    positives: int
    """Positive rows, without weights."""

    @classmethod
    def of(cls, counts: ScoreCounts) -> Self:
        """The base rate of counts with at least one row."""
        curve = counts.curve()
        rate = curve.prevalence()
        low, high = wilson_interval(rate, curve.flagged_rows[-1])
        return cls(rate=rate, low=float(low), high=float(high), positives=int(counts.positives.sum()))

    def __str__(self) -> str:
        return f"{self.rate:.3g} ({self.low:.3g} to {self.high:.3g}, 95 %, {self.positives:,} positives)"


def base_rate_error(rate: float, interval: tuple[float, float]) -> float:
    """Standard error of a base rate in logits, from its 95 % interval.

    Raises:
        ConfigError: the interval is not one around the rate.
    """
    low, high = interval
    if not 0.0 < low <= rate <= high < 1.0:
        raise ConfigError(
            f"base rate interval: {low:g} to {high:g} is none around {rate:g}. Give its 95 % limits as shares of "
            "positives, the lower one first."
        )
    width = np.diff(logit(np.array([low, high])))
    return float(width[0] / (2.0 * ndtri(0.975)))


def base_rate_correction(old_rate: float, new_rate: float) -> PriorCorrection:
    """The correction of probabilities from one base rate to another: logit(p) moves by ln(new odds / old odds).

    It assumes label shift: only the share of positives changed, not the distribution of features within a class
    (Saerens, Latinne and Decaestecker, 2002).

    Args:
        old_rate, new_rate: shares of positives, in (0, 1).
    Returns:
        The correction, whose `apply` maps probabilities at the old rate to probabilities at the new one.
    Raises:
        ConfigError: a rate is out of range.
    """
    for name, rate in (("old", old_rate), ("new", new_rate)):
        _check_rate(rate, name)
    return PriorCorrection.of_odds(
        positive=old_rate / new_rate,
        negative=(1.0 - old_rate) / (1.0 - new_rate),
    )


def at_base_rate(curve: Curve, new_rate: float) -> Curve:
    """The curve of the same rows at a different base rate.

    Weights of each class are rescaled so that positives make up `new_rate` of an unchanged total: precision, costs and
    alerts are then those expected at the new rate; recall and false positive rate do not change. Scores and thresholds
    move by `base_rate_correction`, so that calibrated scores stay calibrated. Row counts do not change, since they
    are the sample size. The result is a curve, not counts, because moved scores are not on the counts' grid.

    Args:
        curve: on probabilities, of rows whose share of positives is the old rate.
        new_rate: share of positives, in (0, 1).
    Returns:
        A curve of the same row counts, with weights, scores and thresholds at the new rate.
    Raises:
        ConfigError: a rate is out of range.
        DataContractError: a class has no row.
    """
    if curve.missing_class:
        raise DataContractError(f"at_base_rate: {curve.missing_class} to weight. Use rows of both classes.")
    correction, counts = base_rate_correction(curve.prevalence(), new_rate), curve.counts
    # A factor is the share that training kept of a class; here it is the old share over the new one.
    negative, positive = (1.0 / factor for factor in correction.factors)
    reweighted = replace(
        counts,
        positive_weight=counts.positive_weight * positive,
        negative_weight=counts.negative_weight * negative,
        positive_amount=None if counts.positive_amount is None else counts.positive_amount * positive,
        negative_amount=None if counts.negative_amount is None else counts.negative_amount * negative,
    )
    threshold = np.concatenate([[FLAG_NOBODY], correction.apply(curve.threshold[1:])])
    orders = (curve.orders_per_row[0] * negative, curve.orders_per_row[1] * positive)
    moved = correction.apply(curve.score)
    return replace(curve, counts=reweighted, score=moved, threshold=threshold, orders_per_row=orders)


def _check_rate(rate: float, name: str) -> None:
    hint = "It is a share of positives: 0.004 is 4 in 1000."
    require_number(f"base rate ({name})", rate, above=0.0, most=1.0 - 1e-12, hint=hint)


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
