"""The table of docs/pictures.md, cell by cell: what each format keeps, and what is said where it cannot."""

import io
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fourfold.imaging import Layout, LossWarning, SaveOptions, encode_picture, losses, open_picture, read_picture
from fourfold.imaging.exif import EXIF_IFD, Tag, build_exif, parse_exif
from fourfold.imaging.float_range import to_range
from fourfold.imaging.formats import FORMATS
from fourfold.imaging.georeference import Georeference
from fourfold.imaging.picture import Metadata, Picture
from fourfold.imaging.reading import to_array
from tests.imaging.samples import TOP, XMP, alpha_for, encoded, exif_with, make_photo, matrix_profile, pixels

TABLE = Path(__file__).parents[2] / "docs" / "pictures.md"
COLUMNS = ("png", "jpg", "webp", "tiff", "avif", "gif")


def table() -> dict[str, list[str]]:
    """The rows of the published table."""
    rows = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[0] and not set(cells[0]) <= {"-"}:
            rows[cells[0]] = cells[1:]
    return rows


@dataclass
class Case:
    """A picture that has something, and the check that a file still has it."""

    picture: Picture
    check: Callable[[Picture, bytes], None]
    metadata: Metadata = field(default_factory=Metadata)


def same_pixels(expected: NDArray[Any], levels: float = 0.0) -> Callable[[Picture, bytes], None]:
    def check(found: Picture, _: bytes) -> None:
        assert found.pixels.dtype == expected.dtype
        difference = np.abs(found.pixels.astype(float) - expected.astype(float))  # a grey one may come as RGB
        assert difference.mean() <= max(levels, lossy_levels(found))

    return check


def lossy_levels(found: Picture) -> float:
    """JPEG has no lossless mode; the others are written without loss here."""
    return 3.0 if found.metadata.format == "jpg" else 0.0


def same_alpha(expected: Picture) -> Callable[[Picture, bytes], None]:
    def check(found: Picture, _: bytes) -> None:
        assert expected.alpha is not None and found.alpha is not None
        assert found.alpha.dtype == expected.alpha.dtype
        assert np.array_equal(found.alpha, expected.alpha)

    return check


def metadata_is(name: str, value: Any) -> Callable[[Picture, bytes], None]:
    def check(found: Picture, _: bytes) -> None:
        assert getattr(found.metadata, name) == value

    return check


def exif_tag(read: Callable[[Image.Exif], Any], value: Any) -> Callable[[Picture, bytes], None]:
    def check(found: Picture, _: bytes) -> None:
        exif = Image.Exif()
        exif.load(found.metadata.exif or b"")
        assert read(exif) == value

    return check


def beyond_one() -> Case:
    values = pixels("float32", 3)
    values[5:9, 5:9] = 20.0
    inside = to_range(values, 20.0, highlights=True)
    picture = Picture(inside, metadata=Metadata(bits=32, peak=20.0, highlights=True))

    def check(found: Picture, _: bytes) -> None:
        assert np.allclose(found.values, values, rtol=1e-4, atol=1e-7)

    return Case(picture, check)


def rgb(**metadata: Any) -> Picture:
    return Picture(pixels("uint8", 3), metadata=Metadata(**metadata))


def with_alpha(dtype: str, channels: int) -> Picture:
    picture = pixels(dtype, channels)
    return Picture(picture, alpha_for(picture))


TWELVE = (np.round(pixels("float32", 3) * 4095) / 4095 * 65535 + 0.5).astype(np.uint16)
EXIF = read_picture(encoded(Image.fromarray(make_photo(41, 53)), "JPEG", exif=exif_with())).metadata.exif
IPTC = b"\x1c\x02\x05\x00\x05Title\x1c\x02\x50\x00\x02Me"


RARE = {0xA436: Tag(2, 6, b"Title\0")}  # libexif knows no such tag
PLACE = Georeference(
    {
        33550: Tag(12, 3, struct.pack("<3d", 2.5, 2.5, 0.0)),
        33922: Tag(12, 6, struct.pack("<6d", 0.0, 0.0, 0.0, 500_000.0, 4_600_000.0, 0.0)),
    }
)
NOTES = {0x927C: Tag(7, 5, b"maker")}  # nobody knows inside


def with_tags(block: bytes | None, tags: dict[int, Tag]) -> bytes:
    exif = parse_exif(block or b"")
    exif.main.children[EXIF_IFD].tags |= tags
    return build_exif(exif)


def tags_kept(wanted: dict[int, Tag]) -> Callable[[Picture, bytes], None]:
    def check(found: Picture, _: bytes) -> None:
        assert wanted.items() <= parse_exif(found.metadata.exif or b"").main.children[EXIF_IFD].tags.items()

    return check


def iptc_kept(found: Picture, _: bytes) -> None:
    from fourfold.imaging.iptc import bare

    assert bare(found.metadata.iptc or b"") == IPTC


