"""Proposals by the tree-structured Parzen estimator (Bergstra and others, 2011) of Optuna, which is an extra."""

import importlib
import math
from collections.abc import Sequence
from typing import Any

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.train_only.search.space import Choice, Range, Space
from imbalance_spark.train_only.search.trials import Trial


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
