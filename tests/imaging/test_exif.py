"""EXIF blocks: what is damaged in them, and what stays where it is."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fourfold.imaging import Metadata, Picture, encode_picture, read_picture
from fourfold.imaging.exif import EXIF_IFD, GPS_IFD, PREFIX, Exif, Ifd, Tag, build_exif, parse_exif, resolution
from fourfold.imaging.exif_corrections import corrected, enlarged, upright
from fourfold.imaging.tiff_tags import Added, insert_tags
from tests.imaging.samples import encoded, make_photo, matrix_profile

INTEROP_IFD = 0xA005
PICTURE = Image.fromarray(make_photo(16, 24))
FORMATS = ["jpg", "png", "webp", "avif"]
THUMBNAIL = b"\xff\xd8" + b"thumbnail" * 20 + b"\xff\xd9"
#: Notes of a camera that count from the block's start: "at 520 there is a serial number".
NOTE, SERIAL, NOTE_AT, SERIAL_AT = b"MAKER\0" + (520).to_bytes(4, "little") + b"notes" * 8, b"serial 4711", 460, 520
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


def camera_block(
    order: str = "<", *, orientation: int = 1, resolution: str = "two", thumbnail: bytes = THUMBNAIL
) -> bytes:
    """A block with the camera's own notes, a serial number that only they know of, and a thumbnail at the end.

    Its resolution is 300 by 200: ``two`` numbers, ``one`` number for both (300), or ``none``.
    """
    made = bytearray(700) + thumbnail
    entries = [entry(order, 0x010F, 2, 4, b"Mak\0"), entry(order, 0x0112, 3, 1, orientation)]
    if resolution != "none":
        entries.append(entry(order, 0x011A, 5, 1, 600))
        entries.append(entry(order, 0x011B, 5, 1, 600 if resolution == "one" else 608))
        entries.append(entry(order, 0x0128, 3, 1, 2))
    main = listed(order, *entries, entry(order, EXIF_IFD, 4, 1, 200), following=640)
    below = listed(
        order,
        entry(order, 0x9003, 2, len(DATE), 400),
        entry(order, 0x927C, 7, len(NOTE), NOTE_AT),
        entry(order, 0xA002, 3, 1, 24),
        entry(order, 0xA003, 4, 1, 16),
    )
    small = listed(order, entry(order, 0x0201, 4, 1, 700), entry(order, 0x0202, 4, 1, len(thumbnail)))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    numbers = struct.pack(order + "IIII", 300, 1, 200, 1)
    parts = ((0, head), (8, main), (200, below), (400, DATE), (NOTE_AT, NOTE), (SERIAL_AT, SERIAL), (600, numbers))
    for at, part in (*parts, (640, small)):
        made[at : at + len(part)] = part
    return PREFIX + bytes(made)


def assert_notes_stay(block: bytes | None) -> None:
    body = (block or b"").removeprefix(PREFIX)
    assert body[NOTE_AT : NOTE_AT + len(NOTE)] == NOTE
    assert body[SERIAL_AT : SERIAL_AT + len(SERIAL)] == SERIAL


def as_another_reads(file: bytes) -> Image.Exif:
    return Image.open(io.BytesIO(file)).getexif()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("resolution", ["two", "one", "none"])
@pytest.mark.parametrize("dpi", [None, (123.4, 56.7)])
def test_the_notes_of_a_camera_stay_where_they_are(
    dpi: tuple[float, float] | None, resolution: str, order: str, format: str
) -> None:
    source = encoded(PICTURE, "WEBP", exif=camera_block(order, orientation=3, resolution=resolution))
    picture = read_picture(source)
    assert picture.metadata.notes == []
    assert_notes_stay(picture.metadata.exif)
    picture.metadata.dpi = dpi
    large = Picture(make_photo(70, 90), metadata=picture.metadata)
    file = encode_picture(large, format)
    assert_notes_stay(read_picture(file).metadata.exif)
    found = as_another_reads(file)
    below = found.get_ifd(EXIF_IFD)
    assert (found[0x010F], found[0x0112], below[0x9003]) == ("Mak", 1, DATE[:-1].decode())
    assert (below[0xA002], below[0xA003]) == (90, 70)
    stated = (found.get(0x011A), found.get(0x011B))
    if dpi is not None:
        assert [float(value or 0) for value in stated] == pytest.approx(dpi)
        assert found[0x0128] == 2
    elif resolution == "none":
        assert stated == (None, None)
    else:
        assert stated == (300, 300 if resolution == "one" else 200)


def block_of(settings: dict[int, Tag], order: str = "<") -> bytes:
    return build_exif(Exif(order, Ifd({}, {EXIF_IFD: Ifd(settings)})))


def shorts(order: str, *values: int) -> Tag:
    return Tag(3, len(values), struct.pack(f"{order}{len(values)}H", *values))


def fraction(order: str, above: int, below: int) -> Tag:
    return Tag(5, 1, struct.pack(order + "II", above, below))


#: A point at (20, 4) of 24x20, in the upright picture.
POINTS = {1: (20, 4), 2: (3, 4), 3: (3, 15), 4: (20, 15), 5: (4, 20), 6: (15, 20), 7: (15, 3), 8: (4, 3)}


@pytest.mark.parametrize("orientation", POINTS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_places_in_the_picture_turn_and_grow_with_it(order: str, orientation: int) -> None:
    settings = {0x9214: shorts(order, 20, 4, 3, 2), 0xA214: shorts(order, 20, 4)}
    settings |= {0xA20E: fraction(order, 1000, 1), 0xA20F: fraction(order, 900, 7)}
    main = Ifd({0x0112: shorts(order, orientation)}, {EXIF_IFD: Ifd(settings)})
    made = upright(build_exif(Exif(order, main)), 24, 20, orientation)
    below = parse_exif(made).main.children[EXIF_IFD].tags
    turned = orientation > 4
    assert below[0x9214] == shorts(order, *POINTS[orientation], *((2, 3) if turned else (3, 2)))
    assert below[0xA214] == shorts(order, *POINTS[orientation])
    x, y = POINTS[orientation]
    below = parse_exif(enlarged(made, 4)).main.children[EXIF_IFD].tags
    assert below[0x9214] == shorts(order, 4 * x, 4 * y, *((8, 12) if turned else (12, 8)))
    per_unit = [fraction(order, 4000, 1), fraction(order, 3600, 7)]
    assert [below[0xA20E], below[0xA20F]] == per_unit[:: -1 if turned else 1]


@pytest.mark.parametrize("orientation", POINTS)
def test_places_in_a_tiff_turn_as_those_in_a_jpeg(orientation: int) -> None:
    """The list of a TIFF is its EXIF's main list, and the orientation in it is the file's own."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[EXIF_IFD] = {0x9214: (20, 4, 3, 2), 0xA214: (20, 4), 0xA20E: 1000.0, 0xA20F: 900.0}
    tiff, jpeg = (
        read_picture(encoded(Image.fromarray(make_photo(20, 24)), format, exif=exif.tobytes()))
        for format in ("TIFF", "JPEG")
    )
    settings = as_another_reads(encode_picture(tiff, "png")).get_ifd(EXIF_IFD)
    assert settings == as_another_reads(encode_picture(jpeg, "png")).get_ifd(EXIF_IFD)
    assert settings[0xA214] == POINTS[orientation]
    assert (settings[0xA20E], settings[0xA20F]) == ((900, 1000) if orientation > 4 else (1000, 900))


