"""A strategy against the imbalance: what each kind must say, and what a fit makes of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import Label
from imbalance_spark.core.columns import IS_EARLY_STOPPING, col, require_columns
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.section import Name, Section
from imbalance_spark.orders.model_inputs import LABEL
from imbalance_spark.train_only.config import BoosterParams, EngineName, LearnerName, TrainingConfig
from imbalance_spark.train_only.guard import only_train
from imbalance_spark.train_only.learners.cuts import CutKind
from imbalance_spark.train_only.learners.engine import FitRequest
from imbalance_spark.train_only.learners.learner import Asked, Learner
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.sampling.base import with_sampling_weight
from imbalance_spark.train_only.sampling.member_samples import HARDNESS
from imbalance_spark.train_only.sampling.neighbour_report import NeighbourReport
from imbalance_spark.train_only.search.space import Params
from imbalance_spark.train_only.strategies.recipe import (
    TWO_CLASSES,
    FitTask,
    PriorShift,
    Recipe,
    Roles,
    require_rows,
    with_recipe_weight,
)

if TYPE_CHECKING:
    from imbalance_spark.train_only.learners.xgboost import FittedBooster


Precision = Literal["exact", "on average", "about", "at most"]
"""How near planned rows are: samples by share, synthetic samples by neighbourhood, rows that cleaning may remove."""

Tell = Callable[[Mapping[Label, NeighbourReport]], object]
"""Called with the report on a sampler's neighbours, before a row is made of them."""


