"""Margins, temperature, counts and confusions from Spark against the same numbers worked out in memory."""

import json

import numpy as np
import pandas as pd
import pytest
import xgboost
from pyspark.sql import DataFrame, SparkSession
from sklearn import metrics as sk
from support.class_rows import FEATURES, class_rows, truth
from support.model_rows import as_spark, matrix

from imbalance_spark.calibration import MulticlassTemperature
from imbalance_spark.calibration.correction import PriorCorrection
from imbalance_spark.calibration.temperature import TEMPERATURES, choose_temperatures
from imbalance_spark.core.columns import TEST, VALIDATION
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics.evaluate import TargetNames, ranking_metrics
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.scoring.boosters import Candidate
from imbalance_spark.scoring.class_margins import (
    CountedModel,
    collect_temperature_losses,
    count_classes,
    count_decisions,
    held_out_margins,
)
from imbalance_spark.scoring.held_out_counts import HeldOutCounts
from imbalance_spark.scoring.reasons import collect_importance
from imbalance_spark.threshold.class_rules import ClassThresholds, CostMatrix

ARGMAX = CostMatrix.argmax(3)
COSTLY = CostMatrix(costs=((0, 5, 80), (1, 0, 80), (8, 8, 0)))
CORRECTIONS = {
    "sure": PriorCorrection(factors=(1.0, 1.0, 1.0)),
    "weighed": PriorCorrection(factors=(1.0, 3.0, 20.0)),
}
UNCALIBRATED = {name: CountedModel(correction=correction) for name, correction in CORRECTIONS.items()}
THRESHOLDS = ClassThresholds(thresholds=(1.0000000000000002, 0.2, 0.1), default_class=0)


@pytest.fixture(scope="module")
def boosters() -> dict[str, bytes]:
    rows, found = class_rows(1500, seed=3), {}
    for name, weights in (("sure", (1.0, 1.0, 1.0)), ("weighed", (1.0, 3.0, 20.0))):
        data = xgboost.DMatrix(matrix(rows), rows.y, weight=np.array(weights)[rows.y])
        params = {"objective": "multi:softprob", "num_class": 3, "max_depth": 6, "learning_rate": 0.5}
        # Too many deep trees for so few rows: too sure of themselves.
        found[name] = bytes(xgboost.train(params, data, 40).save_raw("ubj"))
    return found


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    rows = pd.concat([class_rows(3000, seed=4, split=VALIDATION), class_rows(2000, seed=5, split=TEST)])
    draw = np.random.default_rng(8)
    rows["amount_value"] = draw.uniform(1.0, 100.0, len(rows))
    rows["country"] = draw.choice(["FR", "DE", None], len(rows))
    return rows


@pytest.fixture(scope="module")
def margins(spark: SparkSession, rows: pd.DataFrame, boosters: dict[str, bytes]) -> DataFrame:
    candidates = [
        Candidate(name=name, model_bytes=ubj, features=FEATURES, correction=CORRECTIONS[name])
        for name, ubj in boosters.items()
    ]
    inputs = as_spark(spark, rows)
    return held_out_margins(
        inputs, candidates, key=["order_id"], segments=["country"], has_weight=True, has_amount=True
    ).persist()


@pytest.fixture(scope="module")
def in_memory(margins: DataFrame) -> pd.DataFrame:
    return margins.toPandas().astype({"y": int})


def probabilities(frame: pd.DataFrame, name: str, temperature: float = 1.0) -> np.ndarray:
    column = f"margins_{list(CORRECTIONS).index(name)}"
    margin = np.vstack(frame[column]).astype(float)
    share = np.exp(margin - margin.max(axis=1, keepdims=True)) / np.array(CORRECTIONS[name].factors)
    share = (share / share.sum(axis=1, keepdims=True)) ** (1 / temperature)
    return share / share.sum(axis=1, keepdims=True)


def test_importance_of_k_classes_is_the_mean_over_their_margins(
    spark: SparkSession, rows: pd.DataFrame, boosters: dict[str, bytes]
) -> None:
    sample = rows[rows.split == TEST].head(60)
    model = Candidate(
        name="weighed", model_bytes=boosters["weighed"], features=FEATURES, correction=CORRECTIONS["weighed"]
    )
    found = collect_importance(as_spark(spark, sample), [model], key=["order_id"], share=1.0, has_weight=True)
    booster = xgboost.Booster(model_file=bytearray(model.model_bytes))
    parts = booster.predict(xgboost.DMatrix(matrix(sample)), pred_contribs=True)  # rows by classes by features and one
    expected = np.average(np.abs(parts[:, :, :-1]).mean(axis=1), axis=0, weights=sample.row_weight)
    assert found["weighed"] == pytest.approx(dict(zip(FEATURES, expected, strict=True)), rel=1e-5)


