"""The score job on a registered model: what it writes, that it writes it once, and every way it may end."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from delta.tables import DeltaTable
from mlflow.tracking import MlflowClient
from mlflow_store import new_store
from orders_to_score import CATEGORICAL, NUMERIC, as_table, bundle, orders
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark import tracking
from imbalance_spark.config import TrackingConfig
from imbalance_spark.model import ModelBundle
from imbalance_spark.score import SCORE_COLUMNS
from imbalance_spark.tracking_models import register_version
from jobs import score

NAME = "orders"
CHAMPION = f"models:/{NAME}@champion"
SERVER_LIMIT_S = 120


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Iterator[Path]:
    """A store with version 1 as champion and version 2, and a Delta table of orders."""
    home = tmp_path_factory.mktemp("score")
    as_table(spark, orders()).write.format("delta").save(f"{home}/orders")
    with contextlib.chdir(home):  # MLflow puts a new experiment's artifacts below it
        experiment_id = tracking.connect(TrackingConfig(uri=store(home), experiment="score"))
        for number, model in enumerate((bundle(3), bundle(4)), start=1):
            log(experiment_id, f"run-{number}", model)
        MlflowClient().set_registered_model_alias(NAME, "champion", "1")
        yield home


def store(home: Path) -> str:
    return new_store(home)


def log(experiment_id: str, name: str, model: ModelBundle) -> None:
    with tracking.tracked_run(experiment_id, name, tracking.strategy_identity(name, model.strategy)) as run_id:
        register_version(NAME, tracking.log_bundle(run_id, model), {})


def arguments(home: Path, output: Path, *more: str, source: str = "orders", model: str = CHAMPION) -> list[str]:
    places = ["--input", f"{home}/{source}", "--output", str(output), "--tracking-uri", store(home)]
    return ["--model", model, *places, "--json", *more]


def table(spark: SparkSession, output: Path) -> DataFrame:
    return spark.read.format("delta").load(str(output))


def commits(spark: SparkSession, output: Path) -> int:
    return spark.sql(f"DESCRIBE HISTORY delta.`{output}`").count()


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_the_same_orders_and_model_version_are_scored_once(
    spark: SparkSession, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "scored"
    assert score.main(arguments(home, output)) == 0
    first = printed(capsys)
    assert (first["model_version"], first["input_version"], first["rows"], first["is_new"]) == ("1", 0, 200, True)
    assert table(spark, output).columns[-5:] == list(SCORE_COLUMNS)
    assert json.loads((output / "status.json").read_text("utf-8"))["state"] == "done"

    assert score.main(arguments(home, output)) == 0
    assert printed(capsys) == {**first, "is_new": False}
    assert (table(spark, output).count(), commits(spark, output)) == (200, 1)

    assert score.main(arguments(home, output, model=f"models:/{NAME}/2")) == 0
    by_version = {row[0]: row[1] for row in table(spark, output).groupBy("model_version").count().collect()}
    assert by_version == {"1": 200, "2": 200}


def test_a_rerun_says_that_nothing_was_added(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = [argument for argument in arguments(home, tmp_path / "scored") if argument != "--json"]
    assert score.main(plain) == 0
    said = capsys.readouterr()
    assert "200 orders scored, version 0" in said.out
    assert "[3/3] score  200 orders scored" in said.err
    assert score.main(plain) == 0
    assert "nothing added: these orders were scored by this model version before" in capsys.readouterr().out


def test_a_batch_that_left_the_history_is_not_added_again(
    spark: SparkSession, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "scored"
    assert score.main(arguments(home, output)) == 0
    # As if another process had committed the batch while this one scored it.
    for room in ("score_batch", "scored_table"):
        monkeypatch.setattr(f"imbalance_spark.{room}.find_batch", lambda *_: None)
    assert score.main(arguments(home, output)) == 0
    assert printed(capsys)["is_new"] is False
    assert (table(spark, output).count(), commits(spark, output)) == (200, 1)


def test_new_orders_are_added_and_a_version_can_be_pinned(
    spark: SparkSession, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grown, output = tmp_path / "grown", tmp_path / "scored"
    for rows in (50, 20):
        as_table(spark, orders(rows)).write.format("delta").mode("overwrite").save(str(grown))
    for version in ("1", "0", "1", "0"):
        argv = ["--model", CHAMPION, "--input", str(grown), "--input-version", version, "--output", str(output)]
        assert score.main([*argv, "--tracking-uri", store(home), "--json"]) == 0
    assert (table(spark, output).count(), commits(spark, output)) == (70, 2)
    # Another table at the same place, also at version 0, is another batch.
    moved = tmp_path / "moved"
    grown.rename(moved)
    as_table(spark, orders(10)).write.format("delta").save(str(grown))
    assert score.main([*argv, "--tracking-uri", store(home), "--json"]) == 0
    assert printed(capsys)["rows"] == 10


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_files_without_versions_are_known_by_what_they_are(
    spark: SparkSession, home: Path, tmp_path: Path, kind: str
) -> None:
    source, output = tmp_path / kind, tmp_path / "scored"
    as_table(spark, orders(30)).coalesce(1).write.option("header", True).format(kind).save(str(source))
    argv = ["--model", CHAMPION, "--input", str(source), "--format", kind, "--output", str(output), "--json"]
    for _ in range(2):
        assert score.main([*argv, "--tracking-uri", store(home)]) == 0
    assert table(spark, output).count() == 30
    expected = in_memory(home, orders(30))
    assert rows_of(table(spark, output)) == pytest.approx(expected["probability"].tolist(), abs=0)


def in_memory(home: Path, frame: pd.DataFrame) -> pd.DataFrame:
    mlflow.set_tracking_uri(store(home))
    return mlflow.pyfunc.load_model(CHAMPION).predict(frame[[*NUMERIC, *CATEGORICAL]])


def rows_of(scored: DataFrame) -> list[float]:
    return [row["probability"] for row in scored.orderBy("order_id").collect()]


def test_spark_udf_and_a_real_server_give_what_the_job_gives(spark: SparkSession, home: Path, tmp_path: Path) -> None:
    output = tmp_path / "scored"
    assert score.main(arguments(home, output)) == 0
    job = table(spark, output).orderBy("order_id").select("probability", "decision", "threshold").toPandas()
    frame = orders()
    assert {"XX", None} <= set(frame["country"])
    assert {99, None} <= set(frame["store"])
    pd.testing.assert_frame_equal(in_memory(home, frame), job)

    udf = mlflow.pyfunc.spark_udf(spark, CHAMPION, env_manager="local")
    answers = spark.read.format("delta").load(f"{home}/orders").select(
        "order_id", udf(F.struct(*NUMERIC, *CATEGORICAL)).alias("answer")
    )  # fmt: skip
    pd.testing.assert_frame_equal(answers.orderBy("order_id").select("answer.*").toPandas(), job)

    with served(home) as url:
        features = frame[[*NUMERIC, *CATEGORICAL]]
        split = post(url, {"dataframe_split": json.loads(features.to_json(orient="split", index=False))})
        records = post(url, {"dataframe_records": json.loads(features.to_json(orient="records"))})
        flagged = post(url, {"dataframe_records": json.loads(features.head(3).to_json(orient="records")),
                             "params": {"threshold": 0.0}})  # fmt: skip
    pd.testing.assert_frame_equal(pd.DataFrame(split["predictions"]), job)
    assert records == split
    assert [row["decision"] for row in flagged["predictions"]] == [1, 1, 1]


@contextlib.contextmanager
def served(home: Path) -> Iterator[str]:
    """`mlflow models serve` in a process of its own, on a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", CHAMPION, "--env-manager", "local"]
    # The command looks for its server, uvicorn, on the PATH; a virtual environment need not be active here.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": store(home)}
    log = home / "server.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            env=environment, stdout=out, stderr=subprocess.STDOUT, cwd=home, start_new_session=True,
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


