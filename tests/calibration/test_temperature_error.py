"""A temperature is taken where it is better beyond chance, also of rows that depend on each other."""

import numpy as np
import pytest

from imbalance_spark.calibration.temperature import choose_temperatures, loss_sums

SAMPLES = 60


def taken(repeated: int) -> float:
    """In what share of samples a model that is right already is calibrated; each row comes several times."""
    draw, found = np.random.default_rng(5), 0
    for _ in range(SAMPLES):
        logs = np.log(draw.dirichlet((1.0, 1.0, 1.0), 400))
        label = (draw.random(400)[:, None] > np.exp(logs).cumsum(axis=1)).sum(axis=1)
        bucket, times = draw.integers(0, 64, 400), np.full(400, repeated)
        rows = [np.repeat(column, times, axis=0) for column in (logs, label, bucket)]
        chosen = choose_temperatures({"right": loss_sums(*rows, np.ones(400 * repeated))})["right"]
        found += chosen.temperature != 1.0
    return found / SAMPLES


@pytest.mark.parametrize("repeated", [1, 10])
def test_a_right_model_is_calibrated_seldom_however_often_its_rows_come(repeated: int) -> None:
    # One standard error, on one side: 16 % of samples.
    assert taken(repeated) < 0.3
