"""How raters differ: screening as in ITU-R BT.500, and each rater's bias and inconsistency as in ITU-T P.910."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourfold.study.scores import Array, PictureScores

_STEPS = 1000
_SMALLEST_CHANGE = 1e-9
#: Whole scores scatter by so much through rounding alone; nobody gets the weight of a steadier rater.
_LEAST_VARIANCE = 1 / 12
#: So many ratings show a rater's bias and inconsistency, however large the study is.
_PLENTY = 10
#: With two ratings, the bias leaves a single value over to tell the inconsistency from.
_LEAST = 3


@dataclass(frozen=True)
class QualityModel:
    """The model ``score = quality(picture) + bias(rater) + inconsistency(rater) * noise``, fitted.

    ``quality`` and ``quality_error`` (its standard error) are per picture; ``bias`` (0 on average over all ratings) and
    ``inconsistency`` (a standard deviation) per rater. Raters with fewer than ``needed`` ratings of pictures that
    others rated too are left out: their bias and inconsistency are NaN, and so are the qualities of pictures that
    only they rated.
    """

    quality: Array
    quality_error: Array
    bias: Array
    inconsistency: Array
    needed: int

    @property
    def left_out(self) -> NDArray[np.bool_]:
        """Which raters had too few ratings."""
        out: NDArray[np.bool_] = np.isnan(self.bias)
        return out


@dataclass(frozen=True)
class RaterSummary:
    """One rater in the report."""

    rater: str
    ratings: int
    mean: float
    bias: float  # this and the next are NaN with too few ratings
    inconsistency: float
    correlation: float  # with the mean of the others
    rejected: bool  # by BT.500's screening


def fit_quality(values: Array) -> QualityModel:
    """Returns the maximum-likelihood fit of the model of ITU-T P.910 (2022), annex E, and P.913 (2021), 12.6.

    The model is that of Li and Bampis 2017 without their ambiguity of contents (Li et al. 2020). Found by going round:
    residuals give the inconsistencies, these weigh the ratings into qualities, and qualities give the biases, until
    nothing moves. Raters who scatter count less; a constant bias of a rater costs nothing.

    Qualities may all rise and biases all fall by the same amount and fit as well; so the biases are made 0 on average,
    each rater counted as often as he rated. Then the qualities, over all ratings, have the mean of the scores, and a
    rater of few pictures moves them little. Differs from P.910, which counts every rater once: the same thing where
    everybody rated everything, but elsewhere somebody who rated one picture shifted all qualities.

    Differs from P.910 also in whom it fits: one rating cannot tell a bias from scatter. Who has fewer than it takes is
    left out. It takes half as many as the most diligent has, but 3 at least and no more than 10; ratings of pictures
    that nobody else rated tell nothing of a rater and are not counted.

    Differs from P.910 in the weights, too: no rater counts as steadier than rounding to whole scores lets him be. The
    likelihood has no bound where qualities are one rater's very scores, and of few raters and pictures the fit would
    mostly end there, all other ratings lost. With 15 raters and 60 pictures it makes no difference.

    Args:
        values: (raters, pictures), NaN where nothing was rated.
    """
    raters, needed = _with_enough(values)
    pictures = ~np.isnan(values[raters]).all(axis=0)
    quality, error = np.full((2, values.shape[1]), np.nan)
    bias, inconsistency = np.full((2, len(values)), np.nan)
    if raters.any():
        found = _fit(values[np.ix_(raters, pictures)])
        quality[pictures], error[pictures], bias[raters], inconsistency[raters] = found
    return QualityModel(quality, error, bias, inconsistency, needed)


def _with_enough(values: Array) -> tuple[NDArray[np.bool_], int]:
    """Returns which raters have ratings enough for a bias and an inconsistency, and how many that takes."""
    rated = ~np.isnan(values)
    kept = np.ones(len(values), dtype=np.bool_)
    needed = int(np.clip(np.ceil(rated.sum(axis=1).max() / 2), _LEAST, _PLENTY))
    while True:  # whoever goes may have been the only other one to rate a picture
        shared = rated & kept[:, None] & (rated[kept].sum(axis=0) > 1)
        enough: NDArray[np.bool_] = shared.sum(axis=1) >= needed
        if (enough == kept).all():
            return enough, needed
        kept = enough


def _fit(values: Array) -> tuple[Array, Array, Array, Array]:
    """Returns qualities, their errors, biases and inconsistencies; every rater and picture has a rating."""
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
        weights = rated / np.maximum(inconsistency**2, _LEAST_VARIANCE)[:, None]
        quality = (weights * _masked(values - bias[:, None], rated)).sum(axis=0) / weights.sum(axis=0)
        bias = _masked(values - quality, rated).sum(axis=1) / per_rater
        if np.linalg.norm(quality - before) < _SMALLEST_CHANGE:
            break
    precision = (rated / np.maximum(inconsistency**2, _LEAST_VARIANCE)[:, None]).sum(axis=0)
    offset = np.average(bias, weights=per_rater)
    return quality + offset, 1.0 / np.sqrt(precision), bias - offset, inconsistency


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


def summarise(scores: PictureScores, model: QualityModel, out: NDArray[np.bool_]) -> list[RaterSummary]:
    """Returns one row a rater; ``out`` tells whom the screening rejects."""
    correlations = correlation_with_others(scores.values)
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
