"""Mean opinion scores with intervals, the distribution of scores, and ordinal ranks."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fourfold.study.design import SCALE
from fourfold.study.scores import Array, SetScores

LEVEL = 0.95


@dataclass(frozen=True)
class Opinion:
    """What raters said of one method on one set.

    ``low``..``high`` is the 95 % interval over raters, the pictures taken as given: where the MOS of these pictures
    would lie with other raters of the same kind. ``new_low``..``new_high`` also lets the pictures vary, and is never
    narrower.
    """

    set_name: str
    method: str
    ratings: int
    mos: float
    low: float
    high: float
    new_low: float
    new_high: float
    counts: tuple[int, ...]  # how often 1, 2, 3, 4, 5 was given
    rank: float  # mean ordinal rank among the methods of the set, 1 is best
    place: int  # place by MOS, 1 is best


def opinions(scores: SetScores) -> list[Opinion]:
    """Returns one row per method, in the study's order; methods that nobody rated are left out."""
    ranks = mean_ranks(scores.values)
    rows = []
    means = {m: float(np.nanmean(scores.of(m))) for m in scores.methods if not np.isnan(scores.of(m)).all()}
    for method, mos in means.items():
        values = scores.of(method)
        low, high = interval_over_raters(values)
        new_low, new_high = interval_over_both(values)
        rows.append(
            Opinion(
                scores.name,
                method,
                int(np.count_nonzero(~np.isnan(values))),
                mos,
                low,
                high,
                new_low,
                new_high,
                tuple(int(np.count_nonzero(values == score)) for score in SCALE),
                float(ranks[scores.methods.index(method)]),
                1 + sum(other > mos for other in means.values()),
            )
        )
    return rows


def interval_over_raters(values: Array) -> tuple[float, float]:
    """Returns the 95 % interval of the mean of all ratings when other raters of the same kind had rated.

    Ratings of one rater go together, so raters are the units: with everything rated this is the t interval of the
    raters' means; with gaps it is the cluster-robust interval, which it equals where there are none, of as many raters
    as weigh alike (:func:`_effective`). Counting all ratings as independent, as is often done, gives intervals that are
    too narrow; so does counting one who left after a picture like one who rated them all.

    Args:
        values: (raters, scenes), NaN where nothing was rated.

    Returns:
        The bounds, within 1..5; NaN with fewer than two raters.
    """
    values = _rated(values)
    if len(values) < 2:
        return float("nan"), float("nan")
    return _t_interval(float(np.nanmean(values)), _clustered_variance(values), _effective(values) - 1)


def interval_over_both(values: Array) -> tuple[float, float]:
    """Returns the 95 % interval of the mean when other raters had rated other pictures of the same kind.

    The variance over raters and that over pictures, added, with Student's t for the smaller of the two numbers. So it
    is never narrower than the interval over raters, also of a few raters or pictures, and covers at least as often as
    it says. A little more often where single ratings scatter: both variances hold that scatter. Differs from Cameron,
    Gelbach and Miller 2011, who take it off once, and of few raters may take off more than there is.

    Args:
        values: (raters, scenes), NaN where nothing was rated.

    Returns:
        The bounds, within 1..5; NaN with fewer than two raters or two pictures.
    """
    values = _rated(values)
    if min(values.shape) < 2:
        return float("nan"), float("nan")
    variance = _clustered_variance(values) + _clustered_variance(values.T)
    fewer = min(_effective(values), _effective(values.T))
    return _t_interval(float(np.nanmean(values)), variance, fewer - 1)


def _rated(values: Array) -> Array:
    """Returns the rows and columns in which something was rated."""
    rated = ~np.isnan(values)
    return values[rated.any(axis=1)][:, rated.any(axis=0)]


def _clustered_variance(values: Array) -> float:
    """Returns the variance of the mean of all values when rows are drawn, each with all that is in it."""
    deviations = np.nansum(values - np.nanmean(values), axis=1)
    rows = _effective(values)
    return float(rows / (rows - 1) * np.sum(deviations**2) / np.count_nonzero(~np.isnan(values)) ** 2)


def _effective(values: Array) -> float:
    """Returns how many rows of one size weigh as much as these: Kish's effective sample size of their counts.

    The number of rows where all are full; less where some hold little, because the mean is that of the full ones then.
    """
    counts = np.count_nonzero(~np.isnan(values), axis=1)
    return float(counts.sum() ** 2 / np.sum(counts**2))


def _t_interval(mean: float, variance: float, degrees: float) -> tuple[float, float]:
    if variance == 0:
        return mean, mean
    reach = float(stats.t.ppf((1 + LEVEL) / 2, degrees)) * math.sqrt(variance)
    return max(1.0, mean - reach), min(5.0, mean + reach)


def mean_ranks(values: Array) -> NDArray[np.float64]:
    """Returns each method's mean ordinal rank, 1 for the best; equal scores share their ranks.

    Every rater's scores of one scene are ranked; only scenes count of which he rated all versions.

    Args:
        values: (raters, scenes, methods).
    """
    rows = values.reshape(-1, values.shape[2])
    rows = rows[~np.isnan(rows).any(axis=1)]
    if not len(rows):
        return np.full(values.shape[2], np.nan)
    ranks: NDArray[np.float64] = stats.rankdata(-rows, axis=1).mean(axis=0)
    return ranks
