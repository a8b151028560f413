"""Days of generated orders that go through the jobs: scored, labelled late, monitored; an alarm retunes the model."""

import contextlib
import io
import json
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from mlflow.tracking import MlflowClient
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.columns import TRUE_PROBABILITY
from imbalance_spark.monitoring.cells import LabelledCells
from imbalance_spark.monitoring.expected import Costs, Estimate, realised
from imbalance_spark.orders.datasets.synthetic import generate_orders
from imbalance_spark.orders.datasets.synthetic_plan import OrderShift
from jobs import monitor, retune, score

FIRST, PREVALENCE, SEED = date(2024, 5, 6), 0.05, 11
COSTS, MODEL = Costs(fn=10.0, fp=1.0), "orders"
LEVEL = 0.0025  # of the monitor's tests, the lowest: most of 60 days are to pass in silence without a shift


@dataclass(frozen=True, kw_only=True)
class Shop:
    """What is simulated.

    Args:
        home: a folder without orders.
        uri: of the MLflow store, whose model `orders` has a champion.
        numeric, categorical: features of that model.
        days: of orders that arrive, from `FIRST` on.
        shift_day: number of the first day, from 0, that is shifted.
        shift: by which; the default has 2.5 times the fraud.
        orders_a_day: that arrive.
        label_delay_days: after which the labels of a day are complete.
    """

    home: Path
    uri: str
    numeric: Sequence[str]
    categorical: Sequence[str] = ()
    days: int
    shift_day: int
    shift: OrderShift = field(default_factory=lambda: OrderShift(kind="label", size=2.5))
    orders_a_day: int = 2_000
    label_delay_days: int = 7

    def day(self, number: int) -> date:
        """The date of a day by its number, from 0."""
        return FIRST + timedelta(days=number)


@dataclass(frozen=True, kw_only=True)
class Day:
    """What the jobs said of one day.

    Args:
        champion: version that the alias named before the day's orders were scored.
        scored: JSON of `jobs/score.py`.
        code, report: exit code and JSON of `jobs/monitor.py`.
        again: JSON of a second run of it, where an alarm fires and on each tenth day; None on the others.
        retuned: JSON of `jobs/retune.py`, where an alarm asked for it.
    """

    number: int
    champion: str
    scored: dict[str, Any]
    code: int
    report: dict[str, Any]
    again: dict[str, Any] | None
    retuned: dict[str, Any] | None

    @property
    def alarms(self) -> set[str]:
        """Names of the alarms that fire."""
        return {alarm["name"] for alarm in self.report["alarms"]}

    @property
    def estimates(self) -> dict[str, Estimate]:
        """Of the day's orders, those that the verdict is for."""
        [version] = self.report["versions"]
        name = "expected_at_new_base_rate" if version["verdict"] == "label" else "expected"
        return {metric: Estimate(**found) for metric, found in version[name].items()}


def simulated_days(spark: SparkSession, shop: Shop) -> Iterator[Day]:
    """Each day orders and labels arrive, orders are scored, the day is monitored, and an alarm's command is run."""
    _write_orders(spark, shop)
    _write_config(shop)
    with contextlib.chdir(shop.home):  # MLflow puts a new experiment's artifacts below it
        for number in range(shop.days):
            _arrive(spark, shop, number)
            yield _day(shop, number)


def orders_of_days(spark: SparkSession, shop: Shop, first: int, end: int, shift: OrderShift | None = None) -> DataFrame:
    """Generated orders with the number of their `day`, from `first` to before `end`; below 0 are days before the first.

    Days are alike but for the shift: each has `orders_a_day` orders of the same distribution, and keys of its own.
    """
    rows = (end - first) * shop.orders_a_day
    log = generate_orders(
        spark, rows=rows, prevalence=PREVALENCE, seed=SEED + first, start=FIRST.isoformat(), days=1, partitions=2,
        shift=shift,
    )  # fmt: skip
    number = F.lit(first) + F.floor(F.col("order_id") / shop.orders_a_day).cast("int")
    key = F.col("order_id") + F.lit(first * shop.orders_a_day)
    return log.withColumns({"day": number, "ordered_at": _days_after(F.col("ordered_at"), number), "order_id": key})


def judged_orders(spark: SparkSession, shop: Shop) -> pd.DataFrame:
    """Every row of the scored table with what became of its order: as many rows as orders have arrived."""
    scored = spark.read.format("delta").load(f"{shop.home}/scored")
    served = scored.select("order_id", "probability", "decision", "model_version")
    outcomes = spark.read.parquet(f"{shop.home}/outcomes").drop("known_day")
    return served.join(outcomes, on="order_id", how="inner").orderBy("order_id").toPandas()


