"""EXIF, IPTC and GeoTIFF's tags in TIFF files: libvips leaves them out or garbles them.

A TIFF file *is* a list of tags, so EXIF's main list is part of the picture's own, and its sub-lists hang from it.
Writing appends a new list behind the finished file, the old entries with the new ones, and lets the file's head
point at it; nothing that is there moves.
"""

import os
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from fourfold.imaging import georeference
from fourfold.imaging.atomic import write_at
from fourfold.imaging.exif import (
    MAKER_NOTE_MOVED,
    MAX_TAGS,
    SUB_IFDS,
    TYPE_BYTES,
    X_RESOLUTION,
    Y_RESOLUTION,
    Exif,
    Ifd,
    Tag,
    build_exif,
    fraction,
    has_maker_note,
    parse_exif,
    rational,
    read_ifd,
    write_ifd,
)
from fourfold.imaging.georeference import LEFT_OUT, Georeference, read_georeference

#: Tags of the main list that speak of the photograph, not of how its pixels are stored: name of the document,
#: description, camera, name of the page, software, date, artist, host, rating, copyright; Windows' title to subject.
_PHOTOGRAPH = {
    *(0x010D, 0x010E, 0x010F, 0x0110, 0x011D, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298),
    *range(0x9C9B, 0x9CA0),
}

_IPTC, _DESCRIPTION = 0x83BB, 0x010E
#: How programs for science begin the descriptions in which they keep the size and the scale of their pictures.
_DESCRIPTIONS = {
    "OME": re.compile(rb"\s*(?:<\?xml.{0,4000}?)?<(?:\w+:)?OME\b", re.DOTALL),
    "ImageJ": re.compile(rb"ImageJ="),
    "tifffile": re.compile(rb"\{\s*\"shape\"|shape=\("),
}
_EXTRA_SAMPLES, _PHOTOMETRIC, _RESOLUTION_UNIT, _COMPRESSION, _COLOUR_MAP = 0x0152, 0x0106, 0x0128, 0x0103, 0x0140
#: What cameras' raw files have: a first picture that is only a preview, others below it, and DNG's version.
_SUBFILE_TYPE, _SUB_PICTURES, _DNG_VERSION = 0x00FE, 0x014A, 0xC612
#: What Photoshop keeps of layers (ImageSourceData) and of everything else (ImageResources), and colour profiles (ICC.1,
#: annex B.4).
_LAYERS, _RESOURCES, _ICC = 0x935C, 0x8649, 0x8773
#: From this number on, tags are private ones; so many of them are told.
_PRIVATE, _MAX_PRIVATE = 0x8000, 10
#: Those that libvips reads, or that speak of how pixels are stored: the colour profile; Photoshop's; old compressions.
_OF_THE_FILE = {_ICC, _LAYERS, _RESOURCES, 0x80E3, 0x80E4, 0x80E5, 0x80E6}
#: How colours are meant where there is no profile: the curve, white and the primaries.
_COLOUR = {0x012D, 0x013E, 0x013F}
#: How pixels lie in the file: size, bits, samples; strips, their rows and bytes; rows of tiles; each channel by itself.
_WIDTH, _LENGTH, _BITS, _SAMPLES, _STRIP_ROWS, _STRIP_BYTES, _TILE_ROWS, _PLANAR = (
    *(0x0100, 0x0101, 0x0102, 0x0115),
    *(0x0116, 0x0117, 0x0143, 0x011C),
)
_SHORT, _LONG, _RATIONAL, _LONG8 = 3, 4, 5, 16
_UNCOMPRESSED = 1
#: The value of ExtraSamples for alpha that the colours have been multiplied by.
_ASSOCIATED = 1
#: The bit of NewSubfileType for a reduced picture of another one in the file.
_REDUCED = 1
#: Values of PhotometricInterpretation; the last ones are a sensor's colour filters (TIFF/EP, DNG), and ICC's and ITU's
#: ways of writing CIELAB.
_WHITE_IS_ZERO, _PALETTE, _YCBCR, _RAW, _LAB_ENCODED = 0, 3, 6, (32803, 34892), (9, 10)
#: Compressions whose decoders turn YCbCr into RGB.
_JPEG = (6, 7)
#: All that is read of a list: what else is there may be large, layers above all.
_READ = {
    *(_EXTRA_SAMPLES, _PHOTOMETRIC, _RESOLUTION_UNIT, _COMPRESSION, _SUBFILE_TYPE, _SUB_PICTURES, _DNG_VERSION, _IPTC),
    *(_WIDTH, _LENGTH, _BITS, _SAMPLES, _STRIP_ROWS, _STRIP_BYTES, _TILE_ROWS, _PLANAR, X_RESOLUTION, Y_RESOLUTION),
    *(*_PHOTOGRAPH, *georeference.TAGS, *LEFT_OUT),
}
#: What makes the samples of two pages mean the same, and what a page says of itself: names and resolution.
_OF_SAMPLES, _OF_PAGES = (
    {_ICC, _EXTRA_SAMPLES, _PHOTOMETRIC},
    {0x010D, 0x010E, 0x011A, 0x011B, 0x011D, _RESOLUTION_UNIT},
)
#: Further pages are taken to be like those before.
_MAX_PAGES = 10_000
#: Values in a palette of 16 bits; what has more is none.
_LARGEST_PALETTE = 3 * 65536
#: The type whose values are bytes without a meaning.
_UNDEFINED = 7
#: EXIF's texts that begin with the name of their encoding: a comment; how a place was found, and its name. Behind
#: Unicode's come pairs of bytes in the block's order (EXIF 2.32, section 4.6.5).
_TEXTS, _UNICODE = {0x9286, 0x001B, 0x001C}, b"UNICODE\0"

