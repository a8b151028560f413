"""A sample for each member of an ensemble: drawn alone, as a bootstrap, or by what its predecessors make of a row."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql import types as T
from scipy.special import pdtr

from imbalance_spark.core.arrays import FloatArray, IntArray, log_softmax
from imbalance_spark.core.class_counts import Label, of_class
from imbalance_spark.core.columns import COPY_NUMBER, col, refuse_columns, require_columns
from imbalance_spark.core.hashing import check_key, uniform
from imbalance_spark.orders.model_inputs import ROW_WEIGHT
from imbalance_spark.scoring.boosters import column_of, load_booster, margins_of_matrix
from imbalance_spark.train_only.pool import MOST_COPIES, copies_at
from imbalance_spark.train_only.sampling.base import count_train, with_sampling_weight
from imbalance_spark.train_only.sampling.sampling_strategy import SamplingStrategy, check_sampling_strategy

HARDNESS = "hardness"
"""Of a training row, 1 - the probability that the members fitted so far give its own class; in [0, 1]."""

_BOOSTING_WEIGHT = "boosting_weight"
_UNIT = 1 << 30
"""Hardness and weights are added up in whole units of 1 / this: the sum of floats would depend on the layout."""
_LARGEST_WEIGHT = 1e4
"""A row that members are sure is of another class, such as one with a wrong label, is not to outweigh all others."""


@dataclass(frozen=True, kw_only=True)
class MemberDraw:
    """Which sample is drawn: target counts are met on average, and rows follow from key and seed alone.

    Args:
        key: columns that identify a row.
        label: column of the class.
        sampling_strategy: rows to keep, as `check_sampling_strategy` for under-sampling.
        member: which of the samples, from 0; they are independent of each other.
        stage: name for messages and for the hash.
    """

    key: Sequence[str]
    label: str
    sampling_strategy: SamplingStrategy
    seed: int
    member: int
    stage: str

    @property
    def position(self) -> Column:
        """A row's place in [0, 1) in this member's draw."""
        return uniform(self.key, self.seed, f"{self.stage}/{self.member}")


def independent_sample(train: DataFrame, draw: MemberDraw) -> DataFrame:
    """All rows of the classes that are not sampled, and a sample of the others, without repetition.

    One pass for the counts; the result is lazy. See `repeated` for the columns.

    Raises:
        ConfigError: the strategy does not fit the classes.
        LeakageError: a row whose split is not "train".
        DataContractError: no rows, null labels, or one class.
    """
    check_key(train, draw.key, draw.stage)
    counted = count_train(train, draw.label, draw.stage)
    rate = of_class(draw.label, _rates(draw, counted.counts), 1.0)
    return repeated(counted.rows, _about(rate, draw), rate)


def bootstrap_sample(train: DataFrame, draw: MemberDraw) -> DataFrame:
    """A bootstrap of all classes, of those that are sampled fewer rows: copies of a row are Poisson distributed.

    With many rows that is a bootstrap that is undersampled afterwards. Passes and errors: see `independent_sample`.
    """
    check_key(train, draw.key, draw.stage)
    counted = count_train(train, draw.label, draw.stage)
    rates = _rates(draw, counted.counts)
    ends = [
        of_class(draw.label, {name: float(pdtr(copies, rate)) for name, rate in rates.items()}, 1.0)
        for copies in range(MOST_COPIES)
    ]
    return repeated(counted.rows, copies_at(draw.position, ends), of_class(draw.label, rates, 1.0))


def self_paced_sample(train: DataFrame, draw: MemberDraw, *, members: int, bins: int) -> DataFrame:
    """All rows of the classes that are not sampled, and of each other class rows by hardness; see `rows_by_bin`.

    Where a bin is to give more rows than it has, its rows are repeated. Rows without `HARDNESS`, those of the first
    member, are all alike. Passes and errors: see `independent_sample`; the pass adds up hardness by bin, too.

    Args:
        members: how many there are; the last one is given as many rows of each bin.
        bins: of equal width over [0, 1], as in the paper; imbalanced-ensemble has them between the least and the
            greatest hardness, which takes another pass and lets single rows move all bins.
    """
    if HARDNESS not in train.columns:
        return independent_sample(train, draw)
    check_key(train, draw.key, draw.stage)
    number = F.least(F.floor(col(HARDNESS) * bins), F.lit(bins - 1)).cast("int")
    units = F.round(col(HARDNESS) * _UNIT).cast("bigint")
    sums = {f"rows_{b}": F.count_if(number == b) for b in range(bins)}
    sums |= {f"units_{b}": F.sum(F.when(number == b, units).otherwise(0)) for b in range(bins)}
    counted = count_train(train, draw.label, draw.stage, sums)
    rate = F.lit(1.0)
    for name, target in _targets(draw, counted.counts).items():
        rates = _rates_by_bin(counted.sums[name], target, bins, self_paced_factor(draw.member, members))
        rate = F.when(col(draw.label) == F.lit(name), F.get(F.array(*map(F.lit, rates)), number)).otherwise(rate)
    return repeated(counted.rows, _about(rate, draw), rate)


def self_paced_factor(member: int, members: int) -> float:
    """tan(pi / 2 * member / (members - 1)): 0 for the first member, without bound for the last.

    Liu and others, Self-paced ensemble for highly imbalanced massive data classification (ICDE 2020), counted as in
    their package imbalanced-ensemble.
    """
    return math.tan(math.pi / 2.0 * member / (members - 1))


def rows_by_bin(target: int, rows: Sequence[int], hardness: Sequence[float], factor: float) -> tuple[float, ...]:
    """`target` rows divided in proportion to 1 / (hardness + factor) over the bins that have rows.

    With a small factor each bin contributes the same hardness, so that easy rows make up most of the sample; with a
    large one each bin contributes the same number of rows, and hard rows count (Liu and others, 2020).

    Args:
        target: rows of the sample.
        rows, hardness: of each bin, how many rows it has, and their mean hardness.
        factor: above 0, see `self_paced_factor`.
    """
    shares = [1.0 / (mean + factor) if n else 0.0 for n, mean in zip(rows, hardness, strict=True)]
    return tuple(target * share / sum(shares) for share in shares)


def boosting_sample(train: DataFrame, draw: MemberDraw) -> DataFrame:
    """The rows of `independent_sample`, with `row_weight` scaled so that those of the sample weigh 1 on average.

    Passes and errors: see `independent_sample`; the pass adds up the weights, too.
    """
    check_key(train, draw.key, draw.stage)
    units = F.sum(F.round(col(ROW_WEIGHT) * _UNIT).cast("decimal(38, 0)"))
    counted = count_train(train, draw.label, draw.stage, {"units": units})
    rates = _rates(draw, counted.counts)
    rows = sum(rates[name] * count for name, count in counted.counts.items())
    weight = sum(rates[name] * float(counted.sums[name]["units"]) / _UNIT for name in counted.counts)
    rate = of_class(draw.label, rates, 1.0)
    scaled = counted.rows.withColumn(ROW_WEIGHT, col(ROW_WEIGHT) * (rows / weight))
    return repeated(scaled, _about(rate, draw), rate)


def with_hardness(train: DataFrame, models: Sequence[bytes], *, inputs: Sequence[str], label: str) -> DataFrame:
    """The rows with `HARDNESS` (double, in [0, 1]) by the mean of the models' margins, uncorrected. Lazy.

    Args:
        models: as `load_booster` takes them; at least one.
        inputs: the feature columns, in the models' order.
        label: the number of a row's class.
    """
    factor = 1.0 / len(models)
    return _with_scored(train, models, HARDNESS, inputs, label, lambda total, own: hardness_of(factor * total, own))


def with_boosting_weight(train: DataFrame, models: Sequence[bytes], *, inputs: Sequence[str], label: str) -> DataFrame:
    """The rows with `row_weight` (1 where there is none) times `boosting_weight_of` the sum of the models' margins.

    Lazy. Args: see `with_hardness`.
    """
    scored = _with_scored(train, models, _BOOSTING_WEIGHT, inputs, label, boosting_weight_of)
    weight = col(_BOOSTING_WEIGHT) * (col(ROW_WEIGHT) if ROW_WEIGHT in train.columns else F.lit(1.0))
    return scored.withColumn(ROW_WEIGHT, weight).drop(_BOOSTING_WEIGHT)


def hardness_of(margins: FloatArray, classes: IntArray) -> FloatArray:
    """1 - p of each row's own class.

    Args:
        margins: (rows, classes), or (rows,) of class 1 of two.
        classes: the number of each row's class.
    """
    of_classes = _by_class(margins)
    return np.asarray(-np.expm1(log_softmax(of_classes)[np.arange(len(classes)), classes]), dtype=np.float64)


def boosting_weight_of(margins: FloatArray, classes: IntArray) -> FloatArray:
    """exp(mean margin - margin of a row's own class), at most 10,000: what Real AdaBoost multiplies its weight by.

    Of two classes exp(-y F), with y = 1 or -1 and F half the margin: the population minimiser of the exponential loss
    (Friedman, Hastie and Tibshirani, 2000); of K classes SAMME.R (Zhu and others, 2009). With rows weighed so, the odds
    that are left to learn are those that the margins lack, so that margins of members add up to log-odds.

    Args: see `hardness_of`.
    """
    of_classes = _by_class(margins)
    behind = of_classes.mean(axis=1) - of_classes[np.arange(len(classes)), classes]
    return np.asarray(np.exp(np.minimum(behind, math.log(_LARGEST_WEIGHT))), dtype=np.float64)


def _by_class(margins: FloatArray) -> FloatArray:
    return np.column_stack([np.zeros(len(margins)), margins]) if margins.ndim == 1 else margins


def _with_scored(
    train: DataFrame,
    models: Sequence[bytes],
    name: str,
    inputs: Sequence[str],
    label: str,
    found_of: Callable[[FloatArray, IntArray], FloatArray],
) -> DataFrame:
    """The rows with what `found_of` makes of the sum of the models' margins and a row's class."""
    require_columns(train, (*inputs, label), name)
    refuse_columns(train, (name,), name)
    schema = T.StructType([*train.schema.fields, T.StructField(name, T.DoubleType(), nullable=False)])
    shared = train.sparkSession.sparkContext.broadcast(tuple(models))

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        loaded = [load_booster(model) for model in shared.value]
        for batch in batches:
            if batch.num_rows:
                matrix = np.column_stack([column_of(batch, one).astype(np.float32) for one in inputs])
                total = np.asarray([margins_of_matrix(model, matrix, 2) for model in loaded], np.float64).sum(axis=0)
                yield batch.append_column(name, pa.array(found_of(total, column_of(batch, label).astype(np.int64))))

    return train.mapInArrow(score, schema)


def repeated(rows: DataFrame, copies: Column, rate: Column) -> DataFrame:
    """Each row as often as `copies` (whole, from 0) says.

    Returns:
        Every input column, `copy_number` (int, 0 for the row itself), and `sampling_weight` (double, above 0), one over
        `rate`, the number of copies on average: weighted class totals estimate those before.
    """
    refuse_columns(rows, (COPY_NUMBER,), "ensemble")
    weighed = with_sampling_weight(rows, F.lit(1.0) / rate)
    numbers = F.sequence(F.lit(0), copies.cast("int") - 1)
    return weighed.where(copies > 0).select("*", F.explode(numbers).alias(COPY_NUMBER))


def _about(rate: Column, draw: MemberDraw) -> Column:
    """`rate` copies on average, and at most one more or less."""
    return F.floor(rate + draw.position)


def _targets(draw: MemberDraw, counts: Mapping[Label, int]) -> dict[Label, int]:
    return dict(check_sampling_strategy(draw.sampling_strategy, counts, "under-sampling"))


def _rates(draw: MemberDraw, counts: Mapping[Label, int]) -> dict[Label, float]:
    """Copies of a row on average, of each class; 1 where it is not sampled."""
    return dict.fromkeys(counts, 1.0) | {name: rows / counts[name] for name, rows in _targets(draw, counts).items()}


def _rates_by_bin(sums: Row, target: int, bins: int, factor: float) -> list[float]:
    rows = [int(sums[f"rows_{b}"]) for b in range(bins)]
    hardness = [sums[f"units_{b}"] / _UNIT / max(n, 1) for b, n in enumerate(rows)]
    wanted = rows_by_bin(target, rows, hardness, factor)
    return [rows_of_bin / max(n, 1) for rows_of_bin, n in zip(wanted, rows, strict=True)]
