"""Reasons of a score: exact contributions that add up to the margin, and the table of scored orders names them."""

from datetime import UTC, datetime
from itertools import combinations
from math import factorial
from pathlib import Path

import numpy as np
import pytest
import xgboost
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from support.class_rows import CLASSES, class_rows
from support.model_rows import FEATURES, matrix
from support.orders_to_score import CATEGORICAL, NUMERIC, as_table, bundle, orders

from imbalance_spark.calibration import MulticlassTemperature, PriorCorrection
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.orders.labels import LabelEncoding
from imbalance_spark.orders.model_inputs import CategoryEncoding
from imbalance_spark.scoring.batch import score_batch
from imbalance_spark.scoring.boosters import contributions, load_booster, sum_of_models
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.linear import LinearMargin, LinearModel
from imbalance_spark.scoring.reasons import REASONS
from imbalance_spark.scoring.score_orders import score_orders
from imbalance_spark.scoring.scored_table import Batch
from imbalance_spark.scoring.scorer import Scorer, order_matrix
from imbalance_spark.threshold.class_rules import CostMatrix

NOW = datetime(2024, 5, 1, tzinfo=UTC)


def margins(model: bytes, data: np.ndarray) -> np.ndarray:
    return np.asarray(load_booster(model).inplace_predict(data, predict_type="margin", validate_features=False))


def test_contributions_add_up_to_the_margin() -> None:
    own = bundle()
    data = order_matrix(orders(), own)
    found = contributions(load_booster(own.model_bytes), data)
    assert found.shape == (len(data), len(NUMERIC) + len(CATEGORICAL) + 1)
    np.testing.assert_allclose(found.sum(axis=1), margins(own.model_bytes, data), atol=1e-5)


def test_contributions_of_one_tree_are_the_shapley_values_of_its_expectations() -> None:
    draw = np.random.default_rng(2)
    x = draw.normal(size=(500, 3)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] * x[:, 2] + draw.normal(0, 0.3, 500) > 0.5).astype(float)
    params = {"objective": "binary:logistic", "max_depth": 3, "nthread": 1, "base_score": 0.5}
    booster = xgboost.train(params, xgboost.DMatrix(x, y), 1)
    tree = booster.trees_to_dataframe().set_index("ID")

    def expectation(node: str, row: np.ndarray, known: tuple[int, ...]) -> float:
        here = tree.loc[node]
        if here.Feature == "Leaf":
            return float(here.Gain)
        feature = int(here.Feature.removeprefix("f"))
        if feature in known:
            return expectation(here.Yes if row[feature] < np.float32(here.Split) else here.No, row, known)
        weights = np.array([tree.loc[here.Yes].Cover, tree.loc[here.No].Cover])
        return float(weights @ [expectation(child, row, known) for child in (here.Yes, here.No)] / weights.sum())

    found = contributions(booster, x[:5])
    for row, contribution in zip(x[:5], found, strict=True):
        for feature in range(3):
            others = [other for other in range(3) if other != feature]
            shapley = sum(
                factorial(len(part)) * factorial(2 - len(part)) / factorial(3)
                * (expectation("0-0", row, (*part, feature)) - expectation("0-0", row, part))
                for size in range(3) for part in combinations(others, size)
            )  # fmt: skip
            assert contribution[feature] == pytest.approx(shapley, abs=1e-5)


def test_a_mean_of_boosters_has_the_mean_of_their_contributions() -> None:
    boosters = [bundle(seed).model_bytes for seed in (3, 4)]
    data = order_matrix(orders(), bundle())
    mean = np.mean([contributions(load_booster(one), data) for one in boosters], axis=0)
    np.testing.assert_allclose(
        contributions(load_booster(sum_of_models(boosters, 1.0 / len(boosters))), data), mean, atol=1e-5
    )


def test_a_linear_model_says_its_own_terms() -> None:
    margin = LinearMargin(intercept=-3.0, slopes=(0.5, -2.0), centres=(1.0, 0.0), categories=((0.25, -0.75),))
    data = np.array([[3.0, 1.0, 1.0], [np.nan, 2.0, np.nan], [1.0, 0.0, 7.0]], dtype=np.float32)
    found = contributions(LinearModel(margins=(margin,)), data)
    assert found.tolist() == [[1.0, -2.0, -0.75, -3.0], [0.0, -4.0, 0.0, -3.0], [0.0, 0.0, 0.0, -3.0]]
    assert found.sum(axis=1).tolist() == margin.of(data).tolist()


