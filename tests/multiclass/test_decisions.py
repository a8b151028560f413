"""Decisions as a config asks for them, and thresholds against a search over every cut-off."""

from typing import Any

import numpy as np
import pytest

from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import parse
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics import FLAG_NOBODY, ScoreCounts
from imbalance_spark.multiclass.decisions import decisions_of, rule_from_dict, rule_to_dict, thresholds_for
from imbalance_spark.threshold.objectives import MaxFBeta, MinCost

CLASSES = ("ok", "late", "fraud")
COSTS = {"ok": {"late": 1, "fraud": 8}, "late": {"ok": 5, "fraud": 8}, "fraud": {"ok": 80, "late": 80}}


def config(**changes: Any) -> RunConfig:
    orders = {"source": {"path": "orders"}, "label": "outcome", "classes": CLASSES, "numeric": ("amount",)}
    settings = {"name": "small", "output": "output", "orders": orders, "strategies": ("none",), **changes}
    return parse(settings, RunConfig, "here")


def asked(*objectives: Any, serve: str) -> RunConfig:
    return config(objectives=objectives, serve_objective=serve)


def test_a_cost_matrix_is_read_by_names_whatever_their_order() -> None:
    turned = {name: dict(reversed(COSTS[name].items())) for name in reversed(COSTS)}
    found = decisions_of(asked({"name": "cost_matrix", "costs": turned}, serve="cost_matrix"))
    # costs[i][j]: class i decided for a row of class j.
    assert found.fixed["cost_matrix"].costs == ((0, 5, 80), (1, 0, 80), (8, 8, 0))
    assert found.costs is not None
    assert found.costs.tolist() == [[0, 1, 8], [5, 0, 8], [80, 80, 0]]
    gain = {**COSTS, "fraud": {"ok": 80, "late": 80, "fraud": -5.0}}
    assert decisions_of(asked({"name": "cost_matrix", "costs": gain}, serve="cost_matrix")).costs[2, 2] == -5.0


def test_the_likeliest_class_is_always_reported_and_may_serve() -> None:
    found = decisions_of(asked({"name": "max_f_beta", "beta": 1.0}, "likeliest", serve="likeliest"))
    assert found.fixed["likeliest"].decide([[0.2, 0.5, 0.3]]).tolist() == [1]
    assert list(found.swept) == ["max_f1"]
    assert found.costs is None


@pytest.mark.parametrize(("entry", "said"), [
    ({"name": "cost_matrix"}, "cost_matrix takes name and costs"),
    ({"name": "cost_matrix", "costs": {**COSTS, "frod": {}}}, "'frod' is no class of ['ok', 'late', 'fraud']"),
    ({"name": "cost_matrix", "costs": {"ok": {"late": 1}}}, "cost_matrix.ok: give what it costs"),
    ({"name": "cost_matrix", "costs": {**COSTS, "ok": {"late": 1, "fraud": "x"}}}, "cost matrix [2][0] must be"),
    ({"name": "cost_matrx", "costs": COSTS}, "Did you mean 'cost_matrix'"),
    ({"name": "min_cost", "fn": "amount", "fp": 1.0}, "is for two classes"),
    ({"name": "bayes_cost", "fn": 10.0, "fp": 1.0}, "is for two classes"),
    ({"name": "alert_budget", "per_day": 3.0, "days": 2.0}, "counts alerts of one class"),
    ({"name": "max_recall"}, "max_recall needs ['precision']"),
])  # fmt: skip
def test_objectives_that_cannot_be_are_refused_before_anything_starts(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decisions_of(asked(entry, serve="likeliest"))
    assert said in str(caught.value)
    assert "objectives.0: " in str(caught.value)


def test_an_objective_to_serve_that_is_not_there_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'max_f1'"):
        decisions_of(asked({"name": "max_f_beta", "beta": 1.0}, serve="max_f2"))


def test_each_threshold_is_the_best_of_all_cut_offs_and_the_largest_class_has_none() -> None:
    draw = np.random.default_rng(11)
    p = draw.dirichlet([8, 2, 0.5], 1500)
    label = np.array([draw.choice(3, p=row) for row in p])
    curves = [ScoreCounts.from_arrays(label == k, p[:, k]).curve() for k in range(3)]
    found = thresholds_for(MaxFBeta(1), curves, CLASSES).rule
    assert found.default_class == 0
    assert found.thresholds[0] == FLAG_NOBODY
    for k in (1, 2):
        f1 = [2 * np.sum((p[:, k] >= t) & (label == k)) / (np.sum(p[:, k] >= t) + np.sum(label == k)) for t in p[:, k]]
        assert found.thresholds[k] == p[np.argmax(f1), k]
    # A miss at 20, a false alarm at 1: the rare classes are decided on early, and ok only where none is.
    costly = thresholds_for(MinCost(fn=20.0, fp=1.0), curves, CLASSES).rule
    decided = costly.decide(p)
    reached = (p[:, 1] >= costly.thresholds[1]) | (p[:, 2] >= costly.thresholds[2])
    np.testing.assert_array_equal(decided == 0, ~reached)
    assert rule_from_dict(rule_to_dict(found)) == found


@pytest.mark.parametrize(("changes", "said"), [
    ({"strategies": ("scale_pos_weight",)}, "is for two classes, orders.classes has 3: use class_weight"),
    ({"strategies": ("isolation_forest",)}, "isolation_forest is for two classes"),
    ({"strategies": ("smote",)}, "smote is for two classes"),
    ({"strategies": ({"kind": "class_weight", "weights": {"ok": 1.0, "fraud": 9.0}},)}, "weights must name each class"),
    ({"strategies": ({"kind": "undersample", "sampling_strategy": 0.5},)}, "is a ratio of two classes"),
    ({"strategies": ({"kind": "oversample", "sampling_strategy": {"frod": 9}},)}, "names ['frod']"),
    ({"strategies": ({"kind": "focal", "alpha": 0.5},)}, "alpha weighs the positive one of two classes"),
    ({"training": {"early_stopping_metric": "average_precision"}}, "stop by log_loss"),
    ({"scoring": {"segments": ("country",)}}, "are counted for two classes only"),
])  # fmt: skip
def test_what_exists_for_two_classes_only_is_said_when_the_config_is_read(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(**changes)
    assert said in str(caught.value)


@pytest.mark.parametrize(("orders", "said"), [
    ({"classes": ("ok", "fraud")}, "classes names 2, it takes 3 to 50"),
    ({"classes": ("ok", "late", "late")}, "classes has duplicates: ['late']"),
    ({"classes": (0, 1, 5), "positive_label": 1}, "give one of them"),
    ({"classes": CLASSES, "numeric": ("true_probability_fraud",)}, "gold standard"),
])  # fmt: skip
def test_classes_that_cannot_be_are_refused(orders: dict[str, Any], said: str) -> None:
    base = {"source": {"path": "orders"}, "label": "outcome", "numeric": ("amount",)}
    with pytest.raises(ConfigError) as caught:
        config(orders={**base, **orders})
    assert said in str(caught.value)