_SIGNATURES = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}


class Samples(NamedTuple):
    """What a TIFF file says of its samples, and libvips does not tell or not rightly. Source: TIFF 6.0 (1992).

    Attributes:
        extra_samples: what the channels beyond colour are, one by one: 1 and 2 are alpha, 0 is anything else, such as
            the selections and spot colours of programs (ExtraSamples).
        states_dpi: the resolution is in inches or centimetres; else it is the shape of a pixel only. ResolutionUnit: 1
            is no unit, 2 inch (where it is not given, too), 3 centimetre.
        pixel_shape: width and height of a pixel where the resolution is no more than that, else None.
        white_is_zero: a grey picture is stored as a negative, black at the largest value (PhotometricInterpretation
            0). libvips turns whole numbers, and not floating point.
        palette: the samples number the colours of a palette (PhotometricInterpretation 3).
        palettes_differ: not all pages have the same palette.
        jpeg: they are compressed as JPEG (Compression 6 and 7).
        held_bytes: about how much memory decoding takes beyond a few rows: what is compressed is read strip by strip,
            and a row of tiles, a strip of JPEG, and a strip of every channel where each lies by itself
            (PlanarConfiguration 2) are there as they come and once more put together.
        refused: why the samples would be taken for what they are not, or "".
    """

    extra_samples: tuple[int, ...] = ()
    states_dpi: bool = True
    pixel_shape: tuple[float, float] | None = None
    white_is_zero: bool = False
    palette: bool = False
    palettes_differ: bool = False
    jpeg: bool = False
    held_bytes: int = 0
    refused: str = ""

    @property
    def associated(self) -> bool:
        """Whether the colours have been multiplied by alpha."""
        return _ASSOCIATED in self.extra_samples


class Photograph(NamedTuple):
    """What a TIFF file says about the photograph.

    Attributes:
        exif: an EXIF block, or None.
        iptc: an IPTC block, or None.
        georeference: where it lies on the earth, or None.
        notes: what could not be taken over.
    """

    exif: bytes | None
    iptc: bytes | None
    georeference: Georeference | None
    notes: list[str]


def read_tags(data: Any) -> tuple[Samples, Photograph]:
    """Returns what a TIFF file says about its samples and about the photograph.

    Args:
        data: the file's bytes, or a memory map of it.

    Raises:
        ValueError: if the list of tags is damaged.
    """
    order, big, offset = _head(bytes(data[:16]))
    found = read_ifd(data, order, offset, big=big, wanted=_READ)
    samples = _samples(found, order)
    if samples.palette:
        samples = samples._replace(palettes_differ=_palettes_differ(data, order, big, offset))
    return samples, _photograph(found, order)


