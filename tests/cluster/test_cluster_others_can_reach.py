"""The settings of docs/clusters.md for a cluster that others can reach: who knows its secret is let in, nobody else."""

import json
import subprocess
import sys
from pathlib import Path

from support.forks import ROOT
from support.standalone_cluster import FIT, environment, standalone_cluster, wait_for

DRIVER = """
import json, sys
from pyspark.sql import SparkSession
builder = SparkSession.builder.master(sys.argv[1])
for name, value in json.loads(sys.argv[2]).items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
moved = spark.range(1000, numPartitions=2).repartition(2).mapInArrow(lambda batches: batches, "id long")
print(json.dumps([moved.selectExpr("sum(id)").first()[0], spark.sparkContext.uiWebUrl]))
"""
REFUSED = r"Exception while bootstrapping client"


def settings() -> dict[str, str]:
    page = (ROOT / "docs/clusters.md").read_text("utf-8")
    block = page.split("## A cluster that others can reach")[1].split("```text\n")[1].split("```")[0]
    return dict(line.split() for line in block.splitlines())


def test_its_settings_let_in_who_knows_the_secret_and_nobody_else(tmp_path: Path) -> None:
    asked = settings()
    assert asked["spark.authenticate"] == "true"
    assert len(asked) >= 6
    options = " ".join(f"-D{name}={value}" for name, value in {**asked, "spark.authenticate.secret": "right"}.items())
    with standalone_cluster(tmp_path, options, workers=1) as cluster:

        def driver(secret: str, log: Path) -> "subprocess.Popen[str]":
            conf = {**FIT, **asked, "spark.authenticate.secret": secret}
            with log.open("w") as errors:
                return subprocess.Popen(
                    [sys.executable, "-c", DRIVER, cluster.url, json.dumps(conf)],
                    env=environment(tmp_path), cwd=tmp_path, stdout=subprocess.PIPE, stderr=errors, text=True,
                )  # fmt: skip

        let_in = driver("right", tmp_path / "right.log")
        out, _ = let_in.communicate(timeout=180)
        assert let_in.returncode == 0, (tmp_path / "right.log").read_text("utf-8")[-2000:]
        # Rows have been to executors and their Python, and from one to another; no page tells of them.
        assert json.loads(out.splitlines()[-1]) == [499500, None]
        assert REFUSED not in (tmp_path / "right.log").read_text("utf-8")
        refused = driver("wrong", tmp_path / "wrong.log")
        try:
            wait_for(tmp_path / "wrong.log", REFUSED)
        finally:
            refused.kill()
            out, _ = refused.communicate(timeout=30)
        assert not out
