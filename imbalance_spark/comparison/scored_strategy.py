"""One strategy as it was counted: its calibration, its rules, and what they decide."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from imbalance_spark.calibration import (
    Calibrator,
    ChosenCalibration,
    fit_of,
)
from imbalance_spark.calibration.temperature import ChosenTemperature
from imbalance_spark.comparison.prepare import PreparedOrders
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.columns import SPLIT, TEST, VALIDATION, col
from imbalance_spark.metrics.bucket_draws import BucketedCurve
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.grid import FloatArray
from imbalance_spark.scoring.boosters import Candidate
from imbalance_spark.scoring.held_out_counts import HeldOutCounts, TargetCounts
from imbalance_spark.scoring.reasons import EXPLAINED_ROWS, collect_importance
from imbalance_spark.threshold.class_rules import (
    ChosenClassThresholds,
    Rule,
)
from imbalance_spark.threshold.objective import Objective
from imbalance_spark.threshold.order_costs import OrderRule
from imbalance_spark.threshold.rule import DECIDED_AT, Fit

CHOOSE = "choose"
"""The half of validation that checks a calibration which the other half was used for."""


@dataclass(frozen=True, kw_only=True)
class ScoredStrategy:
    """Counts of one strategy, how it is calibrated, and what was chosen on its counts.

    Args:
        held_out: of two classes of corrected probabilities, of K of calibrated ones.
        rules: by name; `chosen` are those whose thresholds were chosen on data, for `objectives`.
        counted_decisions: by name, what rules decide row by row, where scores do not tell; see `scan_decisions`.
    """

    held_out: HeldOutCounts
    calibration: ChosenCalibration | ChosenTemperature
    rules: Mapping[str, Rule]
    chosen: Mapping[str, ChosenClassThresholds]
    objectives: Mapping[str, Objective]
    counted_decisions: Mapping[str, HeldOutCounts] = field(default_factory=dict)

    def bucketed(self, part: str) -> list[BucketedCurve]:
        """The curve of each target, of calibrated probabilities, with its buckets; see `TargetCounts.bucketed`."""
        return self.held_out.bucketed(part, self.through)

    def curves(self, fold: str) -> list[Curve]:
        """The curve of each target on a fold, of calibrated probabilities."""
        return self.held_out.curves(fold, self.through)

    def decided(self, rule: str, fold: str) -> tuple[BucketedCurve, float]:
        """Of a single target: rows of a fold, and the threshold on their scores by which a rule decides them.

        On validation thresholds and calibration are cross-fitted, since they were chosen there.
        """
        if isinstance(self.rules[rule], OrderRule):
            return self.counted_decisions[rule].target.bucketed(fold), DECIDED_AT
        return self.decided_by_threshold(rule, fold)

    def decided_by_threshold(self, rule: str, fold: str) -> tuple[BucketedCurve, float]:
        """The same by the rule's one threshold, also where orders are decided one by one."""
        [chosen] = self.chosen[rule].by_target
        if fold == VALIDATION and chosen.decided is not None:
            return chosen.decided, DECIDED_AT
        [sample] = self.bucketed(fold)
        return sample, chosen.threshold

    @property
    def fit(self) -> Fit:
        """How other rows of a single target would be calibrated; counts of K classes are of calibrated scores."""
        return fit_of(self.calibration.calibrator.method if len(self.held_out.targets) == 1 else "identity")

    @property
    def cross_fitted(self) -> tuple[Calibrator, Calibrator, Calibrator]:
        """How rows of the even buckets of validation are calibrated, those of the odd ones, and those of test.

        Of K classes one temperature serves all.
        """
        if len(self.held_out.targets) > 1:
            return (self.calibration.calibrator,) * 3
        even, odd = (self.fit(half.curve.counts) for half in self.held_out.target.halved.halves)
        return odd, even, self.calibration.calibrator

    def ledger_samples(self) -> list[BucketedCurve]:
        """Each target's probabilities on the half of validation that they are not calibrated on.

        Of a single target the other half calibrates.
        """
        if len(self.held_out.targets) == 1:
            return [unseen_by_calibration(self.held_out.target, self.fit)]
        return self.held_out.bucketed(CHOOSE)

    @property
    def through(self) -> Callable[[FloatArray], FloatArray] | None:
        """From counted scores to calibrated ones; None where counts are of calibrated ones already."""
        return self.calibration.calibrator.apply if len(self.held_out.targets) == 1 else None


def unseen_by_calibration(target: TargetCounts, fit: Fit) -> BucketedCurve:
    """The half of validation that checks, calibrated by a fit on the other half."""
    return target.bucketed(CHOOSE, fit(target.calibrate).apply)


def kept_counts(
    prepared: PreparedOrders,
    candidates: Sequence[Candidate],
    config: RunConfig,
    count: Callable[[], Mapping[str, HeldOutCounts]],
) -> dict[str, HeldOutCounts]:
    """Counts by strategy, with the importance of features: from the step log if the run has them all.

    Passes: else those of `count`, and one over test.
    """
    run, names = prepared.run, [candidate.name for candidate in candidates]
    if not all(run.is_done(f"counts_{name}") for name in names):
        importance = _importance(prepared, candidates, config)
        for name, counts in count().items():
            run.record(f"counts_{name}", replace(counts, importance=importance[name]).to_records())
    return {name: HeldOutCounts.from_records(run.read_document(f"counts_{name}")) for name in names}


def _importance(
    prepared: PreparedOrders, candidates: Sequence[Candidate], config: RunConfig
) -> dict[str, dict[str, float]]:
    return collect_importance(
        prepared.inputs.where(col(SPLIT) == TEST),
        candidates,
        key=config.orders.key,
        share=min(1.0, EXPLAINED_ROWS / sum(prepared.diagnosis.by_split[TEST].values())),
        has_weight=config.orders.weight is not None,
    )