def _palettes_differ(data: Any, order: str, big: bool, offset: int) -> bool:
    """Says whether a page has another palette than the one before, as far as can be read."""
    before: tuple[Tag | None, Tag | None] | None = None
    try:
        for at, entries in _pages(data, order, big, offset):
            place = entries.get(_COLOUR_MAP)
            if before is not None and place == before[0]:  # the same bytes of the file
                continue
            readable = place is not None and place.count <= _LARGEST_PALETTE
            tags = read_ifd(data, order, at, big=big, wanted={_COLOUR_MAP}).tags if readable else {}
            palette = tags.get(_COLOUR_MAP)
            if before is not None and palette != before[1]:
                return True
            before = place, palette
    except ValueError:
        return False
    return False


def _pages(data: Any, order: str, big: bool, offset: int) -> Iterator[tuple[int, dict[int, Tag]]]:
    """Yields where the tags of every page lie, and its entries as they stand, until a page comes round again.

    Raises:
        ValueError: if a list is damaged.
    """
    seen: set[int] = set()
    while offset and offset not in seen and len(seen) < _MAX_PAGES:
        seen.add(offset)
        try:
            entries, following = _raw_entries(data, order, big, offset)
        except struct.error as error:
            raise ValueError("a list of tags is truncated") from error
        yield offset, entries
        offset = following


def compare_pages(data: Any) -> tuple[bool, bool]:
    """Says whether all pages of a TIFF file mean the same by their samples, and say the same of themselves.

    Args:
        data: the file's bytes, or a memory map of it.

    Raises:
        ValueError: if a list of tags is damaged.
    """
    order, big, offset = _head(bytes(data[:16]))
    first: tuple[Any, Any] | None = None
    alike, say_alike = True, True
    for at, _ in _pages(data, order, big, offset):
        tags = read_ifd(data, order, at, big=big, wanted=_OF_SAMPLES | _OF_PAGES).tags
        meaning = {number: tag for number, tag in tags.items() if number in _OF_SAMPLES}
        words = {number: tag for number, tag in tags.items() if number in _OF_PAGES}
        if _program(words.get(_DESCRIPTION)):
            del words[_DESCRIPTION]  # left out in any case
        first = first or (meaning, words)
        alike, say_alike = alike and meaning == first[0], say_alike and words == first[1]
    return alike, say_alike


def _samples(found: Ifd, order: str) -> Samples:
    def values(number: int) -> tuple[int, ...]:
        """Returns the values of a tag of 16-, 32- or 64-bit integers; none where it is missing or of another kind."""
        tag = found.tags.get(number)
        code = None if tag is None else {_SHORT: "H", _LONG: "I", _LONG8: "Q"}.get(tag.kind)
        return struct.unpack(f"{order}{tag.count}{code}", tag.data) if tag is not None and code else ()

    compression = (*values(_COMPRESSION), None)[0]
    unit, photometric = values(_RESOLUTION_UNIT), (*values(_PHOTOMETRIC), None)[0]
    preview = bool((*values(_SUBFILE_TYPE), 0)[0] & _REDUCED) and _SUB_PICTURES in found.tags
    refused = ""
    if _DNG_VERSION in found.tags or preview or photometric in _RAW:
        refused = "it is a camera's raw file, which is not read here; develop it to TIFF or JPEG first"
    elif (photometric == _YCBCR and compression not in _JPEG) or photometric in _LAB_ENCODED:
        model = "YCbCr" if photometric == _YCBCR else "encoded CIELAB"
        refused = f"{model} samples, which are not read here; convert it to RGB first"
    return Samples(
        extra_samples=values(_EXTRA_SAMPLES),
        states_dpi=not unit or unit[0] in (2, 3),
        pixel_shape=_pixel_shape(found, order) if unit and unit[0] == 1 else None,
        white_is_zero=photometric == _WHITE_IS_ZERO,
        palette=photometric == _PALETTE,
        jpeg=compression in _JPEG,
        held_bytes=_held_bytes(values),
        refused=refused,
    )


