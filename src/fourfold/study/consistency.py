"""How well raters agree with themselves: the pictures that were shown twice."""

from dataclasses import dataclass

import numpy as np

from fourfold.evaluation.significance import wilcoxon_p
from fourfold.study.design import SCALE
from fourfold.study.scores import Array, RepeatedScores


@dataclass(frozen=True)
class Consistency:
    """Agreement between first and second score of the same picture.

    ``shift`` is the mean of second minus first, ``p`` the two-sided Wilcoxon test of it being none (the paper's "no
    significant differences between the ratings of the identical images"), one pair a rater; ``kappa`` is Cohen's
    kappa with quadratic weights, 1 for perfect agreement and 0 for that of chance.
    """

    pairs: int
    exact: float
    within_one: float
    shift: float
    rms: float
    kappa: float
    p: float | None


def consistency(scores: RepeatedScores) -> Consistency | None:
    """Returns the agreement, or None where nobody has seen a picture twice yet."""
    first, second = scores.first, scores.second
    if not len(first):
        return None
    apart = np.abs(second - first)
    raters = sorted(set(scores.raters))
    mine = [np.array([rater == one for one in scores.raters]) for rater in raters]
    return Consistency(
        pairs=len(first),
        exact=float(np.mean(apart == 0)),
        within_one=float(np.mean(apart <= 1)),
        shift=float(np.mean(second - first)),
        rms=float(np.sqrt(np.mean(apart**2))),
        kappa=weighted_kappa(first, second),
        p=wilcoxon_p([float(first[m].mean()) for m in mine], [float(second[m].mean()) for m in mine]),
    )


def weighted_kappa(first: Array, second: Array) -> float:
    """Returns Cohen's kappa (1968) with quadratic weights; NaN where both only ever gave one and the same score."""
    values = np.array(list(SCALE), dtype=np.float64)
    seen = np.array([[np.mean((first == a) & (second == b)) for b in values] for a in values])
    chance = np.outer(seen.sum(axis=1), seen.sum(axis=0))
    weights = (values[:, None] - values[None, :]) ** 2
    expected = float(np.sum(weights * chance))
    return 1.0 - float(np.sum(weights * seen)) / expected if expected > 0 else float("nan")
