"""PSNR and SSIM against hand values, two other libraries, and a slow direct version of daala's."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fourfold.errors import EvaluationError
from fourfold.evaluation import planes, psnr, ssim_daala, ssim_wang
from fourfold.evaluation.metrics import daala_of_planes, daala_window
from fourfold.imaging import imresize
from tests.conftest import make_photo


@pytest.fixture
def pair() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    hr = make_photo(60, 76, seed=3)
    return imresize(imresize(hr, 0.25), 4), hr


def test_psnr_of_a_constant_difference() -> None:
    hr = np.full((20, 20, 3), 100, np.uint8)
    sr = np.full((20, 20, 3), 110, np.uint8)
    # RGB: an error of 10 everywhere; luma: 219/255 of it
    assert psnr(sr, hr, channel="rgb") == pytest.approx(20 * math.log10(255 / 10))
    assert psnr(sr, hr, channel="y") == pytest.approx(20 * math.log10(255 / (10 * 219 / 255)))
    assert psnr(sr, hr, channel="y-full") == pytest.approx(20 * math.log10(255 / 10))


def test_luma_of_pure_colours_is_matlabs() -> None:
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert planes(colours)[0, :, 0] == pytest.approx([16.0, 235.0, 81.481, 144.553, 40.966])
    assert planes(colours, rounded=True)[0, :, 0].tolist() == [16, 235, 81, 145, 41]


def test_only_what_lies_inside_the_border_counts(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    sr, hr = pair
    spoiled = sr.copy()
    spoiled[:4] = 0
    spoiled[:, -4:] = 255
    assert psnr(spoiled, hr) == psnr(sr, hr)
    assert psnr(spoiled, hr, border_px=3) < psnr(sr, hr, border_px=3)


def test_depth_and_kind_do_not_matter(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    sr, hr = pair
    sixteen = [p.astype(np.uint16) * 257 for p in pair]
    floating = [p.astype(np.float64) / 255 for p in pair]
    orders = [p.astype(order) for p, order in zip(sixteen, ("<u2", ">u2"), strict=True)]
    for metric in (psnr, ssim_wang, ssim_daala):
        assert metric(*sixteen) == pytest.approx(metric(sr, hr), abs=1e-9)
        assert metric(*floating) == pytest.approx(metric(sr, hr), abs=1e-9)
        assert metric(*orders) == metric(*sixteen)


def test_grey_is_scored_through_rgb(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    sr, hr = (p[..., 1] for p in pair)
    tripled = [np.repeat(p[..., None], 3, axis=2) for p in (sr, hr)]
    for metric in (psnr, ssim_wang, ssim_daala):
        assert metric(sr, hr) == metric(sr[..., None], hr[..., None]) == metric(*tripled)


def test_identical_pictures() -> None:
    photo = make_photo(48, 48)
    assert psnr(photo, photo) == math.inf
    assert ssim_wang(photo, photo) == pytest.approx(1.0, abs=1e-12)
    assert ssim_daala(photo, photo) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("channel", ["y", "rgb"])
def test_agrees_with_scikit_image(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]], channel: str) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    first, second = (planes(p, channel=channel)[4:-4, 4:-4] for p in pair)  # type: ignore[arg-type]
    theirs = metrics.structural_similarity(
        first,
        second,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=2,
    )
    assert ssim_wang(*pair, channel=channel) == pytest.approx(theirs, abs=1e-12)  # type: ignore[arg-type]
    assert psnr(*pair, channel=channel) == pytest.approx(  # type: ignore[arg-type]
        metrics.peak_signal_noise_ratio(second, first, data_range=255), abs=1e-9
    )


def test_wang_agrees_with_a_direct_convolution(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    signal = pytest.importorskip("scipy.signal")
    x, y = (planes(p)[4:-4, 4:-4, 0] for p in pair)
    steps = np.arange(-5, 6)
    window = np.exp(-(steps[:, None] ** 2 + steps[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def filtered(a: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(signal.convolve2d(a, window, mode="valid"))

    mx, my = filtered(x), filtered(y)
    vx, vy, vxy = filtered(x * x) - mx**2, filtered(y * y) - my**2, filtered(x * y) - mx * my
    c1, c2 = 6.5025, 58.5225
    ssim = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert ssim_wang(*pair) == pytest.approx(float(ssim.mean()), abs=1e-12)


@pytest.mark.parametrize("size", [(9, 12), (14, 11), (40, 23), (100, 30)])
def test_daala_agrees_with_a_slow_direct_version(size: tuple[int, int]) -> None:
    hr = make_photo(*size, seed=5)
    sr = np.clip(hr.astype(int) + np.random.default_rng(1).integers(-30, 30, hr.shape), 0, 255).astype(np.uint8)
    x, y = (planes(p, rounded=True) for p in (sr, hr))
    assert daala_of_planes(x, y) == pytest.approx(_slow_daala(x[..., 0], y[..., 0]), rel=1e-11)


def _slow_daala(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """One position after the other, in whole numbers as the tool counts them."""
    height, width = x.shape
    sigma = height * 1.5 / 256
    cut = math.sqrt(math.pi / 2) * sigma / 256
    reach = 0 if cut >= 1 else math.floor(sigma * math.sqrt(-2 * math.log(cut)))
    reach = min(reach, min(height, width) - 1)
    weights = {
        k: math.floor(256 / (math.sqrt(2 * math.pi) * sigma) * math.exp(-k * k / (2 * sigma**2)) + 0.5)
        for k in range(-reach, reach + 1)
    }
    weights[0] = 256 - sum(w for k, w in weights.items() if k != 0)
    total, total_weight = 0.0, 0
    for row in range(height):
        for column in range(width):
            sums = [0] * 6
            for i in range(max(-reach, -row), min(reach, height - 1 - row) + 1):
                for j in range(max(-reach, -column), min(reach, width - 1 - column) + 1):
                    w, a, b = weights[i] * weights[j], int(x[row + i, column + j]), int(y[row + i, column + j])
                    sums = [s + w * v for s, v in zip(sums, (a, b, a * a, a * b, b * b, 1), strict=True)]
            a1, b1, a2, ab, b2, w = sums
            c1, c2 = (255 * 0.01 * w) ** 2, (255 * 0.03 * w) ** 2
            luminance = (2 * a1 * b1 + c1) / (a1 * a1 + b1 * b1 + c1)
            structure = (2 * (ab * w - a1 * b1) + c2) / (a2 * w - a1 * a1 + b2 * w - b1 * b1 + c2)
            total += w * luminance * structure
            total_weight += w
    return total / total_weight


@pytest.mark.parametrize(("sigma", "longest"), [(0.05, 8), (0.3, 60), (1.5, 256), (3.0, 512), (3.0, 4), (12.0, 2000)])
def test_daalas_window(sigma: float, longest: int) -> None:
    window = daala_window(sigma, longest)
    assert window.sum() == 256
    assert len(window) % 2 == 1 and len(window) // 2 < longest
    assert np.array_equal(window, window[::-1])
    assert np.array_equal(window, np.round(window))


def test_both_ssims_differ_on_the_same_pictures() -> None:
    hr = make_photo(400, 80, seed=8)
    sr = imresize(imresize(hr, 0.25), 4)
    assert abs(ssim_wang(sr, hr) - ssim_daala(sr, hr)) > 0.003


def _grey(height: int, width: int) -> NDArray[np.uint8]:
    return np.zeros((height, width, 3), np.uint8)


@pytest.mark.parametrize("metric", [psnr, ssim_wang, ssim_daala])
@pytest.mark.parametrize(
    ("sr", "hr", "says"),
    [
        (_grey(40, 40), _grey(40, 44), "must be equal"),
        (_grey(40, 40), _grey(10, 10), "must be equal"),
        (_grey(8, 40), _grey(8, 40), "nothing is left"),
        (np.zeros((40, 40, 4), np.uint8), _grey(40, 40), r"\(40, 40, 4\)"),
        (np.zeros((2, 40, 40, 3), np.uint8), _grey(40, 40), r"\(2, 40, 40, 3\)"),
        (np.full((40, 40, 3), np.nan), _grey(40, 40), "not finite"),
        (np.full((40, 40, 3), np.inf), _grey(40, 40), "4800 of 4800"),
        (_grey(40, 40).astype(np.int32), _grey(40, 40), "uint8, uint16, or floating in 0..1, not int32"),
        (_grey(40, 40), _grey(40, 40).astype(np.int64), "not int64"),
        (_grey(40, 40).astype(np.int8), _grey(40, 40), "not int8"),
        (_grey(40, 40).astype(bool), _grey(40, 40), "not bool"),
        (_grey(40, 40).astype(complex), _grey(40, 40), "not complex128"),
        (np.full((40, 40, 3), 200.0), _grey(40, 40), r"from 200 to 200; they must lie in 0\.\.1: divide by white"),
        (_grey(40, 40), np.full((40, 40, 3), 1.51), r"from 1\.51 to 1\.51"),
        (np.full((40, 40, 3), -0.51, np.float32), _grey(40, 40), "from -0.51 to -0.51"),
    ],
)
def test_bad_input(metric: object, sr: NDArray[np.float64], hr: NDArray[np.uint8], says: str) -> None:
    with pytest.raises(EvaluationError, match=says):
        metric(sr, hr)  # type: ignore[operator]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_may_overshoot_a_little(kind: type) -> None:
    sr = np.full((40, 40, 3), 1.25, kind)
    assert psnr(sr, np.ones((40, 40, 3), kind), channel="rgb") == pytest.approx(-20 * math.log10(0.25))


def test_wang_needs_its_window() -> None:
    with pytest.raises(EvaluationError, match="11x11"):
        ssim_wang(_grey(18, 40), _grey(18, 40))
    assert ssim_wang(_grey(19, 40), _grey(19, 40)) == pytest.approx(1.0)


def test_negative_border() -> None:
    with pytest.raises(EvaluationError, match="nothing is left"):
        psnr(_grey(20, 20), _grey(20, 20), border_px=-1)


@pytest.mark.parametrize("channel", ["RGB", "Y", "yfull", "gray", "", None])
@pytest.mark.parametrize("measure", [psnr, ssim_wang, ssim_daala])
def test_a_channel_that_is_none_is_refused(measure: Callable[..., float], channel: Any) -> None:
    picture = np.zeros((48, 48, 3), np.uint8)
    with pytest.raises(EvaluationError, match="there are y, rgb, y-full"):
        measure(picture, picture, channel=channel)
