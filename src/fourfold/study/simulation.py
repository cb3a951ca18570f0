"""Raters made up for rehearsals and tests, with known bias and noise, so that it can be checked what a report finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from fourfold.study.export import Record
from fourfold.study.scores import Array


@dataclass(frozen=True)
class SimulatedRater:
    """A rater who sees ``quality + bias + inconsistency * noise`` and gives the nearest of 1..5."""

    name: str
    bias: float = 0.0
    inconsistency: float = 0.6

    def rate(self, quality: float, rng: np.random.Generator) -> int:
        """Returns his score for a picture of this quality."""
        return int(np.clip(np.rint(quality + self.bias + self.inconsistency * rng.standard_normal()), 1, 5))


def make_raters(count: int, rng: np.random.Generator, *, bias: float = 0.35) -> list[SimulatedRater]:
    """Returns raters whose biases scatter with standard deviation ``bias`` and whose inconsistencies differ."""
    return [
        SimulatedRater(f"r{n + 1:02d}-simulated", float(rng.normal(0, bias)), float(rng.uniform(0.4, 0.9)))
        for n in range(count)
    ]


def make_qualities(
    means: Mapping[str, float], scenes: Sequence[str], rng: np.random.Generator, *, spread: float = 0.3
) -> dict[tuple[str, str], float]:
    """Returns the quality of every (scene, method): the method's mean plus what the scene adds."""
    return {(scene, method): mean + rng.normal(0, spread) for scene in scenes for method, mean in means.items()}


def expected_score(quality: Array | float, bias: Array | float, inconsistency: Array | float) -> Array:
    """Returns the mean of the scores 1..5 that such a rater gives: the truth that a MOS estimates."""
    scores = np.arange(1, 5) + 0.5  # the borders between 1|2, 2|3, 3|4, 4|5
    centre = np.asarray(quality, dtype=np.float64) + np.asarray(bias, dtype=np.float64)
    above = stats.norm.sf(scores, loc=centre[..., None], scale=np.asarray(inconsistency, dtype=np.float64)[..., None])
    expected: Array = 1.0 + above.sum(axis=-1)
    return expected


def expected_score_of_population(
    quality: Array | Sequence[float] | float, *, bias: float, low: float = 0.4, high: float = 0.9
) -> Array:
    """Returns the mean score over all raters that ``make_raters`` can make (by quadrature over bias and noise)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(21)
    levels, shares = np.polynomial.legendre.leggauss(7)
    noise = (low + high) / 2 + (high - low) / 2 * levels
    points = np.asarray(quality, dtype=np.float64)[..., None, None]
    table = expected_score(points, (bias * nodes)[:, None], np.broadcast_to(noise, (len(nodes), len(noise))))
    weight = (weights / weights.sum())[:, None] * (shares / shares.sum())[None, :]
    mean: Array = (table * weight).sum(axis=(-1, -2))
    return mean


def simulate(
    set_name: str,
    qualities: Mapping[tuple[str, str], float],
    raters: Sequence[SimulatedRater],
    rng: np.random.Generator,
    *,
    repeats: Sequence[tuple[str, str]] = (),
) -> list[Record]:
    """Returns the ratings of a whole set by all raters, and their second ratings of the ``repeats``."""
    shown = [("rating", key) for key in qualities] + [("repeat", key) for key in repeats]
    return [
        Record(rater.name, position, kind, set_name, scene, method, rater.rate(qualities[scene, method], rng))
        for rater in raters
        for position, (kind, (scene, method)) in enumerate(shown)
    ]
