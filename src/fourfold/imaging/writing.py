"""Pictures written: through libvips, into files that appear whole or not at all."""

import errno
import inspect
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from fourfold.errors import PictureError
from fourfold.imaging import iptc
from fourfold.imaging.atomic import atomic_output
from fourfold.imaging.finishing import Finish
from fourfold.imaging.float_range import image_from_range
from fourfold.imaging.formats import Format, format_named, format_of
from fourfold.imaging.layout import DEFAULT_QUALITY, Layout, SaveOptions
from fourfold.imaging.losses import is_grey_profile, losses
from fourfold.imaging.picture import Metadata, Picture

#: Up to this size, a picture may be held in memory for a smaller file.
_SMALL_PX = 8_000_000

#: libvips' flags for what goes into the file: EXIF 1, XMP 2, ICC 4, IPTC 8, other 16.
_KEEP_EXIF = 1
_KEEP_ALL = 31


class EncodingError(PictureError):
    """The encoder gave up on these pixels with these options."""


class LossWarning(UserWarning):
    """The chosen format cannot hold everything that the picture has."""


def write_picture(
    picture: Picture,
    path: str | Path,
    *,
    overwrite: bool = False,
    quality: int | None = None,
    lossless: bool = False,
    strip: bool = False,
    on_loss: Callable[[str], None] | None = None,
) -> Path:
    """Writes a picture in the format that the file name's ending asks for, whole or not at all.

    Args:
        picture: what to write.
        path: where to; the folder must exist.
        overwrite: replace a file that is there.
        quality: 1..100 for JPEG, WebP and AVIF.
        lossless: WebP and AVIF without loss.
        strip: leave out EXIF (GPS included), XMP, IPTC, map coordinates and comments.
        on_loss: called with a sentence for everything that the format cannot hold; without it each becomes a
            :class:`LossWarning`.

    Raises:
        OutputExistsError: if the file exists and ``overwrite`` is not given.
        PictureError: for an unknown ending, a picture too large for the format, floating-point values that are not in
            0..1, an unwritable folder, a full disk.
        UsageError: for a quality that is none.
    """
    path = Path(path)
    format = format_of(path)
    options = SaveOptions(quality, lossless, strip)
    layout = _layout(picture)
    _report(losses(format, layout, picture.metadata, options), on_loss)
    with atomic_output(path, overwrite=overwrite) as descriptor:
        save_image(_to_image(picture), layout, picture.metadata, format, options, descriptor)
    return path


def encode_picture(
    picture: Picture,
    format: str,
    *,
    quality: int | None = None,
    lossless: bool = False,
    strip: bool = False,
    on_loss: Callable[[str], None] | None = None,
) -> bytes:
    """Returns a picture as the bytes of a file; ``format`` is a name such as ``png``. Otherwise as write_picture."""
    chosen = format_named(format)
    options = SaveOptions(quality, lossless, strip)
    layout = _layout(picture)
    _report(losses(chosen, layout, picture.metadata, options), on_loss)
    finish = _finish(chosen, layout, picture.metadata, options)
    memory = pyvips.Target.new_to_memory()
    try:
        _save(_to_image(picture), layout, finish.metadata, chosen, options, memory)
    except pyvips.Error as error:
        raise PictureError(f"{chosen.name}: cannot be encoded ({_first_line(error)})") from error
    return finish.completed(bytes(memory.get("blob")))


def _report(lost: list[str], on_loss: Callable[[str], None] | None) -> None:
    for sentence in lost:
        if on_loss is None:
            warnings.warn(sentence, LossWarning, stacklevel=_callers_level())
        else:
            on_loss(sentence)


def _callers_level() -> int:
    """Returns how far above the function that asks the first one outside the package is: whom a warning is for."""
    frame = inspect.currentframe()
    frame, level = frame.f_back if frame is not None else None, 1
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "fourfold":
        frame, level = frame.f_back, level + 1
    return level


def _layout(picture: Picture) -> Layout:
    picture.check()
    return Layout(
        picture.height, picture.width, picture.pixels.shape[2], picture.alpha is not None, picture.pixels.dtype
    )


