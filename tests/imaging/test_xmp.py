"""What XMP says of places in the picture and of further contents of the file, once it is turned, enlarged and alone."""

import re
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fourfold.imaging import read_picture
from fourfold.imaging.exif import parse_exif
from fourfold.imaging.xmp import alone_xmp, enlarged_xmp, sized_xmp, upright_xmp
from fourfold.upscaling.receipt import NAMESPACE, embed_receipt, without_receipt
from tests.imaging.samples import encoded, exif_with, make_photo

PICTURE = Image.fromarray(make_photo(16, 24))
XMP_HEAD, MORE_HEAD = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"


def packet(inside: str) -> bytes:
    spaces = (
        'xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/" xmlns:stArea="http://ns.adobe.com/xmp/'
        'sType/Area#" xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#" xmlns:hdrgm="http://ns.adobe.com/'
        'hdr-gain-map/1.0/" xmlns:Container="http://ns.google.com/photos/1.0/container/" xmlns:Item="http://ns.google.'
        'com/photos/1.0/container/item/" xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" '
        'xmlns:xmpNote="http://ns.adobe.com/xmp/note/"'
    )
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {spaces} {inside}</rdf:Description></rdf:RDF></x:xmpmeta>'
    ).encode()


def attributes(x: float, y: float, w: float, h: float) -> str:
    return (
        f'<mwg-rs:Area stArea:h="{h:g}" stArea:w="{w:g}" stArea:x="{x:g}" stArea:y="{y:g}" stArea:unit="normalized"/>'
    )


def elements(x: float, y: float, w: float, h: float) -> str:
    inside = "".join(f"<stArea:{k}>{v:g}</stArea:{k}>" for k, v in (("x", x), ("y", y), ("w", w), ("h", h)))
    return f'<mwg-rs:Area rdf:parseType="Resource">{inside}</mwg-rs:Area>'


def turned(x: float, y: float, w: float, h: float, orientation: int) -> tuple[float, float, float, float]:
    """Where a region is in the upright picture: by turning a picture of it."""
    from PIL import ImageOps

    mask = np.zeros((100, 200), np.uint8)
    top, left = round((y - h / 2) * 100), round((x - w / 2) * 200)
    mask[top : top + round(h * 100), left : left + round(w * 200)] = 255
    image = Image.fromarray(mask)
    image.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    rows, columns = (np.flatnonzero(upright.any(axis=axis)) for axis in (1, 0))
    (above, below), (first, last) = (
        (k.min() / n, (k.max() + 1) / n) for k, n in zip((rows, columns), upright.shape, strict=True)
    )
    return (first + last) / 2, (above + below) / 2, last - first, below - above


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("written", [attributes, elements])
def test_regions_turn_with_the_picture(written: Any, orientation: int) -> None:
    before, after = (
        packet("> " + written(0.9, 0.2, 0.1, 0.3)),
        upright_xmp(packet("> " + written(0.9, 0.2, 0.1, 0.3)), orientation, 24, 16)[0],
    )
    wanted = turned(0.9, 0.2, 0.1, 0.3, orientation)
    for name, value in zip("xywh", wanted, strict=True):
        found = re.search(rb"stArea:%s[=>\"]+([0-9.]+)" % name.encode(), after)
        assert found is not None and float(found[1]) == pytest.approx(value, abs=1e-6)
    assert len(before) > 0 and embed_receipt(after, {}) != b""


@pytest.mark.parametrize(
    "odd",
    ["<mwg-rs:Area/>", '<mwg-rs:Area stArea:x="a" stArea:y="b"/>', '<mwg-rs:Area stArea:x="1e9999"/>', "<mwg-rs:Area>"],
)
def test_regions_that_are_none_stay_as_they_are(odd: str) -> None:
    assert upright_xmp(packet("> " + odd), 6, 24, 16) == (packet("> " + odd), [])


def test_a_picture_on_its_side_has_its_regions_upright() -> None:
    exif = exif_with(6).tobytes()
    file = encoded(PICTURE, "JPEG", exif=exif, xmp=packet("> " + attributes(0.9, 0.2, 0.1, 0.3)))
    found = read_picture(file).metadata.xmp or b""
    assert attributes(0.8, 0.9, 0.3, 0.1).encode() in found


