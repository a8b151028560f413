"""What a job says when it fails: one line, the right code, and never a row's value."""

from collections.abc import Iterator
from types import SimpleNamespace

import pyarrow as pa
import pytest
from py4j.protocol import Py4JError, Py4JJavaError, Py4JNetworkError
from pyspark import SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from imbalance_spark.cli.exit_codes import run_job
from imbalance_spark.core.columns import SPLIT
from imbalance_spark.core.errors import (
    ConfigError,
    DataContractError,
    IncomparableChampionError,
    LeakageError,
    QualityGateError,
    TrainingError,
)
from imbalance_spark.core.spark_errors import describe
from imbalance_spark.train_only.guard import only_train

CANARY = "jane.doe@example.org"


def ends(error: Exception) -> tuple[int, str]:
    return describe(error)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("c"), 2),
        (DataContractError("d"), 3),
        (QualityGateError("q"), 4),
        (IncomparableChampionError("i"), 5),
        (KeyError("k"), 1),
    ],
)
def test_each_kind_of_error_has_its_exit_code(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
    status: dict[str, object] = {}

    def fail() -> int:
        raise error

    assert run_job("train", fail, status.update) == code
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"ERROR {code}: ")
    assert (status["state"], status["exit_code"]) == ("failed", code)


def test_a_status_that_cannot_be_written_is_never_the_last_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)

    def full(status: dict[str, object]) -> None:
        raise OSError(28, "No space left on device")

    def fail() -> int:
        raise DataContractError("no label")

    assert run_job("train", lambda: 0, full) == 0
    assert run_job("train", fail, full) == 3
    assert capsys.readouterr().err.splitlines()[-1] == "ERROR 3: no label"


def test_a_job_says_that_it_is_running() -> None:
    states = list[object]()
    assert run_job("train", lambda: 0, lambda status: states.append(status["state"])) == 0
    assert states == ["running", "done"]


def test_an_own_error_is_found_behind_those_that_wrap_it() -> None:
    wrapper = RuntimeError("wrapped")
    wrapper.__cause__ = ConfigError("the cause")
    assert ends(wrapper) == (2, "the cause")


def test_values_in_foreign_errors_do_not_reach_the_line() -> None:
    code, line = ends(ValueError(f"could not convert {CANARY}"))
    assert code == 1
    assert "ValueError" in line
    assert CANARY not in line


def test_values_in_spark_errors_do_not_reach_the_line(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(CANARY,)], "email string")
    with pytest.raises(PySparkException) as caught:
        rows.select(F.col("email").cast("int")).collect()
    assert CANARY in str(caught.value)
    code, line = ends(caught.value)
    assert (code, "CAST_INVALID_INPUT" in line, CANARY in line) == (1, True, False)


def test_a_worker_that_cannot_import_is_no_lost_worker(spark: SparkSession) -> None:
    def worker(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import a_package_that_nobody_has  # noqa: F401  # type: ignore[import-not-found]

        yield from batches

    with pytest.raises(Py4JJavaError, match="barrier") as caught:
        spark.range(1).mapInArrow(worker, "id long", barrier=True).collect()
    assert "an executor's Python lacks a package" in ends(caught.value)[1]


def test_a_row_of_another_fold_is_a_leakage_error_with_code_3(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("test",)], f"{SPLIT} string")
    with pytest.raises(PySparkException) as caught:
        only_train(rows, "SMOTE").collect()
    code, line = ends(caught.value)
    assert code == LeakageError.exit_code
    assert "SMOTE: a row that is not a training row" in line


def test_a_hostile_name_cannot_forge_a_line_of_the_log() -> None:
    assert "\n" not in ends(ConfigError("column 'a\nERROR 0: all well\x1b[2J'"))[1]


@pytest.mark.parametrize(
    ("error", "is_end"),
    [
        (Py4JNetworkError("Answer from Java side is empty"), True),
        (Py4JError("An error occurred while calling o57.count"), True),
        (Py4JError("An error occurred while calling o57.count. Trace:\npy4j.Py4JException: no such method"), False),
        (PySparkException("Job 3 cancelled because SparkContext was shut down"), True),
        (PySparkException("Job aborted due to stage failure"), False),
        (ConnectionRefusedError(111, "Connection refused"), False),
    ],
)
def test_a_job_whose_spark_was_ended_is_killed_not_failed(error: Exception, is_end: bool) -> None:
    status: dict[str, object] = {}

    def body() -> int:
        try:
            raise error
        except Exception as cause:
            raise TrainingError("training of strategy 'none'") from cause

    assert run_job("train", body, status.update) == (143 if is_end else 1)
    assert status["state"] == ("killed" if is_end else "failed")


def test_an_error_whose_text_the_jvm_can_no_longer_give_is_the_end_of_spark() -> None:
    class _MuteError(Exception):
        def __str__(self) -> str:
            raise Py4JNetworkError("Answer from Java side is empty")

    def body() -> int:
        raise _MuteError

    assert run_job("train", body) == 143


def test_the_shell_of_a_context_that_failed_to_stop_is_no_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SparkContext, "_active_spark_context", SimpleNamespace(_jsc=None))

    def body() -> int:
        raise KeyError("anything")

    assert run_job("train", body) == 1
