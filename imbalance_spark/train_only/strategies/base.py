"""A named recipe against the imbalance: what it does to rows and weights, and how its scores map back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.core.class_counts import Label
from imbalance_spark.core.columns import CLASS_WEIGHT, COPY_NUMBER, IS_EARLY_STOPPING, col, require_columns
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.orders.model_inputs import LABEL, ROW_WEIGHT
from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.guard import only_train
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.sampling import (
    ADASYN,
    SMOTE,
    SMOTEENN,
    SMOTENC,
    BorderlineSMOTE,
    RandomOverSampler,
    RandomUnderSampler,
    SMOTETomek,
    check_sampling_strategy,
    sample_by_class,
)
from imbalance_spark.train_only.sampling.base import count_train, with_sampling_weight
from imbalance_spark.train_only.sampling.neighbour_report import NeighbourReport
from imbalance_spark.train_only.sampling.random_samplers import disjoint_undersample
from imbalance_spark.train_only.sampling.synthetic import SyntheticSampler
from imbalance_spark.train_only.strategies.config import SAMPLING_KINDS, SYNTHETIC_KINDS, StrategyConfig
from imbalance_spark.train_only.weights import class_weights, scale_pos_weight, with_class_weight

_Class = TypeVar("_Class", bound=int | str)


_Value = TypeVar("_Value", int, float)


def weighting(strategy: StrategyConfig, counts: Mapping[int, int]) -> tuple[dict[int, float] | None, float]:
    """The class weights of the weight column, and `scale_pos_weight`."""
    ratio = scale_pos_weight(by_label(counts))
    match strategy.kind:
        case "class_weight" | "logistic_class_weight":
            asked = strategy.weights if isinstance(strategy.weights, str) else by_label(strategy.weights)
            found = class_weights(by_label(counts), asked)
            return {label: found[label] for label in (0, 1)}, 1.0
        case "scale_pos_weight":
            return None, ratio if strategy.scale_pos_weight == "balanced" else strategy.scale_pos_weight
        case "balanced_sketch" | "class_weight_power":
            # At power 0 they cancel in the gradient; what remains is that histogram cuts see balanced classes.
            return {0: 1.0, 1: ratio}, ratio ** (
                strategy.power - 1.0 if strategy.kind == "class_weight_power" else -1.0
            )
        case _:
            return None, 1.0


def loss_of(strategy: StrategyConfig, counts: Mapping[int, int]) -> FocalLoss | None:
    """The loss to train with; None is XGBoost's own logistic one."""
    match strategy.kind:
        case "focal":
            return FocalLoss.focal(strategy.gamma, strategy.alpha)
        case "asymmetric_focal":
            return FocalLoss.asymmetric(strategy.gamma_negative, strategy.gamma_positive)
        case "class_balanced_focal":
            return FocalLoss.class_balanced(counts, beta=strategy.beta, gamma=strategy.gamma)
        case _:
            return None


def own_params(strategy: StrategyConfig) -> dict[str, Any]:
    """XGBoost's parameters that the strategy sets."""
    step = {"max_delta_step": strategy.max_delta_step} if strategy.kind == "max_delta_step" else {}
    return {**strategy.params, **step}


def settings_to_log(
    strategy: StrategyConfig, weights: Mapping[int, float] | None, factor: float, loss: FocalLoss | None
) -> dict[str, Any]:
    """By what the strategy differs from the others, for the record."""
    logged: dict[str, Any] = {"kind": strategy.kind, **own_params(strategy)}
    if loss is not None:
        # XGBoost has a parameter gamma of its own.
        logged |= {f"focal_gamma_{label}": gamma for label, gamma in enumerate(loss.gammas)}
        logged |= {f"loss_weight_{label}": weight for label, weight in enumerate(loss.weights)}
    if strategy.kind in SAMPLING_KINDS:
        logged["sampling_strategy"] = strategy.sampling_strategy
    if strategy.kind == "undersample_ensemble":
        logged["members"] = strategy.members
    if strategy.kind == "isolation_forest":
        logged |= {"trees": strategy.trees, "prior_correction": "none: scores are ranks"}
    if strategy.kind == "logistic_class_weight":
        logged |= {"reg_param": strategy.reg_param, "max_iter": strategy.max_iter}
    if strategy.kind == "undersample":
        logged["method"] = strategy.method
    if strategy.kind in SYNTHETIC_KINDS:
        # Rows between rows follow no known law: the prior correction is right for counts alone.
        logged |= {"k_neighbors": strategy.k_neighbors, "prior_correction": "approximate"}
        logged |= {} if strategy.undersample_to is None else {"undersample_to": strategy.undersample_to}
    if weights is not None:
        logged |= {f"class_weight_{label}": weight for label, weight in weights.items()}
    return logged | ({"scale_pos_weight": factor} if factor != 1.0 else {})


