"""Bayes' formula over the kinds of orders: the true probability of each outcome, and the outcome drawn with it."""

from functools import reduce
from operator import add, mul

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.columns import TRUE_PROBABILITY
from imbalance_spark.orders.datasets.population import (
    AMOUNT_RATIO,
    CHANNEL,
    COUNTRY,
    COUNTRY_MISSING,
    DEVICE_AGE_DAYS,
    DEVICE_MISSING,
    DISTANCE_KM,
    DISTANCE_MISSING,
    HOUR,
    IS_FRAUD,
    MERCHANT_CATEGORY,
    MORE_ITEMS,
    ORDERS_LAST_24H,
    OUTCOMES,
    PAYMENT,
    PAYMENT_MISSING,
    SESSION_MISSING,
    SESSION_SECONDS,
)
from imbalance_spark.orders.datasets.synthetic_plan import Plan


def with_densities(plan: Plan, orders: DataFrame) -> DataFrame:
    """Add `density_<k>`: prior times the density of all observed values, under each kind."""
    seen = [
        AMOUNT_RATIO.densities(F.col("amount_over_customer_mean")),
        DISTANCE_MISSING.densities(F.col("no_distance"), DISTANCE_KM.densities(F.col("distance_km"))),
        DEVICE_MISSING.densities(F.col("no_device"), DEVICE_AGE_DAYS.densities(F.col("device_age_days"))),
        SESSION_MISSING.densities(F.col("no_session"), SESSION_SECONDS.densities(F.col("session_seconds"))),
        ORDERS_LAST_24H.densities(F.col("orders_last_24h"), F.sqrt(F.col("customer_activity"))),
        MORE_ITEMS.densities(F.col("more_items"), F.lit(1.0)),
        plan.day_law.densities(F.col("day")),
        HOUR.densities(F.col("hour_of_day")),
        COUNTRY_MISSING.densities(F.col("no_country"), COUNTRY.densities(F.col("country"))),
        PAYMENT_MISSING.densities(F.col("no_payment"), PAYMENT.densities(F.col("payment_method"))),
        CHANNEL.densities(F.col("channel")),
        MERCHANT_CATEGORY.densities(F.col("merchant_category")),
        _tenure_densities(),
    ]
    products = [reduce(mul, under_kind) for under_kind in zip(*seen, strict=True)]
    weighted = {kind: F.lit(prior) * products[kind] for kind, prior in plan.priors.items()}
    return orders.select("*", *[column.alias(f"density_{kind}") for kind, column in weighted.items()])


def _tenure_densities() -> list[Column]:
    # Tenure is uniform, and the lower of two uniforms has density 2 (1 - u).
    newer = F.lit(2.0) * (F.lit(1.0) - F.col("tenure"))
    return [newer if is_fraud else F.lit(1.0) for is_fraud in IS_FRAUD]


def true_probabilities(plan: Plan) -> dict[str, Column]:
    """By column: each outcome's share of the density of all observed values."""
    densities = {kind: F.col(f"density_{kind}") for kind in plan.priors}
    total = reduce(add, densities.values())
    if plan.shares is None:
        of_fraud = reduce(add, [density for kind, density in densities.items() if IS_FRAUD[kind]])
        if plan.shift is not None and plan.shift.kind == "concept":
            return {TRUE_PROBABILITY: _flattened(of_fraud / total, plan.prevalence, plan.shift.size)}
        return {TRUE_PROBABILITY: of_fraud / total}
    found = {}
    for outcome, joint in zip(OUTCOMES, plan.outcomes_of_kinds, strict=True):
        # Within a kind, the outcome is independent of the observed values.
        parts = [density * F.lit(joint[k] / plan.priors[k]) for k, density in densities.items() if joint[k] > 0.0]
        found[f"{TRUE_PROBABILITY}_{outcome}"] = reduce(add, parts) / total
    return found


def _flattened(probability: Column, prevalence: float, size: float) -> Column:
    """The probability whose log-odds lie `size` times as far from those of the prevalence."""
    # Powers of both shares, not of the odds: these are infinite where a density is 0.
    fraud = F.pow(probability / F.lit(prevalence), F.lit(size)) * F.lit(prevalence)
    honest = F.pow((F.lit(1.0) - probability) / F.lit(1.0 - prevalence), F.lit(size)) * F.lit(1.0 - prevalence)
    return fraud / (fraud + honest)


def label(plan: Plan) -> dict[str, Column]:
    """The label by its column's name, drawn with the true probabilities; the rarest takes the lowest shares."""
    share = plan.draw("label")
    if plan.shares is None:
        return {"is_fraud": (share < F.col(TRUE_PROBABILITY)).cast("int")}
    reached, outcome = F.lit(0.0), F.lit(None).cast("string")
    for name in reversed(OUTCOMES[1:]):
        reached = reached + F.col(f"{TRUE_PROBABILITY}_{name}")
        outcome = F.coalesce(outcome, F.when(share < reached, F.lit(name)))
    return {"outcome": F.coalesce(outcome, F.lit(OUTCOMES[0]))}
