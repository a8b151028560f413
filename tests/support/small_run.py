"""The config of a small run of the main job, weak or strong, for tests of what happens to its model."""

import functools
import shutil
import tempfile
from pathlib import Path

import yaml
from pyspark.sql import SparkSession

from imbalance_spark.orders.datasets.synthetic import generate_orders

WEAK = {"rounds": 1, "early_stopping_rounds": 1, "params": {"max_depth": 1}}
STRONG = {"rounds": 25, "early_stopping_rounds": 10, "params": {"max_depth": 4, "learning_rate": 0.3}}


def write_orders(spark: SparkSession, home: Path) -> None:
    """A Delta table `orders` of its own for each home; its 12,000 rows are made once for all of a process."""
    shutil.copytree(_orders(spark).name, home / "orders")


@functools.cache
def _orders(spark: SparkSession) -> "tempfile.TemporaryDirectory[str]":
    folder = tempfile.TemporaryDirectory(prefix="orders-")
    orders = generate_orders(spark, rows=12_000, prevalence=0.05, seed=7, partitions=2)
    orders.write.format("delta").mode("overwrite").save(folder.name)
    return folder


def config_file(home: Path, name: str, *, uri: str, training: dict[str, object], **sections: object) -> str:
    """A run of its own for each name, all of one registered model, `orders`."""
    features = {"numeric": ["amount", "distance_km", "device_age_days"], "categorical": ["country", "channel"]}
    if training is WEAK:
        features = {"numeric": ["amount", "distance_km"], "categorical": []}
    roles = {"key": ["order_id"], "label": "is_fraud", "group": "customer_id"}
    config = {
        "name": name, "output": f"{home}/output", "orders": {"source": {"path": f"{home}/orders"}, **roles, **features},
        "strategies": ["none"], "evaluation": "holdout", "training": {"num_workers": 1, **training},
        "gate": {"mode": "enabled"},
        "tracking": {"uri": uri, "experiment": "small", "registered_model": "orders"}, **sections,
    }  # fmt: skip
    file = home / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config), "utf-8")
    return str(file)
