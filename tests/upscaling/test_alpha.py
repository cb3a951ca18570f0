"""Alpha through its own network: outlines are drawn, what is opaque or hidden stays so, in memory and in files."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fourfold.errors import CancelledError
from fourfold.imaging import Picture, enlarge_alpha, read_picture
from fourfold.upscaling import load
from fourfold.upscaling.alpha import AlphaBands, alpha_upscaler, draws_alpha, enlarged_alpha, sharing_memory
from fourfold.upscaling.files import upscale_file
from fourfold.upscaling.pictures import upscale_picture
from fourfold.weights import shipped_names
from tests.conftest import make_photo

pytestmark = pytest.mark.skipif("srresnet-jpeg" not in shipped_names(), reason="no network for alpha is shipped")

HEIGHT, WIDTH = 44, 56


@pytest.fixture(scope="module")
def upscaler():
    return load("srgan-plus", engine="openvino", precision="fp32")


@pytest.fixture(scope="module")
def shape():
    """An ellipse, sixteen times as large as the small picture."""
    large = Image.new("L", (16 * WIDTH, 16 * HEIGHT))
    ImageDraw.Draw(large).ellipse((80, 60, 16 * WIDTH - 90, 16 * HEIGHT - 100), fill=255)
    return large


def covered(shape, factor):
    return np.asarray(shape.reduce(factor))


def bicubic(alpha):
    return enlarge_alpha(alpha, 0, len(alpha), 0, 4 * len(alpha), 4)


def error(found, true):
    return np.sqrt(np.mean((found.astype(float) - true) ** 2))


@pytest.mark.parametrize(("hard", "share"), [(False, 0.4), (True, 0.95)])
def test_an_outline_is_nearer_than_the_bicubic_one(upscaler, shape, hard, share):
    true, alpha = covered(shape, 4), covered(shape, 16)
    if hard:
        alpha = np.where(alpha >= 128, 255, 0).astype(np.uint8)
    assert error(enlarged_alpha(alpha, upscaler), true) < share * error(bicubic(alpha), true)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_is_opaque_or_hidden_stays_so(upscaler, shape, dtype):
    most = 1 if dtype is np.float32 else np.iinfo(dtype).max
    alpha = (covered(shape, 16) / 255 * most).astype(dtype)
    found = enlarged_alpha(alpha, upscaler)
    assert found.dtype == dtype
    for value in (0, most):
        area = np.lib.stride_tricks.sliding_window_view(np.pad(alpha, 1, mode="edge"), (3, 3))
        whole = np.kron((area == value).all((2, 3)), np.ones((4, 4))) == 1
        assert whole.sum() > 1000
        assert (found[whole] == value).all()


def test_even_alpha_costs_no_network(upscaler, monkeypatch):
    alpha = alpha_upscaler(upscaler, 1 << 30)
    monkeypatch.setattr(alpha, "_restore", lambda *_: pytest.fail("the network was asked"))
    assert (alpha(np.full((20, 24), 77, np.uint8)) == 77).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_files_have_the_alpha_of_pictures(upscaler, shape, dtype, tmp_path):
    colour, alpha = make_photo(HEIGHT, WIDTH).astype(dtype), covered(shape, 16).astype(dtype)
    picture = Picture(colour, alpha) if dtype is np.uint8 else Picture(colour * dtype(257), alpha * dtype(257))
    picture.save(tmp_path / "in.png")
    upscale_file(upscaler, tmp_path / "in.png", tmp_path / "out.png")
    found, whole = read_picture(tmp_path / "out.png"), upscale_picture(picture, upscaler)
    assert np.array_equal(found.alpha, whole.alpha)
    assert np.array_equal(found.pixels, whole.pixels)


def test_tiles_and_bands_are_exact(upscaler):
    rng = np.random.default_rng(3)
    alpha = (np.kron(rng.random((10, 3)), np.ones((14, 14))) * 65535).astype(np.uint16)
    whole = alpha_upscaler(upscaler, 1 << 30)
    tiled = alpha_upscaler(upscaler, 1 << 30)
    tiled.max_window_px = 110 * 42
    steps = []
    found = tiled(alpha, progress=lambda _, total: steps.append(total))
    assert steps[-1] > 1
    assert np.abs(found.astype(int) - whole(alpha)).max() <= 1


def test_bands_are_cut_as_they_are_asked_for():
    rows = np.arange(40).reshape(40, 1, 1)
    bands = AlphaBands(iter([rows[:7], rows[7:8], rows[8:30], rows[30:]]))
    tops = [0, 3, 9, 10, 29, 40]
    found = [bands.rows(top, bottom) for top, bottom in pairwise(tops)]
    assert np.array_equal(np.concatenate(found)[:, 0], np.arange(40))


def test_memory_is_shared(upscaler):
    half = sharing_memory(upscaler)
    assert half.max_memory == upscaler.max_memory // 2
    assert alpha_upscaler(half, half.max_memory).max_memory < half.max_memory
    assert alpha_upscaler(half, 1 << 30).weights is alpha_upscaler(upscaler, 1 << 30).weights  # one for all copies


def test_a_stop_reaches_alpha(upscaler, shape):
    asked = []
    with pytest.raises(CancelledError):
        picture = Picture(make_photo(HEIGHT, WIDTH), covered(shape, 16))
        upscale_picture(picture, upscaler, cancelled=lambda: bool(asked) or asked.append(0))


def test_networks_on_luma_leave_alpha_to_the_bicubic(shape):
    espcn = load("espcn", engine="openvino", precision="fp32")
    alpha = covered(shape, 16)
    assert not draws_alpha(espcn)
    assert sharing_memory(espcn) is espcn
    assert np.array_equal(enlarged_alpha(alpha, espcn), bicubic(alpha))
