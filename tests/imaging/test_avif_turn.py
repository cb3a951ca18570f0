"""AVIF: its container turns the picture, whatever EXIF says, and places in the picture follow."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fourfold.errors import PictureError
from fourfold.imaging import Metadata, Picture, encode_picture, read_picture
from fourfold.imaging.avif_turn import alpha_lies_apart, turned_by
from fourfold.imaging.exif import EXIF_IFD
from tests.conftest import make_photo
from tests.imaging.samples import encoded

PIXELS = make_photo(20, 24)
#: A point at (20, 4), in the upright picture.
POINTS = {1: (20, 4), 2: (3, 4), 3: (3, 15), 4: (20, 15), 5: (4, 20), 6: (15, 20), 7: (15, 3), 8: (4, 3)}
#: A region's middle at (0.25, 0.125), likewise.
MIDDLES = {
    1: (0.25, 0.125),
    2: (0.75, 0.125),
    3: (0.75, 0.875),
    4: (0.25, 0.875),
    5: (0.125, 0.25),
    6: (0.875, 0.25),
    7: (0.875, 0.75),
    8: (0.125, 0.75),
}
REGION = (
    b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
    b"<rdf:Description rdf:about='' xmlns:mwg-rs='http://www.metadataworkinggroup.com/schemas/regions/' "
    b"xmlns:stArea='http://ns.adobe.com/xmp/sType/Area#'><mwg-rs:Area stArea:x='0.25' stArea:y='0.125'/>"
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x011B], exif[0x0128] = orientation, 300.0, 200.0, 2
    exif[EXIF_IFD] = {0xA214: (20, 4)}
    return exif.tobytes()


def turned(orientation: int) -> NDArray[Any]:
    image = Image.fromarray(PIXELS)
    image.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def assert_lies(picture: Picture, orientation: int) -> None:
    expected = turned(orientation).astype(int)
    assert picture.pixels.shape == expected.shape
    assert np.abs(picture.pixels - expected).mean() < 4


@pytest.mark.parametrize("orientation", POINTS)
def test_places_follow_the_container(orientation: int) -> None:
    # Pillow writes EXIF's orientation into the container
    found = read_picture(
        encoded(Image.fromarray(PIXELS), "AVIF", exif=exif_of(orientation), xmp=REGION, quality=95, subsampling="4:4:4")
    )
    assert_lies(found, orientation)
    assert found.metadata.dpi == ((200.0, 300.0) if orientation > 4 else (300.0, 200.0))
    exif = Image.open(io.BytesIO(encode_picture(found, "png"))).getexif()
    assert exif.get_ifd(EXIF_IFD)[0xA214] == POINTS[orientation]
    across, down = MIDDLES[orientation]
    assert f"stArea:x='{across}' stArea:y='{down}'".encode() in (found.metadata.xmp or b"")


def test_an_orientation_that_only_exif_states_turns_nothing() -> None:
    file = encode_picture(Picture(PIXELS, metadata=Metadata(exif=exif_of(6), xmp=REGION)), "avif")
    assert turned_by(file) == 1
    found = read_picture(file)
    assert_lies(found, 1)
    assert found.metadata.dpi == (300.0, 200.0)
    exif = Image.open(io.BytesIO(encode_picture(found, "png"))).getexif()
    assert (exif[0x0112], exif.get_ifd(EXIF_IFD)[0xA214]) == (1, POINTS[1])
    assert found.metadata.xmp == REGION


@pytest.mark.parametrize("orientation", [5, 7])
def test_a_mirror_before_a_turn_is_not_one_behind_it(orientation: int) -> None:
    file = encoded(Image.fromarray(PIXELS), "AVIF", exif=exif_of(orientation), quality=95, subsampling="4:4:4")
    assert file.count(b"\x85\x86") == 1  # the properties of the picture: to be turned, then mirrored
    other = file.replace(b"\x85\x86", b"\x86\x85")
    assert (turned_by(file), turned_by(other)) == (orientation, 12 - orientation)
    assert_lies(read_picture(other), 12 - orientation)


def cut_out(orientation: int) -> bytes:
    alpha = np.zeros((*PIXELS.shape[:2], 1), np.uint8)
    alpha[:5, 3:] = 255
    return encoded(Image.fromarray(np.dstack([PIXELS, alpha])), "AVIF", exif=exif_of(orientation), quality=95)


def without_last_of_alpha(file: bytes) -> bytes:
    """The file whose alpha, the last one in the list of properties, has its first property once more for its last."""
    start = file.index(b"ipma")
    end = start - 4 + int.from_bytes(file[start - 4 : start], "big")
    return file[: end - 1] + b"\1" + file[end:]


@pytest.mark.parametrize("orientation", [2, 3, 6])
def test_alpha_that_is_not_turned_with_its_picture_is_refused(orientation: int) -> None:
    file = cut_out(orientation)
    assert read_picture(file).alpha is not None
    with pytest.raises(PictureError, match="turns or crops the colours and not the alpha"):
        read_picture(without_last_of_alpha(file))


def test_a_turn_by_nothing_is_none() -> None:
    file = cut_out(6)
    at = file.index(b"irot") + 4
    apart = without_last_of_alpha(file)
    assert alpha_lies_apart(apart)
    assert not alpha_lies_apart(apart[:at] + b"\0" + apart[at + 1 :])


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def container(main: int, *, wide: bool) -> bytes:
    """An AVIF file's head: picture 1 is turned left, picture 2 is mirrored; ``wide`` numbers have more bytes."""
    number, index = ("I", "H") if wide else ("H", "B")
    properties = box(b"ipco", box(b"ispe", bytes(12)) + box(b"irot", b"\1") + box(b"imir", b"\1"))
    pictures = struct.pack(f">4sI{number}B2{index}", bytes([wide, 0, 0, wide]), 2, 1, 2, 1, 2)
    pictures += struct.pack(f">{number}B3{index}", 2, 3, 1, 3, 9)  # there is no ninth property
    primary = box(b"pitm", struct.pack(f">4s{number}", bytes([wide, 0, 0, 0]), main))
    return box(b"ftyp", b"avif") + box(b"meta", bytes(4) + primary + box(b"iprp", properties + box(b"ipma", pictures)))


@pytest.mark.parametrize("wide", [False, True])
def test_the_main_picture_counts(wide: bool) -> None:
    assert [turned_by(container(main, wide=wide)) for main in (1, 2, 3)] == [8, 2, 1]


@pytest.mark.parametrize("wide", [False, True])
def test_a_damaged_container_is_no_error(wide: bool) -> None:
    whole = container(1, wide=wide)
    assert {turned_by(whole[:cut]) for cut in range(len(whole))} <= {1, 8}
    for at in range(len(whole)):
        assert turned_by(whole[:at] + b"\xff" + whole[at + 1 :]) in range(1, 9)


def test_damage_to_what_belongs_to_what_is_no_error() -> None:
    whole = cut_out(6)[:600]
    for at in range(len(whole)):
        alpha_lies_apart(whole[:at])
        alpha_lies_apart(whole[:at] + b"\xff" + whole[at + 1 :])
