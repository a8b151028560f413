"""Split, sampling and scoring on a real standalone cluster: failing, doubled and lost tasks change no row."""

from typing import Any

import pytest
from support.standalone_cluster import Cluster, run_driver

LIMIT_S = 900
DISTURBANCES = ("none", "kill_executor", "decommission", "fail_once", "run_twice")


@pytest.fixture(scope="module")
def outcomes(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """Rows and fingerprints of each stage's result: one driver for all."""
    return run_driver(cluster, "disturbed_stages.py", DISTURBANCES, LIMIT_S)


@pytest.mark.parametrize("disturbance", DISTURBANCES[1:])
def test_a_disturbed_stage_gives_the_rows_of_an_undisturbed_one(
    outcomes: dict[str, dict[str, Any]], disturbance: str
) -> None:
    assert outcomes[disturbance] == outcomes["none"]
    assert {stage: rows for stage, (rows, _) in outcomes["none"].items()} == {
        "split": 6000, "sample": 1020 + 70, "scored": 3000,
    }  # fmt: skip
