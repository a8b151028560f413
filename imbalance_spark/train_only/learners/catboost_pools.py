"""CatBoost's pools from rows on a worker's local disk, the fit on them, and its oblivious trees as XGBoost's."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import numpy.typing as npt

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.scoring.tree_json import booster_of_trees
from imbalance_spark.train_only.learners.boosting import BoostingPlan, Progress, Site
from imbalance_spark.train_only.learners.cuts import FeatureCuts
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.learners.spill import SpilledRows, Values, hashes_of
from imbalance_spark.train_only.learners.stopping import StoppingMetric
from imbalance_spark.train_only.learners.tree_nodes import Leaf, Node, Split, first_above, tree_json

MISSING_CODE = -1
"""The category that stands for a missing one, which CatBoost wants as a category like any other."""

_NO_CODE = 65_535
"""In the set of a split that sends a missing category to the right, and no other: XGBoost mixes no kinds of splits."""


class Pools:
    """The rows to fit on and the early-stopping set.

    Args:
        codes: of each feature that is one-hot, how many it has.
        margins: that scores start from, of the rows to fit on and of the others.
        row_factors: what rows to fit on weigh by class beside their weight; () is 1.
        folder: for files that CatBoost reads and writes.
    """

    def __init__(
        self,
        to_fit: SpilledRows,
        stopping: SpilledRows,
        cuts: FeatureCuts,
        codes: Mapping[int, int],
        margins: tuple[tuple[float, ...], tuple[float, ...]],
        row_factors: tuple[float, ...],
        folder: Path,
    ) -> None:
        numbers = [feature for feature in range(to_fit.features) if feature not in codes]
        self._columns, self._codes, self._folder, self._margins = [*numbers, *codes], codes, folder, margins[0]
        # The codes themselves, the one of an unknown category and that of a missing one at the end.
        self._texts = np.array([str(code).encode() for code in [*range(256), MISSING_CODE]], dtype=object)
        borders = folder / "borders.tsv"
        borders.write_text("".join(_lines_of_borders(numbers, cuts)), "ascii")
        self._train = self._pool(to_fit, margins[0], row_factors)
        self._train.quantize(input_borders=str(borders))
        self._stopping = self._pool(stopping, margins[1], ())

    def boosted(
        self, plan: BoostingPlan, metric: StoppingMetric, loss: FocalLoss | None, progress: Progress, site: Site
    ) -> Progress:
        """The rounds, and the booster of all of them in XGBoost's format."""
        params = {**plan.params, "eval_metric": _Metric(metric), "thread_count": site.threads}
        if loss is not None:
            params["loss_function"] = _Objective(loss)
        model, rounds = catboost.CatBoost(params), _Rounds(plan, progress, site)
        with warnings.catch_warnings():
            # Without numba a loss or metric of one's own is slower, and right.
            warnings.filterwarnings("ignore", "Failed to import numba", UserWarning)
            model.fit(self._train, eval_set=self._stopping, callbacks=[rounds])
        file = self._folder / "model.json"
        model.save_model(str(file), format="json", pool=self._all_codes())
        trees = trees_of_catboost(json.loads(file.read_text("utf-8")), self._columns, max(len(self._margins), 2))
        names = [f"x_{number}" for number in range(len(self._columns))]
        return rounds.progress.with_model(booster_of_trees(trees, self._margins, names))

    def _pool(self, rows: SpilledRows, margins: Sequence[float], row_factors: Sequence[float]) -> catboost.Pool:
        values = rows.read(0, rows.rows)
        values = values[np.argsort(hashes_of(values), kind="stable")]
        label, weight = values[:, rows.features], values[:, rows.features + 1] if rows.is_weighed else None
        if row_factors:
            factor = np.array(row_factors)[label.astype(np.int64)]
            weight = factor if weight is None else factor * weight
        start = np.tile(np.array(margins), (len(values), 1))
        return catboost.Pool(self._features(values), label, weight=weight, baseline=start)

    def _features(self, values: Values) -> catboost.FeaturesData:
        numbers, coded = self._columns[: len(self._columns) - len(self._codes)], list(self._codes)
        places = np.nan_to_num(values[:, coded], nan=MISSING_CODE).clip(max=255).astype(np.int64)
        return catboost.FeaturesData(
            num_feature_data=np.ascontiguousarray(values[:, numbers]) if numbers else None,
            cat_feature_data=self._texts[places] if coded else None,
        )

    def _all_codes(self) -> catboost.Pool:
        """A pool with all codes: a model is written with the texts of hashes that a pool has."""
        values = np.zeros((len(self._texts), len(self._columns)), dtype=np.float32)
        values[:, list(self._codes)] = np.arange(-1, len(self._texts) - 1)[:, None]
        values[values < 0.0] = np.nan
        return catboost.Pool(self._features(values), np.arange(len(values)) % 2)


class _Rounds:
    """Counts and tells rounds, and ends a fit that gets no better."""

    def __init__(self, plan: BoostingPlan, progress: Progress, site: Site) -> None:
        self._plan, self.progress, self._site = plan, progress, site

    def after_iteration(self, info: Any) -> bool:
        """Whether to go on."""
        on_train, on_stopping = (info.metrics[part][_Metric.__name__][-1] for part in ("learn", "validation"))
        self.progress = self.progress.with_round(on_train, on_stopping)
        self._site.tell(self.progress.rounds - 1)
        return not self.progress.is_over(self._plan)


class _Metric:
    """Our metric under the names that CatBoost calls."""

    def __init__(self, metric: StoppingMetric) -> None:
        self._metric = metric

    def is_max_optimal(self) -> bool:
        return self._metric.is_maximised

    def evaluate(
        self, approxes: Sequence[FloatArray], target: npt.NDArray[Any], weight: npt.NDArray[Any] | None
    ) -> tuple[float, float]:
        margins = np.column_stack(approxes) if len(approxes) > 1 else np.asarray(approxes[0])
        return self._metric.of(margins, target, weight), 1.0

    def get_final_error(self, error: float, weight: float) -> float:
        return error


class _Objective:
    """A loss of two classes under the name that CatBoost calls; it maximises."""

    def __init__(self, loss: FocalLoss) -> None:
        self._loss = loss

    def calc_ders_range(
        self, approxes: npt.NDArray[Any], targets: npt.NDArray[Any], weights: npt.NDArray[Any] | None
    ) -> FloatArray:
        gradient, hessian = self._loss.weighted(approxes, targets, weights)
        return -np.column_stack([gradient, hessian])


def _lines_of_borders(numbers: Sequence[int], cuts: FeatureCuts) -> list[str]:
    """A value above a border goes right: the border of a cut is the float32 below it."""
    return [
        f"{place}\t{float(border)!r}\tMin\n"
        for place, feature in enumerate(numbers)
        for border in np.nextafter(cuts.by_feature[feature], np.float32(-np.inf))
    ]


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
