"""Centring: the constant cast goes, nothing else changes."""

from pathlib import Path

import numpy as np
import pytest

import fourfold
from fourfold.errors import DataError, WeightsError
from fourfold.imaging import imresize
from fourfold.training.centring import centred, colour_cast, colour_correction
from fourfold.weights import read_weights, write_weights
from fourfold.weights.catalogue import SHIPPED


def _pictures(count: int = 4) -> list[np.ndarray]:
    """Soft pictures that stay away from black and white, where a cast would be cut off."""
    noise = np.random.default_rng(0)
    return [imresize(noise.integers(60, 196, (24, 21, 3), dtype=np.uint8), 4) for _ in range(count)]


def test_finds_a_constant_cast_and_no_other() -> None:
    def restore(lr: np.ndarray) -> np.ndarray:
        return imresize(lr, 4) + np.array([3, 0, 1], np.uint8)

    cast = colour_cast(restore, _pictures(), 4) * 255
    np.testing.assert_allclose(cast, [3, 0, 1], atol=0.05)


def test_differences_that_cancel_are_no_cast() -> None:
    signs = iter([4, -4] * 2)
    found = colour_cast(lambda lr: imresize(lr, 4).astype(np.int16) + next(signs), _pictures(), 4)
    np.testing.assert_allclose(found * 255, 0, atol=0.05)


def test_a_network_moved_off_centre_comes_back(tmp_path: Path) -> None:
    shipped = read_weights(SHIPPED / "srresnet-mse.safetensors")
    off = centred(shipped, np.array([-6, 4, 0]) / 255)
    assert {name for name, value in off.items() if (value != shipped.tensors[name]).any()} == {"tail.bias"}
    path = write_weights(tmp_path / "off.safetensors", shipped.config, off)
    before = colour_cast(fourfold.load(SHIPPED / "srresnet-mse.safetensors", precision="fp32"), _pictures(), 4)
    cast = colour_cast(fourfold.load(path, precision="fp32"), _pictures(), 4)
    np.testing.assert_allclose((cast - before) * 255, [6, -4, 0], atol=0.1)
    again = write_weights(tmp_path / "again.safetensors", shipped.config, centred(read_weights(path), cast))
    left = colour_cast(fourfold.load(again, precision="fp32"), _pictures(), 4)
    np.testing.assert_allclose(left * 255, 0, atol=0.1)


def test_finds_what_takes_a_matrix_on_colours_back() -> None:
    tint, shift = np.array([[0.96, 0.02, 0.0], [0.0, 1.02, 0.01], [0.03, 0.0, 0.95]]), np.array([4.0, -2.0, 0.0])

    def restore(lr: np.ndarray) -> np.ndarray:
        return imresize(lr.astype(float), 4) @ tint.T + shift

    noise = np.random.default_rng(0)  # so soft that nothing is lost on the way to LR and back
    pictures = [imresize(noise.integers(60, 196, (4, 4, 3), dtype=np.uint8), 24) for _ in range(3)]
    matrix, offset = colour_correction(restore, pictures, 4)
    np.testing.assert_allclose(matrix, np.linalg.inv(tint) - np.eye(3), atol=0.005)
    np.testing.assert_allclose(offset * 255, -np.linalg.inv(tint) @ shift, atol=0.5)


def test_no_picture_is_an_error() -> None:
    with pytest.raises(DataError, match="no picture"):
        colour_correction(lambda lr: imresize(lr, 4), [], 4)
    with pytest.raises(DataError, match="no picture"):
        colour_cast(lambda lr: imresize(lr, 4), [], 4)


def test_a_network_on_luma_has_no_colour_to_move() -> None:
    with pytest.raises(WeightsError, match="only an SRResNet"):
        centred(read_weights(SHIPPED / "espcn.safetensors"), np.zeros(3))
