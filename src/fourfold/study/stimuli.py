"""The pictures that raters see, as files that tell nothing but the picture: plain PNG, no metadata, all alike.

Two versions of one scene must not be told apart by anything but their looks. So every file is 8-bit RGB PNG, made by
the same encoder, without metadata and with the same time stamp, and the files of one scene are filled up to the same
length: a nearest-neighbour picture would otherwise give itself away by its small file.
"""

import os
import secrets
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourfold.imaging import Picture, encode_picture

#: Every picture's time stamp: 2001-09-09 01:46:40 UTC, the same for all.
TIME_STAMP = 1_000_000_000

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT_CHUNKS = (b"IHDR", b"IDAT", b"IEND")


def new_identifier() -> str:
    """Returns a random name for a picture."""
    return secrets.token_hex(10)


def encode_alike(versions: Sequence[NDArray[Any]]) -> list[bytes]:
    """Returns lossless PNG files of the same length.

    Args:
        versions: (H, W, 3) uint8 or uint16 pictures of one scene; 16 bits are rounded to 8, as screens show them.
    """
    plain = [_only_the_picture(encode_picture(Picture(as_bytes(pixels)), "png")) for pixels in versions]
    longest = max(len(data) for data in plain)
    return [_filled(data, longest - len(data)) for data in plain]


def write_stimulus(folder: Path, identifier: str, data: bytes) -> None:
    """Writes one picture under its random name, with the common time stamp."""
    path = folder / f"{identifier}.png"
    path.write_bytes(data)
    os.utime(path, (TIME_STAMP, TIME_STAMP))


def as_bytes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns a uint8 or uint16 picture with the 8 bits that screens show."""
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    return np.floor(pixels.astype(np.float64) / 257.0 + 0.5).astype(np.uint8)


def _only_the_picture(png: bytes) -> bytes:
    """Returns a PNG without its ancillary chunks (resolution, times, texts)."""
    kept = [_SIGNATURE]
    at = len(_SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] in _KEPT_CHUNKS:
            kept.append(png[at : at + 12 + length])
        at += 12 + length
    return b"".join(kept)


def _filled(png: bytes, missing: int) -> bytes:
    """Returns a PNG with a private chunk of ``missing`` zero bytes before its end; every decoder skips it."""
    body = b"ffPd" + bytes(missing)
    chunk = struct.pack(">I", missing) + body + struct.pack(">I", zlib.crc32(body))
    return png[:-12] + chunk + png[-12:]
