"""Isolation forest on a bounded sample of honest orders, as one booster of path lengths."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.columns import IS_EARLY_STOPPING, col
from imbalance_spark.core.hashing import uniform
from imbalance_spark.core.section import Section
from imbalance_spark.orders.model_inputs import LABEL, feature_column
from imbalance_spark.scoring.tree_json import booster_of_trees
from imbalance_spark.train_only.config import BoosterParams, EngineName
from imbalance_spark.train_only.learners.engine import FitRequest
from imbalance_spark.train_only.learners.learner import Learner
from imbalance_spark.train_only.learners.tree_nodes import Leaf, Node, Split, first_above, tree_json
from imbalance_spark.train_only.learners.xgboost import FittedBooster, booster_names

ROWS_A_TREE = 256
"""What the method's authors give a tree (Liu, Ting and Zhou, 2008); more hides what is rare among what is common."""


_SPREAD = 8.0
"""How far margins lie apart; calibration gives them their scale, the scan's bins only must tell them apart."""


_LEAF = -1  # in place of a child's number


class IsolationParams(Section):
    """Parameters of the isolation forest.

    Args:
        trees: how many, each on 256 rows.
    """

    trees: Annotated[int, Field(ge=1, le=1000)] = 200


class Isolation(Learner):
    """The isolation forest, which learns from rows of class 0 alone: no strategy against the imbalance applies."""

    name = "isolation_forest"
    package = "sklearn"
    own_params = IsolationParams
    without_meaning = frozenset(BoosterParams.model_fields)
    is_trees = False

    def passes(self, features: int, engine: EngineName) -> int:
        """One, for a sample."""
        return 1

    def fit(self, request: FitRequest) -> FittedBooster:
        """See `fit_isolation_forest`."""
        return fit_isolation_forest(
            request.table,
            features=request.features,
            key=request.key,
            trees=IsolationParams.model_validate(dict(request.own_params)).trees,
            honest_rows=(request.fit_rows or {})[0],
            prior=math.exp(request.start[1]),
            seed=request.training.seed,
        )


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
    per_unit = -_SPREAD / (trees * float(_expected_path(forest.max_samples_)))
    grown = [tree_json(_node(estimator.tree_, median, per_unit), len(features)) for estimator in forest.estimators_]
    start = float(np.log(prior) - np.log1p(-prior)) + _SPREAD
    return FittedBooster(
        model_bytes=booster_of_trees(grown, [start], booster_names(features)),
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


def _node(tree: Any, median: npt.NDArray[np.float32], per_unit: float, place: int = 0, depth: int = 0) -> Node:
    """A node of a scikit-learn tree, whose leaves hold path lengths times `per_unit`."""
    rows, left, right = tree.n_node_samples[place], tree.children_left[place], tree.children_right[place]
    if left == _LEAF:
        return Leaf(value=float(depth + _expected_path(rows)) * per_unit, weight=float(rows))
    feature, threshold = int(tree.feature[place]), tree.threshold[place]
    return Split(
        feature=feature,
        cut=float(first_above(threshold)),
        is_missing_left=bool(median[feature] <= threshold),
        left=_node(tree, median, per_unit, left, depth + 1),
        right=_node(tree, median, per_unit, right, depth + 1),
    )


def _expected_path(rows: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Mean path length of an unsuccessful search in a binary tree of so many rows (Liu, Ting and Zhou, 2008)."""
    n = np.maximum(np.asarray(rows, dtype=np.float64), 2.0)
    length = 2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n
    return np.asarray(np.select([np.less_equal(rows, 1), np.equal(rows, 2)], [0.0, 1.0], length), dtype=np.float64)
