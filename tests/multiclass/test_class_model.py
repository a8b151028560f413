"""A model of several classes scores the same in memory, on Spark and from its saved bundle; labels and diagnosis."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost
from pyspark.sql import SparkSession
from support.class_rows import CLASSES, FEATURES, class_rows
from support.model_rows import matrix

from imbalance_spark.calibration.correction import SoftmaxCorrection
from imbalance_spark.calibration.temperature import ClassProbabilities
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.core.spark_errors import as_own_error
from imbalance_spark.metrics import FLAG_NOBODY
from imbalance_spark.multiclass.compare import require_classes_in_folds
from imbalance_spark.multiclass.model import ClassBundle, ClassScorer
from imbalance_spark.orders.categories import CategoryEncoding
from imbalance_spark.orders.config import OrdersConfig, SourceConfig
from imbalance_spark.orders.diagnosis import diagnose_classes
from imbalance_spark.orders.labels import LabelEncoding, learn_label
from imbalance_spark.orders.validation.label_counts import FeatureRange, LabelCounts
from imbalance_spark.orders.validation.label_leaks import leaked_features
from imbalance_spark.scoring.bundles import read_bundle, scorer_of
from imbalance_spark.scoring.score_bundles import score_with
from imbalance_spark.threshold.class_rules import ClassThresholds, CostMatrix


@pytest.fixture(scope="module")
def bundle() -> ClassBundle:
    rows = class_rows(2000, seed=1)
    params = {"objective": "multi:softprob", "num_class": 3, "max_depth": 3, "nthread": 1}
    booster = xgboost.train(params, xgboost.DMatrix(matrix(rows), rows.y), 10)
    return ClassBundle(
        strategy="class_weight", booster_ubj=bytes(booster.save_raw("ubj")), numeric=FEATURES, categorical=(),
        categories=CategoryEncoding(values={}), label=LabelEncoding(classes=CLASSES), label_column="outcome",
        probabilities=ClassProbabilities(correction=SoftmaxCorrection(factors=(1.0, 2.0, 5.0)), temperature=1.5),
        rules={
            "cost_matrix": CostMatrix(costs=((0, 5, 80), (1, 0, 80), (8, 8, 0))),
            "max_f1": ClassThresholds(thresholds=(FLAG_NOBODY, 0.2, 0.1), default_class=0),
        },
        serve_objective="cost_matrix",
    )  # fmt: skip


def test_spark_pandas_and_the_saved_bundle_say_the_same(
    spark: SparkSession, bundle: ClassBundle, tmp_path: Path
) -> None:
    bundle.save(str(tmp_path))
    loaded = read_bundle(str(tmp_path))
    assert loaded == bundle
    rows = class_rows(300, seed=2)
    orders = pd.DataFrame(matrix(rows), columns=list(FEATURES)).assign(order_id=rows.order_id.to_numpy())
    found = scorer_of(loaded).predict(orders, {})
    p = found[["probability_ok", "probability_late", "probability_fraud"]].to_numpy()
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    decided = np.array(CLASSES)[(p @ np.array(bundle.rules["cost_matrix"].costs).T).argmin(axis=1)]
    assert found["decision"].tolist() == decided.tolist()
    scored = score_with(spark.createDataFrame(orders), bundle, model_version="1", scored_at=datetime(2026, 1, 1))
    table = scored.orderBy("order_id").toPandas()
    np.testing.assert_array_equal(table[list(bundle.probability_columns)].to_numpy(), p)
    assert table["decision"].tolist() == decided.tolist()
    assert set(table["decided_by"]) == {"cost_matrix"}


def test_another_objective_of_the_model_may_decide_a_call(bundle: ClassBundle) -> None:
    rows = class_rows(300, seed=2)
    orders = pd.DataFrame(matrix(rows), columns=list(FEATURES))
    scorer = ClassScorer(bundle)
    found = scorer.predict(orders, {"objective": "max_f1"})
    p = found[list(bundle.probability_columns)].to_numpy()
    assert found["decision"].tolist() == np.array(CLASSES)[bundle.rules["max_f1"].decide(p)].tolist()
    assert set(found["decided_by"]) == {"max_f1"}
    with pytest.raises(ConfigError, match="Did you mean 'max_f1'"):
        scorer.predict(orders, {"objective": "max_f2"})


def test_orders_of_a_class_that_the_model_does_not_know_are_refused(spark: SparkSession, bundle: ClassBundle) -> None:
    rows = [(1.0, 2.0, 3.0, 4.0, "ok"), (1.0, 2.0, 3.0, 4.0, None), (1.0, 2.0, 3.0, 4.0, "stolen")]
    schema, now = "amount double, hour double, items double, noise double, outcome string", datetime(2026, 1, 1)
    known, orders = spark.createDataFrame(rows[:2], schema), spark.createDataFrame(rows, schema)
    assert score_with(known, bundle, model_version="1", scored_at=now).count() == 2
    with pytest.raises(Exception, match="DataContractError") as caught:
        score_with(orders, bundle, model_version="1", scored_at=now).collect()
    error = as_own_error(caught.value)
    assert isinstance(error, DataContractError)
    assert "column 'outcome' has a class that the model does not know; it knows ['ok', 'late', 'fraud']" in str(error)
    assert "stolen" not in str(error)


def test_columns_have_plain_names_whatever_the_classes_are_called(bundle: ClassBundle) -> None:
    named = {
        "ok": "probability_ok",
        "late return": "probability_late_return_1",
        "late/return": "probability_late_return_2",
    }
    label = LabelEncoding(classes=tuple(named))
    changed = ClassBundle(**{**vars(bundle), "label": label})
    assert changed.probability_columns == tuple(named.values())


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
    assert "column 'telling' leaks the label" in sentence
    # The middle class lies inside the others: no cut tells it alone.
    assert not list(leaked_features(counts(0.0, 4.0), counts(3.0, 6.0), counts(5.0, 7.0)))
