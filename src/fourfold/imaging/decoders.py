"""What decoders say: errors and remarks, in words for the person who has the file, and damage that they pass over."""

import errno
import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyvips

from fourfold.errors import PictureError, PictureTooLargeError
from fourfold.imaging.formats import Format

#: libvips' warnings come here; what matters of them is passed on as notes, so nobody need print them.
_LOGGER = logging.getLogger("pyvips")
_LOGGER.addHandler(logging.NullHandler())

#: Pixels that are decoded at a time where they are only looked through.
_PIECE_PX = 1 << 18


@contextmanager
def named(source: str | Path | bytes) -> Iterator[None]:
    """Turns whatever goes wrong with a picture into a PictureError that names it."""
    name = "the picture" if isinstance(source, bytes) else str(source)
    try:
        yield
    except pyvips.Error as error:
        raise PictureError(f"{name}: {explain(error)}") from error
    except PictureTooLargeError as error:
        raise PictureTooLargeError(f"{name}: {error}") from error
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise PictureError(f"{name}: cannot be read ({reason})") from error


@contextmanager
def remarks_of_thread() -> Iterator[list[str]]:
    """Gives the list in which libvips' warnings of this thread end up, such as a colour profile that is no good."""
    remarks: list[str] = []
    thread = threading.get_ident()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread and record.levelno >= logging.WARNING:
                remarks.append(record.getMessage().removeprefix("VIPS: "))

    collector = Collector()
    _LOGGER.addHandler(collector)
    try:
        yield remarks
    finally:
        _LOGGER.removeHandler(collector)


#: What libvips says in the end of a JPEG file that its decoder warns of.
_COUNTED = re.compile(r"read gave \d+ warnings")
#: What libvips says of text fields that it will not load, which are read in :mod:`fourfold.imaging.png_text`.
_OF_TEXT_FIELDS = ("text chunks will be loaded", "no space in chunk cache")


def is_made_good(remark: str, format: Format) -> bool:
    """Says whether nobody need hear a remark: what it tells of is read elsewhere, or told."""
    if format.name == "jpg" and _COUNTED.fullmatch(remark):  # its first warning stands before it
        return True
    return not remark or (format.name == "png" and any(words in remark for words in _OF_TEXT_FIELDS))


#: How libpng begins what it says of colour profiles that it leaves out, because they are damaged or for other colours,
#: or keeps though something about them is unusual.
_OF_PROFILES = "iCCP: "


def told(remark: str, profile_kept: bool) -> str:
    """Returns a decoder's remark in words for the person who has the file."""
    if not remark.startswith(_OF_PROFILES):
        return remark
    what = "is unusual and was kept" if profile_kept else "cannot be used and was left out"
    return f"the colour profile {what} ({remark.removeprefix(_OF_PROFILES)})"


#: What libjpeg says where pixels are lost: data that ends too early, codes that there are none of, restarts that do not
#: follow each other, and what is left over before a restart.
_DAMAGE = re.compile(r"premature end|bad Huffman|instead of RST|before marker 0xd[0-7]", re.IGNORECASE)


def look_through(source: str | Path | bytes, format: Format, load: Any, frames: int, said: list[str]) -> list[str]:
    """Returns notes on what decoding a picture tells beyond what has been said on opening it.

    Raises:
        PictureError: if it is damaged.
    """
    with named(source), remarks_of_thread() as remarks:
        if format.name == "jpg":
            return _look_through_jpeg(load)
        _look_through_tiff(load, frames, remarks)
        return list(dict.fromkeys(r for r in remarks if r not in said and not is_made_good(r, format)))


def _look_through_jpeg(load: Any) -> list[str]:
    """Decodes a JPEG file, row by row, and refuses it where its decoder says that it is damaged.

    A decoder goes on behind damaged data with whatever it makes of it. It also warns of what costs no pixel, such as
    bytes too many between a file's parts, which some cameras write, and stops at its first warning here: of another one
    than damage there is a note, for what follows is not known. Upscaling takes a thousand times as long as this.

    Raises:
        pyvips.Error: if it is damaged.
    """
    try:
        _decode(load(access="sequential", fail_on="warning"))
    except pyvips.Error as error:
        reason = explain(error)
        if _DAMAGE.search(reason):
            raise
        return [f"its decoder warns: {reason}; look whether the picture is whole"]
    return []


def _look_through_tiff(load: Any, frames: int, remarks: list[str]) -> None:
    """Decodes a TIFF file that is JPEG inside, and refuses it where its decoder says that it is damaged.

    Nothing but remarks tells of that, and they come from the thread that decodes: it has to be this one.

    Raises:
        PictureError: if it is damaged.
    """
    _decode(load(access="sequential", **({"n": -1} if frames > 1 else {})))
    for remark in remarks:
        if _DAMAGE.search(remark):
            raise PictureError(_damaged(remark))


def _decode(image: Any) -> None:
    """Decodes an image and keeps nothing of it.

    What libvips computes of an image, such as its average, stays in a cache, and the decoder's memory with it.
    """
    region = pyvips.Region.new(image)
    rows = max(1, _PIECE_PX // image.width)
    for top in range(0, image.height, rows):
        region.fetch(0, top, image.width, min(rows, image.height - top))


_SIGNS_OF_DAMAGE = ("truncat", "end of", "premature", "read error", "out of order read", "read gave")


#: libvips looks for the end of a file by seeking beyond it, and tells of each time.
_BESIDE_THE_POINT = "source: bad seek"


def explain(error: pyvips.Error) -> str:
    """Returns what a libvips error means for the person who has the file."""
    lines = dict.fromkeys(line.strip() for line in str(error.detail).splitlines())
    detail = " ".join(line for line in lines if line and not line.startswith(_BESIDE_THE_POINT))
    if "bad labq format" in detail:
        return "8-bit CIELAB, which is not read here; convert it to 16-bit CIELAB or to RGB first"
    if "samples out of range" in detail:
        return (
            "samples of a kind that is not read here; convert it to 16-bit whole or 32-bit floating-point numbers first"
        )
    if "tiled separate planes" in detail:
        return (
            "tiles whose channels lie apart (planar), which are not read here; save it with interleaved channels first"
        )
    if any(os.strerror(code) in detail for code in (errno.ENOSPC, errno.EDQUOT)):  # a large picture is turned on disk
        return "the folder for temporary files is full; the environment variable TMPDIR names another one"
    if any(word in detail.lower() for word in _SIGNS_OF_DAMAGE):
        return _damaged(detail)
    return f"cannot be decoded ({detail[:200]})" if detail else _damaged("its decoder does not say more")


def _damaged(detail: str) -> str:
    return f"the file is damaged or ends too early ({detail[:200]})"
