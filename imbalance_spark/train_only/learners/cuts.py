"""Histogram cuts of the features, from quantiles of a bounded sample: the same for every layout and number of workers.

XGBoost's own sketch depends on which worker has which row, in which order. Cuts that are given do not, and neither do
the splits; they may also be those of balanced classes, which gives a rare class bins of its own where it is frequent.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.columns import COPY_NUMBER, IS_EARLY_STOPPING, col
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.hashing import check_key, uniform
from imbalance_spark.orders.model_inputs import LABEL, feature_column

if TYPE_CHECKING:
    import xgboost

CutKind = Literal["plain", "balanced"]
"""Quantiles of the rows as they are, or of a mixture to which each class contributes alike."""

Values = npt.NDArray[np.float32]

_MOST_CODES = 255
"""Of a feature that is split by sets of categories."""

MOST_SAMPLED_ROWS = 400_000
_MOST_SAMPLED_VALUES = 64_000_000  # 256 MB on the driver, however many features
_FARTHEST = 3e37
"""Stands beyond all data on both sides: XGBoost treats a value above its last cut as missing when it predicts."""


@dataclass(frozen=True, eq=False)
class FeatureCuts:
    """Cuts of each feature, ascending: a split sends values below one of them to the left."""

    by_feature: tuple[Values, ...]
    highest: tuple[float, ...] = ()
    """The highest value of each feature in the sample that the cuts are of; -1 where it had none."""

    @property
    def max_bin(self) -> int:
        """What XGBoost must be told, so that it keeps all cuts."""
        return max(3, *(len(cuts) + 2 for cuts in self.by_feature))

    @property
    def digest(self) -> str:
        """A hash of all cuts."""
        hashed = hashlib.sha256()
        for cuts in self.by_feature:
            hashed.update(len(cuts).to_bytes(8, "big") + cuts.tobytes())
        return hashed.hexdigest()

    def codes(self, numeric: int) -> dict[int, int]:
        """How many codes each categorical feature has; those with more than 255 are left out, they stay ordered.

        Codes that the sample of the cuts lacked are not counted, and count as unknown.

        Args:
            numeric: how many features are numbers; they come first.
        """
        last = {feature: self.highest[feature] for feature in range(numeric, len(self.by_feature))}
        return {feature: int(code) + 1 for feature, code in last.items() if code < _MOST_CODES}

    def as_matrix(self) -> "xgboost.QuantileDMatrix":
        """What a `QuantileDMatrix` takes its cuts from as `ref`."""
        import xgboost  # importing this package needs no xgboost

        longest = max(map(len, self.by_feature))
        values = np.full((longest + 2, len(self.by_feature)), np.nan, dtype=np.float32)
        for feature, cuts in enumerate(self.by_feature):
            values[: len(cuts) + 2, feature] = [-_FARTHEST, *cuts, _FARTHEST]
        return xgboost.QuantileDMatrix(values, max_bin=self.max_bin)


def collect_cuts(
    table: DataFrame,
    *,
    features: int,
    fit_rows: Mapping[int, int],
    key: Sequence[str],
    seed: int,
    max_bin: int,
    kind: CutKind,
) -> FeatureCuts:
    """Cuts at the quantiles of the rows to fit on, from all of them or a share of each class that the key's hash draws.

    Reads `table` once. It collects at most 400,000 rows, and at most 64 million values.

    Args:
        table: `x_0..` (null is missing), `y`, `is_early_stopping`.
        fit_rows: rows of each class outside the early-stopping set.
        key: names of the key columns; may be empty where no class has to be sampled.
        max_bin: bins of a feature, at most.
    Raises:
        ConfigError: a class has to be sampled, and there is no key.
        DataContractError: the key cannot be hashed.
    """
    most = min(MOST_SAMPLED_ROWS, _MOST_SAMPLED_VALUES // features) // len(fit_rows)
    share = {label: most / rows for label, rows in fit_rows.items() if rows > most}
    names, rows = [feature_column(i) for i in range(features)], table.where(~col(IS_EARLY_STOPPING))
    if share:
        rows = _sampled(rows, share, key, seed)
    # Nulls as NaN: a column without nulls is handed over as it lies.
    inputs = [F.coalesce(col(name).cast("float"), F.lit(np.nan).cast("float")).alias(name) for name in names]
    sample = rows.select(col(LABEL), *inputs).toArrow()
    label = sample.column(LABEL).to_numpy()
    in_sample = {k: int((label == k).sum()) for k in fit_rows}
    weight = {k: (1.0 if kind == "balanced" else float(fit_rows[k])) / drawn for k, drawn in in_sample.items() if drawn}
    found, highest = [], []
    for name in names:
        values = sample.column(name).to_numpy()
        highest.append(float(np.nanmax(values, initial=-1.0)))
        by_class = [values[label == k] for k in weight]
        found.append(quantile_cuts(by_class, list(weight.values()), max(max_bin - 2, 1)))
    return FeatureCuts(tuple(found), tuple(highest))


def quantile_cuts(by_class: Sequence[Values], weights: Sequence[float], most: int) -> Values:
    """At most `most` cuts: all distinct values but the lowest, or evenly spaced quantiles of the weighted mixture.

    Args:
        by_class: values of each class in any order; NaN is missing.
        weights: of each value, by class.
    """
    known = [np.sort(values[np.isfinite(values)]) for values in by_class]
    values = np.unique(np.concatenate(known))
    if len(values) <= most + 1:
        return values[1:]
    # From counts, which are exact: sums of weights would depend on the order of equal values.
    below: FloatArray = np.zeros(len(values))
    for ordered, weight in zip(known, weights, strict=True):
        below += weight * np.searchsorted(ordered, values)
    total = sum(weight * len(ordered) for ordered, weight in zip(known, weights, strict=True))
    levels = total * np.arange(1, most + 1) / (most + 1)
    places = np.unique(np.searchsorted(below, levels))
    return values[places[places < len(values)]]


def _sampled(rows: DataFrame, share: Mapping[int, float], key: Sequence[str], seed: int) -> DataFrame:
    if not key:
        raise ConfigError(
            f"classes {sorted(share)} have too many rows to take cuts from all of them: pass key, the columns that "
            "identify a row."
        )
    check_key(rows, key, "cuts of the features")
    # Copies of an oversampled row have its key, and are drawn one by one.
    tie_breakers = [name for name in (COPY_NUMBER,) if name in rows.columns]
    limit = F.lit(1.0)
    for label, fraction in share.items():
        limit = F.when(col(LABEL) == label, fraction).otherwise(limit)
    return rows.where(uniform([*key, *tie_breakers], seed, "cuts") < limit)
