"""Logistic regression of Spark ML as a learner: a linear model that is scored like a booster."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from imbalance_spark.core.class_counts import of_class
from imbalance_spark.core.columns import FEATURES_PER_SCAN, IS_EARLY_STOPPING, col, in_scans, require_columns
from imbalance_spark.core.errors import TrainingError
from imbalance_spark.core.section import Section
from imbalance_spark.core.spark_errors import training_error
from imbalance_spark.orders.model_inputs import LABEL, feature_column
from imbalance_spark.scoring.linear import LinearMargin, LinearModel
from imbalance_spark.train_only.config import BoosterParams, EngineName
from imbalance_spark.train_only.learners.engine import FitRequest
from imbalance_spark.train_only.learners.learner import Asked, Learner
from imbalance_spark.train_only.learners.xgboost import FittedBooster

_WEIGHT = "logistic_weight"
_INPUTS = "inputs"
_TOLERANCE = 1e-8  # of the loss between iterations; at the default of 1e-6 slopes have three digits


class LogisticParams(Section):
    """Parameters of the logistic regression.

    Args:
        reg_param: weight of the penalty of slopes.
        elastic_net_param: share of it that is of absolute slopes (lasso), the rest is of squared ones (ridge).
        max_iter: most iterations.
    """

    reg_param: Annotated[float, Field(ge=0.0, le=1e6)] = 1e-4
    elastic_net_param: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    max_iter: Annotated[int, Field(ge=1, le=100_000)] = 100


class Logistic(Learner):
    """Logistic regression (of more than two classes multinomial) on scaled features, by Spark ML."""

    name = "logistic"
    package = "pyspark"
    own_params = LogisticParams
    without_meaning = frozenset(BoosterParams.model_fields)
    is_trees = False

    def passes(self, features: int, engine: EngineName) -> int:
        """Those of Spark's logistic regression."""
        return passes_of_fit(features)

    def problems(self, asked: Asked) -> Iterator[str]:
        """What a convex loss without bins cannot do."""
        yield from super().problems(asked)
        if asked.is_focal:
            yield (
                f"strategy {asked.strategy!r}: logistic has no loss but cross-entropy, and {asked.kind} is another: "
                "use class_weight, or learner xgboost"
            )
        if asked.is_by_cuts or asked.has_cuts:
            yield (
                f"strategy {asked.strategy!r}: logistic has no histogram cuts, which {asked.kind} is asked to choose: "
                "leave cuts out, or use class_weight"
            )

    def fit(self, request: FitRequest) -> FittedBooster:
        """See `fit_logistic`."""
        own = LogisticParams.model_validate(dict(request.own_params))
        table, weight_col = _with_factors(request)
        return fit_logistic(
            table,
            features=request.features,
            numeric=len(request.features) - request.categorical,
            classes=request.classes,
            weight_col=weight_col,
            reg_param=own.reg_param,
            elastic_net_param=own.elastic_net_param,
            max_iter=own.max_iter,
            strategy=request.strategy,
        )


def _with_factors(request: FitRequest) -> tuple[DataFrame, str | None]:
    """The table and its weight, times what the gradient of each class would weigh."""
    if all(factor == 1.0 for factor in request.row_factors):
        return request.table, request.weight_col
    weight = F.lit(1.0) if request.weight_col is None else col(request.weight_col)
    factor = of_class(LABEL, dict(enumerate(request.row_factors)), 1.0)
    return request.table.select("*", (weight * factor).alias(_WEIGHT)), _WEIGHT


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
    elastic_net_param: float = 0.0,
    max_iter: int,
    strategy: str,
) -> FittedBooster:
    """Fit on the rows outside the early-stopping set, which the method has no use for.

    Two classes have one margin, more have one each (multinomial regression). A number counts in standard deviations
    from its mean, both over the rows to fit on and without weights; a missing one counts as the mean. A category is an
    indicator of its own; a missing one, or one that training lacked, is none of them. The loss is the weighted mean log
    loss + `reg_param` times ((1 - `elastic_net_param`) / 2 of the squared slopes of these inputs + `elastic_net_param`
    of the absolute ones); the intercepts are not penalised. scikit-learn calls 1 / (reg_param * sum of weights) C, and
    elastic_net_param l1_ratio.

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
        penalty = (reg_param, elastic_net_param)
        model = _fit(_assembled(rows, inputs, scale, weights), weight_col, penalty, max_iter, family)
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
        params={"reg_param": reg_param, "elastic_net_param": elastic_net_param, "max_iter": max_iter},
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


def _fit(rows: DataFrame, weight_col: str | None, penalty: tuple[float, float], max_iter: int, family: str) -> Any:
    from pyspark.ml.classification import LogisticRegression

    estimator = LogisticRegression(
        featuresCol=_INPUTS, labelCol=LABEL, family=family, standardization=False, tol=_TOLERANCE,
        regParam=penalty[0], elasticNetParam=penalty[1], maxIter=max_iter,
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
