"""The promotion gate for models of several classes."""

from typing import Any

from imbalance_spark.calibration import MulticlassTemperature
from imbalance_spark.comparison.gate_decision import Challenge, GateDecision, decide
from imbalance_spark.core.columns import VALIDATION
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.multiclass.compare import ClassComparison
from imbalance_spark.multiclass.counting import contender_margins, counts_of_margins
from imbalance_spark.multiclass.judge import class_gain
from imbalance_spark.orders.model_inputs import model_inputs
from imbalance_spark.orders.schema import check_features
from imbalance_spark.scoring.boosters import Contender
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.held_out import CountedModel
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from imbalance_spark.tracking.registry import RegisteredVersion, bundle_of_version


def decide_class_promotion(comparison: ClassComparison) -> GateDecision:
    """As `decide`, by the macro average over the classes of `gate.metric`; other classes cannot be compared.

    Passes: two over validation and test, where there is a champion of another run; its counts are kept in the ledger.
    """
    best, metric = comparison.best, comparison.config.gate.metric
    rarest = "on validation, {:,} rows of the rarest class,"
    challenge = Challenge(
        problems=class_gate_problems(comparison),
        ledger_passed=best.ledger_passed,
        ledger=_ledger_sentences(comparison),
        gain_over=lambda champion: class_gain(best, _champion_counts(comparison, champion), metric),
        measured=lambda gain: f"macro {metric} of {best.name} {rarest.format(gain.positives)}",
    )
    return decide(comparison, challenge)


def class_gate_problems(comparison: ClassComparison) -> list[str]:
    """Why the best strategy does not meet the config's gate; empty when it does."""
    gate, best, serving = comparison.config.gate, comparison.best, comparison.config.serve_objective
    value = best.metrics.get(f"{VALIDATION}/macro_{gate.metric}", 0.0)
    problems = []
    if value < gate.minimum:
        problems.append(
            f"macro {gate.metric} of {best.name} on validation is {value:.4f}, gate.minimum is {gate.minimum}"
        )
    if gate.require_reachable and serving in best.chosen:
        problems += [
            f"{best.name}, {name}: {chosen.sentence}"
            for name, chosen in zip(comparison.classes, best.chosen[serving].by_target, strict=True)
            if not chosen.reachable
        ]
    if gate.require_ledger and not best.ledger_passed:
        problems += _ledger_sentences(comparison)
    return problems


def _ledger_sentences(comparison: ClassComparison) -> list[str]:
    """The ledger check of each class of the best strategy; where all pass, in one sentence."""
    best = comparison.best
    failed = [f"{best.name}, {name}: {check.sentence}" for name, check in best.ledger.items() if not check.passed]
    ratios = ", ".join(f"{name} {check.ratio:.3g}" for name, check in best.ledger.items())
    return failed or [f"The mean probability over the rate of each class is {ratios}: calibrated as a whole."]


def _champion_counts(comparison: ClassComparison, champion: RegisteredVersion) -> HeldOutCounts:
    def scanned() -> Any:
        return _scanned(comparison, bundle_of_version(champion)).to_records()

    step = f"counts_champion_{champion.model_id}"
    return HeldOutCounts.from_records(comparison.prepared.run.document(step, scanned))


def _scanned(comparison: ClassComparison, bundle: ModelBundle) -> HeldOutCounts:
    config, prepared = comparison.config, comparison.prepared
    if bundle.targets == 1:
        raise DataContractError(f"it is a model of two classes, here are {len(comparison.classes)}.")
    if bundle.classes != comparison.classes:
        raise DataContractError(f"it knows the classes {list(bundle.classes)}, here are {list(comparison.classes)}.")
    check_features(prepared.orders, bundle.numeric, bundle.categorical)
    read = config.orders.model_copy(update={"numeric": bundle.numeric, "categorical": bundle.categorical})
    inputs = model_inputs(prepared.orders, read, bundle.label, bundle.categories, keep=prepared.kept)
    contender = Contender(
        name="champion",
        ubj=bundle.model_bytes,
        features=bundle.numeric + bundle.categorical,
        correction=bundle.correction,
    )
    calibrator = bundle.calibrator
    if not isinstance(calibrator, MulticlassTemperature):
        raise DataContractError(f"it is calibrated by {calibrator.method}, here by a temperature.")
    model = CountedModel(correction=bundle.correction, temperature=calibrator, rules=comparison.decisions.fixed)
    margins = contender_margins(inputs, [contender], config)
    return counts_of_margins(margins, {"champion": model}, config)["champion"]