def _to_image(picture: Picture) -> Any:
    pixels = picture.pixels
    if picture.alpha is not None:
        pixels = np.concatenate([pixels, picture.alpha[:, :, None]], axis=2)
    kind = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}[pixels.dtype.name]
    height, width, bands = pixels.shape
    return pyvips.Image.new_from_memory(np.ascontiguousarray(pixels), width, height, bands, kind)


def save_image(
    image: Any, layout: Layout, metadata: Metadata, format: Format, options: SaveOptions, descriptor: int
) -> None:
    """Writes a libvips image to an open descriptor, in one pass from top to bottom where the format allows it.

    Args:
        image: the picture, frames below each other, floating point in 0..1.
        layout: what the image holds.
        metadata: goes along, as far as the format holds it.
        format: the format to write.
        options: quality and the rest.
        descriptor: open for reading and writing.

    Raises:
        OSError: if the disk refuses, a full disk included.
        PictureError: if the encoder fails.
    """
    finish = _finish(format, layout, metadata, options)
    finish.begin(descriptor)
    target = pyvips.Target.new_to_descriptor(descriptor)
    try:
        _save(image, layout, finish.metadata, format, options, target)
    except pyvips.Error as error:
        code = _system_error(str(error.detail))
        if code is not None:
            raise OSError(code, os.strerror(code)) from error
        raise EncodingError(f"{format.name}: cannot be encoded ({_first_line(error)})") from error
    finish.complete(descriptor)


def _finish(format: Format, layout: Layout, metadata: Metadata, options: SaveOptions) -> Finish:
    kept = metadata.stripped() if options.strip else metadata
    return Finish(format, kept, layout.width, layout.height)


def _system_error(detail: str) -> int | None:
    """Returns the system's error number behind a libvips message, if a failed write is what it tells of."""
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        if os.strerror(code) in detail:
            return code
    return errno.EIO if "write error" in detail else None


def _first_line(error: pyvips.Error) -> str:
    return next((line.strip() for line in str(error.detail).splitlines() if line.strip()), "unknown reason")


def _save(image: Any, layout: Layout, metadata: Metadata, format: Format, options: SaveOptions, target: Any) -> None:
    if layout.frames > 1 and not format.frames:
        image = image.crop(0, 0, layout.width, layout.height)
    image = _with_metadata(_interpreted(image, layout), layout, metadata, format)
    image = _fitted(image, layout, metadata, format)
    save = getattr(image, f"{format.loader}save_target")
    # libvips would make up an EXIF block where there is none
    keep = _KEEP_ALL if metadata.exif is not None else _KEEP_ALL & ~_KEEP_EXIF
    save(target, keep=keep, **_encoder_options(format, layout, metadata, options))


def _interpreted(image: Any, layout: Layout) -> Any:
    """Returns the image marked as what its values are: libvips chooses conversions by that mark."""
    kinds = {
        "uint8": ("b-w", "srgb"),
        "uint16": ("grey16", "rgb16"),
        "float32": ("b-w", "scrgb"),
    }[layout.dtype.name]
    return image.copy(interpretation=kinds[layout.channels == 3])


def _with_metadata(image: Any, layout: Layout, metadata: Metadata, format: Format) -> Any:
    # 72 is what programs take "not stated" for; libvips would write 25.4
    dpi = metadata.dpi or (72.0, 72.0)
    image = image.copy(xres=dpi[0] / 25.4, yres=dpi[1] / 25.4)
    image.set_type(pyvips.GValue.gstr_type, "resolution-unit", "in")
    jpeg_iptc = iptc.wrapped(metadata.iptc) if metadata.iptc is not None and format.name == "jpg" else None
    blobs = {
        "icc-profile-data": metadata.icc,
        "exif-data": metadata.exif,
        "xmp-data": metadata.xmp,
        "iptc-data": jpeg_iptc,
    }
    for field, blob in blobs.items():
        if blob is not None:
            image.set_type(pyvips.GValue.blob_type, field, blob)
    if layout.frames > 1:
        image.set_type(pyvips.GValue.gint_type, "page-height", layout.height)
        if layout.delays_ms:
            image.set_type(pyvips.GValue.array_int_type, "delay", list(layout.delays_ms))
            image.set_type(pyvips.GValue.gint_type, "loop", layout.loop)
    return image


