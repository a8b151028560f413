"""Orders scored as they come, while the champion moves twice and the registry restarts: which model scored which."""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from mlflow.tracking import MlflowClient
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.orders.datasets.population import CATEGORICAL_FEATURES, NUMERIC_FEATURES
from imbalance_spark.orders.datasets.synthetic import generate_orders

_ROOT = Path(__file__).resolve().parents[1]
_MODEL, _ALIAS = "orders", "champion"
_SETTINGS = {"spark.driver.memory": "4g", "spark.ui.enabled": "false", "spark.log.level": "ERROR"}
_TRAIN_ROWS, _PREVALENCE, _SEED = 100_000, 0.005, 7
_TRIES, _DOWN_S, _START_LIMIT_S = 5, 10.0, 120.0


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One `jobs/score.py --incremental`.

    Args:
        champion: version that the alias named when the job had read it.
        tries: runs of the job until one ended with 0: the registry may be away.
    """

    champion: str
    tries: int
    seconds: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=20_000_000, help="orders to score")
    parser.add_argument("--arrivals", type=int, default=8, help="files in which they come, one after another")
    parser.add_argument("--workers", type=int, default=2, help="cores of Spark")
    parser.add_argument("--home", type=Path, help="new folder for tables and the registry, kept (a temporary one)")


def run(args: argparse.Namespace) -> dict[str, object]:
    if args.arrivals < 4:
        raise SystemExit("--arrivals must be at least 4: the champion moves in two, the registry restarts in another")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) if args.home is None else args.home.resolve()
        home.mkdir(parents=True, exist_ok=True)
        _write_orders(home, args)
        with _registry(home) as registry:
            _register_versions(home, registry.uri)
            batches = list(_arrivals(home, registry, args))
        with spark_session("bench-load", f"local[{args.workers}]", _SETTINGS) as spark:
            found = _judged(spark, home, batches)
    for name, value in found.items():
        print(f"{name:<28} {value}")
    asked = {name: value for name, value in vars(args).items() if name not in ("name", "home")}
    return {**asked, **found}


class _Registry:
    """An MLflow server over SQLite, at one address whenever it runs."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        store = ["--backend-store-uri", f"sqlite:///{self._home}/mlflow.db"]
        place = ["--artifacts-destination", f"{self._home}/artifacts", "--host", "127.0.0.1", "--port", str(self._port)]
        with (self._home / "registry.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *store, *place, "--workers", "1"],
                stdout=log, stderr=log, start_new_session=True, cwd=self._home,
            )  # fmt: skip
        _wait_until(self._answers)

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2.0) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def _registry(home: Path) -> Iterator[_Registry]:
    registry = _Registry(home)
    registry.start()
    try:
        yield registry
    finally:
        registry.kill()


