"""The doctor's command line."""

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from support.mlflow_store import new_store

from imbalance_spark.core.spark_session import delta_package
from jobs.doctor import main

YAML = """
name: test
output: {root}/output
orders:
  source: {{path: {root}/orders}}
  label: is_fraud
  numeric: [x]
strategies: [none]
training: {{num_workers: {workers}}}
tracking: {{uri: "{store}", experiment: doctor}}
"""


def _conf(root: Path, workers: int) -> str:
    file = root / "conf.yaml"
    file.write_text(YAML.format(root=root, workers=workers, store=new_store(root)), "utf-8")
    return str(file)


def test_print_packages_prints_the_coordinate_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--print-packages"]) == 0
    assert capsys.readouterr().out == f"{delta_package()}\n"


def test_a_sound_place_is_code_0_with_a_line_a_check(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", _conf(tmp_path, 2)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line[:4].strip() for line in lines} <= {"ok", "WARN"}
    for what in (
        "Python",
        "Java",
        "barrier slots",
        "dynamic allocation",
        "executors",
        "tracking store",
        "output folder",
    ):
        assert sum(line[6:].startswith(what) for line in lines) == 1, what


def test_a_failure_is_code_2_and_in_the_json(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--config", _conf(tmp_path, 3), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert not found["healthy"]
    failed = [finding for finding in found["findings"] if finding["status"] == "FAIL"]
    assert [finding["what"] for finding in failed] == ["barrier slots"]
    assert failed[0]["fix"].startswith("Set num_workers to 2 or less")


def test_a_wrong_config_is_code_2_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(tmp_path / "absent.yaml")]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("ERROR 2: --config: there is no file")
