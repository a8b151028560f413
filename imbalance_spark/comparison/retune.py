"""A new threshold for a model that is there: from its logged counts alone, no data, no refit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from imbalance_spark.calibration import ledger_check
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.held_out_counts import TargetCounts
from imbalance_spark.threshold.base_rate import at_base_rate
from imbalance_spark.threshold.change import ThresholdChange, ThresholdOutcome, change_threshold
from imbalance_spark.threshold.choice import cut_at
from imbalance_spark.threshold.class_rules import ClassThresholds
from imbalance_spark.threshold.objective import Objective, require_number

_COLUMNS = ("alerts", "alerts a day", "precision", "recall", "cost")


@dataclass(frozen=True, kw_only=True)
class BeforeAfter:
    """What the old and the new threshold do on the rows of one fold, at the base rate that was asked for."""

    before: ThresholdOutcome
    after: ThresholdOutcome


@dataclass(frozen=True, kw_only=True)
class Retuned:
    """A model with its new threshold, and what it changes."""

    bundle: ModelBundle
    change: ThresholdChange
    """On the half of validation that thresholds are chosen on."""
    folds: Mapping[str, BeforeAfter]
    """On all of validation, and on test."""

    def lines(self) -> Iterator[str]:
        """The change as a table for people."""
        outcome = self.change
        yield (
            f"Strategy {self.bundle.strategy}: threshold {outcome.before.threshold:.6g} -> "
            f"{outcome.after.threshold:.6g} on the scores of before, chosen for {outcome.chosen.objective}."
        )
        if self.bundle.base_rate_shift is not None:
            shift = self.bundle.base_rate_shift.logit_shift
            yield f"Probabilities move by {shift:+.4g} in logit; on them the threshold is {self.bundle.threshold:.6g}."
        yield f"{'':<20}" + "".join(f"{name:>14}" for name in _COLUMNS)
        for fold, found in self.folds.items():
            yield f"{fold + ' before':<20}" + _cells(found.before)
            yield f"{fold + ' after':<20}" + _cells(found.after)
        if not outcome.chosen.reachable:
            yield outcome.chosen.sentence
        if outcome.chosen.warning is not None:
            yield f"Warning: {outcome.chosen.warning}"


def retune(
    bundle: ModelBundle,
    held_out: TargetCounts,
    objective: Objective,
    *,
    base_rate: float | None = None,
    cost: Objective | None = None,
    orders_per_day: float | None = None,
) -> Retuned:
    """Choose a threshold anew on the half of validation that chose the old one, through the model's own calibrator.

    The booster, its encodings, its correction and its calibrator stay as they are. The new bundle has the one new
    threshold: the others were chosen for what is asked no more.

    Args:
        held_out: the counts that were logged with the model; their scores are corrected, not calibrated.
        base_rate: share of positives to expect from now on, in (0, 1); None when it is that of the counts, whatever an
            earlier retuning expected. The new bundle's probabilities, and its threshold, are at it.
        cost: the costs to report; by default the objective itself where it is a cost.
        orders_per_day: orders that will be scored a day, above 0; tells alerts a day, and alert budgets need it.
    Raises:
        ConfigError: a setting is out of range, or the objective needs what the counts lack.
        DataContractError: the choosing half has no positive or no negative row.
    """
    if orders_per_day is not None:
        require_number("--orders-per-day", orders_per_day, above=0.0, hint="It is how many orders are scored a day.")
    through = bundle.calibrator.apply
    choose = held_out.choose.curve(through)
    change = change_threshold(
        choose,
        objective,
        old_threshold=_at_rate_of_counts(bundle),
        base_rate=base_rate,
        cost=cost,
        days=_days(choose, orders_per_day),
        ledger=ledger_check(choose),
    )
    costs = cost or (objective if objective.is_loss else None)

    def outcomes(curve: Curve) -> BeforeAfter:
        moved, days = curve if base_rate is None else at_base_rate(curve, base_rate), _days(curve, orders_per_day)
        before, after = (
            _outcome(threshold, curve, moved, costs, days)
            for threshold in (change.before.threshold, change.after.threshold)
        )
        return BeforeAfter(before=before, after=after)

    return Retuned(
        bundle=replace(
            bundle,
            rules={objective.name: ClassThresholds.of_threshold(change.chosen.threshold)},
            serve_objective=objective.name,
            base_rate_shift=None if base_rate is None else change.correction,
        ),
        change=change,
        folds={fold: outcomes(counts.curve(through)) for fold, counts in held_out.by_fold.items()},
    )


def _at_rate_of_counts(bundle: ModelBundle) -> float:
    """The bundle's threshold on its calibrated probabilities, before any shift to another base rate."""
    if bundle.base_rate_shift is None or bundle.threshold > 1.0:
        return bundle.threshold
    return float(bundle.base_rate_shift.inverse(bundle.threshold))


def _outcome(
    threshold: float, curve: Curve, moved: Curve, costs: Objective | None, days: float | None
) -> ThresholdOutcome:
    cut = cut_at(curve, threshold)
    matrix = moved.matrix(cut)
    return ThresholdOutcome(
        threshold=threshold,
        alerts=matrix.flagged,
        alerts_per_day=None if days is None else matrix.flagged / days,
        precision=matrix.precision,
        recall=matrix.recall,
        cost=None if costs is None else float(costs.values(moved)[cut]),
    )


def _days(curve: Curve, orders_per_day: float | None) -> float | None:
    """How many days of orders the counted rows amount to."""
    if orders_per_day is None:
        return None
    return float(curve.flagged_rows[-1]) / orders_per_day


def _cells(outcome: ThresholdOutcome) -> str:
    values = (outcome.alerts, outcome.alerts_per_day, outcome.precision, outcome.recall, outcome.cost)
    return "".join(f"{_cell(value):>14}" for value in values)


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.4g}"
