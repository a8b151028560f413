"""The main job on logs of several sizes: seconds, bytes and memory of each stage, and what larger ones would cost."""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.event_log import StageWork, work_by_stage
from imbalance_spark.core.spark_session import delta_package

_ROOT = Path(__file__).resolve().parents[1]
_PREVALENCE = "0.001"
_COLUMNS = (
    "order_id,customer_id,ordered_at,amount,is_fraud,amount_over_customer_mean,orders_last_24h,customer_activity,"
    "device_age_days,distance_km,country,payment_method,channel"
)
"""What `conf/billion.yaml` reads of generated orders."""
_ALL, _WITHIN = "all stages", 0.15
_LINE = re.compile(r"\[\d+/\d+\] (?P<name>.+?)(?P<begins> \.\.\.)?(?:  .*)?$")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run of the main job.

    Args:
        seconds: by stage, in their order.
        work: what Spark did in each stage that started a job.
        driver_mb: peak memory of the Python driver.
        disk_mb: of the run's folder at the end.
    """

    rows: int
    seconds: Mapping[str, float]
    work: Mapping[str, StageWork]
    driver_mb: float
    disk_mb: float

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """Seconds of a stage: `fixed` and, for each row, `a_row`, which as many more slots divide."""

    fixed: float
    a_row: float

    @classmethod
    def of(cls, rows: Sequence[int], seconds: Sequence[float]) -> "CostModel":
        """By least squares of relative errors, neither part below 0."""
        from scipy.optimize import nnls

        weight = 1.0 / np.maximum(np.array(seconds), 0.1)
        terms = np.column_stack([np.ones(len(rows)), np.array(rows, dtype=float)]) * weight[:, None]
        scale = terms.max(axis=0)
        found, _ = nnls(terms / scale, np.array(seconds) * weight)
        return cls(fixed=float(found[0] / scale[0]), a_row=float(found[1] / scale[1]))

    def at(self, rows: float, more_slots: float = 1.0) -> float:
        """Seconds on `more_slots` times the slots of the machine that was measured."""
        return self.fixed + self.a_row * rows / more_slots


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=_sizes, default=[1_000_000, 3_000_000, 10_000_000], help="such as 1e6,1e7,1e8")
    parser.add_argument("--max-rows", type=_whole, default=2_000_000, help="of the training pool")
    parser.add_argument("--rounds", type=int, default=100, help="boosting rounds, at most")
    parser.add_argument("--predict", type=_sizes, default=[10**9, 10**10], help="rows whose costs are predicted")
    parser.add_argument("--executors", type=_sizes, default=[10, 100], help="of 4 slots each, for the prediction")
    parser.add_argument("--driver-memory", default="6g", help="heap of the JVM, which is driver and executor")
    parser.add_argument("--home", type=Path, help="folder for orders and runs, kept (a temporary one)")


def run(args: argparse.Namespace) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) if args.home is None else args.home.resolve()
        measured = [_measured(home, rows, args) for rows in args.rows]
    stages = list(dict.fromkeys(stage for one in measured for stage in one.seconds))
    for one in measured:
        _show(one)
    found: dict[str, object] = {"exponent": _exponent(measured)}
    if len(measured) > 2:
        found |= _checked(measured, stages)
    models = {stage: _model(measured, stage) for stage in stages}
    found["cost"] = {stage: {"fixed_s": round(m.fixed, 2), "s_a_million": round(m.a_row * 1e6, 3)}
                     for stage, m in models.items()}  # fmt: skip
    found["predicted_hours"] = _predicted(models, args)
    asked = {name: value for name, value in vars(args).items() if name not in ("name", "home")}
    return {**asked, **found, "runs": [_record(one) for one in measured]}


def _whole(text: str) -> int:
    return int(float(text))


def _sizes(text: str) -> list[int]:
    return [_whole(part) for part in text.split(",")]


def _measured(home: Path, rows: int, args: argparse.Namespace) -> Measured:
    """Orders generated, if they are not there, and one run of the main job over them in a process of its own."""
    orders, output, events = home / f"orders-{rows}", home / f"run-{rows}", home / f"events-{rows}"
    events.mkdir(parents=True, exist_ok=True)
    print(f"{rows:,} orders", flush=True)
    log = ["--rows", str(rows), "--prevalence", _PREVALENCE, "--columns", _COLUMNS, "--output", str(orders)]
    _submit(home, "generate_orders.py", [*log, "--master", "local[2]", "--quiet"], args, {})
    settings = {
        "run_id": "scale", "output": output, "orders.source.path": orders, "training.max_rows": args.max_rows,
        "training.rounds": args.rounds, "training.external_memory": "false",
        "tracking.uri": f"sqlite:///{home}/scale.db",
    }  # fmt: skip
    options = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    logged = {
        "spark.eventLog.enabled": "true", "spark.eventLog.dir": f"file://{events}",
        "spark.eventLog.logStageExecutorMetrics": "true", "spark.executor.processTreeMetrics.enabled": "true",
        "spark.executor.metrics.pollingInterval": "200ms", "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.compress": "false",
    }  # fmt: skip
    config = ["--config", str(_ROOT / "conf/billion.yaml"), *options]
    seconds, driver_mb = _submit(home, "train.py", config, args, logged)
    [event_log] = events.iterdir()
    return Measured(
        rows=rows,
        seconds=seconds,
        work=work_by_stage(event_log),
        driver_mb=driver_mb,
        disk_mb=_bytes_below(output) / 2**20,
    )


def _submit(
    home: Path, job: str, arguments: Sequence[str], args: argparse.Namespace, settings: Mapping[str, str]
) -> tuple[dict[str, float], float]:
    """Seconds between the lines that announce a stage and end it, and the driver's peak memory in MiB.

    Raises:
        SystemExit: the job failed.
    """
    import pyspark

    conf = {"spark.ui.enabled": "false", "spark.log.level": "ERROR", **settings}
    options = [part for name, value in conf.items() for part in ("--conf", f"{name}={value}")]
    submit = [str(Path(pyspark.__file__).parent / "bin/spark-submit"), "--packages", delta_package()]
    command = [*submit, "--driver-memory", args.driver_memory, *options, str(_ROOT / "jobs" / job), *arguments]
    place = {**os.environ, "PYTHONPATH": str(_ROOT), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    seconds: dict[str, float] = {}
    begun, peak, last = time.monotonic(), 0.0, ""
    with subprocess.Popen(
        command, cwd=home, env=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            peak, last = max(peak, _driver_mb(process.pid)), line
            if (found := _LINE.match(line.rstrip())) is None:
                continue
            if found["begins"]:
                begun = time.monotonic()
            else:
                print(f"  {line.rstrip()}", flush=True)
                seconds[found["name"]] = time.monotonic() - begun
    if process.returncode:
        raise SystemExit(f"jobs/{job} ended with {process.returncode}: {last.strip()}")
    return seconds, peak


def _driver_mb(submitted: int) -> float:
    """Peak resident memory of the Python process that spark-submit's JVM started."""
    for place in Path(f"/proc/{submitted}/task").glob("*/children"):
        for child in place.read_text("utf-8").split():
            status = Path(f"/proc/{child}/status").read_text("utf-8")
            if status.startswith("Name:\tpython") and (found := re.search(r"VmHWM:\s+(\d+) kB", status)):
                return int(found[1]) / 1024.0
    return 0.0


