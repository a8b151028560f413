"""What decisions mean for the people who review them: money found, alerts a day, false positives for each hit."""

from imbalance_spark.metrics.curve import Curve


def operating_metrics(
    curve: Curve, cut: int, *, orders_per_day: float | None = None, capacity: float | None = None
) -> dict[str, float]:
    """Metrics of flagging the first `cut` entries of a curve; what these rows leave undefined is absent.

    - `value_detection_rate`: share of the positives' amount that is flagged (with amounts).
    - `false_positives_per_hit`: false positives for each true positive; 0 is perfect (with a true positive).
    - `alerts_per_day`: flagged orders a day, whatever they weigh (with `orders_per_day`).
    - `capacity_used`: alerts a day over the `capacity`; above 1 the team cannot review them all.

    Args:
        orders_per_day: orders that the model scores a day, of which these rows are a sample.
        capacity: alerts a day that can be reviewed, above 0.
    """
    found: dict[str, float] = {}
    if curve.caught_amount is not None and curve.caught_amount[-1] > 0.0:
        found["value_detection_rate"] = float(curve.caught_amount[cut] / curve.caught_amount[-1])
    if curve.tp[cut] > 0.0:
        found["false_positives_per_hit"] = float(curve.fp[cut] / curve.tp[cut])
    if orders_per_day is not None:
        found["alerts_per_day"] = float(curve.flagged_rows[cut] / curve.flagged_rows[-1]) * orders_per_day
        if capacity is not None:
            found["capacity_used"] = found["alerts_per_day"] / capacity
    return found
