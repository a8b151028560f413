"""A named recipe against the imbalance: what it does to rows and weights, and how its scores map back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.class_counts import Label
from imbalance_spark.config import SAMPLING_KINDS, SYNTHETIC_KINDS, BoosterParams, StrategyConfig, TrainingConfig
from imbalance_spark.encoding import LABEL, ROW_WEIGHT
from imbalance_spark.errors import ConfigError, DataContractError
from imbalance_spark.frames import CLASS_WEIGHT, IS_EARLY_STOPPING, col, require_columns
from imbalance_spark.strategy_sampling import Tell, sample_for
from imbalance_spark.train_only.guard import only_train
from imbalance_spark.train_only.sampling.weighing import with_sampling_weight
from imbalance_spark.train_only.weights import class_weights, scale_pos_weight, with_class_weight

FIT_WEIGHT = "fit_weight"
"""Weight of a row in the fit: its class's times the business's; the business's alone on the slice."""

_WHOLE = {0: 1.0, 1: 1.0}

_Class = TypeVar("_Class", bound=int | str)
_Value = TypeVar("_Value", int, float)


@dataclass(frozen=True, kw_only=True)
class PriorLedger:
    """What a strategy did to each class before the model saw it: rows kept, and their effective weight.

    Args:
        kept: rows after / rows before for each class, above 0; above 1 where rows were repeated.
        weights: weight in the gradient for each class, above 0.
        is_exact: whether the correction holds in closed form (sampling, weights) or approximately (synthetic rows).
    """

    kept: Mapping[int, float]
    weights: Mapping[int, float]
    is_exact: bool = True

    def correction(self) -> PriorCorrection:
        """How raw scores map back to probabilities: p_k proportional to p_raw,k / (f_k w_k)."""
        return PriorCorrection(
            positive_factor=self.kept[1] * self.weights[1], negative_factor=self.kept[0] * self.weights[0]
        )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that a strategy means for a fit."""

    name: str
    kind: str
    weights: Mapping[int, float] | None
    """Class weights that go into `weight_col`; None where the strategy has none."""
    scale_pos_weight: float
    base_score: float
    """Mean label as sampled and weighted, in (0, 1): what the fit starts from."""
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
    weights, factor = _weighting(strategy, fit_counts)
    effective = {label: (weights or _WHOLE)[label] * (factor if label == 1 else 1.0) for label in (0, 1)}
    mass = {label: (row_weights or fit_counts)[label] * fractions[label] * effective[label] for label in (0, 1)}
    return Recipe(
        name=strategy.name,
        kind=strategy.kind,
        weights=weights,
        scale_pos_weight=factor,
        base_score=mass[1] / (mass[0] + mass[1]),
        params=BoosterParams.model_validate({**training.params.model_dump(), **strategy.params}),
        ledger=PriorLedger(kept=fractions, weights=effective, is_exact=strategy.kind not in SYNTHETIC_KINDS),
        has_row_weight=row_weights is not None,
        logged=_logged(strategy, weights, factor),
    )


def table_name(strategy: StrategyConfig) -> str:
    """Which training table a strategy reads: those that only weigh share `train`, a sampler has its own."""
    return f"train_{strategy.name}" if strategy.kind in SAMPLING_KINDS else "train"


def training_table(
    train: DataFrame, strategy: StrategyConfig, *, key: str | Sequence[str], seed: int, numeric: Sequence[str] = (),
    categorical: Sequence[str] = (), tell: Tell = dict,
) -> DataFrame:  # fmt: skip
    """The rows that a strategy trains on.

    Samples only the rows to fit on; the early-stopping slice passes untouched. For `undersample` with
    method `key_hash` or `sample_by` the target rows become fractions, target / rows, which are reached
    on average. The result is lazy and must be written before it is read: `sample_by` draws anew for
    each layout. Passes: none for strategies without sampling, else those of the sampler.

    Args:
        train: training rows with `split`, `y`, `is_early_stopping` and the key columns.
        numeric, categorical: columns of the features, which samplers that make rows look at.
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
    sampled = sample_for(to_fit, strategy, key=keys, seed=seed, numeric=numeric, categorical=categorical, tell=tell)
    stopping = with_sampling_weight(rows.where(col(IS_EARLY_STOPPING)), F.lit(1.0))
    return sampled.unionByName(stopping, allowMissingColumns=True)


def with_recipe_weight(table: DataFrame, recipe: Recipe) -> DataFrame:
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
    weighed = with_class_weight(table, _by_label(recipe.weights), label=LABEL)
    of_class = F.when(col(IS_EARLY_STOPPING), F.lit(1.0)).otherwise(col(CLASS_WEIGHT))
    return weighed.select(*[col(name) for name in table.columns], (of_class * business).alias(FIT_WEIGHT))


def _weighting(strategy: StrategyConfig, counts: Mapping[int, int]) -> tuple[dict[int, float] | None, float]:
    """The class weights of the weight column, and `scale_pos_weight`."""
    ratio = scale_pos_weight(_by_label(counts))
    match strategy.kind:
        case "class_weight":
            asked = strategy.weights if isinstance(strategy.weights, str) else _by_label(strategy.weights)
            found = class_weights(_by_label(counts), asked)
            return {label: found[label] for label in (0, 1)}, 1.0
        case "scale_pos_weight":
            return None, ratio if strategy.scale_pos_weight == "balanced" else strategy.scale_pos_weight
        case "balanced_sketch":
            # They cancel in the gradient; what remains is that histogram cuts see balanced classes.
            return {0: 1.0, 1: ratio}, 1.0 / ratio
        case _:
            return None, 1.0


def _by_label(values: Mapping[_Class, _Value]) -> dict[Label, _Value]:
    """The same, as a mapping by any label: `Mapping` is invariant in its keys."""
    return {label: value for label, value in values.items()}  # noqa: C416  # dict() would keep the key's type


def _require_both(counts: Mapping[int, int], name: str) -> None:
    if set(counts) != {0, 1} or min(counts.values()) < 1:
        raise DataContractError(
            f"strategy {name!r}: rows of both classes are needed to fit on, got {dict(counts)}. "
            "Take more orders, or a smaller early-stopping slice."
        )


def _logged(strategy: StrategyConfig, weights: Mapping[int, float] | None, factor: float) -> dict[str, Any]:
    logged: dict[str, Any] = {"kind": strategy.kind, **strategy.params}
    if strategy.kind in SAMPLING_KINDS:
        logged["sampling_strategy"] = strategy.sampling_strategy
    if strategy.kind == "undersample":
        logged["method"] = strategy.method
    if strategy.kind in SYNTHETIC_KINDS:
        # Rows between rows follow no known law: the prior correction is right for counts alone.
        logged |= {"k_neighbors": strategy.k_neighbors, "prior_correction": "approximate"}
        logged |= {} if strategy.undersample_to is None else {"undersample_to": strategy.undersample_to}
    if weights is not None:
        logged |= {f"class_weight_{label}": weight for label, weight in weights.items()}
    return logged | ({"scale_pos_weight": factor} if factor != 1.0 else {})
