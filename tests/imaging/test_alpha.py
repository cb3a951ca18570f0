"""Transparency: no fringes, alpha as the exact bicubic makes it, and what the network that draws it needs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fourfold.imaging import enlarge_alpha, fill_hidden, imresize
from fourfold.imaging.alpha import FILL_REACH_PX, SOFT_REACH_PX, alpha_rows_needed, soft_edges, within_neighbours
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


def _edge(slope: float, height: int = 40, width: int = 48) -> NDArray[np.float32]:
    rows, columns = np.mgrid[:height, :width]
    return (rows > 8 + slope * columns).astype(np.float32)[..., None]


@pytest.mark.parametrize("slope", [0.2, 0.3, 0.5])
def test_stairs_become_lines(slope: float) -> None:
    """Where the edge lies, by how much of each column is covered, keeps closer to the line than steps of pixels do."""
    alpha = _edge(slope)
    found = soft_edges(alpha)[:, 4:44, 0]
    crossing = found.shape[0] - found.sum(axis=0)
    line = 9 + slope * np.arange(4, 44)
    stairs = alpha.shape[0] - alpha[:, 4:44, 0].sum(axis=0)
    assert np.std(crossing - line) <= 0.6 * np.std(stairs - line) + 1e-6
    assert ((found > 0.05) & (found < 0.95)).any()


def test_what_is_soft_or_thin_stays_as_it_is() -> None:
    alpha = np.zeros((40, 60, 1), np.float32)
    alpha[5, 3:50] = 1  # a line
    alpha[12:14, 3:50] = 1  # two pixels of one
    alpha[25:35, 10:50] = np.linspace(0.1, 0.9, 40, dtype=np.float32)[:, None]  # a shadow
    assert np.array_equal(soft_edges(alpha), alpha)
    assert np.array_equal(soft_edges(1 - alpha), 1 - alpha)  # and slits


def test_softening_looks_no_further_than_it_says() -> None:
    rng = np.random.default_rng(0)
    alpha = (imresize(rng.random((8, 10)), 6) > 0.5).astype(np.float32)[..., None]
    whole = soft_edges(alpha)
    for top, left in ((10, 7), (20, 33)):
        part = soft_edges(alpha[top - SOFT_REACH_PX :, left - SOFT_REACH_PX :])[SOFT_REACH_PX:, SOFT_REACH_PX:]
        assert np.abs(part - whole[top:, left:]).max() < 1e-6
    assert np.abs(whole - alpha).max() > 0.1


def test_bounds_of_neighbours() -> None:
    rng = np.random.default_rng(0)
    lr, sr = rng.random((5, 7, 2), np.float32), rng.normal(0.5, 1, (20, 28, 2)).astype(np.float32)
    found = within_neighbours(sr.copy(), lr)
    for row, column in np.ndindex(20, 28):
        y, x = row // 4, column // 4
        around = lr[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        assert np.array_equal(found[row, column], sr[row, column].clip(around.min((0, 1)), around.max((0, 1))))
