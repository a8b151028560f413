"""Rows as a model reads them, with a known probability, for tests of learners, strategies and scans."""

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession

FEATURES = ("amount", "hour", "items", "noise")


def model_rows(rows: int, seed: int, split: str = "train", intercept: float = -4.2) -> pd.DataFrame:
    """Some 5 % positives at the default intercept; one value in twenty is missing; a tenth is the slice."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, len(FEATURES)))
    probability = 1 / (1 + np.exp(-(intercept + 1.5 * x[:, 0] + x[:, 1] * x[:, 2])))
    y = (draw.random(rows) < probability).astype(np.int32)
    x[draw.random(x.shape) < 0.05] = np.nan
    frame = pd.DataFrame({"order_id": np.arange(rows) + 1_000_000 * seed, "split": split, "y": y})
    frame["is_early_stopping"] = draw.random(rows) < 0.2
    frame["row_weight"] = draw.uniform(0.5, 2.0, rows)
    frame["amount_value"] = draw.uniform(1.0, 100.0, rows)
    for i in range(len(FEATURES)):
        frame[f"x_{i}"] = x[:, i]
    return frame


def as_spark(spark: SparkSession, frame: pd.DataFrame) -> DataFrame:
    """One partition in the frame's order; NaN becomes null, as in the tables."""
    nullable = frame.astype({name: "Float64" for name in frame.columns if name.startswith("x_")})
    return spark.createDataFrame(nullable).coalesce(1)


def matrix(frame: pd.DataFrame) -> np.ndarray:
    return frame[[f"x_{i}" for i in range(len(FEATURES))]].to_numpy(np.float32, na_value=np.nan)


def start_of(rate: float) -> tuple[float, float]:
    """The margins of two classes that a fit starts from when one row in 1 / rate is positive."""
    return float(np.log1p(-rate)), float(np.log(rate))
