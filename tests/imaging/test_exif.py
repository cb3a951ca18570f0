"""EXIF blocks: what is damaged in them, and what stays where it is."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fourfold.imaging import encode_picture, read_picture
from fourfold.imaging.exif import EXIF_IFD, GPS_IFD, PREFIX, parse_exif
from tests.imaging.samples import encoded, make_photo

INTEROP_IFD = 0xA005
PICTURE = Image.fromarray(make_photo(16, 24))
DATE = b"2024:05:06 07:08:09\0"


def entry(order: str, tag: int, kind: int, count: int, value: Any) -> bytes:
    """Twelve bytes: a value of up to four bytes, or where it is."""
    data = value if isinstance(value, bytes) else struct.pack(order + "I", value)
    if kind == 3 and not isinstance(value, bytes):
        data = struct.pack(order + "H", value)
    return struct.pack(order + "HHI", tag, kind, count) + data.ljust(4, b"\0")


def listed(order: str, *entries: bytes, following: int = 0) -> bytes:
    return struct.pack(order + "H", len(entries)) + b"".join(entries) + struct.pack(order + "I", following)


def block(
    order: str = "<", *, gps: int | None = None, interop: int | None = None, settings: int | None = None
) -> bytes:
    """An EXIF block as a camera might write it; its pointers can be bent."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    main = listed(
        order,
        entry(order, 0x010F, 2, 4, b"Mak\0"),
        entry(order, EXIF_IFD, 4, 1, 200 if settings is None else settings),
        entry(order, GPS_IFD, 4, 1, 300 if gps is None else gps),
    )
    below = listed(
        order,
        entry(order, 0x9003, 2, len(DATE), 400),
        entry(order, INTEROP_IFD, 4, 1, 340 if interop is None else interop),
    )
    place = listed(order, entry(order, 1, 2, 2, b"N\0"))
    index = listed(order, entry(order, 1, 2, 4, b"R98\0"))
    made = bytearray(440)
    for at, part in ((0, head), (8, main), (200, below), (300, place), (340, index), (400, DATE)):
        made[at : at + len(part)] = part
    return PREFIX + bytes(made)


DAMAGES = {
    "GPS, 0": ({"gps": 0}, [GPS_IFD], "GPS data"),
    "GPS, outside": ({"gps": 70_000}, [GPS_IFD], "GPS data"),
    "GPS, at the very end": ({"gps": 439}, [GPS_IFD], "GPS data"),
    "GPS, in the middle of nothing": ({"gps": 4}, [GPS_IFD], "GPS data"),
    "interoperability": ({"interop": 2**32 - 1}, [EXIF_IFD, INTEROP_IFD], "interoperability"),
    "settings": ({"settings": 0}, [EXIF_IFD], "camera settings"),
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("case", DAMAGES)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_damaged_list_does_not_take_the_others_with_it(format: str, case: str, order: str) -> None:
    bent, path, name = DAMAGES[case]
    found = read_picture(encoded(PICTURE, format, exif=block(order, **bent))).metadata
    assert found.notes == [f"EXIF: the list of {name} is damaged and was left out"]
    again = read_picture(encode_picture(read_picture(encoded(PICTURE, format, exif=block(order, **bent))), "png"))
    assert again.metadata.notes == []
    ifd = parse_exif(again.metadata.exif or b"").main
    assert ifd.tags[0x010F].data == b"Mak\0"
    for lost in (GPS_IFD, EXIF_IFD):
        assert (lost in ifd.children) == (path != [lost])
    if EXIF_IFD in ifd.children:
        assert ifd.children[EXIF_IFD].tags[0x9003].data == DATE
        assert (INTEROP_IFD in ifd.children[EXIF_IFD].children) == (path[-1] != INTEROP_IFD)


def test_a_list_that_points_at_itself_ends() -> None:
    found = read_picture(encoded(PICTURE, "PNG", exif=block(interop=200))).metadata
    assert "EXIF: the list of interoperability is damaged and was left out" in found.notes
    assert parse_exif(found.exif or b"").main.children[GPS_IFD].tags[1].data == b"N\0"


@pytest.mark.parametrize("pointed", [0, 10_000_000])
def test_a_tiff_with_a_damaged_list_keeps_the_others_and_its_alpha(pointed: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    values = np.dstack([make_photo(16, 24), np.full((16, 24), 9, np.uint8), np.full((16, 24), 77, np.uint8)])
    extra = [(GPS_IFD + 1, "I", 1, pointed, True), (0x010F, "s", 6, "Maker", True)]  # tifffile leaves out the pointer
    tifffile.imwrite(
        file, values, photometric="rgb", extrasamples=["unspecified", "unassalpha"], extratags=extra, metadata=None
    )
    before, after = (struct.pack("<HHII", tag, 4, 1, pointed) for tag in (GPS_IFD + 1, GPS_IFD))
    assert before in file.getvalue()
    found = read_picture(file.getvalue().replace(before, after))
    assert "EXIF: the list of GPS data is damaged and was left out" in found.metadata.notes
    assert parse_exif(found.metadata.exif or b"").main.tags[0x010F].data == b"Maker\0"
    assert found.alpha is not None and (found.alpha == 77).all()


def test_a_tiff_whose_tags_only_libvips_can_read_says_so() -> None:
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    many = [(50_000 + k, "H", 1, k, True) for k in range(2100)]
    tifffile.imwrite(file, make_photo(16, 24), photometric="rgb", extratags=many, metadata=None)
    found = read_picture(file.getvalue())
    assert "the list of tags is damaged: EXIF and IPTC were left out" in found.metadata.notes
    assert np.array_equal(found.pixels, make_photo(16, 24))
