"""A network with random numbers, and rows for it: two numbers, one category of four values."""

from itertools import pairwise

import numpy as np

from imbalance_spark.scoring.network import NetworkModel


def random_network(outputs: int = 1, seed: int = 0) -> NetworkModel:
    draw = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return draw.normal(size=shape).astype(np.float32)

    sizes = (2 * 2 + 3, 6, 5, outputs)
    layers = tuple((normal(out, given), normal(out)) for given, out in pairwise(sizes))
    return NetworkModel(
        centres=np.array([100.0, -1.0]), widths=np.array([20.0, 0.5]), tables=(normal(5, 3),), layers=layers
    )


def rows_of_network(rows: int, seed: int = 1) -> np.ndarray:
    """Numbers, outliers, missing values, and codes, one of which the network has not seen."""
    draw = np.random.default_rng(seed)
    x = np.column_stack([draw.normal(100.0, 20.0, rows), draw.normal(-1.0, 0.5, rows), draw.integers(0, 6, rows)])
    x[draw.random(rows) < 0.1, 0] = 1e30
    x[draw.random(x.shape) < 0.1] = np.nan
    return x.astype(np.float32)