def cases() -> dict[str, Case]:
    grey, colour = pixels("uint8", 1), pixels("uint8", 3)
    grey16, colour16, floats = pixels("uint16", 1), pixels("uint16", 3), pixels("float32", 3)
    gps = exif_tag(lambda exif: exif.get_ifd(0x8825).get(2), (48.0, 8.0, 14.5))
    date = exif_tag(lambda exif: exif.get_ifd(0x8769).get(0x9003), "2024:05:06 07:08:09")
    alpha, grey_alpha, alpha16 = with_alpha("uint8", 3), with_alpha("uint8", 1), with_alpha("uint16", 3)
    grey_profile = matrix_profile(space=b"GRAY")
    return {
        "8-bit grey": Case(Picture(grey), same_pixels(grey)),
        "8-bit RGB": Case(Picture(colour), same_pixels(colour)),
        "16-bit grey": Case(Picture(grey16, metadata=Metadata(bits=16)), same_pixels(grey16)),
        "16-bit RGB": Case(Picture(colour16, metadata=Metadata(bits=16)), same_pixels(colour16)),
        "12-bit RGB": Case(Picture(TWELVE, metadata=Metadata(bits=12)), same_pixels(TWELVE, 8.0)),
        "floating point": Case(Picture(floats, metadata=Metadata(bits=32)), same_pixels(floats)),
        "floating point beyond 1": beyond_one(),
        "alpha": Case(alpha, same_alpha(alpha)),
        "grey and alpha": Case(grey_alpha, same_alpha(grey_alpha)),
        "16-bit alpha": Case(alpha16, same_alpha(alpha16)),
        "RGB colour profile": Case(rgb(icc=matrix_profile()), metadata_is("icc", matrix_profile())),
        "grey colour profile": Case(
            Picture(grey, metadata=Metadata(icc=grey_profile)), metadata_is("icc", grey_profile)
        ),
        "EXIF": Case(rgb(exif=EXIF), date),
        "GPS": Case(rgb(exif=EXIF), gps),
        "XMP": Case(rgb(xmp=XMP), metadata_is("xmp", XMP)),
        "IPTC": Case(rgb(iptc=IPTC), iptc_kept),
        "DPI": Case(rgb(dpi=(300.0, 200.0)), metadata_is("dpi", (300.0, 200.0))),
        "uncommon EXIF tags": Case(rgb(exif=with_tags(EXIF, RARE)), tags_kept(RARE)),
        "the camera's own notes": Case(rgb(exif=with_tags(EXIF, NOTES)), tags_kept(NOTES)),
        "map coordinates (GeoTIFF)": Case(rgb(georeference=PLACE), metadata_is("georeference", PLACE)),
        "text fields": Case(rgb(comments={"Title": "Grüße"}), metadata_is("comments", {"Title": "Grüße"})),
    }


CASES = cases()


def test_the_table_is_complete() -> None:
    assert set(table()) == {*CASES, "animation", "several pages"}


@pytest.mark.parametrize("column", range(6), ids=COLUMNS)
@pytest.mark.parametrize("row", CASES)
def test_cell(row: str, column: int) -> None:
    format, cell, case = COLUMNS[column], table()[row][column], CASES[row]
    said: list[str] = []
    file = encode_picture(case.picture, format, lossless=True, on_loss=said.append)
    found = read_picture(file)
    assert found.metadata.format == format
    if cell == "kept":
        assert said == []
        case.check(found, file)
    else:
        assert any(cell in sentence for sentence in said), said


@pytest.mark.parametrize("column", range(6), ids=COLUMNS)
def test_animation_cell(column: int) -> None:
    format, cell = FORMATS[COLUMNS[column]], table()["animation"][column]
    layout = Layout(64, 64, 3, False, np.dtype(np.uint8), frames=3, delays_ms=(70, 80, 90))
    said = losses(format, layout, Metadata(), SaveOptions())
    if cell == "kept":
        assert not any("first" in sentence or "times" in sentence for sentence in said)
    else:
        assert any(cell in sentence for sentence in said), said


@pytest.mark.parametrize("column", range(6), ids=COLUMNS)
def test_pages_cell(column: int) -> None:
    format, cell = FORMATS[COLUMNS[column]], table()["several pages"][column]
    pages = [Image.fromarray(make_photo(16, 24, seed)) for seed in range(3)]
    file = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    opened = open_picture(file, all_frames=format.frames)
    assert opened.frames == (3 if cell == "kept" else 1)
    assert opened.metadata.notes == ([] if cell == "kept" else [f"{cell} of 3 pages"])


