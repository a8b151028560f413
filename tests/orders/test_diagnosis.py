import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imbalance_spark.core.errors import DataContractError
from imbalance_spark.orders.diagnosis import diagnose

SEVERITIES = ["balanced", "mild", "serious", "extreme"]


@pytest.mark.parametrize(
    ("zeros", "ones", "severity"),
    [
        (2_000, 1_000, "balanced"),
        (1_000, 10_000, "mild"),  # the rarer class counts, whatever its number
        (10_000, 1_000, "mild"),
        (100_000, 1_000, "serious"),
        (1_000_000, 1_000, "extreme"),
        (100_000_000, 100_000, "serious"),  # extreme by ratio, but plenty of rare rows to learn from
        (10_000_000, 100_000, "mild"),
        (1_000_000, 100_000, "mild"),  # many rows do not make it balanced
        (9_900, 99, "extreme"),  # serious by ratio, but few rare rows
        (990, 99, "serious"),
        (50, 50, "mild"),
    ],
)
def test_severity_follows_the_ratio_and_the_number_of_rare_rows(zeros: int, ones: int, severity: str) -> None:
    assert diagnose({0: zeros, 1: ones}).severity == severity


def test_the_majority_baseline_is_accurate_and_finds_nothing() -> None:
    found = diagnose({0: 9_990, 1: 10})
    assert (found.majority_accuracy, found.majority_recall) == (0.999, 0.0)
    assert (found.ratio, found.prevalence) == (999.0, 0.001)
    assert "accuracy 99.9000%, recall 0" in "\n".join(found.lines())


def test_undersampling_is_fine_on_large_data_and_reckless_on_small() -> None:
    large = "\n".join(diagnose({0: 10_000_000, 1: 50_000}).advice)
    small = "\n".join(diagnose({0: 100_000, 1: 500}).advice)
    assert "Undersampling is fine" in large
    assert "100,000 of 10,050,000" in large
    assert "Undersampling is reckless" in small
    assert "1,000 of 100,500" in small


def test_advice_counts_training_rows_only() -> None:
    by_split = {"train": {0: 70_000, 1: 350}, "validation": {0: 15_000, 1: 75}, "test": {0: 15_000, 1: 75}}
    found = diagnose({0: 100_000, 1: 500}, by_split)
    assert any("700 of 70,350 training rows" in sentence for sentence in found.advice)
    # n / (2 n_k): 70350 / 140000 and 70350 / 700
    assert any("0.5025 for class 0 and 100.5 for class 1" in sentence for sentence in found.advice)


def test_extreme_rarity_is_also_seen_as_an_anomaly_and_smote_is_no_default() -> None:
    assert any("isolation forest" in sentence for sentence in diagnose({0: 1_000_000, 1: 500}).advice)
    serious = diagnose({0: 100_000, 1: 500}).advice
    assert not any("isolation forest" in sentence for sentence in serious)
    assert any("not a default" in sentence for sentence in serious)
    assert diagnose({0: 2_000, 1: 1_000}).advice == (
        "No resampling is needed: fit on all rows and choose the threshold for your costs.",
    )


def test_the_table_has_a_line_a_split_also_for_one_without_positives() -> None:
    lines = diagnose({0: 300, 1: 3}, {"train": {0: 200, 1: 3}, "test": {0: 100}}).lines()
    assert [line.split() for line in lines[:4]] == [
        ["split", "rows", "class", "0", "class", "1", "prevalence", "ratio"],
        ["train", "203", "200", "3", "1.4778%", "1:66.7"],
        ["test", "100", "100", "0", "0.0000%", "-"],
        ["all", "303", "300", "3", "0.9901%", "1:100.0"],
    ]


@pytest.mark.parametrize("counts", [{}, {0: 5}, {0: 5, 1: 0}, {0: 5, 2: 5}])
def test_other_than_two_classes_are_refused(counts: dict[int, int]) -> None:
    with pytest.raises(DataContractError, match="class 0 and of class 1"):
        diagnose(counts)


@settings(max_examples=60)
@given(st.integers(1, 10**10), st.integers(1, 10**10))
def test_ratio_and_severity_do_not_depend_on_which_class_is_called_positive(zeros: int, ones: int) -> None:
    one, other = diagnose({0: zeros, 1: ones}), diagnose({0: ones, 1: zeros})
    assert (one.ratio, one.severity, one.majority_accuracy) == (other.ratio, other.severity, other.majority_accuracy)
    assert abs(SEVERITIES.index(one.severity) - SEVERITIES.index(one.severity_by_ratio)) <= 1
    assert one.prevalence + other.prevalence == pytest.approx(1)
    json.dumps(one.to_dict(), allow_nan=False)


def test_severity_is_given_class_by_class() -> None:
    counts = {0: 965_000, 1: 30_000, 2: 3_000, 3: 50}
    found = diagnose(counts, {"train": {0: 96_500, 1: 3_000, 2: 300, 3: 5}}, ("ok", "late", "charge", "fraud"))
    # 1 in 33, 1 in 333, and 1 in 20,000 with fewer than 100 rows.
    assert found.severities == {"ok": "balanced", "late": "mild", "charge": "serious", "fraud": "extreme"}
    assert found.severity == "extreme"
    text = "\n".join(found.lines())
    for said in (
        "965,000",
        "Class 'fraud' has 5 training rows",
        "it keeps 20 of 99,805 training rows, fewer than",
        "objective cost_matrix",
    ):
        assert said in text
    assert found.majority_accuracy == 965_000 / 998_050
    with pytest.raises(DataContractError, match=r"classes \['late'\] have no rows"):
        diagnose({0: 5, 2: 1}, {}, ("ok", "late", "fraud"))
