"""The kinds of orders, and the distribution of each feature under each kind.

The numbers are made up so that the task looks like card fraud: some fraud sits in a thin region of
feature space, some is heavy tailed, and some looks almost like honest orders. No figure is estimated
from anybody's data.
"""

import math
from datetime import date, timedelta

from imbalance_spark.orders.datasets.distributions import Categorical, Geometric, LogLogistic, Missing

COMPONENTS = ("regular", "unusual", "card_testing", "takeover", "friendly", "selection")
"""Kinds of orders: regular, unusual and selection ones are honest, the others are fraud. Card testing fills a
thin region (small, near-equal amounts in quick succession), account takeover has heavy tails, and
friendly fraud (the owner disputes a real order) overlaps with honest orders. A selection is ordered to send most of
it back; it occurs only in multi-class logs."""

IS_FRAUD = (False, False, True, True, True, False)

SHARE_WITHIN_CLASS = (0.94, 0.06, 0.30, 0.35, 0.35, 0.0)
"""Of honest orders and of fraud, where these are the two outcomes."""

OUTCOMES = ("ok", "late_return", "chargeback", "fraud")
"""The outcomes of a multi-class log, from the most frequent to the rarest."""

SHARE_WITHIN_OUTCOME = (
    (0.94, 0.06, 0.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    (0.0, 0.0, 0.0, 0.40, 0.60, 0.0),
    (0.0, 0.0, 0.46, 0.54, 0.0, 0.0),
)
"""Of each outcome the shares of the kinds. Takeovers end as fraud or, noticed by the owner first, as chargebacks: no
model can tell these apart."""

NUMERIC_FEATURES = (
    "amount",
    "amount_over_customer_mean",
    "items",
    "orders_last_24h",
    "customer_activity",
    "customer_age_days",
    "device_age_days",
    "distance_km",
    "session_seconds",
    "hour_of_day",
    "day_of_week",
)

CATEGORICAL_FEATURES = ("country", "payment_method", "channel", "merchant_category")
AMOUNT_RATIO = LogLogistic(location=(0.0, 1.0, -2.3, 1.5, 0.25, 0.75), scale=(0.42, 0.80, 0.03, 0.80, 0.45, 0.40))

DISTANCE_KM = LogLogistic(
    location=(2.5, 5.0, 3.0, 5.8, 2.6, 2.5), scale=(0.70, 0.80, 0.80, 0.70, 0.70, 0.70), ceiling=20_000.0
)

DEVICE_AGE_DAYS = LogLogistic(
    location=(5.3, 3.5, 1.5, 0.8, 5.1, 5.2), scale=(0.60, 0.90, 0.60, 0.90, 0.60, 0.60), ceiling=4000.0
)

SESSION_SECONDS = LogLogistic(location=(5.0, 5.2, 3.6, 4.2, 4.9, 5.6), scale=(0.35, 0.45, 0.35, 0.45, 0.35, 0.35))
DISTANCE_MISSING = Missing(share=(0.03, 0.05, 0.04, 0.06, 0.03, 0.03))
DEVICE_MISSING = Missing(share=(0.05, 0.08, 0.15, 0.12, 0.05, 0.05))
SESSION_MISSING = Missing(share=(0.02, 0.02, 0.02, 0.02, 0.02, 0.02))
COUNTRY_MISSING = Missing(share=(0.01, 0.01, 0.01, 0.01, 0.01, 0.01))
PAYMENT_MISSING = Missing(share=(0.005, 0.005, 0.005, 0.005, 0.005, 0.005))

ORDERS_LAST_24H = Geometric(mean=(0.10, 0.25, 0.90, 0.35, 0.12, 0.14))
"""Per unit of the square root of `customer_activity`."""

MORE_ITEMS = Geometric(mean=(1.3, 1.8, 0.1, 0.8, 1.5, 4.5))
COUNTRIES = ("DE", "FR", "NL", "ES", "IT", "PL", "AT", "US", "GB", "CN")

COUNTRY = Categorical(
    weights=(
        (34, 18, 12, 9, 8, 7, 6, 3, 2, 1),
        (20, 15, 10, 10, 9, 8, 5, 12, 7, 4),
        (18, 14, 9, 8, 8, 8, 4, 16, 8, 7),
        (14, 11, 8, 9, 9, 9, 4, 18, 9, 9),
        (33, 18, 11, 9, 9, 7, 6, 4, 2, 1),
        (40, 15, 12, 7, 8, 6, 8, 2, 1, 1),
    )
)

PAYMENT_METHODS = ("card", "wallet", "invoice", "transfer", "voucher")

PAYMENT = Categorical(
    weights=(
        (48, 27, 16, 7, 2),
        (52, 28, 11, 5, 4),
        (88, 6, 1, 0.5, 4.5),
        (55, 20, 9, 2, 14),
        (58, 22, 16, 2, 2),
        (22, 18, 54, 5, 1),
    )
)

CHANNELS = ("web", "app", "phone")
CHANNEL = Categorical(weights=((55, 41, 4), (60, 34, 6), (85, 14, 1), (66, 28, 6), (54, 42, 4), (42, 56, 2)))
MERCHANT_CATEGORIES = ("grocery", "fashion", "home", "electronics", "travel", "gift_cards", "games")

MERCHANT_CATEGORY = Categorical(
    weights=(
        (30, 24, 17, 12, 7, 3, 7),
        (12, 20, 18, 22, 19, 4, 5),
        (5, 8, 5, 10, 2, 25, 45),
        (4, 12, 8, 36, 14, 20, 6),
        (14, 34, 14, 22, 6, 3, 7),
        (2, 68, 16, 9, 2, 1, 2),
    )
)

_DAYTIME = (4, 2, 1, 1, 1, 2, 5, 12, 22, 32, 38, 40, 42, 40, 38, 38, 42, 50, 60, 68, 66, 50, 28, 12)
_SHIFTED = (10, 8, 6, 5, 4, 5, 8, 14, 20, 26, 30, 32, 34, 34, 34, 34, 36, 40, 44, 46, 44, 36, 26, 16)
_NIGHT = (36, 40, 44, 44, 40, 32, 22, 16, 14, 16, 18, 18, 18, 18, 18, 18, 18, 20, 22, 24, 26, 28, 30, 34)
HOUR = Categorical(weights=(_DAYTIME, _SHIFTED, _NIGHT, _NIGHT, _DAYTIME, _DAYTIME))
_WEEKDAY = (1.00, 0.96, 0.96, 1.00, 1.08, 1.12, 0.92)  # from Monday
_DRIFT = 0.6  # the fraud rate ends (1 + d/2) / (1 - d/2) = 1.86 times as high as it began


def day_law(start: date, days: int) -> Categorical:
    """The day of an order, from 0: weekday and season for all kinds, a slow rise for fraud."""
    honest = tuple(_day_weight(start + timedelta(days=day)) for day in range(days))
    fraud = tuple(round(weight * _drift(day, days), 6) for day, weight in enumerate(honest))
    return Categorical(weights=tuple(fraud if is_fraud else honest for is_fraud in IS_FRAUD))


def _day_weight(day: date) -> float:
    # Busiest in the middle of December; rounded, since cos may differ in its last digit between machines.
    season = 1.0 + 0.3 * math.cos(2.0 * math.pi * (day.timetuple().tm_yday - 349) / 365.25)
    return round(season * _WEEKDAY[day.weekday()], 6)


def _drift(day: int, days: int) -> float:
    return 1.0 + _DRIFT * ((day + 0.5) / days - 0.5)
