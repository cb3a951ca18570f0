"""Pictures that were JPEGs once are recognised by their pixels; what has grids of its own is not taken for one."""

from pathlib import Path

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

import fourfold.imaging.compression as compression
from fourfold.errors import PictureError
from fourfold.imaging import (
    Picture,
    encode_picture,
    imresize,
    open_picture,
    picture_was_compressed,
    read_picture,
    was_compressed,
)
from fourfold.imaging.jpeg_traces import was_jpeg, zero_shares
from tests.conftest import make_photo

Pixels = NDArray[np.uint8]

PHOTO = make_photo(120, 150, 3)


def decoded(pixels: Pixels, quality: int, **options: object) -> Pixels:
    image = pyvips.Image.new_from_array(pixels, interpretation="srgb")
    found: Pixels = read_picture(image.jpegsave_buffer(Q=quality, **options)).pixels
    return found


def scaled(pixels: Pixels, factor: float) -> Pixels:
    image = pyvips.Image.new_from_array(pixels, interpretation="srgb").resize(factor, kernel="cubic")
    return np.asarray(image.numpy())


@pytest.mark.parametrize("quality", [95, 90, 75, 50, 30])
@pytest.mark.parametrize("colour", ["on", "off"])
def test_a_jpeg_is_recognised(quality: int, colour: str) -> None:
    assert was_jpeg(decoded(PHOTO, quality, subsample_mode=colour))


STORED = decoded(PHOTO, 75)

#: What people do to a JPEG before they store it as PNG, with no resizing in it.
SEEN_THROUGH = {
    "cut": STORED[3:, 5:],
    "turned": np.rot90(STORED),
    "mirrored": STORED[:, ::-1],
    "grey": STORED[:, :, 1:2],
    "without its last axis": STORED[:, :, 1],
    "brighter": np.clip(STORED.astype(int) + 12, 0, 255).astype(np.uint8),
    "more contrast": np.clip(STORED * 1.1 - 10, 0, 255).astype(np.uint8),
    "framed": np.pad(STORED, ((13, 6), (9, 9), (0, 0))),
    "small": STORED[:64, :64],
    "large": np.tile(STORED[:, :144], (8, 8, 1)),
}


@pytest.mark.parametrize("pixels", SEEN_THROUGH.values(), ids=SEEN_THROUGH)
def test_it_is_seen_through(pixels: Pixels) -> None:
    assert was_jpeg(np.ascontiguousarray(pixels))


