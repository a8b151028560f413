"""What a strategy's settings mean on data with these classes: weights, loss, parameters, and the record of them."""

from collections.abc import Mapping
from typing import Any, TypeVar

from imbalance_spark.class_counts import Label
from imbalance_spark.config_strategy import SAMPLING_KINDS, SYNTHETIC_KINDS, StrategyConfig
from imbalance_spark.learners.losses import FocalLoss
from imbalance_spark.train_only.weights import class_weights, scale_pos_weight

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