def _pixel_shape(found: Ifd, order: str) -> tuple[float, float] | None:
    across, down = (rational(found.tags.get(number), order) for number in (X_RESOLUTION, Y_RESOLUTION))
    return (down, across) if across and down else None


def _held_bytes(values: Callable[[int], tuple[int, ...]]) -> int:
    def value(number: int, default: int) -> int:
        return (*values(number), default)[0]

    length, compression = value(_LENGTH, 0), value(_COMPRESSION, _UNCOMPRESSED)
    row_bytes = value(_WIDTH, 0) * value(_SAMPLES, 1) * -(-value(_BITS, 8) // 8)
    if tile_rows := value(_TILE_ROWS, 0):
        return 2 * tile_rows * row_bytes
    if value(_PLANAR, 1) == 2 or compression in _JPEG:
        return 2 * min(length, value(_STRIP_ROWS, length)) * row_bytes
    return 0 if compression == _UNCOMPRESSED else max(values(_STRIP_BYTES), default=0)


def _photograph(found: Ifd, order: str) -> Photograph:
    tags = {number: tag for number, tag in found.tags.items() if number in _PHOTOGRAPH and tag.kind < 16}
    if program := _program(tags.get(_DESCRIPTION)):
        del tags[_DESCRIPTION]
    exif = build_exif(Exif(order, Ifd(tags, found.children))) if tags or found.children else None
    notes = found.notes() + [f"EXIF: {MAKER_NOTE_MOVED}"] * has_maker_note(exif)
    if program:
        notes.append(f"{program}'s description was left out: it states the size and the scale of the small picture")
    if _LAYERS in found.passed:
        notes.append("Photoshop's layers were left out: the picture is what they make together")
    if _RESOURCES in found.passed:
        notes.append("Photoshop's resources (such as clipping paths) were left out")
    if _SUB_PICTURES in found.tags:
        count = found.tags[_SUB_PICTURES].count
        notes.append(f"only the picture itself: {count} below it (smaller versions, perhaps) left out")
    if _ICC not in found.passed and found.passed & _COLOUR:
        notes.append(
            "a curve, white or primaries that are given without a colour profile were left out: taken for sRGB's"
        )
    if private := sorted(number for number in found.passed - _OF_THE_FILE if number >= _PRIVATE):
        told = ", ".join(map(str, private[:_MAX_PRIVATE])) + (" and more" if len(private) > _MAX_PRIVATE else "")
        notes.append(f"the private tags {told} were left out")
    of_the_map = {number: tag for number, tag in found.tags.items() if number in {*georeference.TAGS, *LEFT_OUT}}
    place, lost = read_georeference(_in_order(Ifd(of_the_map), order, "<").tags)
    return Photograph(exif, found.tags[_IPTC].data if _IPTC in found.tags else None, place, notes + lost)


def _program(description: Tag | None) -> str:
    """Returns the name of the program that keeps size and scale in a description, or "" if none does."""
    text = b"" if description is None else description.data
    return next((name for name, beginning in _DESCRIPTIONS.items() if beginning.match(text)), "")


class Added(NamedTuple):
    """What comes into a finished TIFF file.

    Attributes:
        exif: a block whose tags are put in, or None.
        iptc: a block, or None.
        place: a georeference, or None.
        dpi: horizontal and vertical dots per inch in place of those that are there, or None.
    """

    exif: bytes | None = None
    iptc: bytes | None = None
    place: Georeference | None = None
    dpi: tuple[float, float] | None = None


def insert_tags(encoded: bytes, added: Added) -> bytes:
    """Returns the TIFF file with what is to be added in it."""
    order, big, offset = _head(encoded[:16])
    aligned = encoded + b"\0" * (len(encoded) % 2)
    addition, head = _addition(encoded, len(aligned), order, big, offset, added)
    return head + aligned[len(head) :] + addition


def append_tags(descriptor: int, added: Added) -> None:
    """Adds what is to be added to the TIFF file that is open at the descriptor.

    Raises:
        OSError: if the disk refuses.
    """
    end = os.lseek(descriptor, 0, os.SEEK_END)
    order, big, offset = _head(os.pread(descriptor, 16, 0))
    size = end + end % 2
    # libvips writes a page's list behind its pixels: what is read here is short
    window = _Window(descriptor, end)
    addition, head = _addition(window, size, order, big, offset, added)
    write_at(descriptor, addition, size)
    write_at(descriptor, head, 0)


class _Window:
    """A file's bytes, read only where they are asked for."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        os.lseek(self._descriptor, part.start or 0, os.SEEK_SET)
        return os.read(self._descriptor, part.stop - (part.start or 0))


def _head(start: bytes) -> tuple[str, bool, int]:
    """Returns the byte order, whether it is a BigTIFF, and where the first list is."""
    if start[:4] not in _SIGNATURES:
        raise ValueError("not a TIFF file")
    order, big = _SIGNATURES[start[:4]]
    (offset,) = struct.unpack_from(order + ("Q" if big else "I"), start, 8 if big else 4)
    return order, big, offset


def _addition(data: Any, at: int, order: str, big: bool, offset: int, added: Added) -> tuple[bytes, bytes]:
    """Returns the new list, to stand at ``at``, and the file's new head."""
    entries, following = _raw_entries(data, order, big, offset)
    main = Ifd()
    if added.exif is not None:
        block = parse_exif(added.exif)
        main = _in_order(block.main, block.order, order)
    tags = {number: tag for number, tag in main.tags.items() if number in _PHOTOGRAPH and number not in entries}
    if added.iptc is not None:
        tags[_IPTC] = Tag(_UNDEFINED, len(added.iptc), added.iptc)
    if added.place is not None:
        tags |= _in_order(Ifd(dict(added.place.tags)), "<", order).tags
    for number, dots in zip((X_RESOLUTION, Y_RESOLUTION), added.dpi or (), strict=False):
        tags[number] = Tag(_RATIONAL, 1, struct.pack(order + "II", *fraction(dots)))
    addition = write_ifd(Ifd({**entries, **tags}, main.children), order, at, big=big, following=following)
    start = data[0:16] if big else data[0:8]
    pointer = struct.pack(order + ("Q" if big else "I"), at)
    return addition, start[: -len(pointer)] + pointer


def _raw_entries(data: Any, order: str, big: bool, offset: int) -> tuple[dict[int, Tag], int]:
    """Returns the entries of a list as they stand, without its EXIF pointers, and where the next list is."""
    count_bytes, entry_bytes, field = (8, 20, 8) if big else (2, 12, 4)
    (count,) = struct.unpack(order + ("Q" if big else "H"), data[offset : offset + count_bytes])
    if count > MAX_TAGS:
        raise ValueError("a list of tags is too long")
    body_at = offset + count_bytes
    body = data[body_at : body_at + entry_bytes * count + field]
    entries = {}
    for k in range(count):
        entry = body[entry_bytes * k : entry_bytes * (k + 1)]
        number, kind, values = struct.unpack(order + ("HHQ" if big else "HHI"), entry[:-field])
        if number not in SUB_IFDS:
            entries[number] = Tag(kind, values, bytes(entry[-field:]), in_place=True)
    (following,) = struct.unpack(order + ("Q" if big else "I"), body[-field:])
    return entries, following


def _in_order(ifd: Ifd, order: str, wanted: str) -> Ifd:
    """Returns the list with its values in another byte order."""
    if order == wanted:
        return ifd
    tags = {number: Tag(tag.kind, tag.count, _swapped(number, tag)) for number, tag in ifd.tags.items()}
    return Ifd(tags, {number: _in_order(child, order, wanted) for number, child in ifd.children.items()})


def _swapped(number: int, tag: Tag) -> bytes:
    if number in _TEXTS and tag.kind == _UNDEFINED and tag.data.startswith(_UNICODE):
        text = tag.data[len(_UNICODE) :]
        return _UNICODE + b"".join(text[k : k + 2][::-1] for k in range(0, len(text), 2))
    size = 4 if tag.kind in (5, 10) else TYPE_BYTES[tag.kind]  # a rational is two numbers of four bytes
    return b"".join(tag.data[k : k + size][::-1] for k in range(0, len(tag.data), size))
