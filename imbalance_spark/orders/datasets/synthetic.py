"""The generated order log: features from a mixture of kinds, Bayes' probability, then the label."""

from collections.abc import Mapping
from itertools import accumulate
from types import MappingProxyType

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from imbalance_spark.orders.datasets.distributions import logit, lookup_text
from imbalance_spark.orders.datasets.population import (
    AMOUNT_RATIO,
    CHANNEL,
    CHANNELS,
    COUNTRIES,
    COUNTRY,
    COUNTRY_MISSING,
    DEVICE_AGE_DAYS,
    DEVICE_MISSING,
    DISTANCE_KM,
    DISTANCE_MISSING,
    HOUR,
    IS_FRAUD,
    MERCHANT_CATEGORIES,
    MERCHANT_CATEGORY,
    MORE_ITEMS,
    ORDERS_LAST_24H,
    OUTCOMES,
    PAYMENT,
    PAYMENT_METHODS,
    PAYMENT_MISSING,
    SESSION_MISSING,
    SESSION_SECONDS,
)
from imbalance_spark.orders.datasets.posterior import label, true_probabilities, with_densities
from imbalance_spark.orders.datasets.synthetic_plan import OrderShift, Plan, checked_start

OUTCOME_SHARES = MappingProxyType({"late_return": 0.03, "chargeback": 0.003, "fraud": 0.0005})
"""Default shares of the rare outcomes among all orders."""

CUSTOMERS = 100_000
"""Customers that orders are drawn from. It does not grow with the log: a row must not depend on how many follow."""

_MERCHANTS_PER_CATEGORY = 1000
_LONGEST_TENURE_DAYS = 3000.0
_ROWS_PER_PARTITION = 2_000_000


def generate_orders(
    spark: SparkSession,
    *,
    rows: int,
    prevalence: float,
    seed: int,
    start: str = "2024-01-01",
    days: int = 365,
    partitions: int | None = None,
    shift: OrderShift | None = None,
    first: int = 0,
) -> DataFrame:
    """An order log in which every order's true probability of fraud is known. Lazy.

    A row is a pure function of its number and of every argument except `rows` and `partitions`: any
    cluster generates the same rows, and a longer log begins with the shorter one.

    Each row first draws a kind of order (see `population`), then its features given the kind.
    Their densities are known, so `true_probability` is Bayes' formula over all kinds, and the
    label is a fresh draw with that probability. It is thus exact: no model of these columns,
    order time included, can rank or calibrate better. Its mean is `prevalence`, since
    the kinds are drawn at that rate. `orders_last_24h` and `customer_activity` are drawn too,
    not counted from the log.

    Args:
        rows: orders to generate, at least 1.
        prevalence: expected share of fraud, in (0, 0.5].
        seed: any integer; another seed gives an independent log.
        start: first day, as YYYY-MM-DD, UTC.
        days: length of the log in days, 1 to 3660.
        partitions: of the result; by default one per task slot, with at most two million rows each.
        shift: of the whole log, against the one without it; `true_probability` stays exact.
        first: number of the first order that is returned, of those below `rows`; for a log that is written in parts.

    Returns:
        One row per order, null only where said:
        order_id (bigint, key, first .. rows - 1); customer_id (bigint, group; few customers place many orders);
        merchant_id (bigint; a merchant has one category); ordered_at (timestamp);
        amount (double, EUR, > 0, heavy tailed); is_fraud (int, 0 or 1);
        amount_over_customer_mean (double, > 0); items (int, >= 1); orders_last_24h (int, >= 0);
        customer_activity (int, >= 2, larger for customers with many orders);
        customer_age_days (double, >= 0); device_age_days (double, in (0, 4000), null in about 5 %, more so in fraud);
        distance_km (double, in (0, 20000), null in about 3 %); session_seconds (double, > 0, null in 2 %);
        hour_of_day (int, 0 to 23, UTC); day_of_week (int, 1 is Sunday);
        country (string, null in 1 %); payment_method (string, null in 0.5 %); channel, merchant_category (string);
        true_probability (double, in (0, 1]): P(is_fraud = 1 | features, ordered_at). Never a feature.

    Raises:
        ConfigError: an argument is out of its range; all problems at once.

    Examples:
        >>> orders = generate_orders(spark, rows=1000, prevalence=0.05, seed=7, partitions=1)
        >>> orders.select("order_id", "items", "country", "is_fraud").where("order_id < 2").show()
        +--------+-----+-------+--------+
        |order_id|items|country|is_fraud|
        +--------+-----+-------+--------+
        |       0|    2|     DE|       0|
        |       1|    5|     GB|       0|
        +--------+-----+-------+--------+
        <BLANKLINE>
    """
    first_day = checked_start(
        rows=rows, prevalence=prevalence, start=start, days=days, partitions=partitions, shift=shift, first=first
    )
    rate = prevalence if shift is None or shift.kind != "label" else prevalence * shift.size
    plan = Plan(seed=seed, prevalence=rate, start=first_day, days=days, shift=shift)
    return _generated(spark, plan, range(first, rows), partitions)


