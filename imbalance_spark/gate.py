"""The promotion gate: whether the best strategy of a run takes the champion's place in the registry."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from imbalance_spark import tracking, tracking_registry
from imbalance_spark.compare import Comparison, scan_contenders
from imbalance_spark.encoding import model_inputs
from imbalance_spark.errors import DataContractError
from imbalance_spark.frames import VALIDATION
from imbalance_spark.held_out import HeldOutCounts
from imbalance_spark.judge import gain_over
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.model import ModelBundle
from imbalance_spark.order_columns import check_features
from imbalance_spark.score_rows import Contender
from imbalance_spark.tracking_registry import RegisteredVersion

_CHAMPION = "champion"

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

    It is better when the whole 95 % interval of the paired difference in `gate.metric` is above 0, so that no champion
    falls to chance, and its ledger check must pass. Where there is no champion yet, the first model becomes it.

    Passes: one over validation and test, where there is a champion of another run; its counts are kept in the ledger.
    """
    mode, name = comparison.config.gate.mode, comparison.config.tracking.registered_model
    if name is None:
        return GateDecision(mode=mode, outcome="keep", reasons=("tracking.registered_model is not set.",))
    if problems := gate_problems(comparison):
        return GateDecision(mode=mode, outcome="keep", reasons=tuple(problems))
    if mode == "disabled":
        return GateDecision(mode=mode, outcome="keep", reasons=("gate.mode is disabled: nothing was compared.",))
    champion = tracking_registry.champion_of(name)
    if champion is None:
        first = f"{name} has no champion yet: this is the first."
        return GateDecision(mode=mode, outcome="promote", reasons=(first, comparison.best.ledger.sentence))
    identity = tracking.strategy_identity(comparison.prepared.run.run_id, comparison.best.name)
    if tracking.has_identity(champion.run_id, identity):
        return GateDecision(mode=mode, outcome="standing", reasons=(f"{champion.label} is this model.",))
    try:
        counts = _champion_counts(comparison, champion)
    except DataContractError as error:
        reason = f"{champion.label} cannot be compared on these rows: {error}"
        return GateDecision(mode=mode, outcome="keep", reasons=(reason,), against=champion.version)
    return _compared(comparison, champion, counts)


def gate_problems(comparison: Comparison) -> list[str]:
    """Why the best strategy does not meet the config's gate; empty when it does."""
    gate, best = comparison.config.gate, comparison.best
    value = best.metrics.get(f"{VALIDATION}/{gate.metric}", 0.0)
    problems = []
    if value < gate.minimum:
        problems.append(f"{gate.metric} of {best.name} on validation is {value:.4f}, gate.minimum is {gate.minimum}")
    serving = best.thresholds[comparison.config.serve_objective]
    if gate.require_reachable and not serving.reachable:
        problems.append(f"{best.name}: {serving.sentence}")
    if gate.require_ledger and not best.ledger.passed:
        problems.append(f"{best.name}: {best.ledger.sentence}")
    return problems


def _compared(comparison: Comparison, champion: RegisteredVersion, counts: HeldOutCounts) -> GateDecision:
    gate, best = comparison.config.gate, comparison.best
    gain = gain_over(best, counts, gate.metric)
    is_better = gain.low > 0.0
    found = (
        f"{gate.metric} of {best.name} on {gain.positives:,} positive validation rows is {gain.value:+.4f} against "
        f"{champion.label}, 95 % interval {gain.low:+.4f} to {gain.high:+.4f}: "
        f"{'better' if is_better else 'not better than chance gives'}."
    )
    reasons = [found, best.ledger.sentence, *([gain.warning] if gain.warning else [])]
    return GateDecision(
        mode=gate.mode,
        outcome="promote" if is_better and best.ledger.passed else "keep",
        reasons=tuple(reasons),
        against=champion.version,
        gain=gain,
    )


def _champion_counts(comparison: Comparison, champion: RegisteredVersion) -> HeldOutCounts:
    def scanned() -> Any:
        bundle = tracking_registry.bundle_of_version(champion)
        if not isinstance(bundle, ModelBundle):
            raise DataContractError(f"it knows {len(bundle.classes)} classes, {list(bundle.classes)}; here are two.")
        return _scanned(comparison, bundle).to_records()

    step = f"counts_champion_{champion.model_id}"
    return HeldOutCounts.from_records(comparison.prepared.run.document(step, scanned))


def _scanned(comparison: Comparison, bundle: ModelBundle) -> HeldOutCounts:
    config, prepared = comparison.config, comparison.prepared
    if bundle.label != prepared.report.label:
        raise DataContractError(f"it was trained on other classes, {bundle.label.classes}.")
    check_features(prepared.orders, bundle.numeric, bundle.categorical)
    roles = config.orders.model_copy(update={"numeric": bundle.numeric, "categorical": bundle.categorical})
    keep = prepared.kept
    inputs = model_inputs(prepared.orders, roles, prepared.report.label, bundle.categories, keep=keep)
    contender = Contender(name=_CHAMPION, ubj=bundle.booster_ubj, features=roles.features, correction=bundle.correction)
    return scan_contenders(inputs, [contender], config)[_CHAMPION]
