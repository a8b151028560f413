"""Few positives: every row of train and validation judges, scored by a fit that has not seen it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from support.mlflow_store import new_store

from imbalance_spark.comparison.cross_fit import Evaluation, evaluation_of
from imbalance_spark.comparison.run import RunResult, run
from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import parse

ROWS, FOLDS = 900, 3


def orders(positives: int) -> pd.DataFrame:
    """900 orders, of which so many are fraud: those with the highest of a noisy score."""
    draw = np.random.default_rng(11)
    x = draw.normal(size=(ROWS, 2))
    rank = np.argsort(np.argsort(-(x[:, 0] + draw.normal(0, 0.5, ROWS))))
    return pd.DataFrame(
        {"order_id": np.arange(ROWS), "x": x[:, 0], "z": x[:, 1], "is_fraud": (rank < positives).astype(int)}
    )


def config_of(home: Path, name: str = "few", **changes: object) -> RunConfig:
    settings = {
        "name": name,
        "output": f"{home}/output",
        "orders": {"key": ("order_id",), "label": "is_fraud", "numeric": ("x", "z")},
        "split": {"fractions": {"train": 0.6, "validation": 0.2, "test": 0.2}, "cross_fit_folds": FOLDS},
        "training": {"num_workers": 1, "rounds": 6, "early_stopping_rounds": 6, "params": {"max_depth": 2}},
        "strategies": ("none", "class_weight"),
        "scoring": {"bins": 2048},
        "tracking": {"uri": f"sqlite:///{home}/mlflow.db", "experiment": "few", "registered_model": "few"},
        **changes,
    }
    return parse(settings, RunConfig, "here")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("few")
    new_store(home)
    return home


def run_of(spark: SparkSession, home: Path, positives: int) -> RunResult:
    frame = spark.createDataFrame(orders(positives)).coalesce(1)
    return run(spark, config_of(home, f"of-{positives}"), frame, quiet=True)


@pytest.fixture(scope="module")
def thirty(spark: SparkSession, home: Path) -> RunResult:
    return run_of(spark, home, 30)


def test_thirty_positives_end_in_a_champion_with_wide_intervals(thirty: RunResult) -> None:
    by_split, best = thirty.comparison.prepared.diagnosis.by_split, thirty.best
    known = by_split["train"][1] + by_split["validation"][1]
    interval = best.intervals["validation/average_precision"]
    assert (thirty.decision.outcome, interval.positives) == ("promote", known)
    # Chance is the share of positives, 1 in 30.
    assert best.metrics["test/average_precision"] > 0.2
    assert interval.low < best.metrics["test/average_precision"] < interval.high
    assert interval.high - interval.low > 0.2
    assert interval.warning.startswith(f"Only {known} positive rows")
    assert f"counted on train and validation together, each row scored by one of {FOLDS} fits" in thirty.text()


def test_train_and_validation_are_counted_once_and_test_by_the_model_that_serves(thirty: RunResult) -> None:
    by_split = thirty.comparison.prepared.diagnosis.by_split
    for result in thirty.comparison.results:
        counts, fitted = result.held_out.target, result.fitted
        for label, rows in ((1, counts.validation.positives), (0, counts.validation.negatives)):
            assert rows.sum() == by_split["train"][label] + by_split["validation"][label]
        assert counts.test.positives.sum() == by_split["test"][1]
        assert len(fitted.folds) == FOLDS
        # What a fold's fit learned from, and stopped on, is less than what serves.
        assert all(sum(fold.fit_rows.values()) < sum(fitted.fit_rows.values()) for fold in fitted.folds)
        assert len({fold.booster.model_bytes for fold in (fitted, *fitted.folds)}) == FOLDS + 1


def test_each_fit_of_a_fold_and_the_counts_are_steps_of_the_run(thirty: RunResult) -> None:
    run = thirty.comparison.prepared.run
    for strategy in ("none", "class_weight"):
        assert all(run.part(f"fold_{fold}").is_done(f"fit_{strategy}") for fold in range(FOLDS))
        assert run.is_done(f"counts_{strategy}")


def test_five_positives_end_without_advice_and_with_a_calibrated_model(spark: SparkSession, home: Path) -> None:
    result = run_of(spark, home, 5)
    best = next(one for one in result.comparison.results if one.name == result.advice.use)
    assert (best.name, result.comparison.prepared.evaluation.rarest) == ("none", 1)
    assert "Undecided: validation has" in result.text()
    # As the model serves: on test, whose rate is 1 in 180.
    [test] = best.curves["test"]
    assert 0.2 < test.mean_score() / test.prevalence() < 5.0
    assert best.intervals["validation/average_precision"].warning.startswith("Only 4 positive rows")


def test_three_classes_are_cross_fitted_alike(spark: SparkSession, home: Path) -> None:
    frame = orders(60)
    frame["outcome"] = np.where(frame.is_fraud == 0, "ok", np.where(frame.order_id % 2 == 0, "late", "fraud"))
    config = config_of(
        home,
        "classes",
        orders={"label": "outcome", "classes": ("ok", "late", "fraud"), "numeric": ("x", "z")},
        split={"fractions": {"train": 0.6, "validation": 0.2, "test": 0.2}, "cross_fit_folds": 2},
        strategies=("none",),
        objectives=({"name": "max_f_beta", "beta": 1.0},),
        serve_objective="max_f1",
        tracking={"uri": f"sqlite:///{home}/mlflow.db", "experiment": "few"},
    )
    result = run(spark, config, spark.createDataFrame(frame).coalesce(1), quiet=True)
    by_split, best = result.comparison.prepared.diagnosis.by_split, result.best
    for label, target in enumerate(best.held_out.targets):
        known = by_split["train"][label] + by_split["validation"][label]
        assert target.validation.positives.sum() == known
        assert target.test.positives.sum() == by_split["test"][label]
    confusion = best.held_out.confusions["max_f1"].of("validation")
    assert confusion.support.sum() == sum(by_split["train"].values()) + sum(by_split["validation"].values())
    assert "Cross-fitted, since validation has" in result.text()


COUNTS = {"train": {0: 800, 1: 12}, "validation": {0: 200, 1: 3}, "test": {0: 200, 1: 3}}
MANY = {**COUNTS, "validation": {0: 200, 1: 100}}


@pytest.mark.parametrize(
    ("asked", "by_split", "expected"),
    [
        ("auto", COUNTS, Evaluation(method="cross_fit", rarest=3, folds=5)),
        ("auto", MANY, Evaluation(method="holdout", rarest=100)),
        ("cross_fit", MANY, Evaluation(method="cross_fit", rarest=100, folds=5)),
        ("holdout", COUNTS, Evaluation(method="holdout", rarest=3)),
        ("auto", {**COUNTS, "train": {0: 800, 1: 1}}, Evaluation(method="cross_fit", rarest=3, folds=4)),
    ],
)
def test_rows_are_cross_fitted_where_validation_has_few_of_the_rarest_class(
    tmp_path: Path, asked: str, by_split: dict[str, dict[int, int]], expected: Evaluation
) -> None:
    config = config_of(tmp_path, evaluation=asked, split={})
    assert evaluation_of(config, by_split) == expected


def test_the_fits_are_counted_before_they_run(tmp_path: Path) -> None:
    strategies = ("none", {"kind": "undersample_ensemble", "members": 3})
    config = config_of(tmp_path, strategies=strategies)
    # Four fits of plain boosting, and of each of three members.
    assert evaluation_of(config, COUNTS).cost(config).endswith("3 folds and all rows, 4 fits per strategy, 16 in all")
