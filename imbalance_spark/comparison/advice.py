"""Which strategy to use, and whether any is needed: from paired intervals on validation alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from imbalance_spark.metrics.intervals import Interval

_CONFIDENCE = 0.95

_FEWEST_POSITIVES = 10
"""Positive rows below which strategies are not compared: their intervals are rough."""


Reason = Literal["alone", "wins", "none is higher", "chance", "chance among many", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The strategy to use: the highest of those that beat plain boosting beyond chance, else plain boosting itself.

    Args:
        use: name of the strategy.
        reason: why; only with `wins` is it another than plain boosting.
        plain: name of plain boosting with a tuned threshold.
        highest: name of the strategy that is highest on validation, by chance or not.
        gains: of each other strategy over plain boosting, with its 95 % interval.
        winners: those above plain boosting beyond chance, highest first.
    """

    use: str
    reason: Reason
    plain: str
    highest: str
    gains: Mapping[str, Interval]
    winners: tuple[str, ...]

    def lines(self, metric: str) -> list[str]:
        """The advice in sentences, each of which stands alone."""
        return [self._answer(metric), *self._others(metric)]

    def _answer(self, metric: str) -> str:
        plain = f"plain boosting with a tuned threshold ({self.plain})"
        match self.reason:
            case "alone":
                return f"Only {plain} was fitted: name other strategies to learn whether one of them is better."
            case "none is higher":
                return f"No resampling needed: no other strategy scores higher on validation than {plain}."
            case "unknown":
                other = "another strategy" if self.highest == self.plain else self.highest
                return (
                    f"Undecided: validation has too few positives to compare {other} with {plain}. "
                    f"Keep {self.plain} until there are more."
                )
            case "wins":
                also = f" So do {_listed(self.winners[1:])}." if self.winners[1:] else ""
                return f"Use {self.use}: against {plain} it gains {self._gain(self.use, metric)}.{also}"
        by_chance = {
            "chance": "no more than chance gives",
            "chance among many": f"which the highest of {len(self.gains)} strategies reaches by chance",
        }
        found = self._gain(self.highest, metric)
        return (
            f"No resampling needed: {self.highest} gains {found} over {plain}, {by_chance[self.reason]}. "
            f"Use {self.plain}."
        )

    def _others(self, metric: str) -> list[str]:
        lines = []
        if self.reason == "wins" and self.use != self.highest:
            found = self._gain(self.highest, metric)
            lines.append(f"{self.highest} scores higher than {self.use}, but may do so by chance: {found}.")
        if lower := [name for name, gain in self.gains.items() if gain.high < 0.0]:
            lines.append(f"Below {self.plain} beyond chance: {_listed(lower)}.")
        return lines

    def _gain(self, name: str, metric: str) -> str:
        gain = self.gains[name]
        return f"{gain.value:+.4f} in {metric} on validation, 95 % interval {gain.low:+.4f} to {gain.high:+.4f}"


def joint_level(comparisons: int) -> float:
    """The level at which so many intervals hold all together at 95 % or more (Bonferroni): above 0.95."""
    return 1.0 - (1.0 - _CONFIDENCE) / max(comparisons, 1)


def advise(
    ranked: Sequence[str], plain: str, gains: Mapping[str, Interval], joint_gains: Mapping[str, Interval]
) -> Advice:
    """What to use. The highest of many strategies is often high by chance, so a win needs the wider interval.

    Args:
        ranked: names of all strategies, highest on validation first.
        plain: which of them is plain boosting.
        gains: of every other strategy over it, with 95 % intervals.
        joint_gains: the same with intervals of `joint_level`.
    """
    known = {name for name, gain in gains.items() if gain.positives >= _FEWEST_POSITIVES}
    winners = tuple(name for name in ranked if name in known and joint_gains[name].low > 0.0)
    return Advice(
        use=winners[0] if winners else plain,
        reason=_reason(ranked[0], plain, gains, winners),
        plain=plain,
        highest=ranked[0],
        gains=gains,
        winners=winners,
    )


def _reason(highest: str, plain: str, gains: Mapping[str, Interval], winners: Sequence[str]) -> Reason:
    if not gains:
        return "alone"
    if winners:
        return "wins"
    if any(gain.positives < _FEWEST_POSITIVES for gain in gains.values()):
        return "unknown"
    if highest == plain:
        return "none is higher"
    gain = gains[highest]
    if not (math.isfinite(gain.low) and math.isfinite(gain.high)):
        return "unknown"
    return "chance among many" if gain.low > 0.0 else "chance"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