def by_label(values: Mapping[_Class, _Value]) -> dict[Label, _Value]:
    """The same, as a mapping by any label: `Mapping` is invariant in its keys."""
    return {label: value for label, value in values.items()}  # noqa: C416  # dict() would keep the key's type


Tell = Callable[[Mapping[Label, NeighbourReport]], object]
"""Is told of a sampler's neighbours, before a row is made of them."""


_SMOTES: dict[str, type[SyntheticSampler]] = {
    "smote": SMOTE,
    "borderline_smote": BorderlineSMOTE,
    "adasyn": ADASYN,
    "smote_tomek": SMOTETomek,
    "smote_enn": SMOTEENN,
}


def sample_for(
    to_fit: DataFrame, strategy: StrategyConfig, *, key: Sequence[str], seed: int, numeric: Sequence[str],
    categorical: Sequence[str], member: int, tell: Tell,
) -> DataFrame:  # fmt: skip
    """The rows to fit on, resampled as the strategy says; see the sampler for passes, columns and errors."""
    if strategy.kind in SYNTHETIC_KINDS:
        return _synthesised(to_fit, strategy, key, seed, numeric, categorical, tell)
    asked = strategy.sampling_strategy
    if strategy.kind == "undersample_ensemble":
        return disjoint_undersample(
            to_fit, key=key, label=LABEL, sampling_strategy=asked, seed=seed, member=member, members=strategy.members
        )
    if strategy.kind == "oversample":
        return RandomOverSampler(key=key, label=LABEL, sampling_strategy=asked, seed=seed).fit_resample(to_fit)
    if strategy.method == "exact":
        return RandomUnderSampler(key=key, label=LABEL, sampling_strategy=asked, seed=seed).fit_resample(to_fit)
    counts = count_train(to_fit, LABEL, f"strategy {strategy.name!r}").counts
    target = check_sampling_strategy(asked, counts, "under-sampling")
    fractions = {label: rows / counts[label] for label, rows in target.items()}
    return sample_by_class(to_fit, label=LABEL, fractions=fractions, seed=seed, method=strategy.method, key=key)


def _synthesised(
    to_fit: DataFrame, strategy: StrategyConfig, key: Sequence[str], seed: int, numeric: Sequence[str],
    categorical: Sequence[str], tell: Tell,
) -> DataFrame:  # fmt: skip
    asked, k = strategy.sampling_strategy, strategy.k_neighbors
    if strategy.kind == "smote_nc":
        sampler: SyntheticSampler = SMOTENC(
            key=key, label=LABEL, features=numeric, categorical_features=categorical, sampling_strategy=asked,
            k_neighbors=k, seed=seed,
        )  # fmt: skip
    else:
        sampler = _SMOTES[strategy.kind](
            key=key, label=LABEL, features=numeric, sampling_strategy=asked, k_neighbors=k, seed=seed
        )
    made = sampler.fit_resample(to_fit)
    tell(sampler.neighbour_report_)
    if strategy.undersample_to is None:
        return made
    return RandomUnderSampler(
        key=(*key, COPY_NUMBER), label=LABEL, sampling_strategy=strategy.undersample_to, seed=seed
    ).fit_resample(made)


FIT_WEIGHT = "fit_weight"
"""Weight of a row in the fit: its class's times the business's; the business's alone on the slice."""


_WHOLE = {0: 1.0, 1: 1.0}


