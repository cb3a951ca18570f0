"""Whether a difference between two methods is more than chance: the paper's Wilcoxon signed-rank test."""

from collections.abc import Sequence

import numpy as np

#: The paper's level.
LEVEL = 0.05

#: Differences that agree to this many decimals count as equal; no measure here is known that finely.
_DECIMALS = 9


def p_digits(p: float) -> int:
    """Returns how many digits to print of p: four, or more where it would look like the level that it is not."""
    return next((n for n in range(4, 16) if float(f"{p:.{n}f}") != LEVEL), 4)


def wilcoxon_p(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Returns the two-sided p of the paired Wilcoxon signed-rank test (Wilcoxon 1945).

    Pairs without a difference are left out, as Wilcoxon did. Of those that are left, up to 50 without ties or 13 with
    ties give the exact distribution, more give the normal approximation (scipy's "auto", from its version 1.15 on).
    Differences are equal when they are to nine decimals. Five pictures can give no less than 0.0625, whatever happens,
    so nothing on Set5 alone is significant at 0.05.

    Args:
        first: one value per picture.
        second: the other method's values, same pictures, same order.

    Returns:
        p, or None for fewer than two pictures or values that are not finite; 1.0 where nothing differs.
    """
    if len(first) < 2 or not (np.isfinite(first).all() and np.isfinite(second).all()):
        return None
    # The test ranks the differences. Those of means may be equal in truth and not in their last bits, such as
    # 17/5 - 15/5 and 22/5 - 20/5: unrounded, such ties would be broken by chance, and the ranks and p with them.
    differences = np.round(np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64), _DECIMALS)
    # Left out here rather than by scipy, which counts them when it chooses between exact and approximate.
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    from scipy import stats

    return float(stats.wilcoxon(differences, alternative="two-sided", method="auto").pvalue)
