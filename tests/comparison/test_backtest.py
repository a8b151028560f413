"""The backtest: which days its windows are, what they say of the strategies, and a run that has one."""

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from pydantic import ValidationError
from pyspark.sql import SparkSession
from scipy.stats import kendalltau
from support.mlflow_store import new_store

from imbalance_spark.comparison.backtest import Backtest, WindowScore, score_window
from imbalance_spark.comparison.compare import bundle_of
from imbalance_spark.comparison.report.page import html_page
from imbalance_spark.comparison.run import RunResult, run
from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import parse
from imbalance_spark.core.instants import DAY_US
from imbalance_spark.metrics.buckets import BUCKETS, BucketCounts
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.evaluate import TargetNames
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.metrics.intervals import Interval
from imbalance_spark.metrics.plots import over_time_figure
from imbalance_spark.scoring.held_out import FoldCounts
from imbalance_spark.scoring.score_orders import score_orders
from imbalance_spark.split import SplitPlan
from imbalance_spark.split.config import BacktestConfig, SplitConfig
from imbalance_spark.split.folds import backtest_folds
from imbalance_spark.split.rules import SplitRules
from imbalance_spark.threshold.decisions import decisions_of

FRACTIONS = (("train", 0.6), ("validation", 0.2), ("test", 0.2))


