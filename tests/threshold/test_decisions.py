"""Decisions as a config asks for them, and thresholds against a search over every cut-off."""

from typing import Any

import numpy as np
import pytest
from support.made_up_comparison import target_counts

from imbalance_spark.core.columns import HELD_OUT_FOLDS
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics import FLAG_NOBODY
from imbalance_spark.metrics.buckets import BUCKETS
from imbalance_spark.threshold.class_rules import ClassThresholds, choose_thresholds, rule_from_dict, rule_to_dict
from imbalance_spark.threshold.cost_objectives import MinCost
from imbalance_spark.threshold.decisions import ARGMAX, Decisions, decisions_of
from imbalance_spark.threshold.rate_objectives import MaxFBeta
from imbalance_spark.threshold.rule import choose_on

CLASSES = ("ok", "late", "fraud")
COSTS = {"ok": {"late": 1, "fraud": 8}, "late": {"ok": 5, "fraud": 8}, "fraud": {"ok": 80, "late": 80}}


def asked(*objectives: Any, serve: str, classes: tuple[str, ...] = CLASSES) -> Decisions:
    return decisions_of(objectives, serve, classes)


def test_a_cost_matrix_is_read_by_names_whatever_their_order() -> None:
    turned = {name: dict(reversed(COSTS[name].items())) for name in reversed(COSTS)}
    found = asked({"name": "cost_matrix", "costs": turned}, serve="cost_matrix")
    # costs[i][j]: class i decided for a row of class j.
    assert found.fixed["cost_matrix"].costs == ((0, 5, 80), (1, 0, 80), (8, 8, 0))
    assert found.costs == ((0, 1, 8), (5, 0, 8), (80, 80, 0))
    gain = {**COSTS, "fraud": {"ok": 80, "late": 80, "fraud": -5.0}}
    assert asked({"name": "cost_matrix", "costs": gain}, serve="cost_matrix").costs[2][2] == -5.0


@pytest.mark.parametrize("name", ["argmax", "likeliest"])
def test_the_most_probable_class_is_always_reported_and_may_serve(name: str) -> None:
    found = asked({"name": "max_f_beta", "beta": 1.0}, name, serve=name)
    assert found.serve_objective == ARGMAX
    assert found.names == (ARGMAX, "max_f1")
    assert found.fixed[ARGMAX].decide([[0.2, 0.5, 0.3]]).tolist() == [1]
    assert list(found.swept) == ["max_f1"]
    assert found.costs is None


