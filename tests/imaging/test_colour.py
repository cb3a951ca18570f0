"""Luma and rounding against hand values, for numpy and torch."""

import numpy as np
import pytest
import torch

from fourfold.imaging import quantise, rgb_to_y, to_integers, to_unit


@pytest.mark.parametrize(
    ("rgb", "y"),
    [((0, 0, 0), 16.0), ((1, 1, 1), 235.0), ((1, 0, 0), 81.481), ((0, 1, 0), 144.553), ((0, 0, 1), 40.966)],
)
def test_luma_is_studio_range(rgb: tuple[float, float, float], y: float) -> None:
    assert rgb_to_y(np.array(rgb, np.float64)) == pytest.approx(y)
    assert float(rgb_to_y(torch.tensor(rgb, dtype=torch.float64).view(1, 3, 1, 1), axis=1)) == pytest.approx(y)


def test_half_is_rounded_up_not_to_even() -> None:
    values = np.array([0.5, 1.5, 2.5, -3.0, 300.0]) / 255
    assert to_integers(values).tolist() == [1, 2, 3, 0, 255]
    assert (quantise(values) * 255).round(9).tolist() == [1, 2, 3, 0, 255]
    assert torch.allclose(quantise(torch.from_numpy(values)) * 255, torch.tensor([1, 2, 3, 0, 255.0]).double())


@pytest.mark.parametrize("dtype", [np.uint32, np.int16, np.float32])
def test_other_integers_are_refused(dtype: type) -> None:
    with pytest.raises(ValueError, match="makes uint8 or uint16, not"):
        to_integers(np.ones(3), dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, "uint8"])
def test_integers_survive_the_trip_to_unit_and_back(dtype: type | str) -> None:
    every = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    assert np.array_equal(to_integers(to_unit(every), dtype), every)
