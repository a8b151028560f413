"""Labels of several classes, folds that lack one, diagnosis and leaks."""

import pytest
from imbalance_spark.multiclass.compare import require_classes_in_folds
from support.class_rows import CLASSES

from imbalance_spark.core.errors import DataContractError
from imbalance_spark.orders.config import OrdersConfig, SourceConfig
from imbalance_spark.orders.diagnosis import diagnose_classes
from imbalance_spark.orders.labels import learn_label
from imbalance_spark.orders.validation.label_counts import FeatureRange, LabelCounts
from imbalance_spark.orders.validation.label_leaks import leaked_features


def orders_config() -> OrdersConfig:
    return OrdersConfig(source=SourceConfig(path="x"), label="outcome", classes=(0, 1, 5), numeric=("amount",))


def test_labels_keep_the_order_of_the_config_and_gaps_are_numbered() -> None:
    found = learn_label({"5": 3, "0": 90, "1": 7}, orders_config(), is_text=False)
    assert found.classes == ("0", "1", "5")
    assert found.sentence == "Classes: 0 is '0', 1 is '1', 2 is '5'."


def test_a_class_without_rows_and_a_class_that_nobody_named_are_said_together() -> None:
    with pytest.raises(DataContractError) as caught:
        learn_label({"0": 90, "1": 7, "7": 2}, orders_config(), is_text=False)
    assert "has no valid row of ['5'], which orders.classes names" in str(caught.value)
    assert "has {'7': 2 rows}, which orders.classes ['0', '1', '5'] does not name" in str(caught.value)


def test_a_fold_without_a_class_is_named_before_anything_is_fitted() -> None:
    full = {0: 90, 1: 7, 2: 1}
    require_classes_in_folds({"train": full, "validation": full, "test": full}, CLASSES)
    with pytest.raises(
        DataContractError, match=r"train has no row of \['fraud'\]; test has no row of \['late', 'fraud'\]"
    ):
        require_classes_in_folds({"train": {0: 9, 1: 1}, "validation": full, "test": {0: 9}}, CLASSES)


def test_severity_is_told_class_by_class() -> None:
    counts = {0: 965_000, 1: 30_000, 2: 3_000, 3: 50}
    found = diagnose_classes(counts, {"train": {0: 96_500, 1: 3_000, 2: 300, 3: 5}}, ("ok", "late", "charge", "fraud"))
    # 1 in 33, 1 in 333, and 1 in 20,000 with fewer than 100 rows.
    assert found.severities == {"ok": "balanced", "late": "mild", "charge": "serious", "fraud": "extreme"}
    assert found.severity == "extreme"
    text = "\n".join(found.lines())
    for said in (
        "965,000",
        "Class 'fraud' has 5 training rows",
        "reckless here: it keeps 20 of",
        "objective cost_matrix",
    ):
        assert said in text
    assert found.majority_accuracy == 965_000 / 998_050
    with pytest.raises(DataContractError, match=r"classes \['late'\] have no rows"):
        diagnose_classes({0: 5, 2: 1}, {}, CLASSES)


def test_a_feature_that_separates_one_class_of_several_leaks() -> None:
    def counts(low: float, high: float) -> LabelCounts:
        plain, telling = FeatureRange(values=50, low=0.0, high=9.0), FeatureRange(values=50, low=low, high=high)
        return LabelCounts(rows=50, broken=0, by_rule={}, features={"plain": plain, "telling": telling})

    [sentence] = leaked_features(counts(0.0, 4.0), counts(1.0, 3.0), counts(5.0, 7.0))
    assert "column 'telling' gives the label away" in sentence
    # The middle class lies inside the others: no cut tells it alone.
    assert not list(leaked_features(counts(0.0, 4.0), counts(3.0, 6.0), counts(5.0, 7.0)))
