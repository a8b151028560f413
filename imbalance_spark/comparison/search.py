"""The search for each strategy's parameters, on rows of train alone: trials, each judged as the run decides.

A share of train, which no trial is fitted on, judges them all; validation and test have no part in it. Every proposal,
fit and judgement is a step of the run.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.comparison.prepare import PreparedOrders, trained_counts
from imbalance_spark.comparison.score_strategies import candidate_of
from imbalance_spark.comparison.searched_strategy import SearchedStrategy, TrialMetric
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.class_counts import of_class
from imbalance_spark.core.columns import col
from imbalance_spark.core.progress import Progress
from imbalance_spark.core.run import Run
from imbalance_spark.metrics.bucket_draws import BucketedCurve
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.orders.model_inputs import LABEL, ROW_WEIGHT
from imbalance_spark.scoring.held_out import scan_folds
from imbalance_spark.split.folds import Folds, TrainShare, as_scored, as_split, fit_train_share
from imbalance_spark.split.plan import SplitPlan
from imbalance_spark.train_only.learners.kinds import require_packages
from imbalance_spark.train_only.pool import TrainingPool, training_pool
from imbalance_spark.train_only.search.config import SearchConfig
from imbalance_spark.train_only.search.space import Space, draw
from imbalance_spark.train_only.search.trials import Rung, Trial, promoted, propose, require_optuna, rungs_of
from imbalance_spark.train_only.strategies import Strategy
from imbalance_spark.train_only.strategies.fit import fit_strategy, write_train_table
from imbalance_spark.train_only.strategies.recipe import FitTask
from imbalance_spark.train_only.strategies.searched import spaces_of

logger = logging.getLogger(__name__)

SEARCH = "search"
"""The part of a run that the search is kept in, and the purpose of its share of train."""

_GRID = LogitGrid(bins=4096)
"""Steps of 0.01 in logit, which is finer than the differences that a share of train can tell."""
_MOST_MODELS = 32
"""Of one scan: each task loads them all."""


def check_packages(config: RunConfig) -> None:
    """Refuse learners, and a method of search, whose package is not installed.

    Raises:
        ConfigError: says how to install it.
    """
    require_packages(one.fitted_by for one in config.compared)
    if config.search is not None and config.search.method == "tpe":
        require_optuna()


def search_strategies(
    prepared: PreparedOrders,
    strategies: Sequence[Strategy],
    task: FitTask,
    metric: TrialMetric,
    config: RunConfig,
    progress: Progress,
) -> dict[str, SearchedStrategy]:
    """Search the parameters of each strategy that `search` is about; nothing where a config has no such section.

    Passes: to learn the share of train those of `fit_split`; for each rung those of `write_train_table`; and for each
    strategy and rung one scan of that share per 32 trials (by `tpe` one per trial), and those of the fits.

    Raises:
        DataContractError: the share, or the other rows of train, lack a class.
    """
    if config.search is None:
        return {}
    spaces = spaces_of(config.search, strategies)
    with progress.step(SEARCH) as step:
        search = _Search(
            prepared=prepared,
            config=config,
            asked=config.search,
            task=task,
            metric=metric,
            share=_share(prepared, config.search, config),
        )
        step.says(rows_sentence(search.share, metric, search.rungs))
    found = {}
    for strategy in strategies:
        if strategy.name in spaces:
            with progress.step(f"{SEARCH} {strategy.name}") as step:
                found[strategy.name] = search.of_strategy(strategy, spaces[strategy.name])
                step.says(found[strategy.name].sentence)
    return found


def searched_stages(config: RunConfig, strategies: Sequence[Strategy]) -> list[str]:
    """The stages that `search_strategies` announces."""
    spaces = spaces_of(config.search, strategies)
    return [SEARCH, *[f"{SEARCH} {name}" for name in spaces]] if spaces else []


def rung_pool(pool: TrainingPool, counts: Mapping[int, int], share: float) -> TrainingPool:
    """Of the training rows those that a rung reads: as many fewer as the share says, of the frequent classes first.

    Args:
        counts: rows of each class in train.
    """
    if share == 1.0:
        return pool
    most = max(1, round(share * sum(pool.rows(counts).values())))
    return training_pool(counts, most, key=pool.key, seed=pool.seed)


def rows_sentence(share: TrainShare, metric: TrialMetric, rungs: Sequence[Rung]) -> str:
    """How many rows of train judge, and how trials are fitted on the others."""
    fitted, judging = (share.plan.counts[part] for part in share.plan.rules.folds)
    fits = ", ".join(f"{rung.trials} trials at {rung.fraction:.3g} of a fit" for rung in rungs)
    return (
        f"{sum(judging.values()):,} rows of train, {min(judging.values()):,} of the rarest class, judge by "
        f"{metric.words}; {sum(fitted.values()):,} are fitted on: {fits}"
    )


def judging_rows(inputs: DataFrame, share: Folds, pool: TrainingPool) -> DataFrame:
    """The share of train that judges, as validation is scored; lazy.

    Args:
        pool: whose rows are stored. Where it is not all of train, `row_weight` (double) is times the rows of train that
            each row stands for.
    """
    rows = as_scored(inputs, share)
    if pool.is_all:
        return rows
    stands_for = of_class(LABEL, {k: 1.0 / kept for k, kept in enumerate(pool.shares)}, 1.0)
    business = col(ROW_WEIGHT) if ROW_WEIGHT in rows.columns else F.lit(1.0)
    others = [col(name) for name in rows.columns if name != ROW_WEIGHT]
    return rows.where(pool.holds(LABEL)).select(*others, (business * stands_for).alias(ROW_WEIGHT))


def planned_rows(config: RunConfig, trained: Mapping[int, int], pool: TrainingPool) -> dict[int, dict[int, int]]:
    """By rung about how many rows of each class its table has, early stopping's included; of the tables that are read.

    Args:
        trained: rows of each class in train. pool: those of them that fits may read.
    """
    if config.search is None:
        return {}
    rungs, strategies = rungs_of(config.search), config.compared
    searched = [one for one in strategies if one.name in spaces_of(config.search, strategies)]
    read = {_rung_read(strategy, rung, len(rungs)) for strategy in searched for rung in range(len(rungs))}
    pools = {rung: rung_pool(pool, trained, rungs[rung].row_share(is_sampled=False)) for rung in sorted(read)}
    left = 1.0 - config.search.fraction
    return {rung: {k: round(left * n) for k, n in pools[rung].rows(trained).items()} for rung in pools}


def planned_scans(config: RunConfig) -> int:
    """Scans of the rows that judge, of all strategies together."""
    if config.search is None:
        return 0
    at_once = _at_once(config.search)
    scans = sum(-(-rung.trials // at_once) for rung in rungs_of(config.search))
    return scans * len(spaces_of(config.search, config.compared))


@dataclass(frozen=True, kw_only=True)
class _Search:
    """What the searches of all strategies share."""

    prepared: PreparedOrders
    config: RunConfig
    asked: SearchConfig
    task: FitTask
    metric: TrialMetric
    share: TrainShare

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The stages."""
        return rungs_of(self.asked)

    def of_strategy(self, strategy: Strategy, space: Space) -> SearchedStrategy:
        """All trials of one strategy."""
        trials = self._first_rung(strategy, space)
        for number, rung in enumerate(self.rungs[1:], start=1):
            reached = [trial for trial in trials if len(trial.values) == number]
            left = promoted(reached, rung.trials, is_loss=self.metric.is_loss)
            judged = {trial.number: trial for trial in self._judged(strategy, left, number)}
            trials = [judged.get(trial.number, trial) for trial in trials]
        is_sampled = _is_sampled(strategy)
        return SearchedStrategy(
            strategy=strategy.name,
            words=self.metric.words,
            metric=f"{SEARCH}/{self.metric.name}",
            is_loss=self.metric.is_loss,
            rounds=tuple(rung.rounds(self.task.training.rounds, is_sampled=is_sampled) for rung in self.rungs),
            rows=tuple(rung.row_share(is_sampled=is_sampled) for rung in self.rungs),
            trials=tuple(trials),
        )

    def _first_rung(self, strategy: Strategy, space: Space) -> list[Trial]:
        """By `tpe` one after the other, as each is proposed by what those before it were worth."""
        trials: list[Trial] = []
        total, at_once = self.rungs[0].trials, _at_once(self.asked)
        while len(trials) < total:
            numbers = range(len(trials), min(len(trials) + at_once, total))
            drawn = [Trial(number=n, params=self._params(strategy, space, n, trials)) for n in numbers]
            trials += self._judged(strategy, drawn, 0)
        return trials

    def _params(self, strategy: Strategy, space: Space, number: int, before: Sequence[Trial]) -> Any:
        """Those of the config for the first trial."""

        def proposed() -> Any:
            own, seed = strategy.params_in(self.task.training), self.task.training.seed
            if number == 0:
                return {name: own[name] for name in space}
            if self.asked.method == "tpe":
                return propose(space, before, seed=seed, is_loss=self.metric.is_loss)
            return draw(space, seed=seed, number=number)

        return self._run.document(f"trial_{number}_{strategy.name}", proposed)

    def _judged(self, strategy: Strategy, trials: Sequence[Trial], rung: int) -> Iterator[Trial]:
        """The trials with what they are worth on a rung."""
        for start in range(0, len(trials), _MOST_MODELS):
            batch = trials[start : start + _MOST_MODELS]
            step = f"judged_{batch[0].number}_{strategy.name}"
            values = self._run.part(f"rung_{rung}").document(step, partial(self._values, strategy, batch, rung))
            for trial, value in zip(batch, values, strict=True):
                logger.info("search %s, rung %d, trial %d: %s", strategy.name, rung, trial.number, value)
                yield replace(trial, values=(*trial.values, math.nan if value is None else value))

    def _values(self, strategy: Strategy, trials: Sequence[Trial], rung: int) -> list[float | None]:
        """Fit the trials, and score the rows that judge with all of their models in one scan; None where undefined."""
        task, tables = self._task(strategy, rung), self._run.part(f"rows_{_rung_read(strategy, rung, len(self.rungs))}")
        train = write_train_table(tables, as_split(self.prepared.inputs, self.share, 0), task)
        models = self._run.part(f"rung_{rung}")
        candidates = []
        for trial in trials:
            tried = strategy.with_params(trial.params)
            fitted = fit_strategy(tables, train, tried, task, models=models.part(f"trial_{trial.number}"))
            candidate = candidate_of(fitted)
            folds = ((candidate.model_bytes, candidate.correction),)
            candidates.append(replace(candidate, name=str(trial.number), folds=folds))
        rows = judging_rows(self.prepared.inputs, self.share, self.prepared.pool)
        counted = scan_folds(
            rows,
            candidates,
            key=self.config.orders.key,
            group=self.config.orders.grouping,
            grid=_GRID,
            has_weight=ROW_WEIGHT in rows.columns,
            has_amount=self.config.orders.amount is not None,
        )
        values = [
            self.metric.value([BucketedCurve(counts.curve(), buckets) for counts, buckets in fold.targets])
            for [fold] in (counted[one.name] for one in candidates)
        ]
        return [value if math.isfinite(value) else None for value in values]

    def _task(self, strategy: Strategy, rung: int) -> FitTask:
        """What a fit of a rung is given."""
        asked, is_sampled, training = self.rungs[rung], _is_sampled(strategy), self.task.training
        rounds = asked.rounds(training.rounds, is_sampled=is_sampled)
        counts = trained_counts(self.prepared.diagnosis.by_split, self.prepared.evaluation)
        pool = rung_pool(self.prepared.pool, counts, asked.row_share(is_sampled=is_sampled))
        return replace(self.task, training=training.model_copy(update={"rounds": rounds}), pool=pool)

    @property
    def _run(self) -> Run:
        return self.prepared.run.part(SEARCH)


def _share(prepared: PreparedOrders, asked: SearchConfig, config: RunConfig) -> TrainShare:
    """The share of train that judges, learnt once."""

    def learnt() -> Any:
        roles = config.orders
        return fit_train_share(
            prepared.inputs, asked.fraction, config.split,
            purpose=SEARCH, key=roles.key, label=LABEL, group=roles.group, time=roles.time,
        ).to_dict()  # fmt: skip

    return TrainShare(plan=SplitPlan.from_dict(prepared.run.part(SEARCH).document("share", learnt)))


def _is_sampled(strategy: Strategy) -> bool:
    return strategy.table != "train"


def _rung_read(strategy: Strategy, rung: int, rungs: int) -> int:
    """The rung whose rows a fit reads: strategies that sample read all rows."""
    return rungs - 1 if _is_sampled(strategy) else rung


def _at_once(search: SearchConfig) -> int:
    """Trials of one scan: a proposal of `tpe` waits for what the trials before it were worth."""
    return 1 if search.method == "tpe" else _MOST_MODELS
