"""Drift numbers against scipy and plain Python, and how often chance alone is reported."""

import math

import numpy as np
import pytest
from scipy.stats import chi2_contingency, false_discovery_control

from imbalance_spark.monitoring.drift import Drift, column_drift, controlled, psi, tail_p, two_sample_p


def test_the_stability_index_is_the_sum_over_values() -> None:
    before, after = np.array([500.0, 300.0, 200.0]), np.array([40.0, 30.0, 30.0])
    b, a = [500.5 / 1001.5, 300.5 / 1001.5, 200.5 / 1001.5], [40.5 / 101.5, 30.5 / 101.5, 30.5 / 101.5]
    assert psi(before, after) == pytest.approx(sum((y - x) * math.log(y / x) for x, y in zip(b, a, strict=True)))
    assert psi(before, before * 2) == pytest.approx(0.0, abs=1e-6)


def test_the_p_value_is_that_of_scipys_contingency_table() -> None:
    table = np.array([[500.0, 300.0, 200.0], [40.0, 30.0, 30.0]])
    assert two_sample_p(*table) == pytest.approx(chi2_contingency(table, correction=False).pvalue)


def test_rare_values_are_tested_together() -> None:
    before = np.array([1000.0, *[1.0] * 30])
    assert two_sample_p(before, before.copy()) == pytest.approx(1.0)
    assert two_sample_p(np.array([9.0, 1.0]), np.array([8.0, 1.0])) == 1.0  # nothing to test


def test_a_test_rejects_as_often_as_its_level_says_where_nothing_moved() -> None:
    random = np.random.default_rng(1)
    shares = np.array([0.6, 0.3, 0.07, 0.02, 0.01])
    found = [two_sample_p(random.multinomial(5_000, shares), random.multinomial(800, shares)) for _ in range(600)]
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.08


def test_the_tail_test_is_the_chi_squared_test_of_two_shares() -> None:
    table = [[100.0, 9_900.0], [31.0, 1_969.0]]
    assert tail_p((100.0, 10_000.0), (31.0, 2_000.0)) == pytest.approx(chi2_contingency(table, correction=False).pvalue)
    assert tail_p((0.0, 10.0), (0.0, 10.0)) == 1.0


def test_q_values_are_those_of_benjamini_and_hochberg() -> None:
    p = [0.001, 0.2, 0.03, 0.04, 0.9]
    found = controlled([Drift(kind="feature", name=str(i), psi=1.0 - i / 10, p_value=x) for i, x in enumerate(p)])
    assert [drift.q_value for drift in found] == pytest.approx(false_discovery_control(p).tolist())


def test_what_moves_the_scores_most_stands_first() -> None:
    found = controlled(
        [
            Drift(kind="feature", name="idle", psi=0.9, p_value=0.01, importance=0.01),
            Drift(kind="feature", name="used", psi=0.2, p_value=0.01, importance=0.6),
        ]
    )
    assert [drift.name for drift in found] == ["used", "idle"]


def test_missing_and_new_values_count_as_values() -> None:
    found = column_drift("feature", "country", {"DE": 900.0, "FR": 100.0}, {"DE": 180.0, "(new)": 20.0})
    assert found.largest is not None
    assert found.largest[0] in {"FR", "(new)"}
    assert found.p_value is not None
    assert found.p_value < 1e-6


def test_a_column_without_rows_is_not_tested() -> None:
    assert column_drift("segment", "country", {}, {"DE": 5.0}).p_value is None
