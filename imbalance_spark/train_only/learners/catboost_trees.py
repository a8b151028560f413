"""CatBoost's oblivious trees as XGBoost's."""

from collections.abc import Mapping, Sequence
from typing import Any

from imbalance_spark.train_only.learners.tree_nodes import Leaf, Node, Split, first_above, tree_json

MISSING_CODE = -1
"""The category that stands for a missing one, which CatBoost wants as a category like any other."""

_NO_CODE = 65_535
"""In the set of a split that sends a missing category to the right, and no other: XGBoost mixes no kinds of splits."""


def trees_of_catboost(model: Mapping[str, Any], columns: Sequence[int], classes: int) -> list[dict[str, Any]]:
    """The trees of a model in XGBoost's JSON: equal margins but for the rounding of leaves and sums to float32.

    All splits of one depth of an oblivious tree are alike: it becomes a full binary tree. K classes share a tree, which
    becomes one for each of them.

    Args:
        model: what `save_model(format="json")` writes, without target statistics: categories are one-hot.
        columns: which feature each column of the model's pool was.
        classes: how many there are.
    """
    info = model["features_info"]
    numbers = {one["feature_index"]: one for one in info.get("float_features") or ()}
    codes = {one["hash"]: int(one["value"]) for one in info.get("cat_features_hash") or ()}
    categories = {one["feature_index"]: one for one in info.get("categorical_features") or ()}
    width = 1 if classes == 2 else classes
    trees = []
    for tree in model["oblivious_trees"]:
        splits = [_split(split, columns, numbers, categories, codes) for split in tree["splits"]]
        for number in range(width):
            values = [float(value) for value in tree["leaf_values"][number::width]]
            trees.append(tree_json(_node(splits, values, tree["leaf_weights"]), len(columns)))
    return trees


def _split(
    found: Mapping[str, Any],
    columns: Sequence[int],
    numbers: Mapping[int, Mapping[str, Any]],
    categories: Mapping[int, Mapping[str, Any]],
    codes: Mapping[int, int],
) -> dict[str, Any]:
    """What `Split` needs besides its children."""
    if found["split_type"] == "OneHotFeature":
        # A hash is written as a signed number.
        feature = columns[categories[found["cat_feature_index"]]["flat_feature_index"]]
        code = codes[found["value"] % (1 << 32)]
        if code == MISSING_CODE:
            return {"feature": feature, "categories": (_NO_CODE,), "is_missing_left": False}
        return {"feature": feature, "categories": (code,), "is_missing_left": True}
    number = numbers[found["float_feature_index"]]
    return {
        "feature": columns[number["flat_feature_index"]],
        "cut": float(first_above(found["border"])),
        "is_missing_left": number["nan_value_treatment"] != "AsTrue",
    }


def _node(splits: Sequence[Mapping[str, Any]], values: Sequence[float], weights: Sequence[float]) -> Node:
    """Of the first split the right child has the odd leaves, of the last one the second half."""
    if not splits:
        return Leaf(value=values[0], weight=float(weights[0]))
    *others, last = splits
    half = len(values) // 2
    return Split(
        left=_node(others, values[:half], weights[:half]), right=_node(others, values[half:], weights[half:]), **last
    )
