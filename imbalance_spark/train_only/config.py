"""How models are fitted: the section `training` of a config."""

from typing import Annotated, Literal

from pydantic import Field

from imbalance_spark.core.section import Section

EngineName = Literal["native", "xgboost_spark"]
MissingKind = Literal["learnt", "lowest"]
LearnerName = Literal["xgboost", "lightgbm", "catboost", "torch", "logistic"]

Power = Annotated[float, Field(ge=0.0, le=1.0)]
"""Of balanced class weights: 0 is none, 1 is all."""


class BoosterParams(Section):
    """XGBoost's parameters that a run may set: a closed list, since XGBoost ignores a misspelt one.

    Args:
        max_depth: of a tree.
        learning_rate: share of each new tree that counts.
        min_child_weight: least sum of Hessians in a leaf; on rare classes p (1 - p) is small, and so is this sum.
        gamma: least loss reduction of a split.
        reg_lambda, reg_alpha: penalties of leaf values, squared and absolute.
        subsample: share of rows a tree is grown on.
        colsample_bytree, colsample_bynode: share of features a tree may use, and of these one split.
        num_parallel_tree: trees of a round, which are averaged: above 1 a round is a forest.
        max_bin: histogram bins of a feature.
        max_delta_step: bound of a leaf's step; 0 is none.
    """

    max_depth: Annotated[int, Field(ge=1, le=30)] = 6
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    min_child_weight: Annotated[float, Field(ge=0.0)] = 1.0
    gamma: Annotated[float, Field(ge=0.0)] = 0.0
    reg_lambda: Annotated[float, Field(ge=0.0)] = 1.0
    reg_alpha: Annotated[float, Field(ge=0.0)] = 0.0
    subsample: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    colsample_bytree: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    colsample_bynode: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    num_parallel_tree: Annotated[int, Field(ge=1, le=1000)] = 1
    max_bin: Annotated[int, Field(ge=2, le=65_536)] = 256
    max_delta_step: Annotated[float, Field(ge=0.0)] = 0.0


class TrainingConfig(Section):
    """The distributed fit.

    Args:
        learner: what is fitted where a strategy names none; see docs/learners.md.
        engine: of XGBoost. `native` cuts features into bins that do not depend on the tables' layout, needs less
            memory and resumes a lost fit from its last checkpoint; `xgboost_spark`, XGBoost's own Spark estimator,
            is for comparison.
        num_workers: barrier tasks of a fit, which must find free slots at the same time.
        max_rows: training rows that fits read at most, those of early stopping included: all rows of rare classes and a
            share of the others by key hash, which probabilities are corrected for. By default what the executors' free
            memory holds, which the log states.
        rounds: trees at most.
        early_stopping_rounds: rounds without a better metric after which a fit stops; the best round counts.
        early_stopping_metric: computed over the rows of all workers; `expected_cost` takes its costs from the first
            objective with constant ones.
        seed: of what a fit draws.
        repeats: fits of each strategy; those after the first have other seeds and a bootstrap of the training rows
            (whole groups), so that the spread of training is part of every verdict on strategies. The first serves.
            With fewer than 5 the spread itself is uncertain, and intervals are very wide.
        stall_limit_s: seconds in which no round ends and no row is loaded, after which a fit is cancelled and begun
            again. Like the two below it has no say in the result, nor in the run id.
        max_fit_attempts: how often a fit is begun that lost a worker or was cancelled, the first time counted.
        slot_wait_s: seconds that each attempt waits for the slots of all workers.
        external_memory: keep the bins of a `native` fit of XGBoost in files on the workers' local disks instead of in
            memory.
        missing: where a `native` fit sends rows without a value. `learnt` finds a side for them at each split; `lowest`
            has them below every number, in a bin of their own, so that a matrix with missing values takes no more
            memory than one without, a third less.
        checkpoint_rounds: a `native` fit keeps its booster after this many rounds each. With a `subsample` or
            `colsample_*` it draws afresh from there, and the model depends on this number.
        peer_timeout_s: seconds that a worker of a `native` fit waits for the others within a round; no say in the
            result, nor in the run id.
        params: XGBoost's parameters for all strategies; LightGBM and CatBoost are given what means the same to them.
    """

    learner: LearnerName = "xgboost"
    engine: EngineName = "native"
    num_workers: Annotated[int, Field(ge=1, le=10_000)] = 2
    max_rows: Annotated[int, Field(ge=1000)] | None = None
    rounds: Annotated[int, Field(ge=1, le=100_000)] = 200
    early_stopping_rounds: Annotated[int, Field(ge=1)] = 20
    early_stopping_metric: Literal["log_loss", "average_precision", "expected_cost"] = "log_loss"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 7
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    stall_limit_s: Annotated[float, Field(gt=0.0)] = 600.0
    max_fit_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    slot_wait_s: Annotated[float, Field(ge=0.0)] = 60.0
    external_memory: bool = False
    missing: MissingKind = "learnt"
    checkpoint_rounds: Annotated[int, Field(ge=1)] = 50
    peer_timeout_s: Annotated[int, Field(ge=1, le=3600)] = 120
    params: BoosterParams = BoosterParams()
