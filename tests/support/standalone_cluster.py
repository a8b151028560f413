"""A real standalone cluster on the loopback: a master and two workers of one core each."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyspark

from support.forks import ROOT
from support.spark_settings import JAVA_OPTIONS

SPARK_HOME = Path(pyspark.__file__).parent


@dataclass(frozen=True)
class Cluster:
    home: Path
    url: str
    workers: tuple[int, ...]
    """Process ids of the workers' JVMs."""


def environment(home: Path) -> dict[str, str]:
    """What the cluster and its drivers run in: executors find no package by way of PYTHONPATH."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_", "PYTHONPATH"))
    }
    return {
        **kept,
        "SPARK_HOME": str(SPARK_HOME),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_WORKER_DIR": str(home / "work"),
        "SPARK_LOG_DIR": str(home / "logs"),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_SUBMIT_OPTS": JAVA_OPTIONS,
        "SPARK_DAEMON_JAVA_OPTS": JAVA_OPTIONS,
        "SPARK_DAEMON_MEMORY": "256m",
    }


FIT = {
    "spark.executor.memory": "1g", "spark.executor.extraJavaOptions": JAVA_OPTIONS, "spark.sql.shuffle.partitions": "5",
}  # fmt: skip
"""What a driver sets so that its executors fit the two workers."""


def run_driver(cluster: Cluster, script: str, names: Sequence[str], limit_s: float) -> Any:
    """What a driver of `tests/support` prints last, as JSON: one for all of these cases, in their order."""
    workers = ",".join(map(str, cluster.workers))
    ended = subprocess.run(
        [sys.executable, str(ROOT / "tests/support" / script), cluster.url, workers, *names],
        env={**environment(cluster.home), "PYTHONPATH": f"{ROOT}:{ROOT}/tests"}, cwd=cluster.home,
        capture_output=True, text=True, timeout=limit_s, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    sys.stderr.write(ended.stderr[-2000:])
    return json.loads(ended.stdout.strip().splitlines()[-1])


@contextmanager
def standalone_cluster(home: Path, daemon_options: str = "", workers: int = 2) -> Iterator[Cluster]:
    """Started in a folder, ended with the block.

    Args:
        daemon_options: of the JVMs of master and workers, beside those of all.
    """
    daemons = environment(home)
    daemons["SPARK_DAEMON_JAVA_OPTS"] += f" {daemon_options}"
    processes: list[subprocess.Popen[bytes]] = []

    def start(name: str, *arguments: str) -> Path:
        log = home / f"{name}.log"
        with log.open("wb") as out:
            command = [str(SPARK_HOME / "bin/spark-class"), f"org.apache.spark.deploy.{arguments[0]}", *arguments[1:]]
            processes.append(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=daemons))
        return log

    try:
        master = start("master", "master.Master", "--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        url = wait_for(master, r"spark://127\.0\.0\.1:\d+")
        options = ("--host", "127.0.0.1", "--cores", "1", "--memory", "2g", "--webui-port", "0", url)
        names = [f"worker-{number}" for number in range(1, workers + 1)]
        for log in [start(name, "worker.Worker", *options) for name in names]:
            wait_for(log, "Successfully registered with master")
        yield Cluster(home, url, tuple(process.pid for process in processes[1:]))
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(timeout=30)


def wait_for(log: Path, pattern: str) -> str:
    """The first text in a growing log that matches."""
    for _ in range(300):
        if found := re.search(pattern, log.read_text("utf-8", "replace")):
            return found.group()
        time.sleep(0.2)
    raise AssertionError(f"no {pattern!r} in {log.name} within a minute")
