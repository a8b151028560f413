"""Days of orders with one feature of known densities, and a model calibrated on a sample, to test monitoring on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from imbalance_spark.calibration import LogOddsCalibration
from imbalance_spark.core.arrays import FloatArray, logit, sigmoid
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.monitoring.cells import LabelledCells
from imbalance_spark.monitoring.expected import Costs, Reference

BASE_RATE, COSTS = 0.005, Costs(fn=20.0, fp=1.0)
THRESHOLD = COSTS.fp / (COSTS.fp + COSTS.fn)
_CENTRE = float(logit(np.array(BASE_RATE)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Orders:
    label: FloatArray
    true_logit: FloatArray
    """Of the probability given the feature, where the base rate is BASE_RATE."""


def unshifted(random: np.random.Generator, rows: int) -> Orders:
    return label_shifted(random, rows, BASE_RATE)


def label_shifted(random: np.random.Generator, rows: int, base_rate: float = 2.5 * BASE_RATE) -> Orders:
    label = random.random(rows) < base_rate
    feature = np.where(label, random.normal(-1.5, 1.6, rows), random.normal(-5.5, 1.2, rows))
    ratio = -0.5 * ((feature + 1.5) / 1.6) ** 2 + 0.5 * ((feature + 5.5) / 1.2) ** 2 - np.log(1.6 / 1.2)
    return Orders(label=label.astype(np.float64), true_logit=_CENTRE + ratio)


def covariate_shifted(random: np.random.Generator, rows: int) -> Orders:
    """Fewer of the harmless orders; an order's probability is what it was."""
    drawn = unshifted(random, 4 * rows)
    share = np.where(drawn.true_logit < np.median(drawn.true_logit), 0.2, 0.6)
    kept = np.flatnonzero(random.random(4 * rows) < share)[:rows]
    return Orders(label=drawn.label[kept], true_logit=drawn.true_logit[kept])


def concept_shifted(random: np.random.Generator, rows: int) -> Orders:
    """The same orders, but the feature tells less of which are positive: log-odds are 0.6 times as steep."""
    drawn = unshifted(random, rows)
    flatter = sigmoid(_CENTRE + 0.6 * (drawn.true_logit - _CENTRE))
    return Orders(label=(random.random(rows) < flatter).astype(np.float64), true_logit=drawn.true_logit)


KINDS: dict[str, Callable[[np.random.Generator, int], Orders]] = {
    "none": unshifted, "covariate": covariate_shifted, "label": label_shifted, "concept": concept_shifted,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A model that is underconfident, and Platt scaling on validation that mends that as far as its rows tell."""

    calibration: LogOddsCalibration
    reference: Reference

    @classmethod
    def fitted(cls, random: np.random.Generator, rows: int, draws: int = 400) -> Self:
        sample = unshifted(random, rows)
        return cls.of(sample.label, raw_scores(sample), draws)

    @classmethod
    def of(cls, label: FloatArray, raw: FloatArray, draws: int = 400) -> Self:
        """Platt scaling of raw scores, which are probabilities, on labelled rows."""
        counts = ScoreCounts.from_arrays(label, raw, exact_limit=0)
        calibration = LogOddsCalibration.fit_with_prior(counts)
        labelled = LabelledCells.of_curve(counts.curve(calibration.apply), THRESHOLD)
        return cls(calibration=calibration, reference=Reference.of(labelled, draws=draws))

    def score(self, sample: Orders) -> FloatArray:
        return self.calibration.apply(raw_scores(sample))

    def count(self, sample: Orders) -> LabelledCells:
        return self.count_raw(sample.label, raw_scores(sample))

    def count_raw(self, label: FloatArray, raw: FloatArray) -> LabelledCells:
        p = self.calibration.apply(raw)
        return LabelledCells.of_rows(label, p, p >= THRESHOLD)


def raw_scores(sample: Orders) -> FloatArray:
    """What the model says before it is calibrated."""
    return sigmoid(0.8 * sample.true_logit - 0.5)