def test_windows_follow_each_other_up_to_the_gap_before_test() -> None:
    rules = SplitRules(key=("order_id",), label="y", seed=7, fractions=FRACTIONS, time="ordered_at", gap_days=2.0)
    split = SplitPlan(rules=rules, boundaries_us=(60 * DAY_US, 80 * DAY_US))
    asked = BacktestConfig(folds=3, train_days=28.0, gap_days=7.0, test_days=7.0)
    windows = backtest_folds(split, asked).windows
    assert [(w.from_ // DAY_US, w.until // DAY_US) for w in windows] == [(57, 64), (64, 71), (71, 78)]
    assert [(w.fit_from // DAY_US, w.fit_until // DAY_US) for w in windows] == [(22, 50), (29, 57), (36, 64)]


def test_a_backtest_without_a_split_by_time_is_refused() -> None:
    with pytest.raises(ValidationError, match="backtest goes along time, and by is key"):
        SplitConfig(backtest=BacktestConfig(train_days=7.0, test_days=7.0))


def score(value: float, ratio: float | None = 1.0) -> WindowScore:
    interval = Interval(
        value=value, low=value / 2, high=min(2 * value, 1.0), level=0.95, standard_error=0.1, positives=40, warning=None
    )
    return WindowScore(average_precision=interval if math.isfinite(value) else None, cost=10.0, ratio=ratio)


def backtest_of(values: dict[str, list[float]]) -> Backtest:
    windows = len(next(iter(values.values())))
    return Backtest(
        windows=tuple(f"week {n}" for n in range(windows)),
        rows=(100,) * windows,
        positives=(10,) * windows,
        scores={name: tuple(map(score, of_windows)) for name, of_windows in values.items()},
    )


def test_the_agreement_is_the_mean_of_kendalls_tau_over_all_pairs_of_windows() -> None:
    values = {"none": [0.3, 0.4, 0.2], "class_weight": [0.2, 0.3, 0.3], "focal": [0.1, 0.5, 0.1]}
    by_window = np.array(list(values.values())).T
    expected = np.mean([kendalltau(by_window[i], by_window[j]).statistic for i, j in ((0, 1), (0, 2), (1, 2))])
    backtest = backtest_of(values)
    assert backtest.agreement == pytest.approx(expected)
    said = list(backtest.lines())
    assert said[0].endswith("none (week 0), focal (week 1), class_weight (week 2).")
    assert f"tau of {expected:.2f}" in said[1]


def test_a_window_without_positives_leaves_the_order_undecided() -> None:
    backtest = backtest_of({"none": [0.3, math.nan], "focal": [0.1, math.nan]})
    assert backtest.agreement is None
    assert not list(backtest.lines())
    table = backtest.table()
    assert table["average precision"].isna().tolist() == [False, True, False, True]
    assert backtest_of({"none": [0.3, 0.2]}).agreement is None


def test_the_picture_has_a_line_for_each_strategy_and_leaves_out_what_is_undefined() -> None:
    values = {"none": [0.3, math.nan, 0.2], "focal": [0.1, 0.2, 0.3]}
    figure = over_time_figure(["a", "b", "c"], {"average precision": values, "mean p / rate": values}, "t")
    assert [axes.get_ylabel() for axes in figure.axes] == ["average precision", "mean p / rate"]
    none, focal = figure.axes[0].get_lines()
    assert (none.get_xdata().tolist(), focal.get_xdata().tolist()) == ([0.0, 2.0], [0.0, 1.0, 2.0])
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["none", "focal"]


def test_a_window_costs_what_the_decisions_order_by_order_do() -> None:
    draw = np.random.default_rng(4)
    p, amount = draw.beta(0.5, 8.0, 4000), draw.lognormal(3.0, 1.5, 4000)
    label, bucket = draw.random(4000) < p, draw.integers(0, BUCKETS, 4000)
    counted = ScoreCounts.from_arrays(label, p, None, amount)
    buckets = BucketCounts.from_arrays(bucket, label, p, None, amount)
    flagged = p * amount > (1 - p) * 20
    by_order = ScoreCounts.from_arrays(label, np.where(flagged, 0.75, 0.25), None, amount, grid=LogitGrid(bins=2))
    decisions = decisions_of([{"name": "min_cost", "fn": "amount", "fp": 20}], "min_cost_fn_amount_fp_20")
    found = {
        decided: score_window(FoldCounts(targets=((counted, buckets),), decided=decided), decisions, TargetNames(("",)))
        for decided in (None, by_order)
    }
    cost = np.where(flagged, np.where(label, 0.0, 20.0), np.where(label, amount, 0.0)).mean() * 1000.0
    assert found[by_order].cost == pytest.approx(cost)
    assert found[by_order].cost < found[None].cost  # of the best single threshold


def check_budget_of_cards(spark: SparkSession, result: RunResult, delay: int) -> None:
    """On validation no more than six cards a day are flagged on average, and by the next lower score too many."""
    prepared, bundle = result.comparison.prepared, bundle_of(result.comparison, result.best)
    rows = prepared.orders.where("split = 'validation'")
    scores = score_orders(rows, bundle, model_version="1", scored_at=datetime(2024, 5, 1, tzinfo=UTC)).toPandas()
    scores["day"] = (pd.to_datetime(scores.ordered_at).dt.normalize() - pd.Timestamp("2024-01-01")).dt.days
    days = scores.groupby(["day", "card_id"]).agg(score=("probability", "max"), bad=("is_fraud", "max")).reset_index()

    def flagged(threshold: float) -> int:
        """Cards of each day, without those that were found more than the delay before."""
        found: dict[int, int] = {}
        number = 0
        for one in days[days.score >= threshold].sort_values("day").itertuples():
            if found.get(one.card_id, one.day) + delay >= one.day:
                number += 1
                if one.bad:
                    found.setdefault(one.card_id, one.day)
        return number

    budget = result.best.scored.objectives["top_entities_6_per_day"]
    entities = int(budget.per_day * budget.days)
    threshold = result.best.chosen["top_entities_6_per_day"].by_target[0].threshold
    assert 0 < flagged(threshold) <= entities < flagged(days.score[days.score < threshold].max())
    assert flagged(threshold) < (days.score >= threshold).sum()  # some were taken out
    orders = int((scores.probability >= threshold).sum())
    assert budget.orders_per_entity == pytest.approx(orders / flagged(threshold))
    assert result.best.metrics["validation/entities/orders_per_entity"] == budget.orders_per_entity


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backtest")


def test_a_run_tells_and_logs_what_each_window_and_the_top_cards_gave(spark: SparkSession, home: Path) -> None:
    draw, rows = np.random.default_rng(3), 2000
    x = draw.normal(size=rows)
    orders = pd.DataFrame(
        {
            "order_id": np.arange(rows), "x": x, "is_fraud": (x + draw.normal(0, 0.5, rows) > 1.2).astype(int),
            "card_id": draw.integers(0, 60, rows),
            "ordered_at": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(rows), unit="h"),
        }
    )  # fmt: skip
    config = parse(
        {
            "name": "drift",
            "output": f"{home}/output",
            "orders": {"key": ("order_id",), "label": "is_fraud", "numeric": ("x",), "time": "ordered_at"},
            "split": {"by": "time", "backtest": {"folds": 2, "train_days": 20.0, "gap_days": 1.0, "test_days": 10.0}},
            "evaluation": "holdout",
            "training": {"num_workers": 1, "rounds": 4, "early_stopping_rounds": 4, "params": {"max_depth": 2}},
            "strategies": ("none",),
            "scoring": {"bins": 2048, "entity": "card_id", "top_entities": 2, "label_delay_days": 3},
            "objectives": (
                {"name": "min_cost", "fn": 10, "fp": 1},
                {"name": "top_entities", "per_day": 6},
            ),
            "tracking": {"uri": new_store(home), "experiment": "drift"},
        },
        RunConfig,
        "here",
    )
    result = run(spark, config, spark.createDataFrame(orders).coalesce(1), quiet=True)
    backtest = result.comparison.backtest
    boundary = result.comparison.prepared.plan.boundaries_us[-1]
    end = pd.Timestamp(boundary, unit="us")
    for number, window in enumerate(backtest.windows):
        start = end - pd.Timedelta(days=10 * (2 - number))
        is_here = (orders.ordered_at >= start) & (orders.ordered_at < start + pd.Timedelta(days=10))
        assert window == f"{start:%Y-%m-%d} to {start + pd.Timedelta(days=10, microseconds=-1):%Y-%m-%d}"
        assert (backtest.rows[number], backtest.positives[number]) == (is_here.sum(), orders.is_fraud[is_here].sum())
    assert all(value > 0.5 for value in backtest.values("none", "average_precision"))
    assert all(0.3 < ratio < 3.0 for ratio in backtest.values("none", "ratio"))
    assert backtest.windows[0] in result.text()
    test = {name: result.best.metrics[f"test/entities/{name}"] for name in ("precision", "recall", "caught")}
    assert all(0.0 < value <= 1.0 for value in test.values())
    check_budget_of_cards(spark, result, delay=config.scoring.label_delay_days)
    assert "Flagging the top 2 by card_id of each day:" in result.text()
    page = html_page(result.comparison, {})
    assert all(f"<h2>{title}</h2>" in page for title in ("Over time", "Entities"))
    client = MlflowClient(config.tracking.uri)
    [nested] = client.search_runs([result.logged.experiment_id], "attributes.run_name = 'none'")
    logged = [metric.value for metric in client.get_metric_history(nested.info.run_id, "backtest/average_precision")]
    assert logged == backtest.values("none", "average_precision")
