"""GeoTIFF's tags: kept, made to fit the enlarged picture, and said to be lost where they are."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from fourfold.imaging import Picture, encode_picture, read_picture
from fourfold.upscaling import load
from fourfold.upscaling.files import upscale_file
from fourfold.upscaling.pictures import upscale_picture
from tests.conftest import make_photo

SIZES, POINTS, MATRIX, KEYS, DOUBLES, TEXT, NO_DATA = 33550, 33922, 34264, 34735, 34736, 34737, 42113
AREA = (1, 1, 0, 2, 1024, 0, 1, 1, 1025, 0, 1, 1)
POINT = (*AREA[:-1], 2)
PLACED = {SIZES: (10.0, 10.0, 0.0), POINTS: (0.0, 0.0, 0.0, 500_000.0, 4_600_000.0, 0.0), KEYS: AREA}


def tiff(
    tags: dict[int, Any], kinds: dict[int, int] | None = None, *, orientation: int = 1, big: bool = False
) -> bytes:
    """A TIFF file with these tags."""
    ifd = ImageFileDirectory_v2()
    types = {SIZES: 12, POINTS: 12, MATRIX: 12, KEYS: 3, DOUBLES: 12, TEXT: 2, NO_DATA: 2, 42112: 2, 50844: 12, 274: 3}
    for number, value in ({274: orientation} | tags).items():
        ifd.tagtype[number] = (types | (kinds or {}))[number]
        ifd[number] = value
    file = io.BytesIO()
    Image.fromarray(make_photo(20, 24)).save(file, "TIFF", tiffinfo=ifd, big_tiff=big)
    return file.getvalue()


def tags_of(file: bytes | Path) -> dict[int, Any]:
    with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
        assert isinstance(image, TiffImageFile)
        tags = image.tag_v2
        return {
            number: tags[number] for number in (SIZES, POINTS, MATRIX, KEYS, DOUBLES, TEXT, NO_DATA) if number in tags
        }


@pytest.mark.parametrize("big", [False, True])
def test_a_place_is_kept(big: bool) -> None:
    points = (*PLACED[POINTS], 24.0, 0.0, 0.0, 500_240.0, 4_600_001.0, 0.0)
    tags = {**PLACED, POINTS: points, DOUBLES: (6378137.0, 298.25), TEXT: "WGS 84|"}
    picture = read_picture(tiff(tags, big=big))
    assert picture.metadata.notes == []
    assert tags_of(encode_picture(picture, "tiff")) == tags


def test_a_place_in_the_other_byte_order() -> None:
    values = struct.pack(">3d", 10.0, 10.0, 0.0) + struct.pack(">6d", *PLACED[POINTS])
    head = struct.pack(">2sHI", b"MM", 42, 8)
    entries = [(256, 3, 1, 1 << 16), (257, 3, 1, 1 << 16), (258, 3, 1, 8 << 16), (262, 3, 1, 1 << 16)]
    entries += [(273, 4, 1, 122), (277, 3, 1, 1 << 16), (278, 3, 1, 1 << 16), (279, 4, 1, 1)]
    entries += [(SIZES, 12, 3, 134), (POINTS, 12, 6, 158)]
    file = head + struct.pack(">H", len(entries)) + b"".join(struct.pack(">HHII", *entry) for entry in entries)
    file = (file + bytes(4)).ljust(134, b"\x80") + values
    assert len(head) + 2 + 12 * len(entries) + 4 == 134
    picture = read_picture(file)
    assert tags_of(encode_picture(picture, "tiff")) == {key: PLACED[key] for key in (SIZES, POINTS)}
    cut = read_picture(file[:-8]).metadata
    assert cut.georeference is None
    assert cut.notes[0] == "the map coordinates are damaged and were left out"  # libvips notes the tag, too


@pytest.mark.parametrize(("keys", "first"), [(AREA, 0.0), (POINT, 1.5)])
def test_a_place_fits_the_enlarged_picture(
    keys: tuple[int, ...], first: float, tiny_weights: Path, tmp_path: Path
) -> None:
    """Every point of the earth is where it was: at four times its distance from the first pixel's corner."""
    (tmp_path / "map.tif").write_bytes(tiff({**PLACED, KEYS: keys}))
    upscaler = load(tiny_weights)
    outcome = upscale_file(upscaler, tmp_path / "map.tif", tmp_path / "large.tif")
    assert outcome.notes == []
    picture = upscale_picture(read_picture(tmp_path / "map.tif"), upscaler)
    for found in (tags_of(tmp_path / "large.tif"), tags_of(encode_picture(picture, "tiff"))):
        assert found[SIZES] == (2.5, 2.5, 0.0)
        assert found[POINTS] == (first, first, 0.0, 500_000.0, 4_600_000.0, 0.0)
        assert found[KEYS] == keys
    assert tags_of(tmp_path / "map.tif")[SIZES] == (10.0, 10.0, 0.0)


