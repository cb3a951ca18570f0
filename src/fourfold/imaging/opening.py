"""Opening a picture without decoding it: header checks, then a libvips image that gives upright plain pixels.

Both the reading of whole pictures and the reading in bands start here, so that they see the same pixels.
"""

import os
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from fourfold.errors import PictureError, PictureTooLargeError
from fourfold.imaging import apng, avif_sequence
from fourfold.imaging import exif as exif_blocks
from fourfold.imaging.beside import Beside, pages_of, read_beside
from fourfold.imaging.decoders import is_made_good, look_through, named, remarks_of_thread, told
from fourfold.imaging.exif_corrections import QUARTER_TURNS, upright
from fourfold.imaging.formats import SIGNATURE_BYTES, Format, FrameKind, recognise
from fourfold.imaging.frames import loaded, turned
from fourfold.imaging.picture import Metadata
from fourfold.imaging.samples import alpha_of_integers, divided, floating, straight, stretched, widened
from fourfold.imaging.vips_text import read_leniently
from fourfold.imaging.xmp import alone_xmp, upright_xmp

#: Largest picture that is decoded unless the caller says otherwise: 10,000 x 10,000.
MAX_PIXELS = 100_000_000

#: More pages than this with palettes of their own are not read: each takes a decoder of its own, and an open file.
_MAX_PALETTES = 100

#: libvips pixel kinds that are kept, and their numpy names.
_KEPT: dict[str, np.dtype[Any]] = {
    "uchar": np.dtype(np.uint8),
    "ushort": np.dtype(np.uint16),
    "float": np.dtype(np.float32),
}


#: What counts the frames where libvips does not.
_COUNTS: dict[str, Callable[[str | Path | bytes], int]] = {"png": apng.frames_of, "avif": avif_sequence.frames_of}


@dataclass
class OpenPicture:
    """A picture whose header has been read and checked; pixels come on demand, from top to bottom.

    Attributes:
        image: libvips image of ``frames`` pictures below each other; 1 to 4 bands, alpha last.
        format: what the file is.
        height: rows of one frame, upright.
        width: columns, upright.
        channels: 1 (grey) or 3 (RGB), alpha not counted.
        has_alpha: whether a band of alpha follows.
        dtype: uint8, uint16 or float32.
        metadata: everything beside the pixels.
        frames: pictures in the file that are read (animation frames, pages).
        delays_ms: time that each frame is shown, empty for a still picture.
        loop: how often an animation runs; 0 is for ever.
        turned: the orientation moves rows, so the file must be decoded whole.
        negative: colours are floating point whose 0 is white and whose peak is black.
        held_bytes: about how much memory a TIFF takes to decode beyond a few rows.
        look_through: decodes a JPEG file, or a TIFF with JPEG inside, and returns notes on what its decoder warns of;
            PictureError where that is damage, which the decoder would pass over. Of other files, nothing.
    """

    image: Any
    format: Format
    height: int
    width: int
    channels: int
    has_alpha: bool
    dtype: np.dtype[Any]
    metadata: Metadata
    frames: int = 1
    delays_ms: list[int] = field(default_factory=list)
    loop: int = 0
    turned: bool = False
    negative: bool = False
    held_bytes: int = 0
    look_through: Callable[[], list[str]] = list

    @property
    def bands(self) -> int:
        """Colour channels and alpha."""
        return self.channels + int(self.has_alpha)


def open_picture(
    source: str | Path | bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    all_frames: bool | FrameKind = False,
    sequential: bool = True,
    verify: bool = False,
) -> OpenPicture:
    """Returns an opened picture; nothing but its header has been decoded, unless it is to be verified.

    Args:
        source: a file's path, or its bytes.
        max_pixels: refuse more (all frames together).
        all_frames: read every frame of an animation or page of a TIFF; else the first, with a note. What a format
            holds (:attr:`fourfold.imaging.Format.frames`) may be given, too.
        sequential: pixels will be asked for from top to bottom, once.
        verify: look it through for damage at once; for whoever goes on to read it.

    Raises:
        PictureError: if it cannot be opened, is no picture, or is damaged.
        PictureTooLargeError: if the header announces more pixels than the limit.
    """
    read_leniently()
    with named(source), remarks_of_thread() as remarks:
        format, load = _loader(source)
        header = load(access="sequential")
        if main := int(_get(header, "heif-primary", 0)):
            load = partial(load, page=main)
            header = load(access="sequential")
        frames, notes = _choose_frames(source, header, format, load, all_frames)
        _check_size(header, frames, max_pixels)
        beside = read_beside(source, format)
        if beside.samples.refused:
            raise PictureError(beside.samples.refused)
        if frames > _MAX_PALETTES and beside.samples.palettes_differ:
            frames, notes = (
                1,
                [f"only the first of {frames} pages; of those with several palettes, {_MAX_PALETTES} are read"],
            )
        opened = _assemble(header, format, load, frames, notes, sequential, beside)
    kept = opened.metadata.icc is not None
    opened.metadata.notes += dict.fromkeys(told(r, kept) for r in remarks if not is_made_good(r, format))
    if format.name == "jpg" or beside.samples.jpeg:
        opened.look_through = partial(look_through, source, format, load, frames, remarks)
    if verify:
        opened.metadata.notes += opened.look_through()
    return opened


