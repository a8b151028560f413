"""LightGBM as a learner: barrier tasks that bin rows by given cuts and boost together over sockets of their own."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from imbalance_spark.core.section import Section
from imbalance_spark.scoring.tree_json import booster_of_trees
from imbalance_spark.train_only.learners.boosting import BoostingPlan, Progress, Site
from imbalance_spark.train_only.learners.cuts import FeatureCuts
from imbalance_spark.train_only.learners.engine import BoostedRounds, FitRequest
from imbalance_spark.train_only.learners.learner import Learner
from imbalance_spark.train_only.learners.stopping import StoppingMetric, plain_log_loss
from imbalance_spark.train_only.learners.xgboost import FittedBooster, fit_rounds

if TYPE_CHECKING:
    import lightgbm

    from imbalance_spark.train_only.learners.spill import SpilledRows


from imbalance_spark.train_only.learners.tree_nodes import Leaf, Node, Split, first_above, tree_json

_SPARE_BINS = 4
"""LightGBM puts a bin on both sides of zero and one for missing values; with them 256 bins fit a byte."""
_MOST_LEAVES = 131_072
_LEAST_HESSIAN = 1e-3
"""In a leaf, LightGBM's own default: with 0 it makes leaves without rows, and refuses them."""

_NAMES = {
    "max_depth": "max_depth", "learning_rate": "learning_rate", "min_child_weight": "min_sum_hessian_in_leaf",
    "gamma": "min_gain_to_split", "reg_lambda": "lambda_l2", "reg_alpha": "lambda_l1",
    "subsample": "bagging_fraction", "colsample_bytree": "feature_fraction",
    "colsample_bynode": "feature_fraction_bynode", "max_delta_step": "max_delta_step",
}  # fmt: skip
"""LightGBM's names of the parameters that mean the same."""

_FIXED = {
    "boost_from_average": False, "metric": "None", "pre_partition": True, "deterministic": True, "verbosity": -1,
    "bagging_freq": 1, "feature_pre_filter": False, "min_data_in_bin": 1,
    # By rows, LightGBM 4.7 crashes on some data where bins come from a reference.
    "force_col_wise": True,
    # What may share a bin follows from a worker's own rows.
    "enable_bundle": False,
}  # fmt: skip


class LightGBMParams(Section):
    """Parameters of LightGBM alone.

    Args:
        num_leaves: of a tree at most; by default all that `max_depth` allows, as XGBoost's trees have.
        min_data_in_leaf: rows in a leaf at least, which LightGBM estimates from Hessians; its own default of 20 leaves
            rare rows no leaf.
        cat_smooth, cat_l2: what tames categories of few rows.
    """

    num_leaves: Annotated[int, Field(ge=2, le=_MOST_LEAVES)] | None = None
    min_data_in_leaf: Annotated[int, Field(ge=1)] = 1
    cat_smooth: Annotated[float, Field(ge=0.0)] = 10.0
    cat_l2: Annotated[float, Field(ge=0.0)] = 10.0


class LightGBM(Learner):
    """LightGBM on all workers together, its model converted to XGBoost's trees.

    Bins are between the cuts that XGBoost would be given, so that they depend on no layout, and rare rows may have bins
    of their own. Categories of up to 255 codes are split as sets, others as ordered codes. A fit that lost a worker
    begins at its first round again. With `subsample` the model depends on the layout of the rows.
    """

    name = "lightgbm"
    package = "lightgbm"
    extra = "lightgbm"
    own_params = LightGBMParams
    without_meaning = frozenset({"num_parallel_tree"})

    def fit(self, request: FitRequest) -> FittedBooster:
        """See `fit_rounds`. Reads the table twice: a sample for the cuts, then all rows."""
        return fit_rounds(request, _boosted)


def _boosted(request: FitRequest) -> BoostedRounds:
    # Importing this package needs no xgboost.
    from imbalance_spark.train_only.learners.native import boost_on_workers, cuts_of, plan_of, rounds_of

    workers, params = request.training.num_workers, lightgbm_params(request)
    cuts = cuts_of(request, max(request.params.max_bin - _SPARE_BINS, 3))
    codes = cuts.codes(len(request.features) - request.categorical)
    given = {**params, "max_bin": max([cuts.max_bin, *codes.values()]) + _SPARE_BINS}
    plan = plan_of(request, given, cuts, stopping_margin=None)
    boosting = LightGBMRounds(
        plan=plan, cuts=cuts, codes=codes, margins=request.margins, stopping_shift=request.shift,
        features=len(request.features), workers=workers, peer_timeout_s=request.training.peer_timeout_s,
    )  # fmt: skip
    progress = boost_on_workers(request, boosting, plan, num_workers=workers)
    notes = {"cuts": request.cuts, "cuts_sha256": cuts.digest, "native_categories": len(codes)}
    return rounds_of(progress, plan, given, notes)


