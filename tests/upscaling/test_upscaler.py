"""The upscaler: every kind of picture, bad input, memory, cancelling, progress, falling back."""

import itertools

import numpy as np
import pytest

from fourfold.errors import CancelledError, EngineError, PictureError
from fourfold.upscaling import DEFAULT_MAX_MEMORY, Upscaler, load, parse_size
from fourfold.upscaling.engines import OutOfMemoryError
from fourfold.weights import WeightsConfig, load_weights, write_weights
from tests.conftest import make_photo, make_tensors


@pytest.fixture(scope="module")
def upscaler(tiny_weights):
    return load(tiny_weights, engine="openvino", precision="fp32")


@pytest.fixture
def small_tiles(tiny_weights):
    upscaler = load(tiny_weights, engine="openvino", precision="fp32")
    upscaler.max_window_px = (2 * upscaler.halo_px + 12) ** 2
    return upscaler


class Rows:
    """A row source that notes what is asked of it."""

    def __init__(self, array):
        self.array, self.asked = array, []
        self.height, self.width, self.channels = array.shape
        self.white = 1.0
        self.dtype = array.dtype

    def read(self, top, bottom):
        self.asked.append((top, bottom))
        return self.array[top:bottom]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(9, 7, 3), (9, 7, 1), (9, 7), (1, 1, 3)])
def test_kind_and_axes_stay(upscaler, dtype, shape):
    rng = np.random.default_rng(0)
    picture = rng.random(shape).astype(np.float32)
    picture = picture if dtype is np.float32 else (picture * np.iinfo(dtype).max).astype(dtype)
    result = upscaler(picture)
    assert result.dtype == dtype
    assert result.shape == (4 * shape[0], 4 * shape[1], *shape[2:])


@pytest.mark.parametrize("dtype", [">u2", "<u2", ">f4", "<f4"])
def test_the_order_of_bytes_does_not_matter(upscaler, dtype):
    picture = make_photo(9, 7).astype(np.float32) / 255
    picture = picture if "f" in dtype else (picture * 65535).astype(np.uint16)
    assert np.array_equal(upscaler(picture.astype(dtype)), upscaler(picture))


def test_the_depths_agree(upscaler):
    photo = make_photo(20, 24)
    eight = upscaler(photo)
    sixteen = upscaler(photo.astype(np.uint16) * 257)
    floating = upscaler(photo.astype(np.float32) / np.float32(255))
    assert np.abs(sixteen / 65535 - floating).max() <= 0.51 / 65535
    assert np.abs(eight / 255 - floating).max() <= 0.51 / 255
    assert floating.min() >= 0 and floating.max() <= 1


def test_grey_is_the_luma_of_the_grey_picture_in_colour(upscaler):
    grey = make_photo(20, 24)[:, :, :1].astype(np.float32) / 255
    colour = upscaler._engine.run(np.repeat(grey, 3, axis=2).transpose(2, 0, 1)[None])[0]
    expected = np.tensordot([0.299, 0.587, 0.114], colour, axes=1).clip(0, 1)
    assert np.abs(upscaler(grey)[:, :, 0] - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ([[1, 2]], "not list"),
        (np.zeros((0, 4, 3), np.uint8), "empty picture"),
        (np.zeros((4, 4, 4), np.uint8), r"not \(4, 4, 4\)"),
        (np.zeros(5, np.uint8), r"not \(5,\)"),
        (np.zeros((4, 4, 3), np.float64), "not float64"),
        (np.full((4, 4, 3), 200, np.float32), "must lie in 0..1"),
        (np.full((4, 4, 3), -1, np.float32), "must lie in 0..1"),
        (np.full((4, 4, 3), np.nan, np.float32), "holds NaN"),
    ],
)
def test_bad_pictures(upscaler, array, message):
    with pytest.raises(PictureError, match=message):
        upscaler(array)


def test_a_stream_asks_for_every_row_once_and_in_order(small_tiles):
    photo = make_photo(90, 40)
    source = Rows(photo)
    bands = list(small_tiles.stream(source))
    assert len(bands) > 2
    assert source.asked[0][0] == 0 and source.asked[-1][1] == 90
    assert all(before[1] == after[0] for before, after in itertools.pairwise(source.asked))
    assert np.array_equal(np.concatenate(bands), small_tiles(photo))


def test_a_stream_keeps_to_its_memory(tiny_weights):
    """Bands of a very wide picture get lower, so that they fit."""
    upscaler = load(tiny_weights, engine="openvino", precision="fp32", max_memory="16M")
    source = Rows(np.zeros((64, 30_000, 3), np.uint8))
    band = next(upscaler.stream(source))
    assert band.nbytes <= 4 << 20


def test_progress_counts_tiles(small_tiles):
    seen = []
    small_tiles(make_photo(50, 60), progress=lambda done, total: seen.append((done, total)))
    totals = {total for _, total in seen}
    assert len(totals) == 1
    assert [done for done, _ in seen] == list(range(1, totals.pop() + 1))


def test_cancelling(small_tiles):
    asked = iter([False, False, True])
    with pytest.raises(CancelledError):
        small_tiles(make_photo(50, 60), cancelled=lambda: next(asked))


class Wrapped:
    """An engine that behaves badly on purpose."""

    def __init__(self, engine, largest=None, broken=False):
        self._engine, self._largest, self._broken = engine, largest, broken
        self.runs = 0

    def run(self, lr):
        self.runs += 1
        if self._largest is not None and lr.shape[2] * lr.shape[3] > self._largest:
            raise OutOfMemoryError("no memory for a tile")
        sr = self._engine.run(lr)
        return sr * np.float32("nan") if self._broken else sr


