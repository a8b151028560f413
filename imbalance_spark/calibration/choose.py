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
from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.core.errors import DataContractError
from imbalance_spark.metrics.bucket_draws import BucketedCurve
from imbalance_spark.metrics.counts import ScoreCounts
from imbalance_spark.metrics.grid import ScoreEntries
from imbalance_spark.metrics.intervals import ratio_error

_EPS = 2.0**-53


class Calibrator(Protocol):
    """A rising map of probabilities that can be serialized."""

    @property
    def method(self) -> str:
        """Its name: identity, intercept, temperature, platt, platt_prior, beta or isotonic; of K classes
        multiclass_temperature."""

    def apply(self, probabilities: npt.ArrayLike) -> FloatArray:
        """Calibrated probabilities, float64 in [0, 1]; order stays, NaN stays."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; `calibrator_from_dict` reads them back."""


def calibrator_from_dict(record: Mapping[str, Any]) -> Calibrator:
    """The calibration that `to_dict` wrote.

    Args:
        record: with `method` and its parameters.
    Returns:
        The calibration, of the class that its method belongs to.
    Raises:
        ConfigError: the method is unknown, or its parameters do not give a rising map.
    """
    if record["method"] == "isotonic":
        return IsotonicCalibration.from_dict(record)
    if record["method"] == "multiclass_temperature":
        return MulticlassTemperature(temperature=record["temperature"])
    return LogOddsCalibration.from_dict(record)


