"""Tiles cover a picture exactly, keep their halo, and give the picture that one piece would."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fourfold.errors import UsageError
from fourfold.upscaling import tiles
from fourfold.upscaling.tiles import plan, spans
from fourfold.upscaling.upscaler import Upscaler
from fourfold.weights import load_weights
from tests.conftest import make_photo

LENGTHS = st.integers(1, 400)


@settings(deadline=None)
@given(
    length=LENGTHS,
    count=st.integers(1, 30),
    halo_px=st.integers(0, 40),
    first=st.integers(0, 399),
    max_core_px=st.none() | st.integers(1, 60),
)
def test_spans_cover_without_overlap_and_keep_the_halo(length, count, halo_px, first, max_core_px):
    first = min(first, length - 1)
    found = spans(length, count, halo_px, first, max_core_px)
    assert max_core_px is None or max(span.core_stop - span.core_start for span in found) <= max_core_px
    assert found[0].core_start == first
    assert found[-1].core_stop == length
    assert len({span.stop - span.start for span in found}) == 1
    for span, following in itertools.pairwise(found):
        assert span.core_stop == following.core_start
    for span in found:
        assert 0 <= span.start <= span.core_start < span.core_stop <= span.stop <= length
        assert span.start == 0 or span.core_start - span.start >= min(halo_px, span.core_start)
        assert span.stop == length or span.stop - span.core_stop >= halo_px


@settings(deadline=None)
@given(
    height=LENGTHS,
    width=LENGTHS,
    halo_px=st.integers(0, 20),
    max_window_px=st.integers(64, 100_000),
    max_rows_px=st.none() | st.integers(64, 100_000),
)
def test_windows_stay_within_the_limit_wherever_they_can(height, width, halo_px, max_window_px, max_rows_px):
    grid = plan(height, width, halo_px, max_window_px, max_rows_px)
    area = grid.window[0] * grid.window[1]
    smallest = min(height, 2 * halo_px + 1) * min(width, 2 * halo_px + 1)
    # windows share what is left evenly, so one may be a pixel larger than asked on each axis
    assert area <= max(max_window_px, smallest) + height + width + 1


@settings(deadline=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300))
def test_a_picture_that_fits_is_one_tile(height, width):
    grid = plan(height, width, 40, height * width)
    assert grid.tiles == 1
    assert grid.computed_px == height * width


@pytest.mark.parametrize(
    ("height", "width", "max_window_px", "max_rows_px", "most_spans"),
    [(1, 100_000, 16_384, 1_000_000, 100), (100, 1_000_000, 165_000, 2_700_000, 50_000)],
)
def test_a_very_wide_picture_is_planned_with_few_trials(
    monkeypatch, height, width, max_window_px, max_rows_px, most_spans
):
    """Not with millions of tiles, which took minutes and gigabytes before the first pixel was computed."""
    tried = []

    def counted(*arguments):
        found = spans(*arguments)
        tried.append(len(found))
        return found

    monkeypatch.setattr(tiles, "spans", counted)
    grid = tiles.plan(height, width, 24, max_window_px, max_rows_px)
    assert grid.window_px <= max_window_px
    assert sum(tried) < most_spans


def test_few_trials_find_the_best_grid_all_the_same():
    """More columns may compute less: windows are whole pixels, and the last one overlaps more than it has to."""
    best = min(
        (tiles.Grid(spans(87, rows, 1), spans(382, columns, 1)) for rows in range(1, 40) for columns in range(1, 40)),
        key=lambda grid: (grid.window_px > 3951, grid.computed_px),
    )
    assert plan(87, 382, 1, 3951).computed_px == best.computed_px


def test_an_empty_picture_is_refused():
    with pytest.raises(UsageError, match="0x7"):
        plan(7, 0, 4, 1000)


@pytest.mark.parametrize("engine", ["openvino", "torch"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_tiled_equals_whole(tiny_weights, engine, precision):
    weights = load_weights(tiny_weights)
    whole = Upscaler(weights, engine=engine, precision=precision)
    tiled = Upscaler(weights, engine=engine, precision=precision)

    @settings(max_examples=12, deadline=None)
    @given(
        height=st.integers(1, 75),
        width=st.integers(1, 75),
        tile_px=st.integers(1, 24),
        dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
        seed=st.integers(0, 99),
    )
    def check(height, width, tile_px, dtype, seed):
        photo = make_photo(height, width, seed)
        picture = photo.astype(dtype) * dtype(257) if dtype is np.uint16 else photo
        picture = photo.astype(np.float32) / 255 if dtype is np.float32 else picture
        tiled.max_window_px = (2 * tiled.halo_px + tile_px) ** 2
        levels = 1.0 if dtype is np.float32 else float(np.iinfo(dtype).max)
        difference = np.abs(whole(picture).astype(np.float64) - tiled(picture)).max() / levels
        assert difference <= 1 / 255

    check()


def test_a_halo_that_is_too_small_shows(tiny_weights):
    """The test above can fail: without a halo the tiles' seams are visible."""
    upscaler = Upscaler(load_weights(tiny_weights), engine="openvino", precision="fp32")
    photo = make_photo(60, 60)
    whole = upscaler(photo)
    upscaler.halo_px = 0
    upscaler.max_window_px = 400
    assert np.abs(whole.astype(int) - upscaler(photo)).max() > 1
