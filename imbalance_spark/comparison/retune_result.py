"""What a new threshold changes, for a terminal, a notebook and MLflow."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from imbalance_spark.core.columns import VALIDATION
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.threshold.change import EstimatedBaseRate, ThresholdChange, ThresholdOutcome
from imbalance_spark.threshold.class_rules import CostMatrix

_COLUMNS = ("alerts", "alerts a day", "precision", "recall", "cost")


@dataclass(frozen=True, kw_only=True)
class BeforeAfter:
    """What the old and the new threshold do on the rows of one fold, at the base rate that was asked for."""

    before: ThresholdOutcome
    after: ThresholdOutcome


@dataclass(frozen=True, kw_only=True)
class RetuneResult:
    """A model that decides otherwise, and what that changes.

    Args:
        target: of K classes the one whose threshold moved; empty for two classes and for new costs.
        change: on all of validation; None for new costs.
        folds: the same on all of validation, and on test. Of one of K classes these are rows that reach its
            threshold, against the rest.
        base_rate: the share of positives that was asked for; None for that of the counts.
        old_rate: that of all of validation, which probabilities move from; None where no other was asked for.
        decides_by_order: of costs by amount, whether the new model decides each order by its own; else None.
        decided_by_order: whether the old model does.
    """

    bundle: ModelBundle
    target: str = ""
    change: ThresholdChange | None = None
    folds: Mapping[str, BeforeAfter] = field(default_factory=dict)
    base_rate: float | None = None
    old_rate: EstimatedBaseRate | None = None
    decides_by_order: bool | None = None
    decided_by_order: bool = False

    @property
    def rule(self) -> str:
        """Name of the rule that decides from now on."""
        return self.bundle.serve_objective

    @property
    def reachable(self) -> bool:
        """Whether the objective's constraint can be kept."""
        return self.change is None or self.change.chosen.reachable

    @property
    def sentence(self) -> str:
        """The change in one line."""
        if self.change is None:
            return f"{self.rule}: new costs of errors. {_NOT_COUNTED}"
        return f"{self.target}, {self.change.sentence}" if self.target else self.change.sentence

    def lines(self) -> Iterator[str]:
        """The change as a table for people."""
        if self.change is None:
            yield f"Strategy {self.bundle.strategy}: decides by {self.rule} with the new costs."
            yield _NOT_COUNTED
            return
        outcome, of_class = self.change, f" of {self.target}" if self.target else ""
        yield (
            f"Strategy {self.bundle.strategy}: threshold{of_class} {outcome.before.threshold:.6g} -> "
            f"{outcome.after.threshold:.6g} on the previous score scale, chosen for {outcome.chosen.objective}."
        )
        if self.old_rate is not None:
            yield f"The base rate of validation is {self.old_rate}."
        if self.bundle.base_rate_shift is not None:
            shift = self.bundle.base_rate_shift.logit_shift
            yield f"Probabilities move by {shift:+.4g} in logit; on them the threshold is {self.bundle.threshold:.6g}."
        yield f"{'':<20}" + "".join(f"{name:>14}" for name in _COLUMNS)
        for fold, found in self.folds.items():
            yield f"{fold + ' before':<20}" + _cells(found.before)
            yield f"{fold + ' after':<20}" + _cells(found.after)
        if self.target:
            yield f"Counted are rows that reach the threshold of {self.target}, against all others. {_ONE_LABEL}"
        if self.decides_by_order is False:
            yield "One threshold decides: the logged model does not know the column of amounts. Train with these costs."
        if self.decides_by_order or self.decided_by_order:
            before, after = (_HOW[bool(one)] for one in (self.decided_by_order, self.decides_by_order))
            yield f"Decided {before} before, {after} from now on; counted are the single thresholds alone."
        if self._is_dearer:
            yield (
                "The new threshold costs more on validation than the old one: it follows the probabilities, and what "
                "these rows alone would ask for may be their luck. If it is not, calibrate again: run jobs/train.py."
            )
        if not outcome.chosen.reachable:
            yield outcome.chosen.sentence
        if outcome.chosen.warning is not None:
            yield f"Warning: {outcome.chosen.warning}"

    @property
    def _is_dearer(self) -> bool:
        found = self.folds.get(VALIDATION)
        if found is None or found.before.cost is None or found.after.cost is None:
            return False
        return found.after.cost > found.before.cost

    def to_dict(self) -> dict[str, Any]:
        """The change as JSON values."""
        record: dict[str, Any] = {"strategy": self.bundle.strategy}
        record |= {"class": self.target} if self.target else {}
        if self.change is None:
            return record | {"objective": self.rule, "costs": self._costs(), "not_counted": _NOT_COUNTED}
        chosen = self.change.chosen
        return {
            **record,
            "objective": chosen.objective,
            "threshold": {"before": self.change.before.threshold, "after": self.change.after.threshold},
            "base_rate": self._base_rates(),
            "reachable": chosen.reachable,
            "warning": chosen.warning,
            "folds": {fold: asdict(found) for fold, found in self.folds.items()},
        }

    def _base_rates(self) -> dict[str, Any] | None:
        """The new rate, and that of validation with its interval."""
        return None if self.old_rate is None else {"new": self.base_rate, "validation": asdict(self.old_rate)}

    def _costs(self) -> dict[str, dict[str, float]]:
        """By true class, then decided class."""
        rule = self.bundle.rules[self.rule]
        rows = rule.by_true if isinstance(rule, CostMatrix) else ()
        names = self.bundle.classes
        return {true: dict(zip(names, row, strict=True)) for true, row in zip(names, rows, strict=True)}


_HOW = {True: "order by order", False: "by one threshold"}


def _cells(outcome: ThresholdOutcome) -> str:
    values = (outcome.alerts, outcome.alerts_per_day, outcome.precision, outcome.recall, outcome.cost)
    return "".join(f"{_cell(value):>14}" for value in values)


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.4g}"


_ONE_LABEL = (
    "A row that reaches several thresholds gets one label, so that decisions between all classes are counted by the "
    "next training run alone."
)


_NOT_COUNTED = (
    "The logged counts are of each class against the rest: what the new costs change in decisions between classes "
    "cannot be computed from them. The next training run with these costs counts it."
)
