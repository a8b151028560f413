"""What a strategy may be asked to do: its section of the YAML, and what does not go together."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from imbalance_spark.core.section import Name, Section, Share
from imbalance_spark.train_only.config import BoosterParams

StrategyKind = Literal[
    "none", "undersample", "oversample", "class_weight", "scale_pos_weight", "balanced_sketch",
    "class_weight_power", "max_delta_step", "focal", "asymmetric_focal", "class_balanced_focal",
    "undersample_ensemble", "isolation_forest", "logistic_class_weight",
    "smote", "borderline_smote", "adasyn", "smote_nc", "smote_tomek", "smote_enn",
]  # fmt: skip


SYNTHETIC_KINDS = ("smote", "borderline_smote", "adasyn", "smote_nc", "smote_tomek", "smote_enn")
"""Kinds that make rows which were never observed."""


_WITHOUT_BOOSTING = ("isolation_forest", "logistic_class_weight")
"""Kinds that XGBoost does not fit."""


SAMPLING_KINDS = ("undersample", "undersample_ensemble", "oversample", *SYNTHETIC_KINDS)
"""Kinds that change which rows are fitted on."""


Focusing = Annotated[float, Field(ge=0.0, le=100.0)]


class StrategyConfig(Section):
    """A named recipe against the imbalance; `kind` says what it does, `name` what the report calls it.

    Args:
        kind: what is done against the imbalance.
        name: in tables and in MLflow; the kind, if none is given.
        sampling_strategy: imbalanced-learn's, for kinds that sample: 'auto' or a ratio
            minority / majority in (0, 1], or target rows per class.
        k_neighbors: neighbours of a row of its class, for kinds that make synthetic rows.
        undersample_to: ratio minority / majority in (0, 1] to which the majority is under-sampled after the
            synthetic rows were made; null keeps it whole.
        method: `exact` rows per class, `key_hash`, or `sample_by` (Spark's own draw), for `undersample`.
        members: models, each on the minority and a sample of the majority of its own, for `undersample_ensemble`.
        trees: of an `isolation_forest`.
        weights: 'balanced' or a weight per class, for `class_weight` and `logistic_class_weight`.
        reg_param, max_iter: ridge penalty of Spark's logistic regression, and most iterations.
        scale_pos_weight: 'balanced' (n_neg / n_pos) or a number above 0.
        power: `class_weight_power` weighs the positive class by (n_neg / n_pos)^power; 0 is `balanced_sketch`.
        max_delta_step: bound of a leaf's step, above 0, for `max_delta_step`.
        gamma: focusing, for `focal` and `class_balanced_focal`; 0 is none.
        alpha: the positive class's weight, for `focal`; the other has 1 - alpha, and with null both have 1.
        gamma_negative, gamma_positive: focusing of each class, for `asymmetric_focal`.
        beta: of the effective number of rows, in [0, 1), for `class_balanced_focal`.
        allow_stacked_correction: whether `orders.weight` may stand beside this strategy's own correction.
        params: XGBoost parameters that differ from `training.params`.
    """

    kind: StrategyKind
    name: Name = ""
    sampling_strategy: float | str | dict[int | str, int] = "auto"
    method: Literal["exact", "key_hash", "sample_by"] = "exact"
    k_neighbors: Annotated[int, Field(ge=1, le=1000)] = 5
    undersample_to: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    members: Annotated[int, Field(ge=2, le=100)] = 5
    trees: Annotated[int, Field(ge=1, le=1000)] = 200
    weights: Literal["balanced"] | dict[int | str, float] = "balanced"
    reg_param: Annotated[float, Field(ge=0.0, le=1e6)] = 1e-4
    max_iter: Annotated[int, Field(ge=1, le=100_000)] = 100
    scale_pos_weight: Literal["balanced"] | Annotated[float, Field(gt=0.0)] = "balanced"
    power: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    max_delta_step: Annotated[float, Field(gt=0.0)] = 1.0
    gamma: Focusing = 2.0
    alpha: Share | None = None
    gamma_negative: Focusing = 4.0
    gamma_positive: Focusing = 1.0
    beta: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    allow_stacked_correction: bool = False
    params: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _name_is_kind_unless_given(cls, data: Any) -> Any:
        if isinstance(data, str):
            data = {"kind": data}
        return {**data, "name": data.get("name") or data.get("kind", "")} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _only_settings_of_its_kind(self) -> Self:
        foreign = self.model_fields_set & set(_SETTINGS_OF) - {
            k for k, kinds in _SETTINGS_OF.items() if self.kind in kinds
        }
        if {"weights", "scale_pos_weight"} <= self.model_fields_set:
            raise ValueError("a weight column and scale_pos_weight multiply inside XGBoost: ask for one of them")
        if foreign:
            raise ValueError(f"{sorted(foreign)} mean nothing to strategy kind {self.kind!r}: take them out")
        BoosterParams.model_validate(self.params)
        problems = [*_ratio_problems(self.sampling_strategy), *_weight_problems(self.weights), *self._param_problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _param_problems(self) -> list[str]:
        if self.kind in _WITHOUT_BOOSTING and self.params:
            return [f"params {sorted(self.params)} are XGBoost's and mean nothing to kind {self.kind!r}: take them out"]
        if self.kind == "max_delta_step" and "max_delta_step" in self.params:
            return ["max_delta_step stands in params too: set it once, beside the kind"]
        return []


def _ratio_problems(sampling_strategy: float | str | dict[int | str, int]) -> list[str]:
    if not isinstance(sampling_strategy, float) or 0.0 < sampling_strategy <= 1.0:
        return []
    return [f"sampling_strategy as a ratio minority / majority must be in (0, 1], got {sampling_strategy}"]


def _weight_problems(weights: str | dict[int | str, float]) -> list[str]:
    if isinstance(weights, str):
        return []
    return [] if min(weights.values(), default=0.0) > 0.0 else [f"weights must be above 0, got {weights}"]


_SETTINGS_OF = {
    "sampling_strategy": set(SAMPLING_KINDS),
    "k_neighbors": set(SYNTHETIC_KINDS),
    "undersample_to": set(SYNTHETIC_KINDS),
    "method": {"undersample"},
    "members": {"undersample_ensemble"},
    "trees": {"isolation_forest"},
    "weights": {"class_weight", "logistic_class_weight"},
    "reg_param": {"logistic_class_weight"},
    "max_iter": {"logistic_class_weight"},
    "scale_pos_weight": {"scale_pos_weight"},
    "power": {"class_weight_power"},
    "max_delta_step": {"max_delta_step"},
    "gamma": {"focal", "class_balanced_focal"},
    "alpha": {"focal"},
    "gamma_negative": {"asymmetric_focal"},
    "gamma_positive": {"asymmetric_focal"},
    "beta": {"class_balanced_focal"},
}


def feature_problems(
    strategies: Sequence[StrategyConfig], numeric: Sequence[str], categorical: Sequence[str]
) -> list[str]:
    """Which strategies cannot be on features of these types."""
    kinds = {strategy.kind for strategy in strategies} & set(SYNTHETIC_KINDS)
    problems = []
    if categorical and (only_numbers := sorted(kinds - {"smote_nc"})):
        problems.append(
            f"strategies of kind {only_numbers} put rows between rows, and there is nothing between two categories of "
            f"orders.categorical {list(categorical)}: use smote_nc, or leave these features out"
        )
    if "smote_nc" in kinds and not (numeric and categorical):
        problems.append("smote_nc is for numeric and categorical features together: for numbers alone use smote")
    return problems


_NO_CORRECTION = ("none", "max_delta_step", "isolation_forest")
"""Kinds that neither weigh nor sample."""


def stacking_problems(strategies: Sequence[StrategyConfig], weight: str) -> list[str]:
    """Which strategies correct a second time what the business weight may correct already."""
    corrected = [s.name for s in strategies if s.kind not in _NO_CORRECTION and not s.allow_stacked_correction]
    if not corrected:
        return []
    return [
        f"orders.weight {weight!r} together with the corrections of {corrected} corrects twice: "
        "set allow_stacked_correction: true on a strategy that means it, or drop the weight"
    ]