@dataclass(frozen=True, kw_only=True)
class PriorLedger:
    """What a strategy did to each class before the model saw it: rows kept, and their effective weight.

    Args:
        kept: rows after / rows before for each class, above 0; above 1 where rows were repeated.
        weights: weight in the gradient for each class, above 0.
        gammas: focusing of the loss for each class, where the loss is focal.
        is_exact: whether the correction holds in closed form (sampling, weights) or approximately (synthetic rows).
    """

    kept: Mapping[int, float]
    weights: Mapping[int, float]
    gammas: tuple[float, float] | None = None
    is_exact: bool = True

    def correction(self) -> PriorCorrection:
        """How raw scores map back to probabilities: p_k proportional to p_raw,k / (f_k w_k), and focal loss undone."""
        negative, positive = (self.kept[label] * self.weights[label] for label in (0, 1))
        if self.gammas is None:
            return PriorCorrection.of_odds(positive=positive, negative=negative)
        return PriorCorrection(factors=(negative, positive), gammas=self.gammas)

    @property
    def logit_shift(self) -> float:
        """What sampling and weights did, undone in logit; 0 where the loss has a correction of its own."""
        return self.correction().logit_shift if self.gammas is None else 0.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that a strategy means for a fit."""

    name: str
    kind: str
    weights: Mapping[int, float] | None
    """Class weights that go into `weight_col`; None where the strategy has none."""
    scale_pos_weight: float
    base_score: float
    """The raw score, in (0, 1), that corrects to the share of positives: what the fit starts from."""
    loss: FocalLoss | None
    """None is the logistic one."""
    params: BoosterParams
    ledger: PriorLedger
    has_row_weight: bool
    """Whether rows have a business weight, which multiplies the class weight."""
    logged: Mapping[str, Any]
    """Settings by which this strategy differs from the others, for the record."""

    @property
    def weight_column(self) -> str | None:
        """The column that `with_recipe_weight` adds, or None when no row has a weight."""
        return FIT_WEIGHT if self.has_row_weight or self.weights is not None else None


def resolve(
    strategy: StrategyConfig,
    fit_counts: Mapping[int, int],
    training: TrainingConfig,
    kept: Mapping[int, float] | None = None,
    row_weights: Mapping[int, float] | None = None,
) -> Recipe:
    """What the strategy means on data with these classes. Pure.

    Args:
        fit_counts: rows of class 0 and 1 to fit on, before sampling, without the early-stopping slice.
        training: its `params` hold where the strategy's say nothing.
        kept: rows in the strategy's `training_table` / rows before, per class, without the slice; needed
            where the strategy samples. None is 1 for both classes.
        row_weights: sum of the business weight per class over the rows of `fit_counts`, where there is one.
    Raises:
        ConfigError: a class without a weight; a sampling strategy without `kept`; parameters out of range.
        DataContractError: a class without rows.
    """
    _require_both(fit_counts, strategy.name)
    if kept is None and strategy.kind in SAMPLING_KINDS:
        raise ConfigError(f"strategy {strategy.name!r} samples rows: pass kept, rows per class in its table / before.")
    fractions = {label: float((kept or _WHOLE)[label]) for label in (0, 1)}
    weights, factor = weighting(strategy, fit_counts)
    loss = loss_of(strategy, fit_counts)
    in_loss = _WHOLE if loss is None else dict(enumerate(loss.weights))
    factors = {0: 1.0, 1: factor}
    ledger = PriorLedger(
        kept=fractions,
        weights={label: (weights or _WHOLE)[label] * factors[label] * in_loss[label] for label in (0, 1)},
        gammas=None if loss is None else loss.gammas,
        is_exact=strategy.kind not in (*SYNTHETIC_KINDS, "isolation_forest"),
    )
    mass = row_weights or fit_counts
    return Recipe(
        name=strategy.name,
        kind=strategy.kind,
        weights=weights,
        scale_pos_weight=factor,
        base_score=float(ledger.correction().inverse(mass[1] / (mass[0] + mass[1]))),
        loss=loss,
        params=BoosterParams.model_validate({**training.params.model_dump(), **own_params(strategy)}),
        ledger=ledger,
        has_row_weight=row_weights is not None,
        logged=settings_to_log(strategy, weights, factor, loss),
    )


def members_of(strategy: StrategyConfig) -> tuple[StrategyConfig, ...]:
    """What is fitted for a strategy: itself, or for an ensemble each of its members."""
    if strategy.kind != "undersample_ensemble":
        return (strategy,)
    # A config's names have no "~".
    return tuple(strategy.model_copy(update={"name": f"{strategy.name}~{n}"}) for n in range(strategy.members))


def table_name(strategy: StrategyConfig) -> str:
    """Which training table a strategy reads: those that only weigh share `train`, a sampler has its own."""
    return f"train_{strategy.name}" if strategy.kind in SAMPLING_KINDS else "train"


def training_table(
    train: DataFrame, strategy: StrategyConfig, *, key: str | Sequence[str], seed: int, numeric: Sequence[str] = (),
    categorical: Sequence[str] = (), member: int = 0, tell: Tell = dict,
) -> DataFrame:  # fmt: skip
    """The rows that a strategy trains on.

    Samples only the rows to fit on; the early-stopping slice passes untouched. For `undersample` with
    method `key_hash` or `sample_by` the target rows become fractions, target / rows, which are reached
    on average. The result is lazy and must be written before it is read: `sample_by` draws anew for
    each layout. Passes: none for strategies without sampling, else those of the sampler.

    Args:
        train: training rows with `split`, `y`, `is_early_stopping` and the key columns.
        numeric, categorical: columns of the features, which samplers that make rows look at.
        member: which sample of an ensemble, from 0.
        tell: called with the `NeighbourReport` of each class for which rows are made.
    Returns:
        Every input column; for a sampler also `sampling_weight` (1 on the slice) and, when
        oversampling, `copy_number`, and for synthetic rows their provenance (null on the slice).
    Raises:
        LeakageError: a row whose split is not "train", when the rows are read.
        ConfigError: the sampling strategy does not fit the classes.
        DataContractError: no rows to fit on, or one class.
    """
    require_columns(train, (LABEL, IS_EARLY_STOPPING), "training_table")
    rows = only_train(train, "training_table")
    if strategy.kind not in SAMPLING_KINDS:
        return rows
    keys = (key,) if isinstance(key, str) else tuple(key)
    to_fit = rows.where(~col(IS_EARLY_STOPPING))
    sampled = sample_for(
        to_fit, strategy, key=keys, seed=seed, numeric=numeric, categorical=categorical, member=member, tell=tell
    )
    stopping = with_sampling_weight(rows.where(col(IS_EARLY_STOPPING)), F.lit(1.0))
    return sampled.unionByName(stopping, allowMissingColumns=True)


class Weighing(Protocol):
    """What a recipe says of the weights of rows, for as many classes as there are."""

    @property
    def name(self) -> str:
        """The strategy's."""

    @property
    def weights(self) -> Mapping[int, float] | None:
        """Class weights that go into the weight column; None where the strategy has none."""

    @property
    def has_row_weight(self) -> bool:
        """Whether rows have a business weight."""

    @property
    def weight_column(self) -> str | None:
        """The column to add, or None when no row has a weight."""


