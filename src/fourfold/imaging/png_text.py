"""Text fields of PNG files. libvips takes every one for UTF-8, which by the standard only one kind of three is.

Source: PNG specification, third edition (W3C 2025), sections 5.3 (chunks), 11.3.2 (colour), 11.3.3 (text).
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

#: More than this is not unpacked: all fields of a file together, and one of them.
_MAX_TEXT_BYTES = 8 << 20
_MAX_FIELD_BYTES = 1 << 20
_MAX_FIELDS = 1000
_MAX_KEY_BYTES = 79
_XMP_KEY = "XML:com.adobe.xmp"
_TEXT_KINDS = (b"tEXt", b"zTXt", b"iTXt")
#: What says how the numbers are meant as colours; the first two are read elsewhere, or mean what is taken anyway.
_COLOUR_KINDS = (b"iCCP", b"sRGB", b"cICP", b"gAMA", b"cHRM")
#: What stands beside colours and text and is about the small file alone, or about how it is drawn: when it was changed,
#: a background, how many bits mean something, how often colours of a palette come, Apple's index; transparency and
#: animation are read elsewhere.
_OF_THE_FILE = (b"tIME", b"bKGD", b"sBIT", b"hIST", b"iDOT", b"tRNS", b"acTL", b"fcTL", b"fdAT")
#: So many names of others are told.
_MAX_OTHERS = 10
#: C2PA's (C2PA specification 2.1, 2024, section A.3.4).
_CREDENTIALS = b"caBX"
_READ = (*_TEXT_KINDS, *_COLOUR_KINDS, b"pHYs", b"eXIf", _CREDENTIALS)
#: gAMA of sRGB, 1 / 2.2 in 100,000ths, and the little by which programs miss it.
_SRGB_GAMMA, _GAMMA_SLACK = 45_455, 100
#: cHRM of sRGB: x and y of white, red, green and blue in 100,000ths, and the little by which programs miss them.
_SRGB_CHROMATICITIES = (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)
_CHROMATICITY_SLACK = 500


@dataclass
class PngChunks:
    """What the chunks of a PNG file say.

    Attributes:
        xmp: the XMP packet, or None.
        comments: text fields by their keys; the texts of a repeated key are joined by line breaks.
        notes: what could not be taken over as it was.
        states_dpi: pixels per metre are given, not just the shape of a pixel.
        pixel_shape: width and height of a pixel in any unit where its shape is given alone, else None.
        credentials: the file holds Content Credentials (C2PA).
        exif: the EXIF block, or None.
        lost_xmp: why an XMP packet cannot be read, or "".
    """

    xmp: bytes | None = None
    comments: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    states_dpi: bool = False
    pixel_shape: tuple[int, int] | None = None
    credentials: bool = False
    exif: bytes | None = None
    lost_xmp: str = ""


def read_chunks(file: BinaryIO) -> PngChunks:
    """Returns what the chunks of a PNG file say, as far as they can be followed."""
    found = PngChunks()
    left, fields = _MAX_TEXT_BYTES, 0
    colour: dict[bytes, bytes] = {}
    others: dict[str, None] = {}
    for kind, content, intact in _chunks(file):
        if kind == b"pHYs":
            found.states_dpi = intact and content[8:9] == b"\1"
            if intact and content[8:] == b"\0":
                across, down = struct.unpack(">II", content[:8])
                found.pixel_shape = (down, across) if across and down else None
            continue
        if kind == _CREDENTIALS:
            found.credentials = True
            continue
        if kind in _COLOUR_KINDS:
            colour[kind] = content
            continue
        if kind not in _READ:
            others |= {kind.decode(): None} if len(others) < _MAX_OTHERS else {}
            continue
        if kind == b"eXIf":
            found.exif = content if intact else found.exif
            continue
        key = content[: _MAX_KEY_BYTES + 1].partition(b"\0")[0].decode("latin-1")
        if key == _XMP_KEY:
            try:
                found.xmp = found.xmp or _text(kind, content, intact, _MAX_FIELD_BYTES, []).encode()
            except (ValueError, zlib.error) as error:
                found.lost_xmp = str(error)
            continue
        if (fields := fields + 1) > _MAX_FIELDS:
            if fields == _MAX_FIELDS + 1:
                found.notes.append(f"more than {_MAX_FIELDS:,} text fields: the rest was left out")
            continue
        try:
            text = _text(kind, content, intact, min(left, _MAX_FIELD_BYTES), found.notes)
        except (ValueError, zlib.error) as error:
            found.notes.append(f"the text field {key!r} was left out: {error}")
            continue
        left -= len(text)
        if key in found.comments:
            told = f"the text field {key!r} is there more than once: joined into one"
            found.notes += [told] * (told not in found.notes)
            text = f"{found.comments[key]}\n{text}"
        found.comments[key] = text
    found.notes += _unheard_colour(colour)
    if others:
        found.notes.append(f"the chunks {', '.join(others)} were left out")
    return found


def _unheard_colour(said: dict[bytes, bytes]) -> list[str]:
    """Returns a note if the file says with anything but a profile that its colours are not sRGB's.

    The first of cICP, iCCP, sRGB, gAMA and cHRM that is there counts (section 4.3).
    """
    if b"cICP" in said and said[b"cICP"][:2] != b"\1\r":  # BT.709's primaries with sRGB's curve
        taken = "what the colour profile says" if b"iCCP" in said else "sRGB"
        return [f"colours by cICP code points were taken for {taken}"]
    if said.keys() & {b"cICP", b"iCCP", b"sRGB"}:
        return []
    notes = []
    gamma = int.from_bytes(said.get(b"gAMA", b"")[:4], "big") or _SRGB_GAMMA
    if abs(gamma - _SRGB_GAMMA) > _GAMMA_SLACK:
        notes.append(f"a gamma of 1/{100_000 / gamma:.2f} was taken for sRGB's")
    if not _are_srgb(said.get(b"cHRM", b"")):
        notes.append("primaries (cHRM) that are not sRGB's were taken for sRGB's")
    return notes


def _are_srgb(chromaticities: bytes) -> bool:
    """Says whether the content of a cHRM chunk is sRGB's; one that says nothing sensible counts as that."""
    if len(chromaticities) != 32 or not any(chromaticities):
        return True
    values = struct.unpack(">8I", chromaticities)
    return all(abs(a - b) <= _CHROMATICITY_SLACK for a, b in zip(values, _SRGB_CHROMATICITIES, strict=True))


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yields kind, content and whether the checksum is right of what matters; of what is lost, its kind alone."""
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind not in _READ:
            file.seek(size + 4, io.SEEK_CUR)
            if kind.isalpha() and kind[:1].islower() and kind not in _OF_THE_FILE:  # not needed to draw it
                yield kind, b"", True
            continue
        # what is longer than any field that is read gets no further: its checksum cannot be right
        content = file.read(min(size, 2 * _MAX_FIELD_BYTES))
        file.seek(size - len(content), io.SEEK_CUR)
        yield kind, content, zlib.crc32(content, zlib.crc32(kind)) == int.from_bytes(file.read(4), "big")


def _text(kind: bytes, content: bytes, intact: bool, max_bytes: int, notes: list[str]) -> str:
    """Returns the text of a field; ValueError or zlib.error, with the reason, where it has none that can be read."""
    key, separator, rest = content.partition(b"\0")
    if not intact or not separator or not 1 <= len(key) <= _MAX_KEY_BYTES:
        raise ValueError("it is damaged")
    if kind == b"tEXt":
        return _within(rest, max_bytes).decode("latin-1")
    if kind == b"zTXt":
        return _unpacked(rest[1:], max_bytes).decode("latin-1")
    flags, (language, translated, packed) = rest[:2], _three_parts(rest[2:])
    if language or translated:
        notes.append(f"the language of the text field {key.decode('latin-1')!r} was left out")
    text = _unpacked(packed, max_bytes) if flags[:1] == b"\1" else _within(packed, max_bytes)
    return text.decode("utf-8")


def _three_parts(rest: bytes) -> tuple[bytes, bytes, bytes]:
    parts = rest.split(b"\0", 2)
    if len(parts) != 3:
        raise ValueError("it is damaged")
    return parts[0], parts[1], parts[2]


def _within(text: bytes, max_bytes: int) -> bytes:
    if len(text) > max_bytes:
        raise ValueError(f"it is too long ({_MAX_FIELD_BYTES:,} bytes each and {_MAX_TEXT_BYTES:,} in all are read)")
    return text


def _unpacked(packed: bytes, max_bytes: int) -> bytes:
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(packed, max_bytes + 1)
    if len(text) <= max_bytes and not unpacker.eof:
        raise ValueError("it is damaged")
    return _within(text, max_bytes)


def can_hold(key: str) -> bool:
    """Says whether a key can be that of a PNG text field: 1 to 79 printable Latin-1 characters."""
    try:
        size = len(key.encode("latin-1"))
    except UnicodeEncodeError:
        return False
    return 1 <= size <= _MAX_KEY_BYTES and key.isprintable() and key == key.strip()


def text_chunks(comments: dict[str, str]) -> bytes:
    """Returns text fields as the bytes of chunks: Latin-1 where it suffices, which every reader knows, else UTF-8."""
    made = b""
    for key, text in comments.items():
        if not can_hold(key):
            continue
        name, plain = key.encode("latin-1") + b"\0", text.replace("\0", "")
        try:
            made += chunk(b"tEXt", name + plain.encode("latin-1"))
        except UnicodeEncodeError:
            # not compressed, no language, no translated key
            made += chunk(b"iTXt", name + b"\0\0\0\0" + plain.encode("utf-8", "replace"))
    return made


def chunk(kind: bytes, data: bytes) -> bytes:
    """Returns a chunk as it stands in a PNG file."""
    checksum = zlib.crc32(data, zlib.crc32(kind))
    return b"".join((len(data).to_bytes(4, "big"), kind, data, checksum.to_bytes(4, "big")))


def without_resolution(data: Any, first: int) -> tuple[int, bytes]:
    """Returns where the pHYs chunk of a PNG file lies, and what says that its pixels are square and nothing more.

    It is as long as what is there. Without such a chunk, it is nothing.

    Args:
        data: the file, bytes or mapped.
        first: where the first chunk after IHDR begins.
    """
    while first + 12 <= len(data) and data[first + 4 : first + 8] not in (b"pHYs", b"IDAT"):
        first += 12 + int.from_bytes(data[first : first + 4], "big")
    square = chunk(b"pHYs", struct.pack(">IIB", 1, 1, 0))
    return (first, square) if data[first : first + 8] == square[:8] else (first, b"")
