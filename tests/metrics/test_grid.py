import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.metrics.grid import INVALID_SCORE, LogitGrid

GRIDS = [LogitGrid(), LogitGrid(bins=1000, bound=12.5), LogitGrid(bins=2, bound=1.0), LogitGrid(bins=257, bound=30.0)]


def edge_scores(grid: LogitGrid) -> np.ndarray:
    """Every bin's lowest score with the doubles beside it, and scores at and beyond the ends."""
    lowest = grid.lower(np.arange(grid.bins))
    ends = [0.0, -0.0, 5e-324, 1e-310, 1e-300, 1e-20, 0.5, 1 - 2.0**-53, 1.0]
    return np.concatenate([lowest, np.nextafter(lowest, 1), np.nextafter(lowest[1:], 0), ends])


@pytest.mark.parametrize("grid", GRIDS)
def test_lower_is_exactly_the_lowest_score_of_its_bin(grid: LogitGrid) -> None:
    bins = np.arange(grid.bins)
    lowest = grid.lower(bins)
    assert np.array_equal(grid.bin_of(lowest), bins)
    assert np.array_equal(grid.bin_of(np.nextafter(lowest[1:], 0.0)), bins[:-1])


@pytest.mark.parametrize("grid", GRIDS)
def test_the_value_of_a_bin_lies_in_it(grid: LogitGrid) -> None:
    assert np.array_equal(grid.bin_of(grid.value(np.arange(grid.bins))), np.arange(grid.bins))


@settings(max_examples=60)
@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.sampled_from(GRIDS))
def test_bins_rise_with_the_score(one: float, other: float, grid: LogitGrid) -> None:
    low, high = grid.bin_of(sorted([one, other]))
    assert 0 <= low <= high < grid.bins


@settings(max_examples=60)
@given(st.floats(0.0, 1.0), st.integers(0, 65_535))
def test_a_score_at_or_above_a_cut_off_is_in_its_bin_or_above(score: float, cut: int) -> None:
    grid = GRIDS[0]
    assert (score >= grid.lower(cut)) == (grid.bin_of(score) >= cut)


def test_scores_that_are_no_probability_have_no_bin() -> None:
    assert GRIDS[0].bin_of([np.nan, -1e-9, 1.0000001, np.inf, -np.inf]).tolist() == [INVALID_SCORE] * 5


def test_the_ends_take_what_lies_beyond() -> None:
    assert GRIDS[0].bin_of([0.0, 1e-200, 1.0]).tolist() == [0, 0, 65_535]


def test_spark_and_numpy_agree_on_every_edge_and_the_doubles_beside_it(spark: SparkSession) -> None:
    for grid in GRIDS[:2]:
        scores = np.concatenate([edge_scores(grid), [np.nan, -0.1, 1.1], np.random.default_rng(7).random(20_000)])
        frame = spark.createDataFrame(pa.table({"score": scores}))
        found = frame.select("score", grid.bin_column(F.col("score")).alias("bin")).toArrow()
        assert np.array_equal(found["bin"].to_numpy(), grid.bin_of(found["score"].to_numpy()))


def test_spark_bins_float_scores_by_their_double_and_null_as_invalid(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(0.1,), (None,)], "score float")
    found = [row.bin for row in frame.select(GRIDS[0].bin_column(F.col("score")).alias("bin")).collect()]
    assert found == [GRIDS[0].bin_of(np.float32(0.1)), INVALID_SCORE]


def test_a_grid_is_pickled_without_its_tables() -> None:
    GRIDS[0].lower(1)
    assert len(pickle.dumps(GRIDS[0])) < 200
    assert pickle.loads(pickle.dumps(GRIDS[0])) == GRIDS[0]


BAD = [{"bins": 1}, {"bins": 1 << 21}, {"bound": 0.0}, {"bound": 40.0}, {"bound": 36.0}, {"bound": float("nan")}]


@pytest.mark.parametrize("bad", BAD)
def test_a_grid_that_cannot_be_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="LogitGrid"):
        LogitGrid(**bad)  # type: ignore[arg-type]