def tiles(side: int, seed: int = 0) -> Pixels:
    """A picture of tiles from a small set, as old games have it."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 4, (12, side, side)) * 80
    rows = [[kinds[k] for k in row] for row in rng.integers(0, 12, (160 // side, 192 // side))]
    return np.block(rows)[:, :, None].repeat(3, 2).astype(np.uint8)


def dithered(levels: int) -> Pixels:
    """Ordered dither with the usual matrix of 8x8."""
    matrix = np.zeros((1, 1))
    for _ in range(3):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    threshold = np.tile(matrix / 64, (15, 19))[:120, :150, None]
    steps = np.floor(PHOTO / 255 * (levels - 1) + threshold)
    return np.asarray(steps / (levels - 1) * 255).clip(0, 255).astype(np.uint8)


def rectangles() -> Pixels:
    """A window's layout, everything at multiples of 8."""
    rng, picture = np.random.default_rng(1), np.full((160, 240, 3), 245, np.uint8)
    for _ in range(40):
        (y, x), (h, w) = rng.integers(0, 25, 2) * 8, rng.integers(1, 9, 2) * 8
        picture[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return picture


_Y, _X = np.mgrid[:160, :240]

#: Never a JPEG, and some with a grid of 8.
CLEAN = {
    "photograph": PHOTO,
    "photograph, shrunk": imresize(make_photo(480, 600, 4), 1 / 4),
    "photograph, enlarged": imresize(PHOTO[:40, :40], 4),
    "nearest, 2": PHOTO[:60, :60].repeat(2, 0).repeat(2, 1),
    "nearest, 4": PHOTO[:40, :40].repeat(4, 0).repeat(4, 1),
    "nearest, 8": PHOTO[:24, :24].repeat(8, 0).repeat(8, 1),
    "posterised": PHOTO // 32 * 32,
    "dither, 2 levels": dithered(2),
    "dither, 8 levels": dithered(8),
    "tiles of 8": tiles(8),
    "tiles of 16": tiles(16),
    "rectangles": rectangles(),
    "squared paper": np.where((_X % 8 == 0) | (_Y % 8 == 0), 200, 255).astype(np.uint8),
    "rings": (127 + 120 * np.sin(((_X - 120) ** 2 + (_Y - 80) ** 2) / 400)).astype(np.uint8),
    "waves of 8": (127 + 120 * np.sin(2 * np.pi * _X / 8)).astype(np.uint8),
    "even": np.full((160, 240, 3), 90, np.uint8),
    "noise": np.random.default_rng(5).integers(0, 256, (160, 240, 3)).astype(np.uint8),
    "a JPEG, then resized": scaled(STORED, 0.8),
}


@pytest.mark.parametrize("pixels", CLEAN.values(), ids=CLEAN)
def test_what_was_no_jpeg_is_not_taken_for_one(pixels: Pixels) -> None:
    assert not was_jpeg(np.ascontiguousarray(pixels))


def test_the_best_way_to_cut_is_where_the_blocks_are() -> None:
    assert np.argmax(zero_shares(STORED)) == 0
    assert np.argmax(zero_shares(STORED[3:, 6:])) == 5 * 8 + 2


@pytest.mark.parametrize(
    "pixels",
    [
        STORED.astype(np.uint16) * 257,
        STORED.astype(np.float32) / 255,
        STORED[:15],
        STORED[:, :1],
        STORED[:1, :1],
    ],
    ids=["16 bits", "floating point", "low", "narrow", "one pixel"],
)
def test_of_others_nothing_is_known(pixels: NDArray[np.generic]) -> None:
    assert not was_jpeg(pixels)


@pytest.mark.parametrize("format", ["png", "webp", "tiff", "avif"])
def test_files_without_losses(tmp_path: Path, format: str) -> None:
    for pixels, wanted in ((STORED, True), (PHOTO, False)):
        data = encode_picture(Picture(pixels), format, lossless=True)
        (tmp_path / "a").write_bytes(data)
        for source in (data, tmp_path / "a"):
            opened = open_picture(source)
            assert was_compressed(source, opened) is wanted
            assert opened.image.numpy().shape[2] == 3, "its pixels can be read still"
        assert picture_was_compressed(read_picture(data)) is wanted


def test_alpha_and_frames_do_not_matter(tmp_path: Path) -> None:
    alpha = np.random.default_rng(0).integers(0, 256, STORED.shape[:2]).astype(np.uint8)
    data = encode_picture(Picture(STORED, alpha), "png")
    assert was_compressed(data, open_picture(data)) and picture_was_compressed(read_picture(data))
    pages = pyvips.Image.new_from_array(np.concatenate([STORED, PHOTO]), interpretation="srgb")
    pages = pages.copy()
    pages.set_type(pyvips.GValue.gint_type, "page-height", STORED.shape[0])
    data = pages.tiffsave_buffer()
    assert was_compressed(data, open_picture(data, all_frames=True)), "the first is looked at"


def test_a_jpeg_file_is_taken_at_its_word() -> None:
    data = pyvips.Image.new_from_array(STORED, interpretation="srgb").jpegsave_buffer(Q=100)
    assert not was_compressed(data, open_picture(data)) and not picture_was_compressed(read_picture(data))
    data = pyvips.Image.new_from_array(PHOTO, interpretation="srgb").jpegsave_buffer(Q=80)
    assert was_compressed(data, open_picture(data)) and picture_was_compressed(read_picture(data))


def test_what_is_dear_to_decode_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    image = pyvips.Image.new_from_array(STORED, interpretation="srgb")
    plain, interlaced = image.pngsave_buffer(), image.pngsave_buffer(interlace=True)
    assert was_compressed(interlaced, open_picture(interlaced))
    monkeypatch.setattr(compression, "_MOST_DECODER_BYTES", 1000)
    assert not was_compressed(interlaced, open_picture(interlaced))
    assert was_compressed(plain, open_picture(plain)), "decoded row by row"


def test_damage_is_left_to_whoever_reads_the_picture(tmp_path: Path) -> None:
    data = encode_picture(Picture(STORED), "png")
    cut = data[: len(data) // 4]
    opened = open_picture(cut)
    assert not was_compressed(cut, opened)
    with pytest.raises(PictureError):
        read_picture(cut)
    path = tmp_path / "gone.png"
    path.write_bytes(data)
    opened = open_picture(path)
    path.unlink()
    assert not was_compressed(path, opened)
