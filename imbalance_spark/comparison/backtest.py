"""How each strategy fares over time: fitted on earlier and earlier windows, and judged on the days that followed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.comparison.prepare import PreparedOrders
from imbalance_spark.comparison.score_strategies import candidate_of
from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.columns import col
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.instants import SECOND_US
from imbalance_spark.core.run import Run
from imbalance_spark.metrics.bucket_draws import BucketedCurve
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.curve import FLAG_NOBODY, Curve
from imbalance_spark.metrics.evaluate import TargetNames, ranking_metrics
from imbalance_spark.metrics.grid import LogitGrid
from imbalance_spark.metrics.intervals import Interval, target_intervals
from imbalance_spark.orders.model_inputs import LABEL
from imbalance_spark.scoring.held_out import FoldCounts, scan_folds
from imbalance_spark.split.config import BacktestConfig
from imbalance_spark.split.folds import TimeFolds, Window, as_scored, as_split, backtest_folds
from imbalance_spark.threshold import Objective
from imbalance_spark.threshold.choice import cut_at
from imbalance_spark.threshold.decisions import Decisions
from imbalance_spark.threshold.order_costs import OrderRule
from imbalance_spark.threshold.rule import DECIDED_AT, pick
from imbalance_spark.train_only.strategies import Strategy
from imbalance_spark.train_only.strategies.fit import FittedStrategy, fit_strategy, write_train_table
from imbalance_spark.train_only.strategies.recipe import FitTask

_GRID = LogitGrid(bins=4096)
"""Steps of 0.01 in logit: each strategy is counted in each window, which of finer ones would take much memory."""

_PER = 1000.0
"""Orders that a cost is given for: windows have different numbers of them."""


@dataclass(frozen=True, kw_only=True)
class WindowScore:
    """One strategy on one window, by the corrected probabilities of its fit before it; None where undefined.

    Args:
        average_precision: of K classes the macro average.
        cost: of 1,000 orders, of two classes, as the probabilities decide: by the threshold that they ask for, or order
            by order where costs depend on the amount; labels have no say.
        ratio: mean probability over the rate, of K classes the one furthest from 1.
    """

    average_precision: Interval | None
    cost: float | None
    ratio: float | None


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """Every strategy on every window, oldest first.

    Args:
        windows: first and last day of each, in UTC.
        rows, positives: orders of each window, and those of the rarest class.
        scores: by strategy.
    """

    windows: tuple[str, ...]
    rows: tuple[int, ...]
    positives: tuple[int, ...]
    scores: Mapping[str, tuple[WindowScore, ...]]

    def values(self, strategy: str, name: str) -> list[float]:
        """One number of a strategy over the windows: `average_precision`, `cost` or `ratio`; NaN where undefined."""
        found = [getattr(score, name) for score in self.scores[strategy]]
        return [math.nan if v is None else v.value if isinstance(v, Interval) else v for v in found]

    @property
    def agreement(self) -> float | None:
        """Mean Kendall's tau of the strategies' order by average precision, over all pairs of windows.

        1 is the same order in each window, 0 none in common. None with fewer than two strategies, or where an average
        precision is undefined.
        """
        by_window = np.array([self.values(name, "average_precision") for name in self.scores]).T
        if len(self.scores) < 2 or not np.isfinite(by_window).all():
            return None
        from scipy.stats import kendalltau  # a second, for those who have a backtest

        found = [float(kendalltau(one, other).statistic) for one, other in combinations(by_window, 2)]
        return float(np.mean(found)) if np.isfinite(found).all() else None

    def table(self) -> pd.DataFrame:
        """One row for each strategy and window."""
        return pd.DataFrame(
            {
                "strategy": name,
                "window": self.windows[number],
                "rows": self.rows[number],
                "positives": self.positives[number],
                "average precision": None if ap is None else ap.value,
                "95 % CI": "-" if ap is None else f"{ap.low:.3f} to {ap.high:.3f}",
                "cost of 1,000": score.cost,
                "mean p / rate": score.ratio,
            }
            for name, scores in self.scores.items()
            for number, score in enumerate(scores)
            for ap in [score.average_precision]
        )

    def lines(self) -> Iterator[str]:
        """What follows from it, in sentences."""
        found = {name: self.values(name, "average_precision") for name in self.scores}
        if defined := {name: values for name, values in found.items() if np.isfinite(values).all()}:
            highest = [max(defined, key=lambda name: defined[name][number]) for number in range(len(self.windows))]
            told = ", ".join(f"{name} ({window})" for name, window in zip(highest, self.windows, strict=True))
            yield f"Backtest: the highest average precision of each window has {told}."
        if (tau := self.agreement) is not None:
            yield (
                f"Over its windows the order of the strategies agrees with a mean Kendall's tau of {tau:.2f}; 1 is the "
                "same order in each, 0 is chance."
            )


def run_backtest(
    prepared: PreparedOrders,
    backtest: BacktestConfig,
    strategies: Sequence[Strategy],
    task: FitTask,
    decisions: Decisions,
    names: TargetNames,
    config: RunConfig,
) -> Backtest:
    """Fit every strategy before each window of a backtest, and judge all of them in one Spark scan.

    Each table, each fit and the counts are steps of the run.

    Passes: one that counts the rows of all windows, those of `write_train_table` and `fit_strategy` for each window,
    and one over the windows.

    Raises:
        DataContractError: a window, or the days that its fit reads, have no row of a class; all such windows at once.
    """
    folds, run = backtest_folds(prepared.plan, backtest), prepared.run
    rows = run.document("backtest_rows", lambda: _collect_rows(prepared.inputs, folds, len(prepared.classes)))
    _require_classes(rows, folds, prepared.classes)
    by_fold = [_fit_all(run.part(f"backtest_{n}"), prepared, folds, n, strategies, task) for n in range(folds.count)]
    fitted = [replace(fits[-1], folds=fits) for fits in zip(*by_fold, strict=True)]

    def counted() -> Any:
        found = scan_folds(
            as_scored(prepared.inputs, folds),
            [candidate_of(one) for one in fitted],
            key=config.orders.key,
            group=config.orders.grouping,
            grid=_GRID,
            has_weight=config.orders.weight is not None,
            has_amount=config.orders.amount is not None,
            rule=_order_rule(decisions, config),
        )
        return {name: [counts.to_records() for counts in of_fold] for name, of_fold in found.items()}

    records = run.document("backtest_counts", counted)
    return Backtest(
        windows=tuple(map(_days_of, folds.windows)),
        rows=tuple(sum(counts["held_out"]) for counts in rows),
        positives=tuple(min(counts["held_out"]) for counts in rows),
        scores={
            name: tuple(score_window(FoldCounts.from_records(counts), decisions, names) for counts in of_fold)
            for name, of_fold in records.items()
        },
    )


def _collect_rows(inputs: DataFrame, folds: TimeFolds, classes: int) -> list[dict[str, list[int]]]:
    """For each fold its rows of each class: `fitted`, and `held_out`; one pass."""
    parts = {
        (fold, part, k): F.count_if(is_there & (col(LABEL) == k))
        for fold in range(folds.count)
        for part, is_there in (
            ("fitted", folds.is_fitted(inputs, fold)),
            ("held_out", F.coalesce(folds.number(inputs) == fold, F.lit(False))),
        )
        for k in range(classes)
    }
    found = inputs.agg(*[count.alias("_".join(map(str, name))) for name, count in parts.items()]).collect()[0]
    by_part = dict(zip(parts, found, strict=True))
    return [
        {part: [int(by_part[fold, part, k]) for k in range(classes)] for part in ("fitted", "held_out")}
        for fold in range(folds.count)
    ]


def _require_classes(rows: Sequence[Mapping[str, Sequence[int]]], folds: TimeFolds, classes: Sequence[str]) -> None:
    problems = []
    for counts, window in zip(rows, folds.windows, strict=True):
        before = Window(fit_from=0, fit_until=0, from_=window.fit_from, until=window.fit_until)
        for part, days in (("fitted", before), ("held_out", window)):
            if empty := [name for name, n in zip(classes, counts[part], strict=True) if n == 0]:
                problems.append(f"the days {_days_of(days)}, which are {_SPOKEN[part]}, have no row of {empty}")
    if problems:
        raise DataContractError(
            f"split.backtest: {'; '.join(problems)}. Take longer windows (train_days, test_days), or fewer folds."
        )


_SPOKEN = {"fitted": "fitted on", "held_out": "judged"}


def _fit_all(
    part: Run, prepared: PreparedOrders, folds: TimeFolds, fold: int, strategies: Sequence[Strategy], task: FitTask
) -> list[FittedStrategy]:
    train = write_train_table(part, as_split(prepared.inputs, folds, fold), task)
    return [fit_strategy(part, train, strategy, task) for strategy in strategies]


def _order_rule(decisions: Decisions, config: RunConfig) -> OrderRule | None:
    """How orders are decided one by one, of two classes; None where a threshold decides."""
    costs, column = decisions.cost_objective.by_order, config.orders.amount
    if decisions.fixed or costs is None or column is None:
        return None
    return OrderRule(costs=costs, column=column, threshold=FLAG_NOBODY)  # each counted order has an amount


def score_window(counts: FoldCounts, decisions: Decisions, names: TargetNames) -> WindowScore:
    """What the counts of one window say of a strategy."""
    samples = [BucketedCurve(fine.curve(), buckets) for fine, buckets in counts.targets]
    macro = names.macro("average_precision")

    def ranked(curves: Sequence[Curve]) -> dict[str, float]:
        return {macro: ranking_metrics(curves, names, ["average_precision"])[macro]}

    ratios = [one.curve.mean_score() / one.curve.prevalence() for one in samples if one.positives]
    return WindowScore(
        average_precision=target_intervals(samples, ranked).get(macro),
        cost=_cost(samples[0].curve, counts.decided, decisions.cost_objective) if len(samples) == 1 else None,
        ratio=max(ratios, key=lambda ratio: abs(math.log(ratio)), default=None),
    )


def _cost(curve: Curve, decided: ScoreCounts | None, objective: Objective) -> float:
    weight = float(curve.counts.positive_weight.sum() + curve.counts.negative_weight.sum())
    of_orders = curve if decided is None else decided.curve()
    cut = pick(curve, objective).cut if decided is None else cut_at(of_orders, DECIDED_AT)
    return _PER * float(objective.values(of_orders)[cut]) / weight


def _days_of(window: Window) -> str:
    first, last = (datetime.fromtimestamp(us / SECOND_US, UTC) for us in (window.from_, window.until - 1))
    return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