def with_recipe_weight(table: DataFrame, recipe: Weighing) -> DataFrame:
    """The training table with the recipe's `weight_column` (double, > 0), or as it is without one. Lazy.

    The column is the class weight times the business weight; on the early-stopping slice, whose log
    loss must be that of real class shares, the business weight alone, or 1.

    Raises:
        LeakageError: a row whose split is not "train", when the rows are read.
        MissingColumnsError: rows have a business weight, but no column `row_weight`.
    """
    if recipe.weight_column is None:
        return table
    business = F.lit(1.0)
    if recipe.has_row_weight:
        require_columns(table, (ROW_WEIGHT,), f"strategy {recipe.name!r}")
        business = col(ROW_WEIGHT)
    if recipe.weights is None:
        return table.select("*", business.alias(FIT_WEIGHT))
    weighed = with_class_weight(table, by_label(recipe.weights), label=LABEL)
    of_class = F.when(col(IS_EARLY_STOPPING), F.lit(1.0)).otherwise(col(CLASS_WEIGHT))
    return weighed.select(*[col(name) for name in table.columns], (of_class * business).alias(FIT_WEIGHT))


def kept_shares(strategy: StrategyConfig, before: Mapping[int, float], after: Mapping[int, float]) -> dict[int, float]:
    """Rows to fit on of each class in the strategy's table / before it sampled.

    Raises:
        DataContractError: a class has no rows, before or after; only classes with rows are in the mappings.
    """
    _require_both({label: int(rows) for label, rows in before.items()}, strategy.name)
    if lost := sorted(set(before) - {label for label, rows in after.items() if rows > 0}):
        raise DataContractError(
            f"strategy {strategy.name!r}: its sampling left no rows of class {lost[0]} to fit on, of "
            f"{int(before[lost[0]])}. Ask for a larger sampling_strategy, or for another method."
        )
    return {label: after[label] / rows for label, rows in before.items()}


def _require_both(counts: Mapping[int, int], name: str) -> None:
    if set(counts) != {0, 1} or min(counts.values()) < 1:
        raise DataContractError(
            f"strategy {name!r}: rows of both classes are needed to fit on, got {dict(counts)}. "
            "Take more orders, or a smaller early-stopping slice."
        )
