"""Trials of a search, and which of them are fitted with how many rounds and rows.

Successive halving (Jamieson and Talwalkar, 2016): all trials are fitted at a small cost, the best share of them at
`factor` times that cost, and so on, until the few that are left are fitted in full. Each rung costs the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from imbalance_spark.train_only.search.config import SearchConfig
from imbalance_spark.train_only.search.space import Params


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One set of parameters; `values` is what it was worth on each rung that it reached, NaN where undefined."""

    number: int
    params: Params
    values: tuple[float, ...] = field(default=())


@dataclass(frozen=True, kw_only=True)
class Rung:
    """What trials are fitted with at one stage of a search.

    Args:
        trials: how many are fitted.
        fraction: what a fit costs over what one of all rounds on all rows does, in (0, 1].
    """

    trials: int
    fraction: float

    def row_share(self, *, is_sampled: bool) -> float:
        """Share of the rows that a fit reads; all, where the strategy samples them to a target of its own."""
        return 1.0 if is_sampled else math.sqrt(self.fraction)

    def rounds(self, rounds: int, *, is_sampled: bool) -> int:
        """Rounds of a fit at most; with the share of the rows they make up the cost."""
        return math.ceil(rounds * self.fraction / self.row_share(is_sampled=is_sampled))


def rungs_of(search: SearchConfig) -> tuple[Rung, ...]:
    """The stages of a search, the cheapest first; the last one is of fits in full. Only halving has more than one."""
    if search.method != "successive_halving":
        return (Rung(trials=search.trials, fraction=1.0),)
    last = 0
    while search.factor ** (last + 1) <= search.trials:
        last += 1
    return tuple(
        # Two at least: the config's own parameters, which stay to the end, and another.
        Rung(trials=max(2, -(-search.trials // search.factor**number)), fraction=search.factor ** -float(last - number))
        for number in range(last + 1)
    )


def promoted(trials: Sequence[Trial], count: int, *, is_loss: bool) -> tuple[Trial, ...]:
    """The first trial, which is the config's own, and the best of the others by their last value, in their order."""
    first, *others = sorted(trials, key=lambda trial: trial.number)
    kept = sorted(others, key=lambda trial: _rank(trial, is_loss))[: count - 1]
    return (first, *sorted(kept, key=lambda trial: trial.number))


def best_of(trials: Sequence[Trial], *, is_loss: bool) -> Trial:
    """The best by the last rung that any of them reached; of equal ones the first."""
    furthest = max(len(trial.values) for trial in trials)
    return min((t for t in trials if len(t.values) == furthest), key=lambda trial: _rank(trial, is_loss))


def _rank(trial: Trial, is_loss: bool) -> tuple[bool, float, int]:
    value = trial.values[-1]
    return not math.isfinite(value), value if is_loss else -value, trial.number