class Strategy(Section, ABC):
    """A named way to handle class imbalance; `kind` says which, `name` what the report calls it.

    Args:
        kind: what is done against the imbalance.
        name: in tables and in MLflow; the kind, if none is given.
        allow_stacked_correction: whether `orders.weight` may stand beside this strategy's own correction.
    """

    # A kind is a class: it overrides what it does otherwise than plain boosting, and joins the union in `kinds`.
    kind: str
    name: Name = ""
    allow_stacked_correction: bool = False

    corrects: ClassVar[bool] = True
    """Whether the strategy samples or weighs, so that its scores are corrected."""
    is_exact: ClassVar[bool] = True
    """Whether the correction holds in closed form."""
    is_plain: ClassVar[bool] = False
    """Whether this is boosting on the rows as they are, which every other strategy is compared with."""
    is_ranking: ClassVar[bool] = False
    """Whether scores only rank rows, so that calibration alone makes them probabilities."""
    is_focal: ClassVar[bool] = False
    """Whether its loss is more than weights of the classes, as focal losses are."""
    is_sequential: ClassVar[bool] = False
    """Whether what a member of an ensemble samples depends on the models of the members before it."""
    is_additive: ClassVar[bool] = False
    """Whether the margins of its members are added up, not averaged: each member weighs rows by what those before lack,
    so that its odds are those that are left."""
    has_choice: ClassVar[bool] = False
    """Whether a config can choose its learner."""

    @property
    @abstractmethod
    def fitted_by(self) -> Learner:
        """The learner that fits it."""

    def with_learner(self, name: LearnerName) -> Self:
        """The strategy with a learner, where the config names none for it."""
        return self

    @model_validator(mode="before")
    @classmethod
    def _name_is_kind_unless_given(cls, data: Any) -> Any:
        return {**data, "name": data.get("name") or cls.kind_name()} if isinstance(data, dict) else data

    @classmethod
    def kind_name(cls) -> str:
        """The kind, as configs write it."""
        return str(cls.model_fields["kind"].default)

    def problems(self, classes: Sequence[str], numeric: Sequence[str], categorical: Sequence[str]) -> Iterator[str]:
        """What does not fit these classes or features, each with what to use instead.

        Args:
            classes: names in the order of their numbers; `TWO_CLASSES` for two.
            numeric, categorical: names of the features.
        """
        yield from ()

    def by_number(self, classes: Sequence[str]) -> Self:
        """The strategy with classes named by number, as the training tables have them."""
        numbers = {name: k for k, name in enumerate(classes)}
        named = {name: value for name in self.model_fields_set if isinstance(value := getattr(self, name), Mapping)}
        named.pop("params", None)
        changed = {name: {numbers.get(str(k), k): v for k, v in value.items()} for name, value in named.items()}
        return self.model_copy(update=changed)

    def fits(self) -> tuple[Self, ...]:
        """What is fitted: the strategy itself, or each member of an ensemble under a name of its own."""
        return (self,)

    @property
    def table(self) -> str:
        """The training table that it reads: strategies that do not sample share `train`."""
        return "train"

    @property
    def precision(self) -> Precision:
        """How near `planned_rows` are."""
        return "exact"

    def planned_rows(self, counts: Mapping[Label, int]) -> dict[Label, int]:
        """Rows of each class after sampling.

        Raises:
            ConfigError: the sampling does not fit the classes.
        """
        return dict(counts)

    def passes(self, features: int, engine: EngineName) -> int:
        """Passes over its table: those of the fit."""
        return self.fitted_by.passes(features, engine)

    def sample(self, to_fit: DataFrame, roles: Roles, seed: int, *, member: int = 0, tell: Tell = dict) -> DataFrame:
        """The rows to fit on, resampled; as they are where the strategy does not sample. See the sampler for errors.

        Args:
            to_fit: training rows outside the early-stopping set.
            member: which sample of an ensemble, from 0.
            tell: called with the `NeighbourReport` of each class for which rows are made.
        """
        return to_fit

    def judged(self, train: DataFrame, earlier: Sequence[bytes], roles: Roles) -> DataFrame:
        """The training rows with what a sequential strategy makes of the members before. Lazy.

        Args:
            train: all training rows, those of the early-stopping set included.
            earlier: models of the members before, at least one.
        """
        return train

    def class_weights(self, counts: Mapping[int, int]) -> dict[int, float] | None:
        """The weight of each class's rows in the weight column; None is no column."""
        return None

    def positive_factor(self, counts: Mapping[int, int]) -> float:
        """XGBoost's `scale_pos_weight`, a factor of the positive class's gradient; 1 for more than two classes."""
        return 1.0

    def loss(self, counts: Mapping[int, int]) -> FocalLoss | None:
        """The loss to train with; None is XGBoost's own."""
        return None

    def gradient_weights(self, counts: Mapping[int, int]) -> tuple[float, ...]:
        """What the odds of each class are multiplied by: its weight, the positive factor and what the loss does."""
        column, loss, factor = self.class_weights(counts) or {}, self.loss(counts), self.positive_factor(counts)
        in_loss = (1.0,) * len(counts) if loss is None else loss.factors
        return tuple(column.get(k, 1.0) * (factor if k == 1 else 1.0) * in_loss[k] for k in range(len(counts)))

    def booster_params(self) -> dict[str, Any]:
        """XGBoost's parameters that differ from `training.params`."""
        return {}

    def own_params(self) -> dict[str, Any]:
        """Parameters that its learner alone has."""
        return {}

    @property
    def searchable(self) -> frozenset[str]:
        """Names of the parameters that a search can set; none where XGBoost does not fit the strategy."""
        return frozenset()

    def set_params(self) -> frozenset[str]:
        """Those of them that the strategy sets itself, so that no search changes them."""
        return frozenset()

    def params_in(self, training: TrainingConfig) -> Params:
        """All of them, as the strategy is fitted without a search."""
        return {}

    def with_params(self, params: Params) -> Self:
        """The strategy with what a search drew."""
        return self

    def problems_with(self, training: TrainingConfig, classes: int = 2) -> Iterator[str]:
        """What the learner or its engine cannot do of it, each with what to use instead."""
        yield from self.fitted_by.problems(self._asked(training, classes))

    def for_engine(self, engine: EngineName) -> "Strategy":
        """What the learner is asked for on this engine, to do what the strategy means."""
        return self

    @property
    def cut_kind(self) -> CutKind:
        """Of which rows the histogram cuts are quantiles."""
        return "plain"

    @property
    def is_by_cuts(self) -> bool:
        """Whether it works by histogram cuts alone."""
        return False

    @property
    def has_cuts(self) -> bool:
        """Whether the config asks for cuts of one kind."""
        return False

    def notes(self) -> dict[str, str]:
        """Remarks for the record."""
        return {}

    def resolve(
        self,
        fit_counts: Mapping[int, int],
        training: TrainingConfig,
        kept: Mapping[int, float] | None = None,
        row_weights: Mapping[int, float] | None = None,
        *,
        classes: Sequence[str] = TWO_CLASSES,
        pool_shares: Sequence[float] | None = None,
    ) -> Recipe:
        """What the strategy means on data with these classes. Pure; the strategy has its classes by number.

        Args:
            fit_counts: rows of each class to fit on, before sampling, without the early-stopping set.
            training: its `params` hold where the strategy's say nothing.
            kept: rows in the strategy's table / rows before, per class, see `kept_fractions`; needed where it samples.
            row_weights: sum of the business weight per class over the rows of `fit_counts`, where there is one.
            classes: names for messages and the record.
            pool_shares: of the training rows of each class, those that `fit_counts` were taken from; None is all.
        Raises:
            ConfigError: a class without a weight; a sampling strategy without `kept`; parameters out of range.
            DataContractError: a class without rows.
        """
        require_rows(fit_counts, classes, self.name)
        if kept is None and self.table != "train":
            raise ConfigError(f"strategy {self.name!r} samples rows: pass kept, rows per class in its table / before.")
        numbers, done = range(len(classes)), self.for_engine(training.engine)
        in_pool = tuple(pool_shares or (1.0,) * len(classes))
        weights, loss = done.class_weights(fit_counts), done.loss(fit_counts)
        factor = done.positive_factor(fit_counts)
        shift = PriorShift(
            kept_fractions=tuple(in_pool[k] * float(1.0 if kept is None else kept[k]) for k in numbers),
            weights=done.gradient_weights(fit_counts),
            gammas=() if loss is None else loss.gammas,
            is_exact=self.is_exact,
        )
        mass = np.array([(row_weights or fit_counts)[k] / in_pool[k] for k in numbers], dtype=np.float64)
        return Recipe(
            name=self.name,
            kind=self.kind,
            weights=weights,
            scale_pos_weight=factor,
            start=tuple(shift.correction().margins(mass / mass.sum()).tolist()),
            loss=loss,
            params=BoosterParams.model_validate({**training.params.model_dump(), **self.booster_params()}),
            prior_shift=shift,
            cuts=self.cut_kind,
            own_params=self.own_params(),
            has_row_weight=row_weights is not None,
            stopping_weights=None if min(in_pool) == 1.0 else tuple(1.0 / share for share in in_pool),
            logged=self._logged(classes, weights, factor, loss) | _logged_pool(in_pool, classes),
        )

    def fit(self, table: DataFrame, recipe: Recipe, task: FitTask, fit_rows: Mapping[int, int]) -> "FittedBooster":
        """Fit the recipe on the strategy's table, which has `fit_rows` of each class to fit on."""
        request = FitRequest(
            table=with_recipe_weight(table, recipe),
            features=task.orders.features,
            categorical=len(task.orders.categorical),
            training=task.training,
            params=recipe.params,
            own_params=recipe.own_params,
            start=recipe.start,
            correction=recipe.prior_shift.correction(),
            strategy=recipe.name,
            weight_col=recipe.weight_column,
            scale_pos_weight=recipe.scale_pos_weight,
            loss=recipe.loss,
            costs=task.costs,
            cuts=recipe.cuts,
            key=task.orders.key,
            fit_rows=fit_rows,
            checkpoints=task.checkpoints,
        )
        return self.fitted_by.fit(request)

    def _asked(self, training: TrainingConfig, classes: int) -> Asked:
        set_params = {**self.booster_params(), **self.own_params()}
        return Asked(
            strategy=self.name, kind=self.kind, classes=classes, set_params=frozenset(set_params),
            params={**training.params.model_dump(exclude_defaults=True), **set_params}, is_focal=self.is_focal,
            is_by_cuts=self.is_by_cuts, has_cuts=self.has_cuts, training=training,
        )  # fmt: skip

    def _logged(
        self, classes: Sequence[str], weights: Mapping[int, float] | None, factor: float, loss: FocalLoss | None
    ) -> dict[str, Any]:
        """Settings that differ from the kind's defaults, and the numbers that they became on these classes."""
        asked = self.model_dump(exclude_defaults=True, exclude={"kind", "name", "allow_stacked_correction", "params"})
        # XGBoost has parameters of these names; the loss and its own say what they became.
        logged = {"kind": self.kind, **{k: v for k, v in asked.items() if k not in BoosterParams.model_fields}}
        own = {name: value for name, value in self.own_params().items() if name not in type(self).model_fields}
        logged |= {**self.booster_params(), **own, **self.notes()}
        if loss is not None and loss.gammas:
            logged |= {_of_class("focal_gamma", k, classes): gamma for k, gamma in enumerate(loss.gammas)}
            logged |= {_of_class("loss_weight", k, classes): weight for k, weight in enumerate(loss.weights)}
        logged |= {_of_class("class_weight", k, classes): weight for k, weight in (weights or {}).items()}
        return logged | ({"scale_pos_weight": factor} if factor != 1.0 else {})


