"""LightGBM's trees as XGBoost's."""

from collections.abc import Mapping
from typing import Any

from imbalance_spark.train_only.learners.tree_nodes import Leaf, Node, Split, first_above, tree_json


def trees_of_lightgbm(model: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trees of a model in XGBoost's JSON: equal margins but for the rounding of leaves and sums to float32.

    Features are float32, so that x <= t is x < the next float32 above t. A missing number goes where LightGBM learnt
    to send it, or with 0 where training had none; a missing category, and one that training lacked, is in no set.

    Args:
        model: what `Booster.dump_model` gives. Of K classes the trees of a round come one after the other.
    """
    features = len(model["feature_names"])
    return [tree_json(_node(tree["tree_structure"]), features) for tree in model["tree_info"]]


def _node(found: Mapping[str, Any]) -> Node:
    if "leaf_value" in found:
        # A tree of a single leaf states no weight.
        return Leaf(value=float(found["leaf_value"]), weight=float(found.get("leaf_weight", 0.0)))
    feature, left, right = found["split_feature"], _node(found["left_child"]), _node(found["right_child"])
    if found["decision_type"] == "==":
        # LightGBM sends the codes of the set to the left.
        codes = tuple(int(code) for code in found["threshold"].split("||"))
        return Split(feature=feature, left=right, right=left, is_missing_left=True, categories=codes)
    is_missing_left = found["default_left"] if found["missing_type"] == "NaN" else found["threshold"] >= 0.0
    cut = float(first_above(found["threshold"]))
    return Split(feature=feature, left=left, right=right, is_missing_left=is_missing_left, cut=cut)
