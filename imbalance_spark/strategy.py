"""A named recipe against the imbalance: what it does to rows and weights, and how its scores map back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.calibration import Correction, FocalCorrection, PriorCorrection
from imbalance_spark.config import TrainingConfig
from imbalance_spark.config_strategy import SAMPLING_KINDS, SYNTHETIC_KINDS, BoosterParams, StrategyConfig
from imbalance_spark.encoding import LABEL, ROW_WEIGHT
from imbalance_spark.errors import ConfigError, DataContractError
from imbalance_spark.frames import CLASS_WEIGHT, IS_EARLY_STOPPING, col, require_columns
from imbalance_spark.learners.losses import FocalLoss
from imbalance_spark.strategy_sampling import Tell, sample_for
from imbalance_spark.strategy_settings import by_label, loss_of, own_params, settings_to_log, weighting
from imbalance_spark.train_only.guard import only_train
from imbalance_spark.train_only.sampling.weighing import with_sampling_weight
from imbalance_spark.train_only.weights import with_class_weight

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

    def correction(self) -> Correction:
        """How raw scores map back to probabilities: p_k proportional to p_raw,k / (f_k w_k), and focal loss undone."""
        negative, positive = (self.kept[label] * self.weights[label] for label in (0, 1))
        if self.gammas is None:
            return PriorCorrection(positive_factor=positive, negative_factor=negative)
        alpha = positive / (positive + negative)
        return FocalCorrection(gamma=self.gammas[1], gamma_negative=self.gammas[0], alpha=alpha)

    @property
    def logit_shift(self) -> float:
        """What sampling and weights did, undone in logit; 0 where the loss has a correction of its own."""
        correction = self.correction()
        return correction.logit_shift if isinstance(correction, PriorCorrection) else 0.0


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
