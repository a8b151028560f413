"""A strategy fitted by XGBoost in memory, on one thread: for benchmarks of many small fits."""

import numpy as np
import xgboost

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.strategies import Strategy
from imbalance_spark.train_only.strategies.recipe import Recipe

_PATIENCE, _SLICE = 30, 0.15
"""Of early stopping: rounds without a better average precision, and the share of the rows that it looks at."""


def fit_native(
    recipe: Recipe,
    inputs: np.ndarray,
    label: np.ndarray,
    *,
    rounds: int,
    stopping: tuple[np.ndarray, np.ndarray] | None = None,
) -> xgboost.Booster:
    """All rounds of a fit, or those up to the best average precision on the rows `stopping`.

    Rows that a recipe samples are sampled already.
    """
    weight = None if recipe.weights is None else np.where(label == 1, recipe.weights[1], recipe.weights[0])
    params = {
        **recipe.params.model_dump(), "objective": "binary:logistic", "tree_method": "hist", "nthread": 1,
        "base_score": float(np.exp(recipe.start[1])), "scale_pos_weight": recipe.scale_pos_weight, "seed": 7,
    }  # fmt: skip
    data = xgboost.QuantileDMatrix(inputs, label, weight=weight, nthread=1)
    if stopping is None:
        return xgboost.train(params, data, num_boost_round=rounds, obj=recipe.loss)
    judged = [(xgboost.QuantileDMatrix(*stopping, ref=data, nthread=1), "stopping")]
    booster = xgboost.train(
        params | {"eval_metric": "aucpr"}, data, num_boost_round=rounds, obj=recipe.loss, evals=judged,
        early_stopping_rounds=_PATIENCE, verbose_eval=False,
    )  # fmt: skip
    return booster[: booster.best_iteration + 1]


def fit_strategy_native(
    strategy: Strategy, inputs: np.ndarray, label: np.ndarray, *, rounds: int, stops_early: bool = False, seed: int = 7
) -> tuple[xgboost.Booster, PriorCorrection]:
    """The booster of a strategy that samples negatives or none, and what maps its margins back to probabilities.

    Args:
        stops_early: on a stratified share of the rows, which is not fitted on.
    """
    draw = np.random.default_rng(seed)
    stopping = None
    if stops_early:
        held_out = np.zeros(len(label), dtype=bool)
        for k in (0, 1):
            of_class = np.flatnonzero(label == k)
            held_out[draw.choice(of_class, max(round(_SLICE * len(of_class)), 1), replace=False)] = True
        stopping = (inputs[held_out], label[held_out])
        inputs, label = inputs[~held_out], label[~held_out]
    positives = int(label.sum())
    counts = {0: len(label) - positives, 1: positives}
    wanted = strategy.planned_rows(dict(counts.items()))[0]
    negatives = draw.permutation(np.flatnonzero(label == 0))[:wanted]
    rows = np.sort(np.concatenate([negatives, np.flatnonzero(label == 1)]))
    # The engine whose recipes say all in weights: cuts are not given here.
    training = TrainingConfig(engine="xgboost_spark", params=BoosterParams(max_depth=5))
    recipe = strategy.resolve(counts, training, {0: wanted / counts[0], 1: 1.0})
    booster = fit_native(recipe, inputs[rows], label[rows], rounds=rounds, stopping=stopping)
    return booster, recipe.prior_shift.correction()
