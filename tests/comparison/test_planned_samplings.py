"""A strategy that cannot sample the rows at hand ends a run before rows are written, not after others were fitted."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from support.mlflow_store import new_store

from imbalance_spark.comparison.run import run
from imbalance_spark.config.run import RunConfig
from imbalance_spark.config.yaml_file import parse
from imbalance_spark.core.errors import ConfigError

ROWS, FRAUD = 4_000, 10
"""Orders, and every which one is fraud."""


def config_of(home: Path, name: str, *strategies: object, **training: object) -> RunConfig:
    settings = {
        "name": name,
        "output": f"{home}/output",
        "orders": {"key": ("order_id",), "label": "is_fraud", "numeric": ("x",)},
        "training": {"num_workers": 1, "rounds": 2, **training},
        "strategies": ("none", *strategies),
        "evaluation": "holdout",
        "tracking": {"uri": new_store(home), "experiment": name},
    }
    return parse(settings, RunConfig, "here")


@pytest.mark.parametrize(
    ("strategies", "training", "messages"),
    [
        (
            ({"kind": "undersample", "sampling_strategy": 0.05}, {"kind": "oversample", "sampling_strategy": 0.08}),
            {},
            (
                "strategy 'undersample': sampling_strategy 0.05 is below",
                "strategy 'oversample': sampling_strategy 0.08",
            ),
        ),
        (
            ({"kind": "undersample", "sampling_strategy": 0.2},),
            {"max_rows": 1_000},
            ("strategy 'undersample': sampling_strategy 0.2 is below", "Fits read a pool of 1,000 training rows"),
        ),
    ],
    ids=["all rows", "a pool"],
)
def test_what_cannot_be_sampled_is_refused_before_rows_are_written(
    spark: SparkSession, tmp_path: Path, strategies: tuple[object, ...], training: dict[str, object],
    messages: tuple[str, ...],
) -> None:  # fmt: skip
    is_fraud = (F.col("id") % FRAUD == 0).cast("int")
    orders = spark.range(ROWS).select(F.col("id").alias("order_id"), F.rand(7).alias("x"), is_fraud.alias("is_fraud"))
    with pytest.raises(ConfigError) as caught:
        run(spark, config_of(tmp_path, "samplings", *strategies, **training), orders, quiet=True)
    assert all(message in str(caught.value) for message in messages), str(caught.value)
    assert not list(tmp_path.glob("output/*/inputs"))
