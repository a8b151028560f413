"""The rule that thresholds are served by: in closed form for costs, on expected counts for ratios.

A search over counted rows follows the noise of the few positives among them. Calibrated probabilities say what to
expect of every row, so that a threshold from them needs no search; `python -m benchmarks regret` shows what that saves.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from imbalance_spark.calibration import Calibrator, fit_of
from imbalance_spark.core.arrays import FloatArray, logit, sigmoid
from imbalance_spark.metrics.bucket_draws import BucketedCurve, HalvedCurve, decided
from imbalance_spark.metrics.curve import FLAG_NOBODY, Curve
from imbalance_spark.metrics.grid import ScoreEntries
from imbalance_spark.threshold.choice import ChosenThreshold, best_cut, chosen_at, cut_at, require_both_classes
from imbalance_spark.threshold.objective import Objective

if TYPE_CHECKING:
    from imbalance_spark.calibration import LedgerCheck

Fit = Callable[[ScoreEntries], Calibrator]

SWEEP_FROM = 300
"""Positive rows from which a search may challenge the closed form of a cost; with fewer it does harm."""
_SURE = 0.95  # share of the bootstrap draws in which the search must be cheaper
_DRAWS = 400
_FEW = 30
DECIDED_AT = 0.5
"""The threshold of cross-fitted decisions, see `metrics.bucket_draws.decided`."""


@dataclass(frozen=True, kw_only=True)
class _Pick:
    """A threshold on calibrated probabilities, and the entries of the curve that it flags."""

    threshold: float
    cut: int
    reachable: bool = True
    out_of_reach: str | None = None


def choose_threshold(
    sample: HalvedCurve, objective: Objective, fit: Fit | None = None, *, ledger: "LedgerCheck | None" = None
) -> ChosenThreshold:
    """The threshold of calibrated probabilities that an objective asks for.

    - Costs: the closed form of Elkan (2001). From `SWEEP_FROM` positives the exact search takes its place if, chosen on
      each half and paid for on the other, it is cheaper in 95 % of bootstrap draws of the hash buckets.
    - F-beta, Matthews coefficient, kappa, Youden, precision at a recall, costs by amount: the best threshold of the
      counts that the probabilities predict for all rows, whatever their labels (plug-in; Dembczynski and others, 2013).
    - Recall at a precision: the most recall whose lower bound of the precision reaches the target; see `MaxRecall`.
    - An alert budget: as many orders as it allows.

    The threshold lies half way, in logits, to the next lower score. The value and the matrix are cross-fitted: rows of
    each half are decided by the threshold, and calibrated by the fit, of the other.

    Args:
        sample: scores before calibration, on rows that were not fitted on.
        fit: how scores are calibrated; by default Platt scaling with a prior.
        ledger: the check of the calibration, for the warning of objectives that need it.
    Returns:
        The threshold, in [0, 1] or `FLAG_NOBODY`, with its cross-fitted value and confusion matrix.
    Raises:
        DataContractError: the rows have no positive or no negative one.
        ConfigError: the objective needs amounts or days that it was not given.
    """
    fit = fit or fit_of("platt_prior")
    curve = Curve.of(sample.whole.curve.counts, fit(sample.whole.curve.counts).apply)
    require_both_classes(curve, objective)
    effect = design_effect(sample.whole, curve, objective)
    picked, found = pick(curve, objective, effect), _cross_fitted(sample, objective, fit, effect)
    if objective.bayes_threshold is not None and sample.whole.positives >= SWEEP_FROM:
        searched = _searched(sample, objective)
        if _is_cheaper(searched, found, objective):
            cut, _ = best_cut(curve, objective)
            picked, found = _Pick(threshold=_between(curve, cut), cut=cut), searched
    chosen = _chosen(picked, objective, found.curve, cut_at(found.curve, DECIDED_AT), ledger)
    return replace(chosen, decided=found)


def choose_on(
    curve: Curve, objective: Objective, design_effect: float = 1.0, *, ledger: "LedgerCheck | None" = None
) -> ChosenThreshold:
    """The same on a curve of calibrated probabilities alone, without halves: nothing is cross-fitted or searched.

    Args:
        curve: of calibrated probabilities. objective: what the threshold is chosen by.
        design_effect: see `design_effect`; 1 for independent rows without weights.
        ledger: the check of the calibration, for the warning of objectives that need it.
    Returns:
        The threshold, with its value and confusion matrix on the same rows.
    Raises:
        DataContractError, ConfigError: as `choose_threshold`.
    """
    require_both_classes(curve, objective)
    picked = pick(curve, objective, design_effect)
    return _chosen(picked, objective, curve, picked.cut, ledger)


def choose_again(curve: Curve, objective: Objective, fit: Fit | None = None) -> float:
    """The rule on a draw of the rows, its calibration included: the score of the curve from which rows are flagged.

    Args:
        curve: of a draw of the rows; its counts are of scores before calibration.
        fit: as in `choose_threshold`.
    Returns:
        A score of the draw before calibration; rows at or above it are flagged.
    """
    again = Curve.of(curve.counts, (fit or fit_of("platt_prior"))(curve.counts).apply)
    return float(curve.threshold[pick(again, objective).cut])


def pick(curve: Curve, objective: Objective, design_effect: float = 1.0) -> _Pick:
    """The rule on one curve of calibrated probabilities."""
    given = objective.bayes_threshold
    if given is not None:
        return _Pick(threshold=given, cut=cut_at(curve, given))
    if not objective.is_promise:
        predicted = expected(curve)
        # Probabilities of 0 alone, or of 1, expect a single class.
        cut, reachable = best_cut(curve if predicted.missing_class else predicted, objective)
        return _Pick(threshold=_between(curve, cut), cut=cut, reachable=reachable)
    cut, reachable = best_cut(curve, objective, design_effect)
    if not reachable and (why := objective.out_of_reach(curve, design_effect)) is not None:
        return _Pick(threshold=FLAG_NOBODY, cut=0, reachable=False, out_of_reach=why)
    return _Pick(threshold=_between(curve, cut), cut=cut, reachable=reachable)


def expected(curve: Curve) -> Curve:
    """The curve with the labels that its probabilities predict: weight p of each row is positive, 1 - p negative."""
    counts, p = curve.counts, curve.score
    weight, positive, negative = counts.positive_weight + counts.negative_weight, None, None
    if counts.positive_amount is not None and counts.negative_amount is not None:
        amount = counts.positive_amount + counts.negative_amount
        positive, negative = amount * p, amount * (1.0 - p)
    predicted = replace(
        counts,
        positive_weight=weight * p,
        negative_weight=weight * (1.0 - p),
        positive_amount=positive,
        negative_amount=negative,
    )
    return replace(curve, counts=predicted)


def design_effect(sample: BucketedCurve, curve: Curve, objective: Objective) -> float:
    """Variance of the precision over the hash buckets, over that of independent rows; at least 1.

    Rows of one customer are alike, and weights differ: both make a precision less sure than its rows say (Kish, 1965).
    It is taken at the threshold that independent rows would give; for objectives without a precision to keep it is 1.

    Args:
        sample: the rows by bucket, on the entries of the curve.
    """
    if not objective.is_promise or objective.fills:
        return 1.0
    cut, reachable = best_cut(curve, objective, 1.0)
    precision = float(curve.precision[cut])
    if not (reachable and 0.0 < precision < 1.0):
        return 1.0
    flagged = decided([(sample, cut)]).buckets.weight[:, 1]
    off, size = flagged[:, 1] - precision * flagged.sum(axis=1), int(np.count_nonzero(sample.occupied))
    variance = size / max(size - 1, 1) * float(np.sum(off**2)) / float(flagged.sum()) ** 2
    return max(variance * int(curve.flagged_rows[cut]) / (precision * (1.0 - precision)), 1.0)


def _cross_fitted(sample: HalvedCurve, objective: Objective, fit: Fit, effect: float) -> BucketedCurve:
    """Each half decided by what the rule, its calibration included, makes of the other."""
    rows, parts = float(sample.whole.buckets.rows.sum()), []
    for own, other in _turns(sample):
        calibrator = fit(other.curve.counts)
        asked = objective.on_share(float(other.buckets.rows.sum()) / rows)
        threshold = pick(Curve.of(other.curve.counts, calibrator.apply), asked, effect).threshold
        parts.append((own, cut_at(Curve.of(own.curve.counts, calibrator.apply), threshold)))
    return decided(parts)


def _searched(sample: HalvedCurve, objective: Objective) -> BucketedCurve:
    """Each half decided by the exact search on the other; calibration would not change it."""
    parts = []
    for own, other in _turns(sample):
        cut, _ = best_cut(other.curve, objective)
        parts.append((own, cut_at(own.curve, _between(other.curve, cut))))
    return decided(parts)


def _turns(sample: HalvedCurve) -> tuple[tuple[BucketedCurve, BucketedCurve], ...]:
    one, other = sample.halves
    return (one, other), (other, one)


def _is_cheaper(searched: BucketedCurve, ruled: BucketedCurve, objective: Objective) -> bool:
    def costs(sample: BucketedCurve) -> FloatArray:
        found = sample.draws(_DRAWS, 0)
        return np.array([objective.values(curve)[cut_at(curve, DECIDED_AT)] for curve in found])

    return float(np.mean(costs(searched) < costs(ruled))) >= _SURE


def _between(curve: Curve, cut: int) -> float:
    """Half way in logits between the lowest flagged score and the next; of bins, whose scores are unknown, the edge."""
    edge = float(curve.threshold[cut])
    if cut in (0, len(curve.score)) or bool(curve.counts.is_bin[cut]):
        return edge
    middle = float(sigmoid(np.array(logit(np.array([edge, curve.score[cut]])).mean())))
    return middle if curve.score[cut] < middle <= edge else edge


def _chosen(
    picked: _Pick, objective: Objective, curve: Curve, cut: int, ledger: "LedgerCheck | None"
) -> ChosenThreshold:
    """The pick with what it gives on a curve whose first `cut` entries are flagged."""
    found = chosen_at(curve, cut, objective, threshold=picked.threshold, reachable=picked.reachable, ledger=ledger)
    warning = " ".join(filter(None, [found.warning, _few(curve)])) or None
    return replace(found, sentence=picked.out_of_reach or found.sentence, warning=warning)


def _few(curve: Curve) -> str | None:
    positives = int(curve.counts.positives.sum())
    if positives >= _FEW:
        return None
    return f"There are {positives} positive rows: the threshold rests on the model's probabilities more than on them."
