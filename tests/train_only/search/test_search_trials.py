"""Which trials are fitted with how much, against the closed form; and which of them go on."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imbalance_spark.train_only.search.config import SearchConfig
from imbalance_spark.train_only.search.trials import Trial, best_of, promoted, rungs_of

VALUES = st.lists(st.floats(0.0, 1.0) | st.just(math.nan), min_size=2, max_size=30)


def _trials(values: list[float]) -> list[Trial]:
    return [Trial(number=number, params={}, values=(value,)) for number, value in enumerate(values)]


@given(trials=st.integers(2, 1000), factor=st.integers(2, 10))
def test_halving_follows_its_closed_form_and_its_rungs_cost_alike(trials: int, factor: int) -> None:
    rungs = rungs_of(SearchConfig(trials=trials, factor=factor))
    last = len(rungs) - 1
    assert factor**last <= trials < factor ** (last + 1)
    for number, rung in enumerate(rungs):
        assert rung.trials == max(2, math.ceil(trials / factor**number))
        assert rung.fraction == pytest.approx(factor ** (number - last))
    assert rungs[-1].fraction == 1.0
    # But for trials rounded up, and for the config's own that stay.
    costs = [rung.trials * rung.fraction for rung in rungs]
    assert max(costs) <= min(costs) + 2.0


@given(fraction=st.integers(0, 6), rounds=st.integers(1, 2000))
def test_rounds_and_rows_of_a_rung_make_up_its_cost(fraction: int, rounds: int) -> None:
    rung = rungs_of(SearchConfig(trials=3**6, factor=3))[6 - fraction]
    for is_sampled in (True, False):
        found = rung.rounds(rounds, is_sampled=is_sampled)
        share = rung.row_share(is_sampled=is_sampled)
        assert found - 1 < rounds * rung.fraction / share <= found + 1e-9
    assert rung.row_share(is_sampled=True) == 1.0
    assert rung.row_share(is_sampled=False) == pytest.approx(3 ** (-fraction / 2))


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_without_halving_every_trial_is_fitted_in_full(method: str) -> None:
    [rung] = rungs_of(SearchConfig.model_validate({"method": method, "trials": 12}))
    assert (rung.trials, rung.rounds(200, is_sampled=False), rung.row_share(is_sampled=False)) == (12, 200, 1.0)


@given(values=VALUES, count=st.integers(2, 10), is_loss=st.booleans())
def test_the_configs_own_trial_stays_and_the_best_of_the_others(values: list[float], count: int, is_loss: bool) -> None:
    left = promoted(_trials(values), count, is_loss=is_loss)
    assert left[0].number == 0
    assert [trial.number for trial in left] == sorted({trial.number for trial in left})
    assert len(left) == min(count, len(values))
    sign = 1.0 if is_loss else -1.0
    ranks = {n: (math.isnan(value), sign * value) for n, value in enumerate(values) if not math.isnan(value)}
    numbers = {trial.number for trial in left}
    worst = max((ranks[n] for n in numbers - {0} if n in ranks), default=(False, -math.inf))
    assert all(ranks[n] >= worst for n in set(ranks) - numbers - {0})
    if any(math.isnan(values[n]) for n in numbers - {0}):
        assert set(ranks) <= numbers | {0}


def test_the_best_trial_is_of_the_last_rung_and_of_equal_ones_the_first() -> None:
    values = [(0.9,), (0.5, 0.6), (0.5, 0.7), (0.4, 0.7), (0.3, math.nan)]
    trials = [Trial(number=number, params={}, values=found) for number, found in enumerate(values)]
    assert best_of(trials, is_loss=False).number == 2
    assert best_of(trials, is_loss=True).number == 1
