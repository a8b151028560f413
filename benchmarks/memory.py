"""Peak memory of Spark's Python workers, as the kernel counts it for each process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark import SparkContext

_WORKER = b"pyspark.daemon"
_SIDE = "BENCHMARK_SIDE"


@contextmanager
def workers_of(context: SparkContext, side: str) -> Iterator[None]:
    """Jobs of the block have Python workers that no other side uses: Spark shares workers of equal environments."""
    context.environment[_SIDE] = side
    try:
        yield
    finally:
        del context.environment[_SIDE]


def python_workers_mb(side: str) -> list[float]:
    """Peak resident memory of each Python worker of a side that still lives, largest first.

    Spark keeps a worker for a minute after its task: ask right after a job. Linux only; elsewhere an empty list.
    """
    parents = dict(_parents())
    # The daemon forks its workers: they have its command line, and it for a parent.
    workers = [pid for pid in parents if _is_worker(pid) and _is_worker(parents[pid]) and _is_below(pid, parents)]
    return sorted(filter(None, (_peak_mb(pid) for pid in workers if _is_of(pid, side))), reverse=True)


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


def _is_of(pid: int, side: str) -> bool:
    try:
        return f"{_SIDE}={side}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
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