_METHODS: Mapping[str, tuple[int, Callable[[ScoreEntries], Calibrator]]] = {
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
    """Mean log loss minus that of the method it is compared with: the best one, or Platt scaling with a prior."""
    standard_error: float
    """Of `worse_by`, over the same rows: by row, or by hash bucket."""


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


def choose_calibrator(fit_on: ScoreCounts, judge_on: ScoreCounts | BucketedCurve) -> ChosenCalibration:
    """Choose the simplest method whose log loss on held-out rows is within one standard error of the best.

    The one-standard-error rule (Breiman et al., 1984): a smaller gain of a more flexible method may be noise. The
    methods are identity, intercept, temperature, Platt, beta and isotonic.

    Args:
        fit_on, judge_on: counts of the same scores on two sets of rows without common groups, such as customers. With
            the hash buckets of `judge_on` the standard error is over them; without, rows must be independent and of
            one weight.
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
    sample = judge_on if isinstance(judge_on, BucketedCurve) else None
    counts = judge_on.curve.counts if isinstance(judge_on, BucketedCurve) else judge_on
    losses = {name: _losses(calibrator, counts) for name, calibrator in fitted.items()}
    best = min(losses, key=lambda name: _mean(losses[name], counts))
    judged = {
        name: _judged(calibrator, losses[name], losses[best], counts, sample) for name, calibrator in fitted.items()
    }
    chosen = next(name for name, found in judged.items() if not found.worse_by > found.standard_error)
    return ChosenCalibration(
        calibrator=fitted[chosen], judged=judged, skipped=skipped, sentence=_sentence(chosen, best, judged)
    )


_FREER = {"beta": 100, "isotonic": 1000}
"""Methods of more freedom than Platt scaling, with the fewest positive rows that they are tried on."""

_FOLDS = 5


def fit_calibrator(sample: BucketedCurve) -> ChosenCalibration:
    """The calibration that the jobs use: Platt scaling with a prior, fitted on all rows.

    It needs no number of rows: see `LogOddsCalibration.fit_with_prior`. Beta (from 100 positives) and isotonic
    calibration (from 1,000) take its place only where their log loss, cross-fitted over 5 folds of the hash buckets, is
    lower by more than one standard error over the buckets.

    Args:
        sample: of scores before calibration, on rows that were not fitted on.
    Returns:
        The calibrator, fitted on all rows, and the cross-fitted results of each method that was tried.
    """
    tried = ["platt_prior", *(name for name, fewest in _FREER.items() if sample.positives >= fewest)]
    skipped = {
        name: f"{sample.positives} positive rows to fit on, {fewest} are needed"
        for name, fewest in _FREER.items()
        if name not in tried
    }
    sums = {name: _cross_fitted(sample, name) for name in tried}
    judged = {name: _judged_by_bucket(sums[name], sums["platt_prior"]) for name in tried}
    better = [name for name in tried if -judged[name].worse_by > judged[name].standard_error]
    chosen = min(better, key=lambda name: judged[name].worse_by, default="platt_prior")
    return ChosenCalibration(
        calibrator=fit_of(chosen)(sample.curve.counts),
        judged=judged,
        skipped=skipped,
        sentence=_cross_fitted_sentence(chosen, judged),
    )


def fit_of(method: str) -> Callable[[ScoreEntries], Calibrator]:
    """How a method is fitted on other rows than those it was chosen on; where it cannot be, Platt with a prior is.

    Args:
        method: the name of a calibration method, or `platt_prior`.
    Returns:
        A function from counts of scores and labels to the calibration fitted on them.
    """
    own = LogOddsCalibration.fit_with_prior if method == "platt_prior" else _METHODS[method][1]

    def fitted(counts: ScoreEntries) -> Calibrator:
        try:
            return own(counts)
        except DataContractError:
            return LogOddsCalibration.fit_with_prior(counts)

    return fitted


def _cross_fitted(sample: BucketedCurve, method: str) -> FloatArray:
    """By bucket the sums of weight, log loss, squared error, probability and label, each by calibrators of the others.

    Shape (buckets, 5).
    """
    fit, weight, entries = fit_of(method), sample.buckets.weight, len(sample.curve.score)
    fold = np.arange(sample.buckets.size) % _FOLDS
    sums = np.zeros((sample.buckets.size, 5))
    for number in range(_FOLDS):
        p = np.clip(fit(sample.part(fold != number)).apply(sample.curve.score), _EPS, 1.0 - _EPS)
        one, zero = np.ones(entries), np.zeros(entries)
        values = [(one, one), (-np.log1p(-p), -np.log(p)), (p**2, (1.0 - p) ** 2), (p, p), (zero, one)]
        means = [sample.pattern.coarse_mean(np.stack(pair, axis=1)) for pair in values]
        held_out = weight[fold == number]
        sums[fold == number] = np.stack([np.tensordot(held_out, mean, axes=2) for mean in means], axis=1)
    return sums


def _judged_by_bucket(sums: FloatArray, reference: FloatArray) -> JudgedCalibration:
    weight, loss, square, p, label = sums.sum(axis=0).tolist()
    more = sums[:, 1] - reference[:, 1]
    return JudgedCalibration(
        log_loss=loss / weight,
        brier=square / weight,
        mean_over_base_rate=p / label if label > 0.0 else math.nan,
        worse_by=float(more.sum()) / weight,
        standard_error=ratio_error(more, sums[:, 0]),
    )


def _cross_fitted_sentence(chosen: str, judged: Mapping[str, JudgedCalibration]) -> str:
    found, others = judged[chosen], [name for name in judged if name not in (chosen, "platt_prior")]
    text = (
        f"Calibrated by {_SPOKEN[chosen]} on all of validation: cross-fitted log loss {found.log_loss:.6g}, mean p "
        f"{found.mean_over_base_rate:.3g} times the rate"
    )
    if chosen != "platt_prior":
        return f"{text}; {-found.worse_by:.2g} less than Platt scaling, standard error {found.standard_error:.2g}."
    return f"{text}; {' and '.join(others)} not better beyond one standard error." if others else f"{text}."


_SPOKEN = {"platt_prior": "Platt scaling with a prior", "beta": "beta", "isotonic": "isotonic regression"}


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


def _losses(calibrator: Calibrator, counts: ScoreEntries) -> tuple[FloatArray, FloatArray]:
    """Log loss of a positive and of a negative row, for each entry."""
    p = np.clip(calibrator.apply(counts.score), _EPS, 1.0 - _EPS)
    return -np.log(p), -np.log1p(-p)


def _mean(losses: tuple[FloatArray, FloatArray], counts: ScoreEntries) -> float:
    total = float(counts.positive_weight.sum() + counts.negative_weight.sum())
    return float(counts.positive_weight @ losses[0] + counts.negative_weight @ losses[1]) / total


def _judged(
    calibrator: Calibrator,
    losses: tuple[FloatArray, FloatArray],
    best: tuple[FloatArray, FloatArray],
    counts: ScoreEntries,
    sample: BucketedCurve | None,
) -> JudgedCalibration:
    more = (losses[0] - best[0], losses[1] - best[1])
    worse_by = _mean(more, counts)
    if sample is None:
        squares = _mean(((more[0] - worse_by) ** 2, (more[1] - worse_by) ** 2), counts)
        error = math.sqrt(squares / int(counts.positives.sum() + counts.negatives.sum()))
    else:
        means, weight = sample.pattern.coarse_mean(np.stack(more[::-1], axis=1)), sample.buckets.weight
        error = ratio_error(np.tensordot(weight, means, axes=2), weight.sum(axis=(1, 2)))
    p, rate = calibrator.apply(counts.score), _mean((np.ones_like(counts.score), np.zeros_like(counts.score)), counts)
    mean = _mean((p, p), counts)
    return JudgedCalibration(
        log_loss=_mean(losses, counts),
        brier=_mean(((1.0 - p) ** 2, p**2), counts),
        mean_over_base_rate=mean / rate if rate > 0.0 else math.nan,
        worse_by=worse_by,
        standard_error=error,
    )


def _sentence(chosen: str, best: str, judged: Mapping[str, JudgedCalibration]) -> str:
    found = judged[chosen]
    text = (
        f"Calibrated by {chosen}: log loss {found.log_loss:.6g}, mean p {found.mean_over_base_rate:.3g} times the rate"
    )
    if chosen == best:
        return f"{text}; the best of {len(judged)} methods on held-out rows."
    return f"{text}; {best} is better by {found.worse_by:.2g}, within one standard error, but more complex."
