"""The promotion gate for models of two classes."""

from typing import Any

from imbalance_spark.comparison.compare import Comparison, scan_contenders
from imbalance_spark.comparison.evaluate import gain_over
from imbalance_spark.comparison.gate_decision import Challenge, GateDecision, decide
from imbalance_spark.core.columns import VALIDATION
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.orders.model_inputs import model_inputs
from imbalance_spark.orders.schema import check_features
from imbalance_spark.scoring.boosters import Contender
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.held_out_counts import TargetCounts
from imbalance_spark.tracking.registry import RegisteredVersion, bundle_of_version

_CHAMPION = "champion"


def decide_promotion(comparison: Comparison) -> GateDecision:
    """As `decide`, by `gate.metric`.

    Passes: one over validation and test, where there is a champion of another run; its counts are kept in the ledger.
    """
    best, metric = comparison.best, comparison.config.gate.metric
    challenge = Challenge(
        problems=gate_problems(comparison),
        ledger_passed=best.ledger.passed,
        ledger=(best.ledger.sentence,),
        gain_over=lambda champion: gain_over(best, _champion_counts(comparison, champion), metric),
        measured=lambda gain: f"{metric} of {best.name} on {gain.positives:,} positive validation rows",
    )
    return decide(comparison, challenge)


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


def _champion_counts(comparison: Comparison, champion: RegisteredVersion) -> TargetCounts:
    def scanned() -> Any:
        bundle = bundle_of_version(champion)
        if bundle.targets > 1:
            raise DataContractError(f"it knows {len(bundle.classes)} classes, {list(bundle.classes)}; here are two.")
        return _scanned(comparison, bundle).to_records()

    step = f"counts_champion_{champion.model_id}"
    return TargetCounts.from_records(comparison.prepared.run.document(step, scanned))


def _scanned(comparison: Comparison, bundle: ModelBundle) -> TargetCounts:
    config, prepared = comparison.config, comparison.prepared
    if bundle.label != prepared.report.label:
        raise DataContractError(f"it was trained on other classes, {bundle.label.classes}.")
    check_features(prepared.orders, bundle.numeric, bundle.categorical)
    roles = config.orders.model_copy(update={"numeric": bundle.numeric, "categorical": bundle.categorical})
    keep = prepared.kept
    inputs = model_inputs(prepared.orders, roles, prepared.report.label, bundle.categories, keep=keep)
    contender = Contender(name=_CHAMPION, ubj=bundle.model_bytes, features=roles.features, correction=bundle.correction)
    return scan_contenders(inputs, [contender], config)[_CHAMPION]
