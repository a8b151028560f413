"""Entities of each day on the cluster, against a table in pandas."""

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from imbalance_spark.calibration import PriorCorrection
from imbalance_spark.scoring.boosters import Candidate
from imbalance_spark.scoring.entity_days import collect_top, entity_day_scores, entity_days
from imbalance_spark.scoring.linear import LinearMargin, LinearModel

SIGNS = {"up": 1.0, "down": -1.0}
DAYS, PER_DAY = 6, 3


def candidate(name: str) -> Candidate:
    margin = LinearMargin(intercept=0.0, slopes=(SIGNS[name],), centres=(0.0,), categories=())
    model = LinearModel(margins=(margin,)).to_bytes()
    return Candidate(name=name, model_bytes=model, features=("x",), correction=PriorCorrection.identity())


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Orders of 40 cards in six days of two folds; one in ten has no card, and stands for itself."""
    draw, size = np.random.default_rng(5), 1200
    card = pd.array(draw.integers(0, 40, size), dtype="Int64")
    frame = pd.DataFrame({"order_id": np.arange(size), "card_id": card, "x_0": draw.normal(size=size)})
    frame.loc[draw.random(size) < 0.1, "card_id"] = pd.NA
    frame["y"] = ((frame.card_id.fillna(99) < 8) & (draw.random(size) < 0.3)).astype(int)
    frame["split"] = np.where(draw.random(size) < 0.7, "validation", "test")
    frame["ordered_at"] = pd.Timestamp("2024-03-01") + pd.to_timedelta(draw.integers(0, DAYS * 86_400, size), unit="s")
    return frame


def test_the_top_of_each_day_on_the_cluster_is_that_of_pandas(spark: SparkSession, rows: pd.DataFrame) -> None:
    names = list(SIGNS)
    inputs = spark.createDataFrame(rows).repartition(3)
    days = entity_days(
        inputs, [candidate(name) for name in names], key=["order_id"], entity="card_id", time="ordered_at"
    )
    found = collect_top(days.persist(), names, per_day=PER_DAY)
    scores = entity_day_scores(days, names, label_delay_days=1).toPandas()
    days.unpersist()
    named = rows.assign(
        entity=rows.card_id.astype(object).where(rows.card_id.notna(), "order " + rows.order_id.astype(str)),
        day=(rows.ordered_at.dt.normalize() - pd.Timestamp("1970-01-01")).dt.days,
    )
    for fold in ("validation", "test"):
        for name, sign in SIGNS.items():
            here = named[named.split == fold].assign(score=sign * named.x_0)
            expected = here.groupby(["day", "entity"]).agg(score=("score", "max"), bad=("y", "max")).reset_index()
            bad = expected[expected.bad == 1]
            top = found[fold][name]
            assert (top.compromised, top.compromised_days) == (bad.entity.nunique(), len(bad))
            limit = PER_DAY + min(PER_DAY * DAYS, top.compromised)
            for day, of_day in expected.groupby("day"):
                mine = np.flatnonzero(top.day == day)
                wanted = of_day.nlargest(len(mine), "score")
                assert len(mine) >= min(limit, len(of_day))
                assert top.is_compromised[mine].tolist() == (wanted.bad == 1).tolist()
                for row, entity in zip(mine, wanted.entity, strict=True):
                    if top.is_compromised[row]:
                        assert top.positive_days[row].tolist() == sorted(bad.day[bad.entity == entity])
            if fold == "validation":
                flagged, taken_out = (scores[(scores.model == name) & (scores.is_taken_out == k)] for k in (0, 1))
                assert len(taken_out) > 0
                for threshold in expected.score.quantile([0.11, 0.53, 0.87]):
                    p = 1.0 / (1.0 + np.exp(-threshold))
                    at = (flagged.score >= p).sum() - (taken_out.score >= p).sum()
                    assert at == entities_flagged(expected, threshold, delay=1)


def entities_flagged(by_day: pd.DataFrame, threshold: float, delay: int) -> int:
    """Entity-days of at least a score, day by day without those that were found and are known by then."""
    found: dict[object, int] = {}
    flagged = 0
    for day, entity, score, bad in by_day.sort_values("day")[["day", "entity", "score", "bad"]].itertuples(index=False):
        if score >= threshold and found.get(entity, day) + delay >= day:
            flagged += 1
            if bad:
                found.setdefault(entity, day)
    return flagged