def test_the_size_that_regions_were_marked_in_is_that_of_the_file() -> None:
    before = packet('> <mwg-rs:AppliedToDimensions stDim:w="24" stDim:h="16" stDim:unit="pixel"/> <a stDim:w="24"/>')
    after = packet('> <mwg-rs:AppliedToDimensions stDim:w="96" stDim:h="64" stDim:unit="pixel"/> <a stDim:w="24"/>')
    assert sized_xmp(before, 96, 64) == after


def subject(name: str, *numbers: Any) -> bytes:
    items = "".join(f"<rdf:li>{number}</rdf:li>" for number in numbers)
    return f"<exif:{name}>\n <rdf:Seq>{items}</rdf:Seq>\n</exif:{name}>".encode()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("written", ['<a MPReg:Rectangle="%s"/>', "<MPReg:Rectangle>%s</MPReg:Rectangle>"])
def test_rectangles_of_microsoft_turn_with_the_picture(written: str, orientation: int) -> None:
    def rectangle(x: float, y: float, w: float, h: float) -> bytes:
        return (written % f"{x - w / 2:.6g}, {y - h / 2:.6g}, {w:.6g}, {h:.6g}").encode()

    before, after = (rectangle(0.9, 0.2, 0.1, 0.3), rectangle(*turned(0.9, 0.2, 0.1, 0.3, orientation)))
    assert upright_xmp(before, orientation, 24, 16) == (after, [])
    assert enlarged_xmp(before, 4) == before


@pytest.mark.parametrize("orientation", range(1, 9))
def test_where_the_subject_is_in_xmp_is_where_exif_has_it(orientation: int) -> None:
    exif = exif_with(orientation)
    exif[0x8769] = {0x9214: (20, 4, 3, 2), 0xA214: (20, 4)}
    xmp = packet("> " + (subject("SubjectArea", 20, 4, 3, 2) + subject("SubjectLocation", 20, 4)).decode())
    found = read_picture(encoded(PICTURE, "JPEG", exif=exif.tobytes(), xmp=xmp)).metadata.enlarged(4)
    settings = {tag: value.data for tag, value in parse_exif(found.exif or b"").main.children[0x8769].tags.items()}
    area, place = (struct.unpack(f">{n}H", settings[tag]) for tag, n in ((0x9214, 4), (0xA214, 2)))
    assert area[:2] == place
    assert subject("SubjectArea", *area) + subject("SubjectLocation", *place) in (found.xmp or b"")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "written",
    [
        '<a tiff:XResolution="%s" tiff:YResolution="%s"/>',
        "<tiff:XResolution>%s</tiff:XResolution><tiff:YResolution>%s<",
    ],
)
def test_resolutions_in_xmp_are_exchanged_by_a_quarter_turn(written: str, orientation: int) -> None:
    values = ("300/1", "150")
    after = written % (values[::-1] if orientation > 4 else values)
    assert upright_xmp((written % values).encode(), orientation, 24, 16) == (after.encode(), [])


def test_what_a_panorama_counts_in_pixels_grows_with_it() -> None:
    before = b"<a GPano:FullPanoWidthPixels='40' GPano:SourcePhotosCount='9'/><GPano:CroppedAreaLeftPixels>3<"
    after = b"<a GPano:FullPanoWidthPixels='160' GPano:SourcePhotosCount='9'/><GPano:CroppedAreaLeftPixels>12<"
    assert enlarged_xmp(before, 4) == after


