"""Three classes with what two always had: segments, amounts, brackets, other metrics to stop by, any strategy."""

from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from support.mlflow_store import new_store

from imbalance_spark.comparison.run import RunResult, run
from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import parse
from imbalance_spark.core.errors import ConfigError

CLASSES = ("ok", "late", "fraud")
COSTS = {"ok": {"late": 1, "fraud": 8}, "late": {"ok": 5, "fraud": 8}, "fraud": {"ok": 80, "late": 80}}
STRATEGIES = [
    "none",
    {"kind": "smote", "sampling_strategy": {"fraud": 300}},
    {"kind": "undersample_ensemble", "members": 2, "sampling_strategy": {"ok": 600}},
    "scale_pos_weight", "class_weight_power", "asymmetric_focal", {"kind": "logistic_class_weight", "max_iter": 10},
]  # fmt: skip


@pytest.fixture(scope="module")
def orders() -> pd.DataFrame:
    draw = np.random.default_rng(3)
    x = draw.normal(size=(4000, 2))
    late, fraud = x[:, 0] + draw.normal(0, 0.7, 4000) > 1.5, x[:, 1] + draw.normal(0, 0.7, 4000) > 1.9
    return pd.DataFrame(
        {
            "order_id": np.arange(4000), "x": x[:, 0], "z": x[:, 1], "amount": draw.gamma(2.0, 30.0, 4000),
            "country": np.where(draw.random(4000) < 0.3, "DE", "FR"),
            "outcome": np.where(fraud, "fraud", np.where(late, "late", "ok")),
        }
    )  # fmt: skip


def config_of(home: Path, **changes: object) -> RunConfig:
    settings = {
        "name": "unlocked",
        "output": f"{home}/output",
        "orders": {"label": "outcome", "classes": CLASSES, "numeric": ["x", "z"], "amount": "amount"},
        "split": {"fractions": {"train": 0.5, "validation": 0.25, "test": 0.25}},
        "training": {"num_workers": 1, "rounds": 8, "early_stopping_rounds": 4, "params": {"max_depth": 3}},
        "strategies": STRATEGIES,
        "evaluation": "holdout",
        "objectives": [
            {"name": "cost_matrix", "costs": COSTS},
            {"name": "max_f_beta", "beta": 1.0},
            {"name": "min_cost", "fn": "amount", "fp": 20.0},
        ],
        "serve_objective": "cost_matrix",
        "scoring": {"segments": ["country"], "bins": 4096},
        "tracking": {"uri": new_store(home), "experiment": "unlocked", "registered_model": "unlocked"},
        **changes,
    }
    return parse(_frozen(settings), RunConfig, "here")


def _frozen(value: object) -> object:
    """Lists as tuples, as a config holds them."""
    if isinstance(value, dict):
        return {name: _frozen(one) for name, one in value.items()}
    return tuple(_frozen(one) for one in value) if isinstance(value, list | tuple) else value


@pytest.fixture(scope="module")
def result(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, orders: pd.DataFrame) -> RunResult:
    home = tmp_path_factory.mktemp("unlocked")
    training = {
        "num_workers": 1, "rounds": 8, "early_stopping_rounds": 4, "params": {"max_depth": 3},
        "early_stopping_metric": "average_precision",
    }  # fmt: skip
    frame = spark.createDataFrame(orders).repartition(2)
    return run(spark, config_of(home, training=training), frame, quiet=True)


def test_every_strategy_ranks_each_class_better_than_chance(result: RunResult) -> None:
    shares = {"ok": 0.8, "late": 0.09, "fraud": 0.06}
    for found in result.comparison.results:
        for name, share in shares.items():
            assert found.metrics[f"test/average_precision/{name}"] > 1.3 * share or name == "ok", found.name
        assert found.metrics["test/macro_average_precision"] > 0.4, found.name
    assert len(result.comparison.results) == len(STRATEGIES)


def test_counts_have_segments_and_amounts_of_each_class(result: RunResult, orders: pd.DataFrame) -> None:
    target = result.best.held_out.targets[2]
    by_country = target.by_segment("test", "country")
    assert set(by_country) == {"DE", "FR"}
    positives = sum(int(counts.positives.sum()) for counts in by_country.values())
    assert positives == int(target.test.positives.sum()) > 0
    missed = target.test.curve().missed_amount
    assert missed is not None
    assert missed[0] > missed[-1] == 0.0  # nothing is missed where all rows are flagged
    assert "test/min_cost_fn_amount_fp_20/macro_recall" in result.best.metrics


def test_the_evidence_has_brackets_and_segments_of_each_class(result: RunResult) -> None:
    runs = mlflow.search_runs(experiment_names=["unlocked"]).dropna(subset=["tags.mlflow.parentRunId"])
    assert set(runs["status"]) == {"FINISHED"}
    low, high = (runs[f"metrics.test/average_precision/fraud/bracket_{end}"] for end in ("low", "high"))
    assert (low <= runs["metrics.test/average_precision/fraud"]).all()
    assert (high >= runs["metrics.test/average_precision/fraud"]).all()
    segments = mlflow.artifacts.load_dict(f"runs:/{runs['run_id'].iloc[0]}/segments.json")
    assert 0.0 < segments["country"]["DE"]["average_precision/fraud"] <= 1.0


def test_a_run_shows_itself_in_a_notebook(result: RunResult) -> None:
    shown = result._repr_html_()
    assert "Advised: " in shown
    assert "<table" in shown
    assert "comparison" in result.figures
    assert "What errors cost" in result.report_html
    assert result.best.name in result.report_html
    assert result.advice.plain == "none"


def test_boosting_may_stop_by_the_cost_of_the_cost_matrix(
    spark: SparkSession, tmp_path: Path, orders: pd.DataFrame
) -> None:
    training = {"num_workers": 1, "rounds": 6, "early_stopping_rounds": 3, "early_stopping_metric": "expected_cost"}
    config = config_of(tmp_path, training=training, strategies=["none"], serve_objective="likeliest")
    result = run(spark, config, spark.createDataFrame(orders), quiet=True)
    assert result.comparison.serving == "argmax"  # the old word still works
    assert result.best.fitted.booster.learning_curve


def test_an_isolation_forest_is_refused_for_three_classes_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="isolation_forest"):
        config_of(tmp_path, strategies=["isolation_forest"])
