"""Whether the best strategy of a run takes the champion's place in the registry, for two classes and for several."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from imbalance_spark.comparison.compared import Compared, Judged
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.tracking.registry import RegisteredVersion, champion_of
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


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """What the gate asks of the best strategy.

    Args:
        problems: why it does not meet the config's gate; empty when it does.
        ledger_passed: whether its probabilities keep to the rate. ledger: the same in sentences.
        gain_over: what it has more of the gate's metric than a champion, on the same validation rows; raises
            DataContractError where they cannot be compared.
        measured: the metric, and the rows that it was measured on, in words.
    """

    problems: Sequence[str]
    ledger_passed: bool
    ledger: Sequence[str]
    gain_over: Callable[[RegisteredVersion], Interval]
    measured: Callable[[Interval], str]


def decide(comparison: Compared[Judged], challenge: Challenge) -> GateDecision:
    """Compare the best strategy with the registry's champion on this run's validation rows.

    It is better when the whole 95 % interval of the paired difference in `gate.metric` is above 0, so that no champion
    falls to chance, and its ledger check must pass. Where there is no champion yet, the first model becomes it.
    """
    mode, name = comparison.config.gate.mode, comparison.config.tracking.registered_model
    if name is None:
        return GateDecision(mode=mode, outcome="keep", reasons=("tracking.registered_model is not set.",))
    if challenge.problems:
        return GateDecision(mode=mode, outcome="keep", reasons=tuple(challenge.problems))
    if mode == "disabled":
        return GateDecision(mode=mode, outcome="keep", reasons=("gate.mode is disabled: nothing was compared.",))
    champion = champion_of(name)
    if champion is None:
        first = f"{name} has no champion yet: this is the first."
        return GateDecision(mode=mode, outcome="promote", reasons=(first, *challenge.ledger))
    identity = strategy_identity(comparison.prepared.run.run_id, comparison.best.name)
    if has_identity(champion.run_id, identity):
        return GateDecision(mode=mode, outcome="standing", reasons=(f"{champion.label} is this model.",))
    try:
        gain = challenge.gain_over(champion)
    except DataContractError as error:
        reason = f"{champion.label} cannot be compared on these rows: {error}"
        return GateDecision(mode=mode, outcome="keep", reasons=(reason,), against=champion.version)
    return _compared(mode, challenge, champion, gain)


def _compared(mode: str, challenge: Challenge, champion: RegisteredVersion, gain: Interval) -> GateDecision:
    is_better = gain.low > 0.0
    found = (
        f"{challenge.measured(gain)} is {gain.value:+.4f} against {champion.label}, 95 % interval {gain.low:+.4f} to "
        f"{gain.high:+.4f}: {'better' if is_better else 'not better than chance gives'}."
    )
    return GateDecision(
        mode=mode,
        outcome="promote" if is_better and challenge.ledger_passed else "keep",
        reasons=(found, *challenge.ledger, *([gain.warning] if gain.warning else [])),
        against=champion.version,
        gain=gain,
    )