@pytest.mark.parametrize(("keys", "corner"), [(AREA, 0.0), (POINT, 0.5)])
def test_a_matrix_fits_the_enlarged_picture(keys: tuple[int, ...], corner: float) -> None:
    matrix = (8.0, 3.0, 0.0, 100.0, 2.0, -9.0, 0.0, 200.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    picture = read_picture(tiff({MATRIX: matrix, KEYS: keys}))
    place = picture.metadata.enlarged(4).georeference
    assert place is not None
    before = np.reshape(matrix, (4, 4))
    after = np.reshape(
        tags_of(encode_picture(Picture(picture.pixels, metadata=picture.metadata.enlarged(4)), "tiff"))[MATRIX], (4, 4)
    )
    for x, y in [(0.0, 0.0), (24.0, 20.0), (3.25, 7.5)]:  # from the picture's corner, in pixels of the small one
        small = np.array([x - corner, y - corner, 0.0, 1.0])
        large = np.array([4 * x - corner, 4 * y - corner, 0.0, 1.0])
        np.testing.assert_allclose(after @ large, before @ small)


BAD: dict[str, tuple[dict[int, Any], dict[int, int], int, str]] = {
    "half a tie point": ({**PLACED, POINTS: (0.0, 0.0, 0.0, 1.0)}, {}, 1, "are damaged and were left out"),
    "a matrix of nine": ({MATRIX: (1.0,) * 9}, {}, 1, "are damaged and were left out"),
    "sizes as text": ({**PLACED, SIZES: "ten"}, {SIZES: 2}, 1, "are damaged and were left out"),
    "odd keys": ({**PLACED, KEYS: (1, 1, 0)}, {}, 1, "are damaged and were left out"),
    "no tie points": ({SIZES: PLACED[SIZES], KEYS: AREA}, {}, 1, "are damaged and were left out"),
    "turned": (PLACED, {}, 6, "are those of the picture before it was turned"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_place_that_cannot_be_kept_is_left_out_and_said(case: str) -> None:
    tags, kinds, orientation, message = BAD[case]
    metadata = read_picture(tiff(tags, kinds, orientation=orientation)).metadata
    assert metadata.georeference is None
    assert [note for note in metadata.notes if message in note] == metadata.notes != []


def test_what_else_is_lost_is_said() -> None:
    metadata = read_picture(tiff({**PLACED, NO_DATA: "0", 42112: "<GDALMetadata/>", 50844: (1.0,) * 92})).metadata
    assert metadata.georeference is not None
    assert metadata.notes == [
        "GDAL's metadata (TIFF tag 42112) left out",
        "GDAL's value for no data (TIFF tag 42113) left out",
        "rational polynomial coefficients (TIFF tag 50844) left out",
    ]


@pytest.mark.parametrize("format", ["png", "jpg", "webp", "avif"])
def test_other_formats_have_no_place_for_it(format: str) -> None:
    lost: list[str] = []
    encode_picture(read_picture(tiff(PLACED)), format, on_loss=lost.append)
    assert len(lost) == 1 and lost[0].endswith("holds no map coordinates (GeoTIFF): left out")
    lost.clear()
    encode_picture(read_picture(tiff(PLACED)), format, strip=True, on_loss=lost.append)
    assert lost == []
    assert tags_of(encode_picture(read_picture(tiff(PLACED)), "tiff", strip=True)) == {}
