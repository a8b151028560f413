"""A strategy fitted on rows in memory by the distributed fit, as `jobs/train.py` does it."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.learner_fits import stratified
from benchmarks.regret_data import SETTINGS
from imbalance_spark.core.columns import IS_EARLY_STOPPING, SPLIT, TRAIN
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.orders.config import OrdersConfig
from imbalance_spark.orders.model_inputs import LABEL, feature_column
from imbalance_spark.scoring.boosters import Model, load_booster
from imbalance_spark.split.config import SplitConfig
from imbalance_spark.train_only.config import TrainingConfig
from imbalance_spark.train_only.strategies import Strategy
from imbalance_spark.train_only.strategies.recipe import FitTask

_KEY, _SLICE = "order_id", 0.15
"""The early-stopping set is this share of the rows of each class."""


def fit_by_spark(
    master: str, strategy: Strategy, training: TrainingConfig, inputs: np.ndarray, label: np.ndarray
) -> Model:
    """The booster up to its best round."""
    is_slice = stratified(label, _SLICE, np.random.default_rng(7))
    counts = {k: int((label[~is_slice] == k).sum()) for k in (0, 1)}
    recipe = strategy.resolve(counts, training)
    numeric = tuple(f"feature_{i}" for i in range(inputs.shape[1]))
    task = FitTask(
        orders=OrdersConfig(label=LABEL, key=(_KEY,), numeric=numeric), training=training, split=SplitConfig()
    )
    with spark_session("bench-sketch", master, SETTINGS) as spark, tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), inputs, label, is_slice, training.num_workers)
        fitted = strategy.fit(spark.read.parquet(folder), recipe, task, counts)
        return load_booster(fitted.model_bytes)


def _write(folder: Path, inputs: np.ndarray, label: np.ndarray, is_slice: np.ndarray, files: int) -> None:
    for number, rows in enumerate(np.array_split(np.arange(len(label)), files)):
        table = {feature_column(i): inputs[rows, i] for i in range(inputs.shape[1])}
        table |= {_KEY: rows, LABEL: label[rows].astype(np.int32), IS_EARLY_STOPPING: is_slice[rows]}
        pq.write_table(pa.table({**table, SPLIT: [TRAIN] * len(rows)}), folder / f"part-{number}.parquet")
