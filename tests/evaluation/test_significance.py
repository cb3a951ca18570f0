"""The Wilcoxon test against all sign patterns counted out."""

import itertools

import numpy as np
import pytest

from fourfold.evaluation.significance import wilcoxon_p


def _counted(differences: list[float]) -> float:
    """The exact two-sided p: every pattern of signs is equally likely."""
    there = [d for d in differences if d != 0]
    ranks = [sum(abs(e) < abs(d) for e in there) + (sum(abs(e) == abs(d) for e in there) + 1) / 2 for d in there]
    statistic = min(sum(r for r, d in zip(ranks, there, strict=True) if (d > 0) == up) for up in (True, False))
    sums = [
        sum(r for r, s in zip(ranks, signs, strict=True) if s) for signs in itertools.product((0, 1), repeat=len(there))
    ]
    return min(1.0, 2 * sum(s <= statistic for s in sums) / len(sums))


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_counting(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(0.3, 1, 9), rng.normal(0, 1, 9)
    assert wilcoxon_p(first.tolist(), second.tolist()) == pytest.approx(_counted((first - second).tolist()))


@pytest.mark.parametrize("pictures", [5, 8, 11, 13])
@pytest.mark.parametrize("seed", range(4))
def test_ties_and_zeros_agree_with_counting_too(pictures: int, seed: int) -> None:
    """The reason for scipy's lower bound in pyproject.toml: before 1.15, these took the normal approximation."""
    differences = np.random.default_rng(seed).integers(-1, 4, pictures).astype(np.float64)
    assert wilcoxon_p(differences.tolist(), [0.0] * pictures) == pytest.approx(_counted(differences.tolist()))


def test_pairs_without_a_difference_make_a_large_set_of_a_small_one_no_larger() -> None:
    assert wilcoxon_p([1, 1, 1, 1, *[0] * 10], [0] * 14) == pytest.approx(0.125)
    assert wilcoxon_p([1, 0], [0, 0]) == 1.0


def test_five_pictures_can_give_no_less() -> None:
    assert wilcoxon_p([2, 3, 4, 5, 6.5], [1, 1, 1, 1, 1]) == pytest.approx(0.0625)
    assert wilcoxon_p([1, 1, 1, 1, 1], [0] * 5) == pytest.approx(0.0625)
    assert wilcoxon_p([1, 1, 1, 1, 0], [0] * 5) == pytest.approx(0.125)


def test_it_is_two_sided() -> None:
    first, second = [1.0, 2.1, 3.3, 4.6, 5.1, 6.9], [0.5, 1.0, 3.5, 4.0, 4.0, 5.0]
    assert wilcoxon_p(first, second) == wilcoxon_p(second, first)


@pytest.mark.parametrize("scenes", [5, 14, 100])
@pytest.mark.parametrize("seed", range(4))
def test_means_give_the_p_of_their_sums(scenes: int, seed: int) -> None:
    """Means of the same number of scores are ranked as the whole sums are, whose differences have no rounding."""
    from scipy import stats

    rng = np.random.default_rng(seed)
    quality, bias = rng.normal(3.2, 0.3, scenes), rng.normal(0, 0.35, (26, 1))
    first, second = (
        np.clip(np.rint(quality + shift + bias + 0.6 * rng.standard_normal((26, scenes))), 1, 5) for shift in (0, 0.22)
    )
    truth = stats.wilcoxon(first.sum(axis=1) - second.sum(axis=1)).pvalue
    assert wilcoxon_p(first.mean(axis=1).tolist(), second.mean(axis=1).tolist()) == pytest.approx(truth, rel=1e-12)


def test_equal_differences_are_ties() -> None:
    first, second = [17 / 5, 22 / 5, 11 / 5, 14 / 5], [15 / 5, 20 / 5, 13 / 5, 13 / 5]
    assert len({abs(a - b) for a, b in zip(first, second, strict=True)}) == 3  # in truth 0.4, three times, and 0.2
    assert wilcoxon_p(first, second) == wilcoxon_p([17, 22, 11, 14], [15, 20, 13, 13])
    assert wilcoxon_p([0.1 + 0.2, 1.0], [0.3, 1.0]) == 1.0


def test_small_differences_of_measures_count() -> None:
    rng = np.random.default_rng(1)
    second = rng.uniform(0.6, 0.9, 14)
    differences = rng.normal(2e-5, 4e-5, 14)
    expected = _counted(differences.tolist())
    assert wilcoxon_p((second + differences).tolist(), second.tolist()) == pytest.approx(expected)


def test_what_cannot_be_tested() -> None:
    assert wilcoxon_p([1.0], [2.0]) is None
    assert wilcoxon_p([], []) is None
    assert wilcoxon_p([1.0, float("inf")], [1.0, 2.0]) is None
    assert wilcoxon_p([1.0, 2.0], [1.0, 2.0]) == 1.0


def test_a_hundred_pictures() -> None:
    rng = np.random.default_rng(0)
    second = rng.normal(26, 3, 100)
    p = wilcoxon_p((second + rng.normal(0.2, 0.1, 100)).tolist(), second.tolist())
    assert p is not None and p < 1e-10


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_values_that_are_not_finite_have_no_p_and_no_warning(value: float) -> None:
    for first, second in (([value, 1.0], [value, 2.0]), ([value, 1.0], [3.0, 2.0]), ([3.0, 2.0], [1.0, value])):
        assert wilcoxon_p(first, second) is None
