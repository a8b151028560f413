"""Simulated days by the jobs alone: train, score, monitor, retune on an alarm; what held on all of them."""

import argparse
import contextlib
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml
from pyspark.sql import SparkSession

from benchmarks.simulated_days import (
    COSTS,
    MODEL,
    Day,
    Shop,
    judged_orders,
    orders_of_days,
    realised_by_day,
    simulated_days,
)
from imbalance_spark.core.arrays import logit, sigmoid
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.monitoring.expected import METRICS
from imbalance_spark.orders.datasets.population import CATEGORICAL_FEATURES, NUMERIC_FEATURES
from imbalance_spark.orders.datasets.synthetic_plan import OrderShift
from jobs import train

_NUMERIC = tuple(name for name in NUMERIC_FEATURES if name != "day_of_week")  # the days are alike
_STRATEGIES = ["none", "class_weight", "balanced_sketch"]
_SETTINGS = {"spark.sql.shuffle.partitions": "2", "spark.ui.enabled": "false", "spark.log.level": "ERROR"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--shift-day", type=int, default=30, help="number of the first day, from 0, that is shifted")
    parser.add_argument("--shift", default="label=2.5", metavar="KIND=SIZE", help="as of jobs/generate_orders.py")
    parser.add_argument("--orders-per-day", type=int, default=2_000)
    parser.add_argument("--history-days", type=int, default=20, help="days of orders that the model is trained on")
    parser.add_argument("--home", type=Path, help="new folder for tables and the MLflow store, kept (a temporary one)")


def run(args: argparse.Namespace) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder, spark_session("bench-days", "local[2]", _SETTINGS) as spark:
        shop = shop_of(args, Path(folder))
        train_model(spark, shop, args.history_days)
        print(f"{'day':<12} {'version':>7} {'base rate':>9}  alarms")
        days = [_shown(day) for day in simulated_days(spark, shop)]
        orders = judged_orders(spark, shop)
    found = summary(shop, days, orders)
    for name, value in found.items():
        print(f"{name:<28} {value}")
    asked = {name: value for name, value in vars(args).items() if name not in ("name", "home")}
    return {**asked, **found}


def shop_of(args: argparse.Namespace, folder: Path) -> Shop:
    """The simulation that the command line asks for, in a folder that is there."""
    home = folder if args.home is None else args.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    return Shop(
        home=home, uri=f"sqlite:///{home}/mlflow.db", numeric=_NUMERIC, categorical=CATEGORICAL_FEATURES,
        days=args.days, shift_day=args.shift_day, shift=OrderShift.parse(args.shift), orders_a_day=args.orders_per_day,
    )  # fmt: skip


def train_model(spark: SparkSession, shop: Shop, history_days: int) -> None:
    """The main job on the days before the first, half of which judge: what a monitor knows is as good as validation."""
    orders_of_days(spark, shop, -history_days, 0).drop("day").write.parquet(f"{shop.home}/history")
    config = {
        "name": "shop", "output": f"{shop.home}/runs", "strategies": _STRATEGIES, "evaluation": "holdout",
        "orders": {
            "source": {"path": f"{shop.home}/history", "format": "parquet"}, "key": ["order_id"],
            "label": "is_fraud", "time": "ordered_at", "amount": "amount",
            "numeric": [*shop.numeric], "categorical": [*shop.categorical],
        },
        "split": {"fractions": {"train": 0.4, "validation": 0.5, "test": 0.1}},
        "training": {"num_workers": 1, "rounds": 60, "early_stopping_rounds": 10, "params": {"max_depth": 4}},
        "objectives": [{"name": "min_cost", "fn": COSTS.fn, "fp": COSTS.fp}],
        "scoring": {"segments": ["country"]},
        "tracking": {"uri": shop.uri, "experiment": "shop", "registered_model": MODEL},
    }  # fmt: skip
    file = shop.home / "shop.yaml"
    file.write_text(yaml.safe_dump(config), "utf-8")
    with contextlib.chdir(shop.home):  # MLflow puts a new experiment's artifacts below it
        if train.main(["--config", str(file)]) != 0:
            raise SystemExit("jobs/train.py failed, see its last line")


def _shown(day: Day) -> Day:
    rate = day.estimates["base_rate"].value
    print(f"{day.report['day']:<12} {day.champion:>7} {rate:>9.4f}  {', '.join(sorted(day.alarms))}", flush=True)
    return day


def summary(shop: Shop, days: Sequence[Day], orders: pd.DataFrame) -> dict[str, object]:
    """What held, and how often."""
    realised, champions = realised_by_day(orders), {day.number: day.champion for day in days}
    is_right = orders["model_version"] == orders["day"].map(champions)
    again = [day.again == day.report for day in days if day.again is not None]
    alarms = [day.number for day in days if day.code == 4]
    held = {
        about: {
            name: f"{sum(day.estimates[name].holds(realised[day.number][name]) for day in those)} of {len(those)}"
            for name in METRICS
        }
        for about, those in (
            ("by_first_version", [day for day in days if day.champion == "1"]),
            ("by_retuned_versions", [day for day in days if day.champion != "1"]),
        )
    }
    return {
        "orders": len(orders),
        "scored_twice_or_otherwise": len(orders) - int(orders["order_id"].nunique()) + int((~is_right).sum()),
        "never_scored": len(days) * shop.orders_a_day - int(orders["order_id"].nunique()),
        "monitored_again": len(again),
        "monitored_again_differs": again.count(False),
        "alarms_before_shift": sum(number < shop.shift_day for number in alarms),
        "first_alarm_after_days": min((n - shop.shift_day for n in alarms if n >= shop.shift_day), default=None),
        "later_alarms": sum(number > shop.shift_day for number in alarms),
        "retuned": sum(day.retuned is not None for day in days),
        "held": held,
        **_costs(shop, days, orders),
    }


def _costs(shop: Shop, days: Sequence[Day], orders: pd.DataFrame) -> dict[str, object]:
    """What decisions cost from the day after the shift on, as they were served and by the first version."""
    shifts = {"1": 0.0}
    for day in days:
        if day.retuned is not None:
            new, old = day.retuned["base_rate"]["new"], day.retuned["base_rate"]["validation"]["rate"]
            shifts[day.retuned["registered"]["version"]] = math.log(new / (1.0 - new)) - math.log(old / (1.0 - old))
    later = orders[orders["day"] > shop.shift_day]
    # Versions differ by the shift of their log-odds alone.
    first = sigmoid(logit(later["probability"].to_numpy()) - later["model_version"].map(shifts).to_numpy())

    def cost(flagged: npt.NDArray[np.bool_]) -> float:
        is_fraud = later["is_fraud"].to_numpy() == 1
        return float(COSTS.fn * np.sum(is_fraud & ~flagged) + COSTS.fp * np.sum(~is_fraud & flagged))

    return {
        "cost_served": cost(later["decision"].to_numpy() == 1),
        "cost_by_first_version": cost(first >= days[0].scored["threshold"]),
    }