def generate_outcomes(
    spark: SparkSession,
    *,
    rows: int,
    shares: Mapping[str, float] = OUTCOME_SHARES,
    seed: int,
    start: str = "2024-01-01",
    days: int = 365,
    partitions: int | None = None,
    first: int = 0,
) -> DataFrame:
    """An order log of four outcomes, in which every order's true probability of each is known. Lazy.

    As `generate_orders`, with one more kind of orders, which is returned late; see `population`.

    Args:
        shares: expected share of `late_return`, `chargeback` and `fraud`, each in (0, 0.5], together at most 0.5.
            The others are those of `generate_orders`.

    Returns:
        The columns of `generate_orders`, with `outcome` (string: `ok`, or one of the above) for `is_fraud`, and
        `true_probability_<outcome>` (double, in [0, 1]) for each outcome; these sum to 1 and are never features.

    Raises:
        ConfigError: an argument is out of its range; all problems at once.
    """
    first_day = checked_start(
        rows=rows, prevalence=0.5, start=start, days=days, partitions=partitions, shares=shares, first=first
    )
    rare = tuple(float(shares[name]) for name in OUTCOMES[1:])
    plan = Plan(seed=seed, prevalence=0.0, start=first_day, days=days, shares=(1.0 - sum(rare), *rare))
    return _generated(spark, plan, range(first, rows), partitions)


