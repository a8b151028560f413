"""CatBoost as a learner: one executor fits on all training rows, since its Spark package has no build for Spark 4."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from imbalance_spark.core.errors import TrainingError
from imbalance_spark.core.section import Section
from imbalance_spark.train_only.learners.boosting import BoostingPlan, Progress, Site
from imbalance_spark.train_only.learners.cuts import FeatureCuts
from imbalance_spark.train_only.learners.engine import BoostedRounds, FitRequest
from imbalance_spark.train_only.learners.executors import free_bytes
from imbalance_spark.train_only.learners.learner import Asked, Learner
from imbalance_spark.train_only.learners.stopping import StoppingMetric, plain_log_loss
from imbalance_spark.train_only.learners.xgboost import FittedBooster, fit_rounds

if TYPE_CHECKING:
    from imbalance_spark.train_only.learners.catboost_pools import Pools
    from imbalance_spark.train_only.learners.spill import SpilledRows

_DEEPEST = 16
_BYTES_A_VALUE, _BYTES_A_ROW_AND_CLASS = 12, 160
"""Rounded up from what fits took: values as read, in order and in the pool; margins, derivatives and leaves."""

_FIXED = {
    "one_hot_max_size": 255, "boost_from_average": False, "use_best_model": False, "allow_writing_files": False,
    "logging_level": "Silent",
}  # fmt: skip


class CatBoostParams(Section):
    """Parameters of CatBoost alone.

    Args:
        random_strength: noise in the scores of splits, which fades from round to round.
        leaf_estimation_iterations: Newton's steps for the leaves of a tree; by default CatBoost's choice for the loss.
    """

    random_strength: Annotated[float, Field(ge=0.0)] = 1.0
    leaf_estimation_iterations: Annotated[int, Field(ge=1, le=100)] | None = None


class CatBoost(Learner):
    """CatBoost's oblivious trees on one executor, converted to XGBoost's.

    Splits lie at the cuts that XGBoost would be given. Categories of up to 255 codes are one-hot, others are ordered
    codes: CatBoost's target statistics exist in no other format, and are not used. Rows are ordered by their content,
    so that the model follows from them whatever their layout.
    """

    name = "catboost"
    package = "catboost"
    extra = "catboost"
    own_params = CatBoostParams
    without_meaning = frozenset(
        {"min_child_weight", "gamma", "reg_alpha", "max_delta_step", "colsample_bynode", "num_parallel_tree"}
    )

    def problems(self, asked: Asked) -> Iterator[str]:
        """Trees too deep, and focal losses of more than two classes."""
        yield from super().problems(asked)
        if (depth := asked.params.get("max_depth", 0)) > _DEEPEST:
            yield f"strategy {asked.strategy!r}: catboost grows trees of max_depth {_DEEPEST} at most, got {depth}"
        if asked.is_focal and asked.classes > 2:
            yield (
                f"strategy {asked.strategy!r}: catboost takes a loss of one's own for two classes only, and "
                f"{asked.kind} is one: use learner xgboost or lightgbm, or class_weight"
            )

    def fit(self, request: FitRequest) -> FittedBooster:
        """See `fit_rounds`. Reads the table twice: a sample for the cuts, then all rows."""
        return fit_rounds(replace(request, training=request.training.model_copy(update={"num_workers": 1})), _boosted)


def _boosted(request: FitRequest) -> BoostedRounds:
    # Importing this package needs no xgboost.
    from imbalance_spark.train_only.learners.native import boost_on_workers, cuts_of, plan_of, rounds_of

    cuts, params = cuts_of(request, request.params.max_bin), catboost_params(request)
    codes = cuts.codes(len(request.features) - request.categorical)
    plan = plan_of(request, params, cuts, stopping_margin=None)
    boosting = CatBoostRounds(
        plan=plan, cuts=cuts, codes=codes, margins=request.margins, stopping_shift=request.shift,
        row_factors=() if _has_own_loss(request) else request.row_factors,
    )  # fmt: skip
    progress = boost_on_workers(request, boosting, plan, num_workers=1)
    notes = {"cuts": request.cuts, "cuts_sha256": cuts.digest, "native_categories": len(codes)}
    return rounds_of(progress, plan, params, notes)


def catboost_params(request: FitRequest) -> dict[str, Any]:
    """CatBoost's parameters of a fit."""
    asked, own = request.params, CatBoostParams.model_validate(dict(request.own_params))
    found = {
        **_FIXED, **own.model_dump(exclude_none=True), "depth": asked.max_depth, "learning_rate": asked.learning_rate,
        "l2_leaf_reg": asked.reg_lambda, "rsm": asked.colsample_bytree, "random_seed": request.training.seed,
        "iterations": request.training.rounds, "loss_function": "Logloss" if request.classes == 2 else "MultiClass",
    }  # fmt: skip
    sampled = {"bootstrap_type": "Bernoulli", "subsample": asked.subsample}
    return found | (sampled if asked.subsample < 1.0 else {"bootstrap_type": "No"})


def _has_own_loss(request: FitRequest) -> bool:
    """Whether the loss is more than weights of the classes, which rows can have as well."""
    return request.loss is not None and not request.loss.is_class_weight


@dataclass(frozen=True, kw_only=True)
class CatBoostRounds:
    """CatBoost on bins between given cuts.

    Args:
        codes: of each feature that is one-hot, how many it has.
        margins: that scores of the rows to fit on start from.
        stopping_shift: what is added to them on the early-stopping set.
        row_factors: what rows of each class weigh beside their weight; () is the plan's own loss.
    """

    plan: BoostingPlan
    cuts: FeatureCuts
    codes: Mapping[int, int]
    margins: tuple[float, ...]
    stopping_shift: float
    row_factors: tuple[float, ...]

    def load(self, to_fit: "SpilledRows", stopping: "SpilledRows", site: Site) -> "Pools":
        """The rows in memory, if there is room for them.

        Raises:
            TrainingError: there is not.
        """
        rows, features = to_fit.rows + stopping.rows, to_fit.features
        needed = rows * (_BYTES_A_VALUE * features + _BYTES_A_ROW_AND_CLASS * len(self.margins))
        if needed > (free := free_bytes()) > 0:
            raise TrainingError(
                f"catboost fits on one executor, where {rows:,} rows of {features} features take about "
                f"{needed >> 20:,} MiB, and {free >> 20:,} MiB are free. Set training.max_rows, give executors more "
                "memory, or use learner xgboost or lightgbm, which fit on all of them."
            )
        from imbalance_spark.train_only.learners.catboost_pools import Pools

        shifted = tuple(margin + self.stopping_shift for margin in self.margins)
        return Pools(to_fit, stopping, self.cuts, self.codes, (self.margins, shifted), self.row_factors, site.scratch)

    def boost(self, loaded: "Pools", progress: Progress, site: Site) -> Progress:
        """The rounds, and the booster of all of them in XGBoost's format."""
        loss = None if self.row_factors else self.plan.loss
        return loaded.boosted(self.plan, self._metric, loss, progress, site)

    @property
    def _metric(self) -> StoppingMetric:
        metric = self.plan.metric or plain_log_loss(max(len(self.margins), 2), is_margin=True)
        return replace(metric, is_margin=True)
