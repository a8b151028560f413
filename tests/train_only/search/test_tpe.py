"""Proposals of Optuna: repeatable, within the space, and better than chance where there is something to learn."""

import math
import sys

import pytest

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.train_only.search.space import DEFAULT_SPACE, Params, draw
from imbalance_spark.train_only.search.trials import Trial, propose, require_optuna

OWN = {**draw(DEFAULT_SPACE, seed=1, number=0), "max_depth": 30}  # beyond the space, as a config's own may be


def _loss(params: Params) -> float:
    return math.log(params["learning_rate"] / 0.05) ** 2 + abs(params["max_depth"] - 5) + params["max_delta_step"]


def _searched(trials: int, seed: int, *, is_loss: bool = True) -> list[Trial]:
    sign = 1.0 if is_loss else -1.0
    found = [Trial(number=0, params=OWN, values=(sign * _loss(OWN),)), Trial(number=1, params=OWN, values=(math.nan,))]
    for number in range(2, trials):
        params = propose(DEFAULT_SPACE, found, seed=seed, is_loss=is_loss)
        found.append(Trial(number=number, params=params, values=(sign * _loss(params),)))
    return found


def test_the_same_trials_and_seed_give_the_same_proposal_and_another_seed_another() -> None:
    trials = _searched(15, 7)
    again = propose(DEFAULT_SPACE, trials, seed=7, is_loss=True)
    assert again == propose(DEFAULT_SPACE, trials, seed=7, is_loss=True)
    assert again != propose(DEFAULT_SPACE, trials, seed=8, is_loss=True)
    assert set(again) == set(DEFAULT_SPACE)
    assert all(DEFAULT_SPACE[name].holds(value) for name, value in again.items())
    assert isinstance(again["max_depth"], int)


@pytest.mark.parametrize("is_loss", [True, False])
def test_later_proposals_are_better_than_chance_in_either_direction(is_loss: bool) -> None:
    proposed = [_loss(trial.params) for trial in _searched(35, 7, is_loss=is_loss)[20:]]
    drawn = [_loss(draw(DEFAULT_SPACE, seed=7, number=number)) for number in range(100)]
    assert sum(proposed) / len(proposed) < 0.7 * sum(drawn) / len(drawn)


def test_without_optuna_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    require_optuna()
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'imbalance_spark\[search\]'"):
        require_optuna()
