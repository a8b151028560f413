"""A model of several classes scores the same in memory, on Spark and from its saved bundle."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost
from pyspark.sql import SparkSession
from support.class_rows import CLASSES, FEATURES, class_rows
from support.model_rows import matrix

from imbalance_spark.calibration import LogOddsCalibration, MulticlassTemperature, PriorCorrection
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.core.spark_errors import as_own_error
from imbalance_spark.metrics import FLAG_NOBODY
from imbalance_spark.orders.labels import LabelEncoding
from imbalance_spark.orders.model_inputs import CategoryEncoding
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.class_margins import CountedModel
from imbalance_spark.scoring.control_sample import refuse_classes
from imbalance_spark.scoring.linear import LinearMargin, LinearModel
from imbalance_spark.scoring.score_orders import score_orders
from imbalance_spark.scoring.scorer import Scorer
from imbalance_spark.threshold.class_rules import ClassThresholds, CostMatrix


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    rows = class_rows(2000, seed=1)
    params = {"objective": "multi:softprob", "num_class": 3, "max_depth": 3, "nthread": 1}
    booster = xgboost.train(params, xgboost.DMatrix(matrix(rows), rows.y), 10)
    return ModelBundle(
        strategy="class_weight", model_bytes=bytes(booster.save_raw("ubj")), numeric=FEATURES, categorical=(),
        categories=CategoryEncoding(values={}), label=LabelEncoding(classes=CLASSES), label_column="outcome",
        correction=PriorCorrection(factors=(1.0, 2.0, 5.0)), calibrator=MulticlassTemperature(temperature=1.5),
        rules={
            "cost_matrix": CostMatrix(costs=((0, 5, 80), (1, 0, 80), (8, 8, 0))),
            "max_f1": ClassThresholds(thresholds=(FLAG_NOBODY, 0.2, 0.1), default_class=0),
        },
        serve_objective="cost_matrix",
    )  # fmt: skip


def test_spark_pandas_and_the_saved_bundle_say_the_same(
    spark: SparkSession, bundle: ModelBundle, tmp_path: Path
) -> None:
    bundle.save(str(tmp_path))
    loaded = ModelBundle.load(str(tmp_path))
    assert loaded == bundle
    rows = class_rows(300, seed=2)
    orders = pd.DataFrame(matrix(rows), columns=list(FEATURES)).assign(order_id=rows.order_id.to_numpy())
    found = Scorer(loaded).predict(orders, {})
    p = found[["probability_ok", "probability_late", "probability_fraud"]].to_numpy()
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    decided = np.array(CLASSES)[(p @ np.array(bundle.rules["cost_matrix"].costs).T).argmin(axis=1)]
    assert found["decision"].tolist() == decided.tolist()
    scored = score_orders(spark.createDataFrame(orders), bundle, model_version="1", scored_at=datetime(2026, 1, 1))
    table = scored.orderBy("order_id").toPandas()
    np.testing.assert_array_equal(table[list(bundle.probability_columns)].to_numpy(), p)
    assert table["decision"].tolist() == decided.tolist()
    assert set(table["decided_by"]) == {"cost_matrix"}


def test_another_objective_of_the_model_may_decide_a_call(bundle: ModelBundle) -> None:
    rows = class_rows(300, seed=2)
    orders = pd.DataFrame(matrix(rows), columns=list(FEATURES))
    scorer = Scorer(bundle)
    found = scorer.predict(orders, {"objective": "max_f1"})
    p = found[list(bundle.probability_columns)].to_numpy()
    assert found["decision"].tolist() == np.array(CLASSES)[bundle.rules["max_f1"].decide(p)].tolist()
    assert set(found["decided_by"]) == {"max_f1"}
    with pytest.raises(ConfigError, match="Did you mean 'max_f1'"):
        scorer.predict(orders, {"objective": "max_f2"})


def test_orders_of_a_class_that_the_model_does_not_know_are_refused(spark: SparkSession, bundle: ModelBundle) -> None:
    rows = [(1.0, 2.0, 3.0, 4.0, "ok"), (1.0, 2.0, 3.0, 4.0, None), (1.0, 2.0, 3.0, 4.0, "stolen")]
    schema, now = "amount double, hour double, items double, noise double, outcome string", datetime(2026, 1, 1)
    known, orders = spark.createDataFrame(rows[:2], schema), spark.createDataFrame(rows, schema)
    assert score_orders(known, bundle, model_version="1", scored_at=now).count() == 2
    with pytest.raises(Exception, match="DataContractError") as caught:
        score_orders(orders, bundle, model_version="1", scored_at=now).collect()
    error = as_own_error(caught.value)
    assert isinstance(error, DataContractError)
    assert "column 'outcome' has a class that the model does not know; it knows ['ok', 'late', 'fraud']" in str(error)
    assert "stolen" not in str(error)


def test_columns_have_plain_names_whatever_the_classes_are_called(bundle: ModelBundle) -> None:
    named = {
        "ok": "probability_ok",
        "late return": "probability_late_return_1",
        "late/return": "probability_late_return_2",
    }
    changed = replace(bundle, label=LabelEncoding(classes=tuple(named)))
    assert changed.probability_columns == tuple(named.values())


def test_a_model_of_classes_has_no_control_sample(bundle: ModelBundle) -> None:
    with pytest.raises(ConfigError, match="the model decides between 3 classes"):
        refuse_classes(bundle)


def test_a_model_of_classes_has_no_threshold_and_no_threshold_changes_it(bundle: ModelBundle) -> None:
    assert bundle.thresholds == {}
    with pytest.raises(ConfigError, match="decides by costs, not by a threshold"):
        _ = bundle.threshold


def test_no_orders_have_no_probabilities(bundle: ModelBundle) -> None:
    assert Scorer(bundle).probabilities(np.empty((0, 4), np.float32)).shape == (0, 3)
    assert Scorer(bundle).score(pd.DataFrame(columns=list(FEATURES))).empty


def test_any_calibration_of_probabilities_may_stand_in_a_model(bundle: ModelBundle) -> None:
    plain = replace(bundle, calibrator=MulticlassTemperature(temperature=1.0))
    other = replace(bundle, calibrator=LogOddsCalibration(method="identity"))
    x = matrix(class_rows(50, seed=2))
    np.testing.assert_allclose(Scorer(other).probabilities(x), Scorer(plain).probabilities(x), rtol=1e-12)


def test_a_linear_model_of_classes_is_served_from_margins_as_they_are_counted(bundle: ModelBundle) -> None:
    margins = tuple(
        LinearMargin(intercept=0.1 * k, slopes=(0.3, -0.2, 0.7, 0.1 / 3), centres=(0.0, 1.0, 0.0, 0.0), categories=())
        for k in range(3)
    )
    model, x = LinearModel(margins=margins), matrix(class_rows(50, seed=2))
    found = Scorer(replace(bundle, model_bytes=model.to_bytes())).probabilities(x)
    counted = CountedModel(correction=bundle.correction, temperature=MulticlassTemperature(temperature=1.5))
    written = model.inplace_predict(x).astype(np.float32)
    np.testing.assert_array_equal(found, np.exp(counted.log_probabilities(written)))
