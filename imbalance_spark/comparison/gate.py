"""Whether the strategy that a run registers takes the champion's place in the registry."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from imbalance_spark.comparison.advice import wanted_sentence
from imbalance_spark.comparison.champion import ChampionGain, compare_with_champion
from imbalance_spark.comparison.compare import Comparison
from imbalance_spark.comparison.evaluate import StrategyResult, chosen_thresholds
from imbalance_spark.comparison.gains import Verdict, gain_text, verdict_of
from imbalance_spark.core.columns import VALIDATION
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.tracking.registry import RegisteredVersion, champion_of
from imbalance_spark.tracking.runs import has_identity, strategy_identity

Outcome = Literal["promote", "keep", "standing"]
"""The run's strategy is to be the champion; the present one stays; the run's own model is the champion already."""


@dataclass(frozen=True, kw_only=True)
class GateDecision:
    """What the gate found, and why.

    Args:
        against: the champion's version that was compared with; None where there is none.
        gain: how much better the run's strategy is than the champion in what decides, on the same validation rows,
            with the paired interval that decides; None where nothing was compared.
        verdict: what that interval says.
        problem: why the champion could not be compared, and what to do; None where it was, or was not to be.
    """

    mode: str
    outcome: Outcome
    reasons: tuple[str, ...]
    against: str | None = None
    gain: Interval | None = None
    verdict: Verdict | None = None
    problem: str | None = None

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
    """Compare the strategy that the run registers with the registry's champion on this run's validation rows.

    It is better when the whole interval of the paired difference in what decides (see `gate.decide_by`) is above 0;
    and its probabilities must be right on average. Since that strategy was chosen among all of the run's on these
    rows, the interval has the joint level of as many comparisons: no champion falls to the luck of the best of many.
    Where there is no champion yet, the first model becomes it. What becomes of a champion that cannot be compared is
    `gate.incomparable`.

    Passes: those of `compare_with_champion`, where there is a champion of another run.
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
        found = compare_with_champion(comparison, champion)
    except DataContractError as error:
        return _incomparable(comparison, champion, f"{champion.label} cannot be compared on these rows: {error}")
    return _compared(comparison, champion, found)


def gate_problems(comparison: Comparison) -> list[str]:
    """Why the registered strategy does not meet the config's gate; empty when it does."""
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


def _incomparable(comparison: Comparison, champion: RegisteredVersion, reason: str) -> GateDecision:
    gate = comparison.config.gate
    if gate.incomparable == "replace":
        why = "gate.incomparable is replace: this run's model takes its place without a comparison."
        reasons = (reason, why, *_calibration_sentences(comparison))
        return GateDecision(mode=gate.mode, outcome="promote", reasons=reasons, against=champion.version)
    fix = (
        "Look at both models, then set gate.incomparable: replace for one run, or move the alias champion in MLflow; "
        "gate.incomparable: keep keeps the champion without an error."
    )
    problem = f"{reason} {fix}" if gate.incomparable == "fail" else None
    return GateDecision(
        mode=gate.mode, outcome="keep", reasons=(reason, fix), against=champion.version, problem=problem
    )


def _compared(comparison: Comparison, champion: RegisteredVersion, found: ChampionGain) -> GateDecision:
    gain, margin = found.gain, found.margin
    best, verdict = comparison.best, verdict_of(gain, margin)
    rows = "positive validation rows" if comparison.is_single else "validation rows of the rarest class"
    share = 100.0 * comparison.config.gate.equivalence_margin
    says = {
        "better": "better.",
        "worse": "worse.",
        "equivalent": f"equivalent within {share:g} %, and a champion falls to a better model alone.",
        "undecided": f"undecided. {wanted_sentence(gain, margin)}",
    }
    says_all = (
        f"{best.name} against {champion.label} on {gain.positives:,} {rows}: "
        f"{gain_text(gain, comparison.deciding_words, len(comparison.results))}: {says[verdict]}"
    )
    return GateDecision(
        mode=comparison.config.gate.mode,
        outcome="promote" if verdict == "better" and best.ledger_passed else "keep",
        reasons=(says_all, found.rows, *_calibration_sentences(comparison), *([gain.warning] if gain.warning else [])),
        against=champion.version,
        gain=gain,
        verdict=verdict,
    )


def _calibration_sentences(comparison: Comparison) -> list[str]:
    """Whether the registered strategy's probabilities are right on average; of K classes in one sentence if all are."""
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