def ending(capsys: pytest.CaptureFixture[str], code: int) -> str:
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"ERROR {code}: ")
    return last


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        (["--model", "orders@champion"], 2, "models:/NAME@ALIAS"),
        (["--model", "models:/orders@nobody"], 2, "no such model, version or alias"),
        (["--model", "models:/orders/77"], 2, "no such model, version or alias"),
        (["--tracking-uri", "sqlite:////nowhere/mlflow.db"], 2, "there is no file"),
        (["--input", "/nowhere/at/all"], 3, "--input: nothing is at '/nowhere/at/all'"),
        (["--input-version", "7"], 3, "--input-version"),
        (["--input-version", "-1"], 2, "--input-version"),
        (["--format", "parquet"], 3, "Set format: delta"),
        (["--format", "csv", "--input-version", "0"], 2, "only Delta has versions"),
    ],
)
def test_what_cannot_be_ends_with_one_line_and_its_code(
    spark: SparkSession,
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: list[str],
    code: int,
    said: str,
) -> None:
    output = tmp_path / "scored"
    assert score.main([*arguments(home, output), *changes]) == code
    assert said in ending(capsys, code)
    status = json.loads((output / "status.json").read_text("utf-8"))
    assert (status["job"], status["state"], status["exit_code"]) == ("score", "failed", code)
    # What a failed job left there does not stand in the way of the next.
    assert not (output / "_delta_log").exists()