def test_margins_are_those_of_the_boosters_beside_label_weight_and_fold(
    in_memory: pd.DataFrame, rows: pd.DataFrame, boosters: dict[str, bytes]
) -> None:
    found, wanted = in_memory.sort_values("row_weight"), rows.sort_values("row_weight")
    assert found.y.tolist() == wanted.y.tolist()
    assert found.fold.tolist() == (wanted.split == TEST).astype(int).tolist()
    assert found.bucket.between(0, 63).all()
    for number, ubj in enumerate(boosters.values()):
        direct = xgboost.Booster(model_file=bytearray(ubj)).predict(xgboost.DMatrix(matrix(wanted)), output_margin=True)
        np.testing.assert_array_equal(np.vstack(found[f"margins_{number}"]).astype(np.float32), direct)


def test_the_temperature_is_the_best_of_its_grid_and_confirmed(margins: DataFrame, in_memory: pd.DataFrame) -> None:
    chosen = choose_temperatures(collect_temperature_losses(margins, UNCALIBRATED, has_weight=True))
    validation = in_memory[in_memory.fold == 0]
    for name, found in chosen.items():
        calibrate, choose = (validation[validation.bucket % 2 == half] for half in (0, 1))
        exact = MulticlassTemperature.fit(calibrate.y, probabilities(calibrate, name), calibrate.row_weight).temperature
        assert abs(np.log2(found.temperature / exact)) < 1 / 12
        assert found.temperature in TEMPERATURES
        assert found.temperature > 1.2  # the models are too sure
        for value, temperature in ((found.log_loss, found.temperature), (found.log_loss_before, 1.0)):
            p = probabilities(choose, name, temperature)
            assert value == pytest.approx(sk.log_loss(choose.y, p, sample_weight=choose.row_weight), rel=1e-9)


def test_each_row_of_a_cross_fit_has_the_margins_and_the_correction_of_its_own_fit(
    spark: SparkSession, rows: pd.DataFrame, boosters: dict[str, bytes]
) -> None:
    few = rows.iloc[::50].assign(fit_number=lambda frame: np.where(frame.split == TEST, 1, 0))
    folds = ((boosters["weighed"], CORRECTIONS["weighed"]),)
    one = Candidate(
        name="one", model_bytes=boosters["sure"], features=FEATURES, correction=CORRECTIONS["sure"], folds=folds
    )
    found = held_out_margins(as_spark(spark, few), [one], key=["order_id"], has_weight=True).toPandas()
    found, wanted = found.sort_values("row_weight"), few.sort_values("row_weight")
    model = CountedModel(correction=CORRECTIONS["sure"], fold_corrections=(CORRECTIONS["weighed"],))
    margin = np.vstack(found.margins_0).astype(np.float32)
    logs = model.log_probabilities(margin, found.fit_number.to_numpy())
    for fit, name in enumerate(("weighed", "sure")):
        booster, is_fit = xgboost.Booster(model_file=bytearray(boosters[name])), (wanted.fit_number == fit).to_numpy()
        direct = booster.predict(xgboost.DMatrix(matrix(wanted[is_fit])), output_margin=True)
        np.testing.assert_array_equal(margin[is_fit], direct)
        np.testing.assert_array_equal(logs[is_fit], UNCALIBRATED[name].log_probabilities(direct))


def test_a_model_that_is_right_already_keeps_its_temperature(spark: SparkSession) -> None:
    draw = np.random.default_rng(6)
    p = truth(draw.normal(size=(4000, 4)))
    y = (draw.random(4000)[:, None] > p.cumsum(axis=1)).sum(axis=1)
    rows = [(0, i % 64, int(y[i]), np.log(p[i]).tolist()) for i in range(4000)]
    frame = spark.createDataFrame(rows, "fold int, bucket int, y int, margins_0 array<float>")
    models = {"truth": UNCALIBRATED["sure"]}
    found = choose_temperatures(collect_temperature_losses(frame, models, has_weight=False))["truth"]
    assert found.temperature == 1.0
    assert found.sentence.startswith("Not calibrated: temperature ")
    one_half = collect_temperature_losses(frame.where("bucket % 2 = 0"), models, has_weight=False)
    with pytest.raises(DataContractError, match="a half of validation has no row"):
        choose_temperatures(one_half)


@pytest.fixture(scope="module")
def counted(margins: DataFrame) -> dict[str, HeldOutCounts]:
    models = {
        name: CountedModel(
            correction=correction,
            temperature=MulticlassTemperature(temperature=2.0),
            rules={"argmax": ARGMAX, "cost_matrix": COSTLY},
        )
        for name, correction in CORRECTIONS.items()
    }
    grid = LogitGrid(bins=1 << 16)
    found = count_classes(margins, models, grid=grid, segments=["country"], has_weight=True, has_amount=True)
    # As a run keeps them.
    return {name: HeldOutCounts.from_records(json.loads(json.dumps(c.to_records()))) for name, c in found.items()}


