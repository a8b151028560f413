"""A strategy fitted by a learner in a process of its own, on one thread and without Spark: what a worker does.

Logistic regression is Spark's own, and fitted there.
"""

import math
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.regret_data import SETTINGS
from imbalance_spark.core.columns import IS_EARLY_STOPPING
from imbalance_spark.core.spark_session import spark_session
from imbalance_spark.orders.model_inputs import LABEL
from imbalance_spark.scoring.boosters import load_booster
from imbalance_spark.scoring.linear import LinearModel
from imbalance_spark.scoring.network import NetworkModel
from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.learners.boosting import Progress, Site, XGBoostRounds
from imbalance_spark.train_only.learners.catboost import CatBoostRounds, catboost_params
from imbalance_spark.train_only.learners.cuts import MOST_SAMPLED_ROWS, FeatureCuts, quantile_cuts
from imbalance_spark.train_only.learners.engine import FitRequest, xgboost_params
from imbalance_spark.train_only.learners.lightgbm import LightGBMRounds, lightgbm_params
from imbalance_spark.train_only.learners.network import NetworkEpochs, network_plan
from imbalance_spark.train_only.strategies import Strategy, strategy_from_config
from imbalance_spark.train_only.strategies.recipe import Recipe

_STOPPING = 0.15
"""Share of the rows of each class that stops a fit."""


@dataclass(frozen=True)
class Fit:
    """Corrected probabilities of the rows that judge, and what the fit took."""

    score: np.ndarray
    seconds: float
    mebibytes: float
    """At its peak above the process before; NaN of a fit by Spark."""
    rounds: int


def fit_apart(
    entry: dict[str, Any], inputs: np.ndarray, label: np.ndarray, judged: np.ndarray, *, categorical: int, rounds: int
) -> Fit:
    """Fit in a new process, so that memory is that of this fit alone.

    Args:
        entry: a strategy as configs write it, with its learner.
        judged: inputs of the rows to score.
        categorical: how many of the last inputs are codes of categories.
    """
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(theirs, entry, inputs, label, judged, categorical, rounds))
    process.start()
    theirs.close()
    fit: Fit = ours.recv()
    process.join()
    return fit


def _send(to: Connection, *what: Any) -> None:
    to.send(_fit(*what))


