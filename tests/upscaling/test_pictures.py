"""Whole pictures in memory: everything that may be handed in, and what may not."""

import io

import numpy as np
import pytest
from PIL import Image

import fourfold
from fourfold.errors import PictureError, UsageError
from tests.conftest import make_photo
from tests.imaging.samples import encoded

PHOTO = make_photo(12, 10)
FILE = encoded(Image.fromarray(PHOTO), "PNG")


@pytest.mark.parametrize("kind", ["array", "picture", "path", "text", "bytes", "bytearray", "memoryview"])
def test_everything_that_is_a_picture(kind, tiny_weights, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(FILE)
    picture = fourfold.read_picture(FILE)
    sources = {"array": PHOTO, "picture": picture, "path": path, "text": str(path), "bytes": FILE}
    sources |= {"bytearray": bytearray(FILE), "memoryview": memoryview(FILE)}
    found = fourfold.upscale(sources[kind], tiny_weights, precision="fp32")
    assert np.array_equal(found.pixels, fourfold.load(tiny_weights, precision="fp32")(PHOTO))


@pytest.mark.parametrize("source", [io.BytesIO(FILE), Image.fromarray(PHOTO), [[1, 2]], None, 7])
def test_what_is_none_is_told_what_is_one(source, tiny_weights):
    with pytest.raises(PictureError, match="a picture is a path, a file's bytes"):
        fourfold.upscale(source, tiny_weights)


def test_alpha_that_overshoots_is_opaque_or_hidden(tiny_weights):
    """Resampling leaves a little less than 0 and more than 1; the colours under the former are not to be seen."""
    colours = np.full((24, 24, 3), 0.5, np.float32)
    colours[:, 12:] = 1.0, 0.0, 1.0
    pixels, alphas = [], []
    for opaque, hidden in ((1.0, 0.0), (1.02, -0.01)):
        alpha = np.full((24, 24, 1), opaque, np.float32)
        alpha[:, 12:] = hidden
        found = fourfold.upscale(np.concatenate([colours, alpha], axis=2), tiny_weights, precision="fp32")
        pixels.append(found.pixels)
        alphas.append(found.alpha)
    assert np.array_equal(*pixels)
    assert np.array_equal(*alphas)


@pytest.mark.parametrize("quality", [0, 101, 1000, -1])
def test_a_quality_that_is_none(quality, tmp_path):
    picture = fourfold.read_picture(FILE)
    with pytest.raises(UsageError, match="from 1 to 100"):
        picture.save(tmp_path / "a.jpg", quality=quality)
    assert not list(tmp_path.iterdir())
