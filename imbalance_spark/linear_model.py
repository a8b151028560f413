"""A model that is linear in its features, as JSON: what a scan or a server loads in place of a booster."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.metrics.grid import FloatArray

_KIND = "linear_model"
_FIRST_BYTES = f'{{"{_KIND}"'.encode()
"""XGBoost's binary JSON has a length where this has the first key's quotation mark."""


@dataclass(frozen=True, kw_only=True)
class LinearModel:
    """intercept + sum of slope (x - centre) over numbers + what each category adds.

    A missing number adds nothing, as if it were at its centre; so does a missing category, and one that training
    lacked.

    Args:
        slopes, centres: of each numeric feature; these come first among the features.
        categories: for each categorical feature what its codes 0, 1, ... add.
    """

    intercept: float
    slopes: tuple[float, ...]
    centres: tuple[float, ...]
    categories: tuple[tuple[float, ...], ...]

    def inplace_predict(
        self, data: npt.NDArray[np.float32], predict_type: str = "margin", validate_features: bool = False
    ) -> FloatArray:
        """The margin of each row: what XGBoost's method of this name gives for `predict_type="margin"`.

        Args:
            data: rows by features; NaN is missing.
        """
        # Column by column: a matrix product may round a row differently in another batch.
        margin = np.full(len(data), self.intercept)
        for slope, centre, values in zip(self.slopes, self.centres, data.T, strict=False):
            margin += np.nan_to_num(slope * (values.astype(np.float64) - centre), nan=0.0)
        for added, codes in zip(self.categories, data.T[len(self.slopes) :], strict=True):
            table = np.array([*added, 0.0])
            # NaN is above no number: it takes the last place, as an unseen code does.
            place = np.where(codes < len(added), codes, len(added)).astype(np.int64)
            margin += table[place]
        return margin

    def to_bytes(self) -> bytes:
        """The model as JSON; floats come back to the last bit."""
        return json.dumps({_KIND: 1, **asdict(self)}).encode()

    @staticmethod
    def is_in(model: bytes) -> bool:
        """Whether these bytes are a linear model's, not a booster's."""
        return model.startswith(_FIRST_BYTES)

    @classmethod
    def from_bytes(cls, model: bytes) -> Self:
        """What `to_bytes` wrote."""
        found: dict[str, Any] = json.loads(model)
        return cls(
            intercept=found["intercept"],
            slopes=tuple(found["slopes"]),
            centres=tuple(found["centres"]),
            categories=tuple(tuple(added) for added in found["categories"]),
        )
