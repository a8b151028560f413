"""What a long job is doing, stage by stage, for the person who started it."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from pyspark import SparkContext

from imbalance_spark.core.masking import visible


@dataclass
class Step:
    """One stage under way; `says` adds what came out of it to its line."""

    name: str
    notes: list[str] = field(default_factory=list)

    def says(self, note: str) -> None:
        """Add a note, such as `412,331,902 -> 9,800,112 rows`."""
        self.notes.append(note)


@dataclass
class Progress:
    """Prints `[3/7] sample  412,331,902 -> 9,800,112 rows  41 s` for each stage of a job.

    Args:
        stages: names of all stages, in their order.
        quiet: print nothing.
        stream: where to; stderr unless given, since stdout is for results.
    """

    stages: Sequence[str]
    quiet: bool = False
    stream: TextIO | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Announce one of the stages, name its Spark jobs after it, and print how it ended and its time."""
        position = self.stages.index(name) + 1
        number, started, step = f"[{position}/{len(self.stages)}]", time.monotonic(), Step(name)
        self._print(f"{number} {name} ...")
        _describe_spark_jobs(name)
        try:
            yield step
        finally:
            _describe_spark_jobs(None)
        parts = [f"{number} {name}", "; ".join(step.notes), f"{time.monotonic() - started:.0f} s"]
        self._print("  ".join(filter(None, parts)))

    def _print(self, line: str) -> None:
        if not self.quiet:
            print(visible(line), file=self.stream or sys.stderr, flush=True)


def _describe_spark_jobs(name: str | None) -> None:
    # Not the active session: a thread that goes on with a session begun elsewhere has none.
    context = SparkContext._active_spark_context
    if context is not None:
        context.setLocalProperty("spark.job.description", name)  # type: ignore[arg-type]