def test_places_too_large_for_16_bits_get_32() -> None:
    made = enlarged(block_of({0x9214: shorts("<", 20_000, 4), 0xA20E: fraction("<", 2**31, 8)}), 4)
    below = parse_exif(made).main.children[EXIF_IFD].tags
    assert below[0x9214] == Tag(4, 2, struct.pack("<2I", 80_000, 16))
    assert below[0xA20E] == fraction("<", 2**31, 2)


@pytest.mark.parametrize(
    "odd",
    [Tag(3, 1, b"\1\0"), Tag(3, 5, bytes(10)), Tag(2, 4, b"abc\0"), Tag(4, 2, bytes(8)), Tag(5, 2, bytes(16))],
    ids=lambda tag: f"type {tag.kind}, {tag.count} of them",
)
@pytest.mark.parametrize("number", [0x9214, 0xA214, 0xA20E])
def test_places_that_are_none_stay_as_they_are(number: int, odd: Tag) -> None:
    block = block_of({number: odd, 0x9003: Tag(2, len(DATE), DATE)})
    assert upright(block, 24, 20, 6) == block == enlarged(block, 4)


@pytest.mark.parametrize(("index", "said"), [(b"R03\0", True), (b"R98\0", False)])
@pytest.mark.parametrize("profile", [None, matrix_profile()])
def test_stripping_says_where_only_exif_told_of_adobe_rgb(index: bytes, said: bool, profile: bytes | None) -> None:
    interop = Ifd({1: Tag(2, 4, index)})
    settings = Ifd({0xA001: shorts("<", 65_535)}, {INTEROP_IFD: interop})
    metadata = Metadata(exif=build_exif(Exif("<", Ifd({}, {EXIF_IFD: settings}))), icc=profile)
    lost: list[str] = []
    encode_picture(Picture(make_photo(8, 8), metadata=metadata), "jpg", strip=True, on_loss=lost.append)
    told = ["without EXIF nothing says that the colours are Adobe RGB: they will look paler"]
    assert lost == metadata.stripped().notes == told * (said and profile is None)


