"""PyTorch as a learner: dense layers with embedded categories, trained on barrier tasks, scored without PyTorch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from imbalance_spark.core.section import Section
from imbalance_spark.train_only.config import BoosterParams, EngineName
from imbalance_spark.train_only.learners.boosting import BoostingPlan, Progress, Site
from imbalance_spark.train_only.learners.engine import BoostedRounds, FitRequest
from imbalance_spark.train_only.learners.learner import Asked, Learner
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.learners.stopping import StoppingMetric
from imbalance_spark.train_only.learners.xgboost import FittedBooster, fit_rounds

if TYPE_CHECKING:
    from imbalance_spark.train_only.learners.network_rows import LearnedRows
    from imbalance_spark.train_only.learners.spill import SpilledRows


Width = Annotated[int, Field(ge=1, le=4096)]


class NetworkParams(Section):
    """Parameters of the network.

    Args:
        hidden: outputs of each layer but the last.
        lr: step size of AdamW.
        weight_decay: share of a weight, times `lr`, that each step takes away.
        batch_rows: rows of a batch on average, of all workers together.
    """

    hidden: Annotated[list[Width], Field(min_length=1, max_length=20)] = [128, 64]  # noqa: RUF012  # pydantic copies it
    lr: Annotated[float, Field(gt=0.0, le=1.0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = 1e-4
    batch_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 1024


class Torch(Learner):
    """Dense layers over scaled numbers and embedded categories, by PyTorch on the CPUs of all workers together.

    A round is an epoch. Batches, and with them the model, do not depend on the layout of the rows or the number of
    workers but for the rounding of sums. Gradients are summed by the communicator that the workers have anyway.
    """

    name = "torch"
    package = "torch"
    extra = "torch"
    own_params = NetworkParams
    without_meaning = frozenset(BoosterParams.model_fields)
    is_trees = False

    def passes(self, features: int, engine: EngineName) -> int:
        """One: workers keep what they have read."""
        return 1

    def problems(self, asked: Asked) -> Iterator[str]:
        """What a model without bins cannot do."""
        yield from super().problems(asked)
        if asked.is_by_cuts or asked.has_cuts:
            yield (
                f"strategy {asked.strategy!r}: torch has no histogram cuts, which {asked.kind} is asked to choose: "
                "leave cuts out, or use class_weight"
            )

    def fit(self, request: FitRequest) -> FittedBooster:
        """See `fit_rounds`. A lost fit continues with its last checkpoint."""
        return fit_rounds(request, _trained, lambda trained, _: trained.model)


def network_plan(request: FitRequest) -> BoostingPlan:
    """All that decides the network of a request but its rows."""
    # Importing this package needs no xgboost.
    from imbalance_spark.train_only.learners.native import plan_of

    training, own = request.training, NetworkParams.model_validate(dict(request.own_params))
    metric = StoppingMetric(
        name=training.early_stopping_metric, correction=request.correction, is_margin=True, costs=request.costs
    )
    plan = plan_of(request, {**own.model_dump(), "seed": training.seed}, None, stopping_margin=None)
    return replace(plan, loss=request.loss or FocalLoss(weights=request.row_factors), metric=metric)


def _trained(request: FitRequest) -> BoostedRounds:
    # Importing this package needs no xgboost.
    from imbalance_spark.train_only.learners.native import boost_on_workers, rounds_of

    plan, workers = network_plan(request), request.training.num_workers
    numeric = len(request.features) - request.categorical
    epochs = NetworkEpochs(plan=plan, numeric=numeric, margins=request.margins)
    return rounds_of(boost_on_workers(request, epochs, plan, num_workers=workers), plan, plan.params, {})


@dataclass(frozen=True, kw_only=True)
class NetworkEpochs:
    """A worker's part of a network's training.

    Args:
        numeric: how many features are numbers; they come first.
        margins: that scores start from, one or one for each class.
    """

    plan: BoostingPlan
    numeric: int
    margins: tuple[float, ...]

    def load(self, to_fit: "SpilledRows", stopping: "SpilledRows", site: Site) -> "tuple[LearnedRows, LearnedRows]":
        """The rows to fit on, and those of the early-stopping set."""
        import torch  # noqa: F401  # takes seconds, in which nobody waits for this worker

        from imbalance_spark.train_only.learners.network_rows import LearnedRows

        return LearnedRows.of(to_fit), LearnedRows.of(stopping)

    def boost(self, loaded: "tuple[LearnedRows, LearnedRows]", progress: Progress, site: Site) -> Progress:
        """The epochs, and the network of the best one."""
        from imbalance_spark.train_only.learners.network_epochs import train

        to_fit, stopping = loaded
        return train(self.plan, to_fit, stopping, self.numeric, self.margins, progress, site)
