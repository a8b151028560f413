"""The score job on a registered model: what it writes, that it writes it once, and every way it may end."""

import json
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from support.orders_to_score import as_table, bundle, orders
from support.scoring_store import CHAMPION, NAME, arguments, commits, ending, in_memory, printed, rows_of, store, table

from imbalance_spark.scoring.score_orders import added_columns
from imbalance_spark.scoring.scored_table import STAMPS
from jobs import score


def test_the_same_orders_and_model_version_are_scored_once(
    spark: SparkSession, scoring_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "scored"
    assert score.main(arguments(scoring_home, output)) == 0
    first = printed(capsys)
    assert (first["model_version"], first["input_version"], first["rows"], first["is_new"]) == ("1", 0, 200, True)
    assert table(spark, output).columns[-7:] == [*added_columns(bundle()), *STAMPS]
    assert json.loads((output / "status.json").read_text("utf-8"))["state"] == "done"

    assert score.main(arguments(scoring_home, output)) == 0
    assert printed(capsys) == {**first, "is_new": False}
    assert (table(spark, output).count(), commits(spark, output)) == (200, 1)

    assert score.main(arguments(scoring_home, output, model=f"models:/{NAME}/2")) == 0
    by_version = {row[0]: row[1] for row in table(spark, output).groupBy("model_version").count().collect()}
    assert by_version == {"1": 200, "2": 200}


def test_a_rerun_says_that_nothing_was_added(
    spark: SparkSession, scoring_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = [argument for argument in arguments(scoring_home, tmp_path / "scored") if argument != "--json"]
    assert score.main([*plain, "--reasons", "2"]) == 0
    has_two = table(spark, tmp_path / "scored").select(F.col("reasons").isNotNull().eqNullSafe(F.col("decision") == 1))
    assert [row[0] for row in has_two.distinct().collect()] == [True]
    said = capsys.readouterr()
    assert "200 orders scored, version 0" in said.out
    assert "[3/3] score  200 orders scored" in said.err
    assert score.main(plain) == 0
    assert "nothing added: these orders were scored by this model version before" in capsys.readouterr().out


@pytest.mark.parametrize("rooms", [("batch",), ("batch", "scored_table")])
def test_a_batch_of_another_process_or_one_that_left_the_history_is_not_added_again(
    spark: SparkSession,
    scoring_home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    rooms: tuple[str, ...],
) -> None:
    output = tmp_path / "scored"
    assert score.main(arguments(scoring_home, output)) == 0
    # As if another process had committed the batch while this one scored it, and history had forgotten it since.
    for room in rooms:
        monkeypatch.setattr(f"imbalance_spark.scoring.{room}.find_batch", lambda *_: None)
    assert score.main(arguments(scoring_home, output)) == 0
    assert printed(capsys)["is_new"] is False
    assert (table(spark, output).count(), commits(spark, output)) == (200, 1)


def test_a_dry_run_says_what_the_job_then_does_and_writes_nothing(
    spark: SparkSession, scoring_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / "orders", tmp_path / "scored"
    amount = F.when(F.col("order_id") < 3, float("inf")).otherwise(F.col("amount"))
    as_table(spark, orders()).withColumn("amount", amount).write.format("delta").save(str(source))
    argv = [*arguments(scoring_home, output), "--input", str(source), "--max-quarantined", "0.02"]
    assert score.main([*argv, "--dry-run"]) == 0
    plan = printed(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["orders"]
    assert score.main(argv) == 0
    done = printed(capsys)
    shared = set(plan) & set(done)
    assert {"rows", "quarantined", "is_new", "threshold", "input_version"} <= shared
    assert {name: plan[name] for name in shared} == {name: done[name] for name in shared}
    assert plan["columns"] == table(spark, output).columns

    plain = [argument for argument in argv if argument != "--json"]
    assert score.main([*plain, "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "[3/3] plan  200 -> 0 rows" in said.err
    assert "200 orders read, 3 to set aside" in said.out
    assert "nothing added: these orders were scored by this model version before" in said.out
    assert commits(spark, output) == 1


def test_a_dry_run_ends_as_the_job_would(
    spark: SparkSession, scoring_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "scored"
    as_table(spark, orders(5)).write.format("delta").save(str(output))
    assert score.main([*arguments(scoring_home, output), "--dry-run"]) == 3
    assert "has other columns than these scored orders" in ending(capsys, 3)
    assert not (output / "status.json").exists()


def test_new_orders_are_added_and_a_version_can_be_pinned(
    spark: SparkSession, scoring_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grown, output = tmp_path / "grown", tmp_path / "scored"
    for rows in (50, 20):
        as_table(spark, orders(rows)).write.format("delta").mode("overwrite").save(str(grown))
    for version in ("1", "0", "1", "0"):
        argv = ["--model", CHAMPION, "--input", str(grown), "--input-version", version, "--output", str(output)]
        assert score.main([*argv, "--tracking-uri", store(scoring_home), "--json"]) == 0
    assert (table(spark, output).count(), commits(spark, output)) == (70, 2)
    # Another table at the same place, also at version 0, is another batch.
    moved = tmp_path / "moved"
    grown.rename(moved)
    as_table(spark, orders(10)).write.format("delta").save(str(grown))
    assert score.main([*argv, "--tracking-uri", store(scoring_home), "--json"]) == 0
    assert printed(capsys)["rows"] == 10


def test_a_share_of_the_orders_that_are_not_flagged_is_marked_for_review(
    spark: SparkSession, scoring_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, control = tmp_path / "scored", ("--control-share", "0.25")
    assert score.main(arguments(scoring_home, output, *control)) == 0
    assert printed(capsys)["control_share"] == 0.25
    marked = table(spark, output).select("decision", "for_review", "review_propensity").toPandas()
    assert marked.loc[marked["decision"] == 1, "for_review"].all()
    assert marked.loc[marked["decision"] == 0, "for_review"].mean() == pytest.approx(0.25, abs=0.12)
    assert set(map(tuple, marked[["decision", "review_propensity"]].to_numpy())) == {(1.0, 1.0), (0.0, 0.25)}
    assert score.main(arguments(scoring_home, output, *control, "--key", "amount", "--dry-run")) == 3
    assert "--key: key columns {'amount': 'double'}" in ending(capsys, 3)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_files_without_versions_are_known_by_what_they_are(
    spark: SparkSession, scoring_home: Path, tmp_path: Path, kind: str
) -> None:
    source, output = tmp_path / kind, tmp_path / "scored"
    as_table(spark, orders(30)).coalesce(1).write.option("header", True).format(kind).save(str(source))
    argv = ["--model", CHAMPION, "--input", str(source), "--format", kind, "--output", str(output), "--json"]
    for _ in range(2):
        assert score.main([*argv, "--tracking-uri", store(scoring_home)]) == 0
    assert table(spark, output).count() == 30
    expected = in_memory(scoring_home, orders(30))
    assert rows_of(table(spark, output)) == pytest.approx(expected["probability"].tolist(), abs=0)


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
    scoring_home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: list[str],
    code: int,
    said: str,
) -> None:
    output = tmp_path / "scored"
    assert score.main([*arguments(scoring_home, output), *changes]) == code
    assert said in ending(capsys, code)
    status = json.loads((output / "status.json").read_text("utf-8"))
    assert (status["job"], status["state"], status["exit_code"]) == ("score", "failed", code)
    # What a failed job left there does not stand in the way of the next.
    assert not (output / "_delta_log").exists()


def test_orders_that_are_not_what_the_model_reads_end_with_code_3_and_all_problems(
    spark: SparkSession, scoring_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, output = tmp_path / "broken", tmp_path / "scored"
    as_table(spark, orders(5)).selectExpr("order_id", "string(amount) amount", "items", "is_new", "store").write.format(
        "delta"
    ).save(str(broken))
    assert score.main([*arguments(scoring_home, output), "--input", str(broken)]) == 3
    line = ending(capsys, 3)
    assert "no column ['country']" in line
    assert "'amount' is string" in line
    assert score.main(arguments(scoring_home, output)) == 0
    assert table(spark, output).count() == 200


def test_a_table_of_other_columns_or_other_files_is_left_alone(
    spark: SparkSession, scoring_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score.main(arguments(scoring_home, scoring_home / "orders")) == 3
    assert "has other columns than these scored orders" in ending(capsys, 3)
    assert commits(spark, scoring_home / "orders") == 1
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "notes.txt").write_text("mine", "utf-8")
    assert score.main(arguments(scoring_home, tmp_path / "files")) == 2
    assert "holds 1 files or folders, but no Delta table" in ending(capsys, 2)


def test_a_changed_model_file_is_refused(
    scoring_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [part] = [
        file for file in scoring_home.rglob("threshold.json")
        if MlflowClient().get_model_version(NAME, "2").source.removeprefix("models:/") in str(file)
    ]  # fmt: skip
    kept = part.read_bytes()
    part.write_bytes(kept.replace(b"0.2", b"0.3"))
    try:
        assert score.main(arguments(scoring_home, tmp_path / "scored", model=f"models:/{NAME}/2")) == 3
    finally:
        part.write_bytes(kept)
    assert "threshold.json was changed: expected sha256" in ending(capsys, 3)


def test_each_day_scores_what_is_new_with_the_champion_of_that_day(
    spark: SparkSession, scoring_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    days, output = spark.read.format("delta").load(f"{scoring_home}/orders"), tmp_path / "scored"
    places = ["--input", f"{tmp_path}/orders", "--output", str(output), "--tracking-uri", store(scoring_home), "--json"]

    def score_day(first: int, last: int, version: int) -> dict[str, object]:
        arrived = days.where(F.col("order_id").between(first, last)).coalesce(1).write.format("delta").mode("append")
        arrived.option("delta.enableChangeDataFeed", "true").save(f"{tmp_path}/orders")
        assert score.main(["--model", f"models:/{NAME}/{version}", "--incremental", *places]) == 0
        return printed(capsys)

    assert (score_day(0, 49, 1)["rows"], score_day(50, 59, 2)["rows"]) == (50, 10)
    assert score.main(["--model", CHAMPION, "--incremental", *places]) == 0
    again = printed(capsys)
    assert (again["rows"], again["is_new"], again["output_version"]) == (0, False, None)
    by_version = table(spark, output).groupBy("model_version").agg(F.min("order_id"), F.max("order_id")).collect()
    assert {tuple(row) for row in by_version} == {("1", 0, 49), ("2", 50, 59)}


def test_a_dry_run_of_what_is_new_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        score.main(["--model", CHAMPION, "--input", "x", "--output", "y", "--incremental", "--dry-run"])
    assert ended.value.code == 2
    assert "leave out --incremental" in capsys.readouterr().err


def test_help_says_what_the_job_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        score.main(["--help"])
    assert ended.value.code == 0
    assert "models:/NAME@ALIAS" in capsys.readouterr().out
