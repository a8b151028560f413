"""What a strategy means on data of several classes: weights, loss, start, and how its scores map back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imbalance_spark.calibration.correction import PriorCorrection
from imbalance_spark.core.class_counts import Label
from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.train_only.config import BoosterParams, TrainingConfig
from imbalance_spark.train_only.learners.losses import BalancedSketchLoss, SoftmaxFocalLoss, effective_number_weights
from imbalance_spark.train_only.learners.xgboost import ClassLoss
from imbalance_spark.train_only.strategies.base import FIT_WEIGHT, by_label, own_params
from imbalance_spark.train_only.strategies.config import SAMPLING_KINDS, StrategyConfig
from imbalance_spark.train_only.weights import class_weights


@dataclass(frozen=True, kw_only=True)
class ClassLedger:
    """What a strategy did to each class before the model saw it, by class number.

    Args:
        kept: rows after / rows before, above 0. weights: weight in the gradient, above 0.
        gamma: focusing of the loss, 0 where it is not focal.
    """

    kept: tuple[float, ...]
    weights: tuple[float, ...]
    gamma: float = 0.0

    def correction(self) -> PriorCorrection:
        """How raw scores map back: p_k proportional to raw_k / (kept_k * weight_k), and focal loss undone."""
        factors = tuple(kept * weight for kept, weight in zip(self.kept, self.weights, strict=True))
        return PriorCorrection(factors=factors, gammas=(self.gamma,) * len(factors))


@dataclass(frozen=True, kw_only=True)
class ClassRecipe:
    """All that a strategy means for a fit of several classes."""

    name: str
    kind: str
    weights: Mapping[int, float] | None
    """Class weights that go into the weight column; None where the strategy has none."""
    loss: ClassLoss | None
    """None is XGBoost's own."""
    start: tuple[float, ...]
    """The margin of each class that corrects to its share: what the fit starts from."""
    params: BoosterParams
    ledger: ClassLedger
    has_row_weight: bool
    logged: Mapping[str, Any]

    @property
    def weight_column(self) -> str | None:
        """The column that `with_recipe_weight` adds, or None when no row has a weight."""
        return FIT_WEIGHT if self.has_row_weight or self.weights is not None else None


def by_number(strategy: StrategyConfig, classes: Sequence[str]) -> StrategyConfig:
    """The strategy with classes named by number, as the training tables have them; without names as it is."""
    if not classes:
        return strategy
    number = {name: k for k, name in enumerate(classes)}
    changed: dict[str, Any] = {}
    if not isinstance(strategy.sampling_strategy, str | float):
        asked = strategy.sampling_strategy.items()
        changed["sampling_strategy"] = {number[str(name)]: rows for name, rows in asked}
    if not isinstance(strategy.weights, str):
        changed["weights"] = {number[str(name)]: weight for name, weight in strategy.weights.items()}
    return strategy.model_copy(update=changed)


def resolve_classes(
    strategy: StrategyConfig,
    fit_counts: Mapping[int, int],
    training: TrainingConfig,
    classes: Sequence[str],
    kept: Mapping[int, float] | None = None,
    row_weights: Mapping[int, float] | None = None,
) -> ClassRecipe:
    """What the strategy means on data with these classes. Pure.

    Args:
        strategy: with classes by number, see `by_number`.
        fit_counts: rows of each class to fit on, before sampling, without the early-stopping slice.
        classes: names for messages and the record.
        kept: rows in the strategy's table / rows before, per class; needed where the strategy samples.
        row_weights: sum of the business weight per class, where there is one.
    Raises:
        ConfigError: a class without a weight, a sampling strategy without `kept`, parameters out of range.
        DataContractError: classes without rows.
    """
    numbers = range(len(classes))
    if empty := [classes[k] for k in numbers if fit_counts.get(k, 0) < 1]:
        raise DataContractError(
            f"strategy {strategy.name!r}: classes {empty} have no training rows to fit on. Take more orders, a smaller "
            "early-stopping slice, or leave these classes out of orders.classes."
        )
    if kept is None and strategy.kind in SAMPLING_KINDS:
        raise ConfigError(f"strategy {strategy.name!r} samples rows: pass kept, rows per class in its table / before.")
    if lost := [classes[k] for k in numbers if kept is not None and not kept.get(k, 0.0) > 0.0]:
        raise DataContractError(
            f"strategy {strategy.name!r}: its sampling leaves no row of classes {lost}. Keep some rows of each class."
        )
    weights = _weights(strategy, fit_counts)
    effective: Mapping[int, float] = weights or dict.fromkeys(numbers, 1.0)
    loss: ClassLoss | None = None
    if strategy.kind == "balanced_sketch":
        loss = BalancedSketchLoss(weights=tuple(effective[k] for k in numbers))
        effective = dict.fromkeys(numbers, 1.0)
    elif (focal := _focal(strategy, fit_counts)) is not None:
        loss, effective = focal, dict(enumerate(focal.weights))
    ledger = ClassLedger(
        kept=tuple(float((kept or {}).get(k, 1.0)) for k in numbers),
        weights=tuple(effective[k] for k in numbers),
        gamma=loss.gamma if isinstance(loss, SoftmaxFocalLoss) else 0.0,
    )
    mass = np.array([(row_weights or fit_counts)[k] for k in numbers], dtype=np.float64)
    return ClassRecipe(
        name=strategy.name,
        kind=strategy.kind,
        weights=weights,
        loss=loss,
        start=tuple(ledger.correction().margins(mass / mass.sum()).tolist()),
        params=BoosterParams.model_validate({**training.params.model_dump(), **own_params(strategy)}),
        ledger=ledger,
        has_row_weight=row_weights is not None,
        logged=_settings_to_log(strategy, weights, loss, classes),
    )


def _weights(strategy: StrategyConfig, counts: Mapping[int, int]) -> dict[int, float] | None:
    if strategy.kind not in ("class_weight", "balanced_sketch"):
        return None
    asked = strategy.weights if isinstance(strategy.weights, str) else by_label(strategy.weights)
    found: dict[Label, float] = class_weights(by_label(counts), asked)
    return {k: found[k] for k in sorted(counts)}


def _focal(strategy: StrategyConfig, counts: Mapping[int, int]) -> SoftmaxFocalLoss | None:
    if strategy.kind == "focal":
        return SoftmaxFocalLoss(gamma=strategy.gamma, weights=(1.0,) * len(counts))
    if strategy.kind == "class_balanced_focal":
        found = effective_number_weights(counts, strategy.beta)
        return SoftmaxFocalLoss(gamma=strategy.gamma, weights=tuple(found[k] for k in sorted(counts)))
    return None


def _settings_to_log(
    strategy: StrategyConfig, weights: Mapping[int, float] | None, loss: ClassLoss | None, classes: Sequence[str]
) -> dict[str, Any]:
    """By what the strategy differs from the others, for the record."""
    logged: dict[str, Any] = {"kind": strategy.kind, **own_params(strategy)}
    if isinstance(loss, SoftmaxFocalLoss):
        # XGBoost has a parameter gamma of its own.
        logged["focal_gamma"] = loss.gamma
        logged |= {f"loss_weight/{classes[k]}": weight for k, weight in enumerate(loss.weights)}
    if strategy.kind in SAMPLING_KINDS:
        logged["sampling_strategy"] = strategy.sampling_strategy
    if strategy.kind == "undersample":
        logged["method"] = strategy.method
    return logged | {f"class_weight/{classes[k]}": weight for k, weight in (weights or {}).items()}
