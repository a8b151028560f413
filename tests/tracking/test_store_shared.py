"""One MLflow store, several processes: who touches it first, and who promotes first."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from support.mlflow_store import new_store

from imbalance_spark.tracking import registry as tracking_registry
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.tracking.registry import Registered, champion_of, promote
from imbalance_spark.tracking.runs import connect

_THREE_AT_ONCE = """
import os, sys
from imbalance_spark.tracking.config import TrackingConfig
from imbalance_spark.tracking.runs import connect

uri, (ready, go) = sys.argv[1], os.pipe()
children = []
for number in range(3):
    if (pid := os.fork()) == 0:
        os.close(go)
        os.read(ready, 1)  # ends for all at once, when the parent closes its side
        connect(TrackingConfig(uri=uri, experiment="new"))
        os._exit(0)
    children.append(pid)
os.close(go)
sys.exit(sum(os.waitpid(pid, 0)[1] != 0 for pid in children))
"""


def test_three_processes_may_touch_a_new_store_first(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    ended = subprocess.run(
        [sys.executable, "-c", _THREE_AT_ONCE, uri],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    mlflow.set_tracking_uri(uri)
    assert [found.name for found in MlflowClient().search_experiments()].count("new") == 1


@pytest.fixture
def registry(tmp_path: Path) -> MlflowClient:
    """Three versions of `orders`; the first is champion."""
    connect(TrackingConfig(uri=new_store(tmp_path), experiment="e"))
    client = MlflowClient()
    client.create_registered_model("orders")
    for _ in range(3):
        client.create_model_version("orders", source=f"{tmp_path}/model")
    client.set_registered_model_alias("orders", "champion", "1")
    return client


def test_of_two_promotions_at_once_one_is_champion_and_the_other_challenger(
    registry: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(name: str) -> object:
        found = champion_of(name)
        time.sleep(0.3)  # long enough for the other one to look, too, before an alias moves
        return found

    monkeypatch.setattr(tracking_registry, "champion_of", slowly)
    found: dict[str, Registered] = {}
    start = threading.Barrier(2)

    def run(version: str) -> None:
        start.wait()
        found[version] = promote("orders", version, against="1", reason="better")

    threads = [threading.Thread(target=run, args=(version,)) for version in ("2", "3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.alias for one in found.values()) == ["challenger", "champion"]
    [winner] = [version for version, one in found.items() if one.alias == "champion"]
    [loser] = {"2", "3"} - {winner}
    assert registry.get_model_version_by_alias("orders", "champion").version == int(winner)
    assert registry.get_model_version_by_alias("orders", "challenger").version == int(loser)
    assert registry.get_model_version("orders", winner).tags["replaced_version"] == "1"
    assert f"The champion became version {winner} meanwhile" in found[loser].reason


def test_on_a_server_the_one_that_was_overtaken_becomes_challenger(
    registry: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter(["1", "3"])  # before the alias moves, and after: version 3 came in between
    monkeypatch.setattr(tracking_registry, "champion_of", lambda name: _version(registry, next(looks)))
    found = promote("orders", "2", against="1", reason="better")
    assert (found.alias, "became version 3 meanwhile" in found.reason) == ("challenger", True)


def _version(registry: MlflowClient, number: str) -> object:
    return tracking_registry._version(registry.get_model_version("orders", number))
