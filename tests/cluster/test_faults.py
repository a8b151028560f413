"""A fit on a real standalone cluster while its workers are killed or stopped, by signals to real processes."""

import re
from typing import Any

import pytest
from support.standalone_cluster import Cluster, run_driver

LIMIT_S = 900
PEER_GONE = "a worker's peer is gone, as it is when the system killed it for memory"
"""What the other worker says, whose failure may come first."""

# The last one takes a node away for good.
FAULTS = ("none", "kill_executor", "kill_python", "stop_python", "kill_worker")


@pytest.fixture(scope="module")
def outcomes(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """What became of each fit: one driver for all, in this order."""
    return run_driver(cluster, "watched_fits.py", FAULTS, LIMIT_S)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("kill_executor", f"an executor was lost|{PEER_GONE}"),
        ("kill_python", f"a worker's Python process was killed, as the system does when memory runs out|{PEER_GONE}"),
        ("stop_python", r"no progress for 15 s \(training.stall_limit_s\) after round \d+"),
    ],
)
def test_a_fit_that_lost_a_worker_is_run_again_and_gives_the_same_booster(
    outcomes: dict[str, dict[str, Any]], fault: str, said: str
) -> None:
    found, undisturbed = outcomes[fault], outcomes["none"]
    assert undisturbed["said"] == []
    assert found.get("booster") == undisturbed["booster"], found
    # A busy machine may stall an attempt of its own before the fault befalls one.
    lines = rf"training of strategy '{fault}': attempt \d of \d: ({said})"
    assert any(re.fullmatch(lines, line) for line in found["said"]), found


def test_a_fit_whose_node_is_gone_ends_when_the_wait_for_slots_does(outcomes: dict[str, dict[str, Any]]) -> None:
    found = outcomes["kill_worker"]
    assert found["error"] == "SlotsUnavailableError"
    assert found["line"].startswith("training.num_workers is 2, but Spark has 1 slots after 3 s")
