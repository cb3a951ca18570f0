"""The statistics against values worked out elsewhere, and against the truth that simulated raters were given."""

import math

import numpy as np
import pytest
from scipy import stats

from fourfold.errors import StudyError, UsageError
from fourfold.study.analysis import analyse
from fourfold.study.consistency import consistency, weighted_kappa
from fourfold.study.design import TWELVE
from fourfold.study.export import Record
from fourfold.study.opinion import interval_over_both, interval_over_raters, mean_ranks, opinions
from fourfold.study.raters import correlation_with_others, fit_quality, rejected
from fourfold.study.scores import SetScores, by_set, repeated
from fourfold.study.significance import compare_all, holm, paired
from fourfold.study.simulation import (
    SimulatedRater,
    expected_score,
    expected_score_of_population,
    make_qualities,
    make_raters,
    simulate,
)

PAPER_SET5 = dict(zip(TWELVE, (1.28, 1.97, 2.57, 2.65, 3.26, 2.89, 3.37, 3.46, 3.77, 3.78, 3.58, 4.32), strict=True))


def scores_of(values: object, methods: tuple[str, ...] = ("a", "b")) -> SetScores:
    array = np.array(values, dtype=np.float64)
    raters = tuple(f"r{n}" for n in range(array.shape[0]))
    return SetScores("Set5", raters, tuple(f"s{n}" for n in range(array.shape[1])), methods, array)


# Opinion scores


def test_the_interval_is_the_t_interval_of_the_raters_means() -> None:
    values = np.array([[1, 2, 3], [2, 3, 4], [2, 2, 5], [4, 4, 4]], dtype=np.float64)
    means = values.mean(axis=1)
    low, high = stats.t.interval(0.95, 3, loc=means.mean(), scale=stats.sem(means))
    assert interval_over_raters(values) == (pytest.approx(max(1, low)), pytest.approx(min(5, high)))


def test_by_hand() -> None:
    # three raters with means 2, 3, 4: t(2) = 4.302653, s / sqrt(3) = 0.577350, so 3 +- 2.484138
    low, high = interval_over_raters(np.array([[2.0], [3.0], [4.0]]))
    assert (low, high) == (1.0, 5.0)  # cut to the scale
    low, high = interval_over_raters(np.array([[2.9], [3.0], [3.1]]))
    assert (low, high) == (pytest.approx(3 - 0.2484138), pytest.approx(3 + 0.2484138))


def test_gaps_widen_nothing_wrongly() -> None:
    values = np.array([[3, 4, np.nan], [3, 4, np.nan], [np.nan] * 3])
    low, high = interval_over_raters(values)
    assert low == high == pytest.approx(3.5)
    assert all(math.isnan(bound) for bound in interval_over_raters(values[:1]))


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    truth = expected_score_of_population(np.full(8, 3.0), bias=0.35).mean()
    hits = 0
    for _ in range(400):
        raters = make_raters(26, rng)
        values = np.array([[rater.rate(3.0, rng) for _ in range(8)] for rater in raters], dtype=np.float64)
        low, high = interval_over_raters(values)
        hits += low <= truth <= high
    # 95 % of 400 is 380; 365 and 395 are over 3 standard deviations away
    assert 365 <= hits <= 395


@pytest.mark.parametrize(("finished", "left", "after"), [(26, 0, 0), (8, 40, 1), (5, 10, 2), (3, 20, 1), (2, 10, 1)])
def test_intervals_cover_the_truth_when_raters_leave_early(finished: int, left: int, after: int) -> None:
    rng = np.random.default_rng(6)
    scenes = rng.normal(3.0, 0.3, 14)
    hits = 0
    for _ in range(400):
        raters = finished + left
        values = scenes + rng.normal(0, 0.35, (raters, 1)) + rng.normal(0, 0.6, (raters, 14))
        for row in range(finished, raters):
            values[row, rng.permutation(14)[after:]] = np.nan
        low, high = interval_over_raters(values)
        hits += low <= scenes.mean() <= high
    # 95 % of 400 is 380; counting every rater alike, the last three cases had 355, 355 and 343
    assert hits >= 365