@pytest.mark.parametrize("dpi", [(0.254, 0.0254), (1.3, 72.0), (25_400_000.0, 1_000_001.0)])
@pytest.mark.parametrize("format", [*FORMATS, "tiff"])
def test_resolutions_of_maps_and_microscopes(format: str, dpi: tuple[float, float]) -> None:
    file = encode_picture(Picture(make_photo(16, 24), metadata=Metadata(dpi=dpi)), format)
    found = read_picture(file).metadata.dpi
    if format == "jpg" and max(dpi) > 65_535:  # JFIF's own density has 16 bits; EXIF's is meant
        found = resolution(read_picture(file).metadata.exif or b"")
    assert found == pytest.approx(dpi, rel=0.02)


@pytest.mark.parametrize("order", ["<", ">"])
def test_large_sizes_get_large_numbers_in_their_places(order: str) -> None:
    made = corrected(camera_block(order), 70_000, 65_535, None)
    tags = parse_exif(made).main.children[EXIF_IFD].tags
    assert (tags[0xA002].kind, tags[0xA002].data) == (4, struct.pack(order + "I", 70_000))
    assert (tags[0xA003].kind, tags[0xA003].data) == (3, struct.pack(order + "H", 65_535))
    assert len(made) == len(camera_block(order))
    assert_notes_stay(made)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_size_in_the_list_of_interoperability_is_that_of_the_file(order: str) -> None:
    interop = Ifd({1: Tag(2, 4, b"R98\0"), 0x1001: shorts(order, 24), 0x1002: Tag(4, 1, struct.pack(order + "I", 16))})
    before = build_exif(Exif(order, Ifd(children={EXIF_IFD: Ifd(children={INTEROP_IFD: interop})})))
    found = parse_exif(corrected(before, 96, 64, None)).main.children[EXIF_IFD].children[INTEROP_IFD].tags
    assert found == {1: Tag(2, 4, b"R98\0"), 0x1001: shorts(order, 96), 0x1002: shorts(order, 64)}


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_thumbnail_goes_and_takes_its_room_with_it(order: str) -> None:
    made = upright(camera_block(order), 60, 40, 1)
    assert b"thumbnail" not in made
    assert len(made) < len(camera_block(order)) - len(THUMBNAIL)
    assert_notes_stay(made)
    assert upright(made, 40, 60, 1) == made


def test_what_the_thumbnail_shares_with_others_stays() -> None:
    bent = bytearray(camera_block())
    bent[6 + 640 + 2 + 8 : 6 + 640 + 2 + 12] = struct.pack("<I", NOTE_AT)  # as if the thumbnail were the notes
    assert_notes_stay(upright(bytes(bent), 60, 40, 1))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_quarter_turn_exchanges_the_resolutions(format: str, order: str, orientation: int) -> None:
    """300 by 200 dots per inch: what was across is down."""
    expected = (200.0, 300.0) if orientation >= 5 else (300.0, 200.0)
    found = read_picture(encoded(PICTURE, "WEBP", exif=camera_block(order, orientation=orientation)))
    assert found.metadata.dpi == expected
    file = encode_picture(found, format)
    assert (as_another_reads(file)[0x011A], as_another_reads(file)[0x011B]) == expected
    assert read_picture(file).metadata.dpi == expected
    assert_notes_stay(read_picture(file).metadata.exif)


