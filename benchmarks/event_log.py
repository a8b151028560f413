"""What Spark did in each stage of a job, from its event log: stages name their Spark jobs after themselves."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(kw_only=True)
class StageWork:
    """Spark jobs, bytes written to shuffles, and the peaks of memory that executors saw meanwhile, in MiB."""

    jobs: int = 0
    shuffled: int = 0
    jvm_mb: float = 0.0
    python_mb: float = 0.0

    def record(self) -> dict[str, float]:
        """As JSON values."""
        return {name: round(value) for name, value in asdict(self).items()}


def work_by_stage(log: Path) -> dict[str, StageWork]:
    """By the description of the Spark jobs, in the order of their first one.

    Args:
        log: of a session with `spark.eventLog.logStageExecutorMetrics` and `spark.executor.processTreeMetrics.enabled`.
    """
    found: dict[str, StageWork] = {}
    names: dict[int, str] = {}
    for event in _events(log):
        kind = event["Event"]
        if kind == "SparkListenerJobStart":
            name = event["Properties"].get("spark.job.description")
            if name is not None:
                found.setdefault(name, StageWork()).jobs += 1
                names |= dict.fromkeys(event["Stage IDs"], name)
        elif kind == "SparkListenerTaskEnd" and event["Stage ID"] in names:
            written = (event.get("Task Metrics") or {}).get("Shuffle Write Metrics", {})
            found[names[event["Stage ID"]]].shuffled += written.get("Shuffle Bytes Written", 0)
        elif kind == "SparkListenerStageExecutorMetrics" and event["Stage ID"] in names:
            _keep_peaks(found[names[event["Stage ID"]]], event["Executor Metrics"])
    return found


def _events(log: Path) -> Iterator[Mapping[str, Any]]:
    with log.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _keep_peaks(work: StageWork, metrics: Mapping[str, float]) -> None:
    work.jvm_mb = max(work.jvm_mb, metrics.get("ProcessTreeJVMRSSMemory", 0) / 2**20)
    work.python_mb = max(work.python_mb, metrics.get("ProcessTreePythonRSSMemory", 0) / 2**20)
