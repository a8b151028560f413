"""Which learner fits a strategy, what each is given, and what is refused: all without a session."""

import importlib.util
from typing import Any, get_args

import pytest
from pydantic import ValidationError
from support.strategy_checks import STRATEGIES, name_of

from imbalance_spark.cli.doctor_checks import check_learners
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.train_only.config import BoosterParams, LearnerName, TrainingConfig
from imbalance_spark.train_only.learners.kinds import LEARNERS, require_packages
from imbalance_spark.train_only.strategies import Strategy, strategies_of, strategy_from_config

NATIVE = TrainingConfig(engine="native")


def problems(entry: dict[str, Any], training: TrainingConfig = TrainingConfig(), classes: int = 2) -> list[str]:  # noqa: B008
    [strategy] = strategies_of([strategy_from_config({"kind": "none", **entry})], training.learner)[-1:]
    return list(strategy.problems_with(training, classes))


@pytest.mark.parametrize("learner", ["lightgbm", "catboost"])
@pytest.mark.parametrize(
    "kind",
    ["none", "class_weight", "scale_pos_weight", "balanced_sketch", "class_weight_power", "undersample", "smote"],
)
@pytest.mark.parametrize("classes", [2, 3])
def test_a_boosting_learner_fits_what_samples_weighs_or_cuts(learner: str, kind: str, classes: int) -> None:
    assert problems({"kind": kind, "learner": learner}, classes=classes) == []
    assert problems({"kind": kind, "learner": learner, "cuts": "balanced"}, classes=classes) == []


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"learner": "catboost", "params": {"gamma": 1.0}}, 2, "catboost has nothing for ['gamma']: leave them out of"),
    ({"kind": "max_delta_step", "learner": "catboost"}, 2, "catboost has nothing for ['max_delta_step']"),
    ({"kind": "focal", "learner": "catboost"}, 3, "a loss of one's own for two classes only, and focal is one"),
    ({"learner": "catboost", "params": {"max_depth": 17}}, 2, "max_depth 16 at most, got 17"),
    ({"learner": "catboost", "params": {"num_leaves": 8}}, 2, "catboost has no ['num_leaves']"),
    ({"learner": "xgboost", "params": {"num_leaves": 8}}, 2, "xgboost has no ['num_leaves']"),
    ({"kind": "focal", "learner": "logistic"}, 2, "logistic has no loss but cross-entropy, and focal is another"),
    ({"kind": "balanced_sketch", "learner": "logistic"}, 2, "logistic has no histogram cuts"),
    ({"kind": "class_weight", "learner": "logistic", "cuts": "plain"}, 2, "logistic has no histogram cuts"),
    ({"learner": "logistic", "params": {"max_depth": 3}}, 2, "logistic has nothing for ['max_depth']"),
]


@pytest.mark.parametrize(("entry", "classes", "text"), REFUSED)
def test_what_has_no_meaning_with_a_learner_is_refused_with_the_reason(
    entry: dict[str, Any], classes: int, text: str
) -> None:
    [problem] = problems(entry, classes=classes)
    assert problem.startswith(f"strategy '{entry.get('kind', 'none')}': ")
    assert text in problem


def test_parameters_for_all_are_refused_by_their_place_in_the_config() -> None:
    training = TrainingConfig(learner="catboost", params=BoosterParams(reg_alpha=1.0))
    assert problems({}, training) == [
        "strategy 'none': catboost has nothing for ['reg_alpha']: leave them out of training.params"
    ]
    assert problems({"learner": "logistic"}, training) == []


@pytest.mark.parametrize("entry", STRATEGIES, ids=name_of)
@pytest.mark.parametrize("engine", ["native", "xgboost_spark"])
def test_what_strategies_ask_of_their_learners_is_refused_by_none(entry: dict[str, Any], engine: str) -> None:
    training = TrainingConfig.model_validate({"engine": engine})
    assert list(strategy_from_config(entry).problems_with(training)) == []


