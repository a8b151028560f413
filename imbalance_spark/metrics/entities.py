"""Precision and recall at the top entities of each day, such as the cards that a team can call."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imbalance_spark.core.arrays import IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class EntityDays:
    """The entities of each day with the highest scores: each once a day, by its highest score, compromised or not.

    An entity is compromised on a day if one of its rows of that day is positive.

    Args:
        day: numbers of the days, ascending; within a day the highest score comes first.
        entity: a number for each entity.
        positive_days: for each row the days on which its entity is compromised, ascending; only read where it is so on
            the row's own day.
        compromised: entities that are compromised on any day, listed here or not.
        compromised_days: the same, counted once for each day.
    """

    day: IntArray
    entity: IntArray
    is_compromised: npt.NDArray[np.bool_]
    positive_days: Sequence[IntArray]
    compromised: int
    compromised_days: int


@dataclass(frozen=True, kw_only=True)
class TopEntities:
    """What flagging the top entities of each day gives; NaN where undefined.

    Args:
        precision: compromised ones among the flagged, over all days (card precision; Dal Pozzolo and others, 2018).
        recall: flagged ones among the compromised entity-days, without those of entities that were taken out before.
        caught: share of the compromised entities that were flagged while compromised.
        days_until_caught: mean number of days from an entity's first positive row to that, of those caught.
    """

    precision: float
    recall: float
    caught: float
    days_until_caught: float


def top_entities(days: EntityDays, *, per_day: int, label_delay_days: int = 0) -> TopEntities:
    """Flag the `per_day` entities of the highest score each day; those found compromised are taken out on later days.

    Args:
        days: of each day at least `per_day` entities more than can have been taken out, or all.
        label_delay_days: days until a flagged entity is known to be compromised; until then it may be flagged again.
    """
    found_on: dict[int, int] = {}
    flagged = hits = taken_out = waited = 0
    for day in np.unique(days.day).tolist():
        rows = np.flatnonzero(days.day == day)
        entities = days.entity[rows].tolist()
        is_left = [found_on.get(entity, day) + label_delay_days >= day for entity in entities]
        top = rows[np.array(is_left, dtype=bool)][:per_day]
        flagged += len(top)
        for row in top[days.is_compromised[top]].tolist():
            hits += 1
            entity, positive = int(days.entity[row]), days.positive_days[row]
            if entity not in found_on:
                found_on[entity] = day
                waited += day - int(positive[0])
                taken_out += int(np.count_nonzero(positive > day + label_delay_days))
    return TopEntities(
        precision=_share(hits, flagged),
        recall=_share(hits, days.compromised_days - taken_out),
        caught=_share(len(found_on), days.compromised),
        days_until_caught=_share(waited, len(found_on)),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
