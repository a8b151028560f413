import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.diagnose import main

YAML = """
name: test
output: {root}/output
orders:
  source: {{path: {root}/orders, format: parquet}}
  label: is_fraud
  group: customer_id
  numeric: [x]
  categorical: [channel]
split: {{by: group, exact_below: 0}}
strategies: [none]
"""


@pytest.fixture(scope="module")
def conf(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A config over 1,000 orders: every tenth a fraud, two with an infinite feature."""
    root = tmp_path_factory.mktemp("diagnose")
    orders = spark.range(1000).selectExpr(
        "id order_id", "id customer_id", "if(id % 10 = 0, 'yes', 'no') is_fraud", "'web' channel",
        "if(id in (3, 7), double('infinity'), id % 13) x",
    )  # fmt: skip
    orders.coalesce(1).write.parquet(f"{root}/orders")
    file = root / "conf.yaml"
    file.write_text(YAML.format(root=root), "utf-8")
    return str(file)


def test_the_diagnosis_is_printed_for_people(conf: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", conf, "--set", "orders.positive_label=yes"]) == 0
    printed = capsys.readouterr().out
    parts = ("2 break a rule", "infinite_feature: 2 rows", "Class 1 is 'yes'", "train", "Severity: mild", "recall 0")
    for part in parts:
        assert part in printed
    assert "features with one value only: ['channel']" in printed


def test_the_diagnosis_is_one_json_object_for_machines(conf: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", conf, "--set", "orders.positive_label=yes", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["validation"]["class_counts"] == {"no": 898, "yes": 100}
    assert set(found["diagnosis"]["by_split"]) == {"train", "validation", "test"}
    assert sum(sum(counts.values()) for counts in found["diagnosis"]["by_split"].values()) == 998


def test_a_broken_contract_is_code_3_and_one_line(conf: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", conf]) == 3
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("ERROR 3: orders.label")
    assert "orders.positive_label" in last


def test_a_wrong_config_is_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(tmp_path / "absent.yaml")]) == 2
    assert "ERROR 2" in capsys.readouterr().err
