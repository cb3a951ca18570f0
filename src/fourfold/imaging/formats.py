"""The picture formats: how each is recognised by its first bytes, and what each can hold."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fourfold.errors import PictureError, UsageError

#: Several pictures that a file may hold: none, the frames of an animation, or frames and pages of any kind.
FrameKind = Literal["", "animation", "pages"]

#: Bytes that :func:`recognise` wants to see.
SIGNATURE_BYTES = 64


@dataclass(frozen=True)
class Format:
    """What a file format can hold.

    Attributes:
        name: as the command line names it.
        suffixes: file name endings, the usual one first.
        loader: stem of the libvips operations that read it; also that of those that write it.
        depths: bits per sample that it stores.
        max_side_px: longest side.
        grey: holds a single grey channel (others store grey as three equal ones).
        alpha: holds alpha.
        floating: holds 32-bit floating point.
        frames: "animation" if it holds one, "pages" if it holds several pictures of any kind, "" if only one.
        holds: which of icc, exif, xmp, iptc, dpi, comments (or one without a name) it keeps.
        streamed: written row by row; the others need the whole picture in memory while encoding.
    """

    name: str
    suffixes: tuple[str, ...]
    loader: str
    depths: tuple[int, ...]
    max_side_px: int
    grey: bool = True
    alpha: bool = True
    floating: bool = False
    frames: FrameKind = ""
    holds: Collection[str] = ()
    streamed: bool = True


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format("png", (".png", ".apng"), "png", (8, 16), 2**31 - 1, holds=("icc", "exif", "xmp", "dpi", "comments")),
        Format(
            "jpg",
            (".jpg", ".jpeg", ".jpe", ".jfif"),
            "jpeg",
            (8,),
            65_500,
            alpha=False,
            holds=("icc", "exif", "xmp", "iptc", "dpi", "comment"),
        ),
        Format(
            "webp",
            (".webp",),
            "webp",
            (8,),
            16_383,
            grey=False,
            frames="animation",
            holds=("icc", "exif", "xmp", "dpi"),
            streamed=False,
        ),
        Format(
            "tiff",
            (".tif", ".tiff"),
            "tiff",
            (8, 16),
            2**31 - 1,
            floating=True,
            frames="pages",
            holds=("icc", "exif", "xmp", "iptc", "dpi"),
        ),
        Format(
            "avif",
            (".avif",),
            "heif",
            (8, 10, 12),
            16_384,
            grey=False,
            holds=("icc", "exif", "xmp", "dpi"),
            streamed=False,
        ),
        Format("gif", (".gif",), "gif", (8,), 65_535, grey=False, frames="animation", streamed=False),
    )
}

#: Every suffix that is taken for a picture when a folder is searched.
SUFFIXES = {suffix: f.name for f in FORMATS.values() for suffix in f.suffixes}

#: Endings of pictures that are in use and not read here.
UNREAD_SUFFIXES = frozenset(
    {
        *(".bmp", ".dib", ".pgm", ".ppm", ".pnm", ".jp2", ".j2k", ".jxl", ".heic", ".heif"),
        *(".tga", ".dds", ".pcx", ".ico", ".qoi", ".jxr", ".wdp"),
    }
)
#: Endings of what pictures are made from: cameras' raw files, documents with layers, light beyond white.
SOURCE_SUFFIXES = frozenset(
    {
        *(".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2", ".pef", ".srw", ".x3f"),
        *(".psd", ".psb", ".xcf", ".kra", ".exr", ".hdr"),
    }
)

#: First bytes of files that people do hand in and that are not read, with their names.
_STRANGERS = (
    (b"%PDF", "a PDF"),
    (b"BM", "a BMP"),
    (b"8BPS", "a Photoshop document"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"\x00\x00\x00\x0cjP", "a JPEG 2000"),
    (b"\x76\x2f\x31\x01", "an OpenEXR"),
    (b"<svg", "an SVG"),
    (b"<?xml", "an XML or SVG"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"%!PS", "a PostScript"),
    (b"\x1aE\xdf\xa3", "a video"),
)
#: Its pixels are compressed without the standard's frame, red and blue exchanged, and multiplied by alpha.
_APPLES_FIRST_CHUNK = b"CgBI"
_AVIF_BRANDS = (b"avif", b"avis")
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"hevs")


def recognise(start: bytes) -> Format:
    """Returns the format of a file that begins with these bytes.

    Only the formats in :data:`FORMATS` are ever handed to a decoder, whatever else the installed libvips reads:
    a short list of well-tested decoders is the first defence against hostile files.

    Raises:
        PictureError: for anything else, named where it is a known kind.
    """
    name = _signature(start)
    if name == "png" and start[12:16] == _APPLES_FIRST_CHUNK:
        raise PictureError(
            "it is a PNG in the form that Xcode gives those of apps (CgBI), which is not read here; "
            "xcrun -sdk iphoneos pngcrush -revert-iphone-optimizations makes an ordinary one of it"
        )
    if name is not None:
        return FORMATS[name]
    if not start:
        raise PictureError("the file is empty")
    if start[4:8] == b"ftyp":
        kind = "HEIC" if start[8:12] in (*_HEIC_BRANDS, b"mif1", b"msf1") else "a video"
        raise PictureError(f"it is {kind}, which is not read here; convert it to PNG, JPEG or AVIF first")
    for signature, kind in _STRANGERS:
        if start.startswith(signature):
            raise PictureError(f"it is {kind} file, which is not read here; convert it to PNG or TIFF first")
    raise PictureError("not a picture; PNG, JPEG, WebP, TIFF, AVIF and GIF are read")


def _signature(start: bytes) -> str | None:
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if start.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if start[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "webp"
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if start[4:8] == b"ftyp":
        brand = start[8:12]
        # what is only said to be "an image" is of the first kind among those that it is compatible with
        if brand in (b"mif1", b"msf1"):
            end = min(len(start), int.from_bytes(start[:4], "big"))
            also = [start[at : at + 4] for at in range(16, end - 3, 4)]
            brand = next((one for one in also if one in _AVIF_BRANDS + _HEIC_BRANDS), b"avif")
        return "avif" if brand in _AVIF_BRANDS else None
    return None


def format_named(name: str) -> Format:
    """Returns the format of a name such as ``jpg``, ``.JPEG`` or ``tiff``.

    Raises:
        UsageError: for a name that is no format.
    """
    suffix = "." + name.lower().lstrip(".")
    if suffix not in SUFFIXES:
        raise UsageError(f"unknown picture format {name!r}; there are {', '.join(FORMATS)}")
    return FORMATS[SUFFIXES[suffix]]


def format_of(path: Path) -> Format:
    """Returns the format that a file name's ending asks for.

    Raises:
        PictureError: if it has none, or an unknown one.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise PictureError(
            f"{path}: no picture format ends in {path.suffix!r}; there are {', '.join(sorted(SUFFIXES))}"
        )
    return FORMATS[SUFFIXES[path.suffix.lower()]]