# the second is a study of the paper's Set5, the last an early look at BSD100
@pytest.mark.parametrize(("raters", "scenes"), [(20, 20), (26, 5), (5, 5), (4, 100)])
def test_the_interval_over_both_covers_new_pictures_too(raters: int, scenes: int) -> None:
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(400):
        biases, qualities = rng.normal(0, 0.35, (raters, 1)), rng.normal(0, 0.4, (1, scenes))
        values = 3.0 + biases + qualities + rng.normal(0, 0.5, (raters, scenes))
        low, high = interval_over_both(values)
        hits += low <= 3.0 <= high
    assert hits >= 367  # 95 % of 400 is 380, less three standard deviations


def test_the_interval_over_both_is_never_narrower() -> None:
    rng = np.random.default_rng(5)
    for raters, scenes in [(2, 2), (2, 30), (3, 5), (26, 5), (26, 100)] * 20:
        values = rng.integers(1, 6, (raters, scenes)).astype(np.float64)
        values[rng.random(values.shape) < 0.2] = np.nan
        low, high = interval_over_raters(values)
        new_low, new_high = interval_over_both(values)
        assert math.isnan(new_low) or (new_low <= low and high <= new_high)


def test_the_interval_over_both_by_hand() -> None:
    # means of raters 3 and 4, of scenes 3.5 twice: variances 0.25 and 0, and t(1) = 12.706205, cut to the scale
    assert interval_over_both(np.array([[3.0, 3.0], [4.0, 4.0]])) == (1.0, 5.0)
    # of raters 2.99, 3, 3.01 and of scenes 2.98, 3.02: variances 1e-4 / 3 and 4e-4; t(1) = 12.706205
    values = 3 + np.array([[-0.01], [0.0], [0.01]]) + np.array([[-0.02, 0.02]])
    reach = 12.706205 * math.sqrt(1e-4 / 3 + 4e-4)
    assert interval_over_both(values) == (pytest.approx(3 - reach), pytest.approx(3 + reach))
    assert all(math.isnan(bound) for bound in interval_over_both(values[:, :1]))
    assert all(math.isnan(bound) for bound in interval_over_both(values[:1]))


def test_opinions_counts_ranks_and_places() -> None:
    values = [[[1, 5, 3], [2, 5, 3]], [[1, 4, 4], [1, 5, 4]]]
    rows = opinions(scores_of(values, ("low", "high", "middle")))
    assert [row.method for row in rows] == ["low", "high", "middle"]
    assert [row.mos for row in rows] == [1.25, 4.75, 3.5]
    assert rows[0].counts == (3, 1, 0, 0, 0)
    assert [row.place for row in rows] == [3, 1, 2]
    assert [row.rank for row in rows] == [3.0, 1.125, 1.875]  # one tie of the two best: 1.5 each


def test_ranks_need_all_versions_of_a_scene() -> None:
    values = np.array([[[5, 1], [np.nan, 5]]], dtype=np.float64)
    np.testing.assert_array_equal(mean_ranks(values), [1, 2])
    assert np.isnan(mean_ranks(values[:, 1:])).all()


# Significance


def test_holm_against_a_worked_example() -> None:
    # 0.01, 0.04, 0.03, 0.005 of four: 0.03, 0.06, 0.06, 0.02 (R's p.adjust(c(.01, .04, .03, .005), "holm"))
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("unit", "pairs"), [("rater", 3), ("picture", 2), ("rating", 5)])
def test_what_makes_a_pair(unit: str, pairs: int) -> None:
    first = np.array([[5, 4], [3, np.nan], [2, 1]])
    second = np.array([[1, 2], [3, 4], [5, 2]], dtype=np.float64)
    a, b = paired(first, second, unit)
    assert len(a) == len(b) == pairs
    if unit == "rater":
        assert (a.tolist(), b.tolist()) == ([4.5, 3.0, 1.5], [1.5, 3.0, 3.5])


def test_wilcoxon_of_raters_by_hand() -> None:
    # eight raters, all preferring b, differences 1..8 without ties: exact two-sided p = 2 / 2**8
    values = [[[1.0, 1.0 + 0.5 * n]] for n in range(1, 9)]
    [comparison] = compare_all(scores_of(values))
    assert comparison.p == pytest.approx(2 / 2**8)
    assert comparison.p_holm == comparison.p
    assert (comparison.significant, comparison.pairs) == (True, 8)
    assert comparison.difference == pytest.approx(-2.25)


