"""Whether lossy compression has been through a picture: by its file, and by its pixels."""

from pathlib import Path

import numpy as np
import pyvips

from fourfold.errors import PictureError
from fourfold.imaging.decoders import remarks_of_thread
from fourfold.imaging.jpeg_traces import WINDOW_PX, was_jpeg
from fourfold.imaging.memory import decoder_bytes
from fourfold.imaging.opening import OpenPicture, open_picture
from fourfold.imaging.picture import Picture
from fourfold.imaging.reading import to_array

#: What takes more memory to decode, such as a large interlaced PNG, is not decoded only to look at it.
_MOST_DECODER_BYTES = 64 << 20


def was_compressed(source: str | Path | bytes, opened: OpenPicture) -> bool:
    """Returns whether a picture was compressed with losses, now or before it was stored as it is.

    Where the file does not say it, the picture is decoded as far as its middle. A JPEG file is taken at its word.

    Args:
        source: what was opened.
        opened: the opened picture; its pixels are left for whoever reads them.
    """
    if opened.metadata.compressed:
        return True
    if opened.format.name == "jpg" or opened.dtype != np.uint8 or decoder_bytes(opened) > _MOST_DECODER_BYTES:
        return False
    top, left = (max(0, side - WINDOW_PX) // 2 for side in (opened.height, opened.width))
    try:
        with remarks_of_thread():  # said already, when it was opened
            image = open_picture(source, max_pixels=2**62).image
            image = image.crop(left, top, min(WINDOW_PX, opened.width), min(WINDOW_PX, opened.height))
            return was_jpeg(to_array(image)[:, :, : opened.channels])
    except (PictureError, pyvips.Error):
        return False  # what is wrong with it is told when it is read


def picture_was_compressed(picture: Picture) -> bool:
    """Returns the same of a picture in memory, wherever it comes from."""
    return picture.metadata.compressed or (picture.metadata.format != "jpg" and was_jpeg(picture.pixels))
