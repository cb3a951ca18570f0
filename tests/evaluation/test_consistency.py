import math

import numpy as np
import pytest

from fourfold.errors import EvaluationError
from fourfold.evaluation.consistency import colour_drift, lr_psnr
from fourfold.imaging import imresize


@pytest.fixture(scope="module")
def hr() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 190, (48, 64, 3), dtype=np.uint8)


def test_an_original_differs_from_lr_by_its_rounding_only(hr: np.ndarray) -> None:
    lr = imresize(hr, 0.25)
    assert 57 < lr_psnr(hr, lr) < 61  # a uniform error of +-0.5: 10 log10(255^2 * 12) = 58.9
    assert colour_drift(hr, lr) < 0.05


def test_flat_pictures_agree_exactly() -> None:
    sr, lr = np.full((32, 40, 3), 90, np.uint8), np.full((8, 10, 3), 90, np.uint8)
    assert lr_psnr(sr, lr) > 200 or lr_psnr(sr, lr) == math.inf
    assert colour_drift(sr, lr) == pytest.approx(0, abs=1e-9)


def test_a_shift_of_colour_is_the_mean_of_its_channels(hr: np.ndarray) -> None:
    lr = imresize(hr, 0.25)
    shifted = (hr + np.array([3, 0, -3])).astype(np.uint8)
    assert colour_drift(shifted, lr) == pytest.approx(2.0, abs=0.05)
    assert lr_psnr(shifted, lr) == pytest.approx(10 * math.log10(255**2 / 6), abs=0.2)


def test_what_shrinking_removes_is_free(hr: np.ndarray) -> None:
    lr = imresize(hr, 0.25)
    textured = (hr.astype(np.int16) + 20 * (-1) ** np.arange(64)[None, :, None]).astype(np.uint8)
    assert colour_drift(textured, lr) < 0.3
    assert lr_psnr(textured, lr) > 40


def test_depths_compare(hr: np.ndarray) -> None:
    lr = imresize(hr, 0.25)
    assert lr_psnr(hr.astype(np.uint16) * 257, lr) == pytest.approx(lr_psnr(hr, lr))
    assert lr_psnr(hr / 255.0, lr) == pytest.approx(lr_psnr(hr, lr))


@pytest.mark.parametrize(
    ("sr", "lr", "message"),
    [
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8), "not larger"),
        (np.zeros((8, 32, 3), np.uint8), np.zeros((8, 8, 3), np.uint8), "not larger"),
        (np.full((32, 32, 3), np.nan), np.zeros((8, 8, 3), np.uint8), "not finite"),
        (np.zeros((32, 32, 4), np.uint8), np.zeros((8, 8, 3), np.uint8), "a picture is"),
    ],
)
def test_bad_pictures_are_named(sr: np.ndarray, lr: np.ndarray, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        lr_psnr(sr, lr)
