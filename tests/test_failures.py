"""What a job says when it fails: one line, the right code, and never a row's value."""

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from imbalance_spark.errors import ConfigError, DataContractError, LeakageError, QualityGateError
from imbalance_spark.failures import describe, run_job
from imbalance_spark.frames import SPLIT
from imbalance_spark.train_only.guard import only_train

CANARY = "jane.doe@example.org"


def ends(error: Exception) -> tuple[int, str]:
    return describe(error)


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError("c"), 2), (DataContractError("d"), 3), (QualityGateError("q"), 4), (KeyError("k"), 1)],
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


def test_a_row_of_another_fold_is_a_leakage_error_with_code_3(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("test",)], f"{SPLIT} string")
    with pytest.raises(PySparkException) as caught:
        only_train(rows, "SMOTE").collect()
    code, line = ends(caught.value)
    assert code == LeakageError.exit_code
    assert "SMOTE: a row that is not a training row" in line


def test_a_hostile_name_cannot_forge_a_line_of_the_log() -> None:
    assert "\n" not in ends(ConfigError("column 'a\nERROR 0: all well\x1b[2J'"))[1]
