"""Split, sampling and scoring on a real standalone cluster: failing, doubled and lost tasks change no row."""

import json
import subprocess
import sys
from typing import Any

import pytest
from support.forks import ROOT
from support.standalone_cluster import Cluster, environment

LIMIT_S = 900
DISTURBANCES = ("none", "kill_executor", "decommission", "fail_once", "run_twice")


@pytest.fixture(scope="module")
def outcomes(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """Rows and fingerprints of each stage's result: one driver for all."""
    workers = ",".join(map(str, cluster.workers))
    ended = subprocess.run(
        [sys.executable, str(ROOT / "tests/support/disturbed_stages.py"), cluster.url, workers, *DISTURBANCES],
        env={**environment(cluster.home), "PYTHONPATH": f"{ROOT}:{ROOT}/tests"}, cwd=cluster.home,
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    sys.stderr.write(ended.stderr[-2000:])
    return json.loads(ended.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("disturbance", DISTURBANCES[1:])
def test_a_disturbed_stage_gives_the_rows_of_an_undisturbed_one(
    outcomes: dict[str, dict[str, Any]], disturbance: str
) -> None:
    assert outcomes[disturbance] == outcomes["none"]
    assert {stage: rows for stage, (rows, _) in outcomes["none"].items()} == {
        "split": 6000, "sample": 1020 + 70, "scored": 3000,
    }  # fmt: skip