def _write_orders(home: Path, args: argparse.Namespace) -> None:
    """The rows to train on, and a file, or several, for each arrival."""
    columns = ["order_id", *NUMERIC_FEATURES, *CATEGORICAL_FEATURES]
    each = -(-args.rows // args.arrivals)
    with spark_session("bench-load", f"local[{args.workers}]", _SETTINGS) as spark:
        log = generate_orders(spark, rows=_TRAIN_ROWS, prevalence=_PREVALENCE, seed=_SEED)
        log.select(*columns, "is_fraud").write.parquet(f"{home}/train")
        coming = generate_orders(
            spark, rows=args.rows, prevalence=_PREVALENCE, seed=_SEED + 1, partitions=args.arrivals * args.workers
        )
        number = F.floor(F.col("order_id") / each).cast("int")
        coming.select(*columns, number.alias("arrival")).write.partitionBy("arrival").parquet(f"{home}/coming")
    print(f"{args.rows:,} orders are written", flush=True)


def _register_versions(home: Path, uri: str) -> None:
    """Versions 1, 2 and 3 of one model, whose thresholds differ; the first is the champion."""
    config = {
        "name": "load", "output": f"{home}/runs", "strategies": ["none"], "evaluation": "holdout",
        "orders": {
            "source": {"path": f"{home}/train", "format": "parquet"}, "key": ["order_id"], "label": "is_fraud",
            "numeric": [*NUMERIC_FEATURES], "categorical": [*CATEGORICAL_FEATURES],
        },
        "training": {"num_workers": 2, "rounds": 50},
        "objectives": [{"name": "min_cost", "fn": 10.0, "fp": 1.0}],
        "tracking": {"uri": uri, "experiment": "load", "registered_model": _MODEL},
    }  # fmt: skip
    (home / "load.yaml").write_text(yaml.safe_dump(config), "utf-8")
    _job("train.py", ["--config", f"{home}/load.yaml"], home)
    client = MlflowClient(uri)
    run_id = client.get_model_version(_MODEL, "1").run_id
    for fn in ("20", "40"):
        _job("retune.py", ["--run", run_id, "--objective", "min_cost", "--fn", fn, "--fp", "1", "--tracking-uri", uri,
                           "--register", _MODEL], home)  # fmt: skip
    client.set_registered_model_alias(_MODEL, _ALIAS, "1")


def _arrivals(home: Path, registry: _Registry, args: argparse.Namespace) -> Iterator[Scored]:
    """Each arrival is scored; in two of them the alias moves meanwhile, before one the registry is killed."""
    client, arrived = MlflowClient(registry.uri), home / "orders"
    arrived.mkdir()
    moves = {args.arrivals // 4: "2", 3 * args.arrivals // 4: "3"}
    champion = "1"
    for number in range(args.arrivals):
        for place, file in enumerate(sorted((home / f"coming/arrival={number}").glob("*.parquet"))):
            shutil.move(file, arrived / f"{number:03}_{place}.parquet")
        is_killed = number == args.arrivals // 2
        if is_killed:
            registry.kill()
        begun, tries = time.monotonic(), 1
        process = _score(home, registry.uri, args.workers)
        if is_killed:
            time.sleep(_DOWN_S)
            registry.start()
        read = champion
        once_begun = partial(_move, client, moves[number]) if number in moves else None
        while not _ended_well(process, home, once_begun):
            if tries == _TRIES:
                raise SystemExit(f"jobs/score.py failed {_TRIES} times, see {home}/score.log")
            tries, process = tries + 1, _score(home, registry.uri, args.workers)
        champion = client.get_model_version_by_alias(_MODEL, _ALIAS).version
        found = Scored(champion=str(read), tries=tries, seconds=time.monotonic() - begun)
        print(f"arrival {number}: champion {read}, {tries} tries, {found.seconds:.0f} s", flush=True)
        yield found


def _score(home: Path, uri: str, workers: int) -> "subprocess.Popen[str]":
    command = [
        sys.executable, str(_ROOT / "jobs/score.py"), "--model", f"models:/{_MODEL}@{_ALIAS}", "--input",
        f"{home}/orders", "--format", "parquet", "--incremental", "--output", f"{home}/scored", "--tracking-uri", uri,
        "--master", f"local[{workers}]",
    ]  # fmt: skip
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=home)


def _ended_well(process: "subprocess.Popen[str]", home: Path, once_begun: Callable[[], None] | None) -> bool:
    """Whether the job ended with 0; `once_begun` is called when it says that it scores, with a model that it has."""
    assert process.stderr is not None
    with (home / "score.log").open("a", encoding="utf-8") as log:
        for line in process.stderr:
            log.write(line)
            if once_begun is not None and line.startswith("[2/2] score ..."):
                once_begun()
                once_begun = None
    return process.wait() == 0


def _move(client: MlflowClient, version: str) -> None:
    client.set_registered_model_alias(_MODEL, _ALIAS, version)


def _judged(spark: SparkSession, home: Path, batches: Sequence[Scored]) -> dict[str, object]:
    """Rows of each batch by version, against the champion that its job began with."""
    scored = spark.read.format("delta").load(f"{home}/scored")
    counted = scored.groupBy("batch", "model_version").agg(F.count("*").alias("rows"), F.min("scored_at").alias("at"))
    by_batch = counted.orderBy("at").collect()
    served = [str(row["model_version"]) for row in by_batch]
    seconds = [batch.seconds for batch in batches]
    return {
        "rows": sum(row["rows"] for row in by_batch),
        "keys": scored.select("order_id").distinct().count(),
        "batches": len({row["batch"] for row in by_batch}),
        "batches_of_two_versions": len(by_batch) - len({row["batch"] for row in by_batch}),
        "versions": served,
        "champions_at_begin": [batch.champion for batch in batches],
        "by_another_than_the_champion": sum(a != b.champion for a, b in zip(served, batches, strict=True)),
        "tries": [batch.tries for batch in batches],
        "seconds": [round(one, 1) for one in seconds],
        "rows_a_second": round(sum(row["rows"] for row in by_batch) / sum(seconds)),
    }


def _job(name: str, arguments: Sequence[str], home: Path) -> None:
    done = subprocess.run([sys.executable, str(_ROOT / "jobs" / name), *arguments], cwd=home, check=False)
    if done.returncode != 0:
        raise SystemExit(f"jobs/{name} failed, see its last line")


def _wait_until(holds: Callable[[], Any]) -> None:
    ends = time.monotonic() + _START_LIMIT_S
    while not holds():
        if time.monotonic() > ends:
            raise SystemExit(f"the registry did not answer within {_START_LIMIT_S:g} s")
        time.sleep(0.2)
