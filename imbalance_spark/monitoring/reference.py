"""What validation says of a model's probabilities, and how sure that is: resampled counts with their recalibration."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from imbalance_spark.core.arrays import FloatArray, sigmoid
from imbalance_spark.monitoring.cells import LabelledCells, ScoreCells

DRAWS = 400
"""Resamples behind an interval: the 2.5 % quantile is the tenth lowest."""
_PRIOR = np.array([2.0, 0.5])  # as in calibration.LogOddsCalibration.fit_with_prior, which scores were calibrated by
_STEPS = 12


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """Validation rows of a model, and draws of what else they might have been.

    A draw has a Poisson number of positives and of negatives in each cell (Poisson bootstrap). Platt scaling with the
    prior of the jobs, fitted again on each draw, says how uncertain the calibration is: `shift` and `slope` are its
    departures from the fit on all rows, so that p becomes sigmoid(s + shift + slope (s - centre)), with s = logit p.

    Args:
        positives, negatives: rows by draw and cell.
        shift, slope: by draw.
        centre: the logit at which the slope does not matter, that of the base rate.
    """

    labelled: LabelledCells
    positives: FloatArray
    negatives: FloatArray
    shift: FloatArray
    slope: FloatArray
    centre: float

    @classmethod
    def of(cls, labelled: LabelledCells, *, base_rate_error: float = 0.0, draws: int = DRAWS, seed: int = 0) -> Self:
        """Resample the rows of validation `draws` times.

        Args:
            base_rate_error: standard error of the base rate that the probabilities were moved to, in logits, which
                validation knows nothing of.
        """
        random = np.random.default_rng(seed)
        negative = labelled.cells.rows - labelled.positives
        positives, negatives = (
            random.poisson(rows, (draws, len(rows))).astype(np.float64) for rows in (labelled.positives, negative)
        )
        rate, score = labelled.base_rate, labelled.cells.log_odds
        centre = float(np.log(rate) - np.log1p(-rate))
        design = np.stack([np.ones_like(score), score - centre])
        fitted = _platt(design, score, labelled.positives[None], negative[None])[0]
        shift, slope = (_platt(design, score, positives, negatives) - fitted).T
        return cls(
            labelled=labelled,
            positives=positives,
            negatives=negatives,
            shift=shift + random.normal(0.0, base_rate_error, draws) if base_rate_error > 0.0 else shift,
            slope=slope,
            centre=centre,
        )

    @property
    def draws(self) -> int:
        """Number of draws."""
        return len(self.shift)

    def probabilities(self, cells: ScoreCells, move: FloatArray | None = None) -> FloatArray:
        """Probabilities of each cell, by draw of the calibration.

        Args:
            move: logits by draw that probabilities move by, too.
        """
        s, shift = cells.log_odds, self.shift if move is None else self.shift + move
        return sigmoid(s + shift[:, None] + self.slope[:, None] * (s - self.centre))

    @cached_property
    def own_probabilities(self) -> FloatArray:
        """`probabilities` of validation's own cells."""
        return self.probabilities(self.labelled.cells)

    @cached_property
    def rates(self) -> FloatArray:
        """By draw the mean probability of the draw's rows: the base rate that its probabilities are at."""
        rows = self.positives + self.negatives
        return np.asarray((rows * self.own_probabilities).sum(axis=1) / rows.sum(axis=1), dtype=np.float64)


def _platt(design: FloatArray, offset: FloatArray, positive: FloatArray, negative: FloatArray) -> FloatArray:
    """By draw, the shift and the slope's departure from 1 of most posterior density; Newton's method on all draws."""
    estimate, rows, penalty = np.zeros((len(positive), 2)), positive + negative, _PRIOR**-2.0
    for _ in range(_STEPS):
        p = sigmoid(estimate @ design + offset)
        gradient = (positive - rows * p) @ design.T - penalty * estimate
        curvature = np.einsum("kb,ib,jb->kij", rows * p * (1.0 - p), design, design) + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        # The prior bounds the optimum; a step of more than a logit comes from too flat a start.
        estimate = estimate + np.clip(step, -1.0, 1.0)
    return estimate
