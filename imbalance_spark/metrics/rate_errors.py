"""Sampling errors of the true and the false positive rate at many thresholds at once, from the hash buckets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imbalance_spark.core.arrays import FloatArray
from imbalance_spark.metrics.bucket_draws import BucketedCurve


@dataclass(frozen=True, kw_only=True, eq=False)
class RateErrors:
    """Variances of both rates, and their covariance, at each of some thresholds."""

    tpr_variance: FloatArray
    fpr_variance: FloatArray
    covariance: FloatArray


def rate_errors(sample: BucketedCurve, cuts: Sequence[int]) -> RateErrors:
    """Sampling errors of recall and false positive rate, linear in the buckets (infinitesimal jackknife).

    Precision, costs and alerts at any base rate and any costs are functions of the two rates, so that their errors
    follow by the delta method (Efron, 1982, chapter 6).

    Args:
        sample: both classes have rows, in two buckets or more.
        cuts: entries of the curve's thresholds: how many entries of its counts are flagged.
    """
    weight = sample.buckets.weight[sample.occupied]
    by_class = weight.sum(axis=1)
    shares = np.stack([_flagged_share(sample, cut) for cut in cuts])
    flagged = np.einsum("gbk,cbk->cgk", weight, shares)
    rates = flagged.sum(axis=1, keepdims=True) / by_class.sum(axis=0)
    influence = (flagged - rates * by_class) / by_class.sum(axis=0)
    scale = len(weight) / (len(weight) - 1.0)
    of_negatives, of_positives = influence[..., 0], influence[..., 1]
    return RateErrors(
        tpr_variance=scale * np.sum(of_positives**2, axis=1),
        fpr_variance=scale * np.sum(of_negatives**2, axis=1),
        covariance=scale * np.sum(of_positives * of_negatives, axis=1),
    )


def _flagged_share(sample: BucketedCurve, cut: int) -> FloatArray:
    """The share of each coarse bin's weight that is flagged, by class."""
    is_flagged = np.arange(len(sample.curve.score)) < cut
    return sample.pattern.coarse_mean(np.repeat(is_flagged[:, None], 2, axis=1).astype(np.float64))
