"""A model with all that scoring needs, as files: no pickle, and each part has its hash."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from imbalance_spark.calibration import Calibrator, MulticlassTemperature, PriorCorrection, calibrator_from_dict
from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.errors import ConfigError, DataContractError, nearest
from imbalance_spark.core.records import reading
from imbalance_spark.orders.labels import LabelEncoding
from imbalance_spark.orders.model_inputs import CategoryEncoding
from imbalance_spark.scoring.bundle_files import (
    BOOSTER,
    LINEAR,
    NETWORK,
    encode_parts,
    read_parts,
    sha256_of,
    write_parts,
)
from imbalance_spark.scoring.linear import LinearModel
from imbalance_spark.scoring.network import is_network
from imbalance_spark.threshold.class_rules import ClassThresholds, Rule, rule_from_dict, rule_to_dict
from imbalance_spark.threshold.order_costs import OrderRule

_FORMAT, _TWO_CLASSES, _CLASSES = 4, 2, 3
"""The format that is written; formats 2 (two classes) and 3 (K classes) can be read, too."""


PROBABILITY, DECISION, THRESHOLD, DECIDED_BY = "probability", "decision", "threshold", "decided_by"
"""Columns of scored orders. Of K classes there is a `probability_<class>` for each."""


EXPECTED_COST = "expected_cost"
"""Column of orders that are decided by what each is worth."""


NO_THRESHOLD = -1.0
"""Default of the predict parameter `threshold`: the bundle's own threshold decides."""


SERVED = ""
"""Default of the predict parameter `objective`: the bundle's own one decides."""


