"""Made-up pictures and files for the tests of imaging."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tests.conftest import make_photo

#: dtype name -> largest value
TOP = {"uint8": 255, "uint16": 65535, "float32": 1.0}


def pixels(dtype: str, channels: int, height: int = 41, width: int = 53) -> NDArray[Any]:
    """A made-up picture of any kind."""
    unit = make_photo(height, width)[:, :, :channels] / 255.0
    if dtype == "float32":
        return unit.astype(np.float32)
    return np.floor(unit * TOP[dtype] + 0.5).astype(dtype)


def alpha_for(picture: NDArray[Any]) -> NDArray[Any]:
    """Alpha with hidden, half and fully visible parts."""
    height, width = picture.shape[:2]
    ramp = np.clip(np.linspace(-0.5, 1.5, width), 0.0, 1.0)[None, :].repeat(height, axis=0)
    top = TOP[picture.dtype.name]
    return (ramp * top).astype(picture.dtype)


def srgb_profile() -> bytes:
    """A real ICC profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def wide_profile() -> bytes:
    """An RGB profile that is clearly not sRGB: red and green exchanged, gamma 1.0 curves."""
    return matrix_profile(gamma=1.0)


def matrix_profile(gamma: float = 1.8, space: bytes = b"RGB ") -> bytes:
    """A minimal ICC version 2 display profile, built here: matrix and gamma, or grey with a gamma."""

    def s15(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(s15, values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"made for a test"
    desc = b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + b"\0" * 78
    desc += b"\0" * (-len(desc) % 4)
    tags = {b"desc": desc, b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": xyz(0.9642, 1.0, 0.8249)}
    if space == b"RGB ":
        # ProPhoto's primaries, adapted to D50
        tags |= {
            b"rXYZ": xyz(0.7977, 0.2880, 0.0),
            b"gXYZ": xyz(0.1352, 0.7119, 0.0),
            b"bXYZ": xyz(0.0313, 0.0001, 0.8249),
            b"rTRC": curve,
            b"gTRC": curve,
            b"bTRC": curve,
        }
    else:
        tags[b"kTRC"] = curve
    table = struct.pack(">I", len(tags))
    at, body = 128 + 4 + 12 * len(tags), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data
    size = at + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02100000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28 + s15(0.9642) + s15(1.0) + s15(0.8249)
    return head.ljust(128, b"\0") + table + body


def encoded(picture: Image.Image, format: str, **options: Any) -> bytes:
    """A Pillow picture as the bytes of a file."""
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def exif_with(orientation: int = 1, gps: bool = True) -> Image.Exif:
    """An EXIF block with a camera, a date, a user comment and a place."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x0110] = "Model X"
    exif[0x0112] = orientation
    exif[0x8769] = {0x9003: "2024:05:06 07:08:09", 0x829A: (1, 250), 0xA002: 53, 0xA003: 41}
    if gps:
        exif[0x8825] = {1: "N", 2: (48.0, 8.0, 14.5), 3: "E", 4: (11.0, 34.0, 31.0)}
    return exif


XMP = b"""<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?>
<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>
<rdf:Description rdf:about='' xmlns:dc='http://purl.org/dc/elements/1.1/' dc:format='kept'/>
</rdf:RDF></x:xmpmeta><?xpacket end='w'?>"""


def png_header(width: int, height: int) -> bytes:
    """A valid PNG file that announces a size and holds next to nothing."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(b"\0")),
            (b"IEND", b""),
        )
    )


def animation(frames: int = 3, size: tuple[int, int] = (24, 16)) -> list[Image.Image]:
    """Frames that differ clearly."""
    width, height = size
    made = []
    for k in range(frames):
        picture = np.zeros((height, width, 3), np.uint8)
        picture[:, :, k % 3] = 220
        picture[4:10, 3 + 4 * k : 9 + 4 * k] = 255
        made.append(Image.fromarray(picture))
    return made
