"""The registered model through Spark's user-defined function and through a real server: what the job gives."""

import json
import urllib.request
from pathlib import Path

import mlflow
import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from support import mlflow_server
from support.orders_to_score import CATEGORICAL, NUMERIC, orders
from support.scoring_store import CHAMPION, arguments, in_memory, store, table

from jobs import score


def test_spark_udf_and_a_real_server_give_what_the_job_gives(
    spark: SparkSession, scoring_home: Path, tmp_path: Path
) -> None:
    output = tmp_path / "scored"
    assert score.main(arguments(scoring_home, output)) == 0
    job = table(spark, output).orderBy("order_id").select("probability", "decision", "threshold").toPandas()
    frame = orders()
    assert {"XX", None} <= set(frame["country"])
    assert {99, None} <= set(frame["store"])
    pd.testing.assert_frame_equal(in_memory(scoring_home, frame), job)

    udf = mlflow.pyfunc.spark_udf(spark, CHAMPION, env_manager="local")
    answers = spark.read.format("delta").load(f"{scoring_home}/orders").select(
        "order_id", udf(F.struct(*NUMERIC, *CATEGORICAL)).alias("answer")
    )  # fmt: skip
    pd.testing.assert_frame_equal(answers.orderBy("order_id").select("answer.*").toPandas(), job)

    command = ["mlflow", "models", "serve", "-m", CHAMPION, "--env-manager", "local"]
    log, at = scoring_home / "server.log", store(scoring_home)
    with mlflow_server.running(command, log, page="ping", MLFLOW_TRACKING_URI=at) as address:
        url = f"{address}/invocations"
        features = frame[[*NUMERIC, *CATEGORICAL]]
        split = post(url, {"dataframe_split": json.loads(features.to_json(orient="split", index=False))})
        records = post(url, {"dataframe_records": json.loads(features.to_json(orient="records"))})
        flagged = post(url, {"dataframe_records": json.loads(features.head(3).to_json(orient="records")),
                             "params": {"threshold": 0.0}})  # fmt: skip
    pd.testing.assert_frame_equal(pd.DataFrame(split["predictions"]), job)
    assert records == split
    assert [row["decision"] for row in flagged["predictions"]] == [1, 1, 1]


def post(url: str, body: dict[str, object]) -> dict[str, list[dict[str, float]]]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())
