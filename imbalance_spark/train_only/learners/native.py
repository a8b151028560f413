"""Our own engine: a barrier job of workers that bin rows by given cuts and boost together, resumed if one is lost."""

import json
import logging
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from xgboost.core import XGBoostError
from xgboost.tracker import RabitTracker

from imbalance_spark.core.columns import IS_EARLY_STOPPING, col
from imbalance_spark.core.files import Folder
from imbalance_spark.orders.model_inputs import LABEL
from imbalance_spark.scoring.tree_json import with_missing_left
from imbalance_spark.train_only.learners.boosting import BoostingPlan, Progress, XGBoostRounds
from imbalance_spark.train_only.learners.cuts import FeatureCuts, collect_cuts
from imbalance_spark.train_only.learners.engine import BoostedRounds, FitRequest, xgboost_params
from imbalance_spark.train_only.learners.layout import one_file_a_worker
from imbalance_spark.train_only.learners.retry import fit_watched
from imbalance_spark.train_only.learners.round_reports import RoundReporter
from imbalance_spark.train_only.learners.worker import OUTPUT, Boosting, Worker

logger = logging.getLogger(__name__)


def fit_native(request: FitRequest) -> BoostedRounds:
    """The rounds of workers that we start ourselves; a lost fit resumes from its last checkpoint.

    Reads the table twice: a sample for the cuts, then all rows; and counts its classes where `fit_rows` is not given.
    The cuts are those of the rows, whatever their layout, so the same rows give the same splits on any number of
    files and workers, up to the rounding of sums.
    """
    training, params = request.training, xgboost_params(request)
    has_missing_bin = training.missing == "lowest"
    cuts = replace(cuts_of(request, request.params.max_bin - has_missing_bin), has_missing_bin=has_missing_bin)
    plan = plan_of(
        request,
        {**params, "max_bin": cuts.max_bin, "seed": training.seed},
        cuts,
        stopping_margin=request.margins[0] + request.shift if request.shift != 0.0 else None,
    )
    boosting = XGBoostRounds(plan=plan, cuts=cuts, is_on_disk=training.external_memory)
    progress = boost_on_workers(request, boosting, plan, num_workers=training.num_workers)
    if has_missing_bin:
        progress = progress.with_model(with_missing_left(progress.model))
    return rounds_of(progress, plan, params, {"cuts": request.cuts, "cuts_sha256": cuts.digest})


def cuts_of(request: FitRequest, max_bin: int) -> FeatureCuts:
    """The cuts that a request asks for; reads a sample of the table."""
    return collect_cuts(
        request.table,
        features=len(request.inputs),
        fit_rows=request.fit_rows or _count_fit_rows(request.table),
        key=request.key,
        seed=request.training.seed,
        max_bin=max_bin,
        kind=request.cuts,
    )


def plan_of(
    request: FitRequest, params: Mapping[str, Any], cuts: FeatureCuts | None, *, stopping_margin: float | None
) -> BoostingPlan:
    """All that decides the model of a request but its rows.

    Args:
        params: the learner's.
        cuts: None of a learner that has none.
    """
    training = request.training
    return BoostingPlan(
        params=params,
        rounds=training.rounds,
        early_stopping_rounds=training.early_stopping_rounds,
        checkpoint_rounds=training.checkpoint_rounds,
        loss=request.loss,
        metric=request.metric,
        stopping_margin=stopping_margin,
        cuts="" if cuts is None else cuts.digest,
    )


def rounds_of(
    progress: Progress, plan: BoostingPlan, params: Mapping[str, Any], notes: Mapping[str, Any]
) -> BoostedRounds:
    """What the workers have done, for the driver."""
    return BoostedRounds(
        model=progress.model,
        training=progress.training,
        validation=progress.validation,
        best_round=progress.best_round(is_maximised=plan.is_maximised),
        params=params,
        notes=notes,
    )


