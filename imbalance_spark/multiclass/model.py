"""The model of several classes as files, and the scorer that reads them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from imbalance_spark.calibration.correction import PriorCorrection
from imbalance_spark.calibration.temperature import ClassProbabilities
from imbalance_spark.core.errors import ConfigError, DataContractError, nearest
from imbalance_spark.metrics.grid import FloatArray, IntArray
from imbalance_spark.orders.categories import CategoryEncoding
from imbalance_spark.orders.labels import LabelEncoding
from imbalance_spark.scoring.boosters import load_booster
from imbalance_spark.scoring.bundle_files import BOOSTER, read_parts, write_parts
from imbalance_spark.scoring.scorer import order_matrix, refuse_infinite
from imbalance_spark.threshold.class_rules import Rule, rule_from_dict, rule_to_dict

FORMAT = 3


DECISION, DECIDED_BY = "decision", "decided_by"


SERVED = ""
"""Default of the predict parameter `objective`: the bundle's own one decides."""


@dataclass(frozen=True, kw_only=True)
class ClassBundle:
    """All that is needed to turn orders into the probability of each class and a decision.

    Args:
        booster_ubj: XGBoost's UBJ bytes, up to the best iteration.
        numeric, categorical: names of the features, in the booster's order.
        label: the classes in the order of their numbers. label_column: what the column was called in training.
        probabilities: from the booster's margins.
        rules: how to decide, by objective; `serve_objective` names the one that does.
    """

    strategy: str
    booster_ubj: bytes
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    categories: CategoryEncoding
    label: LabelEncoding
    label_column: str
    probabilities: ClassProbabilities
    rules: Mapping[str, Rule]
    serve_objective: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, in the order of their numbers."""
        return self.label.classes

    @property
    def decides(self) -> str:
        """How it decides, in words."""
        return f"{len(self.classes)} classes, decided by {self.serve_objective}"

    @property
    def probability_columns(self) -> tuple[str, ...]:
        """A column's name for each class: letters, digits, `_`, `.` and `-`, whatever the class is called."""
        plain = [re.sub(r"[^\w.-]+", "_", name) for name in self.classes]
        return tuple(
            f"probability_{name}" if plain.count(name) == 1 else f"probability_{name}_{number}"
            for number, name in enumerate(plain)
        )

    @property
    def output_columns(self) -> dict[str, str]:
        """What scoring a frame gives, with MLflow's names of the types."""
        return {**dict.fromkeys(self.probability_columns, "double"), DECISION: "string", DECIDED_BY: "string"}

    @property
    def predict_parameters(self) -> dict[str, float | str]:
        """What a call of `predict` may change, with the defaults, which change nothing."""
        return {"objective": SERVED}

    def save(self, folder: str) -> dict[str, str]:
        """Write the parts and a manifest of their sha256; give the manifest."""
        description = {
            "format": FORMAT,
            "strategy": self.strategy,
            "numeric": list(self.numeric),
            "categorical": list(self.categorical),
            "categories": self.categories.to_dict(),
            "label": self.label.to_dict(),
            "label_column": self.label_column,
            "correction": self.probabilities.correction.to_dict(),
            "temperature": self.probabilities.temperature,
        }
        rules = {name: rule_to_dict(rule) for name, rule in self.rules.items()}
        decision = {"rules": rules, "serve_objective": self.serve_objective}
        return write_parts(folder, BOOSTER, self.booster_ubj, description, decision)

    @classmethod
    def load(cls, folder: str) -> "ClassBundle":
        """Read a saved bundle; every part's hash is checked before the part is parsed.

        Raises:
            DataContractError: a part is missing, or is not what the manifest says.
        """
        ubj, described, decision = read_parts(folder)
        if described["format"] != FORMAT:
            raise DataContractError(
                f"model bundle: format {described['format']}, this package reads {FORMAT} for several classes. "
                "Use the package that wrote it."
            )
        return cls(
            strategy=described["strategy"],
            booster_ubj=ubj,
            numeric=tuple(described["numeric"]),
            categorical=tuple(described["categorical"]),
            categories=CategoryEncoding.from_dict(described["categories"]),
            label=LabelEncoding.from_dict(described["label"]),
            label_column=described["label_column"],
            probabilities=ClassProbabilities(
                correction=PriorCorrection.from_dict(described["correction"]), temperature=described["temperature"]
            ),
            rules={name: rule_from_dict(rule) for name, rule in decision["rules"].items()},
            serve_objective=decision["serve_objective"],
        )


class ClassScorer:
    """A loaded bundle that scores matrices and pandas frames; the booster is parsed once."""

    def __init__(self, bundle: ClassBundle) -> None:
        self.bundle = bundle
        self._booster = load_booster(bundle.booster_ubj)

    def probabilities(self, matrix: npt.NDArray[np.float32]) -> FloatArray:
        """Probability of each class, rows by classes: corrected to the real class shares and calibrated.

        Args:
            matrix: rows by the bundle's features, numeric ones first, categories as codes; NaN is missing.

        Raises:
            DataContractError: a numeric feature holds infinities.
        """
        refuse_infinite(self.bundle.numeric, matrix)
        if not len(matrix):
            return np.zeros((0, len(self.bundle.classes)))
        margins = self._booster.inplace_predict(matrix, predict_type="margin", validate_features=False)
        return self.bundle.probabilities.of_margins(margins)

    def decide(self, probabilities: FloatArray, objective: str = SERVED) -> IntArray:
        """The number of the class that a rule decides on, for each row.

        Raises:
            ConfigError: there is no such rule.
        """
        name = objective or self.bundle.serve_objective
        if name not in self.bundle.rules:
            known = sorted(self.bundle.rules)
            raise ConfigError(f"objective {name!r} is none of the model's {known}.{nearest([name], known)}")
        return self.bundle.rules[name].decide(probabilities)

    def predict(self, orders: pd.DataFrame, parameters: Mapping[str, Any]) -> pd.DataFrame:
        """`score`, with the objective that `parameters` may name."""
        return self.score(orders, str(parameters.get("objective", SERVED)))

    def score(self, orders: pd.DataFrame, objective: str = SERVED) -> pd.DataFrame:
        """Probabilities and decision of each order.

        Args:
            orders: one row per order with the bundle's features; null and NaN are missing, a category never seen in
                training has a code of its own.
            objective: decides instead of the bundle's own.

        Returns:
            A `probability_<class>` (float64; a row sums to 1) for each class, `decision` (the class's name) and
            `decided_by` (the objective), on the index of `orders`.

        Raises:
            MissingColumnsError: a feature is absent.
            DataContractError: a numeric feature holds text, or infinities.
            ConfigError: the model has no such objective.
        """
        found = self.probabilities(order_matrix(orders, self.bundle))
        columns: dict[str, Any] = dict(zip(self.bundle.probability_columns, found.T, strict=True))
        columns[DECISION] = np.array(self.bundle.classes, dtype=object)[self.decide(found, objective)]
        columns[DECIDED_BY] = objective or self.bundle.serve_objective
        return pd.DataFrame(columns, index=orders.index)
