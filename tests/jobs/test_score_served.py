"""The registered model through Spark's user-defined function and through a real server: what the job gives."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pandas as pd
from orders_to_score import CATEGORICAL, NUMERIC, orders
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from scoring_store import CHAMPION, arguments, in_memory, store, table

from jobs import score

SERVER_LIMIT_S = 120


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

    with served(scoring_home) as url:
        features = frame[[*NUMERIC, *CATEGORICAL]]
        split = post(url, {"dataframe_split": json.loads(features.to_json(orient="split", index=False))})
        records = post(url, {"dataframe_records": json.loads(features.to_json(orient="records"))})
        flagged = post(url, {"dataframe_records": json.loads(features.head(3).to_json(orient="records")),
                             "params": {"threshold": 0.0}})  # fmt: skip
    pd.testing.assert_frame_equal(pd.DataFrame(split["predictions"]), job)
    assert records == split
    assert [row["decision"] for row in flagged["predictions"]] == [1, 1, 1]


@contextlib.contextmanager
def served(scoring_home: Path) -> Iterator[str]:
    """`mlflow models serve` in a process of its own, on a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", CHAMPION, "--env-manager", "local"]
    # The command looks for its server, uvicorn, on the PATH; a virtual environment need not be active here.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": store(scoring_home)}
    log = scoring_home / "server.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            env=environment, stdout=out, stderr=subprocess.STDOUT, cwd=scoring_home, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until_up(server, f"http://127.0.0.1:{port}/ping", log)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        # The command starts the server as its child: both are of the session that it began.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, 15)
        server.wait(timeout=30)


def wait_until_up(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + SERVER_LIMIT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        assert server.poll() is None, log.read_text("utf-8")[-2000:]
        time.sleep(0.3)
    raise AssertionError(log.read_text("utf-8")[-2000:])


def post(url: str, body: dict[str, object]) -> dict[str, list[dict[str, float]]]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())
