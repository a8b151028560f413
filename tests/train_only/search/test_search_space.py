"""What trials draw: from the space alone, the same for a seed and a number; and the spaces that are refused."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.search.config import SearchConfig
from imbalance_spark.train_only.search.space import DEFAULT_SPACE, Choice, Range, draw, parse_space
from imbalance_spark.train_only.strategies import Strategy, strategy_from_config
from imbalance_spark.train_only.strategies.searched import search_problems, spaces_of

BAD = {
    "max_dept": [3],
    "max_depth": {"low": 9, "high": 3},
    "learning_rate": {"low": 0.1, "high": 2.0},
    "subsample": [],
    "max_bin": {"lowest": 16, "high": 64},
    "reg_alpha": {"low": 0.0, "high": 1.0, "log": True},
    "gamma": {"low": 1.0},
    "max_delta_step": [1.0, "none"],
}


@given(seed=st.integers(0, 2**31 - 1), number=st.integers(0, 1000))
def test_every_draw_is_one_that_xgboost_takes_and_the_space_holds(seed: int, number: int) -> None:
    drawn = draw(DEFAULT_SPACE, seed=seed, number=number)
    assert all(DEFAULT_SPACE[name].holds(value) for name, value in drawn.items())
    power = drawn.pop("power")
    BoosterParams.model_validate(drawn)
    assert 0.0 <= power <= 1.0
    assert isinstance(drawn["max_depth"], int)


def test_a_draw_follows_from_seed_number_and_name_and_not_from_the_other_parameters() -> None:
    alone = {"subsample": DEFAULT_SPACE["subsample"]}
    assert draw(alone, seed=7, number=3) == {"subsample": draw(DEFAULT_SPACE, seed=7, number=3)["subsample"]}
    values = {draw(alone, seed=seed, number=number)["subsample"] for seed in range(5) for number in range(5)}
    assert len(values) == 25


@given(share=st.floats(0.0, 1.0, exclude_max=True))
def test_a_share_of_the_draws_is_the_range_as_the_closed_form_has_it(share: float) -> None:
    assert Range(low=2.0, high=6.0).at(share) == pytest.approx(2.0 + 4.0 * share)
    assert Range(low=0.01, high=1.0, is_log=True).at(share) == pytest.approx(10.0 ** (2.0 * share - 2.0))
    assert Choice(values=(1.0, 5.0)).at(share) == (1.0 if share < 0.5 else 5.0)


def test_whole_numbers_are_drawn_alike_often_or_by_their_logarithm() -> None:
    found = Counter(Range(low=3, high=5, is_whole=True).at(i / 3000) for i in range(3000))
    assert {value: round(n, -2) for value, n in found.items()} == {3: 1000, 4: 1000, 5: 1000}
    logs = Counter(Range(low=1, high=8, is_log=True, is_whole=True).at(i / 4000) for i in range(4000))
    assert set(logs) == set(range(1, 9))
    # The share of 1 is ln(1.5 / 0.5) / ln(8.5 / 0.5).
    assert logs[1] / 4000 == pytest.approx(math.log(3.0) / math.log(17.0), abs=0.002)


def test_everything_that_is_wrong_with_a_space_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="max_dept") as raised:
        SearchConfig(space=BAD)
    said = str(raised.value)
    for part in (
        "unknown parameter 'max_dept'. Did you mean 'max_depth'",
        "max_depth: the range is empty: low 9 is not below high 3",
        "learning_rate: Input should be less than or equal to 1, got 2.0",
        "subsample: give a list of numbers",
        "max_bin: a range has low, high and log, got ['lowest']",
        "reg_alpha: with log: true low must be above 0, got 0.0",
        "gamma: a range needs numbers for low and high",
        "max_delta_step: Input should be a valid number, got 'none'",
    ):
        assert part in said, part


def _strategies(*entries: str | dict[str, object]) -> list[Strategy]:
    return [strategy_from_config(entry) for entry in entries]


def test_a_strategy_is_searched_for_what_it_has_and_does_not_set_itself() -> None:
    strategies = _strategies(
        "none", "class_weight_power", {"kind": "class_weight_power", "name": "fixed", "power": 0.3}, "max_delta_step",
        {"kind": "focal", "params": {"max_depth": 4}}, "logistic_class_weight", "isolation_forest",
    )  # fmt: skip
    spaces = spaces_of(SearchConfig(), strategies)
    boosters = set(DEFAULT_SPACE) - {"power"}
    assert {name: set(space) for name, space in spaces.items()} == {
        "none": boosters,
        "class_weight_power": boosters | {"power"},
        "fixed": boosters,
        "max_delta_step": boosters - {"max_delta_step"},
        "focal": boosters - {"max_depth"},
    }
    assert set(spaces_of(SearchConfig(strategies=("none",)), strategies)) == {"none"}
    assert spaces_of(None, strategies) == {}
    assert set(spaces_of(SearchConfig(space={"gamma": [0.0, 1.0]}), strategies)["none"]) == {"gamma"}


def test_parameters_of_a_trial_reach_the_fit_and_those_of_the_config_change_nothing() -> None:
    training = TrainingConfig(params=BoosterParams(max_depth=4))
    for strategy in _strategies("none", "class_weight_power", "max_delta_step", {"kind": "focal", "gamma": 1.0}):
        own = strategy.params_in(training)
        counts = {0: 900, 1: 100}
        as_it_is = strategy.resolve(counts, training)
        again = strategy.with_params(own).resolve(counts, training)
        assert (again.params, again.weights, again.scale_pos_weight) == (
            as_it_is.params, as_it_is.weights, as_it_is.scale_pos_weight
        )  # fmt: skip
        assert strategy.with_params({"max_depth": 9}).resolve(counts, training).params.max_depth == 9
    [weighed] = _strategies("class_weight_power")
    # What is left of the weight (n_neg / n_pos) = 9 in the gradient.
    assert weighed.with_params({"power": 1.0}).gradient_weights({0: 900, 1: 100}) == (1.0, pytest.approx(9.0))


@pytest.mark.parametrize(
    ("search", "strategies", "expected"),
    [
        ({"strategies": ("non",)}, ("none",), "there is no strategy ['non']. Did you mean 'none'"),
        ({"strategies": ("isolation_forest",)}, ("none", "isolation_forest"), "XGBoost does not fit ['isolation_for"),
        (
            {"space": {"max_delta_step": [1.0]}},
            ("none", "max_delta_step"),
            "['max_delta_step'] set max_delta_step them",
        ),
        ({"space": {"power": [0.1], "gamma": [0.0]}}, ("none", "focal"), "['none', 'focal'] has power: leave it out"),
        ({"space": {"power": [0.1]}}, ("none", "class_weight_power"), "['none'] have none of its parameters left"),
        ({}, ("isolation_forest",), "XGBoost fits none of the strategies"),
    ],
)
def test_a_search_that_the_strategies_do_not_allow_says_why(
    search: dict[str, object], strategies: tuple[str, ...], expected: str
) -> None:
    assert expected in "; ".join(search_problems(SearchConfig.model_validate(search), _strategies(*strategies)))


def test_a_space_of_the_config_is_read_as_the_default_one_is() -> None:
    space = parse_space({"max_depth": {"low": 2, "high": 4}, "gamma": (0.0, 1.0)})
    assert space == {"max_depth": Range(low=2, high=4, is_whole=True), "gamma": Choice(values=(0.0, 1.0))}
