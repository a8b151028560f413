"""A strategy's recipe fitted by XGBoost in memory, on one thread: for benchmarks of many small fits."""

import numpy as np
import xgboost

from imbalance_spark.train_only.strategies.base import Recipe


def fit_native(recipe: Recipe, inputs: np.ndarray, label: np.ndarray, *, rounds: int) -> xgboost.Booster:
    """All rounds of a fit; rows that a recipe samples are sampled already."""
    weight = None if recipe.weights is None else np.where(label == 1, recipe.weights[1], recipe.weights[0])
    params = {
        **recipe.params.model_dump(), "objective": "binary:logistic", "tree_method": "hist", "nthread": 1,
        "base_score": float(np.exp(recipe.start[1])), "scale_pos_weight": recipe.scale_pos_weight, "seed": 7,
    }  # fmt: skip
    data = xgboost.QuantileDMatrix(inputs, label, weight=weight, nthread=1)
    return xgboost.train(params, data, num_boost_round=rounds, obj=recipe.loss)
