"""NIQE against a second implementation written with scipy, closer to the authors' program."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fourfold.errors import EvaluationError
from fourfold.evaluation.metrics import planes
from fourfold.evaluation.niqe import PristineModel, block_features, load_pristine, niqe
from fourfold.imaging import imresize
from tests.conftest import make_photo


@pytest.fixture(scope="module")
def pristine() -> PristineModel:
    rng = np.random.default_rng(0)
    factor = rng.normal(0, 0.3, (36, 36))
    return PristineModel(rng.uniform(0.2, 2, 36), factor @ factor.T + 0.1 * np.eye(36))


def _reference_features(luma: NDArray[np.float64]) -> NDArray[np.float64]:
    ndimage, special = pytest.importorskip("scipy.ndimage"), pytest.importorskip("scipy.special")
    gam = np.arange(0.2, 10.001, 0.001)
    r_gam = special.gamma(2 / gam) ** 2 / (special.gamma(1 / gam) * special.gamma(3 / gam))
    y, x = np.mgrid[-3:4, -3:4]
    window = np.exp(-(x**2 + y**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()

    def fit(v: NDArray[np.float64]) -> tuple[float, float, float]:
        left, right = np.sqrt(np.mean(v[v < 0] ** 2)), np.sqrt(np.mean(v[v > 0] ** 2))
        g = left / right
        r = np.mean(np.abs(v)) ** 2 / np.mean(v**2) * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
        alpha = gam[np.argmin((r_gam - r) ** 2)]
        scale = np.sqrt(special.gamma(1 / alpha) / special.gamma(3 / alpha))
        return alpha, left * scale, right * scale

    scales = []
    for scale in (1, 2):
        mu = ndimage.correlate(luma, window, mode="nearest")
        sigma = np.sqrt(np.abs(ndimage.correlate(luma**2, window, mode="nearest") - mu**2))
        mscn = (luma - mu) / (sigma + 1)
        size, rows = 96 // scale, []
        for top in range(0, luma.shape[0], size):
            for left in range(0, luma.shape[1], size):
                block = mscn[top : top + size, left : left + size]
                alpha, bl, br = fit(block)
                features = [alpha, (bl + br) / 2]
                for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
                    alpha, bl, br = fit(block * np.roll(np.roll(block, down, 0), right, 1))
                    mean = (br - bl) * special.gamma(2 / alpha) / special.gamma(1 / alpha)
                    features += [alpha, mean, bl, br]
                rows.append(features)
        scales.append(np.array(rows))
        luma = imresize(luma, 0.5)
    return np.concatenate(scales, axis=1)


def test_features_agree_with_the_reference() -> None:
    luma = planes(make_photo(200, 300, seed=2), rounded=True)[4:196, 4:292, 0]
    ours, theirs = block_features(luma), _reference_features(luma)
    assert ours.shape == (6, 36)
    assert np.abs(ours - theirs).max() < 1e-9


def test_distance_agrees_with_the_reference(pristine: PristineModel) -> None:
    photo = make_photo(200, 300, seed=2)
    features = _reference_features(planes(photo, rounded=True)[4:196, 4:292, 0])
    difference = pristine.mean - features.mean(axis=0)
    pooled = np.linalg.pinv((pristine.covariance + np.cov(features.T)) / 2)
    assert niqe(photo, pristine) == pytest.approx(float(np.sqrt(difference @ pooled @ difference)), rel=1e-6)


def test_flat_blocks_do_not_count(pristine: PristineModel) -> None:
    photo = make_photo(104, 392, seed=4)
    half_flat = photo.copy()
    half_flat[:, 250:] = 128
    assert np.isnan(block_features(planes(half_flat)[4:100, 4:388, 0])[-1]).all()
    assert np.isfinite(niqe(half_flat, pristine))


def test_brightness_changes_nothing_on_even_ground(pristine: PristineModel) -> None:
    photo = make_photo(104, 392, seed=4).clip(20, 200)
    photo[30:90, 60:330] = 117
    photo[::2, 340:] = 64
    values = [niqe(photo[..., 1] + np.uint8(more), pristine, channel="y-full") for more in (0, 1, 2, 3, 7)]
    assert np.ptp(values) < 1e-6


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (make_photo(100, 200), "holds 0"),
        (make_photo(104, 104), "holds 1"),
        (np.full((120, 220, 3), 77, np.uint8), "flat"),
    ],
)
def test_pictures_that_are_too_little(picture: NDArray[np.uint8], says: str, pristine: PristineModel) -> None:
    with pytest.raises(EvaluationError, match=says):
        niqe(picture, pristine)


def test_it_describes_one_plane(pristine: PristineModel) -> None:
    with pytest.raises(EvaluationError, match="one plane"):
        niqe(make_photo(120, 220), pristine, channel="rgb")


@pytest.mark.parametrize("content", [b"", b"not numpy", None])
def test_bad_parameter_files(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "niqe.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EvaluationError, match=r"niqe\.npz"):
        load_pristine(path)


def test_parameters_of_other_shapes(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", mu_pris_param=np.zeros((1, 18)), cov_pris_param=np.zeros((18, 18)))
    with pytest.raises(EvaluationError, match="shapes"):
        load_pristine(tmp_path / "p.npz")


@pytest.mark.parametrize(
    ("mean", "covariance", "says"),
    [
        (np.ones(36) * (1 + 2j), np.eye(36), "complex"),
        (np.ones(36), np.eye(36) * (1 + 2j), "complex"),
        (np.ones(36), np.eye(36) + np.eye(36, k=1), "not symmetric"),
        (np.ones(36), -1e3 * np.eye(36), "negative eigenvalue, -1e"),
        (np.ones(36), np.diag([-1e-5] + 35 * [1.0]), "negative eigenvalue, -1e-05"),
    ],
)
def test_what_is_no_covariance(mean: NDArray[Any], covariance: NDArray[Any], says: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", mu_pris_param=mean, cov_pris_param=covariance)
    with pytest.raises(EvaluationError, match=says):
        load_pristine(tmp_path / "p.npz")


def test_rounding_makes_no_covariance_another_thing(tmp_path: Path) -> None:
    rounded = np.diag([-1e-9] + 35 * [1.0]) + 1e-9 * np.eye(36, k=1)
    np.savez(tmp_path / "p.npz", mu_pris_param=np.ones(36), cov_pris_param=rounded)
    assert np.array_equal(load_pristine(tmp_path / "p.npz").covariance, rounded)


def test_a_distance_is_never_below_zero() -> None:
    assert niqe(make_photo(200, 300, seed=2), PristineModel(np.ones(36), -1e6 * np.eye(36))) == 0.0


def _cut(path: Path) -> None:
    np.savez(path, mu_pris_param=np.ones((1, 36)), cov_pris_param=np.eye(36))
    path.write_bytes(path.read_bytes()[:4000])


def _bit_turned(path: Path) -> None:
    np.savez_compressed(path, mu_pris_param=np.ones((1, 36)), cov_pris_param=np.eye(36))
    path.write_bytes(bytes(byte ^ 0xFF if k == 70 else byte for k, byte in enumerate(path.read_bytes())))


def _bare_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.ones(36))


def _not_finite(path: Path) -> None:
    np.savez(path, mu_pris_param=np.ones((1, 36)), cov_pris_param=np.full((36, 36), np.nan))


@pytest.mark.parametrize("spoil", [_cut, _bit_turned, _bare_array, _not_finite])
def test_damaged_parameter_files(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    spoil(tmp_path / "niqe.npz")
    with pytest.raises(EvaluationError, match=r"niqe\.npz.*NIQE parameters"):
        load_pristine(tmp_path / "niqe.npz")


def test_parameters_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", mu_pris_param=np.ones((1, 36)), cov_pris_param=np.eye(36))
    model = load_pristine(tmp_path / "p.npz")
    assert model.mean.shape == (36,) and model.covariance.shape == (36, 36)
