"""Peak memory of Spark's Python workers, as the kernel counts it for each process."""

import os
from collections.abc import Iterator
from pathlib import Path

_WORKER = b"pyspark.daemon"


def python_workers_mb() -> list[float]:
    """Peak resident memory of each Python worker below this process that still lives, largest first.

    Spark keeps a worker for a minute after its task: ask right after a job. Linux only; elsewhere an empty list.
    """
    parents = dict(_parents())
    # The daemon forks its workers: they have its command line, and it for a parent.
    workers = [pid for pid in parents if _is_worker(pid) and _is_worker(parents[pid]) and _is_below(pid, parents)]
    return sorted(filter(None, map(_peak_mb, workers)), reverse=True)


def _parents() -> Iterator[tuple[int, int]]:
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in brackets may hold anything, spaces and brackets too.
            yield int(status.parent.name), int(status.read_text("utf-8").rpartition(")")[2].split()[1])
        except OSError:
            continue  # it ended meanwhile


def _is_worker(pid: int) -> bool:
    try:
        return _WORKER in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _is_below(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents and pid != os.getpid():
        pid = parents[pid]
    return pid == os.getpid()


def _peak_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    except OSError:
        return 0.0
    [peak] = [line for line in lines if line.startswith("VmHWM:")] or ["VmHWM: 0 kB"]
    return int(peak.split()[1]) / 1024.0
