"""A model of focal loss scores the same wherever it is loaded: in memory, on Spark, and from its saved bundle."""

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost
from pyspark.sql import SparkSession
from support.model_rows import FEATURES, matrix, model_rows

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.calibration.log_odds import LogOddsCalibration
from imbalance_spark.orders.labels import LabelEncoding
from imbalance_spark.orders.model_inputs import CategoryEncoding
from imbalance_spark.scoring.boosters import load_booster, probabilities
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.score_orders import score_orders
from imbalance_spark.scoring.scorer import Scorer
from imbalance_spark.threshold.class_rules import ClassThresholds
from imbalance_spark.train_only.learners.losses import FocalLoss

LOSS = FocalLoss.focal(2.0, alpha=0.7)


@pytest.fixture(scope="module")
def ubj() -> bytes:
    rows = model_rows(4000, seed=1)
    start = float(LOSS.correction().inverse(rows.y.mean()))
    params = {"objective": "binary:logistic", "base_score": start, "min_child_weight": 0.1, "max_depth": 2}
    return bytes(xgboost.train(params, xgboost.DMatrix(matrix(rows), rows.y), 20, obj=LOSS).save_raw("ubj"))


def test_scores_are_the_inverse_of_what_the_loss_learnt(ubj: bytes) -> None:
    rows = model_rows(8000, seed=2)
    raw = load_booster(ubj).inplace_predict(matrix(rows)).astype(float)
    found = probabilities(load_booster(ubj), matrix(rows), LOSS.correction())
    np.testing.assert_allclose(found, LOSS.correction().apply(raw), rtol=1e-5, atol=1e-9)
    # The raw score of focal loss is far from the rate, its inverse is not; 173 positives tell it to 23 %.
    assert raw.mean() > 3 * rows.y.mean()
    assert found.mean() == pytest.approx(rows.y.mean(), rel=0.23)


def test_spark_and_the_saved_bundle_score_as_in_memory(spark: SparkSession, ubj: bytes, tmp_path: Path) -> None:
    rows = model_rows(500, seed=3)
    expected = probabilities(load_booster(ubj), matrix(rows), LOSS.correction())
    bundle = ModelBundle(
        strategy="focal", model_bytes=ubj, numeric=FEATURES, categorical=(), categories=CategoryEncoding(values={}),
        label=LabelEncoding(classes=("0", "1")), correction=LOSS.correction(),
        calibrator=LogOddsCalibration(method="identity"), rules={"max_f1": ClassThresholds.of_threshold(0.5)},
        serve_objective="max_f1",
    )  # fmt: skip
    bundle.save(str(tmp_path))
    loaded = ModelBundle.load(str(tmp_path))
    assert loaded == bundle
    orders = pd.DataFrame(matrix(rows), columns=list(FEATURES))
    frame = spark.createDataFrame(orders.assign(order_id=rows.order_id.to_numpy()))
    scored = score_orders(frame, bundle, model_version="1", scored_at=datetime(2026, 1, 1)).toPandas()
    assert dict(zip(scored.order_id, scored.probability, strict=True)) == dict(
        zip(rows.order_id, expected, strict=True)
    )
    np.testing.assert_allclose(Scorer(loaded).score(orders)["probability"], expected, rtol=1e-12)


@pytest.mark.parametrize(
    "correction",
    [
        PriorCorrection.of_odds(positive=2.0, negative=0.1),
        LOSS.correction(),
        PriorCorrection(factors=(1.0, 1.0), gammas=(4.0, 2.0)),
    ],
)
def test_a_correction_comes_back_from_json_and_is_the_same_on_margins(correction: PriorCorrection) -> None:
    again = PriorCorrection.from_dict(json.loads(json.dumps(correction.to_dict())))
    assert again == correction
    margin = np.linspace(-20.0, 20.0, 41)
    logit = again.logit(margin)
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), correction.apply(1 / (1 + np.exp(-margin))), rtol=1e-6)
    assert (np.diff(logit) > 0.0).all()
    p = np.array([0.0, 1e-9, 0.2, 0.999, 1.0])
    np.testing.assert_allclose(correction.apply(correction.inverse(p)), p, rtol=1e-9)
