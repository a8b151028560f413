"""One worker of a distributed fit: a barrier task that takes its rows to local disk, and boosts with its peers."""

import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
from pyspark import BarrierTaskContext

from imbalance_spark.core.errors import DataContractError, TrainingError
from imbalance_spark.core.imports import without_sklearn
from imbalance_spark.train_only.learners.boosting import Progress, Site, alone
from imbalance_spark.train_only.learners.round_reports import RoundReporter

if TYPE_CHECKING:
    from imbalance_spark.train_only.learners.spill import SpilledRows

OUTPUT = "worker int, record string, model binary"
"""Schema of what `Worker` yields: a row a worker, the first one's with the booster of all rounds run."""


class Boosting(Protocol):
    """What a learner does with the rows of one worker."""

    def load(self, to_fit: "SpilledRows", stopping: "SpilledRows", site: Site) -> Any:
        """What it boosts on; nobody waits for this worker meanwhile."""

    def boost(self, loaded: Any, progress: Progress, site: Site) -> Progress:
        """The rounds that are left, together with all other workers, within XGBoost's communicator."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """What each task does with its rows; for `mapInArrow(barrier=True)`.

    Args:
        inputs: names of the feature columns.
        weight: name of the weight column.
        tracker: where workers find each other, as arguments of XGBoost's communicator.
        resumed: what an earlier attempt has done.
        reporter: tells the driver of rounds and checkpoints, and lets workers meet.
    """

    boosting: Boosting
    inputs: tuple[str, ...]
    weight: str | None
    num_workers: int
    tracker: Mapping[str, Any]
    resumed: Progress | None
    reporter: RoundReporter

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """A row about this worker; the batches are read once."""
        context = BarrierTaskContext.get()
        self._require_peers(len(context.getTaskInfos()))
        threads = context.cpus()
        if threads > 1:
            # OpenMP's threads spin for a core otherwise, beside processes that need it; read when XGBoost is loaded.
            os.environ.setdefault("GOMP_SPINCOUNT", "1000")
        record, model = self._fit(batches, context, threads)
        columns = [[context.partitionId()], [json.dumps(record)], [model if context.partitionId() == 0 else None]]
        yield pa.RecordBatch.from_arrays(
            [pa.array(columns[0], pa.int32()), pa.array(columns[1], pa.string()), pa.array(columns[2], pa.binary())],
            names=["worker", "record", "model"],
        )

    def _require_peers(self, tasks: int) -> None:
        if tasks != self.num_workers:
            raise TrainingError(
                f"the barrier stage has {tasks} tasks for {self.num_workers} workers, which would wait for each other. "
                "Report this plan as a bug."
            )

    def _fit(
        self, batches: Iterable[pa.RecordBatch], context: BarrierTaskContext, threads: int
    ) -> tuple[dict[str, Any], bytes]:
        with ExitStack() as stack:
            stack.enter_context(without_sklearn())
            import xgboost  # importing this package needs no xgboost

            from imbalance_spark.train_only.learners import spill

            folder, clock = spill.local_folder(), _Clock()
            stack.enter_context(xgboost.config_context(verbosity=0))
            to_fit, stopping = spill.spilled(batches, self.inputs, self.weight, folder)
            stack.callback(to_fit.file.close)
            stack.callback(stopping.file.close)
            clock.lap("spill")
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
            progress = self._boosted(to_fit, stopping, context, clock, scratch, threads)
        record = {
            "rows": to_fit.rows + stopping.rows, "spilled_bytes": to_fit.bytes + stopping.bytes, "seconds": clock.laps,
            "fingerprint": progress.rows, "training": progress.training, "validation": progress.validation,
        }  # fmt: skip
        return record, progress.model

    def _boosted(
        self,
        to_fit: "SpilledRows",
        stopping: "SpilledRows",
        context: BarrierTaskContext,
        clock: "_Clock",
        scratch: Path,
        threads: int,
    ) -> Progress:
        from xgboost import collective

        worker = context.partitionId()
        is_first = worker == 0
        site = Site(
            threads=threads, host=self.reporter.own_host(), scratch=scratch,
            tell=self.reporter.tell if is_first else _say_nothing,
            keep=self.reporter.hand_over if is_first else _say_nothing,
            meet=alone if self.num_workers == 1 else partial(self.reporter.meet, worker, self.num_workers),
        )  # fmt: skip
        loaded = self.boosting.load(to_fit, stopping, site)
        clock.lap("build")
        # Nobody waits in the communicator for a peer that is still loading: its timeout is for rounds alone.
        site.meet("")
        with collective.CommunicatorContext(**self.tracker, dmlc_task_id=f"{worker:06}"):
            done = self.boosting.boost(loaded, self._started(to_fit.fingerprint, stopping.fingerprint), site)
        clock.lap("boost")
        return done

    def _started(self, to_fit: int, stopping: int) -> Progress:
        """What there is to go on from; every worker finds the same."""
        from xgboost import collective

        sums = collective.allreduce(np.array([to_fit, stopping], dtype=np.uint64), collective.Op.SUM)
        rows = int(sums[0]) ^ (int(sums[1]) << 1)
        if self.resumed is None:
            return Progress(rows=rows)
        if self.resumed.rows != rows:
            raise DataContractError(
                "a checkpoint of this fit was made on other rows. Start a new run_id, or delete the checkpoint to "
                "begin at the first round."
            )
        return self.resumed


class _Clock:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name], self._last = round(now - self._last, 3), now


def _say_nothing(_: object) -> None:
    pass
