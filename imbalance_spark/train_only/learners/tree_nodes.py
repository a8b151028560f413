"""Trees of other libraries as XGBoost's, so that one format is scored, explained, averaged and registered."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_ROOT_HAS_NO_PARENT, _NO_CHILD = 2147483647, -1
_IS_CATEGORICAL = 1
_LEAST_COVER = 1e-6
"""Of a leaf, in training weight: TreeSHAP divides by it, and an oblivious tree has leaves that no row reached."""


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """What a row that ends here adds to the margin, and the training weight that did."""

    value: float
    weight: float


@dataclass(frozen=True, kw_only=True)
class Split:
    """Where a row goes on: right if its feature is one of `categories`, or else not below `cut`; left if not.

    Args:
        feature: number, from 0.
        cut: a float32; of no meaning where there are categories.
        categories: codes that go right; () is a split of numbers.
        is_missing_left: where a row without a value goes. A code that training lacked goes left.
    """

    feature: int
    left: "Node"
    right: "Node"
    is_missing_left: bool
    cut: float = 0.0
    categories: tuple[int, ...] = ()


Node = Leaf | Split


def tree_json(root: Node, features: int) -> dict[str, Any]:
    """The tree as one of XGBoost's JSON model; cover is the training weight of the leaves below.

    Args:
        features: how many the model has.
    """
    # Level by level: XGBoost finds a right child beside its left one.
    nodes, parents, left = [root], [_ROOT_HAS_NO_PARENT], []
    for place, node in enumerate(nodes):
        left.append(len(nodes) if isinstance(node, Split) else _NO_CHILD)
        if isinstance(node, Split):
            nodes += [node.left, node.right]
            parents += [place] * 2
    by_category = [place for place, node in enumerate(nodes) if isinstance(node, Split) and node.categories]
    sets = [sorted(node.categories) for node in nodes if isinstance(node, Split) and node.categories]
    sizes = [len(codes) for codes in sets]
    return {
        "base_weights": [0.0] * len(nodes), "loss_changes": [0.0] * len(nodes),
        "categories": [code for codes in sets for code in codes], "categories_nodes": by_category,
        "categories_segments": [sum(sizes[:number]) for number in range(len(sizes))], "categories_sizes": sizes,
        "left_children": left, "right_children": [_NO_CHILD if child == _NO_CHILD else child + 1 for child in left],
        "parents": parents, "split_indices": [node.feature if isinstance(node, Split) else 0 for node in nodes],
        "default_left": [int(isinstance(node, Split) and node.is_missing_left) for node in nodes],
        "split_type": [_IS_CATEGORICAL * (place in set(by_category)) for place in range(len(nodes))],
        "split_conditions": [node.cut if isinstance(node, Split) else node.value for node in nodes],
        "sum_hessian": _covers(nodes, left),
        "tree_param": {
            "num_deleted": "0", "num_feature": str(features), "num_nodes": str(len(nodes)), "size_leaf_vector": "1",
        },
    }  # fmt: skip


def leaves(node: Node) -> Iterator[Leaf]:
    """Those of a tree, from left to right."""
    if isinstance(node, Leaf):
        yield node
    else:
        yield from leaves(node.left)
        yield from leaves(node.right)


def first_above(thresholds: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """The lowest float32 above each number: others go left at x <= t, XGBoost at x < t."""
    exact = np.asarray(thresholds, dtype=np.float64)
    with np.errstate(over="ignore"):
        near = exact.astype(np.float32)
        return np.asarray(np.where(near > exact, near, np.nextafter(near, np.float32(np.inf))), dtype=np.float32)


def _covers(nodes: Iterable[Node], left: list[int]) -> list[float]:
    covers = [0.0 if isinstance(node, Split) else max(node.weight, _LEAST_COVER) for node in nodes]
    for place in range(len(covers) - 1, -1, -1):
        if left[place] != _NO_CHILD:
            covers[place] = covers[left[place]] + covers[left[place] + 1]
    return covers
