"""How raters differ: screening as in ITU-R BT.500, and each rater's bias and inconsistency as in ITU-T P.910."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourfold.study.scores import Array, PictureScores

_STEPS = 1000
_SMALLEST_CHANGE = 1e-9
#: Keeps a rater who agrees exactly with the others from getting infinite weight.
_VARIANCE_FLOOR = 1e-8


@dataclass(frozen=True)
class QualityModel:
    """The model ``score = quality(picture) + bias(rater) + inconsistency(rater) * noise``, fitted.

    ``quality`` and ``quality_error`` (its standard error) are per picture; ``bias`` (0 on average) and
    ``inconsistency`` (a standard deviation) per rater.
    """

    quality: Array
    quality_error: Array
    bias: Array
    inconsistency: Array


@dataclass(frozen=True)
class RaterSummary:
    """One rater in the report."""

    rater: str
    ratings: int
    mean: float
    bias: float
    inconsistency: float
    correlation: float  # with the mean of the others
    rejected: bool  # by BT.500's screening


def fit_quality(values: Array) -> QualityModel:
    """Returns the maximum-likelihood fit of the model of ITU-T P.910 (2022), annex E (Li et al. 2020).

    Found by going round: residuals give the inconsistencies, these weigh the ratings into qualities, and qualities
    give the biases, until nothing moves. Raters who scatter count less; a constant bias of a rater costs nothing.

    Args:
        values: (raters, pictures), NaN where nothing was rated; every rater and picture has a rating.
    """
    rated = ~np.isnan(values)
    known = np.where(rated, values, 0.0)
    per_rater, per_picture = rated.sum(axis=1), rated.sum(axis=0)
    quality = known.sum(axis=0) / per_picture
    bias = _masked(values - quality, rated).sum(axis=1) / per_rater
    inconsistency = np.zeros(len(values))
    for _ in range(_STEPS):
        before = quality
        residual = _masked(values - quality - bias[:, None], rated)
        residual = _masked(residual - (residual.sum(axis=1) / per_rater)[:, None], rated)
        inconsistency = np.sqrt((residual**2).sum(axis=1) / per_rater)
        weights = rated / (inconsistency**2 + _VARIANCE_FLOOR)[:, None]
        quality = (weights * _masked(values - bias[:, None], rated)).sum(axis=0) / weights.sum(axis=0)
        bias = _masked(values - quality, rated).sum(axis=1) / per_rater
        if np.linalg.norm(quality - before) < _SMALLEST_CHANGE:
            break
    precision = (rated / (inconsistency**2 + _VARIANCE_FLOOR)[:, None]).sum(axis=0)
    return QualityModel(quality + bias.mean(), 1.0 / np.sqrt(precision), bias - bias.mean(), inconsistency)


def rejected(values: Array) -> NDArray[np.bool_]:
    """Returns who fails the screening of ITU-R BT.500-14, annex 1, 2.3.

    A rater is rejected when more than 5 % of his scores lie outside the others' spread (2 standard deviations where
    a picture's scores look normal by their kurtosis, sqrt(20) where they do not) and they do so on both sides: a
    rater who is merely strict or kind lies outside on one side, and stays.

    Args:
        values: (raters, pictures), NaN where nothing was rated.
    """
    rated = ~np.isnan(values)
    counts = rated.sum(axis=0)
    usable = counts >= 2
    values, rated, counts = values[:, usable], rated[:, usable], counts[usable]
    mean = _masked(values, rated).sum(axis=0) / counts
    from_mean = _masked(values - mean, rated)
    second = (from_mean**2).sum(axis=0) / counts
    fourth = (from_mean**4).sum(axis=0) / counts
    kurtosis = np.divide(fourth, second**2, out=np.full_like(second, np.nan), where=second > 0)
    deviation = np.sqrt((from_mean**2).sum(axis=0) / (counts - 1))
    reach = np.where((kurtosis >= 2) & (kurtosis <= 4), 2.0, np.sqrt(20.0)) * deviation
    spread = second > 0
    above = (rated & spread & (from_mean >= reach)).sum(axis=1)
    below = (rated & spread & (from_mean <= -reach)).sum(axis=1)
    outside = above + below
    share = outside / np.maximum(rated.sum(axis=1), 1)
    one_sided = np.abs(above - below) / np.maximum(outside, 1)
    result: NDArray[np.bool_] = (share > 0.05) & (one_sided < 0.3)
    return result


def correlation_with_others(values: Array) -> Array:
    """Returns each rater's Pearson correlation with the mean of all others, over the pictures that both have."""
    rated = ~np.isnan(values)
    total, count = _masked(values, rated).sum(axis=0), rated.sum(axis=0)
    found = np.full(len(values), np.nan)
    for n, own in enumerate(values):
        use = rated[n] & (count > 1)
        if use.sum() < 3:
            continue
        others = (total[use] - own[use]) / (count[use] - 1)
        if own[use].std() > 0 and others.std() > 0:
            found[n] = np.corrcoef(own[use], others)[0, 1]
    return found


def summarise(scores: PictureScores, model: QualityModel) -> list[RaterSummary]:
    """Returns one row a rater."""
    correlations = correlation_with_others(scores.values)
    out = rejected(scores.values)
    return [
        RaterSummary(
            rater,
            int(np.count_nonzero(~np.isnan(scores.values[n]))),
            float(np.nanmean(scores.values[n])),
            float(model.bias[n]),
            float(model.inconsistency[n]),
            float(correlations[n]),
            bool(out[n]),
        )
        for n, rater in enumerate(scores.raters)
    ]


def _masked(values: Array, rated: NDArray[np.bool_]) -> Array:
    return np.where(rated, values, 0.0)
