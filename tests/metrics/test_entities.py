"""Top entities of each day, against a day-by-day pass over a table in pandas."""

import math

import numpy as np
import pandas as pd
import pytest

from imbalance_spark.metrics.entities import EntityDays, TopEntities, top_entities


def entity_days(frame: pd.DataFrame) -> EntityDays:
    """Rows of `day, entity, score, is_compromised`, one for each entity and day."""
    ordered = frame.sort_values(["day", "score"], ascending=[True, False])
    bad = frame[frame.is_compromised]
    days_of = {entity: np.sort(days.to_numpy()) for entity, days in bad.groupby("entity").day}
    return EntityDays(
        day=ordered.day.to_numpy(),
        entity=ordered.entity.to_numpy(),
        is_compromised=ordered.is_compromised.to_numpy(),
        positive_days=[days_of.get(entity, np.array([], dtype=np.int64)) for entity in ordered.entity],
        compromised=len(days_of),
        compromised_days=len(bad),
    )


def day_by_day(frame: pd.DataFrame, per_day: int, delay: int) -> TopEntities:
    """After Dal Pozzolo: each day without the cards whose fraud was found and is known by now."""
    found: dict[int, int] = {}
    flagged, hits, looked_at = 0, 0, 0
    for day in sorted(frame.day.unique()):
        known = [entity for entity, on in found.items() if on + delay < day]
        today = frame[(frame.day == day) & ~frame.entity.isin(known)]
        looked_at += int(today.is_compromised.sum())
        top = today.nlargest(per_day, "score")
        flagged += len(top)
        hits += int(top.is_compromised.sum())
        for entity in top.entity[top.is_compromised]:
            found.setdefault(entity, day)
    bad = frame[frame.is_compromised].groupby("entity").day.min()
    waits = [on - bad[entity] for entity, on in found.items()]
    return TopEntities(
        precision=hits / flagged,
        recall=hits / looked_at,
        caught=len(found) / len(bad),
        days_until_caught=float(np.mean(waits)),
    )


@pytest.mark.parametrize("delay", [0, 2, 30])
@pytest.mark.parametrize("per_day", [1, 5, 60])
def test_the_top_of_each_day_is_that_of_a_pass_over_the_days(per_day: int, delay: int) -> None:
    draw = np.random.default_rng(per_day + delay)
    frame = pd.DataFrame({"day": np.repeat(np.arange(20, 34), 80), "entity": draw.integers(0, 150, 14 * 80)})
    frame = frame.drop_duplicates()
    frame["is_compromised"] = (frame.entity < 25) & (draw.random(len(frame)) < 0.5)
    frame["score"] = draw.random(len(frame)) + 0.2 * frame.is_compromised
    found = top_entities(entity_days(frame), per_day=per_day, label_delay_days=delay)
    assert vars(found) == pytest.approx(vars(day_by_day(frame, per_day, delay)))


def test_an_entity_is_taken_out_when_its_label_is_known() -> None:
    rows = [(day, entity, score, entity == 1) for day in (1, 2, 3) for entity, score in ((1, 0.9), (2, 0.5))]
    frame = pd.DataFrame(rows, columns=["day", "entity", "score", "is_compromised"])
    # Entity 1 is flagged on day 1; known at once it makes room for entity 2 on days 2 and 3.
    at_once = top_entities(entity_days(frame), per_day=1)
    assert at_once == TopEntities(precision=1 / 3, recall=1.0, caught=1.0, days_until_caught=0.0)
    a_day_later = top_entities(entity_days(frame), per_day=1, label_delay_days=1)
    assert a_day_later == TopEntities(precision=2 / 3, recall=1.0, caught=1.0, days_until_caught=0.0)


def test_without_a_compromised_entity_there_is_no_recall() -> None:
    frame = pd.DataFrame({"day": [1, 1], "entity": [1, 2], "score": [0.9, 0.1], "is_compromised": [False, False]})
    found = top_entities(entity_days(frame), per_day=1)
    assert found.precision == 0.0
    assert all(math.isnan(value) for value in (found.recall, found.caught, found.days_until_caught))
