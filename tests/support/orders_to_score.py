"""A small model of numbers and categories, and orders with all that scoring may meet, for tests of serving."""

import numpy as np
import pandas as pd
import xgboost
from pyspark.sql import DataFrame, SparkSession

from imbalance_spark.calibration import LogOddsCalibration, PriorCorrection
from imbalance_spark.orders.labels import LabelEncoding
from imbalance_spark.orders.model_inputs import CategoryEncoding
from imbalance_spark.scoring.bundle import ModelBundle
from imbalance_spark.threshold.class_rules import ClassThresholds

NUMERIC, CATEGORICAL = ("amount", "items", "is_new"), ("country", "store")
COUNTRIES, STORES = ("DE", "FR", "IT"), ("1", "2", "3", "4")
SCHEMA = "order_id bigint, amount double, items int, is_new boolean, country string, store bigint, note string"


def bundle(seed: int = 3) -> ModelBundle:
    """Depends on every feature; a missing value and a category that training lacked go their own ways."""
    draw = np.random.default_rng(seed)
    x = np.column_stack(
        [
            draw.gamma(2.0, 50.0, 4000), draw.integers(1, 9, 4000), draw.integers(0, 2, 4000),
            draw.integers(0, 4, 4000), draw.integers(0, 5, 4000),
        ]
    )  # fmt: skip
    x[draw.random(x.shape) < 0.1] = np.nan
    logit = -3.0 + np.nan_to_num(x) @ np.array([0.01, 0.2, 0.5, 0.4, -0.3])
    y = (draw.random(4000) < 1 / (1 + np.exp(-logit))).astype(float)
    params = {"objective": "binary:logistic", "max_depth": 4, "nthread": 1, "seed": seed}
    booster = xgboost.train(params, xgboost.DMatrix(x, y), num_boost_round=12)
    return ModelBundle(
        strategy="undersample",
        model_bytes=bytes(booster.save_raw("ubj")),
        numeric=NUMERIC,
        categorical=CATEGORICAL,
        categories=CategoryEncoding(values={"country": COUNTRIES, "store": STORES}),
        label=LabelEncoding(classes=("0", "1")),
        correction=PriorCorrection.of_odds(positive=1.0, negative=0.5),
        calibrator=LogOddsCalibration(method="platt", a=1.2, b=1.2, c=0.1),
        rules={"max_f1": ClassThresholds.of_threshold(0.2)},
        serve_objective="max_f1",
    )


def orders(rows: int = 200, seed: int = 5) -> pd.DataFrame:
    """As pandas has them after reading JSON: None where a value is missing. Country XX and store 99 are new."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "order_id": np.arange(rows),
            "amount": np.round(draw.gamma(2.0, 50.0, rows), 2),
            "items": draw.integers(1, 9, rows),
            "is_new": draw.random(rows) < 0.5,
            "country": draw.choice([*COUNTRIES, "XX"], rows),
            "store": draw.choice([1, 2, 3, 4, 99], rows),
            "note": draw.choice(["a", "b"], rows),
        }
    ).astype(object)
    for name in (*NUMERIC, *CATEGORICAL, "note"):
        frame.loc[draw.random(rows) < 0.15, name] = None
    return frame


def as_table(spark: SparkSession, frame: pd.DataFrame) -> DataFrame:
    """The orders with their types, in three partitions."""
    return spark.createDataFrame(list(frame.itertuples(index=False, name=None)), SCHEMA).repartition(3)
