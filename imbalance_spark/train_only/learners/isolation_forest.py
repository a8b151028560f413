"""Isolation forest on a bounded sample of honest orders, as one booster of path lengths."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.columns import IS_EARLY_STOPPING, col
from imbalance_spark.core.hashing import uniform
from imbalance_spark.orders.model_inputs import LABEL, feature_column
from imbalance_spark.scoring.boosters import booster_of_trees
from imbalance_spark.train_only.learners.xgboost import FittedBooster, booster_names

ROWS_A_TREE = 256
"""What the method's authors give a tree (Liu, Ting and Zhou, 2008); more hides what is rare among what is common."""


_SPREAD = 8.0
"""How far margins lie apart; calibration gives them their scale, the scan's bins only must tell them apart."""


_ROOT_HAS_NO_PARENT, _LEAF = 2147483647, -1


def fit_isolation_forest(
    table: DataFrame,
    *,
    features: Sequence[str],
    key: Sequence[str],
    trees: int,
    honest_rows: int,
    prior: float,
    seed: int,
) -> FittedBooster:
    """Isolate rows of class 0 in random trees; what is isolated early is unlike them.

    At most trees x 256 rows, plus about five standard deviations of that, are collected, chosen by their key's
    hash. A missing feature goes where the median of the sample goes. Labels only say which rows are honest: the
    margin, 8 (1 - mean path length / its expectation) + logit(prior), is a rank, not an estimate.

    Passes over `table`: one.

    Args:
        table: `x_0..`, `y`, `is_early_stopping` and the key columns.
        honest_rows: rows of class 0 outside the early-stopping slice.
        prior: share of positives, in (0, 1).
    """
    from sklearn.ensemble import IsolationForest

    sample = _honest_sample(table, len(features), key, trees * ROWS_A_TREE, honest_rows, seed)
    # A feature without a value in the sample splits nothing.
    median = np.nan_to_num(np.array([_median(column) for column in sample.T], dtype=np.float32))
    filled = np.where(np.isnan(sample), median, sample)
    forest = IsolationForest(n_estimators=trees, max_samples=min(ROWS_A_TREE, len(filled)), random_state=seed)
    forest.fit(filled)
    per_unit = -_SPREAD / (trees * _expected_path(np.array([forest.max_samples_]))[0])
    grown = [_as_json(estimator.tree_, median, per_unit) for estimator in forest.estimators_]
    start = float(np.log(prior) - np.log1p(-prior)) + _SPREAD
    return FittedBooster(
        model_bytes=booster_of_trees(grown, start, booster_names(features)),
        features=tuple(features),
        best_iteration=trees - 1,
        rounds_run=trees,
        learning_curve={},
        num_workers=1,
        params={"trees": trees, "rows_a_tree": int(forest.max_samples_), "sampled_rows": len(filled)},
    )


def _honest_sample(
    table: DataFrame, width: int, key: Sequence[str], most: int, honest_rows: int, seed: int
) -> npt.NDArray[np.float32]:
    place = uniform(key, seed, "isolation forest")
    is_honest = ~col(IS_EARLY_STOPPING) & (col(LABEL) == 0)
    inputs = [col(feature_column(i)).cast("float").alias(feature_column(i)) for i in range(width)]
    chosen = table.where(is_honest & (place < F.lit(most / max(honest_rows, 1)))).select(place.alias("place"), *inputs)
    found = chosen.toPandas().sort_values("place")  # a draw of `most` rows on average
    return found.drop(columns="place").to_numpy(dtype=np.float32, na_value=np.nan)[:most]


def _median(column: npt.NDArray[np.float32]) -> float:
    present = column[~np.isnan(column)]
    return float(np.median(present)) if len(present) else np.nan


def _as_json(tree: Any, median: npt.NDArray[np.float32], per_unit: float) -> dict[str, Any]:
    """A scikit-learn tree as XGBoost's, whose leaves hold path lengths times `per_unit`."""
    order, left, parents, depth = _by_level(tree.children_left, tree.children_right)
    is_leaf, rows, threshold = left == _LEAF, tree.n_node_samples[order], tree.threshold[order]
    feature = np.where(is_leaf, 0, tree.feature[order])
    value = (depth + _expected_path(rows)) * per_unit
    nodes = len(order)
    return {
        "base_weights": [0.0] * nodes, "categories": [], "categories_nodes": [], "categories_segments": [],
        "categories_sizes": [], "default_left": (~is_leaf & (median[feature] <= threshold)).astype(int).tolist(),
        "left_children": left.tolist(), "right_children": np.where(is_leaf, _LEAF, left + 1).tolist(),
        "parents": parents.tolist(), "loss_changes": [0.0] * nodes, "split_indices": feature.tolist(),
        "split_type": [0] * nodes, "split_conditions": np.where(is_leaf, value, _first_above(threshold)).tolist(),
        "sum_hessian": rows.astype(float).tolist(),
        "tree_param": {
            "num_deleted": "0", "num_feature": str(len(median)), "num_nodes": str(nodes), "size_leaf_vector": "1",
        },
    }  # fmt: skip


def _by_level(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], ...]:
    """Nodes by level, each one's left child, parent and depth: XGBoost finds a right child beside its left one."""
    order, parents, depth, new_left = [0], [_ROOT_HAS_NO_PARENT], [0], []
    for place, node in enumerate(order):
        is_leaf = left[node] == _LEAF
        new_left.append(_LEAF if is_leaf else len(order))
        if not is_leaf:
            order += [int(left[node]), int(right[node])]
            parents += [place] * 2
            depth += [depth[place] + 1] * 2
    return np.array(order), np.array(new_left), np.array(parents), np.array(depth)


def _first_above(threshold: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The lowest float32 above each number: scikit-learn goes left at x <= t, XGBoost at x < t."""
    near = threshold.astype(np.float32)
    return np.where(near > threshold, near, np.nextafter(near, np.float32(np.inf)))


def _expected_path(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Mean path length of an unsuccessful search in a binary tree of so many rows (Liu, Ting and Zhou, 2008)."""
    n = np.maximum(rows.astype(np.float64), 2.0)
    length = 2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n
    return np.asarray(np.select([rows <= 1, rows == 2], [0.0, 1.0], length), dtype=np.float64)