def test_a_config_can_name_each_learner() -> None:
    assert set(get_args(LearnerName)) == set(LEARNERS)


def test_bins_on_disk_are_xgboosts_alone() -> None:
    training = NATIVE.model_copy(update={"external_memory": True})
    [problem] = problems({"learner": "lightgbm"}, training)
    assert "lightgbm keeps its bins in memory: leave training.external_memory out" in problem
    assert problems({"learner": "xgboost"}, training) == problems({"learner": "logistic"}, training) == []


def test_the_learner_for_all_fits_strategies_that_name_none() -> None:
    asked = [strategy_from_config(entry) for entry in ({"kind": "focal", "learner": "xgboost"}, "isolation_forest")]
    names = [one.fitted_by.name for one in strategies_of(asked, "lightgbm")]
    assert names == ["lightgbm", "xgboost", "isolation_forest"]
    assert [one.fitted_by.name for one in strategies_of(asked)] == ["xgboost", "xgboost", "isolation_forest"]


def test_an_isolation_forest_is_a_kind_and_no_learner_of_one() -> None:
    with pytest.raises(ValidationError, match="write `kind: isolation_forest`"):
        strategy_from_config({"kind": "class_weight", "learner": "isolation_forest"})


def test_weights_and_logged_settings_are_those_of_the_strategy_whatever_the_learner() -> None:
    counts = {0: 900, 1: 100}
    for kind in ("class_weight", "scale_pos_weight", "focal"):
        with_xgboost, with_lightgbm = (
            strategy_from_config({"kind": kind, "learner": learner}).resolve(counts, NATIVE)
            for learner in ("xgboost", "lightgbm")
        )
        assert with_xgboost.prior_shift == with_lightgbm.prior_shift
        assert with_xgboost.start == with_lightgbm.start
        assert with_lightgbm.logged == {**with_xgboost.logged, "learner": "lightgbm"}


def test_a_learners_own_parameters_reach_it_beside_those_of_all() -> None:
    asked = strategy_from_config(
        {"kind": "none", "learner": "lightgbm", "params": {"num_leaves": 9, "max_depth": 3}}
    )  # fmt: skip
    recipe = asked.resolve({0: 900, 1: 100}, NATIVE)
    assert (recipe.params, dict(recipe.own_params)) == (BoosterParams(max_depth=3), {"num_leaves": 9})
    assert recipe.logged["num_leaves"] == 9
    with pytest.raises(ValidationError, match="greater than or equal to 2"):
        strategy_from_config({"kind": "none", "learner": "lightgbm", "params": {"num_leaves": 1}})


def test_a_search_draws_only_parameters_that_the_learner_has() -> None:
    def searchable(learner: str) -> frozenset[str]:
        return strategy_from_config({"kind": "none", "learner": learner}).searchable

    assert searchable("xgboost") == frozenset(BoosterParams.model_fields)
    assert searchable("xgboost") - searchable("lightgbm") == {"num_parallel_tree"}
    assert searchable("xgboost") - searchable("catboost") == {
        "min_child_weight", "gamma", "reg_alpha", "max_delta_step", "colsample_bynode", "num_parallel_tree",
    }  # fmt: skip
    assert searchable("logistic") == frozenset()


@pytest.mark.parametrize("learner", ["lightgbm", "catboost"])
def test_a_learner_that_is_not_installed_is_refused_with_the_pip_line(
    learner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Strategy = strategy_from_config({"kind": "none", "learner": learner})
    [finding] = check_learners([asked])
    assert finding.status == "ok"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"pip install 'imbalance_spark\[{learner}\]'"):
        require_packages([LEARNERS["xgboost"], LEARNERS[learner], LEARNERS[learner]])
    [finding] = check_learners([asked])
    assert (finding.status, finding.what) == ("FAIL", f"learner {learner}")