def boost_on_workers(request: FitRequest, boosting: Boosting, plan: BoostingPlan, *, num_workers: int) -> Progress:
    """Run a learner on barrier tasks, each with its share of the rows; again where a worker was lost.

    Reads the table once. An attempt resumes from the last checkpoint that the learner kept, if it keeps any.
    """
    training = request.training.model_copy(update={"num_workers": num_workers})
    checkpoint, spark = Checkpoint(name=request.strategy, folder=request.checkpoints), request.table.sparkSession
    with one_file_a_worker(request.table, num_workers) as is_laid_out:
        rows = _as_workers_read(request)
        if not is_laid_out:
            rows = rows.repartition(num_workers)

        def fit(reporter: RoundReporter) -> Progress:
            kept = checkpoint.load()
            resumed = None if kept is None else Progress.from_checkpoint(kept, plan)
            if resumed is not None:
                logger.info("strategy %r: goes on after round %d", request.strategy, resumed.rounds)
            with tracker(spark, num_workers) as address:
                worker = Worker(
                    boosting=boosting, inputs=request.inputs, weight=request.weight_col, num_workers=num_workers,
                    tracker={**address, "dmlc_timeout": training.peer_timeout_s}, resumed=resumed, reporter=reporter,
                )  # fmt: skip
                return _collected(rows, worker, request.strategy)

        return fit_watched(spark, fit, training, request.strategy, keep=checkpoint.keep)


def _collected(rows: DataFrame, worker: Worker, strategy: str) -> Progress:
    """Run the job; a row a worker comes back."""
    found = rows.mapInArrow(worker, OUTPUT, barrier=True).collect()
    records = {row["worker"]: json.loads(row["record"]) for row in found}
    [model] = [row["model"] for row in found if row["model"] is not None]
    for number, record in sorted(records.items()):
        logger.info(
            "strategy %r, worker %d: %d rows, %d MiB on local disk, seconds %s",
            strategy, number, record["rows"], record["spilled_bytes"] >> 20, record["seconds"],
        )  # fmt: skip
    curves = {part: tuple(records[0][part]) for part in ("training", "validation")}
    return Progress(model=bytes(model), rows=records[0]["fingerprint"], **curves)


def _as_workers_read(request: FitRequest) -> DataFrame:
    # A null becomes NaN here, so that each Arrow column is handed over as it lies.
    inputs = [F.coalesce(col(name).cast("float"), F.lit(np.nan).cast("float")).alias(name) for name in request.inputs]
    weights = [] if request.weight_col is None else [col(request.weight_col).cast("float").alias(request.weight_col)]
    return request.table.select(*inputs, col(LABEL), *weights, col(IS_EARLY_STOPPING))


def _count_fit_rows(table: DataFrame) -> Mapping[int, int]:
    counts = table.where(~col(IS_EARLY_STOPPING)).groupBy(LABEL).count().collect()
    return {int(row[LABEL]): int(row["count"]) for row in counts}


@contextmanager
def tracker(spark: SparkSession, num_workers: int) -> Iterator[Mapping[str, Any]]:
    """Where the workers of one attempt find each other: on the driver, as long as the block lasts."""
    host = spark.sparkContext.getConf().get("spark.driver.host") or "127.0.0.1"
    found = RabitTracker(num_workers, socket.gethostbyname(host), sortby="task")
    try:
        found.start()
        yield found.worker_args()
    finally:
        # Else each failed fit leaves a thread behind. The job says that workers died, not their tracker.
        with suppress(XGBoostError):
            found.free()


@dataclass(kw_only=True)
class Checkpoint:
    """The last checkpoint of one fit.

    Args:
        name: file in the folder.
        folder: None keeps it in memory alone.
    """

    name: str
    folder: Folder | None = None
    _content: bytes | None = field(default=None, init=False)

    def load(self) -> bytes | None:
        """The last one kept, by this driver or an earlier one; None where there is none."""
        if self._content is None and self.folder is not None and self.folder.exists(self.name):
            self._content = self.folder.read_bytes(self.name)
        return self._content

    def keep(self, content: bytes) -> None:
        """Replace what was kept before; the file is there as a whole or not at all."""
        self._content = content
        if self.folder is not None:
            self.folder.write_bytes(self.name, content)