def _generated(spark: SparkSession, plan: Plan, orders: range, partitions: int | None) -> DataFrame:
    slots = partitions or max(spark.sparkContext.defaultParallelism, -(-len(orders) // _ROWS_PER_PARTITION))
    numbers = spark.range(orders.start, orders.stop, 1, slots).withColumnRenamed("id", "order_id")
    kinds = numbers.select("order_id", _kind(plan).alias("kind"))
    # One select per stage, so that Spark computes each value once.
    return _labelled(plan, with_densities(plan, _with_features(plan, _with_customers(plan, kinds))))


def _kind(plan: Plan) -> Column:
    """The kind of order, as an int from 0; the last kinds take the lowest shares, where doubles are finest."""
    rarest_first = list(reversed(plan.drawn_shares))
    bounds = list(accumulate(plan.drawn_shares[kind] for kind in rarest_first))
    share = plan.draw("kind")
    kind = F.when(share < F.lit(bounds[0]), F.lit(rarest_first[0]))
    for number, bound in list(zip(rarest_first, bounds, strict=True))[1:-1]:
        kind = kind.when(share < F.lit(bound), F.lit(number))
    return kind.otherwise(F.lit(rarest_first[-1]))


def _with_customers(plan: Plan, orders: DataFrame) -> DataFrame:
    """Add the customer; fraud picks the newer of two candidates, so that new customers are riskier."""
    first, second = (_customer_number(plan.draw(f"customer {candidate}")) for candidate in (1, 2))
    both = orders.select("*", first.alias("first"), second.alias("second"))
    is_fraud = F.element_at(F.array(*map(F.lit, IS_FRAUD)), F.col("kind") + 1)
    takes_second = is_fraud & (plan.draw("tenure", "second") < plan.draw("tenure", "first"))
    chosen = F.when(takes_second, F.col("second")).otherwise(F.col("first"))
    return both.select("order_id", "kind", chosen.alias("customer_id")).select(
        "*",
        plan.draw("tenure", "customer_id").alias("tenure"),
        F.exp(F.lit(3.55) + F.lit(0.4) * logit(plan.draw("mean amount", "customer_id"))).alias("mean_amount"),
        # Orders per customer fall with the root of the number, see `_customer_number`.
        F.ceil(F.lit(2.0 * CUSTOMERS**0.5) / F.sqrt(F.col("customer_id") + 1)).cast("int").alias("customer_activity"),
    )


def _customer_number(share: Column) -> Column:
    # A square: customer k has a share of orders near 1 / (2 sqrt(k * CUSTOMERS)), a heavy tail.
    return F.floor(share * share * F.lit(CUSTOMERS))


def _with_features(plan: Plan, orders: DataFrame) -> DataFrame:
    """Add every draw that depends on the kind."""
    kind, exposure = F.col("kind"), F.sqrt(F.col("customer_activity"))
    return orders.select(
        "*",
        AMOUNT_RATIO.draw(kind, plan.draw("amount")).alias("amount_over_customer_mean"),
        DISTANCE_KM.draw(kind, plan.draw("distance")).alias("distance_km"),
        DEVICE_AGE_DAYS.draw(kind, plan.draw("device")).alias("device_age_days"),
        SESSION_SECONDS.draw(kind, plan.draw("session")).alias("session_seconds"),
        ORDERS_LAST_24H.draw(kind, plan.draw("velocity"), exposure).cast("int").alias("orders_last_24h"),
        MORE_ITEMS.draw(kind, plan.draw("items"), F.lit(1.0)).cast("int").alias("more_items"),
        plan.day_law.draw(kind, plan.draw("day")).alias("day"),
        HOUR.draw(kind, plan.draw("hour")).alias("hour_of_day"),
        COUNTRY.draw(kind, plan.draw("country")).alias("country"),
        PAYMENT.draw(kind, plan.draw("payment")).alias("payment_method"),
        CHANNEL.draw(kind, plan.draw("channel")).alias("channel"),
        MERCHANT_CATEGORY.draw(kind, plan.draw("category")).alias("merchant_category"),
        DISTANCE_MISSING.draw(kind, plan.draw("no distance")).alias("no_distance"),
        DEVICE_MISSING.draw(kind, plan.draw("no device")).alias("no_device"),
        SESSION_MISSING.draw(kind, plan.draw("no session")).alias("no_session"),
        COUNTRY_MISSING.draw(kind, plan.draw("no country")).alias("no_country"),
        PAYMENT_MISSING.draw(kind, plan.draw("no payment")).alias("no_payment"),
    )


def _labelled(plan: Plan, orders: DataFrame) -> DataFrame:
    """Bayes' probabilities, the label drawn with them, and every column in its final form."""
    judged = orders.select("*", *[p.alias(name) for name, p in true_probabilities(plan).items()])
    seconds = F.col("day") * 86_400 + F.col("hour_of_day") * 3600 + F.floor(plan.draw("second") * 3600)
    amount = F.col("mean_amount") * F.col("amount_over_customer_mean")
    columns = {
        "order_id": F.col("order_id"),
        "customer_id": F.col("customer_id"),
        "merchant_id": F.col("merchant_category") * _MERCHANTS_PER_CATEGORY + _merchant_number(plan.draw("merchant")),
        "ordered_at": F.timestamp_seconds(F.lit(plan.start_seconds) + seconds),
        "amount": F.greatest(F.floor(amount * 100 + F.lit(0.5)) / 100, F.lit(0.01)),
        **label(plan),
        "amount_over_customer_mean": F.col("amount_over_customer_mean"),
        "items": F.col("more_items") + 1,
        "orders_last_24h": F.col("orders_last_24h"),
        "customer_activity": F.col("customer_activity"),
        "customer_age_days": _LONGEST_TENURE_DAYS * F.col("tenure") * F.col("tenure") + seconds / 86_400,
        "device_age_days": _unless(F.col("no_device"), F.col("device_age_days")),
        "distance_km": _unless(F.col("no_distance"), F.col("distance_km")),
        "session_seconds": _unless(F.col("no_session"), F.col("session_seconds")),
        "hour_of_day": F.col("hour_of_day"),
        "day_of_week": F.pmod(F.col("day") + plan.start.isoweekday(), F.lit(7)) + 1,
        "country": _unless(F.col("no_country"), lookup_text(COUNTRIES, F.col("country"))),
        "payment_method": _unless(F.col("no_payment"), lookup_text(PAYMENT_METHODS, F.col("payment_method"))),
        "channel": lookup_text(CHANNELS, F.col("channel")),
        "merchant_category": lookup_text(MERCHANT_CATEGORIES, F.col("merchant_category")),
        **{name: F.col(name) for name in true_probabilities(plan)},
    }
    return judged.select([column.alias(name) for name, column in columns.items()])


def _merchant_number(share: Column) -> Column:
    return F.floor(share * share * F.lit(_MERCHANTS_PER_CATEGORY))


def _unless(is_missing: Column, value: Column) -> Column:
    return F.when(~is_missing, value)
