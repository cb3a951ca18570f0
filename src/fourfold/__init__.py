"""Fourfold: photo-realistic 4x super-resolution (SRGAN, Ledig et al., CVPR 2017).

::

    import fourfold

    sr = fourfold.upscale("cat.jpg")          # a fourfold.Picture
    sr.save("cat_x4.png")

    upscaler = fourfold.load("srgan-plus")    # once, for many pictures
    sr = upscaler(array)                      # (H, W, 3) -> (4H, 4W, 3), same dtype
"""

import importlib
from typing import TYPE_CHECKING, Any

from fourfold.version import __version__

if TYPE_CHECKING:
    from fourfold.imaging import Picture, read_picture
    from fourfold.upscaling import Upscaler, load
    from fourfold.upscaling.pictures import upscale

__all__ = ["Picture", "Upscaler", "__version__", "load", "read_picture", "upscale"]

#: Where each name lives; imported when it is first used, so that `import fourfold` costs nothing.
_HOMES = {
    "Picture": "fourfold.imaging",
    "Upscaler": "fourfold.upscaling",
    "load": "fourfold.upscaling",
    "read_picture": "fourfold.imaging",
    "upscale": "fourfold.upscaling.pictures",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fourfold' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
