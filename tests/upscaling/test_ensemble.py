"""Self-ensemble: the mean over eight versions, whatever the engine, the kind of picture and the tiles."""

import numpy as np
import pytest

import fourfold
from fourfold.upscaling import TURNS, load
from fourfold.upscaling.ensemble import mean_over_turns
from tests.conftest import make_photo

TURNED = [
    lambda x: x,
    lambda x: x[::-1],
    lambda x: x[:, ::-1],
    lambda x: x[::-1, ::-1],
    lambda x: x.swapaxes(0, 1),
    lambda x: np.rot90(x),
    lambda x: np.rot90(x, 3),
    lambda x: np.rot90(x, 2).swapaxes(0, 1),
]


def picture(height=24, width=31):
    return make_photo(height, width).astype(np.float32) / np.float32(255)


def test_it_is_the_mean_over_all_eight_versions(tiny_weights):
    plain, ensemble = (load(tiny_weights, precision="fp32", ensemble=e) for e in (False, True))
    source, back = picture(), [0, 1, 2, 3, 4, 6, 5, 7]
    each = np.array([TURNED[back[k]](plain(np.ascontiguousarray(TURNED[k](source)))) for k in range(8)])
    inside = ((each > 0) & (each < 1)).all(axis=0)  # single results are cut off at black and white, the mean only once
    difference = np.abs(ensemble(source) - each.mean(axis=0))[inside]
    assert difference.size > 1000
    assert difference.max() < 1e-5
    assert np.abs(ensemble(source) - plain(source)).max() > 1e-4


@pytest.mark.parametrize("engine", ["openvino", "torch"])
@pytest.mark.parametrize("turn", range(8))
def test_a_turned_picture_gives_the_turned_result(tiny_weights, engine, turn):
    upscaler, source = load(tiny_weights, engine=engine, precision="fp32", ensemble=True), picture()
    turned = upscaler(np.ascontiguousarray(TURNED[turn](source)))
    assert np.abs(turned - TURNED[turn](upscaler(source))).max() < 1e-5


def test_every_version_is_seen_once():
    seen = []
    window = np.arange(2 * 3 * 3, dtype=np.float32).reshape(2, 3, 3)
    found = mean_over_turns(lambda w: seen.append(w) or w, window)
    assert np.array_equal(found, window)
    assert len({w.tobytes() + bytes(w.shape) for w in seen}) == TURNS


@pytest.mark.parametrize("shape", [(24, 31), (24, 31, 1), (3, 5, 3), (1, 1, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_all_kinds_of_pictures(tiny_weights, shape, dtype):
    source = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    found = load(tiny_weights, ensemble=True)(source)
    assert (found.shape, found.dtype) == ((4 * shape[0], 4 * shape[1], *shape[2:]), dtype)


def test_tiles_are_exact(tiny_weights):
    whole, tiled = (load(tiny_weights, precision="fp32", ensemble=True) for _ in range(2))
    tiled.max_window_px = 40 * 40
    source = picture(90, 120)
    assert np.abs(whole(source) - tiled(source)).max() < 1e-5


def test_its_sum_counts_as_memory(tiny_weights):
    plain, ensemble = (load(tiny_weights, max_memory="16M", ensemble=e) for e in (False, True))
    assert ensemble.max_window_px < plain.max_window_px


def test_pictures_with_alpha(tiny_weights):
    rgba = np.dstack([make_photo(16, 20), np.full((16, 20), 200, np.uint8)])
    plain, ensemble = (fourfold.upscale(rgba, tiny_weights, ensemble=e) for e in (False, True))
    assert np.array_equal(plain.alpha, ensemble.alpha)
    assert not np.array_equal(plain.pixels, ensemble.pixels)