def _bytes_below(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _model(measured: Sequence[Measured], stage: str) -> CostModel:
    return CostModel.of([one.rows for one in measured], [one.seconds.get(stage, 0.0) for one in measured])


def _exponent(measured: Sequence[Measured]) -> float | None:
    """Of the growth of all stages' seconds between the two largest sizes."""
    if len(measured) < 2:
        return None
    first, second = sorted(measured, key=lambda one: one.rows)[-2:]
    return round(float(np.log(second.total / first.total) / np.log(second.rows / first.rows)), 3)


def _checked(measured: Sequence[Measured], stages: Sequence[str]) -> dict[str, object]:
    """The largest run as the smaller ones predict it."""
    *smaller, largest = sorted(measured, key=lambda one: one.rows)
    predicted = sum(_model(smaller, stage).at(largest.rows) for stage in stages)
    error = predicted / largest.total - 1.0
    print(f"predicted for {largest.rows:,} orders: {predicted:.0f} s, measured {largest.total:.0f} s, {error:+.1%}")
    return {"predicted_s": round(predicted, 1), "relative_error": round(error, 3), "is_within": abs(error) <= _WITHIN}


def _predicted(models: Mapping[str, CostModel], args: argparse.Namespace) -> dict[str, float]:
    found = {}
    for rows in args.predict:
        for executors in (0, *args.executors):
            more = 1.0 if executors == 0 else executors * 4 / 2
            where = "2 slots" if executors == 0 else f"{executors} executors of 4 slots"
            hours = sum(model.at(rows, more) for model in models.values()) / 3600.0
            found[f"{rows:,} orders, {where}"] = round(hours, 2)
            print(f"{rows:>15,} orders on {where}: {hours:.2f} hours")
    return found


def _show(one: Measured) -> None:
    head = ("seconds", "jobs", "shuffled MB", "JVM MB", "workers MB")
    print(f"\n{one.rows:,} orders{'':<16}" + "".join(f"{name:>13}" for name in head))
    for stage, seconds in one.seconds.items():
        work = one.work.get(stage, StageWork())
        cells = (f"{work.jobs}", f"{work.shuffled / 1e6:,.1f}", f"{work.jvm_mb:,.0f}", f"{work.python_mb:,.0f}")
        print(f"{stage:<28}{seconds:>10.1f}" + "".join(f"{cell:>13}" for cell in cells))
    print(f"{_ALL:<28}{one.total:>10.1f}   driver {one.driver_mb:,.0f} MiB, on disk {one.disk_mb:,.0f} MiB")


def _record(one: Measured) -> dict[str, object]:
    stages = {
        stage: {"s": round(seconds, 2), **one.work.get(stage, StageWork()).record()}
        for stage, seconds in one.seconds.items()
    }
    return {
        "rows": one.rows, "seconds": round(one.total, 1), "driver_mb": round(one.driver_mb),
        "disk_mb": round(one.disk_mb), "stages": stages,
    }  # fmt: skip
