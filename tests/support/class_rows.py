"""Rows of three classes as a model reads them, with known probabilities."""

import numpy as np
import pandas as pd

CLASSES = ("ok", "late", "fraud")
FEATURES = ("amount", "hour", "items", "noise")


def truth(x: np.ndarray) -> np.ndarray:
    """P(class | features): some 90 %, 8 % and 2 %."""
    margin = np.column_stack([np.zeros(len(x)), -3.2 + 1.2 * x[:, 1], -5.5 + 1.8 * x[:, 0] + x[:, 1] * x[:, 2]])
    shares = np.exp(margin)
    return shares / shares.sum(axis=1, keepdims=True)


def class_rows(rows: int, seed: int, split: str = "train") -> pd.DataFrame:
    """One value in twenty is missing; a fifth is the slice."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, len(FEATURES)))
    y = (draw.random(rows)[:, None] > truth(x).cumsum(axis=1)).sum(axis=1).clip(max=2)
    x[draw.random(x.shape) < 0.05] = np.nan
    frame = pd.DataFrame({"order_id": np.arange(rows) + 1_000_000 * seed, "split": split, "y": y.astype(np.int32)})
    frame["is_early_stopping"] = draw.random(rows) < 0.2
    frame["row_weight"] = draw.uniform(0.5, 2.0, rows)
    for i in range(len(FEATURES)):
        frame[f"x_{i}"] = x[:, i]
    return frame
