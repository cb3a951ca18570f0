"""Which methods differ: paired two-sided Wilcoxon signed-rank tests of all pairs of a set, with Holm's correction."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from fourfold.errors import UsageError
from fourfold.evaluation.significance import LEVEL, wilcoxon_p
from fourfold.study.scores import Array, SetScores

#: What makes one pair of the test.
UNITS = ("rater", "picture", "rating")


@dataclass(frozen=True)
class Comparison:
    """One pair of methods on one set; ``p`` is None where too little was rated."""

    set_name: str
    first: str
    second: str
    pairs: int
    difference: float  # mean of first minus second, over the pairs
    p: float | None
    p_holm: float | None

    @property
    def significant(self) -> bool:
        """Whether the difference stands after correction."""
        return self.p_holm is not None and self.p_holm < LEVEL


def compare_all(scores: SetScores, unit: str = "rater") -> list[Comparison]:
    """Returns every pair of methods of a set, tested.

    Args:
        scores: the set.
        unit: what one pair is. ``rater``: a rater's mean scores of the two methods; raters are independent of each
            other, so the test's p holds. ``picture``: a picture's two MOS. ``rating``: each rating; the most pairs,
            but those of one rater go together and p comes out too small.

    Raises:
        UsageError: for another unit.
    """
    if unit not in UNITS:
        raise UsageError(f"--pairs is one of {', '.join(UNITS)}, not {unit!r}")
    found = []
    for first, second in combinations(scores.methods, 2):
        a, b = paired(scores.of(first), scores.of(second), unit)
        found.append((first, second, a, b, wilcoxon_p(a.tolist(), b.tolist())))
    corrected = holm([p for *_, p in found])
    return [
        Comparison(scores.name, first, second, len(a), float(np.mean(a - b)) if len(a) else float("nan"), p, p_holm)
        for (first, second, a, b, p), p_holm in zip(found, corrected, strict=True)
    ]


def paired(first: Array, second: Array, unit: str) -> tuple[Array, Array]:
    """Returns two methods' values pair by pair, from (raters, scenes) each; only what was rated of both counts."""
    both = ~np.isnan(first) & ~np.isnan(second)
    if unit == "rating":
        return first[both], second[both]
    axis = 1 if unit == "rater" else 0
    some = both.any(axis=axis)
    counts = both.sum(axis=axis)[some]
    means = [np.where(both, values, 0.0).sum(axis=axis)[some] / counts for values in (first, second)]
    return means[0], means[1]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Returns p values corrected for their number (Holm 1979): all at once wrong in at most 5 % of studies.

    The k-th smallest of m is multiplied by m - k + 1; none gets smaller than the one before it. None stays None.
    """
    tested = sorted((p, n) for n, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    so_far = 0.0
    for k, (p, n) in enumerate(tested):
        so_far = max(so_far, min(1.0, p * (len(tested) - k)))
        corrected[n] = so_far
    return corrected
