"""Choose a calibration method on counts, and read a fitted one back."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from imbalance_spark.calibration.isotonic import IsotonicCalibration
from imbalance_spark.calibration.log_odds import LogOddsCalibration
from imbalance_spark.calibration.temperature import MulticlassTemperature
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.grid import FloatArray

_EPS = 2.0**-53


class Calibrator(Protocol):
    """A rising map of probabilities that can be serialized."""

    @property
    def method(self) -> str:
        """Its name: identity, intercept, temperature, platt, beta or isotonic; of K classes multiclass_temperature."""

    def apply(self, probabilities: npt.ArrayLike) -> FloatArray:
        """Calibrated probabilities, float64 in [0, 1]; order stays, NaN stays."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; `calibrator_from_dict` reads them back."""


def calibrator_from_dict(record: Mapping[str, Any]) -> Calibrator:
    """The calibration that `to_dict` wrote.

    Raises:
        ConfigError: the method is unknown, or its parameters do not give a rising map.
    """
    if record["method"] == "isotonic":
        return IsotonicCalibration.from_dict(record)
    if record["method"] == "multiclass_temperature":
        return MulticlassTemperature(temperature=record["temperature"])
    return LogOddsCalibration.from_dict(record)


_METHODS: Mapping[str, tuple[int, Callable[[ScoreCounts], Calibrator]]] = {
    "identity": (0, partial(LogOddsCalibration.fit, method="identity")),
    "intercept": (20, partial(LogOddsCalibration.fit, method="intercept")),
    "temperature": (50, partial(LogOddsCalibration.fit, method="temperature")),
    "platt": (50, partial(LogOddsCalibration.fit, method="platt")),
    "beta": (100, partial(LogOddsCalibration.fit, method="beta")),
    "isotonic": (1000, IsotonicCalibration.fit),
}
"""From simple to flexible, with the fewest positive rows for a fit: flexible methods need more rows."""


@dataclass(frozen=True, kw_only=True)
class JudgedCalibration:
    """Results of one method on the rows that it was not fitted on."""

    log_loss: float
    brier: float
    mean_over_base_rate: float
    worse_by: float
    """Mean log loss minus that of the best method, >= 0."""
    standard_error: float
    """Of `worse_by`, row by row on the same rows."""


@dataclass(frozen=True, kw_only=True)
class ChosenCalibration:
    """The chosen calibration, the results of all methods, and the reasons for those that were skipped."""

    calibrator: Calibrator
    judged: Mapping[str, JudgedCalibration]
    skipped: Mapping[str, str]
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, the calibrator's own parameters under `calibrator`."""
        return {
            "calibrator": self.calibrator.to_dict(),
            "judged": {name: asdict(found) for name, found in self.judged.items()},
            "skipped": dict(self.skipped),
            "sentence": self.sentence,
        }


def choose_calibrator(fit_on: ScoreCounts, judge_on: ScoreCounts) -> ChosenCalibration:
    """Choose the simplest method whose log loss on held-out rows is within one standard error of the best.

    The one-standard-error rule (Breiman et al., 1984): a smaller gain of a more flexible method may be noise. The
    methods are identity, intercept, temperature, Platt, beta and isotonic.

    Args:
        fit_on, judge_on: counts of the same scores on two sets of rows without common groups, such as customers.
    Returns:
        The fitted calibrator, the results of each method on `judge_on`, and why others were skipped.

    Examples:
        >>> import numpy as np
        >>> rng = np.random.default_rng(7)
        >>> p = rng.beta(0.5, 10, size=20_000)
        >>> labels, overconfident = rng.random(20_000) < p, 1 / (1 + ((1 - p) / p) ** 2)
        >>> halves = [ScoreCounts.from_arrays(labels[i::2], overconfident[i::2]) for i in (0, 1)]
        >>> chosen = choose_calibrator(*halves)
        >>> chosen.calibrator.method, round(chosen.calibrator.to_dict()["a"], 3)
        ('temperature', 0.526)
    """
    fitted, skipped = _fit_all(fit_on)
    losses = {name: _losses(calibrator, judge_on) for name, calibrator in fitted.items()}
    best = min(losses, key=lambda name: _mean(losses[name], judge_on))
    judged = {name: _judged(calibrator, losses[name], losses[best], judge_on) for name, calibrator in fitted.items()}
    chosen = next(name for name, found in judged.items() if found.worse_by <= found.standard_error)
    return ChosenCalibration(
        calibrator=fitted[chosen], judged=judged, skipped=skipped, sentence=_sentence(chosen, best, judged)
    )


def _fit_all(counts: ScoreCounts) -> tuple[dict[str, Calibrator], dict[str, str]]:
    positives = int(counts.positives.sum())
    fitted, skipped = {}, {}
    for name, (fewest, fit) in _METHODS.items():
        if positives < fewest:
            skipped[name] = f"{positives} positive rows to fit on, {fewest} are needed"
            continue
        try:
            fitted[name] = fit(counts) if fewest else LogOddsCalibration(method="identity")
        except DataContractError as error:
            skipped[name] = str(error)
    return fitted, skipped


def _losses(calibrator: Calibrator, counts: ScoreCounts) -> tuple[FloatArray, FloatArray]:
    """Log loss of a positive and of a negative row, for each entry."""
    p = np.clip(calibrator.apply(counts.score), _EPS, 1.0 - _EPS)
    return -np.log(p), -np.log1p(-p)


def _mean(losses: tuple[FloatArray, FloatArray], counts: ScoreCounts) -> float:
    total = float(counts.positive_weight.sum() + counts.negative_weight.sum())
    return float(counts.positive_weight @ losses[0] + counts.negative_weight @ losses[1]) / total


def _judged(
    calibrator: Calibrator,
    losses: tuple[FloatArray, FloatArray],
    best: tuple[FloatArray, FloatArray],
    counts: ScoreCounts,
) -> JudgedCalibration:
    more = (losses[0] - best[0], losses[1] - best[1])
    worse_by = _mean(more, counts)
    squares = _mean(((more[0] - worse_by) ** 2, (more[1] - worse_by) ** 2), counts)
    rows = int(counts.positives.sum() + counts.negatives.sum())
    p, rate = calibrator.apply(counts.score), _mean((np.ones_like(counts.score), np.zeros_like(counts.score)), counts)
    mean = _mean((p, p), counts)
    return JudgedCalibration(
        log_loss=_mean(losses, counts),
        brier=_mean(((1.0 - p) ** 2, p**2), counts),
        mean_over_base_rate=mean / rate if rate > 0.0 else math.nan,
        worse_by=worse_by,
        standard_error=math.sqrt(squares / rows),
    )


def _sentence(chosen: str, best: str, judged: Mapping[str, JudgedCalibration]) -> str:
    found = judged[chosen]
    text = (
        f"Calibrated by {chosen}: log loss {found.log_loss:.6g}, mean p {found.mean_over_base_rate:.3g} times the rate"
    )
    if chosen == best:
        return f"{text}; the best of {len(judged)} methods on held-out rows."
    return f"{text}; {best} is better by {found.worse_by:.2g}, within one standard error, but more complex."
