"""What libvips says, in whatever bytes it says it.

libvips quotes files in its messages: the name of a damaged box, of a colour profile (Latin-1 by PNG's standard).
pyvips takes all of it for UTF-8, and where it is not, fails while it makes its error, before it has cleared libvips'
buffer of messages; from then on everything in the process fails.
"""

from typing import Any

import pyvips
from pyvips import error, ffi


def read_leniently() -> None:
    """Lets pyvips read errors and warnings of libvips with a sign in place of what is not UTF-8."""
    for module in (error, pyvips):  # what makes errors, and what takes warnings
        module._to_string = _text


def _text(pointer: Any) -> str:
    if pointer == ffi.NULL:
        return "NULL"
    said = ffi.string(pointer)
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
