"""Sums of linear models against the models that they are of."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imbalance_spark.scoring.boosters import contributions, load_booster, sum_of_models
from imbalance_spark.scoring.linear import LinearMargin, LinearModel

SLOPES = st.one_of(st.just(0.0), st.floats(0.01, 5.0), st.floats(-5.0, -0.01))
MARGINS = st.builds(
    LinearMargin,
    intercept=st.floats(-5.0, 5.0),
    slopes=st.tuples(SLOPES, SLOPES),
    centres=st.tuples(st.floats(-9.0, 9.0), st.floats(-9.0, 9.0)),
    categories=st.tuples(st.lists(st.floats(-3.0, 3.0), max_size=4).map(tuple)),
)


def rows() -> np.ndarray:
    draw = np.random.default_rng(5)
    x = np.column_stack([draw.normal(0.0, 3.0, 200), draw.normal(1.0, 1.0, 200), draw.integers(0, 6, 200)])
    x[draw.random(x.shape) < 0.2] = np.nan
    return x.astype(np.float32)


@given(st.integers(1, 3).flatmap(lambda k: st.lists(st.lists(MARGINS, min_size=k, max_size=k), min_size=1, max_size=4)))
def test_a_sum_has_a_multiple_of_the_margins_of_present_rows(members: list[list[LinearMargin]]) -> None:
    models, x = [LinearModel(margins=tuple(margins)) for margins in members], rows()
    found = load_booster(sum_of_models([model.to_bytes() for model in models], 0.5))
    expected = 0.5 * np.sum([model.inplace_predict(x) for model in models], axis=0)
    slopes = np.array([[margin.slopes for margin in model.margins] for model in models])
    # Slopes that all but cancel each other have no centre that a float could hold.
    if (np.abs(slopes.sum(axis=0)) > 1e-3).all() or len(models) == 1:
        np.testing.assert_allclose(found.inplace_predict(x), expected, atol=1e-9)
        decided = np.zeros(len(x), dtype=np.int64)
        np.testing.assert_allclose(contributions(found, x, decided).sum(axis=1), expected.reshape(len(x), -1)[:, 0])
