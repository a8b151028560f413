"""The rounds of a fit on one worker: grown, measured, told, and kept now and then, so that a lost fit goes on."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from imbalance_spark.core.errors import DataContractError
from imbalance_spark.train_only.learners.cuts import FeatureCuts
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.learners.stopping import StoppingMetric

if TYPE_CHECKING:
    import xgboost

    from imbalance_spark.train_only.learners.spill import SpilledRows

_SAMPLING = ("subsample", "colsample_bytree", "colsample_bynode")


@dataclass(frozen=True, kw_only=True)
class BoostingPlan:
    """All that decides a model but the rows.

    Args:
        params: XGBoost's, `seed` and `max_bin` among them.
        rounds: at most.
        early_stopping_rounds: without a better metric, after which the fit stops.
        checkpoint_rounds: after how many rounds each the booster is kept.
        loss: instead of XGBoost's.
        metric: instead of XGBoost's `eval_metric`.
        stopping_margin: what scores of the early-stopping set start from, instead of the base score.
        cuts: digest of the histogram cuts.
    """

    params: Mapping[str, Any]
    rounds: int
    early_stopping_rounds: int
    checkpoint_rounds: int
    loss: FocalLoss | None
    metric: StoppingMetric | None
    stopping_margin: float | None
    cuts: str

    @property
    def is_sampled(self) -> bool:
        """Whether trees are grown on samples, which XGBoost draws from a state that a checkpoint does not hold."""
        return any(self.params.get(name, 1.0) != 1.0 for name in _SAMPLING)

    @property
    def is_maximised(self) -> bool:
        """Whether more of the metric is better."""
        return self.metric is not None and self.metric.is_maximised

    @property
    def digest(self) -> str:
        """A hash of the plan and of XGBoost's version: a checkpoint of another plan does not fit."""
        import xgboost  # here, so that a worker can set OpenMP up before

        settings = {name: getattr(self, name) for name in self.__dataclass_fields__} | {"xgboost": xgboost.__version__}
        return hashlib.sha256(json.dumps(settings, sort_keys=True, default=repr).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A fit after some rounds: its booster, and the metric after each round, on the rows fitted on and on the others.

    `rows` is the fingerprint of all workers' rows.
    """

    model: bytes = b""
    training: tuple[float, ...] = ()
    validation: tuple[float, ...] = ()
    rows: int

    @property
    def rounds(self) -> int:
        """How many have been run."""
        return len(self.validation)

    def best_round(self, *, is_maximised: bool) -> int:
        """The first round, from 0, with the best metric on the early-stopping set."""
        return int(np.argmax(self.validation) if is_maximised else np.argmin(self.validation))

    def is_over(self, plan: BoostingPlan) -> bool:
        """Whether no round is left, none got better for long enough, or the metric is not a number."""
        if not self.rounds:
            return False
        waited = self.rounds - 1 - self.best_round(is_maximised=plan.is_maximised)
        is_number = math.isfinite(self.training[-1]) and math.isfinite(self.validation[-1])
        return self.rounds >= plan.rounds or waited >= plan.early_stopping_rounds or not is_number

    def with_round(self, on_train: float, on_stopping: float) -> Self:
        """One round further, with the metric after it."""
        return replace(self, training=(*self.training, on_train), validation=(*self.validation, on_stopping))

    def with_model(self, model: bytes) -> Self:
        """The same, with the booster of all rounds."""
        return replace(self, model=model)

    def as_checkpoint(self, plan: BoostingPlan) -> bytes:
        """A line of JSON, and the booster; floats keep all digits."""
        head = {"plan": plan.digest, "rows": self.rows, "training": self.training, "validation": self.validation}
        head["model"] = hashlib.sha256(self.model).hexdigest()
        return json.dumps(head).encode() + b"\n" + self.model

    @classmethod
    def from_checkpoint(cls, content: bytes, plan: BoostingPlan) -> Self | None:
        """The progress that a checkpoint holds; None where it was cut short or altered.

        Raises:
            DataContractError: it belongs to another plan.
        """
        line, _, model = content.partition(b"\n")
        try:
            head = json.loads(line)
        except ValueError:
            return None
        if head["model"] != hashlib.sha256(model).hexdigest():
            return None
        if head["plan"] != plan.digest:
            raise DataContractError(
                "a checkpoint of this fit has other parameters, cuts or another version of XGBoost than the fit has. "
                "Start a new run_id, or delete the checkpoint to begin at the first round."
            )
        curves = {part: tuple(head[part]) for part in ("training", "validation")}
        return cls(model=model, rows=head["rows"], **curves)


def alone(message: str) -> list[str]:
    """How one worker meets itself."""
    return [message]


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where a worker boosts.

    Args:
        threads: that it may use.
        host: its address, as the other workers and the driver reach it.
        scratch: a folder on the local disk, which outlives the fit.
        tell: called with each round, from 0, when it has ended.
        keep: called with a checkpoint, from which another attempt can go on.
        meet: waits for all workers, and gives what each came with, in their order.
    """

    threads: int
    host: str
    scratch: Path
    tell: Callable[[int], object]
    keep: Callable[[bytes], object]
    meet: Callable[[str], list[str]] = alone


@dataclass(frozen=True, kw_only=True)
class XGBoostRounds:
    """XGBoost on bins between given cuts.

    Args:
        is_on_disk: whether the bins of the rows to fit on are kept in files, instead of memory.
    """

    plan: BoostingPlan
    cuts: FeatureCuts
    is_on_disk: bool

    def load(self, to_fit: "SpilledRows", stopping: "SpilledRows", site: Site) -> "tuple[xgboost.DMatrix, ...]":
        """The bins of the rows to fit on, and of the early-stopping set."""
        from imbalance_spark.train_only.learners.spill import quantile_matrix

        bins, pages = self.cuts.max_bin, site.scratch if self.is_on_disk else None
        shared: dict[str, Any] = {"max_bin": bins, "threads": site.threads, "missing": self.cuts.missing_as}
        train = quantile_matrix(to_fit, ref=self.cuts.as_matrix(), pages=pages, **shared)
        return train, quantile_matrix(stopping, ref=train, margin=self.plan.stopping_margin, **shared)

    def boost(self, loaded: "tuple[xgboost.DMatrix, ...]", progress: Progress, site: Site) -> Progress:
        """See `boost`."""
        train, stopping = loaded
        return boost(self.plan, train, stopping, progress, threads=site.threads, tell=site.tell, keep=site.keep)


def boost(
    plan: BoostingPlan,
    train: "xgboost.DMatrix",
    stopping: "xgboost.DMatrix",
    progress: Progress,
    *,
    threads: int,
    tell: Callable[[int], object],
    keep: Callable[[bytes], object],
) -> Progress:
    """The rounds that are left; from a checkpoint the booster is the one that a fit without interruption gives.

    Where trees are grown on samples, the booster restarts at each checkpoint of every fit, with a seed of its own:
    only so does an interruption leave no trace.

    Args:
        progress: what has been done.
        tell: called with each round, from 0, when it has ended.
        keep: called with a checkpoint after each `plan.checkpoint_rounds`.
    """
    booster = _booster(plan, train, stopping, progress, threads)
    while not progress.is_over(plan):
        booster.update(train, progress.rounds, fobj=plan.loss)
        on_train, on_stopping = _metrics(plan, booster, train, stopping)
        progress = progress.with_round(on_train, on_stopping)
        tell(progress.rounds - 1)
        if progress.rounds % plan.checkpoint_rounds == 0 and not progress.is_over(plan):
            progress = progress.with_model(_bytes(booster))
            keep(progress.as_checkpoint(plan))
            if plan.is_sampled:
                booster = _booster(plan, train, stopping, progress, threads)
    return progress.with_model(_bytes(booster))


def _booster(
    plan: BoostingPlan, train: "xgboost.DMatrix", stopping: "xgboost.DMatrix", progress: Progress, threads: int
) -> "xgboost.Booster":
    import xgboost

    params = {**plan.params, "seed": plan.params["seed"] + progress.rounds, "nthread": threads}
    model = bytearray(progress.model) if progress.rounds else None
    return xgboost.Booster(params, [train, stopping], model_file=model)


def _bytes(booster: "xgboost.Booster") -> bytes:
    return bytes(booster.save_raw("ubj"))


def _metrics(
    plan: BoostingPlan, booster: "xgboost.Booster", train: "xgboost.DMatrix", stopping: "xgboost.DMatrix"
) -> tuple[float, float]:
    """On the rows fitted on and on the early-stopping set, over all workers."""
    if plan.metric is None:
        text = booster.eval_set([(train, "training"), (stopping, "stopping")])
        on_train, on_stopping = (float(part.rpartition(":")[2]) for part in text.split("\t")[1:])
        return on_train, on_stopping
    # XGBoost prints what a metric of ours returns with six digits: too few to stop by.
    as_margin = plan.loss is not None
    on_train, on_stopping = (
        plan.metric(booster.predict(rows, training=False, output_margin=as_margin), rows)[1]
        for rows in (train, stopping)
    )
    return on_train, on_stopping
