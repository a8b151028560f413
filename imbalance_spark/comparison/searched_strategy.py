"""One strategy as its parameters were searched: by what trials are compared, what each was worth, and which is best."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import pandas as pd

from imbalance_spark.calibration import fit_of
from imbalance_spark.metrics.bucket_draws import BucketedCurve
from imbalance_spark.metrics.curve import Curve
from imbalance_spark.metrics.evaluate import TargetNames, ranking_metrics
from imbalance_spark.threshold import Objective
from imbalance_spark.threshold.decisions import Decisions
from imbalance_spark.threshold.rule import pick
from imbalance_spark.train_only.search.trials import Trial, best_of

_PER = 1000.0
"""Orders that a cost is given for, as in a backtest."""


@dataclass(frozen=True, kw_only=True)
class TrialMetric:
    """What a trial is worth on rows that it was not fitted on.

    Args:
        name: the serving objective's, or that of a ranking metric.
        objective: the serving one; None for a ranking metric.
    """

    name: str
    targets: TargetNames
    objective: Objective | None = None

    @classmethod
    def of(cls, decisions: Decisions, targets: TargetNames, ranking: str) -> Self:
        """The serving objective; a ranking metric for K classes, and where the objective is a promise.

        A precision, or a budget of alerts or entities, is promised of the rows that are served: it says nothing of a
        share of train.
        """
        serving = decisions.swept.get(decisions.serve_objective)
        if len(targets.targets) > 1 or serving is None or serving.is_promise:
            return cls(name=targets.macro(ranking), targets=targets)
        return cls(name=serving.name, targets=targets, objective=serving)

    @property
    def is_loss(self) -> bool:
        """Whether less is better."""
        return self.objective is not None and self.objective.is_loss

    @property
    def words(self) -> str:
        """What the values are."""
        return f"{self.name} of 1,000 orders" if self.is_loss else self.name

    def value(self, samples: Sequence[BucketedCurve]) -> float:
        """Of a trial's corrected scores for each target; NaN where undefined.

        An objective's is that of the threshold which the serving rule takes from probabilities calibrated on the same
        rows, by Platt scaling with a prior.
        """
        if self.objective is None:
            curves, metric = [sample.curve for sample in samples], self.name.removeprefix("macro_")
            return ranking_metrics(curves, self.targets, [metric])[self.name]
        [sample] = samples
        counts = sample.curve.counts
        curve = Curve.of(counts, fit_of("platt_prior")(counts).apply)
        value = float(self.objective.values(curve)[pick(curve, self.objective).cut])
        weight = float(counts.positive_weight.sum() + counts.negative_weight.sum())
        return _PER * value / weight if self.is_loss else value


@dataclass(frozen=True, kw_only=True)
class SearchedStrategy:
    """All trials of one strategy, in the order of their numbers; the first one is the config's own.

    Args:
        words: what the values of trials are; `metric` is what MLflow calls them.
        rounds, rows: of each rung the most rounds of a fit, and the share of the rows that it reads.
    """

    strategy: str
    words: str
    metric: str
    is_loss: bool
    rounds: tuple[int, ...]
    rows: tuple[float, ...]
    trials: tuple[Trial, ...]

    @property
    def chosen(self) -> Trial:
        """The trial whose parameters the strategy is fitted with."""
        return best_of(self.trials, is_loss=self.is_loss)

    @property
    def sentence(self) -> str:
        """What came out of it."""
        chosen, own = self.chosen, self.trials[0]
        fits = f"{sum(len(trial.values) for trial in self.trials)} fits of {len(self.trials)} trials"
        if chosen is own:
            return f"{fits}, none better than the config's own parameters ({own.values[-1]:.4g} {self.words})"
        params = ", ".join(f"{name} {value:.3g}" for name, value in chosen.params.items())
        return (
            f"{fits}, trial {chosen.number} is best ({chosen.values[-1]:.4g} {self.words}, with the config's own "
            f"parameters {own.values[-1]:.4g}): {params}"
        )

    def table(self) -> pd.DataFrame:
        """One row per trial: its parameters, and its value on each rung that it reached."""
        return pd.DataFrame(
            {
                "trial": trial.number,
                **trial.params,
                **{
                    f"rung {rung}: {self.words}": trial.values[rung] if rung < len(trial.values) else None
                    for rung in range(len(self.rounds))
                },
            }
            for trial in self.trials
        )
