"""Every shipped network: tiles with the measured halo give what the whole picture gives."""

import numpy as np
import pytest

from fourfold.upscaling import create, folded, load, luma
from fourfold.upscaling.tiles import SHIPPED_HALO_PX, sufficient_halo_px
from fourfold.weights import load_weights, shipped_names
from tests.conftest import make_photo

CUT_PX = 20


@pytest.mark.parametrize("name", shipped_names() or [pytest.param("", marks=pytest.mark.skip("nothing is shipped"))])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_cut_is_not_felt_beyond_the_halo(name, precision):
    """The worst case: both axes cut inside noise and inside a picture, all values near the cut compared.

    In fp32 it is next to nothing. In bf16 what is left flips roundings, by less than bf16 errs anyway.
    """
    weights = load_weights(name)
    graph = folded(weights)
    halo_px = sufficient_halo_px(graph, weights)
    engine, exact = create(graph, "openvino", precision), create(graph, "openvino", "fp32")
    size = CUT_PX + halo_px + 12
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    inside, kept = graph.scale * (CUT_PX + halo_px), graph.scale * halo_px
    for picture, flips in ((noise, 2), (make_photo(size, size), 1)):
        lr = picture.astype(np.float32) / 255
        whole = luma.run(engine, graph, lr).clip(0, 1)[inside:, inside:]
        cut = luma.run(engine, graph, lr[CUT_PX:, CUT_PX:]).clip(0, 1)[kept:, kept:]
        felt = np.abs(whole - cut)
        if precision == "fp32":
            assert felt.max() <= 0.02 / 255  # of photographs, 0.01 was measured (benchmarks/halo.py)
        else:
            error = np.abs(whole - luma.run(exact, graph, lr).clip(0, 1)[inside:, inside:])
            assert felt.max() <= flips * 1.001 / 255
            assert felt.mean() <= max(error.mean(), 0.01 / 255)  # there is none where bf16 is computed in fp32


def test_only_shipped_files_get_the_measured_halo(tiny_weights, tmp_path):
    weights = load_weights(tiny_weights)
    assert load(tiny_weights).halo_px == folded(weights).halo_px == 12
    for name in shipped_names():
        shipped = load_weights(name)
        graph = folded(shipped)
        assert sufficient_halo_px(graph, shipped) == min(SHIPPED_HALO_PX, graph.halo_px)
        assert sufficient_halo_px(graph, shipped, weights) == graph.halo_px


def test_deeper_pictures_do_not_depend_on_their_tiles():
    """A tile reads all that the network sees: what differs is the last bit of a sum, which flips few roundings."""
    upscaler = load("srgan-plus", engine="openvino", precision="fp32")
    photo = make_photo(60, 150).astype(np.uint16) * 257
    whole, tiles = upscaler(photo), []
    upscaler.max_window_px = 100 * 60
    tiled = upscaler(photo, progress=lambda _, total: tiles.append(total))
    assert tiles[-1] > 1
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    assert (whole != tiled).mean() < 0.01


def test_little_memory_makes_tiles_no_smaller_than_for_8_bits():
    """Where the whole field would repeat much more work, deeper pictures have the halo of the others."""
    upscaler = load("srgan-plus", engine="openvino", precision="fp32")
    upscaler.max_window_px = 70 * 70
    assert upscaler._grid(300, 300, np.uint16, 70 * 70, 10**6) == upscaler._grid(300, 300, np.uint8, 70 * 70, 10**6)
    wide = [upscaler._grid(900, 900, dtype, 512 * 512, 10**6) for dtype in (np.uint16, np.uint8)]
    assert wide[0].computed_px > wide[1].computed_px
