"""Mean opinion scores with intervals, the distribution of scores, and ordinal ranks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fourfold.study.design import SCALE
from fourfold.study.scores import Array, SetScores

LEVEL = 0.95
_DRAWS = 2000


@dataclass(frozen=True)
class Opinion:
    """What raters said of one method on one set.

    ``low``..``high`` is the 95 % interval over raters, the pictures taken as given: where the MOS of these pictures
    would lie with other raters of the same kind. ``new_low``..``new_high`` also lets the pictures vary.
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


def opinions(scores: SetScores, seed: int = 0) -> list[Opinion]:
    """Returns one row per method, in the study's order; methods that nobody rated are left out."""
    ranks = mean_ranks(scores.values)
    rows = []
    means = {m: float(np.nanmean(scores.of(m))) for m in scores.methods if not np.isnan(scores.of(m)).all()}
    for method, mos in means.items():
        values = scores.of(method)
        low, high = interval_over_raters(values)
        new_low, new_high = interval_over_both(values, seed)
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
    raters' means; with gaps it is the cluster-robust interval, which it equals where there are none. Counting all
    ratings as independent, as is often done, gives intervals that are too narrow.

    Args:
        values: (raters, scenes), NaN where nothing was rated.

    Returns:
        The bounds, within 1..5; NaN with fewer than two raters.
    """
    rated = ~np.isnan(values)
    values, rated = values[rated.any(axis=1)], rated[rated.any(axis=1)]
    raters = len(values)
    if raters < 2:
        return float("nan"), float("nan")
    mean = np.nanmean(values)
    deviations = np.nansum(np.where(rated, values - mean, 0.0), axis=1)
    error = np.sqrt(raters / (raters - 1) * np.sum(deviations**2)) / np.count_nonzero(rated)
    reach = stats.t.ppf((1 + LEVEL) / 2, raters - 1) * error
    return float(max(1.0, mean - reach)), float(min(5.0, mean + reach))


def interval_over_both(values: Array, seed: int = 0) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval of the mean when other raters had rated other pictures of the same kind.

    Raters and pictures are both drawn with replacement (the pigeonhole bootstrap of Owen 2007), 2,000 times.
    """
    rated = ~np.isnan(values)
    if values.shape[0] < 2 or values.shape[1] < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    raters, scenes = (rng.multinomial(n, np.full(n, 1.0 / n), _DRAWS).astype(np.float64) for n in values.shape)
    sums = np.einsum("br,rs,bs->b", raters, np.where(rated, values, 0.0), scenes, optimize=True)
    numbers = np.einsum("br,rs,bs->b", raters, rated.astype(np.float64), scenes, optimize=True)
    means = sums[numbers > 0] / numbers[numbers > 0]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


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