def test_without_a_listener_each_loss_is_a_warning() -> None:
    with pytest.warns(LossWarning, match="JPG holds no transparency"):
        encode_picture(with_alpha("uint8", 3), "jpg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode_picture(with_alpha("uint8", 3), "png")


def test_alpha_on_white() -> None:
    black = np.zeros((32, 32, 3), np.uint8)
    alpha = np.zeros((32, 32), np.uint8)
    alpha[:, 16:] = 255
    found = read_picture(encode_picture(Picture(black, alpha), "jpg", on_loss=lambda _: None)).pixels
    assert found[:, :8].min() > 245 and found[:, 24:].max() < 10


def test_sixteen_bits_are_rounded_to_eight_not_cut() -> None:
    values = np.arange(0, 65536, 97, dtype=np.uint16)[None, :, None].repeat(3, axis=2)
    found = read_picture(encode_picture(Picture(values), "webp", lossless=True, on_loss=lambda _: None)).pixels
    assert np.array_equal(found, np.floor(values / 257.0 + 0.5).astype(np.uint8))


@pytest.mark.parametrize("format", ["png", "tiff", "avif", "webp"])
def test_white_and_black_stay_white_and_black(format: str) -> None:
    values = np.zeros((16, 16, 3), np.uint16)
    values[:, 8:] = 65535
    found = read_picture(encode_picture(Picture(values), format, lossless=True, on_loss=lambda _: None)).pixels
    top = TOP[found.dtype.name]
    assert found[0, 0].max() == 0 and found[0, 15].min() == top


def test_colours_under_a_grey_profile_are_converted_right() -> None:
    # linear grey 0.5 is sRGB 188
    picture = Picture(np.full((8, 8), 128, np.uint8), metadata=Metadata(icc=matrix_profile(1.0, b"GRAY")))
    found = read_picture(encode_picture(picture, "webp", lossless=True, on_loss=lambda _: None)).pixels
    assert abs(int(found[4, 4, 0]) - 188) <= 2


def test_strip_leaves_profile_and_dpi_only() -> None:
    picture = rgb(exif=EXIF, xmp=XMP, iptc=IPTC, icc=matrix_profile(), dpi=(300.0, 300.0), comments={"Title": "x"})
    for format in ("jpg", "png", "tiff"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            file = encode_picture(picture, format, strip=True)
        found = read_picture(file).metadata
        assert (found.xmp, found.iptc, found.comments) == (None, None, {})
        exif = Image.Exif()
        exif.load(found.exif or b"")  # JPEG keeps its DPI in one
        assert 0x010F not in exif and not exif.get_ifd(0x8825)
        assert found.icc == matrix_profile()
        assert found.dpi == (300.0, 300.0)
        assert b"Maker" not in file


def test_no_exif_is_made_up() -> None:
    for format in ("png", "jpg", "webp", "tiff", "avif"):
        assert read_picture(encode_picture(rgb(), format)).metadata.exif is None


def test_the_stated_size_is_corrected() -> None:
    picture = Picture(pixels("uint8", 3, 100, 200), metadata=Metadata(exif=EXIF))
    for format in ("jpg", "png", "webp", "tiff", "avif"):
        exif = Image.open(io.BytesIO(encode_picture(picture, format))).getexif().get_ifd(0x8769)
        assert (exif[0xA002], exif[0xA003]) == (200, 100)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_exif_of_tiff_files_in_every_byte_order(order: str, big: bool) -> None:
    tifffile = pytest.importorskip("tifffile")
    from fourfold.imaging.tiff_tags import Added, insert_tags, read_tags

    file = io.BytesIO()
    tifffile.imwrite(
        file, make_photo(41, 53), byteorder=order, bigtiff=big, photometric="rgb", description="kept", metadata=None
    )
    both = insert_tags(file.getvalue(), Added(EXIF, IPTC))
    assert np.array_equal(read_picture(both).pixels, make_photo(41, 53))
    exif = Image.Exif()
    _, (block, iptc, _, notes) = read_tags(both)
    assert notes == []
    exif.load(block or b"")
    assert iptc == IPTC
    assert (exif[0x010F], exif[0x010E]) == ("Maker", "kept")
    assert exif.get_ifd(0x8825)[4] == (11.0, 34.0, 31.0)
    assert exif.get_ifd(0x8769)[0x829A] == (1, 250)
    with tifffile.TiffFile(io.BytesIO(both)) as read_by_another:
        assert read_by_another.pages[0].tags["GPSTag"].value["GPSLatitudeRef"] == "N"


def test_a_damaged_exif_block_is_left_out_and_said() -> None:
    file = encoded(Image.fromarray(make_photo(16, 16)), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    found = read_picture(file)
    assert found.metadata.exif is None
    assert found.pixels.shape == (16, 16, 3)


def test_animation_is_read_frame_below_frame() -> None:
    frames = [Image.fromarray(make_photo(16, 24, seed)) for seed in range(3)]
    file = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=[70, 80, 90], lossless=True)
    opened = open_picture(file, all_frames=True)
    assert opened.delays_ms == [70, 80, 90]
    rows = to_array(opened.image)
    assert np.array_equal(rows[16:32, :, :3], make_photo(16, 24, 1))