@pytest.mark.parametrize("name", CORRECTIONS)
def test_counts_are_those_of_scikit_learn(
    counted: dict[str, HeldOutCounts], in_memory: pd.DataFrame, name: str
) -> None:
    for number, fold in enumerate((VALIDATION, TEST)):
        part = in_memory[in_memory.fold == number]
        p, weight, found = probabilities(part, name, 2.0), part.row_weight.to_numpy(), counted[name]
        assert found.mean_loss(fold, "log_loss") == pytest.approx(
            sk.log_loss(part.y, p, sample_weight=weight), rel=1e-9
        )
        brier = np.average(((p - np.eye(3)[part.y]) ** 2).sum(axis=1), weights=weight)
        assert found.mean_loss(fold, "brier") == pytest.approx(brier, rel=1e-9)
        for rule, matrix_ in (("argmax", ARGMAX), ("cost_matrix", COSTLY)):
            decided = (p @ np.array(matrix_.costs).T).argmin(axis=1)
            confusion = found.counts(fold, rule)
            wanted = sk.confusion_matrix(part.y, decided, labels=[0, 1, 2])
            np.testing.assert_array_equal(confusion.rows, wanted)
            weighed = sk.confusion_matrix(part.y, decided, labels=[0, 1, 2], sample_weight=weight)
            np.testing.assert_allclose(confusion.confusion.weight, weighed, rtol=1e-9)
        ranked = ranking_metrics(found.curves(fold), TargetNames(("a", "b", "c")))
        for k, class_name in enumerate("abc"):
            wanted_ap = sk.average_precision_score(part.y == k, p[:, k], sample_weight=weight)
            certified = found.curves(fold)[k].average_precision_bracket()
            assert certified.low - 1e-9 <= wanted_ap <= certified.high + 1e-9
            assert ranked[f"average_precision/{class_name}"] == certified.value
        wanted_auc = sk.roc_auc_score(part.y, p, sample_weight=weight, multi_class="ovr", average="macro")
        assert ranked["macro_roc_auc"] == pytest.approx(wanted_auc, abs=1e-3)


@pytest.mark.parametrize("name", CORRECTIONS)
def test_segments_and_amounts_of_each_class_are_those_of_numpy(
    counted: dict[str, HeldOutCounts], in_memory: pd.DataFrame, name: str
) -> None:
    part = in_memory[in_memory.fold == 1]
    weighted = (part.row_weight * part.amount_value).to_numpy()
    for k, target in enumerate(counted[name].targets):
        is_class = (part.y == k).to_numpy()
        assert target.test.positive_amount.sum() == pytest.approx(weighted[is_class].sum(), rel=1e-9)
        assert target.test.negative_amount.sum() == pytest.approx(weighted[~is_class].sum(), rel=1e-9)
        segment = target.segments[TEST]["country"]
        assert segment.values == ("DE", "FR", None)
        for number, value in enumerate(segment.values):
            is_here = (part.segment_0.isna() if value is None else part.segment_0 == value).to_numpy()
            assert segment.counts.rows[number, :, 1].sum() == np.sum(is_here & is_class)
            assert segment.counts.rows[number, :, 0].sum() == np.sum(is_here & ~is_class)
            assert segment.counts.amount[number].sum() == pytest.approx(weighted[is_here].sum(), rel=1e-9)


def test_labels_that_are_no_class_are_refused_with_their_number(spark: SparkSession) -> None:
    rows = [(fold, bucket, y, [0.0, 0.0, 0.0]) for fold in (0, 1) for bucket in (0, 1) for y in (0.0, 1.0, 2.0)]
    schema = "fold int, bucket int, y double, margins_0 array<float>"
    frame = spark.createDataFrame([*rows, (0, 0, 3.0, [0.0] * 3), (0, 0, None, [0.0] * 3)], schema)
    model = {"one": CountedModel(correction=CORRECTIONS["sure"], rules={"argmax": ARGMAX})}
    with pytest.raises(DataContractError, match="2 rows have a label that is not a class number, 0 to 2"):
        count_classes(frame, model, grid=LogitGrid(bins=1024), has_weight=False)


def test_thresholds_chosen_later_are_counted_alike(margins: DataFrame, in_memory: pd.DataFrame) -> None:
    model = CountedModel(correction=CORRECTIONS["sure"], rules={"mine": THRESHOLDS})
    found = count_decisions(margins, {"sure": model}, has_weight=True)["sure"]["mine"]
    decided = THRESHOLDS.decide(probabilities(in_memory, "sure"))
    for bucket in (0, 17):
        is_here = (in_memory.fold == 1) & (in_memory.bucket == bucket)
        wanted = sk.confusion_matrix(in_memory.y[is_here], decided[is_here], labels=[0, 1, 2])
        np.testing.assert_array_equal(found.rows[64 + bucket], wanted)
