"""Decisions by the order's own amount: counted on held-out rows, served as a table, in memory and by MLflow alike."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import xgboost
from pyspark.sql import SparkSession
from support.model_rows import FEATURES, as_spark, matrix, model_rows
from support.orders_to_score import as_table, bundle, orders
from test_score_orders import scored

from imbalance_spark.calibration import LogOddsCalibration, PriorCorrection
from imbalance_spark.core.errors import DataContractError, MissingColumnsError
from imbalance_spark.scoring.boosters import Candidate
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.scoring.held_out import DecidingModel, scan_decisions
from imbalance_spark.scoring.held_out_rows import bucket_hash
from imbalance_spark.scoring.scorer import Scorer
from imbalance_spark.threshold import MinCost
from imbalance_spark.threshold.class_rules import ClassThresholds
from imbalance_spark.threshold.order_costs import OrderRule

COSTS = MinCost(fn="amount * 0.8 + 15", fp=12)


def rule(column: str = "amount") -> OrderRule:
    assert COSTS.by_order is not None
    return OrderRule(costs=COSTS.by_order, column=column, threshold=0.4)


def model(column: str = "amount", **changes: object) -> ModelBundle:
    return dataclasses.replace(bundle(), rules={COSTS.name: rule(column)}, serve_objective=COSTS.name, **changes)


def test_a_table_has_the_decisions_of_the_model_in_memory(spark: SparkSession) -> None:
    frame = orders()
    found = scored(as_table(spark, frame), model()).orderBy("order_id").toPandas()
    expected = Scorer(model()).score(frame)
    for name in ("probability", "decision", "threshold", "expected_cost"):
        np.testing.assert_array_equal(found[name].to_numpy(float), expected[name].to_numpy(float))
    assert found["expected_cost"].isna().tolist() == [value is None for value in frame["amount"]]


def test_decisions_and_expected_costs_are_those_of_the_formula() -> None:
    frame = orders()
    found, amount = Scorer(model()).score(frame), frame["amount"].astype(float).to_numpy()
    p, known = found["probability"].to_numpy(), ~np.isnan(amount)
    wanted = np.where(known, p * (amount * 0.8 + 15) > (1 - p) * 12, p >= 0.4)
    assert found["decision"].tolist() == wanted.astype(int).tolist()
    assert 0 < wanted[known].sum() < known.sum()
    costs = np.where(wanted, (1 - p) * 12, p * (amount * 0.8 + 15))
    np.testing.assert_allclose(found["expected_cost"], np.where(known, costs, np.nan), rtol=1e-12)


def test_a_threshold_of_the_call_decides_all_orders_and_has_its_expected_cost() -> None:
    frame = orders()
    found = Scorer(model()).predict(frame, {"threshold": 0.3})
    assert found["decision"].tolist() == (found["probability"] >= 0.3).astype(int).tolist()
    assert found["threshold"].unique().tolist() == [0.3]
    assert found["expected_cost"].notna().sum() == frame["amount"].notna().sum()


def test_an_amount_that_is_no_feature_is_read_too(spark: SparkSession) -> None:
    frame = orders().assign(price=lambda found: found["amount"])
    found = Scorer(model("price")).score(frame)
    pd.testing.assert_frame_equal(found, Scorer(model()).score(frame))
    with pytest.raises(MissingColumnsError, match="price"):
        Scorer(model("price")).score(orders())
    with pytest.raises(DataContractError, match=r"no column.*'price'"):
        scored(as_table(spark, orders()), model("price"))


def test_a_model_that_decides_by_order_is_saved_and_loaded(tmp_path: object) -> None:
    model().save(str(tmp_path))
    loaded = ModelBundle.load(str(tmp_path))
    assert loaded == model()
    assert loaded.threshold == 0.4
    assert "order by order" in loaded.decides


def test_counts_are_those_of_each_rows_own_decision(spark: SparkSession) -> None:
    parts = [model_rows(3000, seed=2, split="validation"), model_rows(2000, seed=3, split="test")]
    frame = pd.concat(parts, ignore_index=True)
    frame["country"] = np.random.default_rng(1).choice(["FR", "DE"], len(frame))
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 3, "seed": 7}, xgboost.DMatrix(matrix(frame), frame.y), 5
    )
    ubj, correction = bytes(booster.save_raw("ubj")), PriorCorrection.identity()
    candidate = Candidate(name="none", model_bytes=ubj, features=FEATURES, correction=correction)
    # Far apart, so that a half that is calibrated by the wrong one is seen.
    calibrators = tuple(LogOddsCalibration(method="intercept", a=1.0, b=1.0, c=c) for c in (-1.5, 1.0, 0.0))
    deciding = DecidingModel(
        candidate=candidate,
        calibrators=calibrators,
        rules={"by_order": rule("amount_value"), "threshold": ClassThresholds.of_threshold(0.2)},
    )
    table = as_spark(spark, frame)
    counted = scan_decisions(
        table, [deciding], key=["order_id"], segments=["country"], has_weight=True, has_amount=True
    )
    target = counted["none"]["by_order"].target

    placed = table.select("order_id", (bucket_hash(["order_id"]) % 64).alias("hash")).toPandas()["hash"].to_numpy() % 64
    frame["part"] = np.where(frame["split"] == "test", 2, placed % 2)
    p = booster.predict(xgboost.DMatrix(matrix(frame))).astype(float)
    logit = np.log(p / (1 - p)) + frame["part"].map({0: -1.5, 1: 1.0, 2: 0.0})
    p, worth = 1 / (1 + np.exp(-logit)), frame["amount_value"] * 0.8 + 15
    frame["flagged"] = p * worth > (1 - p) * 12
    for part, counts in enumerate((target.calibrate, target.choose, target.test)):
        own = frame[frame["part"] == part]
        caught = own[own["flagged"] & (own["y"] == 1)]
        matrix_of = counts.curve().at(0.5)
        assert (matrix_of.tp, matrix_of.flagged) == pytest.approx(
            (caught["row_weight"].sum(), own.loc[own["flagged"], "row_weight"].sum())
        )
        assert 0 < matrix_of.flagged < matrix_of.total
        assert counts.positive_amount[0] == pytest.approx((caught["row_weight"] * caught["amount_value"]).sum())
    french = frame[(frame["country"] == "FR") & (frame["split"] == "test")]
    of_segment = target.by_segment("test", "country")["FR"].curve().at(0.5)
    # Exact by segment also where a threshold decides, in whatever coarse bin it lies.
    by_threshold = counted["none"]["threshold"].target.by_segment("test", "country")["FR"].curve().at(0.5)
    wanted = french.loc[p[french.index] >= 0.2, "row_weight"].sum()
    assert (by_threshold.flagged, by_threshold.total) == pytest.approx((wanted, french["row_weight"].sum()))
    assert of_segment.flagged == pytest.approx(french.loc[french["flagged"], "row_weight"].sum())
