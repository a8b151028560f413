"""XGBoost's own loss of several classes, on rows whose weights are meant for the histogram cuts alone."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imbalance_spark.errors import ConfigError

if TYPE_CHECKING:
    import xgboost

Float32Array = npt.NDArray[np.float32]

_SMALLEST_HESSIAN = 1e-16


@dataclass(frozen=True, kw_only=True)
class BalancedSketchLoss:
    """`multi:softprob` of rows whose class weights balance the cuts: they are divided out of the gradient.

    Gradient p_k - [k is true] and Hessian 2 p_k (1 - p_k), as XGBoost's own, times a row's weight over its class's.

    Args:
        weights: of each class in the weight column, above 0.
    Raises:
        ConfigError: a weight is not above 0.
    """

    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not all(0.0 < weight < np.inf for weight in self.weights):
            raise ConfigError(f"the loss's class weights must be numbers above 0, got {self.weights}.")

    def __call__(self, margins: Float32Array, data: "xgboost.DMatrix") -> tuple[Float32Array, Float32Array]:
        """Gradient and Hessian, rows by classes."""
        label, weight = data.get_label().astype(np.int64), data.get_weight().astype(np.float64)
        left = (weight if len(weight) else 1.0) / np.array(self.weights)[label]
        p = np.exp(margins - margins.max(axis=1, keepdims=True), dtype=np.float64)
        p /= p.sum(axis=1, keepdims=True)
        hessian = np.maximum(2.0 * p * (1.0 - p), _SMALLEST_HESSIAN) * left[:, None]
        p[np.arange(len(label)), label] -= 1.0
        return (p * left[:, None]).astype(np.float32), hessian.astype(np.float32)
