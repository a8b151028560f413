"""Boosters put together from trees, in XGBoost's JSON."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

_IS_LEAF = -1


def sum_of_boosters(members: Sequence[bytes], factor: float) -> bytes:
    """One booster whose margins are `factor` times the sum of the members': their trees, with leaves times `factor`.

    Equal to the sum but for the rounding of leaves to float32. Members may differ in rounds, not in classes.

    Args:
        members: UBJ of boosters on the same features and classes; at least one.
    """
    documents = [_document(ubj) for ubj in members]
    start = factor * np.sum([_start(found) for found in documents], axis=0)
    rounds = (
        [(_scaled(tree, factor), number) for tree, number in trees]
        for found in documents
        for trees in _rounds(found["learner"]["gradient_booster"]["model"])
    )
    return _with_trees(documents[0], rounds, start.tolist())


def booster_of_trees(trees: Iterable[dict[str, Any]], start: Sequence[float], feature_names: Sequence[str]) -> bytes:
    """UBJ of a booster from trees in XGBoost's JSON.

    Args:
        trees: those of a round together, one for each entry of `start`.
        start: margin that scores start from: one for two classes, else one for each.
    """
    import xgboost  # importing this package needs no xgboost

    params = {"objective": "binary:logistic", "base_score": 0.5}
    if len(start) > 1:
        params = {"objective": "multi:softprob", "num_class": len(start)}
    rows = xgboost.DMatrix(np.zeros((2, len(feature_names))), [0.0, 1.0], feature_names=list(feature_names))
    empty = xgboost.train(params, rows, 0)
    return _with_trees(_document(bytes(empty.save_raw("ubj"))), _rounds_of(trees, len(start)), start)


_Round = Sequence[tuple[dict[str, Any], int]]
"""The trees of a round, each with the number of the margin that it adds to; of a forest several have the same."""


def _rounds_of(trees: Iterable[dict[str, Any]], margins: int) -> Iterator[_Round]:
    """Trees in turn, one of a round for each margin."""
    for trees_of_round in zip(*[iter(trees)] * margins, strict=True):
        yield list(zip(trees_of_round, range(margins), strict=True))


def _rounds(model: Mapping[str, Any]) -> Iterator[_Round]:
    for begin, end in pairwise(model["iteration_indptr"]):
        yield list(zip(model["trees"][begin:end], model["tree_info"][begin:end], strict=True))


def _with_trees(document: dict[str, Any], rounds: Iterable[_Round], start: Sequence[float]) -> bytes:
    """The document's booster with these trees and a start for each margin."""
    listed = list(rounds)
    trees = [found for trees_of_round in listed for found in trees_of_round]
    model = document["learner"]["gradient_booster"]["model"]
    model["trees"] = [{**tree, "id": number} for number, (tree, _) in enumerate(trees)]
    model["tree_info"] = [margin for _, margin in trees]
    model["iteration_indptr"] = list(accumulate(map(len, listed), initial=0))
    model["gbtree_model_param"]["num_trees"] = str(len(trees))
    # XGBoost keeps a probability for one margin, and margins for several.
    scores = [1.0 / (1.0 + math.exp(-start[0]))] if len(start) == 1 else start
    document["learner"]["learner_model_param"]["base_score"] = f"[{','.join(map(repr, scores))}]"
    document["learner"]["attributes"] = {}  # such as the best round of one member
    return _ubj(document)


def with_missing_left(ubj: bytes) -> bytes:
    """The booster with every split sending missing values left, where the lowest ones go."""
    document = _document(ubj)
    for tree in document["learner"]["gradient_booster"]["model"]["trees"]:
        tree["default_left"] = [1] * len(tree["default_left"])
    return _ubj(document)


def _ubj(document: dict[str, Any]) -> bytes:
    import xgboost

    return bytes(xgboost.Booster(model_file=bytearray(json.dumps(document).encode())).save_raw("ubj"))


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


def _start(document: dict[str, Any]) -> list[float]:
    scores: list[float] = json.loads(document["learner"]["learner_model_param"]["base_score"])
    return scores if len(scores) > 1 else [math.log(scores[0]) - math.log1p(-scores[0])]
