"""Sizes in bytes, as people write them."""

import re

from fourfold.errors import UsageError

#: What upscaling may take beyond what the engine holds at start, where nobody says otherwise.
DEFAULT_MAX_MEMORY = 1 << 30


def parse_bytes(size: int | str) -> int:
    """Returns the bytes of a number, or of text such as "800M", "1G" or "1.5 GiB" (powers of 1024).

    Raises:
        UsageError: for text that is no size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", str(size), re.IGNORECASE)
    if match is None or len(match[1]) > 15:
        raise UsageError(f"{size!r} is no size; write it like 800M or 1.5G")
    return int(float(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " "))


def parse_size(size: int | str | None) -> int:
    """Returns the bytes that upscaling may work in: as :func:`parse_bytes`, or the usual ones for None.

    Raises:
        UsageError: for text that is no size, or less than 16 MiB.
    """
    value = DEFAULT_MAX_MEMORY if size is None else parse_bytes(size)
    if value < 16 << 20:
        raise UsageError(f"a limit of {size} is too small to work in; give at least 16M")
    return value