def iptc(unit: str, shape: str, elements: bool = False, **values: float) -> bytes:
    """One of IPTC's regions; a polygon has corners ``X1``, ``Y1`` and so on."""
    said = {"rbUnit": unit, "rbShape": shape} | {f"rb{name.rstrip('123')}": f"{v:g}" for name, v in values.items()}
    if shape == "polygon":
        corners = zip(*[iter(values.values())] * 2, strict=True)
        inside = "".join(f"<rdf:li Iptc4xmpExt:rbX='{x:g}' Iptc4xmpExt:rbY='{y:g}'/>" for x, y in corners)
        inside = f"<Iptc4xmpExt:rbVertices><rdf:Seq>{inside}</rdf:Seq></Iptc4xmpExt:rbVertices>"
        unit = f"<Iptc4xmpExt:rbUnit>{unit}</Iptc4xmpExt:rbUnit>"
        return f"<Iptc4xmpExt:RegionBoundary>{unit}{inside}</Iptc4xmpExt:RegionBoundary>".encode()
    if elements:
        inside = "".join(f"<Iptc4xmpExt:{name}>{value}</Iptc4xmpExt:{name}>" for name, value in said.items())
        return f"<Iptc4xmpExt:RegionBoundary>{inside}</Iptc4xmpExt:RegionBoundary>".encode()
    inside = " ".join(f'Iptc4xmpExt:{name}="{value}"' for name, value in said.items())
    return f"<Iptc4xmpExt:RegionBoundary {inside}/>".encode()


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("elements", [False, True])
@pytest.mark.parametrize("unit", ["relative", "pixel"])
def test_regions_of_iptc_turn_with_the_picture(unit: str, elements: bool, orientation: int) -> None:
    """Of 200x100, as what gives the right answer is."""
    across, down = (200, 100) if unit == "pixel" else (1, 1)
    x, y, w, h = turned(0.9, 0.2, 0.1, 0.3, orientation)
    quarter = orientation > 4
    wide, high = (down, across) if quarter else (across, down)

    def same(before: bytes, after: bytes) -> None:
        assert upright_xmp(before, orientation, 200, 100) == (after, [])

    same(
        iptc(unit, "rectangle", elements, X=0.85 * across, Y=0.05 * down, W=0.1 * across, H=0.3 * down),
        iptc(unit, "rectangle", elements, X=(x - w / 2) * wide, Y=(y - h / 2) * high, W=w * wide, H=h * high),
    )
    radius = 8 if unit == "pixel" else (0.08 if quarter else 0.04)
    same(
        iptc(unit, "circle", elements, X=0.9 * across, Y=0.2 * down, Rx=8 if unit == "pixel" else 0.04),
        iptc(unit, "circle", elements, X=x * wide, Y=y * high, Rx=radius),
    )
    corner = turned(0.8, 0.4, 0.1, 0.1, orientation)[:2]
    same(
        iptc(unit, "polygon", X1=0.9 * across, Y1=0.2 * down, X2=0.8 * across, Y2=0.4 * down),
        iptc(unit, "polygon", X1=x * wide, Y1=y * high, X2=corner[0] * wide, Y2=corner[1] * high),
    )


def test_regions_of_iptc_in_pixels_grow_with_the_picture() -> None:
    assert enlarged_xmp(iptc("pixel", "circle", X=20, Y=4.5, Rx=3), 4) == iptc("pixel", "circle", X=80, Y=18, Rx=12)
    relative = iptc("relative", "rectangle", X=0, Y=1, W=1, H=0.5)
    assert enlarged_xmp(relative, 4) == relative


@pytest.mark.parametrize(
    "odd",
    [
        iptc("pixel", "rectangle", X=1, Y=2, W=3),
        iptc("pixel", "circle", X=1),
        iptc("relative", "unknown"),
        iptc("pixel", "circle", X=1, Y=2).replace(b'"1"', b'"-"'),
        b"<Iptc4xmpExt:RegionBoundary>" + b" " * 5000 + b"</Iptc4xmpExt:RegionBoundary>",
    ],
)
def test_regions_of_iptc_that_do_not_turn_are_told_of(odd: bytes) -> None:
    xmp = packet("> " + odd.decode())
    said = ["1 of IPTC's image regions in XMP stay where they were before the picture was turned"]
    for orientation in (1, 3):
        found = read_picture(encoded(PICTURE, "JPEG", exif=exif_with(orientation).tobytes(), xmp=xmp)).metadata
        assert (found.xmp, found.notes) == (xmp, said * (orientation != 1))


