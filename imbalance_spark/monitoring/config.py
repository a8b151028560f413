"""The section `monitoring` of a config."""

from typing import Annotated

from pydantic import Field

from imbalance_spark.core.section import Section, Share


class AlarmsConfig(Section):
    """What ends `jobs/monitor.py` with exit code 4; null is never.

    Args:
        min_precision: of the served model's alerts, that the whole interval of the estimate lies below.
        min_recall: of the served model, in the same way; of a control sample, too, where orders have one.
        base_rate: whether another base rate is an alarm.
        unexplained: whether scores that no base rate explains, and labels that contradict the probabilities, are one.
        max_psi: population stability index of a feature or segment whose drift is beyond chance.
        over_budget: share of the alert budget that a day's alerts may reach, such as 1.2.
    """

    min_precision: Share | None = None
    min_recall: Share | None = None
    base_rate: bool = True
    unexplained: bool = True
    max_psi: Annotated[float, Field(gt=0.0)] | None = 0.25
    over_budget: Annotated[float, Field(gt=0.0)] | None = None


class MonitoringConfig(Section):
    """What `jobs/monitor.py` reads, and what it warns of.

    Args:
        scored: path of the Delta table that `jobs/score.py` writes.
        output: folder for the daily counts, which the job makes.
        labels: path of a Delta table with the key and the label of orders whose outcome is known; null without.
        known_at: its timestamp column of when the outcome became known; null draws no curve of the label delay.
        label_delay_days: days after which an order's outcome is taken as known.
        absent_is_negative: whether an order that is not in `labels` by then is a negative, as where only
            chargebacks are reported; else it counts in nothing that rests on labels.
        window_days: that estimates look back over; a week has each weekday once.
        reference_days: first days of scored orders, which drift is measured from.
        level: of each test of the scores against validation, and of labels against the probabilities; the p-values of
            scores rest on 400 resamples, and a lower one could never be reached.
        budget: alerts that can be reviewed a day; null is unknown.
        alarms: what is an alarm.
    """

    scored: str
    output: str
    labels: str | None = None
    known_at: str | None = None
    label_delay_days: Annotated[int, Field(ge=0, le=400)] = 30
    absent_is_negative: bool = False
    window_days: Annotated[int, Field(ge=1, le=31)] = 7
    reference_days: Annotated[int, Field(ge=1, le=366)] = 14
    level: Annotated[float, Field(ge=0.0025, lt=1.0)] = 0.01
    budget: Annotated[float, Field(gt=0.0)] | None = None
    alarms: AlarmsConfig = AlarmsConfig()