@dataclass(frozen=True, kw_only=True)
class ModelBundle:
    """All that is needed to turn orders into probabilities and decisions.

    Rules stand in a file of their own: they can be changed later without touching the model.

    Args:
        model_bytes: XGBoost's UBJ bytes, up to the best iteration; or a `LinearModel`'s or a network's.
        numeric, categorical: names of the features, in the model's order.
        label: the classes in the order of their numbers.
        label_column: what the label was called in training; None in models of two classes of an older format.
        correction: from the model's raw scores to probabilities.
        calibrator: from these to calibrated ones.
        rules: how to decide, by objective; `serve_objective` names the one that does.
        base_rate_shift: of two classes, from calibrated probabilities to those at another base rate; None when it has
            not moved. It stands with the threshold, which is on the probabilities behind it.
        base_rate_error: standard error of that base rate, in logits; 0 is exact.
    """

    strategy: str
    model_bytes: bytes
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    categories: CategoryEncoding
    label: LabelEncoding
    label_column: str | None = None
    correction: PriorCorrection
    calibrator: Calibrator
    rules: Mapping[str, Rule]
    serve_objective: str
    base_rate_shift: PriorCorrection | None = None
    base_rate_error: float = 0.0

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, in the order of their numbers."""
        return self.label.classes

    @property
    def targets(self) -> int:
        """1 for two classes, else the number of classes."""
        return 1 if len(self.classes) == 2 else len(self.classes)

    @property
    def order_rule(self) -> OrderRule | None:
        """The rule that decides, where it looks at the order's own amount; else None."""
        rule = self.rules[self.serve_objective]
        return rule if isinstance(rule, OrderRule) else None

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns that are read as numbers: the numeric features, then the amount where decisions need it."""
        rule = self.order_rule
        return self.numeric if rule is None or rule.column in self.numeric else (*self.numeric, rule.column)

    @property
    def thresholds(self) -> dict[str, float]:
        """By objective, of rules with one threshold, that is of two classes: predict class 1 at or above it."""
        rules = {} if self.targets > 1 else self.rules
        return {name: rule.threshold for name, rule in rules.items() if isinstance(rule, ClassThresholds)}

    @property
    def threshold(self) -> float:
        """Of two classes: predict class 1 where probability >= threshold.

        Raises:
            ConfigError: there are more classes, or the rule that decides has no threshold.
        """
        return self.threshold_of(SERVED)

    def rule_of(self, objective: str) -> Rule:
        """The rule of an objective; SERVED is that of the bundle.

        Raises:
            ConfigError: there is no such rule.
        """
        name = objective or self.serve_objective
        if name not in self.rules:
            known = sorted(self.rules)
            raise ConfigError(f"objective {name!r} is none of the model's {known}.{nearest([name], known)}")
        return self.rules[name]

    def threshold_of(self, objective: str) -> float:
        """Of two classes the threshold of an objective, or that of orders whose amount is missing.

        Raises: as `threshold` and `rule_of`.
        """
        rule = self.rule_of(objective)
        if not isinstance(rule, ClassThresholds | OrderRule):
            raise ConfigError(f"objective {objective or self.serve_objective!r} decides by costs, not by a threshold.")
        return rule.threshold

    @property
    def decides(self) -> str:
        """How it decides, in words."""
        if self.order_rule is not None:
            return f"{self.serve_objective}, order by order; threshold {self.threshold:.6g} where an amount is missing"
        if self.targets == 1:
            return f"threshold {self.threshold:.6g}"
        return f"{len(self.classes)} classes, decided by {self.serve_objective}"

    @property
    def probability_columns(self) -> tuple[str, ...]:
        """Of two classes `probability`, else a name for each class: letters, digits, `_`, `.` and `-` alone."""
        if self.targets == 1:
            return (PROBABILITY,)
        plain = [re.sub(r"[^\w.-]+", "_", name) for name in self.classes]
        return tuple(
            f"{PROBABILITY}_{name}" if plain.count(name) == 1 else f"{PROBABILITY}_{name}_{number}"
            for number, name in enumerate(plain)
        )

    @property
    def output_columns(self) -> dict[str, str]:
        """What scoring a frame gives, with MLflow's names of the types."""
        probabilities = dict.fromkeys(self.probability_columns, "double")
        if self.targets == 1:
            of_order = {} if self.order_rule is None else {EXPECTED_COST: "double"}
            return {**probabilities, DECISION: "long", THRESHOLD: "double", **of_order}
        return {**probabilities, DECISION: "string", DECIDED_BY: "string"}

    @property
    def predict_parameters(self) -> dict[str, float | str]:
        """What a call of `predict` may change, with the defaults, which change nothing."""
        return {"threshold": NO_THRESHOLD} if self.targets == 1 else {"objective": SERVED}

    def probabilities(self, corrected: FloatArray) -> FloatArray:
        """What is served of two classes: calibrated, then at the base rate that holds now. Rising in `corrected`."""
        calibrated = self.calibrator.apply(corrected)
        return calibrated if self.base_rate_shift is None else self.base_rate_shift.apply(calibrated)

    @property
    def sha256(self) -> str:
        """A hash of all that `save` writes: equal for equal bundles, and for no others."""
        return sha256_of(self._parts())

    def save(self, folder: str) -> dict[str, str]:
        """Write the parts and a manifest of their sha256; give the manifest."""
        return write_parts(folder, self._parts())

    def _parts(self) -> dict[str, bytes]:
        description = {
            "format": _FORMAT,
            "strategy": self.strategy,
            "numeric": list(self.numeric),
            "categorical": list(self.categorical),
            "categories": self.categories.to_dict(),
            "label": self.label.to_dict(),
            "label_column": self.label_column,
            "correction": self.correction.to_dict(),
            "calibrator": self.calibrator.to_dict(),
        }
        decision: dict[str, Any] = {
            "rules": {name: rule_to_dict(rule) for name, rule in self.rules.items()},
            "serve_objective": self.serve_objective,
            "base_rate_shift": None if self.base_rate_shift is None else self.base_rate_shift.to_dict(),
        }
        if self.base_rate_error > 0.0:  # bundles without one keep their hash
            decision["base_rate_error"] = self.base_rate_error
        return encode_parts(_file_of(self.model_bytes), self.model_bytes, description, decision)

    @classmethod
    def load(cls, folder: str) -> Self:
        """Read a saved bundle; every part's hash is checked before the part is parsed.

        Raises:
            DataContractError: a part is missing, is not what the manifest says, or is of a format that this package
                does not read.
        """
        with reading("model bundle", "Fetch the model again."):
            return cls._of_parts(*read_parts(folder))

    @classmethod
    def _of_parts(cls, model: bytes, described: Mapping[str, Any], decision: Mapping[str, Any]) -> Self:
        if described["format"] not in (_FORMAT, _TWO_CLASSES, _CLASSES):
            raise DataContractError(
                f"model bundle: format {described['format']}, this package reads {_TWO_CLASSES} to {_FORMAT}. "
                "Use the package that wrote it."
            )
        shift = decision.get("base_rate_shift")
        return cls(
            strategy=described["strategy"],
            model_bytes=model,
            numeric=tuple(described["numeric"]),
            categorical=tuple(described["categorical"]),
            categories=CategoryEncoding.from_dict(described["categories"]),
            label=LabelEncoding.from_dict(described["label"]),
            label_column=described.get("label_column"),
            correction=PriorCorrection.from_dict(described["correction"]),
            calibrator=_calibrator(described),
            rules=_rules(described, decision),
            serve_objective=decision["serve_objective"],
            base_rate_shift=None if shift is None else PriorCorrection.from_dict(shift),
            base_rate_error=float(decision.get("base_rate_error", 0.0)),
        )


def _file_of(model: bytes) -> str:
    if LinearModel.is_in(model):
        return LINEAR
    return NETWORK if is_network(model) else BOOSTER


def _calibrator(described: Mapping[str, Any]) -> Calibrator:
    if described["format"] == _CLASSES:
        return MulticlassTemperature(temperature=described["temperature"])
    return calibrator_from_dict(described["calibrator"])


def _rules(described: Mapping[str, Any], decision: Mapping[str, Any]) -> dict[str, Rule]:
    if described["format"] == _TWO_CLASSES:
        return {name: ClassThresholds.of_threshold(threshold) for name, threshold in decision["thresholds"].items()}
    return {name: rule_from_dict(rule) for name, rule in decision["rules"].items()}
