"""Boosters put together from trees: a sum of trees is a booster, whoever grew them."""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

_IS_LEAF = -1


def average_boosters(members: Sequence[bytes]) -> bytes:
    """One binary booster whose margin is the mean of the members' margins: their trees, leaves divided by their number.

    Equal to the mean but for the rounding of leaves to float32.

    Args:
        members: UBJ of boosters on the same features; at least one.
    """
    documents = [_document(ubj) for ubj in members]
    starts = [_start(found) for found in documents]
    trees = (
        _scaled(tree, 1.0 / len(members))
        for found in documents
        for tree in found["learner"]["gradient_booster"]["model"]["trees"]
    )
    return _with_trees(documents[0], trees, float(np.mean(starts)))


def booster_of_trees(trees: Iterable[dict[str, Any]], start: float, feature_names: Sequence[str]) -> bytes:
    """UBJ of a binary booster from trees in XGBoost's JSON and the margin that it starts from."""
    import xgboost  # importing this package needs no xgboost

    rows = xgboost.DMatrix(np.zeros((2, len(feature_names))), [0.0, 1.0], feature_names=list(feature_names))
    empty = xgboost.train({"objective": "binary:logistic", "base_score": 0.5}, rows, 0)
    return _with_trees(_document(bytes(empty.save_raw("ubj"))), trees, start)


def _with_trees(document: dict[str, Any], trees: Iterable[dict[str, Any]], start: float) -> bytes:
    import xgboost

    numbered = [{**tree, "id": number} for number, tree in enumerate(trees)]
    model = document["learner"]["gradient_booster"]["model"]
    model["trees"], model["tree_info"] = numbered, [0] * len(numbered)
    model["iteration_indptr"] = list(range(len(numbered) + 1))
    model["gbtree_model_param"]["num_trees"] = str(len(numbered))
    document["learner"]["learner_model_param"]["base_score"] = f"[{1.0 / (1.0 + math.exp(-start))!r}]"
    document["learner"]["attributes"] = {}  # such as the best round of one member
    booster = xgboost.Booster(model_file=bytearray(json.dumps(document).encode()))
    return bytes(booster.save_raw("ubj"))


def _document(ubj: bytes) -> dict[str, Any]:
    import xgboost

    found: dict[str, Any] = json.loads(xgboost.Booster(model_file=bytearray(ubj)).save_raw("json"))
    return found


def _scaled(tree: dict[str, Any], factor: float) -> dict[str, Any]:
    is_leaf = np.array(tree["left_children"]) == _IS_LEAF
    # A leaf keeps its value where a node keeps its cut.
    conditions = np.where(is_leaf, np.array(tree["split_conditions"]) * factor, tree["split_conditions"])
    weights = np.array(tree["base_weights"]) * factor
    return {**tree, "split_conditions": conditions.tolist(), "base_weights": weights.tolist()}


def _start(document: dict[str, Any]) -> float:
    [score] = json.loads(document["learner"]["learner_model_param"]["base_score"])
    return math.log(score) - math.log1p(-score)