def realised_by_day(orders: pd.DataFrame) -> dict[int, dict[str, float | None]]:
    """What the labels say of each day's decisions, by its number."""
    found = {}
    for number, rows in orders.groupby("day"):
        day = LabelledCells.of_rows(rows["is_fraud"], rows["probability"], rows["decision"])
        found[int(number)] = realised(day.cells, day.positives, COSTS)
    return found


def _write_orders(spark: SparkSession, shop: Shop) -> None:
    """All that will arrive: each day's orders, and their outcomes by the day on which they become known."""
    quiet = orders_of_days(spark, shop, 0, shop.shift_day)
    shifted = orders_of_days(spark, shop, shop.shift_day, shop.days, shop.shift)
    orders = quiet.unionByName(shifted).cache()
    features = ["order_id", "ordered_at", *shop.numeric, *shop.categorical]
    orders.select("day", *features).repartition(2, "day").write.partitionBy("day").parquet(f"{shop.home}/coming")
    known_day = F.col("day") + F.pmod(F.xxhash64("order_id"), F.lit(shop.label_delay_days + 1)).cast("int")
    known_at = _days_after(F.col("ordered_at"), known_day - F.col("day"))
    outcomes = orders.select(
        "order_id", "day", "is_fraud", TRUE_PROBABILITY, known_at.alias("known_at"), known_day.alias("known_day")
    )
    outcomes.repartition(2, "known_day").write.partitionBy("known_day").parquet(f"{shop.home}/outcomes")
    orders.unpersist()


def _days_after(time: Column, days: Column) -> Column:
    return time + F.make_dt_interval(days)


def _write_config(shop: Shop) -> None:
    """What the monitor reads."""
    home = shop.home
    config = {
        "name": "shop", "output": f"{home}/runs", "strategies": ["none"],
        "orders": {
            "label": "is_fraud", "time": "ordered_at", "numeric": [*shop.numeric], "categorical": [*shop.categorical],
        },
        "objectives": [{"name": "min_cost", "fn": COSTS.fn, "fp": COSTS.fp}],
        "tracking": {"uri": shop.uri, "experiment": "days", "registered_model": MODEL},
        "monitoring": {
            "scored": f"{home}/scored", "output": f"{home}/counts", "labels": f"{home}/labels",
            "known_at": "known_at", "label_delay_days": shop.label_delay_days, "window_days": 1,
            "reference_days": max(shop.shift_day // 2, 1), "level": LEVEL,
        },
    }  # fmt: skip
    (home / "days.yaml").write_text(yaml.safe_dump(config), "utf-8")


def _arrive(spark: SparkSession, shop: Shop, number: int) -> None:
    """The day's files of orders, and the labels that become known on it."""
    arrived = shop.home / "orders"
    arrived.mkdir(exist_ok=True)
    for place, file in enumerate(sorted((shop.home / f"coming/day={number}").glob("*.parquet"))):
        shutil.move(file, arrived / f"{number:04}_{place}.parquet")
    known = spark.read.parquet(f"{shop.home}/outcomes/known_day={number}").select("order_id", "is_fraud", "known_at")
    known.write.format("delta").mode("append").save(f"{shop.home}/labels")


def _day(shop: Shop, number: int) -> Day:
    champion = str(MlflowClient(shop.uri).get_model_version_by_alias(MODEL, "champion").version)
    _, scored = score_arrived(shop)
    asked = ["--config", f"{shop.home}/days.yaml", "--day", shop.day(number).isoformat(), "--json"]
    code, report = _run(monitor.main, *asked)
    again = _run(monitor.main, *asked)[1] if code == 4 or number % 10 == 0 else None
    [version] = report["versions"]
    retuned = None
    if code == 4 and version["command"]:
        python, job, *more = shlex.split(version["command"])
        assert (python, job) == ("python", "jobs/retune.py")  # of the page, to be run as it is
        _, retuned = _run(retune.main, *more, "--json")
    return Day(
        number=number, champion=champion, scored=scored, code=code, report=report, again=again, retuned=retuned
    )  # fmt: skip


def score_arrived(shop: Shop) -> tuple[int, dict[str, Any]]:
    """Score what has arrived since the last time with the champion: exit code and JSON of `jobs/score.py`."""
    return _run(
        score.main, "--model", f"models:/{MODEL}@champion", "--input", f"{shop.home}/orders", "--format", "parquet",
        "--incremental", "--output", f"{shop.home}/scored", "--tracking-uri", shop.uri, "--json",
    )  # fmt: skip


def _run(job: Callable[[Sequence[str]], int], *arguments: str) -> tuple[int, dict[str, Any]]:
    """A job's exit code and its last line as JSON.

    Raises:
        RuntimeError: it ended otherwise than with 0 or an alarm; with its last line.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = job(arguments)
    if code not in (0, 4):
        raise RuntimeError(f"{job.__module__} ended with {code}: {err.getvalue().strip().splitlines()[-1]}")
    last = out.getvalue().strip().splitlines()[-1]
    return code, json.loads(last) if last.startswith("{") else {}
