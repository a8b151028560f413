import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from sklearn import metrics as sk

from imbalance_spark.core.errors import ConfigError, DataContractError
from imbalance_spark.metrics import DEFAULT_GRID, Curve, LogitGrid, ScoreCounts, collect_score_counts
from imbalance_spark.metrics.binning import slotted_rows
from imbalance_spark.metrics.recount import recount_scores

COARSE = LogitGrid(bins=64, bound=8.0)
COLUMNS = {"score": "score", "label": "label", "weight": "weight", "amount": "amount"}


def sample(rows: int, seed: int = 7) -> pd.DataFrame:
    """Scores with ties, all over the grid, of which some lie on edges of bins or are 0 or 1."""
    draw = np.random.default_rng(seed)
    score = 1 / (1 + np.exp(-draw.normal(-3, 2, rows)))
    label = (draw.random(rows) < score).astype(int)
    score[: rows // 4] = score[: rows // 4].round(2)
    score[rows // 4 : rows // 3] = COARSE.lower(draw.integers(0, 64, rows // 3 - rows // 4))
    score[:2] = 1.0
    weight, amount = draw.choice([0.0, 0.5, 1.0, 3.0], rows), draw.integers(0, 100, rows).astype(float)
    return pd.DataFrame({"score": score, "label": label, "weight": weight, "amount": amount})


def frame_of(spark: SparkSession, rows: pd.DataFrame) -> DataFrame:
    return spark.createDataFrame(pa.Table.from_pandas(rows, preserve_index=False))


def assert_same(one: ScoreCounts, other: ScoreCounts) -> None:
    assert one.grid == other.grid
    for name, values in vars(other).items():
        if name != "grid":
            np.testing.assert_allclose(getattr(one, name), values, rtol=1e-12)


def test_few_rows_are_counted_by_score_whatever_the_layout(spark: SparkSession) -> None:
    rows = sample(2000)
    wanted = ScoreCounts.from_arrays(*(rows[name] for name in ("label", "score", "weight", "amount")))
    for frame in (frame_of(spark, rows), frame_of(spark, rows.sample(frac=1.0, random_state=1)).repartition(5)):
        assert_same(collect_score_counts(frame, **COLUMNS, grid=COARSE), wanted)


def test_one_score_a_bin_is_exact_however_many_rows_there_are(spark: SparkSession) -> None:
    rows = sample(2000).assign(score=lambda frame: frame["score"].round(1))
    found = collect_score_counts(frame_of(spark, rows), score="score", label="label", grid=COARSE, exact_limit=1)
    assert_same_without_amounts(found, ScoreCounts.from_arrays(rows["label"], rows["score"]))


def assert_same_without_amounts(one: ScoreCounts, other: ScoreCounts) -> None:
    assert one.grid is other.grid is None
    assert one.positive_amount is None
    for name in ("score", "threshold", "positives", "negatives", "positive_weight", "negative_weight"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_more_rows_than_the_limit_stay_in_bins_and_a_limit_of_0_keeps_them_there(spark: SparkSession) -> None:
    rows = sample(2000)
    wanted = ScoreCounts.from_arrays(
        *(rows[name] for name in ("label", "score", "weight", "amount")), grid=COARSE, exact_limit=0
    )
    for limit in (0, 1000):
        assert_same(collect_score_counts(frame_of(spark, rows), **COLUMNS, grid=COARSE, exact_limit=limit), wanted)


@pytest.mark.parametrize("weight", ["weight", None])
def test_an_exact_recount_closes_the_bracket_on_scikit_learns_value(spark: SparkSession, weight: str | None) -> None:
    rows = sample(4000).query("label == 0 or index % 3 == 0")
    columns = {**COLUMNS, "weight": weight}
    counts = collect_score_counts(frame_of(spark, rows), **columns, grid=COARSE, exact=True, exact_limit=400)
    weights = None if weight is None else rows[weight]
    curve = counts.curve()
    assert counts.grid == COARSE
    assert len(counts.score) < rows["score"].nunique()
    for bracket, exact in (
        (curve.average_precision_bracket(), sk.average_precision_score),
        (curve.roc_auc_bracket(), sk.roc_auc_score),
    ):
        wanted = exact(rows["label"], rows["score"], sample_weight=weights)
        assert (bracket.low, bracket.value, bracket.high) == pytest.approx((wanted,) * 3, abs=1e-12)
    whole = ScoreCounts.from_arrays(rows["label"], rows["score"], weights, rows["amount"])
    assert counts.positives.sum() == whole.positives.sum()
    assert counts.negatives.sum() == whole.negatives.sum()
    assert counts.positive_amount.sum() == pytest.approx(whole.positive_amount.sum())
    assert counts.negative_amount.sum() == pytest.approx(whole.negative_amount.sum())
    for threshold in rows.loc[rows["label"] == 1, "score"].unique():
        assert vars(curve.at(threshold)) == pytest.approx(vars(whole.curve().at(threshold)))
    assert_same(ScoreCounts.from_records(json.loads(json.dumps(counts.to_records()))), counts)


def test_more_positives_than_the_limit_are_refused(spark: SparkSession) -> None:
    with pytest.raises(ConfigError, match=r"scores of [0-9]+ positives, more than exact_limit=10"):
        collect_score_counts(frame_of(spark, sample(2000)), **COLUMNS, grid=COARSE, exact=True, exact_limit=10)


def test_rows_that_change_between_two_passes_are_refused(spark: SparkSession) -> None:
    columns = {"score": "score", "label": "label", "weight": None, "amount": None, "by": (), "grid": COARSE}
    rows = slotted_rows(frame_of(spark, sample(200)), **columns)
    counted = pd.DataFrame({"bin": [20], "label": [0], "n": [10_000], "weight": [1.0], "amount": [1.0]})
    with pytest.raises(DataContractError, match="the first one 10000"):
        recount_scores(rows, counted.assign(lowest=0.1, highest=0.2), np.array([20]))


def test_a_design_weighted_sample_of_the_negatives_is_unbiased() -> None:
    rows, keep, seeds = sample(4000), 0.1, 2000
    label, score = rows["label"].to_numpy(), rows["score"].to_numpy()
    whole = ScoreCounts.from_arrays(label, score).curve()
    curves = [sampled_curve(label, score, keep, seed) for seed in range(seeds)]
    exact = np.array([[curve.negatives, curve.at(0.3).fp, curve.at(0.3).tp] for curve in curves])
    wanted = np.array([whole.negatives, whole.at(0.3).fp, whole.at(0.3).tp])
    # A sum of Bernoulli draws, each weighted 1 / keep, has variance n (1 - keep) / keep; positives have none.
    error = np.sqrt(np.array([whole.negatives, whole.at(0.3).fp, 0.0]) * (1 - keep) / keep / seeds)
    assert np.all(np.abs(exact.mean(axis=0) - wanted) <= 4.0 * error)
    # Ratios of such sums have a bias of the order of 1 / rows.
    assert np.mean([curve.roc_auc() for curve in curves]) == pytest.approx(whole.roc_auc(), abs=1e-3)
    assert np.mean([curve.average_precision() for curve in curves]) == pytest.approx(
        whole.average_precision(), rel=0.02
    )


def sampled_curve(label: np.ndarray, score: np.ndarray, keep: float, seed: int) -> Curve:
    """All positives, and the negatives whose hash of row number and seed is low, with the inverse of that share."""
    hashed = pd.util.hash_array(np.arange(len(label)) + seed * 1_000_003) / 2.0**64
    kept = (label == 1) | (hashed < keep)
    weight = np.where(label == 1, 1.0, 1.0 / keep)
    return ScoreCounts.from_arrays(label[kept], score[kept], weight[kept]).curve()


def test_rows_without_weights_or_amounts_that_share_one_bin_are_counted_by_score(spark: SparkSession) -> None:
    rows = pd.DataFrame({"score": [0.5001, 0.5002, 0.5001, 0.5003], "label": [1, 0, 0, 1]})
    grid = LogitGrid(bins=2, bound=8.0)
    found = collect_score_counts(frame_of(spark, rows), score="score", label="label", grid=grid)
    assert_same_without_amounts(found, ScoreCounts.from_arrays(rows["label"], rows["score"]))
    with pytest.raises(ConfigError, match="2 positives"):
        collect_score_counts(frame_of(spark, rows), score="score", label="label", grid=grid, exact=True, exact_limit=1)
    closed = collect_score_counts(
        frame_of(spark, rows), score="score", label="label", grid=grid, exact=True, exact_limit=3
    )
    assert closed.curve().roc_auc() == sk.roc_auc_score(rows["label"], rows["score"])


def test_scores_on_edges_and_the_doubles_beside_them_are_in_the_bins_of_numpy(spark: SparkSession) -> None:
    edges = DEFAULT_GRID.lower(np.random.default_rng(5).integers(1, DEFAULT_GRID.bins, 3000))
    score = np.concatenate([edges, np.nextafter(edges, 0.0), np.nextafter(edges, 1.0), [0.0, 1.0, 5e-324]])
    rows = pd.DataFrame({"score": score, "label": np.arange(len(score)) % 2})
    found = collect_score_counts(frame_of(spark, rows), score="score", label="label", exact_limit=0)
    wanted = ScoreCounts.from_arrays(rows["label"], score, exact_limit=0)
    for name in ("score", "positives", "negatives"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
