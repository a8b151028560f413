"""What thresholds are compared on: generated orders, three kinds of data drawn in memory, and two real logs."""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from benchmarks.made_data import MADE, labels_of
from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import load_config
from imbalance_spark.core.columns import TRUE_PROBABILITY
from imbalance_spark.core.hashing import key_hash
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.orders.datasets.population import CATEGORICAL_FEATURES, NUMERIC_FEATURES
from imbalance_spark.orders.datasets.synthetic import generate_orders
from imbalance_spark.orders.read import read_orders

REAL = ("retail", "flights")
NAMES = ("orders", *MADE, *REAL)
SETTINGS = {"spark.driver.memory": "3g", "spark.ui.enabled": "false", "spark.log.level": "ERROR"}
_FIT, _FRESH = 0.4, 0.3
"""Shares of a real log to fit on and to draw validation from; the rest judges."""


@dataclass(frozen=True)
class Rows:
    """Rows in memory: inputs (float32, NaN is missing), labels, and the probability that each label was drawn with.

    Of real rows the probability is unknown, and the label stands for it.
    """

    inputs: np.ndarray
    label: np.ndarray
    truth: np.ndarray

    def part(self, start: float, end: float) -> "Rows":
        return Rows(
            self.inputs[int(start) : int(end)], self.label[int(start) : int(end)], self.truth[int(start) : int(end)]
        )


def rows_of(name: str, args: argparse.Namespace) -> tuple[Rows, Rows, Rows]:
    """Rows to fit on, to draw validation from, and to judge by."""
    fit, fresh = args.rows, int(1.2 * max(args.positives) / args.prevalence)
    total = fit + fresh + args.test_rows
    if name in REAL:
        rows = _real(name, args)
        total = len(rows.label)
        fit, fresh = int(_FIT * total), int(_FRESH * total)
    elif name in MADE:
        draws = np.random.default_rng(args.seed)
        inputs, probability = MADE[name](draws, total, args.prevalence)
        rows = Rows(inputs, labels_of(draws, probability), probability)
    else:
        rows = _orders(total, args)
    return rows.part(0, fit), rows.part(fit, fit + fresh), rows.part(fit + fresh, total)


def _orders(total: int, args: argparse.Namespace) -> Rows:
    """Generated orders; a row does not depend on how many follow."""
    names = [*NUMERIC_FEATURES, *CATEGORICAL_FEATURES]
    with spark_session("bench-regret", args.master, SETTINGS) as spark:
        orders = generate_orders(spark, rows=total, prevalence=args.prevalence, seed=args.seed)
        table = _collected(orders.select("order_id", *names, "is_fraud", TRUE_PROBABILITY)).sort_by("order_id")
    return Rows(_inputs(table, names), table["is_fraud"].to_numpy(), table[TRUE_PROBABILITY].to_numpy())


def _real(name: str, args: argparse.Namespace) -> Rows:
    """The log of `conf/<name>.yaml` with its features, in an order by hash of the key."""
    config = load_config(f"conf/{name}.yaml", RunConfig).orders
    names = [*config.numeric, *config.categorical]
    with spark_session("bench-regret", args.master, SETTINGS) as spark:
        orders = read_orders(spark, config.source).frame
        place = key_hash(config.key, args.seed, "regret").alias("place")
        table = _collected(orders.select(place, *names, config.label)).sort_by("place")
    label = table[config.label].to_numpy()
    return Rows(_inputs(table, names), label, label.astype(np.float64))


def inputs_of(orders: DataFrame, names: Sequence[str], label: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels of orders that fit into memory, by `order_id`."""
    table = _collected(orders.select("order_id", *names, label)).sort_by("order_id")
    return _inputs(table, names), table[label].to_numpy()


def _collected(rows: DataFrame) -> pa.Table:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "rows")
        rows.write.parquet(path)
        return pq.read_table(path)


def _inputs(table: pa.Table, names: Sequence[str]) -> np.ndarray:
    return np.column_stack([_as_float(table[name]) for name in names])


def _as_float(column: pa.ChunkedArray) -> np.ndarray:
    values = column.combine_chunks()
    if pa.types.is_string(values.type):
        values = values.dictionary_encode().indices
    return values.to_numpy(zero_copy_only=False).astype(np.float32)
