"""Transparency: no fringes, and alpha as the exact bicubic makes it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourfold.imaging import enlarge_alpha, fill_hidden, imresize
from fourfold.imaging.alpha import FILL_REACH_PX, alpha_rows_needed
from tests.imaging.samples import TOP, alpha_for, make_photo, pixels


def disc(hidden: int) -> tuple[np.ndarray, np.ndarray]:
    """An orange disc; what lies under its transparent surroundings is `hidden`."""
    y, x = np.mgrid[:64, :64]
    alpha = np.where((y - 32) ** 2 + (x - 32) ** 2 < 400, 255, 0).astype(np.uint8)
    colour = np.where(alpha[:, :, None] > 0, np.uint8([250, 140, 10]), np.uint8(hidden)).astype(np.uint8)
    return colour, alpha


@pytest.mark.parametrize("hidden", [0, 255, 99])
def test_hidden_colours_do_not_matter_near_visible_ones(hidden: int) -> None:
    colour, alpha = disc(hidden)
    filled = fill_hidden(colour, alpha)
    assert np.array_equal(filled[alpha > 0], colour[alpha > 0])
    y, x = np.mgrid[:64, :64]
    near = (y - 32) ** 2 + (x - 32) ** 2 < (20 + 8) ** 2
    assert np.abs(filled[near].astype(int) - [250, 140, 10]).max() <= 1


def test_an_enlarged_sprite_has_no_fringe() -> None:
    colour, alpha = disc(0)
    enlarged = imresize(fill_hidden(colour, alpha), 4)
    visible = enlarge_alpha(alpha, 0, 64, 0, 256, 4) > 0
    assert np.abs(enlarged[visible].astype(int) - [250, 140, 10]).max() <= 1
    fringed = imresize(colour, 4)
    assert np.abs(fringed[visible].astype(int) - [250, 140, 10]).max() > 100  # what would have happened


def test_faint_pixels_weigh_little() -> None:
    colour = np.zeros((5, 5, 3), np.uint8)
    alpha = np.zeros((5, 5), np.uint8)
    colour[2, 0], alpha[2, 0] = (255, 0, 0), 250
    colour[2, 2], alpha[2, 2] = (0, 0, 255), 1
    filled = fill_hidden(colour, alpha)
    assert filled[2, 1, 0] > 250 and filled[2, 1, 2] < 5


@pytest.mark.parametrize("value", [0, 255])
def test_nothing_to_fill(value: int) -> None:
    colour = make_photo(9, 9)
    assert fill_hidden(colour, np.full((9, 9), value, np.uint8)) is colour


@pytest.mark.parametrize("dtype", TOP)
@given(cut=st.integers(1, 59))
def test_filling_in_bands_is_filling_whole(dtype: str, cut: int) -> None:
    colour = pixels(dtype, 3, 60, 33)
    alpha = alpha_for(colour)
    alpha[20:25] = 0
    whole = fill_hidden(colour, alpha)
    above = fill_hidden(colour[: cut + FILL_REACH_PX], alpha[: cut + FILL_REACH_PX])[:cut]
    start = max(0, cut - FILL_REACH_PX)
    below = fill_hidden(colour[start:], alpha[start:])[cut - start :]
    assert np.array_equal(np.concatenate([above, below]), whole)


@pytest.mark.parametrize("dtype", TOP)
@pytest.mark.parametrize("scale", [2, 4])
@given(height=st.integers(1, 30), top=st.integers(0, 200), rows=st.integers(1, 60))
def test_alpha_in_bands_is_the_exact_bicubic(dtype: str, scale: int, height: int, top: int, rows: int) -> None:
    alpha = pixels(dtype, 1, height, 7)[:, :, 0]
    top = min(top, height * scale - 1)
    bottom = min(top + rows, height * scale)
    start, stop = alpha_rows_needed(top, bottom, height, scale)
    found = enlarge_alpha(alpha[start:stop], start, height, top, bottom, scale)
    expected = np.clip(imresize(alpha, scale), 0, TOP[dtype])[top:bottom]
    assert found.dtype == alpha.dtype
    # float32 sums against float64 ones
    assert np.abs(found.astype(float) - expected.astype(float)).max() <= (1e-5 if dtype == "float32" else 1.0)
