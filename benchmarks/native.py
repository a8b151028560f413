"""A strategy fitted by XGBoost in memory, on one thread: for benchmarks of many small fits."""

import numpy as np
import xgboost

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.strategies import Strategy
from imbalance_spark.train_only.strategies.recipe import Recipe


def fit_native(recipe: Recipe, inputs: np.ndarray, label: np.ndarray, *, rounds: int) -> xgboost.Booster:
    """All rounds of a fit; rows that a recipe samples are sampled already."""
    weight = None if recipe.weights is None else np.where(label == 1, recipe.weights[1], recipe.weights[0])
    params = {
        **recipe.params.model_dump(), "objective": "binary:logistic", "tree_method": "hist", "nthread": 1,
        "base_score": float(np.exp(recipe.start[1])), "scale_pos_weight": recipe.scale_pos_weight, "seed": 7,
    }  # fmt: skip
    data = xgboost.QuantileDMatrix(inputs, label, weight=weight, nthread=1)
    return xgboost.train(params, data, num_boost_round=rounds, obj=recipe.loss)


def fit_strategy_native(
    strategy: Strategy, inputs: np.ndarray, label: np.ndarray, *, rounds: int
) -> tuple[xgboost.Booster, PriorCorrection]:
    """The booster of a strategy that samples negatives or none, and what maps its margins back to probabilities."""
    positives = int(label.sum())
    counts = {0: len(label) - positives, 1: positives}
    wanted = strategy.planned_rows(dict(counts.items()))[0]
    negatives = np.random.default_rng(7).permutation(np.flatnonzero(label == 0))[:wanted]
    rows = np.sort(np.concatenate([negatives, np.flatnonzero(label == 1)]))
    training = TrainingConfig(params=BoosterParams(max_depth=5))
    recipe = strategy.resolve(counts, training, {0: wanted / counts[0], 1: 1.0})
    return fit_native(recipe, inputs[rows], label[rows], rounds=rounds), recipe.prior_shift.correction()