def lightgbm_params(request: FitRequest) -> dict[str, Any]:
    """LightGBM's parameters of a fit, without those of the network and of bins."""
    asked, own = request.params.model_dump(), LightGBMParams.model_validate(dict(request.own_params)).model_dump()
    found = {theirs: asked[ours] for ours, theirs in _NAMES.items()}
    found["min_sum_hessian_in_leaf"] = max(asked["min_child_weight"], _LEAST_HESSIAN)
    # Grown leaf by leaf, a tree of so many leaves is one that is grown level by level.
    leaves = min(2 ** min(request.params.max_depth, 17), _MOST_LEAVES)
    found |= {**_FIXED, **own, "num_leaves": own["num_leaves"] or leaves, "seed": request.training.seed}
    if request.classes > 2:
        found |= {"objective": "multiclass", "num_class": request.classes}
    else:
        found |= {"objective": "binary", "scale_pos_weight": request.scale_pos_weight}
    return found if request.loss is None else {**found, "objective": "none"}


@dataclass(frozen=True, kw_only=True)
class LightGBMRounds:
    """LightGBM on bins between given cuts.

    Args:
        codes: of each feature that is split by sets of categories, how many it has.
        margins: that scores of the rows to fit on start from.
        stopping_shift: what is added to them on the early-stopping set.
    """

    plan: BoostingPlan
    cuts: FeatureCuts
    codes: Mapping[int, int]
    margins: tuple[float, ...]
    stopping_shift: float
    features: int
    workers: int
    peer_timeout_s: int

    def load(
        self, to_fit: "SpilledRows", stopping: "SpilledRows", site: Site
    ) -> "tuple[lightgbm.Dataset, lightgbm.Dataset]":
        """The bins of the rows to fit on, and of the early-stopping set."""
        from imbalance_spark.train_only.learners.lightgbm_rows import binned, reference

        params = {**self.plan.params, "num_threads": site.threads}
        bins = reference(self.cuts, self.codes, params, site.scratch)
        shifted = tuple(margin + self.stopping_shift for margin in self.margins)
        return binned(to_fit, bins, self.margins), binned(stopping, bins, shifted)

    def boost(self, loaded: "tuple[lightgbm.Dataset, lightgbm.Dataset]", progress: Progress, site: Site) -> Progress:
        """The rounds, and the booster of all of them in XGBoost's format."""
        import lightgbm

        train, stopping = loaded
        params = {**self.plan.params, "num_threads": site.threads, **self._network(site)}
        booster = lightgbm.Booster(params, train)
        try:
            booster.add_valid(stopping, "stopping")
            progress = self._rounds(booster, progress, site)
        finally:
            # Spark uses this process again.
            booster.free_network()
        trees = trees_of_lightgbm(booster.dump_model())
        names = [f"x_{number}" for number in range(self.features)]
        return progress.with_model(booster_of_trees(trees, self.margins, names))

    def _rounds(self, booster: "lightgbm.Booster", progress: Progress, site: Site) -> Progress:
        metric, loss = self._metric, self.plan.loss
        measured = {"feval": lambda predicted, rows: (*metric(predicted, rows), metric.is_maximised)}
        while not progress.is_over(self.plan):
            is_stuck = booster.update() if loss is None else booster.update(fobj=loss)
            if is_stuck and progress.rounds:
                break  # no split is left, and no tree was added; of a first round LightGBM keeps the constant
            [[*_, on_train, _]], [[*_, on_stopping, _]] = booster.eval_train(**measured), booster.eval_valid(**measured)
            progress = progress.with_round(on_train, on_stopping)
            site.tell(progress.rounds - 1)
        return progress

    @property
    def _metric(self) -> StoppingMetric:
        classes = max(len(self.margins), 2)
        return self.plan.metric or plain_log_loss(classes, is_margin=self.plan.loss is not None)

    def _network(self, site: Site) -> dict[str, Any]:
        """Where the workers listen, each at a free port of its own."""
        if self.workers == 1:
            return {}
        host = site.host
        with socket.create_server((host, 0)) as probe:
            port = probe.getsockname()[1]
        peers = site.meet(f"{host}:{port}")
        return {
            "tree_learner": "data", "num_machines": self.workers, "machines": ",".join(peers),
            "local_listen_port": port, "time_out": max(1, -(-self.peer_timeout_s // 60)),
        }  # fmt: skip


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
