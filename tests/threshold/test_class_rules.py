from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics import FLAG_NOBODY, ScoreCounts
from imbalance_spark.metrics.confusion import MulticlassConfusion
from imbalance_spark.threshold import MaxFBeta, MaxPrecision, MaxRecall, MinCost, sweep
from imbalance_spark.threshold.class_rules import ClassThresholds, CostMatrix, checked_on_decisions, sweep_classes

CLASSES = 3
COST = st.integers(-5, 50).map(float)
MATRIX = st.lists(st.lists(COST, min_size=CLASSES, max_size=CLASSES), min_size=CLASSES, max_size=CLASSES)
SHARE = st.lists(st.integers(0, 8), min_size=CLASSES, max_size=CLASSES).filter(sum)
PROBABILITIES = st.lists(SHARE.map(lambda share: [part / sum(share) for part in share]), min_size=1, max_size=20)
THRESHOLDS = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, FLAG_NOBODY]), min_size=CLASSES, max_size=CLASSES)
ZERO_ONE = CostMatrix(costs=((0, 1, 1), (1, 0, 1), (1, 1, 0)))


def matrix_of(costs: list[list[float]]) -> CostMatrix:
    return CostMatrix(costs=tuple(map(tuple, costs)))


@settings(max_examples=60, deadline=None)
@given(MATRIX, PROBABILITIES)
def test_the_class_of_the_lowest_expected_cost_is_predicted(costs: list[list[float]], p: list[list[float]]) -> None:
    expected = np.array(p) @ np.array(costs).T
    label = matrix_of(costs).decide(p)
    np.testing.assert_allclose(expected[np.arange(len(p)), label], expected.min(axis=1), atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(PROBABILITIES)
def test_equal_costs_predict_the_most_probable_class(p: list[list[float]]) -> None:
    label = ZERO_ONE.decide(p)
    np.testing.assert_allclose(np.array(p)[np.arange(len(p)), label], np.max(p, axis=1), atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(MATRIX, PROBABILITIES, st.sampled_from([0.25, 2.0, 1024.0]))
def test_a_factor_for_all_costs_changes_no_decision(costs: list[list[float]], p: list[list[float]], by: float) -> None:
    scaled = [[cost * by for cost in row] for row in costs]
    np.testing.assert_array_equal(matrix_of(costs).decide(p), matrix_of(scaled).decide(p))


def test_ties_go_to_the_lower_class() -> None:
    assert ZERO_ONE.decide([[0.25, 0.5, 0.25], [0.25, 0.375, 0.375], [0.5, 0.0, 0.5]]).tolist() == [1, 1, 0]


def test_a_costly_class_is_predicted_at_a_low_probability() -> None:
    # Missing class 2 costs 100: leaving it costs 100 p_2, predicting it costs at most 1.
    matrix = CostMatrix(costs=((0, 1, 100), (1, 0, 100), (1, 1, 0)))
    assert matrix.decide([[0.97, 0.01, 0.02], [0.99, 0.006, 0.004]]).tolist() == [2, 0]


def brute(p: list[float], rule: ClassThresholds) -> int:
    """The class that the rule's words name."""
    best, largest = rule.default_class, -1.0
    for k, (probability, threshold) in enumerate(zip(p, rule.thresholds, strict=True)):
        quotient = probability / max(threshold, 1e-300)
        if probability >= threshold and quotient > largest:
            best, largest = k, quotient
    return best


@settings(max_examples=80, deadline=None)
@given(PROBABILITIES, THRESHOLDS, st.integers(0, CLASSES - 1))
def test_the_class_that_exceeds_its_threshold_most_is_predicted(
    p: list[list[float]], thresholds: list[float], default: int
) -> None:
    rule = ClassThresholds(thresholds=tuple(thresholds), default_class=default)
    assert rule.decide(p).tolist() == [brute(row, rule) for row in p]


def test_no_class_at_its_threshold_gives_the_default_class() -> None:
    rule = ClassThresholds(thresholds=(0.9, 0.5, FLAG_NOBODY), default_class=2)
    assert rule.decide([[0.6, 0.4, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]).tolist() == [2, 1, 2]


def test_thresholds_of_two_classes_that_add_to_1_decide_as_one_threshold() -> None:
    p = np.column_stack([1 - np.linspace(0, 1, 100), np.linspace(0, 1, 100)])  # 0.25, a tie, is none of them
    rule = ClassThresholds(thresholds=(0.75, 0.25), default_class=0)
    np.testing.assert_array_equal(rule.decide(p), p[:, 1] >= 0.25)


@pytest.mark.parametrize("rule", [
    CostMatrix(costs=((0.1, 1, 10), (1, 0, 3.3), (0.7, 1, 0))),
    ZERO_ONE,
    ClassThresholds(thresholds=(0.3, 0.1, 0.05), default_class=1),
    ClassThresholds(thresholds=(0.0, FLAG_NOBODY, 0.5), default_class=2),
])  # fmt: skip
def test_spark_decides_as_numpy_does(spark: SparkSession, rule: CostMatrix | ClassThresholds) -> None:
    p = np.round(np.random.default_rng(3).dirichlet([2, 1, 0.3], 300) * 20) / 20  # many ties
    frame = spark.createDataFrame([(i, row) for i, row in enumerate(p.tolist())], "i int, p array<double>")
    rows = frame.select("i", rule.decision(F.col("p")).alias("label")).orderBy("i").collect()
    assert [row.label for row in rows] == rule.decide(p).tolist()


def test_spark_decides_nothing_on_unknown_probabilities(spark: SparkSession) -> None:
    rows = [(None,), ([0.5, None, 0.5],), ([0.5, float("nan"), 0.5],), ([0.5, 0.5],), ([0.1, 0.2, 0.7],)]
    frame = spark.createDataFrame(rows, "p array<double>")
    for rule in (ZERO_ONE, ClassThresholds(thresholds=(0.2, 0.2, 0.2), default_class=0)):
        found = frame.select(rule.decision(F.col("p")).alias("label"))
        assert found.schema["label"].dataType.simpleString() == "int"
        assert [row.label for row in found.collect()] == [None, None, None, None, 2]


def test_each_class_is_swept_against_all_others() -> None:
    draw = np.random.default_rng(11)
    p = draw.dirichlet([8, 2, 0.5], 3000)
    label = np.array([draw.choice(CLASSES, p=row) for row in p])
    curves = [ScoreCounts.from_arrays(label == k, p[:, k]).curve() for k in range(CLASSES)]
    found = sweep_classes(curves, MaxFBeta(1))
    assert found.by_target == tuple(sweep(curve, MaxFBeta(1)) for curve in curves)
    assert found.rule == ClassThresholds(
        thresholds=tuple(chosen.threshold for chosen in found.by_target), default_class=0
    )
    assert sweep_classes(curves, MinCost(fn=1, fp=1), default_class=2).rule.default_class == 2


@pytest.mark.parametrize("costs", [(), ((0,),), ((0, 1), (1,)), ((0, 1), (1, 0), (1, 1)), ((0, float("nan")), (1, 0))])
def test_a_cost_matrix_that_cannot_be_is_refused(costs: tuple[tuple[float, ...], ...]) -> None:
    with pytest.raises(ConfigError, match="cost matrix"):
        CostMatrix(costs=costs)


@pytest.mark.parametrize(("thresholds", "default"), [((0.5,), 0), ((0.5, -0.1), 0), ((0.5, 1.1), 0), ((0.5, 0.5), 2)])
def test_thresholds_that_cannot_be_are_refused(thresholds: tuple[float, ...], default: int) -> None:
    with pytest.raises(ConfigError, match="class thresholds"):
        ClassThresholds(thresholds=thresholds, default_class=default)


@pytest.mark.parametrize("p", [[0.5, 0.5, 0.0], [[0.5, 0.5]], [[0.5, 0.6, -0.1]], [[0.5, float("nan"), 0.5]]])
@pytest.mark.parametrize("rule", [ZERO_ONE, ClassThresholds(thresholds=(0.5, 0.5, 0.5), default_class=0)])
def test_what_is_no_probability_is_refused(rule: CostMatrix | ClassThresholds, p: object) -> None:
    with pytest.raises(DataContractError, match="multi-class decision"):
        rule.decide(p)  # type: ignore[arg-type]


def test_a_class_without_rows_has_no_threshold() -> None:
    curves = [ScoreCounts.from_arrays([k == 0, k == 0], [0.5, 0.4]).curve() for k in range(2)]
    with pytest.raises(DataContractError, match="no negative row"):
        sweep_classes(curves, MaxFBeta(1))


def test_a_constraint_of_each_class_is_checked_on_the_served_decision() -> None:
    # By class 0 to 2. Half of class 1 reaches the threshold of class 2 as well, and goes there.
    label = np.repeat([0, 1, 1, 2], [600, 100, 100, 40])
    p = np.repeat([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.5, 0.4], [0.1, 0.4, 0.5]], [600, 100, 100, 40], axis=0)
    objective = MaxPrecision(recall=1.0)
    curves = [ScoreCounts.from_arrays(label == k, p[:, k]).curve() for k in range(3)]
    chosen = sweep_classes(curves, objective)
    assert chosen.rule.thresholds == (0.8, 0.5, 0.5)
    chosen = replace(chosen, rule=replace(chosen.rule, thresholds=(FLAG_NOBODY, 0.5, 0.39)))
    weight = np.zeros((3, 3))
    np.add.at(weight, (label, chosen.rule.decide(p)), 1.0)
    assert weight[1].tolist() == [0.0, 100.0, 100.0]
    checked = checked_on_decisions(chosen, objective, MulticlassConfusion(weight=weight))
    assert [one.reachable for one in checked.by_target] == [True, False, True]
    assert "its recall is 0.5, below 1. Rows that reach several" in checked.by_target[1].sentence
    assert not checked.reachable
    # A precision of 40 in 140 for class 2 breaks another promise; nobody asks for that of the default class.
    promise = MaxRecall(precision=0.5)
    checked = checked_on_decisions(chosen, promise, MulticlassConfusion(weight=weight))
    assert [one.reachable for one in checked.by_target] == [True, True, False]
