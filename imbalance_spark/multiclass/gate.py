"""The promotion gate for models of several classes."""

from typing import Any

from imbalance_spark import tracking, tracking_registry
from imbalance_spark.encoding import model_inputs
from imbalance_spark.errors import DataContractError
from imbalance_spark.frames import VALIDATION
from imbalance_spark.gate import GateDecision
from imbalance_spark.multiclass.compare import ClassComparison
from imbalance_spark.multiclass.counting import contender_margins, counts_of_margins
from imbalance_spark.multiclass.held_out import ClassHeldOut
from imbalance_spark.multiclass.judge import class_gain
from imbalance_spark.multiclass.margins import ClassContender
from imbalance_spark.multiclass.model import ClassBundle
from imbalance_spark.multiclass.scan import CountedModel
from imbalance_spark.order_columns import check_features
from imbalance_spark.tracking_registry import RegisteredVersion


def decide_class_promotion(comparison: ClassComparison) -> GateDecision:
    """Compare the best strategy with the registry's champion on this run's validation rows; see `decide_promotion`.

    The metric is the macro average over the classes of `gate.metric`. A champion of other classes cannot be compared.

    Passes: two over validation and test, where there is a champion of another run; its counts are kept in the ledger.
    """
    mode, name = comparison.config.gate.mode, comparison.config.tracking.registered_model
    if name is None:
        return GateDecision(mode=mode, outcome="keep", reasons=("tracking.registered_model is not set.",))
    if problems := class_gate_problems(comparison):
        return GateDecision(mode=mode, outcome="keep", reasons=tuple(problems))
    if mode == "disabled":
        return GateDecision(mode=mode, outcome="keep", reasons=("gate.mode is disabled: nothing was compared.",))
    champion = tracking_registry.champion_of(name)
    if champion is None:
        first = f"{name} has no champion yet: this is the first."
        return GateDecision(mode=mode, outcome="promote", reasons=(first, *ledger_sentences(comparison)))
    identity = tracking.strategy_identity(comparison.prepared.run.run_id, comparison.best.name)
    if tracking.has_identity(champion.run_id, identity):
        return GateDecision(mode=mode, outcome="standing", reasons=(f"{champion.label} is this model.",))
    try:
        counts = _champion_counts(comparison, champion)
    except DataContractError as error:
        reason = f"{champion.label} cannot be compared on these rows: {error}"
        return GateDecision(mode=mode, outcome="keep", reasons=(reason,), against=champion.version)
    return _compared(comparison, champion, counts)


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
            for name, chosen in zip(comparison.classes, best.chosen[serving].by_class, strict=True)
            if not chosen.reachable
        ]
    if gate.require_ledger and not best.ledger_passed:
        problems += ledger_sentences(comparison)
    return problems


def ledger_sentences(comparison: ClassComparison) -> list[str]:
    """The ledger check of each class of the best strategy; where all pass, in one sentence."""
    best = comparison.best
    failed = [f"{best.name}, {name}: {check.sentence}" for name, check in best.ledger.items() if not check.passed]
    ratios = ", ".join(f"{name} {check.ratio:.3g}" for name, check in best.ledger.items())
    return failed or [f"The mean probability over the rate of each class is {ratios}: calibrated as a whole."]


def _compared(comparison: ClassComparison, champion: RegisteredVersion, counts: ClassHeldOut) -> GateDecision:
    gate, best = comparison.config.gate, comparison.best
    gain = class_gain(best, counts, gate.metric)
    is_better = gain.low > 0.0
    found = (
        f"macro {gate.metric} of {best.name} on validation, {gain.positives:,} rows of the rarest class, is "
        f"{gain.value:+.4f} against {champion.label}, 95 % interval {gain.low:+.4f} to {gain.high:+.4f}: "
        f"{'better' if is_better else 'not better than chance gives'}."
    )
    return GateDecision(
        mode=gate.mode,
        outcome="promote" if is_better and best.ledger_passed else "keep",
        reasons=(found, *ledger_sentences(comparison), *([gain.warning] if gain.warning else [])),
        against=champion.version,
        gain=gain,
    )


def _champion_counts(comparison: ClassComparison, champion: RegisteredVersion) -> ClassHeldOut:
    def scanned() -> Any:
        return _scanned(comparison, tracking_registry.bundle_of_version(champion)).to_records()

    step = f"counts_champion_{champion.model_id}"
    return ClassHeldOut.from_records(comparison.prepared.run.document(step, scanned))


def _scanned(comparison: ClassComparison, bundle: object) -> ClassHeldOut:
    config, prepared = comparison.config, comparison.prepared
    if not isinstance(bundle, ClassBundle):
        raise DataContractError(f"it is a model of two classes, here are {len(comparison.classes)}.")
    if bundle.classes != comparison.classes:
        raise DataContractError(f"it knows the classes {list(bundle.classes)}, here are {list(comparison.classes)}.")
    check_features(prepared.orders, bundle.numeric, bundle.categorical)
    read = config.orders.model_copy(update={"numeric": bundle.numeric, "categorical": bundle.categorical})
    inputs = model_inputs(prepared.orders, read, bundle.label, bundle.categories, keep=prepared.kept)
    contender = ClassContender(name="champion", ubj=bundle.booster_ubj, features=bundle.numeric + bundle.categorical)
    model = CountedModel(probabilities=bundle.probabilities, rules=comparison.decisions.fixed)
    margins = contender_margins(inputs, [contender], config)
    return counts_of_margins(margins, {"champion": model}, config)["champion"]