def _fitted(image: Any, layout: Layout, metadata: Metadata, format: Format) -> Any:
    """Returns the image in samples, channels and colours that the format holds."""
    if layout.dtype == np.float32:
        if format.floating:
            return _scaled_back(image, layout, metadata)
        if metadata.highlights:  # white is 1; what is above, the cast to integers cuts off
            image = _colours(image, layout, metadata.peak, highlights=True)
        image = _as_integers(image, 65535.0 if max(format.depths) > 8 else 255.0, layout)
    elif layout.dtype == np.uint16 and max(format.depths) == 8:
        image = _as_integers(image, 255.0 / 65535.0, layout)
    if metadata.icc is not None and ("icc" not in format.holds or (is_grey_profile(metadata.icc) and not format.grey)):
        depth = 16 if image.format == "ushort" else 8
        image = image.icc_transform("srgb", embedded=True, intent="relative", depth=depth)
        image.remove("icc-profile-data")
    if layout.has_alpha and not format.alpha:
        image = image.flatten(background=[255.0])
    return image


def _as_integers(image: Any, factor: float, layout: Layout) -> Any:
    kind = "ushort" if factor > 255.0 else "uchar"
    marks = {"ushort": ("grey16", "rgb16"), "uchar": ("b-w", "srgb")}[kind]
    return (image * factor).rint().cast(kind).copy(interpretation=marks[layout.channels == 3])


def _scaled_back(image: Any, layout: Layout, metadata: Metadata) -> Any:
    if metadata.peak == metadata.alpha_peak == 1.0:
        return image
    return _colours(image, layout, metadata.peak, metadata.alpha_peak, highlights=metadata.highlights)


def _colours(image: Any, layout: Layout, peak: float, alpha_peak: float = 1.0, *, highlights: bool) -> Any:
    """Returns the image with its values as the file had them."""
    colour = image_from_range(image[: layout.channels], peak, highlights=highlights)
    if layout.has_alpha:
        colour = colour.bandjoin((image[layout.channels] * alpha_peak).cast("float"))
    return colour.copy(interpretation=image.interpretation)


def _encoder_options(format: Format, layout: Layout, metadata: Metadata, options: SaveOptions) -> dict[str, Any]:
    quality = DEFAULT_QUALITY if options.quality is None else options.quality
    if format.name == "png":
        return {"compression": 1, "filter": "up"}
    if format.name == "jpg":
        # best Huffman tables need the whole picture's coefficients in memory
        return {"Q": quality, "optimize_coding": layout.height * layout.width <= _SMALL_PX}
    if format.name == "webp":
        # lossless effort is slow; lossy effort 2 is the least that large pictures fit into the format with
        effort = 0 if options.lossless else (1 if layout.height * layout.width <= _SMALL_PX else 2)
        return {"Q": quality, "lossless": options.lossless, "exact": options.lossless, "effort": effort}
    if format.name == "avif":
        depth = 8 if layout.dtype == np.uint8 else (10 if metadata.bits == 10 else 12)
        return {
            "Q": quality,
            "lossless": options.lossless,
            "compression": "av1",
            "effort": 0,
            "bitdepth": depth,
        }
    if format.name == "tiff":
        return _tiff_options(layout)
    return {"effort": 3}


def _tiff_options(layout: Layout) -> dict[str, Any]:
    samples = layout.height * layout.width * layout.frames * (layout.channels + layout.has_alpha)
    return {
        "compression": "deflate",
        "predictor": "none" if layout.dtype == np.float32 else "horizontal",  # few programs read the float one
        "resunit": "inch",
        # plain TIFF ends at 4 GiB; a compressed file can be slightly larger than its pixels
        "bigtiff": samples * layout.dtype.itemsize > 3_500_000_000,
    }
