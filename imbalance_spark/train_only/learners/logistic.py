"""Logistic regression of Spark ML, of two or more classes, as a linear model that is scored like a booster."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.columns import FEATURES_PER_SCAN, IS_EARLY_STOPPING, col, in_scans, require_columns
from imbalance_spark.core.errors import TrainingError
from imbalance_spark.core.spark_errors import training_error
from imbalance_spark.orders.model_inputs import LABEL, feature_column
from imbalance_spark.scoring.boosters import LinearMargin, LinearModel
from imbalance_spark.train_only.learners.xgboost import FittedBooster

_INPUTS = "inputs"
_TOLERANCE = 1e-8  # of the loss between iterations; at the default of 1e-6 slopes have three digits


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """Mean and standard deviation of each numeric feature, and how many codes each categorical one has."""

    means: tuple[float, ...]
    deviations: tuple[float, ...]
    """1 where a feature has one value or none."""
    codes: tuple[int, ...]


def fit_logistic(
    table: DataFrame,
    *,
    features: Sequence[str],
    numeric: int,
    classes: int,
    weight_col: str | None,
    reg_param: float,
    max_iter: int,
    strategy: str,
) -> FittedBooster:
    """Fit on the rows outside the early-stopping set, which the method has no use for.

    Two classes have one margin, more have one each (multinomial regression). A number counts in standard deviations
    from its mean, both over the rows to fit on and without weights; a missing one counts as the mean. A category is an
    indicator of its own; a missing one, or one that training lacked, is none of them. The loss is the weighted mean log
    loss + `reg_param` / 2 times the squared slopes of these inputs; the intercepts are not penalised. scikit-learn
    calls 1 / (reg_param * sum of weights) C.

    Passes over `table`: one for every 200 features to scale them, and two of Spark's, which then keeps the rows in
    memory or on disk for its iterations. Up to the last digits of sums the result does not depend on the layout.

    Args:
        table: `x_0..` (null is missing), `y` (class number from 0), `is_early_stopping`; each class has rows to fit on.
        features: real names of `x_0..`; the first `numeric` ones are numbers, the others codes of categories.
        classes: how many there are.
        weight_col: weight of a row, > 0; None weighs all alike.
        strategy: name for messages.
    Returns:
        The model's bytes are a `LinearModel`'s. Its learning curve is the loss above after each iteration.
    Raises:
        MissingColumnsError: an input column is absent.
        TrainingError: the fit failed, or found no finite numbers.
    """
    inputs = [feature_column(i) for i in range(len(features))]
    weights = [] if weight_col is None else [weight_col]
    require_columns(table, [*inputs, LABEL, IS_EARLY_STOPPING, *weights], "fit_logistic")
    try:
        rows = table.where(~col(IS_EARLY_STOPPING))
        scale = _scale(rows, inputs[:numeric], inputs[numeric:])
        family = "binomial" if classes == 2 else "multinomial"
        model = _fit(_assembled(rows, inputs, scale, weights), weight_col, reg_param, max_iter, family)
        losses = [float(loss) for loss in model.summary.objectiveHistory]
    except Exception as error:
        raise training_error(error, strategy) from error
    by_class = zip(model.coefficientMatrix.toArray(), model.interceptVector.toArray(), strict=True)
    linear = LinearModel(margins=tuple(_margin(list(slopes), float(start), scale) for slopes, start in by_class))
    found = [number for margin in linear.margins for number in (margin.intercept, *margin.slopes)]
    if not all(map(math.isfinite, (*losses, *found))):
        raise TrainingError(
            f"training of strategy {strategy!r}: the regression found no finite numbers. Raise its reg_param."
        )
    rounds = max(len(losses) - 1, 1)  # the first one is the loss before any iteration
    return FittedBooster(
        model_bytes=linear.to_bytes(),
        features=tuple(features),
        best_iteration=rounds - 1,
        rounds_run=rounds,
        learning_curve={"training": tuple(losses[-rounds:])},
        num_workers=1,
        params={"reg_param": reg_param, "max_iter": max_iter},
    )


def passes_of_fit(features: int) -> int:
    """How often `fit_logistic` reads its table."""
    return math.ceil(features / FEATURES_PER_SCAN) + 2


def _scale(rows: DataFrame, numeric: Sequence[str], categorical: Sequence[str]) -> _Scale:
    found: dict[str, Any] = {}
    for part in in_scans([*numeric, *categorical]):
        summaries = [_summaries(name) if name in numeric else [F.max(_present(name)).alias(name)] for name in part]
        [row] = rows.agg(*[summary for pair in summaries for summary in pair]).collect()
        found |= row.asDict()
    return _Scale(
        means=tuple(found[name] or 0.0 for name in numeric),
        deviations=tuple(found[f"{name}_deviation"] or 1.0 for name in numeric),
        codes=tuple(0 if found[name] is None else int(found[name]) + 1 for name in categorical),
    )


def _summaries(name: str) -> list[Column]:
    return [F.avg(_present(name)).alias(name), F.stddev_pop(_present(name)).alias(f"{name}_deviation")]


def _present(name: str) -> Column:
    # A learner may tell null from NaN; here both are a missing value.
    return F.nanvl(col(name).cast("double"), F.lit(None).cast("double"))


def _assembled(rows: DataFrame, inputs: Sequence[str], scale: _Scale, others: Sequence[str]) -> DataFrame:
    """Label, weight and one vector of scaled numbers and indicators. Lazy, in the JVM alone."""
    from pyspark.ml.feature import OneHotEncoder, VectorAssembler

    numbers, codes = inputs[: len(scale.means)], inputs[len(scale.means) :]
    scaled = [
        F.coalesce((_present(name) - mean) / deviation, F.lit(0.0)).alias(name)
        for name, mean, deviation in zip(numbers, scale.means, scale.deviations, strict=True)
    ]
    # Spark learns from the metadata how many codes there are, without a pass; the last one has no indicator.
    known = {name: count for name, count in zip(codes, scale.codes, strict=True) if count}
    coded = [
        F.coalesce(_present(name), F.lit(float(count))).alias(name, metadata=_nominal(count + 1))
        for name, count in known.items()
    ]
    frame = rows.select(col(LABEL).cast("double").alias(LABEL), *[col(name) for name in others], *scaled, *coded)
    indicators = [f"{name}_indicator" for name in known]
    if known:
        frame = OneHotEncoder(inputCols=list(known), outputCols=indicators, dropLast=True).fit(frame).transform(frame)
    assembler = VectorAssembler(inputCols=[*numbers, *indicators], outputCol=_INPUTS)
    return assembler.transform(frame).select(LABEL, *[col(name) for name in others], _INPUTS)


def _nominal(values: int) -> dict[str, Any]:
    return {"ml_attr": {"type": "nominal", "num_vals": values}}


def _fit(rows: DataFrame, weight_col: str | None, reg_param: float, max_iter: int, family: str) -> Any:
    from pyspark.ml.classification import LogisticRegression

    estimator = LogisticRegression(
        featuresCol=_INPUTS, labelCol=LABEL, family=family, standardization=False, tol=_TOLERANCE,
        regParam=reg_param, maxIter=max_iter,
    )  # fmt: skip
    return (estimator if weight_col is None else estimator.setWeightCol(weight_col)).fit(rows)


def _margin(coefficients: Sequence[float], intercept: float, scale: _Scale) -> LinearMargin:
    """A class's regression on features as they are, not scaled."""
    numbers, rest = coefficients[: len(scale.means)], iter(coefficients[len(scale.means) :])
    return LinearMargin(
        intercept=intercept,
        slopes=tuple(float(slope) / width for slope, width in zip(numbers, scale.deviations, strict=True)),
        centres=scale.means,
        categories=tuple(tuple(float(next(rest)) for _ in range(count)) for count in scale.codes),
    )