def training_table(
    train: DataFrame,
    strategy: Strategy,
    roles: Roles,
    seed: int,
    *,
    member: int = 0,
    earlier: Sequence[bytes] = (),
    tell: Tell = dict,
) -> DataFrame:
    """The rows that a strategy trains on.

    Samples only the rows to fit on; the early-stopping set passes untouched. The result is lazy and must be written
    before it is read: some samplers draw other rows for each layout. Passes: none for strategies without sampling, else
    those of the sampler.

    Args:
        train: training rows with `split`, `y`, `is_early_stopping` and the columns of `roles`.
        member, tell: see `Strategy.sample`.
        earlier: models of the members before, by which a sequential strategy samples.
    Returns:
        Every input column; for a sampler also `sampling_weight` (1 in the early-stopping set) and, when oversampling,
        `copy_number`, and for synthetic samples their provenance (null in the early-stopping set).
    Raises:
        LeakageError: a row whose split is not "train", when the rows are read.
        ConfigError: the sampling strategy does not fit the classes.
        DataContractError: no rows to fit on, or one class.
    """
    require_columns(train, (LABEL, IS_EARLY_STOPPING), "training_table")
    rows = only_train(train, "training_table")
    if strategy.table == "train":
        return rows
    judged = strategy.judged(rows, earlier, roles) if earlier else rows
    sampled = strategy.sample(judged.where(~col(IS_EARLY_STOPPING)), roles, seed, member=member, tell=tell)
    stopping = with_sampling_weight(judged.where(col(IS_EARLY_STOPPING)), F.lit(1.0))
    return sampled.unionByName(stopping, allowMissingColumns=True).drop(HARDNESS)


def _logged_pool(shares: Sequence[float], classes: Sequence[str]) -> dict[str, float]:
    return {_of_class("pool_share", k, classes): share for k, share in enumerate(shares) if share < 1.0}


def _of_class(what: str, number: int, classes: Sequence[str]) -> str:
    """The name of a class's setting in the record."""
    return f"{what}_{number}" if len(classes) == 2 else f"{what}/{classes[number]}"


def planned_fits(
    strategies: Sequence[Strategy], classes: Sequence[str], fit_rows: Mapping[Label, int], hint: str = ""
) -> list[tuple[Strategy, dict[Label, int]]]:
    """Every fit of these strategies, with about the rows of each class that it is made on.

    Args:
        fit_rows: rows to fit on of each class, by class number.
        hint: what an error says of these rows.
    Raises:
        ConfigError: strategies that cannot sample such rows; all at once.
    """
    planned: list[tuple[Strategy, dict[Label, int]]] = []
    problems = []
    for strategy in strategies:
        try:
            planned += [(member, member.planned_rows(fit_rows)) for member in strategy.by_number(classes).fits()]
        except ConfigError as error:
            problems.append(f"strategy {strategy.name!r}: {error}{hint}")
    if problems:
        raise ConfigError.of_all(problems)
    return planned
