"""Names of objectives: exact, stable, and of characters that MLflow takes in the name of a metric."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imbalance_spark.threshold.budget_objectives import AlertBudget
from imbalance_spark.threshold.cost_objectives import BayesCost, MinCost
from imbalance_spark.threshold.objective import Objective
from imbalance_spark.threshold.rate_objectives import MaxFBeta, MaxPrecision, MaxRecall

METRIC_NAME = re.compile(r"[A-Za-z0-9_\-./: ]+")


@pytest.mark.parametrize(("objective", "name"), [
    (MaxFBeta(beta=2), "max_f2"),
    (MaxFBeta(beta=0.5), "max_f0.5"),
    (MaxRecall(precision=0.9), "max_recall_at_precision_0.9"),
    (MaxPrecision(recall=0.8), "max_precision_at_recall_0.8"),
    (MinCost(fn=10.0, fp=1), "min_cost_fn_10_fp_1"),
    (MinCost(fn="amount", fp=5), "min_cost_fn_amount_fp_5"),
    (BayesCost(fn=10, fp=1, tp=-2.5), "bayes_cost_fn_10_fp_1_tp_-2.5"),
    (AlertBudget(per_day=100.0), "alert_budget_100_per_day"),
    (MinCost(fn=1e6, fp=1e-5), "min_cost_fn_1000000_fp_0.00001"),
    (BayesCost(fn=2.5e17, fp=1), "bayes_cost_fn_250000000000000000_fp_1"),
    (MinCost(fn=0.1 + 0.2, fp=1), "min_cost_fn_0.3_fp_1"),
])  # fmt: skip
def test_a_name_says_its_numbers_as_people_write_them(objective: Objective, name: str) -> None:
    assert objective.name == name


def test_costs_that_differ_in_the_seventh_digit_have_names_of_their_own() -> None:
    assert MinCost(fn=1_234_567, fp=1).name != MinCost(fn=1_234_568, fp=1).name
    assert AlertBudget(per_day=1_234_567).name != AlertBudget(per_day=1_234_568).name


@given(st.floats(1e-12, 1e18), st.floats(1e-12, 1e18))
def test_mlflow_takes_every_name_and_15_digits_of_each_number_are_told(fn: float, fp: float) -> None:
    name = MinCost(fn=fn, fp=fp).name
    assert METRIC_NAME.fullmatch(name)
    of_fn, of_fp = re.fullmatch(r"min_cost_fn_([\d.]+)_fp_([\d.]+)", name).groups()
    assert (float(of_fn), float(of_fp)) == pytest.approx((fn, fp), rel=1e-14)
