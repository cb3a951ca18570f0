"""Pictures that were JPEGs once are recognised by their pixels; what has grids of its own is not taken for one."""

from pathlib import Path

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

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


def laid_out(kinds: list[Pixels], seed: int = 0) -> Pixels:
    """A picture of square tiles from a small set, as old games have it."""
    rng, side = np.random.default_rng(seed), len(kinds[0])
    rows = [[kinds[k] for k in row] for row in rng.integers(0, len(kinds), (160 // side, 240 // side))]
    return np.block(rows)[:, :, None].repeat(3, 2).astype(np.uint8)


def random_tiles(side: int) -> list[Pixels]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 4, (side, side)) * 80 for _ in range(12)]


_ROW, _COLUMN = np.mgrid[:8, :8]
RAMPS = [_COLUMN * 32, _ROW * 32, (7 - _COLUMN) * 32, (7 - _ROW) * 32]
HALVES = [(_COLUMN < 4) * 255, (_ROW < 4) * 255, (_COLUMN >= 4) * 255, (_ROW >= 4) * 255, _ROW * 0, _ROW * 0 + 255]
STRIPES = [_ROW % 2 * 255, _COLUMN % 2 * 255, _ROW // 2 % 2 * 255, _COLUMN // 2 % 2 * 255]


def pipe(open_ends: int) -> Pixels:
    """One of the 16 pieces of lines that old terminals draw boxes with."""
    arms = [(_ROW < 5) & (_COLUMN // 2 * 2 == 4), (_ROW > 2) & (_COLUMN // 2 * 2 == 4)]
    arms += [(_COLUMN < 5) & (_ROW // 2 * 2 == 4), (_COLUMN > 2) & (_ROW // 2 * 2 == 4)]
    drawn = np.any([arm for k, arm in enumerate(arms) if open_ends >> k & 1] or [arms[0] & False], axis=0)
    return np.asarray(drawn * 255)


def lettered(size: float) -> Pixels:
    """A page of text, as a screen shows it."""
    words = np.random.default_rng(2).integers(97, 123, (24, 40)).astype(np.uint8)
    words[:, ::6] = 32
    page = Image.new("L", (320, 240), 255)
    text = "\n".join(row.tobytes().decode() for row in words)
    ImageDraw.Draw(page).text((4, 4), text, fill=0, font=ImageFont.load_default(size))
    return np.asarray(page)


def outlines(count: int, side: int, seed: int) -> Pixels:
    """A few rectangles, and nothing else."""
    rng, picture = np.random.default_rng(seed), np.full((side, side, 1), 255, np.uint8)
    for _ in range(count):
        (y, x), (h, w) = rng.integers(0, side - 10, 2), rng.integers(5, side // 2, 2)
        picture[y : y + h, x : x + w] = rng.integers(0, 256)
    return picture


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
    "tiles of 8": laid_out(random_tiles(8)),
    "tiles of 16": laid_out(random_tiles(16)),
    "ramps": laid_out(RAMPS),
    "halves": laid_out(HALVES),
    "stripes": laid_out(STRIPES),
    "halves, ramps, stripes": laid_out([*HALVES, *RAMPS, *STRIPES]),
    "box drawing": laid_out([pipe(k) for k in range(16)]),
    "small text": lettered(9),
    "text": lettered(14),
    **{f"{count} rectangles, {k}": outlines(count, 64, k) for count in (4, 8) for k in range(12)},
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
    assert np.argmax(zero_shares(STORED)[0]) == 0
    assert np.argmax(zero_shares(STORED[3:, 6:])[0]) == 5 * 8 + 2


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


@pytest.mark.parametrize("format", ["png", "tiff"])
def test_files_without_losses(tmp_path: Path, format: str) -> None:
    for pixels, wanted in ((STORED, True), (PHOTO, False)):
        data = encode_picture(Picture(pixels), format, lossless=True)
        (tmp_path / "a").write_bytes(data)
        for source in (data, tmp_path / "a"):
            opened = open_picture(source)
            assert was_compressed(source, opened) is wanted
            assert opened.image.numpy().shape[2] == 3, "its pixels can be read still"
        assert picture_was_compressed(read_picture(data)) is wanted


@pytest.mark.parametrize("format", ["webp", "avif", "gif"])
def test_files_that_are_not_looked_at(format: str) -> None:
    data = encode_picture(Picture(STORED), format, lossless=format != "gif", on_loss=lambda lost: None)
    assert not was_compressed(data, open_picture(data)) and not picture_was_compressed(read_picture(data))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files where the system lists them")
def test_nothing_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode_picture(Picture(STORED), "png"))
    opened = open_picture(path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert all(was_compressed(path, opened) for _ in range(5))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


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