def test_no_difference_is_no_difference() -> None:
    [comparison] = compare_all(scores_of([[[3, 3]], [[4, 4]], [[2, 2]]]))
    assert (comparison.p, comparison.significant, comparison.difference) == (1.0, False, 0.0)
    [alone] = compare_all(scores_of([[[3, 4]]]))
    assert (alone.p, alone.p_holm, alone.significant) == (None, None, False)


def test_false_alarms_are_as_rare_as_promised() -> None:
    """With twelve equal methods, at most about 5 % of studies may find any difference at all."""
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(60):
        values = np.clip(np.rint(3 + rng.normal(0, 0.4, (26, 1, 1)) + rng.normal(0, 0.7, (26, 5, 6))), 1, 5)
        alarms += any(c.significant for c in compare_all(scores_of(values, tuple("abcdef"))))
    assert alarms <= 8


def test_an_unknown_unit() -> None:
    with pytest.raises(UsageError, match="one of rater, picture, rating"):
        compare_all(scores_of([[[1, 2]]]), "eye")


# Consistency


def test_kappa_against_worked_values() -> None:
    same = np.array([1.0, 2, 3, 4, 5])
    assert weighted_kappa(same, same) == pytest.approx(1.0)
    assert weighted_kappa(same, same[::-1].copy()) == pytest.approx(-1.0)
    # a 2 x 2 table of 40, 10, 5, 45: kappa 0.70 whatever the weights (Fleiss, chapter 13)
    first = np.repeat([1.0, 1, 2, 2], [40, 10, 5, 45])
    second = np.repeat([1.0, 2, 1, 2], [40, 10, 5, 45])
    assert weighted_kappa(first, second) == pytest.approx(0.7)
    assert math.isnan(weighted_kappa(np.array([3.0]), np.array([3.0])))


def record(rater: str, kind: str, scene: str, method: str, score: int) -> Record:
    return Record(rater, 0, kind, "Set5", scene, method, score)


