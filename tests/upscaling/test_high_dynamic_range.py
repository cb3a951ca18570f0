"""Floating-point pictures with highlights, through a shipped network: what is up to 1 stays precise."""

import json

import numpy as np
import pytest

from fourfold.imaging import encode_picture, read_picture
from fourfold.upscaling import load
from fourfold.upscaling.files import FileOptions, upscale_file
from fourfold.upscaling.pictures import upscale_picture
from fourfold.weights import shipped_names

MODEL = "srresnet-plus"
pytestmark = pytest.mark.skipif(MODEL not in shipped_names(), reason="nothing is shipped")

#: Of the small picture: an evenly lit wall, and a lamp.
WALL, LAMP = (slice(4, 28), slice(4, 20)), (slice(8, 24), slice(34, 50))


@pytest.fixture(scope="module")
def upscaler():
    return load(MODEL, engine="openvino", precision="fp32")


@pytest.fixture
def scene(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    values = np.full((32, 56, 3), 0.17, np.float32)
    values += np.linspace(-0.02, 0.02, 32, dtype=np.float32)[:, None, None]
    values[LAMP] = 1000.0
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", metadata=None)
    return tmp_path / "a.tif", values


def large(part):
    return tuple(slice(4 * side.start, 4 * side.stop) for side in part)


def assert_true(found, values):
    assert found[large(WALL)].mean() == pytest.approx(values[WALL].mean(), rel=0.01)
    rows = found[large(WALL)].mean(axis=(1, 2)).reshape(-1, 4).mean(axis=1)
    assert np.abs(rows - values[WALL].mean(axis=(1, 2))).max() < 0.004
    middle = (slice(12, 20), slice(38, 46))
    assert found[large(middle)].mean() == pytest.approx(1000.0, rel=0.05)


def test_walls_and_lamp_keep_their_values(upscaler, scene):
    path, values = scene
    made = upscale_picture(read_picture(path), upscaler)
    assert_true(made.values, values)
    assert_true(read_picture(encode_picture(made, "tiff")).values, values)


def test_what_overshoots_beside_a_bright_edge_makes_no_lamp(upscaler, tmp_path):
    """Beyond white, a hundredth of the range is a multiple: only where the source has highlights may there be any."""
    tifffile = pytest.importorskip("tifffile")
    values = np.full((32, 56, 3), 0.95, np.float32)
    values[:, 4:30:6] = 0.05
    values[LAMP] = 1000.0
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", metadata=None)
    upscale_file(upscaler, tmp_path / "a.tif", tmp_path / "b.tif")
    for found in (
        upscale_picture(read_picture(tmp_path / "a.tif"), upscaler).values,
        read_picture(tmp_path / "b.tif").values,
    ):
        assert found[:, :128].max() <= 1.0 + 1e-5
        assert found[large(LAMP)].mean() > 500


@pytest.mark.parametrize("memory", ["1G", "4M"], ids=["whole", "in tiles"])
def test_files_do_too_in_bands_and_the_receipt_says_it(upscaler, scene, tmp_path, memory):
    path, values = scene
    upscaler.max_memory = (1 << 30) if memory == "1G" else (4 << 20)
    tiles = []
    outcome = upscale_file(
        upscaler,
        path,
        tmp_path / "b.tif",
        options=FileOptions(receipt=True),
        progress=lambda _, done, total: tiles.append(total),
    )
    assert (tiles[-1] > 1) == (memory == "4M")
    assert outcome.notes == []
    assert_true(read_picture(tmp_path / "b.tif").values, values)
    receipt = json.loads((tmp_path / "b.tif.receipt.json").read_text())
    assert (receipt["input"]["peak"], receipt["input"]["highlights"]) == (1000.0, True)


def test_a_png_shows_the_walls_and_says_what_became_white(upscaler, scene, tmp_path):
    path, values = scene
    outcome = upscale_file(upscaler, path, tmp_path / "b.png")
    assert "values up to 1000: what is above 1 became white" in outcome.notes
    found = read_picture(tmp_path / "b.png").pixels / 65535
    assert found[large(WALL)].mean() == pytest.approx(values[WALL].mean(), rel=0.01)
    assert found[64, 168].min() == 1.0