@pytest.mark.parametrize(
    "odd",
    [
        subject("SubjectArea", 5),
        subject("SubjectArea", 5, 6, 7, 8, 9),
        subject("SubjectLocation", "x", 6),
        subject("SubjectArea", "9" * 5000, 6),
        subject("SubjectArea", "\u0663", 6),
        b'<a MPReg:Rectangle="0.1, 0.2, 0.3"/>',
        b'<a MPReg:Rectangle="e, 0.2, 0.3, -"/>',
        b'<a tiff:XResolution="300"/>',
        b'<a GPano:FullPanoWidthPixels="' + b"9" * 5000 + b'"/>',
    ],
)
def test_places_that_are_none_stay_as_they_are(odd: bytes) -> None:
    assert upright_xmp(odd, 6, 24, 16) == (odd, [])
    assert enlarged_xmp(odd, 4) == odd


CONTENTS = (
    "<Container:Directory><rdf:Seq><rdf:li rdf:parseType='Resource'><Container:Item Item:Semantic='Primary'/></rdf:li>"
    "<rdf:li rdf:parseType='Resource'><Container:Item Item:Semantic='GainMap' Item:Length='99'/></rdf:li></rdf:Seq>"
    "</Container:Directory>"
)
GAIN_MAP = "only the picture in the ordinary range of brightness: its gain map (HDR) was left out"
VIDEO = "only the still picture of a motion photo: its video was left out"


@pytest.mark.parametrize(
    ("inside", "left", "said"),
    [
        ('hdrgm:Version="1.0">' + CONTENTS, ">", [GAIN_MAP]),
        ("><hdrgm:Version>1.0</hdrgm:Version>" + CONTENTS, ">", [GAIN_MAP]),
        ('GCamera:MotionPhoto="1">' + CONTENTS, 'GCamera:MotionPhoto="0">', [VIDEO]),
        ("hdrgm:Version='1.0' GCamera:MotionPhoto='1'>", "GCamera:MotionPhoto='0'>", [VIDEO, GAIN_MAP]),
        ('xmpNote:HasExtendedXMP="0123456789ABCDEF">', ">", []),
        ("><xmpNote:HasExtendedXMP>0123</xmpNote:HasExtendedXMP>", ">", []),
        ("> <dc:title>hdrgm:Version</dc:title>", "> <dc:title>hdrgm:Version</dc:title>", []),
    ],
)
def test_nothing_is_said_of_contents_that_are_not_there_any_more(inside: str, left: str, said: list[str]) -> None:
    after, notes = alone_xmp(packet(inside))
    assert re.sub(rb"\s+", b"", after) == re.sub(rb"\s+", b"", packet(left))
    assert notes == said
    assert read_picture(encoded(PICTURE, "JPEG", xmp=packet(inside))).metadata.notes == said


@pytest.mark.parametrize("first", ["the packet", "the rest"])
def test_the_rest_of_a_long_packet_is_not_taken_for_it(first: str) -> None:
    plain = encoded(PICTURE, "JPEG")
    parts = [XMP_HEAD + packet(">"), MORE_HEAD + b"0" * 32 + bytes(8) + b"<rest/>"]
    made = b"".join(
        b"\xff\xe1" + (len(part) + 2).to_bytes(2, "big") + part for part in parts[:: 1 if first == "the packet" else -1]
    )
    found = read_picture(plain[:2] + made + plain[2:]).metadata
    assert found.xmp == packet(">")
    assert found.notes == ["XMP beyond the first 64 KB (extended XMP) was left out"]


@pytest.mark.parametrize(
    "part",
    [
        b"<mwg-rs:Area ",
        b"<mwg-rs:Area>",
        b"<mwg-rs:AppliedToDimensions>",
        b"<Container:Directory>",
        b"<exif:SubjectArea>",
        b'<a MPReg:Rectangle="',
        b"MPReg:Rectangle='1,",
        b"9",
        b" ",
        b"hdrgm:Version =",
        b'<rdf:Description rdf:about="" xmlns:fourfold="' + NAMESPACE.encode() + b'">',
    ],
)
def test_a_packet_of_nothing_but_beginnings_keeps_nobody_busy(part: bytes) -> None:
    """A megabyte, as much as is read of a PNG's: it would be hours if each looked for its end to the last byte."""
    hostile = part * (1_000_000 // len(part))
    assert upright_xmp(hostile, 6, 9, 9) == (hostile, [])
    assert sized_xmp(hostile, 9, 9) == enlarged_xmp(hostile, 4) == hostile
    assert alone_xmp(hostile) == (hostile, [])
    assert without_receipt(hostile) == hostile
