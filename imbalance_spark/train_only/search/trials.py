"""Trials of a search, and which of them are fitted with how many rounds and rows.

Successive halving (Jamieson and Talwalkar, 2016): all trials are fitted at a small cost, the best share of them at
`factor` times that cost, and so on, until the few that are left are fitted in full. Each rung costs the same.
"""

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.train_only.search.config import SearchConfig
from imbalance_spark.train_only.search.space import Choice, Params, Range, Space


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


def require_optuna() -> None:
    """Refuse `method: tpe` where Optuna is not installed.

    Raises:
        ConfigError: says how to install it.
    """
    try:
        importlib.import_module("optuna")
    except ImportError:
        raise ConfigError(
            "search.method is tpe, which needs Optuna, and it is not installed. Run `pip install "
            "'imbalance_spark[search]'`, or use successive_halving."
        ) from None


def propose(space: Space, trials: Sequence[Trial], *, seed: int, is_loss: bool) -> dict[str, Any]:
    """The parameters of the next trial: from the same trials and seed always the same.

    Args:
        trials: what was judged so far. Those with a parameter beyond the space, as the config's own may have, and those
            without a value are left out.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: _distribution(one) for name, one in space.items()}
    study = optuna.create_study(
        direction="minimize" if is_loss else "maximize", sampler=optuna.samplers.TPESampler(seed=seed + len(trials))
    )
    for trial in trials:
        if math.isfinite(trial.values[-1]) and all(one.holds(trial.params[name]) for name, one in space.items()):
            params = {name: trial.params[name] for name in space}
            study.add_trial(
                optuna.trial.create_trial(params=params, distributions=distributions, value=trial.values[-1])
            )
    return dict(study.ask(distributions).params)


def _distribution(one: Range | Choice) -> Any:
    import optuna

    if isinstance(one, Choice):
        return optuna.distributions.CategoricalDistribution(one.values)
    if one.is_whole:
        return optuna.distributions.IntDistribution(round(one.low), round(one.high), log=one.is_log)
    return optuna.distributions.FloatDistribution(one.low, one.high, log=one.is_log)