def _fit(
    entry: dict[str, Any], inputs: np.ndarray, label: np.ndarray, judged: np.ndarray, categorical: int, rounds: int
) -> Fit:
    from imbalance_spark.train_only.learners.spill import SpilledRows  # imports XGBoost

    plan = _planned(entry, inputs, label, categorical, rounds)
    before, started = _peak(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        parts = []
        for name, rows in (("fit", plan.kept), ("stopping", plan.stopping)):
            file = (Path(folder) / name).open("wb+")
            part = SpilledRows(file=file, features=inputs.shape[1], is_weighed=True)
            part.append(np.column_stack([inputs[rows], label[rows], plan.weight[rows]]).astype(np.float32))
            parts.append(part)
        site = Site(threads=1, host="", scratch=Path(folder), tell=lambda _: None, keep=lambda _: None)
        rounds_of, max_bin = _ROUNDS[plan.strategy.fitted_by.name], plan.request.training.params.max_bin
        boosting = rounds_of(plan.request, _cuts(plan.recipe, inputs[plan.kept], label[plan.kept], max_bin))
        done = boosting.boost(boosting.load(*parts, site), Progress(rows=0), site)
        for part in parts:
            part.file.close()
    seconds, mebibytes = time.perf_counter() - started, _peak() - before
    best = done.best_round(is_maximised=False)
    return Fit(plan.probability(done.model, best, judged), seconds, mebibytes, best + 1)


def fit_on_spark(
    master: str, entry: dict[str, Any], inputs: np.ndarray, label: np.ndarray, judged: np.ndarray, *, categorical: int
) -> Fit:
    """Fit a learner that is Spark's own; see `fit_apart`."""
    plan = _planned(entry, inputs, label, categorical, rounds=1)
    at = np.sort(np.concatenate([plan.kept, plan.stopping]))
    rows = pd.DataFrame(inputs[at].astype(np.float64), columns=[f"x_{i}" for i in range(inputs.shape[1])])
    rows[LABEL], rows["weight"] = label[at].astype(np.int32), plan.weight[at]
    rows[IS_EARLY_STOPPING] = np.isin(at, plan.stopping)
    with spark_session("bench-learners", master, SETTINGS) as spark:
        table = spark.createDataFrame(rows).cache()
        table.count()
        started = time.perf_counter()
        fitted = plan.strategy.fitted_by.fit(replace(plan.request, table=table))
        seconds = time.perf_counter() - started
    score = plan.probability(fitted.model_bytes, fitted.best_iteration, judged)
    return Fit(score, seconds, math.nan, fitted.rounds_run)


@dataclass(frozen=True)
class _Plan:
    """A strategy with its rows: those to fit on, those that stop the fit, and the weight of each."""

    strategy: Strategy
    recipe: Recipe
    request: FitRequest
    kept: np.ndarray
    stopping: np.ndarray
    weight: np.ndarray

    def probability(self, model: bytes, best: int, judged: np.ndarray) -> np.ndarray:
        logit = self.recipe.prior_shift.correction().logit(_margins(model, best, judged))
        return np.asarray(1.0 / (1.0 + np.exp(-logit)))


def _planned(entry: dict[str, Any], inputs: np.ndarray, label: np.ndarray, categorical: int, rounds: int) -> _Plan:
    strategy = strategy_from_config(entry)
    draw = np.random.default_rng(7)
    is_stopping = stratified(label, _STOPPING, draw)
    to_fit = np.flatnonzero(~is_stopping)
    counts = {k: int((label[to_fit] == k).sum()) for k in (0, 1)}
    kept = _kept(strategy, label, to_fit, counts, draw)
    training = TrainingConfig(
        engine="native", rounds=rounds, early_stopping_rounds=20, num_workers=1, params=BoosterParams(max_depth=5)
    )
    share = {k: int((label[kept] == k).sum()) / counts[k] for k in (0, 1)}
    recipe = strategy.resolve(counts, training, share)
    weight = np.ones(len(label))
    if recipe.weights is not None:
        weight[to_fit] = np.where(label[to_fit] == 1, recipe.weights[1], recipe.weights[0])
    request = _request(inputs.shape[1], categorical, training, recipe)
    return _Plan(strategy, recipe, request, kept, np.flatnonzero(is_stopping), weight)


def _margins(model: bytes, best: int, judged: np.ndarray) -> np.ndarray:
    """Of the trees up to the best round; a network is that of the best one."""
    loaded = load_booster(model)
    trees = loaded if isinstance(loaded, NetworkModel | LinearModel) else loaded[: best + 1]
    return np.asarray(trees.inplace_predict(judged, predict_type="margin", validate_features=False))


def _kept(
    strategy: Strategy, label: np.ndarray, to_fit: np.ndarray, counts: dict[int, int], draw: np.random.Generator
) -> np.ndarray:
    """The rows to fit on, of the frequent class as many as the strategy wants."""
    negatives = draw.permutation(to_fit[label[to_fit] == 0])[: strategy.planned_rows(dict(counts.items()))[0]]
    return np.sort(np.concatenate([negatives, to_fit[label[to_fit] == 1]]))


def _request(features: int, categorical: int, training: TrainingConfig, recipe: Recipe) -> FitRequest:
    table: Any = None  # rows are at hand
    return FitRequest(
        table=table, features=[f"x_{i}" for i in range(features)], categorical=categorical, training=training,
        params=recipe.params, own_params=recipe.own_params, start=recipe.start,
        correction=recipe.prior_shift.correction(), strategy=recipe.name, weight_col="weight",
        scale_pos_weight=recipe.scale_pos_weight, loss=recipe.loss, cuts=recipe.cuts,
    )  # fmt: skip


def _cuts(recipe: Recipe, inputs: np.ndarray, label: np.ndarray, max_bin: int) -> FeatureCuts:
    """As `collect_cuts`, from at most half of its sample of each class."""
    parts = [inputs[label == k][: MOST_SAMPLED_ROWS // 2] for k in (0, 1)]
    total = [1.0 if recipe.cuts == "balanced" else float((label == k).sum()) for k in (0, 1)]
    weights = [mass / len(part) for mass, part in zip(total, parts, strict=True)]
    columns = range(inputs.shape[1])
    found = tuple(quantile_cuts([part[:, i] for part in parts], weights, max_bin - 6) for i in columns)
    return FeatureCuts(found, tuple(float(np.nanmax(inputs[:, i], initial=-1.0)) for i in columns))


def _of_xgboost(request: FitRequest, cuts: FeatureCuts) -> Any:
    from imbalance_spark.train_only.learners.native import plan_of

    margin = request.margins[0] + request.shift if request.shift != 0.0 else None
    params = {**xgboost_params(request), "max_bin": cuts.max_bin, "seed": request.training.seed}
    return XGBoostRounds(plan=plan_of(request, params, cuts, stopping_margin=margin), cuts=cuts, is_on_disk=False)


def _of_lightgbm(request: FitRequest, cuts: FeatureCuts) -> Any:
    from imbalance_spark.train_only.learners.native import plan_of

    codes = cuts.codes(len(request.features) - request.categorical)
    params = {**lightgbm_params(request), "max_bin": max(cuts.max_bin, *codes.values(), 0) + 4}
    return LightGBMRounds(
        plan=plan_of(request, params, cuts, stopping_margin=None), cuts=cuts, codes=codes, margins=request.margins,
        stopping_shift=request.shift, features=len(request.features), workers=1, peer_timeout_s=60,
    )  # fmt: skip


def _of_catboost(request: FitRequest, cuts: FeatureCuts) -> Any:
    from imbalance_spark.train_only.learners.native import plan_of

    is_own = request.loss is not None and not request.loss.is_class_weight
    plan = plan_of(request, catboost_params(request), cuts, stopping_margin=None)
    return CatBoostRounds(
        plan=plan, cuts=cuts, codes=cuts.codes(len(request.features) - request.categorical), margins=request.margins,
        stopping_shift=request.shift, row_factors=() if is_own else request.row_factors,
    )  # fmt: skip


def _of_torch(request: FitRequest, cuts: FeatureCuts) -> Any:
    numeric = len(request.features) - request.categorical
    return NetworkEpochs(plan=network_plan(request), numeric=numeric, margins=request.margins)


_ROUNDS: dict[str, Callable[[FitRequest, FeatureCuts], Any]] = {
    "xgboost": _of_xgboost, "lightgbm": _of_lightgbm, "catboost": _of_catboost, "torch": _of_torch,
}  # fmt: skip


def stratified(label: np.ndarray, share: float, draw: np.random.Generator) -> np.ndarray:
    """Whether a row is drawn: this share of the rows of each class, at least one."""
    chosen = np.zeros(len(label), dtype=bool)
    for k in (0, 1):
        of_class = np.flatnonzero(label == k)
        chosen[draw.choice(of_class, max(round(share * len(of_class)), 1), replace=False)] = True
    return chosen


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