def test_consistency_of_repeats() -> None:
    records = []
    for rater in ("a", "b"):
        for scene, first, second in (("x", 3, 3), ("y", 2, 3), ("z", 5, 2)):
            records += [record(rater, "rating", scene, "m", first), record(rater, "repeat", scene, "m", second)]
    found = consistency(repeated(records))
    assert found is not None
    assert (found.pairs, found.exact, found.within_one) == (6, pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert found.shift == pytest.approx(-2 / 3)
    assert found.rms == pytest.approx(math.sqrt(10 / 3))
    assert consistency(repeated([])) is None


def test_a_repeat_does_not_count_as_a_rating() -> None:
    records = [record("a", "rating", "x", "m", 3), record("a", "repeat", "x", "m", 5)]
    [scores] = by_set(records, {"Set5": ("m",)})
    assert scores.values.tolist() == [[[3.0]]]


# Raters


def test_the_model_finds_exactly_what_has_no_noise() -> None:
    quality, bias = np.array([1.5, 2.5, 3.0, 4.5]), np.array([-0.5, 0.0, 0.5])
    fitted = fit_quality(quality[None, :] + bias[:, None])
    np.testing.assert_allclose(fitted.quality, quality, atol=1e-9)
    np.testing.assert_allclose(fitted.bias, bias, atol=1e-9)
    np.testing.assert_allclose(fitted.inconsistency, 0, atol=1e-9)


def test_the_model_finds_bias_and_inconsistency_through_noise_and_gaps() -> None:
    rng = np.random.default_rng(7)
    quality, bias = rng.uniform(1, 5, 1128), rng.normal(0, 0.4, 26)
    bias -= bias.mean()
    inconsistency = rng.uniform(0.3, 1.2, 26)
    values = quality + bias[:, None] + inconsistency[:, None] * rng.standard_normal((26, 1128))
    values[rng.random(values.shape) < 0.2] = np.nan
    fitted = fit_quality(values)
    assert np.abs(fitted.bias - bias).max() < 0.12
    # low for the steadiest, as maximum likelihood is: the qualities are fitted to the same ratings
    assert np.median(np.abs(fitted.inconsistency / inconsistency - 1)) < 0.05
    assert np.abs(fitted.inconsistency / inconsistency - 1).max() < 0.25
    plain = np.nanmean(values, axis=0)
    assert np.mean((fitted.quality - quality) ** 2) < 0.7 * np.mean((plain - quality) ** 2)
    inside = np.abs(fitted.quality - quality) < 1.96 * fitted.quality_error
    assert 0.90 < inside.mean() < 0.97


@pytest.fixture
def sixty() -> np.ndarray:
    """Whole scores of 20 raters, every one of all 60 pictures."""
    rng = np.random.default_rng(31)
    quality, raters = rng.uniform(1.3, 4.7, 60), make_raters(20, rng)
    return np.array([[rater.rate(q, rng) for q in quality] for rater in raters], dtype=np.float64)


def with_rater(values: np.ndarray, scores: dict[int, float]) -> np.ndarray:
    """Adds a rater of a few pictures."""
    row = np.full((1, values.shape[1]), np.nan)
    row[0, list(scores)] = list(scores.values())
    return np.vstack([values, row])


@pytest.mark.parametrize("pictures", [1, 2, 9])
def test_a_rater_of_a_few_pictures_moves_no_quality(sixty: np.ndarray, pictures: int) -> None:
    plain = fit_quality(sixty)
    fitted = fit_quality(with_rater(sixty, dict.fromkeys(range(pictures), 1.0)))
    np.testing.assert_array_equal(fitted.quality, plain.quality)
    np.testing.assert_array_equal(fitted.quality_error, plain.quality_error)
    assert fitted.left_out.tolist() == [False] * 20 + [True]
    assert np.isnan([fitted.bias[-1], fitted.inconsistency[-1]]).all()
    assert fitted.needed == 10


def test_a_rater_of_ten_pictures_moves_them_by_no_more_than_his_ratings(sixty: np.ndarray) -> None:
    plain = fit_quality(sixty)
    fitted = fit_quality(with_rater(sixty, dict.fromkeys(range(10), 1.0)))
    assert fitted.bias[-1] < -1  # who would shift all by 0.08 if he counted like the 20 others
    assert np.abs(np.mean(fitted.quality - plain.quality)) < 0.03


def test_qualities_have_the_mean_of_the_scores_over_all_ratings(sixty: np.ndarray) -> None:
    rng = np.random.default_rng(32)
    sixty[rng.random(sixty.shape) < np.linspace(0, 0.6, 20)[:, None]] = np.nan
    fitted = fit_quality(sixty)
    rated = ~np.isnan(sixty)
    assert np.broadcast_to(fitted.quality, sixty.shape)[rated].mean() == pytest.approx(np.nanmean(sixty), abs=1e-9)
    assert np.average(fitted.bias, weights=rated.sum(axis=1)) == pytest.approx(0, abs=1e-9)
    assert abs(fitted.bias.mean()) > 1e-3  # or this would show nothing


def test_a_small_study_needs_fewer_ratings() -> None:
    values = np.array([[1, 3, 4, 5], [2, 3, 4, 5], [1, 2, 4, 4]], dtype=np.float64)
    assert (fit_quality(values).needed, fit_quality(values).left_out.any()) == (3, False)
    values = with_rater(values, {0: 1, 1: 2})
    assert fit_quality(values).left_out.tolist() == [False, False, False, True]
    fifteen = with_rater(np.tile(np.arange(15.0) % 5 + 1, (3, 1)), dict.fromkeys(range(7), 2.0))
    assert (fit_quality(fifteen).needed, fit_quality(fifteen).left_out.tolist()) == (8, [False] * 3 + [True])


def test_only_what_others_rated_too_tells_of_a_rater() -> None:
    values = np.full((4, 40), np.nan)
    values[0, :20], values[1, :20] = 3, 4
    values[2, 20:], values[3, 29:] = (
        2,
        5,
    )  # the last shares 11 pictures with the third, who shares them with nobody else
    values[3, 32:] = np.nan  # but then only 3
    fitted = fit_quality(values)
    assert fitted.left_out.tolist() == [False, False, True, True]
    assert np.isnan(fitted.quality).tolist() == [False] * 20 + [True] * 20
    assert np.isnan(fitted.quality_error).tolist() == [False] * 20 + [True] * 20


def test_of_one_rater_or_of_two_pictures_nothing_is_fitted() -> None:
    for values in (np.array([[1.0, 2, 3, 4, 5]]), np.array([[1.0, 2], [2, 3], [4, 5]])):
        fitted = fit_quality(values)
        assert fitted.left_out.all()
        assert np.isnan(fitted.quality).all()


def test_a_pilot_does_not_end_as_one_raters_scores() -> None:
    """Of 5 raters and 12 pictures qualities are nearly as close to the truth as plain means, and nobody is perfect."""
    rng = np.random.default_rng(33)
    errors, plain = [], []
    for _ in range(40):
        quality, raters = rng.uniform(1.3, 4.7, 12), make_raters(5, rng)
        values = np.array([[rater.rate(q, rng) for q in quality] for rater in raters], dtype=np.float64)
        fitted = fit_quality(values)
        assert fitted.inconsistency.min() > 0.02
        assert fitted.quality_error.min() > 0.1
        errors.append(np.mean((fitted.quality - quality) ** 2))
        plain.append(np.mean((values.mean(axis=0) - quality) ** 2))
    assert math.sqrt(np.mean(errors)) < 1.3 * math.sqrt(np.mean(plain))


def test_a_short_rating_counts_for_the_mos_and_not_for_the_fit() -> None:
    rng = np.random.default_rng(34)
    qualities = make_qualities({"a": 2.0, "b": 4.0}, tuple(f"s{n}" for n in range(30)), rng)
    records = simulate("Set5", qualities, make_raters(20, rng), rng)
    [before] = analyse(records, {"Set5": ("a", "b")}).sets
    result = analyse([*records, record("passer-by", "rating", "s0", "b", 1)], {"Set5": ("a", "b")})
    [after] = result.sets
    assert after.model == before.model
    assert [one.ratings for one in after.opinions] == [600, 601]
    assert after.opinions[1].mos < before.opinions[1].mos
    assert [rater.rater for rater in result.raters if math.isnan(rater.bias)] == ["passer-by"]


def test_screening_rejects_the_random_and_keeps_the_strict() -> None:
    rng = np.random.default_rng(8)
    quality = rng.uniform(1.3, 4.7, 300)
    raters = [SimulatedRater(str(n), 0.0, 0.5) for n in range(20)] + [SimulatedRater("strict", -0.8, 0.5)]
    values = np.array([[rater.rate(q, rng) for q in quality] for rater in raters], dtype=np.float64)
    random_clicks = rng.integers(1, 6, 300).astype(np.float64)
    out = rejected(np.vstack([values, random_clicks]))
    assert out.tolist() == [False] * 21 + [True]
    assert correlation_with_others(np.vstack([values, random_clicks]))[-1] < 0.3


def test_screening_of_next_to_nothing_rejects_nobody() -> None:
    assert not rejected(np.array([[3.0, 4.0]])).any()
    assert not rejected(np.array([[3.0, np.nan], [3.0, np.nan]])).any()


# The truth that was put in


def test_expected_scores() -> None:
    assert expected_score(3.0, 0.0, 1e-9) == pytest.approx(3.0)
    assert expected_score(3.0, 0.0, 0.7) == pytest.approx(3.0)
    assert expected_score(-9.0, 0.0, 0.5) == pytest.approx(1.0)
    assert expected_score(9.0, 0.0, 0.5) == pytest.approx(5.0)
    rng = np.random.default_rng(9)
    rater = SimulatedRater("x", 0.3, 0.8)
    drawn = np.mean([rater.rate(4.2, rng) for _ in range(20_000)])
    assert expected_score(4.2, 0.3, 0.8) == pytest.approx(drawn, abs=0.02)


def test_a_study_of_26_simulated_raters_recovers_the_truth() -> None:
    """The paper's Set5: 12 versions of 5 pictures, 26 raters of known bias and noise, the paper's MOS as qualities."""
    rng = np.random.default_rng(11)
    scenes = tuple(f"scene{n}" for n in range(5))
    qualities = make_qualities(PAPER_SET5, scenes, rng)
    raters = make_raters(26, rng)
    records = simulate("Set5", qualities, raters, rng, repeats=list(qualities)[:10])
    result = analyse(records, {"Set5": TWELVE})
    [found] = result.sets
    assert found.paper == PAPER_SET5
    truth = {
        method: float(np.mean(expected_score_of_population([qualities[s, method] for s in scenes], bias=0.35)))
        for method in TWELVE
    }
    inside = [one.low <= truth[one.method] <= one.high for one in found.opinions]
    assert sum(inside) >= 11
    assert max(abs(one.mos - truth[one.method]) for one in found.opinions) < 0.25
    # the order of all methods that are a quarter of a point apart
    mos = {one.method: one.mos for one in found.opinions}
    for a in TWELVE:
        for b in TWELVE:
            assert not truth[a] - truth[b] > 0.25 or mos[a] > mos[b]
    # what lies half a point apart is found significant, in the right direction
    for one in found.comparisons:
        apart = truth[one.first] - truth[one.second]
        if abs(apart) > 0.5:
            assert one.significant, one
        if one.significant:
            assert one.difference * apart > 0, one
    # raters: biases come back (as far as the ends of the scale let them), and consistency is what the noise implies
    biases = np.array([rater.bias for rater in raters])
    fitted = np.array([rater.bias for rater in result.raters])
    assert np.corrcoef(biases, fitted)[0, 1] > 0.9
    assert np.abs(fitted - (biases - biases.mean())).max() < 0.3
    noise = np.array([rater.inconsistency for rater in raters])
    assert np.corrcoef(noise, [rater.inconsistency for rater in result.raters])[0, 1] > 0.7
    assert result.consistency is not None
    assert result.consistency.pairs == 260
    assert abs(result.consistency.shift) < 0.15


def test_leaving_raters_out() -> None:
    rng = np.random.default_rng(12)
    qualities = make_qualities({"a": 2.0, "b": 4.0}, tuple(f"s{n}" for n in range(40)), rng)
    raters = [SimulatedRater(f"r{n:02d}", 0.0, 0.5) for n in range(12)]
    records = simulate("Set5", qualities, raters, rng)
    records += [
        Record("r99", 0, "rating", "Set5", scene, method, int(rng.integers(1, 6))) for scene, method in qualities
    ]
    everyone = analyse(records, {"Set5": ("a", "b")})
    assert [rater.rater for rater in everyone.raters if rater.rejected] == ["r99"]
    screened = analyse(records, {"Set5": ("a", "b")}, screening=True)
    assert screened.excluded == {"r99": "rejected by BT.500's screening"}
    by_hand = analyse(records, {"Set5": ("a", "b")}, exclude=["r99"])
    assert by_hand.sets[0].opinions == screened.sets[0].opinions
    with pytest.raises(UsageError, match="--exclude nobody"):
        analyse(records, {"Set5": ("a", "b")}, exclude=["nobody"])
    with pytest.raises(StudyError, match="nothing has been rated"):
        analyse([], {"Set5": ("a", "b")})


def test_who_passed_the_screening_is_not_called_rejected() -> None:
    """Once the first is left out, screening again would reject a second one, who counts all the same."""
    rng = np.random.default_rng(99)
    truth = rng.uniform(1, 5, 20)
    noise = np.array([0.4] * 8 + [1.2, 2.5])
    values = np.clip(np.rint(truth + rng.normal(size=(10, 20)) * noise[:, None]), 1, 5)
    out = rejected(values)
    assert out.sum() == 1 and rejected(values[~out]).any()
    records = [
        Record(f"r{rater}", n, "rating", "Set5", f"s{n // 2}", "ab"[n % 2], int(score))
        for (rater, n), score in np.ndenumerate(values)
    ]
    screened = analyse(records, {"Set5": ("a", "b")}, screening=True)
    assert [*screened.excluded] == [f"r{rater}" for rater in np.flatnonzero(out)]
    assert not any(rater.rejected for rater in screened.raters)


def test_leaving_out_everyone_is_not_the_same_as_nobody_having_rated() -> None:
    rated = [Record("r1", 1, "rating", "Set5", "s", m, 3) for m in "ab"]
    begun = Record("r2", 0, "calibration", "calibration", "c", "hr", 5)
    sets = {"Set5": ("a", "b")}
    with pytest.raises(UsageError, match=r"all raters are excluded.*: r1; leave some in"):
        analyse(rated, sets, exclude=["r1"])
    with pytest.raises(UsageError, match="all raters are excluded"):
        analyse([*rated, begun], sets, exclude=["r1"])
    with pytest.raises(StudyError, match="nothing has been rated yet"):
        analyse([begun], sets, exclude=["r2"])
