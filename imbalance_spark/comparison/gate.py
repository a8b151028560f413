"""Whether the best strategy of a run takes the champion's place in the registry."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.comparison.evaluate import StrategyResult, chosen_thresholds, gain_over
from imbalance_spark.comparison.score_strategies import count_candidate
from imbalance_spark.core.columns import VALIDATION
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.orders.model_inputs import model_inputs
from imbalance_spark.orders.schema import check_features
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from imbalance_spark.tracking.registry import RegisteredVersion, bundle_of_version, champion_of
from imbalance_spark.tracking.runs import has_identity, strategy_identity

Outcome = Literal["promote", "keep", "standing"]
"""The best strategy is to be the champion; the present one stays; the run's own model is the champion already."""


@dataclass(frozen=True, kw_only=True)
class GateDecision:
    """What the gate found, and why.

    Args:
        against: the champion's version that was compared with; None where there is none.
        gain: what the best strategy has more of the gate's metric than the champion, on the same validation rows, with
            its paired interval; None where nothing was compared.
    """

    mode: str
    outcome: Outcome
    reasons: tuple[str, ...]
    against: str | None = None
    gain: Interval | None = None

    @property
    def moves_alias(self) -> bool:
        """Whether the champion's alias is to move: `dry_run` only says that it would."""
        return self.outcome == "promote" and self.mode == "enabled"

    def lines(self) -> list[str]:
        """The decision, then its reasons."""
        said = {
            "promote": "promoted to champion" if self.mode == "enabled" else "would be promoted to champion (dry run)",
            "keep": "not promoted",
            "standing": "is the champion already",
        }
        return [f"Gate ({self.mode}): {said[self.outcome]}.", *[f"- {reason}" for reason in self.reasons]]

    def to_dict(self) -> dict[str, Any]:
        """The decision as JSON-able values."""
        return asdict(self)


def decide_promotion(comparison: Comparison) -> GateDecision:
    """Compare the best strategy with the registry's champion on this run's validation rows.

    It is better when the whole 95 % interval of the paired difference in `gate.metric` (of K classes its macro
    average) is above 0, so that no champion falls to chance; and its probabilities must be right on average. Where
    there is no champion yet, the first model becomes it. A champion of other classes cannot be compared, and stays.

    Passes: those of `count_candidate`, where there is a champion of another run; its counts are kept in the run.
    """
    mode, name = comparison.config.gate.mode, comparison.config.tracking.registered_model
    if name is None:
        return GateDecision(mode=mode, outcome="keep", reasons=("tracking.registered_model is not set.",))
    if problems := gate_problems(comparison):
        return GateDecision(mode=mode, outcome="keep", reasons=tuple(problems))
    if mode == "disabled":
        return GateDecision(mode=mode, outcome="keep", reasons=("gate.mode is disabled: nothing was compared.",))
    champion = champion_of(name)
    if champion is None:
        first = f"{name} has no champion yet: this is the first."
        return GateDecision(mode=mode, outcome="promote", reasons=(first, *_calibration_sentences(comparison)))
    identity = strategy_identity(comparison.prepared.run.run_id, comparison.best.name)
    if has_identity(champion.run_id, identity):
        return GateDecision(mode=mode, outcome="standing", reasons=(f"{champion.label} is this model.",))
    try:
        counts = _champion_counts(comparison, champion)
        gain = gain_over(comparison.best, counts, comparison.config.gate.metric)
    except DataContractError as error:
        reason = f"{champion.label} cannot be compared on these rows: {error}"
        return GateDecision(mode=mode, outcome="keep", reasons=(reason,), against=champion.version)
    return _compared(comparison, champion, gain)


def gate_problems(comparison: Comparison) -> list[str]:
    """Why the best strategy does not meet the config's gate; empty when it does."""
    gate, best = comparison.config.gate, comparison.best
    value = best.metrics.get(f"{VALIDATION}/{comparison.names.macro(gate.metric)}", 0.0)
    problems = []
    if value < gate.minimum:
        problems.append(
            f"{comparison.metric} of {best.name} on validation is {value:.4f}, gate.minimum is {gate.minimum}"
        )
    if gate.require_reachable and comparison.serving in best.chosen:
        chosen = chosen_thresholds(best.chosen[comparison.serving], comparison.names)
        problems += [
            f"{subject(comparison, best, target)}: {one.sentence}"
            for target, one in chosen.items()
            if not one.reachable
        ]
    if gate.require_ledger and not best.ledger_passed:
        problems += _failed_checks(comparison, best)
    return problems


def subject(comparison: Comparison, result: StrategyResult, target: str) -> str:
    """What a sentence about one target is about: the strategy, and of K classes the class."""
    return result.name if comparison.is_single else f"{result.name}, {target}"


def _compared(comparison: Comparison, champion: RegisteredVersion, gain: Interval) -> GateDecision:
    best, is_better = comparison.best, gain.low > 0.0
    rows = "positive validation rows" if comparison.is_single else "validation rows of the rarest class"
    found = (
        f"{comparison.metric} of {best.name} on {gain.positives:,} {rows} is {gain.value:+.4f} against "
        f"{champion.label}, 95 % interval {gain.low:+.4f} to {gain.high:+.4f}: "
        f"{'better' if is_better else 'not better than chance gives'}."
    )
    return GateDecision(
        mode=comparison.config.gate.mode,
        outcome="promote" if is_better and best.ledger_passed else "keep",
        reasons=(found, *_calibration_sentences(comparison), *([gain.warning] if gain.warning else [])),
        against=champion.version,
        gain=gain,
    )


def _calibration_sentences(comparison: Comparison) -> list[str]:
    """Whether the best strategy's probabilities are right on average; of K classes in one sentence if all are."""
    best = comparison.best
    if comparison.is_single:
        return [check.sentence for check in best.ledger.values()]
    ratios = ", ".join(f"{name} {check.ratio:.3g}" for name, check in best.ledger.items())
    return _failed_checks(comparison, best) or [
        f"The mean probability over the rate of each class is {ratios}: calibrated as a whole."
    ]


def _failed_checks(comparison: Comparison, best: StrategyResult) -> list[str]:
    return [
        f"{subject(comparison, best, target)}: {check.sentence}"
        for target, check in best.ledger.items()
        if not check.passed
    ]


def _champion_counts(comparison: Comparison, champion: RegisteredVersion) -> HeldOutCounts:
    def counted() -> Any:
        return _counted(comparison, bundle_of_version(champion)).to_records()

    step = f"counts_champion_{champion.model_id}"
    return HeldOutCounts.from_records(comparison.prepared.run.document(step, counted))


def _counted(comparison: Comparison, bundle: ModelBundle) -> HeldOutCounts:
    config, prepared = comparison.config, comparison.prepared
    if bundle.label != prepared.report.label:
        raise DataContractError(f"it knows the classes {list(bundle.classes)}, here are {list(prepared.classes)}.")
    check_features(prepared.orders, bundle.numeric, bundle.categorical)
    roles = config.orders.model_copy(update={"numeric": bundle.numeric, "categorical": bundle.categorical})
    inputs = model_inputs(
        prepared.orders, roles, prepared.report.label, bundle.categories, keep=prepared.passed_columns
    )
    return count_candidate(prepared, inputs, bundle, comparison.decisions, config)
