"""Recall from the orders that were reviewed: flagged ones, and a control sample of the others."""

from dataclasses import dataclass

from scipy.stats import chi2

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.monitoring.cells import BoolArray
from imbalance_spark.monitoring.expected import Estimate

_TAIL = 0.025


@dataclass(frozen=True, kw_only=True, eq=False)
class ReviewedOrders:
    """Orders whose review told their class, in cells.

    Args:
        rows: of each cell.
        positives: among them.
        weight: orders that one of them stands for, the inverse of its propensity to be reviewed, at least 1.
        flagged: whether the cell's orders are flagged.
    """

    rows: FloatArray
    positives: FloatArray
    weight: FloatArray
    flagged: BoolArray

    @property
    def control_rows(self) -> float:
        """Orders of the control sample."""
        return float(self.rows @ ~self.flagged)

    @property
    def missed(self) -> Estimate:
        """Positives among the orders that were not flagged, in the sample or not.

        The sum of inverse propensities over the sample's positives (Horvitz and Thompson, 1952). Its 95 % interval
        takes the ones that nobody saw as a gamma variable of their estimated mean and variance, which for small and
        equal shares is the exact Poisson interval, and at its upper end as if one more positive of the largest weight
        had been found (Fay and Feuer, 1997).

        Returns:
            No number where no order of the sample was reviewed.
        """
        is_control = ~self.flagged & (self.rows > 0.0)
        if not is_control.any():
            return Estimate(value=None)
        weight, found = self.weight[is_control], self.positives[is_control]
        seen, unseen = float(found.sum()), float(found @ (weight - 1.0))
        variance, largest = float(found @ (weight * (weight - 1.0))), float(weight.max())
        low = _gamma_quantile(_TAIL, unseen, variance)
        high = _gamma_quantile(1.0 - _TAIL, unseen + largest - 1.0, variance + largest * (largest - 1.0))
        return Estimate(value=seen + unseen, low=seen + low, high=seen + high)

    def estimates(self, orders: float) -> dict[str, Estimate]:
        """`base_rate`, `positives` and `recall` of all orders, reviewed or not.

        Args:
            orders: number of them, above 0.
        """
        caught, missed = float(self.positives @ self.flagged), self.missed
        if missed.value is None or missed.low is None or missed.high is None:
            return dict.fromkeys(("base_rate", "positives", "recall"), Estimate(value=None))
        total = [caught + one for one in (missed.value, missed.low, missed.high)]
        recall = [None if one == 0.0 else caught / one for one in total]
        return {
            "base_rate": Estimate(value=total[0] / orders, low=total[1] / orders, high=total[2] / orders),
            "positives": Estimate(value=total[0], low=total[1], high=total[2]),
            "recall": Estimate(value=recall[0], low=recall[2], high=recall[1]),
        }


def _gamma_quantile(share: float, mean: float, variance: float) -> float:
    if mean <= 0.0:
        return 0.0
    return float(variance / (2.0 * mean) * chi2.ppf(share, 2.0 * mean**2 / variance))