@pytest.mark.parametrize(("entry", "said"), [
    ({"name": "cost_matrix"}, "cost_matrix takes name and costs"),
    ({"name": "cost_matrix", "costs": {**COSTS, "frod": {}}}, "'frod' is not in ['ok', 'late', 'fraud']"),
    ({"name": "cost_matrix", "costs": {"ok": {"late": 1}}}, "cost_matrix.ok: give what it costs"),
    ({"name": "cost_matrix", "costs": {**COSTS, "ok": {"late": 1, "fraud": "x"}}}, "cost matrix [2][0] must be"),
    ({"name": "cost_matrx", "costs": COSTS}, "Did you mean 'cost_matrix'"),
    ({"name": "bayes_cost", "fn": 10.0, "fp": 1.0}, "is for two classes"),
    ({"name": "alert_budget", "per_day": 3.0, "days": 2.0}, "counts alerts of one class"),
    ({"name": "max_recall"}, "max_recall needs ['precision']"),
])  # fmt: skip
def test_objectives_that_cannot_be_are_refused_before_anything_starts(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        asked(entry, serve=ARGMAX)
    assert said in str(caught.value)
    assert "objectives.0: " in str(caught.value)


MCC, COST_MATRIX_ENTRY = "max_mcc", {"name": "cost_matrix", "costs": COSTS}
RECALL, RECALL_OF_MORE = ({"name": "max_recall", "precision": 0.9, "min_support": n} for n in (30, 300))


@pytest.mark.parametrize(("entries", "classes"), [
    ([MCC, "youden", {"name": MCC}], ()),
    ([RECALL, MCC, RECALL_OF_MORE], ()),
    ([RECALL, MCC, RECALL_OF_MORE], CLASSES),
    ([COST_MATRIX_ENTRY, MCC, COST_MATRIX_ENTRY], CLASSES),
    (["argmax", MCC, "likeliest"], CLASSES),
])  # fmt: skip
def test_two_objectives_of_one_name_are_refused_and_both_are_shown(entries: list, classes: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        asked(*entries, serve=MCC, classes=classes)
    said = str(caught.value)
    for shown in ("objectives.2", "objectives.0", repr(entries[0]), repr(entries[2]), "Leave one of them out"):
        assert shown in said


def test_an_objective_to_serve_that_is_not_there_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'max_f1'"):
        asked({"name": "max_f_beta", "beta": 1.0}, serve="max_f2")
    with pytest.raises(ConfigError, match="Did you mean 'max_f1'"):
        asked({"name": "max_f_beta", "beta": 1.0}, serve="max_f2", classes=())


def test_each_threshold_is_that_of_one_target_and_the_largest_class_has_none() -> None:
    draw = np.random.default_rng(11)
    p, bucket = draw.dirichlet([8, 2, 0.5], 1500), draw.integers(0, BUCKETS, 1500)
    label = np.array([draw.choice(3, p=row) for row in p])
    samples = [target_counts(dict.fromkeys(HELD_OUT_FOLDS, (label == k, p[:, k], bucket))).halved for k in range(3)]
    found = choose_thresholds(MaxFBeta(1), samples).rule
    assert found.default_class == 0
    assert found.thresholds[0] == FLAG_NOBODY
    for k in (1, 2):
        # Of calibrated probabilities that nobody calibrates again.
        assert found.thresholds[k] == choose_on(samples[k].whole.curve, MaxFBeta(1)).threshold
    # A miss at 20, a false alarm at 1: the rare classes are decided on early, and ok only where none is.
    costly = choose_thresholds(MinCost(fn=20.0, fp=1.0), samples).rule
    assert costly.thresholds[1:] == (1 / 21, 1 / 21)
    decided = costly.decide(p)
    reached = (p[:, 1] >= costly.thresholds[1]) | (p[:, 2] >= costly.thresholds[2])
    np.testing.assert_array_equal(decided == 0, ~reached)
    assert rule_from_dict(rule_to_dict(found)) == found


def test_two_classes_have_no_rule_without_data_and_constant_costs() -> None:
    found = asked("max_mcc", {"name": "min_cost", "fn": 10, "fp": 2}, serve="max_mcc", classes=())
    assert found.fixed == {}
    assert found.names == ("max_mcc", "min_cost_fn_10_fp_2")
    # By true class: a false positive costs 2, a false negative 10.
    assert found.costs == ((0, 2), (10, 0))
    assert asked("max_mcc", serve="max_mcc", classes=()).costs is None


def test_costs_are_those_of_the_objective_that_serves_whichever_comes_first() -> None:
    one, other = {"name": "min_cost", "fn": 10, "fp": 2, "tp": 1}, {"name": "bayes_cost", "fn": 3, "fp": 1, "tn": 0.5}
    found = asked(one, other, "max_mcc", serve="bayes_cost_fn_3_fp_1_tn_0.5", classes=())
    assert found.costs == ((0, 0.5), (3, 0))  # above the correct decision
    assert found.cost_objective is found.swept["bayes_cost_fn_3_fp_1_tn_0.5"]
    assert asked(one, other, "max_mcc", serve="max_mcc", classes=()).costs == ((0, 2), (9, 0))


def test_what_objectives_need_of_the_run_is_said_at_once() -> None:
    entries = [{"name": "alert_budget", "per_day": 3.0}, "max_mc"]
    with pytest.raises(ConfigError) as caught:
        decisions_of(entries, "max_mcc", has_time=False, stops_by_cost=True)
    for said in ("objectives.1: objective 'max_mc' is unknown", "Name orders.time", "expected_cost needs an objective"):
        assert said in str(caught.value)


def test_alert_budgets_are_given_the_days_of_the_counts() -> None:
    found = asked({"name": "alert_budget", "per_day": 3.0}, "max_mcc", serve="max_mcc", classes=())
    assert found.needs_days
    assert not found.with_days(30.0).needs_days
    assert found.with_days(30.0).names == found.names


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0, FLAG_NOBODY, 7.0])
def test_a_threshold_is_a_rule_of_two_classes(threshold: float) -> None:
    p = np.array([0.0, 0.1, 0.3, 0.9, 1.0])
    rule = ClassThresholds.of_threshold(threshold)
    np.testing.assert_array_equal(rule.decide(np.column_stack([1 - p, p])), p >= threshold)
    assert rule_from_dict(rule_to_dict(rule)) == rule


def test_a_rule_of_three_classes_has_no_one_threshold() -> None:
    with pytest.raises(ConfigError, match="there are 3, one for each class"):
        _ = ClassThresholds(thresholds=(0.1, 0.2, 0.3), default_class=0).threshold