@pytest.mark.parametrize("format", ["jpg", "webp", "avif"])
@pytest.mark.parametrize("strip", [False, True])
def test_what_states_dots_per_inch_alone_gets_an_exif_of_nothing_else(format: str, strip: bool) -> None:
    exif = camera_block("<") if strip else None
    metadata = Metadata(exif=exif, dpi=(300.0, 150.0))
    file = encode_picture(Picture(make_photo(16, 24), metadata=metadata), format, strip=strip)
    found = as_another_reads(file)
    assert {tag: found[tag] for tag in found} == {0x011A: 300.0, 0x011B: 150.0, 0x0128: 2}
    assert not found.get_ifd(EXIF_IFD)
    assert read_picture(file).metadata.dpi == (300.0, 150.0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("unit", "dpi"), [(1, None), (2, (30.0, 20.0)), (3, (76.2, 50.8)), (9, None), (None, (30.0, 20.0))]
)
def test_a_resolution_without_a_unit_is_no_dpi(order: str, unit: int | None, dpi: tuple[float, float] | None) -> None:
    tags = {0x011A: (5, struct.pack(order + "II", 30, 1)), 0x011B: (5, struct.pack(order + "II", 20, 1))}
    tags |= {} if unit is None else {0x0128: (3, struct.pack(order + "H", unit))}
    block = build_exif(Exif(order, Ifd({number: Tag(kind, 1, data) for number, (kind, data) in tags.items()})))
    assert resolution(block) == dpi


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("source", ["TIFF", "JPEG", "PNG"])
def test_the_resolution_of_the_file_itself_is_turned_too(source: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = read_picture(encoded(PICTURE, source, exif=exif, dpi=(300, 200)))
    expected = pytest.approx((200.0, 300.0) if orientation == 6 else (300.0, 200.0), abs=0.1)
    assert found.metadata.dpi == expected
    for format in ("tiff", "jpg", "png"):
        assert read_picture(encode_picture(found, format)).metadata.dpi == expected


def test_a_tiff_moves_the_notes_of_a_camera_and_says_so() -> None:
    picture = read_picture(encoded(PICTURE, "JPEG", exif=camera_block()))
    said: list[str] = []
    file = encode_picture(picture, "tiff", on_loss=said.append)
    moved = "the camera's own notes (MakerNote) moved: what they refer to by its place may not be found"
    assert said == [f"TIFF: {moved}"]
    again = read_picture(file)
    assert again.metadata.notes == [f"EXIF: {moved}"]
    assert parse_exif(again.metadata.exif or b"").main.children[EXIF_IFD].tags[0x927C].data == NOTE
    said.clear()
    encode_picture(again, "tiff", on_loss=said.append)
    assert said == []


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("source", ["jpg", "tiff"])
def test_texts_in_unicode_take_the_byte_order_of_a_tiff(source: str, order: str) -> None:
    wide = "utf-16-le" if order == "<" else "utf-16-be"
    comment, where = (Tag(7, 8 + 2 * len(t), b"UNICODE\0" + t.encode(wide)) for t in ("Grüße 日本", "Größe"))
    how = Tag(7, 14, b"ASCII\0\0\0MANUAL")
    main = Ifd(children={EXIF_IFD: Ifd({0x9286: comment}), GPS_IFD: Ifd({0x1B: how, 0x1C: where})})
    picture = read_picture(encoded(PICTURE, "JPEG", exif=build_exif(Exif(order, main))))
    if source == "tiff":
        tifffile = pytest.importorskip("tifffile")
        file = io.BytesIO()
        tifffile.imwrite(file, make_photo(16, 24), photometric="rgb", byteorder=order, metadata=None)
        picture = read_picture(insert_tags(file.getvalue(), Added(exif=picture.metadata.exif)))
        assert parse_exif(picture.metadata.exif or b"").order == order
    found = parse_exif(read_picture(encode_picture(picture, "tiff")).metadata.exif or b"")
    assert found.order == "<"
    assert found.main.children[EXIF_IFD].tags[0x9286].data[8:].decode("utf-16-le") == "Grüße 日本"
    assert found.main.children[GPS_IFD].tags[0x1C].data[8:].decode("utf-16-le") == "Größe"
    assert found.main.children[GPS_IFD].tags[0x1B] == how


@pytest.mark.parametrize("cut", range(6, 700, 9))
def test_a_block_cut_short_is_corrected_or_left_out(cut: int) -> None:
    part = camera_block()[:cut]
    try:
        made = corrected(upright(part, 60, 40, 1), 100, 100, (300.0, 72.0))
    except ValueError:
        with pytest.raises(ValueError, match=r"list of tags|TIFF header"):
            parse_exif(part)
        return
    assert resolution(made) == (300.0, 72.0)
    assert parse_exif(made).main.notes() == []


@given(
    st.sampled_from("<>"),
    st.lists(st.tuples(st.integers(0, 330), st.sampled_from([0, 1, 8, 100, 200, 255])), min_size=1, max_size=8),
)
@settings(max_examples=300)
def test_a_block_with_any_bytes_bent_is_corrected_or_refused(order: str, bends: list[tuple[int, int]]) -> None:
    bent = bytearray(camera_block(order, orientation=6))
    for at, value in bends:
        bent[6 + at] = value
    try:
        made = corrected(upright(bytes(bent), 60, 40, 6), 100, 70_000, (300.0, 72.5))
    except ValueError:
        return
    assert parse_exif(made).main.notes() == []
    assert resolution(made) == (300.0, 72.5)


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
    assert "the list of tags is damaged: EXIF, IPTC and map coordinates were left out" in found.metadata.notes
    assert np.array_equal(found.pixels, make_photo(16, 24))
