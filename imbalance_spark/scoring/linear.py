"""Linear models in log-odds, scored like boosters."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.arrays import FloatArray

_KIND = "linear_model"
_FIRST_BYTES = f'{{"{_KIND}"'.encode()
"""XGBoost's binary JSON has a length where this has the first key's quotation mark."""


@dataclass(frozen=True, kw_only=True)
class LinearMargin:
    """intercept + sum of slope (x - centre) over numbers + what each category adds: the margin of one class.

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

    def of(self, data: npt.NDArray[np.float32]) -> FloatArray:
        """The margin of each row; rows by features, NaN is missing."""
        # Column by column: a matrix product may round a row differently in another batch.
        margin = np.full(len(data), self.intercept)
        for added in self._added(data):
            margin += added
        return margin

    def contributions(self, data: npt.NDArray[np.float32]) -> FloatArray:
        """What each feature adds to the margin of each row; the last column is the intercept."""
        return np.column_stack([*self._added(data), np.full(len(data), self.intercept)])

    def _added(self, data: npt.NDArray[np.float32]) -> Iterator[FloatArray]:
        for slope, centre, values in zip(self.slopes, self.centres, data.T, strict=False):
            yield np.nan_to_num(slope * (values.astype(np.float64) - centre), nan=0.0)
        for added, codes in zip(self.categories, data.T[len(self.slopes) :], strict=True):
            table = np.array([*added, 0.0])
            # NaN is above no number: it takes the last entry, as an unseen code does.
            entry = np.where(codes < len(added), codes, len(added)).astype(np.int64)
            yield table[entry]

    @classmethod
    def weighted_sum(cls, margins: Sequence["LinearMargin"], factor: float) -> Self:
        """`factor` times the sum of the margins, also where a number is missing: each member has centres of its own."""
        slopes, centres = (np.array([getattr(one, name) for one in margins]) for name in ("slopes", "centres"))
        slope = slopes.sum(axis=0)
        # The centre at which the sum adds nothing; where slopes cancel each other it adds nothing anywhere.
        centre = np.divide((slopes * centres).sum(axis=0), slope, out=centres.mean(axis=0), where=slope != 0.0)
        tables = [
            tuple(factor * math.fsum(of_code) for of_code in zip_longest(*added, fillvalue=0.0))
            for added in zip(*[one.categories for one in margins], strict=True)
        ]
        return cls(
            intercept=factor * math.fsum(one.intercept for one in margins),
            slopes=tuple((factor * slope).tolist()),
            centres=tuple(centre.tolist()),
            categories=tuple(tables),
        )

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """From JSON values of the fields."""
        return cls(
            intercept=record["intercept"],
            slopes=tuple(record["slopes"]),
            centres=tuple(record["centres"]),
            categories=tuple(tuple(added) for added in record["categories"]),
        )


@dataclass(frozen=True, kw_only=True)
class LinearModel:
    """A linear margin for each class, or the one of two classes, scored like a booster."""

    margins: tuple[LinearMargin, ...]

    def inplace_predict(
        self, data: npt.NDArray[np.float32], predict_type: str = "margin", validate_features: bool = False
    ) -> FloatArray:
        """Margins, (rows,) or (rows, classes): what XGBoost's method of this name gives for `predict_type="margin"`.

        Args:
            data: rows by features; NaN is missing.
        """
        columns = [margin.of(data) for margin in self.margins]
        return columns[0] if len(columns) == 1 else np.column_stack(columns)

    def to_bytes(self) -> bytes:
        """The model as JSON; floats come back to the last bit."""
        if len(self.margins) == 1:
            return json.dumps({_KIND: 1, **asdict(self.margins[0])}).encode()
        return json.dumps({_KIND: 2, "margins": [asdict(margin) for margin in self.margins]}).encode()

    @staticmethod
    def is_in(model: bytes) -> bool:
        """Whether these bytes are a linear model's, not a booster's."""
        return model.startswith(_FIRST_BYTES)

    @classmethod
    def from_bytes(cls, model: bytes) -> Self:
        """What `to_bytes` wrote."""
        record: dict[str, Any] = json.loads(model)
        return cls(margins=tuple(LinearMargin.from_dict(margin) for margin in record.get("margins", [record])))


def sum_of_linear_models(models: Sequence[bytes], factor: float) -> bytes:
    """One model whose margins are `factor` times the sum of the models'."""
    by_margin = zip(*[LinearModel.from_bytes(model).margins for model in models], strict=True)
    return LinearModel(margins=tuple(LinearMargin.weighted_sum(of_one, factor) for of_one in by_margin)).to_bytes()
