"""Whether lossy compression has been through a picture: by its file, and by its pixels."""

from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray

from fourfold.errors import PictureError
from fourfold.imaging.jpeg_traces import WINDOW_PX, was_jpeg
from fourfold.imaging.memory import decoder_bytes
from fourfold.imaging.opening import OpenPicture, open_picture
from fourfold.imaging.picture import Picture

#: Whose pixels are looked at: files without losses, and pictures from no file. A JPEG file is taken at its word; WebP
#: and AVIF without losses are rare, and slow to decode; a palette, as in GIF, leaves nothing of the traces.
_LOOKED_AT = ("png", "tiff", "")
#: What takes more memory to decode, such as a large interlaced PNG, is not decoded only to look at it.
_MOST_DECODER_BYTES = 16 << 20

#: What is noted where the pixels decide.
TRACES_NOTE = "its pixels have the traces of JPEG, whatever it is stored as now"


def was_compressed(source: str | Path | bytes, opened: OpenPicture) -> bool:
    """Returns whether a picture was compressed with losses, now or before it was stored as it is.

    Where the file does not say it, a PNG or TIFF of 8 bits is decoded as far as its middle.

    Args:
        source: what was opened.
        opened: the opened picture; its pixels are left for whoever reads them.
    """
    if opened.metadata.compressed:
        return True
    if opened.format.name not in _LOOKED_AT or opened.dtype != np.uint8 or decoder_bytes(opened) > _MOST_DECODER_BYTES:
        return False
    try:
        return was_jpeg(_middle(open_picture(source, max_pixels=2**62)))
    except (PictureError, pyvips.Error):
        return False  # what is wrong with it is told when it is read


def picture_was_compressed(picture: Picture) -> bool:
    """Returns the same of a picture in memory, wherever it comes from."""
    if picture.metadata.compressed:
        return True
    return picture.metadata.format in _LOOKED_AT and was_jpeg(picture.pixels)


def _middle(opened: OpenPicture) -> NDArray[np.uint8]:
    height, width = min(WINDOW_PX, opened.height), min(WINDOW_PX, opened.width)
    top, left = (opened.height - height) // 2, (opened.width - width) // 2
    # a region, not an operation, which libvips would keep, with its decoder and its file
    data = pyvips.Region.new(opened.image).fetch(left, top, width, height)
    return np.frombuffer(data, np.uint8).reshape(height, width, opened.bands)[:, :, : opened.channels]
