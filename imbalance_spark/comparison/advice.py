"""Which strategy to use, and whether any is needed: from paired joint intervals on validation alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from imbalance_spark.comparison.gains import (
    FEWEST_POSITIVES,
    Verdict,
    gain_text,
    positives_to_decide,
    verdicts,
)
from imbalance_spark.metrics.intervals import Interval

Reason = Literal["alone", "better", "equivalent", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The strategy to use: of those that are better than plain boosting the one of the highest gain, else plain itself.

    Args:
        plain: name of plain boosting with a tuned threshold.
        words: what is gained, such as `average_precision` or `cost saved`.
        gains: by name of each other strategy, how much better it is than plain boosting; their intervals hold all
            together at 95 %, and they decide.
        margin: a gain of at most this size is no reason to prefer a strategy, in the unit of the gains.
        share: the margin as a share of what plain boosting has, in [0, 1).
    """

    plain: str
    words: str
    gains: Mapping[str, Interval]
    margin: float
    share: float

    @cached_property
    def verdicts(self) -> Mapping[str, Verdict]:
        """Each other strategy against plain boosting."""
        return verdicts(self.gains, self.margin)

    @property
    def use(self) -> str:
        """Name of the strategy to use."""
        return next(iter(self.better), self.plain)

    @property
    def better(self) -> tuple[str, ...]:
        """The strategies that are better than plain boosting beyond chance, highest gain first."""
        return self._of("better")

    @property
    def reason(self) -> Reason:
        """Why it is that strategy; only with `better` it is another than plain boosting."""
        if not self.gains:
            return "alone"
        if self.better:
            return "better"
        is_settled = all(verdict != "undecided" or self._is_not_higher(name) for name, verdict in self.verdicts.items())
        return "equivalent" if is_settled else "undecided"

    def lines(self) -> list[str]:
        """The advice in sentences, each of which stands alone."""
        return [self._answer(), *self._others()]

    def to_dict(self) -> dict[str, Any]:
        """The advice as JSON-able values."""
        return {
            "use": self.use,
            "reason": self.reason,
            "plain": self.plain,
            "metric": self.words,
            "margin": self.margin,
            "verdicts": dict(self.verdicts),
        }

    def _answer(self) -> str:
        plain = f"plain boosting with a tuned threshold ({self.plain})"
        match self.reason:
            case "alone":
                return f"Only {plain} was fitted: name other strategies to learn whether one of them is better."
            case "equivalent":
                return (
                    f"No resampling needed: no other strategy gains more in {self.words} than the margin of "
                    f"{100.0 * self.share:g} % over {plain}. Use {self.plain}."
                )
            case "better":
                also = f" So do {_listed(self.better[1:])}." if self.better[1:] else ""
                return f"Use {self.use}: against {plain} it gains {self._gain(self.use)}.{also}"
        highest = max(self._of("undecided"), key=lambda name: self.gains[name].value)
        if (positives := self.gains[highest].positives) < FEWEST_POSITIVES:
            return (
                f"Undecided: validation has {positives} positive rows, and below {FEWEST_POSITIVES} no strategy can be "
                f"compared with {plain}. Use {self.plain} until there are more."
            )
        return (
            f"Undecided: {highest} gains {self._gain(highest)} over {plain}. {self._wanted(highest)} "
            f"Use {self.plain} until then."
        )

    def _others(self) -> Iterator[str]:
        if equal := self._of("equivalent"):
            yield f"Equivalent to {self.plain} within {100.0 * self.share:g} %: {_listed(equal)}."
        if self.reason == "better":
            for name in self._of("undecided"):
                if not self._is_not_higher(name):
                    yield f"Undecided: {name} gains {self._gain(name)}. {self._wanted(name)}"
        if lower := self._of("worse"):
            yield f"Below {self.plain} beyond chance: {_listed(lower)}."

    def _of(self, verdict: Verdict) -> tuple[str, ...]:
        """Names by gain, highest first."""
        names = [name for name, found in self.verdicts.items() if found == verdict]
        return tuple(sorted(names, key=lambda name: -self.gains[name].value))

    def _is_not_higher(self, name: str) -> bool:
        """Whether a strategy is not better by more than the margin, though it may be worse."""
        gain = self.gains[name]
        return gain.positives >= FEWEST_POSITIVES and gain.high <= self.margin

    def _gain(self, name: str) -> str:
        return gain_text(self.gains[name], self.words, len(self.gains))

    def _wanted(self, name: str) -> str:
        return wanted_sentence(self.gains[name], self.margin)


def wanted_sentence(gain: Interval, margin: float) -> str:
    """What would decide an undecided comparison."""
    wanted = positives_to_decide(gain, margin)
    if wanted is None:
        return "More positive rows in validation would decide it; these are too few to say how many."
    return (
        f"About {wanted:,} positive rows in validation would decide it if the gain stays as it is; there are "
        f"{gain.positives:,}."
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
