"""Names of metrics for classes that are called anything, against MLflow's own rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param_name

from imbalance_spark.tracking.runs import stored_name

HOSTILE = (
    "+&()%,<",
    "",
    ".",
    "..",
    "a//b",
    "/a",
    "<script>alert(1)</script>",
    "=cmd()",
    "\x00",
    "\u202eabc",
    "a:26:b",
    "a&b",
)


@pytest.mark.parametrize("label", [*HOSTILE, "x" * 1_000_000])
def test_mlflow_takes_the_metric_of_a_class_that_is_called_anything(label: str) -> None:
    _validate_metric_name(stored_name(f"validation/recall/{label}"))
    _validate_param_name(stored_name(f"class_weight_{label}"))


def test_hostile_names_stay_apart() -> None:
    assert len({stored_name(f"recall/{label}") for label in HOSTILE}) == len(HOSTILE)
    assert stored_name("recall/" + "x" * 300 + "a") != stored_name("recall/" + "x" * 300 + "b")


@given(st.text(), st.text())
def test_any_name_is_taken_and_two_names_have_two(one: str, other: str) -> None:
    names = [stored_name(f"recall/{label}") for label in (one, other)]
    for name in names:
        _validate_metric_name(name)
    assert (names[0] == names[1]) == (one == other)


@pytest.mark.parametrize("name", ["test/average_precision", "threshold/max_f0.5", "test/recall/größe 3", "a-b_c"])
def test_a_name_that_mlflow_takes_stays_as_it_is(name: str) -> None:
    assert stored_name(name) == name
