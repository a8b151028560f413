"""Which rows judge the strategies: those of validation, or where these are few, cross-fitted train and validation.

Every strategy is fitted once for each fold of train and validation, on all rows but the fold's, and scores the fold.
The scores of all folds, each corrected for what its own fit was given, are counted together. So every row judges, none
was seen by the model that scores it, and test stays untouched. The model that serves is fitted on all of these rows,
and is calibrated as the models of the folds are.

Intervals are those of the counts, over hash buckets that are independent of the folds: they hold for the mean of the
folds' models, each of which learned from fewer rows than the one that serves (Bayle and others, 2020).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.columns import TRAIN, VALIDATION
from imbalance_spark.train_only.search.trials import rungs_of
from imbalance_spark.train_only.strategies.searched import spaces_of

AUTO_BELOW = 100
"""Rows of the rarest class in validation below which `evaluation: auto` cross-fits."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How the strategies of a run are judged.

    Args:
        rarest: rows of the rarest class in validation.
        folds: of a cross-fit; 0 with a holdout.
    """

    method: Literal["holdout", "cross_fit"]
    rarest: int
    folds: int = 0

    @property
    def is_cross_fit(self) -> bool:
        """Whether validation's rows are fitted on, too."""
        return self.method == "cross_fit"

    @property
    def fits(self) -> int:
        """Fits of each strategy, or of each member of an ensemble."""
        return self.folds + 1

    def cost(self, config: RunConfig) -> str:
        """What a config's strategies are going to take, in words."""
        found = f"{self.method}: validation has {self.rarest:,} rows of the rarest class; "
        members = sum(len(strategy.fits()) for strategy in config.compared)
        if self.is_cross_fit:
            found += f"{self.folds} folds and all rows, {self.fits} fits per strategy, {self.fits * members} in all"
        else:
            found += f"1 fit per strategy, {members} in all"
        if tried := searched_fits(config):
            found += f"; and before them {tried} fits of the search"
        if config.split.backtest is None:
            return found
        windows = config.split.backtest.folds
        return f"{found}; and before each of {windows} windows of the backtest, {windows * members} fits more"

    @property
    def sentence(self) -> str | None:
        """What numbers of validation mean, where they do not mean validation."""
        if not self.is_cross_fit:
            return None
        return (
            f"Cross-fitted, since validation has {self.rarest:,} rows of the rarest class: what is said of validation "
            f"is counted on train and validation together, each row scored by one of {self.folds} fits that left it "
            "out. The models that serve, and are scored on test, are fitted on all of these rows."
        )


def searched_fits(config: RunConfig) -> int:
    """Fits of all trials of a config's search, those of an ensemble's members counted one by one."""
    strategies = config.compared
    spaces = spaces_of(config.search, strategies)
    if config.search is None:
        return 0
    members = sum(len(strategy.fits()) for strategy in strategies if strategy.name in spaces)
    return members * sum(rung.trials for rung in rungs_of(config.search))


def evaluation_of(config: RunConfig, by_split: Mapping[str, Mapping[int, int]]) -> Evaluation:
    """How a config's strategies are judged on these rows.

    Args:
        by_split: rows by fold and class number.
    """
    rarest = min(by_split[VALIDATION].values())
    # A search chose parameters on rows of train: they cannot judge what came of it.
    keeps_validation = rarest >= AUTO_BELOW or config.training.repeats > 1 or config.search is not None
    if config.evaluation == "holdout" or (config.evaluation == "auto" and keeps_validation):
        return Evaluation(method="holdout", rarest=rarest)
    known = min(by_split[TRAIN][k] + rows for k, rows in by_split[VALIDATION].items())
    return Evaluation(method="cross_fit", rarest=rarest, folds=max(2, min(config.split.cross_fit_folds, known)))