def _loader(source: str | Path | bytes) -> tuple[Format, Any]:
    """Returns the format, and a function that opens the source anew with the given libvips options."""
    if isinstance(source, bytes):
        format = recognise(source[:SIGNATURE_BYTES])
        from_bytes = getattr(pyvips.Image, f"{format.loader}load_buffer")
        return format, lambda **options: from_bytes(source, **{**_usual(format), **options})
    if not stat.S_ISREG(Path(source).stat().st_mode) and not Path(source).is_dir():  # a folder has an error of its own
        raise PictureError("a pipe or a device; save the picture to a file first: it is read more than once")
    # opened here and handed on as a descriptor: any file name works, and errors are the system's own
    descriptor = os.open(source, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        start = os.read(descriptor, SIGNATURE_BYTES)
        format = recognise(start)
    finally:
        os.close(descriptor)
    return format, lambda **options: _load_file(source, format, options)


def _load_file(path: str | Path, format: Format, options: dict[str, Any]) -> Any:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        stream = pyvips.Source.new_from_descriptor(descriptor)  # keeps a duplicate of the descriptor
    finally:
        os.close(descriptor)
    return getattr(pyvips.Image, f"{format.loader}load_source")(stream, **{**_usual(format), **options})


def _usual(format: Format) -> dict[str, Any]:
    """Returns what a format's files are opened with, where nothing else is asked for."""
    # libtiff's own bound on memory refuses pictures in one strip, and files with layers; pixels are bounded before
    bound = format.name == "tiff" and "unlimited" in pyvips.Introspect.get("tiffload").optional_input  # since 8.17
    return {"fail_on": "error"} | ({"unlimited": True} if bound else {})


def _choose_frames(
    source: str | Path | bytes, header: Any, format: Format, load: Any, all_frames: bool | FrameKind
) -> tuple[int, list[str]]:
    # libvips does not count in all formats
    count = _COUNTS[format.name](source) if format.name in _COUNTS else int(_get(header, "n-pages", 1))
    pictures = int(_get(header, "n-pages", 1)) if format.name == "avif" else 1
    if count <= 1:
        return 1, [f"only the main one of {pictures} pictures in the file"] if pictures > 1 else []
    if not format.frames:
        return 1, [f"only the first of {count} frames; animated {format.name.upper()} is read as a still picture"]
    if not all_frames or (format.name == "tiff" and all_frames == "animation"):
        return 1, [f"only the first of {count} {'pages' if format.name == 'tiff' else 'frames'}"]
    if format.name == "tiff":
        try:
            load(access="sequential", n=-1)
        except pyvips.Error:
            return 1, [f"only the first of {count} pages; they differ in size, kind or orientation"]
        alike, say_alike = pages_of(source)
        if not alike:
            return 1, [f"only the first of {count} pages; they differ in colour profile or in what their channels are"]
        if not say_alike:
            return count, ["of what the pages say of themselves (names, resolution), only the first page's is kept"]
    return count, []


def _check_size(header: Any, frames: int, max_pixels: int) -> None:
    pixels = header.width * header.height * frames
    if pixels > max_pixels:
        times = f" x {frames} frames" if frames > 1 else ""
        raise PictureTooLargeError(
            f"{header.width} x {header.height}{times} is {pixels:,} pixels; the limit is {max_pixels:,} "
            f"(--max-pixels {pixels} or max_pixels={pixels} raises it)"
        )


def _assemble(
    header: Any,
    format: Format,
    load: Any,
    frames: int,
    notes: list[str],
    sequential: bool,
    beside: Beside,
) -> OpenPicture:
    late = format.name == "png" and beside.exif is not None and header.get_typeof("exif-data") == 0
    orientation = exif_blocks.orientation(beside.exif or b"") if late else int(_get(header, "orientation", 1))
    # mirroring left to right keeps the order of rows; every other turn needs the last rows first
    moves_rows = orientation not in (1, 2)
    load = partial(load, access="sequential" if sequential and not moves_rows else "random")
    image = loaded(load, frames, beside.samples.palettes_differ)
    if late:
        image = image.copy()
        image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
        image.set_type(pyvips.GValue.blob_type, "exif-data", beside.exif)
    metadata = _metadata(image, format, beside, orientation if format.name != "avif" else beside.avif.turned_by)
    metadata.notes += notes
    if frames > 1 and metadata.georeference is not None:
        metadata.notes.append("of the map coordinates, only the first page's are kept")
    if beside.samples.associated:
        image = straight(image, white_is_zero=beside.samples.white_is_zero)
    image = turned(image, orientation, frames)
    image = _without_extras(image, beside.samples.extra_samples, metadata)
    image = _to_plain_colour(image, metadata)
    negative = beside.samples.white_is_zero and image.format == "float"
    if beside.avif.narrow_grey:
        image = widened(image, metadata.bits)
    image = _to_kept_kind(image, format, metadata)
    if beside.avif.premultiplied and image.bands == 4:
        image = divided(image)
    image = _fit_profile(image, metadata, grey=beside.avif.grey)
    alpha = image.bands in (2, 4)
    return OpenPicture(
        image=image,
        format=format,
        height=image.height // frames,
        width=image.width,
        channels=image.bands - int(alpha),
        has_alpha=alpha,
        dtype=_KEPT[image.format],
        metadata=metadata,
        frames=frames,
        delays_ms=[int(d) for d in _get(image, "delay", [])] if frames > 1 else [],
        loop=int(_get(image, "loop", 0)),
        turned=moves_rows,
        negative=negative,
        held_bytes=beside.samples.held_bytes,
    )


def _get(image: Any, name: str, default: Any) -> Any:
    return image.get(name) if image.get_typeof(name) != 0 else default


def _metadata(image: Any, format: Format, beside: Beside, orientation: int) -> Metadata:
    metadata = Metadata(
        format=format.name,
        bits=_stored_bits(image, format, beside),
        compressed=beside.compressed,
        icc=_get(image, "icc-profile-data", beside.icc),
        exif=beside.exif if format.name == "tiff" else _get(image, "exif-data", None),
        xmp=_get(image, "xmp-data", None) if beside.xmp is None else beside.xmp,
        iptc=(_get(image, "iptc-data", None) if format.name != "tiff" and beside.iptc is None else beside.iptc) or None,
        comments=beside.comments,
        georeference=beside.georeference,
        notes=beside.notes,
    )
    width, height = image.width, int(_get(image, "page-height", image.height))
    if format.name == "avif" and orientation in QUARTER_TURNS:  # the decoder has turned it
        width, height = height, width
    if metadata.georeference is not None and orientation != 1:
        metadata.georeference = None
        metadata.notes.append("the map coordinates were left out: they are those of the picture before it was turned")
    if metadata.xmp is None and beside.lost_xmp:
        metadata.notes.append(f"XMP was left out: {beside.lost_xmp}")
    if metadata.xmp is not None:
        # where nothing else states an orientation, the pixels lie as before, and XMP still says rightly how
        if image.get_typeof("orientation") != 0 or format.name == "avif":
            metadata.xmp, left = upright_xmp(metadata.xmp, orientation, width, height)
            metadata.notes += left
        metadata.xmp, lost = alone_xmp(metadata.xmp)
        metadata.notes += lost
    stated = beside.states_dpi and (image.xres, image.yres) != (1.0, 1.0)  # 1 is "not stated"
    if stated and image.xres > 0 and image.yres > 0:
        across, down = (exif_blocks.rounded_dpi(per_mm * 25.4) for per_mm in (image.xres, image.yres))
        metadata.dpi = (down, across) if orientation in QUARTER_TURNS else (across, down)
    if metadata.exif is not None:
        try:
            metadata.notes += exif_blocks.parse_exif(metadata.exif).main.notes()
            metadata.exif = upright(metadata.exif, width, height, orientation)
            metadata.dpi = metadata.dpi or exif_blocks.resolution(metadata.exif)
        except (ValueError, IndexError, struct.error):
            metadata.exif = None
            metadata.notes.append("the EXIF block is damaged and was left out")
    if _has_palette(image, beside):
        if format.name != "gif":
            metadata.notes.append("palette turned into full colour")
    elif metadata.bits < 8:
        metadata.notes.append(f"{metadata.bits} bit per sample turned into 8")
    return metadata


def _has_palette(image: Any, beside: Beside) -> bool:
    return bool(_get(image, "palette", 0)) or beside.samples.palette


def _stored_bits(image: Any, format: Format, beside: Beside) -> int:
    """Returns the file's bits per sample; a palette's samples are 8-bit colours however few bits number them."""
    in_memory = {"uchar": 8, "ushort": 16}.get(image.format, 32)
    if format.name == "gif" or _has_palette(image, beside):
        return 8
    return int(_get(image, "bits-per-sample", in_memory))


def _without_extras(image: Any, extras: tuple[int, ...], metadata: Metadata) -> Any:
    """Returns the image with its colours and, if the file has one, its alpha; other channels are left out, and said so.

    Args:
        image: its bands are the colours and then the extra ones.
        extras: what those are; see :class:`fourfold.imaging.tiff_tags.Samples`.
        metadata: takes the note.
    """
    colours = image.bands - len(extras)
    alphas = [k for k, kind in enumerate(extras) if kind in (1, 2)]
    left_out = len(extras) - len(alphas[:1])
    if not left_out or colours < 1:
        return image
    channels = "a channel that is" if left_out == 1 else f"{left_out} channels that are"
    metadata.notes.append(f"{channels} neither colour nor transparency left out")
    kept = image.extract_band(0, n=colours)
    return kept.bandjoin(image[colours + alphas[0]]) if alphas else kept


def _to_plain_colour(image: Any, metadata: Metadata) -> Any:
    """Returns the image as grey or RGB, with or without alpha; other colour models are converted, and said so."""
    kind = image.interpretation
    if kind == "cmyk":
        icc = metadata.icc or b""
        usable = _is_profile(icc) and icc[16:20] == b"CMYK"
        metadata.notes.append("CMYK converted to sRGB through " + ("its profile" if usable else "a general profile"))
        metadata.icc = None
        if image.format not in ("uchar", "ushort"):  # nobody agrees on where full ink is
            kind = "32-bit" if image.format in ("uint", "int") else "floating-point"
            raise PictureError(f"{kind} CMYK, which is not read here; convert it to 8- or 16-bit CMYK or to RGB first")
        depth = 16 if image.format == "ushort" else 8
        inks, alpha = image.extract_band(0, n=4), [image[4]] if image.bands > 4 else []
        plain = inks.icc_transform("srgb", embedded=True, input_profile="cmyk", intent="relative", depth=depth)
        return plain.bandjoin(alpha) if alpha else plain
    if kind in ("lab", "labs", "labq", "xyz", "lch", "hsv", "yxy", "cmc", "oklab", "oklch"):
        metadata.notes.append(f"{'CIELAB' if kind.startswith('lab') else kind} converted to sRGB")
        metadata.icc = None
        plain = image.extract_band(0, n=3).colourspace("srgb" if image.format == "uchar" else "rgb16")
        return plain.bandjoin(alpha_of_integers(image[3])) if image.bands > 3 else plain
    if image.bands > 4:
        raise PictureError(
            f"{image.bands} channels; pictures with 1 to 4 (grey or RGB, with or without alpha) are read"
        )
    return image


#: What every colour profile has at its 36th byte (ICC.1, 7.2.11).
_ICC_SIGNATURE = b"acsp"


def _is_profile(icc: bytes) -> bool:
    """Returns whether bytes are a whole colour profile, by its size and signature (ICC.1, 7.2)."""
    return icc[36:40] == _ICC_SIGNATURE and len(icc) >= int.from_bytes(icc[:4], "big")


def _fit_profile(image: Any, metadata: Metadata, *, grey: bool) -> Any:
    """Returns the image with as many channels as its colour profile speaks of; one of three where they are all grey."""
    if metadata.icc is None:
        return image
    if not _is_profile(metadata.icc):
        metadata.notes.append("the colour profile is damaged and was left out")
        metadata.icc = None
        return image
    space = metadata.icc[16:20]
    if space == b"RGB " and image.bands <= 2:
        metadata.notes.append("grey with an RGB colour profile turned into RGB")
        only = image[0]
        return only.bandjoin([only, only] + ([image[1]] if image.bands == 2 else []))
    if space == b"GRAY" and grey and image.bands >= 3:
        return image[0].bandjoin(image[3]) if image.bands == 4 else image[0]
    if space != (b"RGB " if image.bands >= 3 else b"GRAY"):
        metadata.notes.append(f"the colour profile is for {space.decode('latin-1').strip()} and was left out")
        metadata.icc = None
    return image


def _to_kept_kind(image: Any, format: Format, metadata: Metadata) -> Any:
    """Returns the image as uint8, uint16 or float32 samples."""
    if format.name == "avif" and image.format == "ushort" and metadata.bits < 16:
        return stretched(image, metadata.bits)
    if image.format in _KEPT:
        return image
    if image.format == "uint":
        metadata.notes.append("32-bit whole numbers turned into 32-bit floating point")
        return floating(image)
    raise PictureError(f"samples of kind {image.format!r}; 8- and 16-bit unsigned and floating point are read")