@pytest.mark.parametrize("shape", [(5000, 1), (1, 5000), (5000, 9)])
def test_thin_pictures_keep_to_the_memory_that_they_are_padded_in(tiny_weights, shape):
    upscaler = load(tiny_weights, engine="openvino", precision="fp32", max_memory="16M")
    run, areas = upscaler._run, []

    def noting(engine, rgb):
        areas.append(rgb.shape[0] * rgb.shape[1])
        return run(engine, rgb)

    upscaler._run = noting
    picture = make_photo(*shape)
    assert upscaler(picture).shape == (shape[0] * 4, shape[1] * 4, 3)
    assert max(areas) <= upscaler.max_window_px


def test_out_of_memory_halves_the_tile_and_goes_on(tiny_weights):
    upscaler = load(tiny_weights, engine="openvino", precision="fp32")
    photo = make_photo(70, 80)
    expected = upscaler(photo)
    upscaler._engine = Wrapped(upscaler._engine, largest=1200)
    seen = []
    assert np.array_equal(upscaler(photo, progress=lambda *count: seen.append(count)), expected)
    assert upscaler._engine.runs > 6
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, total in seen if done == total] == [seen[-1][0]], "all is done at the end, and not before"


def test_out_of_memory_within_a_deep_picture_asks_for_no_rows_that_are_gone(tiny_weights):
    """Smaller tiles may have a larger halo, which reaches back beyond what the tiles before have left."""
    upscaler = load(tiny_weights, engine="openvino", precision="fp32", max_memory="16M")
    upscaler.halo_px, upscaler.max_window_px = upscaler._reach_px // 2, 8000
    full = []

    def nearest(engine, rgb):
        if full:
            raise OutOfMemoryError(full.pop())
        return rgb.repeat(4, axis=0).repeat(4, axis=1)

    upscaler._run = nearest
    picture = make_photo(40, 2000).astype(np.uint16) * 257
    bands = upscaler.stream(Rows(picture))
    made = [next(bands)]
    full.append("no memory")
    made += bands
    assert not full
    assert np.array_equal(np.concatenate(made), picture.repeat(4, axis=0).repeat(4, axis=1))


def test_out_of_memory_for_the_smallest_tile_is_an_error(tiny_weights):
    upscaler = load(tiny_weights, engine="openvino", precision="fp32")
    upscaler._engine = Wrapped(upscaler._engine, largest=0)
    with pytest.raises(EngineError, match="no memory"):
        upscaler(make_photo(70, 80))


def test_not_a_number_in_bf16_is_computed_again_in_fp32(tiny_weights, monkeypatch):
    monkeypatch.setattr("fourfold.upscaling.engines._fast_bf16", lambda engine: True)
    photo = make_photo(20, 24)
    expected = load(tiny_weights, engine="openvino", precision="fp32")(photo)
    upscaler = load(tiny_weights, engine="openvino", precision="bf16")
    upscaler._engine = Wrapped(upscaler._engine, broken=True)
    assert np.array_equal(upscaler(photo), expected)


@pytest.mark.parametrize("ensemble", [False, True])
def test_infinities_of_both_signs_in_bf16_are_computed_again_without_a_warning(tiny_weights, ensemble):
    photo = make_photo(20, 24)
    expected = load(tiny_weights, engine="openvino", precision="fp32", ensemble=ensemble)(photo)
    upscaler = load(tiny_weights, engine="openvino", precision="fp32", ensemble=ensemble)
    upscaler.precision = "bf16"  # as where the processor has it
    run, signs = upscaler._engine.run, itertools.cycle([np.inf, -np.inf])

    def overflowing(lr):
        sr = run(lr)
        sr[0, 0, 0, :2] = next(signs), -next(signs)
        sr[0, 0, 0, 2:4] = np.inf, -np.inf
        return sr

    upscaler._engine.run = overflowing
    assert np.array_equal(upscaler(photo), expected)


def test_weights_that_fold_beyond_float32_are_called_damaged(tmp_path):
    parameters = {"blocks": 1, "width": 4}
    tensors = make_tensors("srresnet", parameters)
    tensors["body.0.bn1.weight"][:] = 1e37
    tensors["body.0.bn1.running_var"][:] = 0.0
    path = write_weights(tmp_path / "w.safetensors", WeightsConfig("srresnet", parameters), tensors)
    with pytest.raises(EngineError, match="weights are damaged"):
        load(path, engine="openvino", precision="fp32")(make_photo(20, 24))


def test_not_a_number_in_fp32_is_an_error(tiny_weights):
    upscaler = load(tiny_weights, engine="openvino", precision="fp32")
    upscaler._engine = Wrapped(upscaler._engine, broken=True)
    with pytest.raises(EngineError, match="NaN or infinity"):
        upscaler(make_photo(20, 24))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (None, 1 << 30),
        ("1G", 1 << 30),
        ("800M", 800 << 20),
        ("1.5 GiB", 3 << 29),
        (1 << 28, 1 << 28),
        ("65536k", 1 << 26),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


def test_attributes(upscaler, tiny_weights):
    assert (upscaler.name, upscaler.scale, upscaler.engine, upscaler.precision) == ("tiny", 4, "openvino", "fp32")
    assert upscaler.weights.sha256 == load_weights(tiny_weights).sha256
    assert upscaler.halo_px == 12
    assert upscaler.max_memory == DEFAULT_MAX_MEMORY
    assert isinstance(upscaler, Upscaler)