def test_scored_orders_name_what_moved_them_most(spark: SparkSession) -> None:
    own, frame, features = bundle(), orders(60), (*NUMERIC, *CATEGORICAL)
    table = as_table(spark, frame)
    scored = score_orders(table, own, model_version="1", scored_at=NOW, reasons=2)
    assert scored.columns[-3:] == [REASONS, "model_version", "scored_at"]
    plain = score_orders(table, own, model_version="1", scored_at=NOW)
    assert scored.drop(REASONS).exceptAll(plain).isEmpty()
    expected = contributions(load_booster(own.model_bytes), order_matrix(frame, own))[:, :-1]
    texts = {
        row["order_id"]: row for row in table.select("order_id", *[F.col(n).cast("string") for n in features]).collect()
    }
    rows = scored.collect()
    assert 5 < sum(row["decision"] for row in rows) < 55
    assert all(row[REASONS] is None for row in rows if row["decision"] == 0)
    for row in (row for row in rows if row["decision"] == 1):
        of_row = expected[row["order_id"]]
        best = np.argsort(-np.abs(of_row), kind="stable")[:2]
        assert [one["feature"] for one in row[REASONS]] == [features[number] for number in best]
        assert [one["value"] for one in row[REASONS]] == [texts[row["order_id"]][features[number]] for number in best]
        assert [one["contribution"] for one in row[REASONS]] == pytest.approx(of_row[best].tolist(), abs=1e-6)


def test_of_classes_the_decided_one_is_explained(spark: SparkSession) -> None:
    rows = class_rows(1500, seed=1)
    params = {"objective": "multi:softprob", "num_class": 3, "max_depth": 3, "nthread": 1}
    booster = xgboost.train(params, xgboost.DMatrix(matrix(rows), rows.y), 5)
    own = ModelBundle(
        strategy="class_weight", model_bytes=bytes(booster.save_raw("ubj")), numeric=FEATURES, categorical=(),
        categories=CategoryEncoding(values={}), label=LabelEncoding(classes=CLASSES), label_column="outcome",
        correction=PriorCorrection(factors=(1.0, 2.0, 5.0)), calibrator=MulticlassTemperature(temperature=1.5),
        rules={"cost_matrix": CostMatrix(costs=((0, 5, 80), (1, 0, 80), (8, 8, 0)))}, serve_objective="cost_matrix",
    )  # fmt: skip
    data, scorer = matrix(class_rows(200, seed=2)), Scorer(own)
    probabilities = scorer.probabilities(data)
    decided = scorer.decide(probabilities)
    assert len(set(decided.tolist())) == 3
    found = scorer.contributions(data, probabilities)
    np.testing.assert_allclose(found.sum(axis=1), margins(own.model_bytes, data)[np.arange(200), decided], atol=1e-5)
    frame = spark.createDataFrame(
        [tuple(map(float, row)) for row in data[:20]], ", ".join(f"{n} double" for n in FEATURES)
    )
    scored = score_orders(frame.coalesce(1), own, model_version="1", scored_at=NOW, reasons=1).toPandas()
    top = np.abs(found[:20, :-1]).argmax(axis=1)
    assert [one[0]["feature"] for one in scored[REASONS]] == [FEATURES[number] for number in top]


def test_more_reasons_than_features_are_refused(spark: SparkSession) -> None:
    with pytest.raises(ConfigError, match="reasons: 6 are asked for, the model has 5 features"):
        score_orders(as_table(spark, orders(5)), bundle(), model_version="1", scored_at=NOW, reasons=6)


def test_a_table_begun_without_reasons_gets_them_with_the_next_batch(spark: SparkSession, tmp_path: Path) -> None:
    def score(state: str, reasons: int) -> None:
        score_batch(
            as_table(spark, orders(10)), bundle(), Batch(location="orders", state=state, model="orders/1"),
            output=f"{tmp_path}/scored", quarantine=f"{tmp_path}/aside", max_quarantined=0.0, model_version="1",
            scored_at=NOW, reasons=reasons,
        )  # fmt: skip

    score("v1", 0)
    score("v2", 2)
    table = spark.read.format("delta").load(f"{tmp_path}/scored")
    assert table.count() == 20
    assert 0 < table.where(F.size(REASONS) == 2).count() == table.where("decision = 1").count() / 2
    with pytest.raises(DataContractError, match="other columns"):
        score("v3", 0)


def test_a_column_of_that_name_is_refused_where_reasons_are_asked_for(spark: SparkSession) -> None:
    table = as_table(spark, orders(5)).withColumnRenamed("note", REASONS)
    score_orders(table, bundle(), model_version="1", scored_at=NOW)
    with pytest.raises(DataContractError, match=REASONS):
        score_orders(table, bundle(), model_version="1", scored_at=NOW, reasons=1)