def test_orders_that_are_not_what_the_model_reads_end_with_code_3_and_all_problems(
    spark: SparkSession, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, output = tmp_path / "broken", tmp_path / "scored"
    as_table(spark, orders(5)).selectExpr("order_id", "string(amount) amount", "items", "is_new", "store").write.format(
        "delta"
    ).save(str(broken))
    assert score.main([*arguments(home, output), "--input", str(broken)]) == 3
    line = ending(capsys, 3)
    assert "no column ['country']" in line
    assert "'amount' is string" in line
    assert score.main(arguments(home, output)) == 0
    assert table(spark, output).count() == 200


def with_amounts(table: DataFrame, amounts: dict[int, float]) -> DataFrame:
    """The orders, some with another amount."""
    amount = F.col("amount")
    for order, value in amounts.items():
        amount = F.when(F.col("order_id") == order, value).otherwise(amount)
    return table.withColumn("amount", amount)


def test_numbers_that_no_model_can_read_are_set_aside_once_with_their_reasons(
    spark: SparkSession, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, output = tmp_path / "broken", tmp_path / "scored"
    inf, nan = float("inf"), float("nan")
    table_in = with_amounts(as_table(spark, orders()), {3: inf, 4: -inf, 5: 1e300, 6: nan, 7: 1e38})
    table_in.write.format("delta").save(str(broken))
    argv = [*arguments(home, output), "--input", str(broken), "--max-quarantined", "0.02"]
    assert score.main(argv) == 0
    first = printed(capsys)
    assert (first["rows"], first["quarantined"]) == (197, {"infinite_feature": 2, "feature_beyond_float32": 1})
    assert first["quarantine"] == f"{output}_quarantined"

    aside = table(spark, Path(f"{output}_quarantined"))
    assert aside.columns == [*table_in.columns, "reasons", "model_version", "scored_at"]
    why = {row["order_id"]: (row["reasons"], row["model_version"]) for row in aside.collect()}
    assert why == {
        3: (["infinite_feature"], "1"), 4: (["infinite_feature"], "1"), 5: (["feature_beyond_float32"], "1")
    }  # fmt: skip
    scored = {row["order_id"]: row["probability"] for row in table(spark, output).collect()}
    assert set(scored) == set(range(200)) - {3, 4, 5}
    sound = orders()
    sound.loc[6, "amount"], sound.loc[7, "amount"] = None, 1e38
    expected = in_memory(home, sound)["probability"]
    assert {order: scored[order] for order in (6, 7, 8)} == {order: expected[order] for order in (6, 7, 8)}

    # As after a kill between the two writes: the rows that were set aside are there, those scored are not.
    shutil.rmtree(output)
    assert score.main(argv) == 0
    assert score.main(argv) == 0
    assert printed(capsys) == {**first, "is_new": False}
    assert (table(spark, Path(f"{output}_quarantined")).count(), table(spark, output).count()) == (3, 197)


@pytest.mark.parametrize(
    ("amounts", "limit", "said"),
    [
        ({3: float("inf")}, "0.04", "1 of 20 rows break a rule (infinite_feature 1; 20 rows), above --max-quarantined"),
        (dict.fromkeys(range(20), 1e300), "1", "every row breaks a rule (feature_beyond_float32 20; 20 rows)"),
    ],
)
def test_too_many_such_numbers_end_with_code_3_and_nothing_is_written(
    spark: SparkSession,
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    amounts: dict[int, float],
    limit: str,
    said: str,
) -> None:
    broken, output = tmp_path / "broken", tmp_path / "scored"
    with_amounts(as_table(spark, orders(20)), amounts).write.format("delta").save(str(broken))
    assert score.main([*arguments(home, output), "--input", str(broken), "--max-quarantined", limit]) == 3
    assert said in ending(capsys, 3)
    assert not DeltaTable.isDeltaTable(spark, str(output))
    assert not Path(f"{output}_quarantined").exists()


def test_a_share_beyond_1_is_a_usage_error(home: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        score.main([*arguments(home, tmp_path / "scored"), "--max-quarantined", "2"])
    assert ended.value.code == 2


def test_a_table_of_other_columns_or_other_files_is_left_alone(
    spark: SparkSession, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score.main(arguments(home, home / "orders")) == 3
    assert "has other columns than these scored orders" in ending(capsys, 3)
    assert commits(spark, home / "orders") == 1
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "notes.txt").write_text("mine", "utf-8")
    assert score.main(arguments(home, tmp_path / "files")) == 2
    assert "holds 1 files or folders, but no Delta table" in ending(capsys, 2)


def test_a_changed_model_file_is_refused(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [part] = [
        file for file in home.rglob("threshold.json")
        if MlflowClient().get_model_version(NAME, "2").source.removeprefix("models:/") in str(file)
    ]  # fmt: skip
    kept = part.read_bytes()
    part.write_bytes(kept.replace(b"0.2", b"0.3"))
    try:
        assert score.main(arguments(home, tmp_path / "scored", model=f"models:/{NAME}/2")) == 3
    finally:
        part.write_bytes(kept)
    assert "threshold.json was changed: expected sha256" in ending(capsys, 3)


def test_help_says_what_the_job_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        score.main(["--help"])
    assert ended.value.code == 0
    assert "models:/NAME@ALIAS" in capsys.readouterr().out
