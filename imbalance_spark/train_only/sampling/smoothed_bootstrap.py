"""Copies moved by a little noise: the smoothed bootstrap (Menardi and Torelli, 2014)."""

from collections.abc import Mapping, Sequence

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from imbalance_spark.class_counts import Label, collect_per_class, of_class
from imbalance_spark.frames import col
from imbalance_spark.train_only.guard import leakage_errors
from imbalance_spark.train_only.sampling.synthetic_draws import uniform_draw


def perturbed(
    copies: DataFrame, originals: DataFrame, *, label: str, features: Sequence[str], shrinkage: Mapping[Label, float],
    rows: int, is_copy: Column, hashed: Column, copy_number: Column, seed: str, stage: str,
) -> DataFrame:  # fmt: skip
    """The rows, each copy's features moved by shrinkage x h x (its class's standard deviation) x a standard normal.

    h = (4 / ((features + 2) rows)) ** (1 / (features + 4)), with the rows of all classes, as in imbalanced-learn.
    Integers are rounded half to even; a null stays null. One pass for the deviations; lazy.
    """
    width = len(features)
    h = (4.0 / ((width + 2) * rows)) ** (1.0 / (width + 4))
    spreads = {f"spread_{i}": F.stddev_pop(col(name).cast("double")) for i, name in enumerate(features)}
    with leakage_errors():
        found = collect_per_class(originals, label, stage, spreads)
    moved = {}
    for i, name in enumerate(features):
        scale = {k: float(f"{shrinkage.get(k, 0.0) * h * (row[f'spread_{i}'] or 0.0):.6g}") for k, row in found.items()}
        noise = of_class(label, scale, 0.0) * _normal(f"{seed}/{i}", hashed, copy_number)
        value = col(name).cast("double") + noise
        kept = copies.schema[name].dataType
        new = (F.rint(value) if isinstance(kept, T.IntegralType) else value).cast(kept)
        moved[name] = F.when(is_copy, new).otherwise(col(name))
    return copies.select(*[moved[name].alias(name) if name in moved else col(name) for name in copies.columns])


def _normal(seed: str, *numbers: Column) -> Column:
    """A standard normal from two uniform draws (Box and Muller, 1958)."""
    radius = F.sqrt(-2.0 * F.log(1.0 - uniform_draw(seed, "radius", *numbers)))
    return radius * F.cos(2.0 * np.pi * uniform_draw(seed, "angle", *numbers))
