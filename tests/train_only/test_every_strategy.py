"""Every strategy against the promises of `support.strategy_checks`, and fitted to three classes."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession
from support.class_rows import CLASSES, FEATURES, class_rows
from support.model_rows import as_spark, matrix
from support.pytorch import needs_torch
from support.strategy_checks import CHECKS, COUNTS, STRATEGIES, TRAINING, check_sampled_rows, is_for, name_of

from imbalance_spark.core.run import Run
from imbalance_spark.orders.config import OrdersConfig, SourceConfig
from imbalance_spark.scoring.boosters import load_booster, margins_of_matrix
from imbalance_spark.split.config import SplitConfig
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.strategies import Roles, Strategy, strategies_of, strategy_from_config
from imbalance_spark.train_only.strategies.fit import fit_strategy, write_train_table
from imbalance_spark.train_only.strategies.recipe import FitTask


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("entry", STRATEGIES, ids=name_of)
@pytest.mark.parametrize("check", CHECKS)
def test_every_strategy_keeps_its_promises(
    check: Callable[[Strategy, int], None], entry: Mapping[str, Any], classes: int
) -> None:
    strategy = strategy_from_config(entry)
    if is_for(strategy, classes):
        check(strategy, classes)
    else:
        assert (strategy.kind, classes) == ("isolation_forest", 3)


@pytest.mark.parametrize("entry", [entry for entry in STRATEGIES if "sample" in entry["kind"]], ids=name_of)
def test_samples_keep_the_minority_and_have_the_planned_rows(spark: SparkSession, entry: Mapping[str, Any]) -> None:
    train = as_spark(spark, class_rows(4000, seed=1))
    check_sampled_rows(strategy_from_config(entry), train, Roles(key=("order_id",)))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("isolation_forest", "one anomaly score, which cannot tell 2 rare classes apart: use class_weight"),
        ({"kind": "scale_pos_weight", "scale_pos_weight": 3.0}, "use 'balanced', or class_weight with a weight for"),
        ({"kind": "undersample", "sampling_strategy": 0.1}, "is a ratio of two classes: give rows per class"),
        (
            {"kind": "undersample", "sampling_strategy": {"oops": 5}},
            r"names \['oops'\], the classes are \['ok'",
        ),
        ({"kind": "smote", "undersample_to": 0.5}, "undersample_to 0.5 is a ratio of two classes"),
        ({"kind": "focal", "alpha": 0.5}, "alpha weighs the positive one of two classes"),
        ({"kind": "class_weight", "weights": {"ok": 1.0}}, "weights must name each of the classes"),
    ],
)
def test_what_is_for_two_classes_is_refused_with_a_way_out(entry: str | Mapping[str, Any], said: str) -> None:
    [problem] = strategy_from_config(entry).problems(CLASSES, FEATURES, ())
    with pytest.raises(ValueError, match=said):
        raise ValueError(problem)


def test_weights_and_rows_by_name_become_those_of_class_numbers() -> None:
    weighed = strategy_from_config({"kind": "class_weight", "weights": {"fraud": 30.0, "ok": 1.0, "late": 4.0}})
    recipe = weighed.by_number(CLASSES).resolve(COUNTS[3], TRAINING, classes=CLASSES)
    assert recipe.prior_shift.correction().factors == (1.0, 4.0, 30.0)
    assert recipe.logged["class_weight/fraud"] == 30.0
    sampled = strategy_from_config({"kind": "undersample", "sampling_strategy": {"ok": 90}}).by_number(CLASSES)
    assert sampled.planned_rows(dict(COUNTS[3].items())) == {0: 90, 1: 80, 2: 20}


def test_three_classes_weigh_as_two_do() -> None:
    def recipe(entry: str | Mapping[str, Any]) -> Any:
        return strategy_from_config(entry).resolve(COUNTS[3], by_weights, classes=CLASSES)

    # The engine that is given no cuts: weights stand in for balanced ones.
    by_weights = TRAINING.model_copy(update={"engine": "xgboost_spark"})
    balanced = [1000 / 2700, 1000 / 240, 1000 / 60]  # n / (K n_k)
    sketch = recipe("balanced_sketch")
    assert list(sketch.weights.values()) == pytest.approx(balanced)
    assert (sketch.loss.hessian_scale, sketch.loss.gammas) == (2.0, ())
    assert sketch.loss.weights == pytest.approx([1.0 / weight for weight in balanced])
    power = recipe({"kind": "class_weight_power", "power": 0.5}).prior_shift.correction()
    assert power.factors == pytest.approx(np.sqrt(balanced))
    assert recipe("scale_pos_weight").prior_shift.correction().factors == pytest.approx([1.0, 900 / 80, 45.0])
    assert recipe("asymmetric_focal").loss.gammas == (4.0, 1.0, 1.0)


def test_plain_boosting_always_runs_and_first_unless_it_is_asked_for() -> None:
    weighed, mine = strategy_from_config("class_weight"), strategy_from_config({"kind": "none", "name": "mine"})
    assert [one.name for one in strategies_of([weighed])] == ["none", "class_weight"]
    assert [one.name for one in strategies_of([weighed, mine])] == ["class_weight", "mine"]


FITTED = [
    pytest.param(entry, marks=[needs_torch] if entry.get("learner") == "torch" else [])
    for entry in STRATEGIES
    if entry["kind"] not in ("isolation_forest", "smote_nc")
]


@pytest.fixture(scope="module")
def task() -> FitTask:
    orders = OrdersConfig(source=SourceConfig(path="orders"), label="label", classes=CLASSES, numeric=FEATURES)
    training = TrainingConfig(num_workers=1, rounds=12, early_stopping_rounds=12)
    return FitTask(orders=orders, training=training, split=SplitConfig())


@pytest.fixture(scope="module")
def run(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.open(spark, str(tmp_path_factory.mktemp("runs")), "three-classes", "hash", {})


@pytest.mark.parametrize("entry", FITTED, ids=name_of)
def test_a_fit_of_three_classes_beats_the_class_shares(
    spark: SparkSession, run: Run, task: FitTask, entry: Mapping[str, Any]
) -> None:
    # SMOTE needs values.
    rows = class_rows(4000, seed=1).fillna(0.0).drop(columns="is_early_stopping")
    train = write_train_table(run, as_spark(spark, rows), task)
    fitted = fit_strategy(run, train, strategy_from_config(entry), task)
    unseen = class_rows(4000, seed=2)
    margins = margins_of_matrix(load_booster(fitted.booster.model_bytes), matrix(unseen.fillna(0.0)), 3)
    logs = fitted.recipe.prior_shift.correction().log_probabilities(margins)
    np.testing.assert_allclose(np.exp(logs).sum(axis=1), 1.0)
    shares = unseen.y.value_counts(normalize=True).to_numpy()
    loss = -logs[np.arange(len(unseen)), unseen.y].mean()
    assert loss < -(shares @ np.log(shares))
    assert fitted.name == name_of(entry)
    assert all(map(math.isfinite, fitted.recipe.start))
