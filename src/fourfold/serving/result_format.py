"""The format of a result: the one that was asked for if it can hold the result, said before the picture is accepted."""

from fourfold.errors import PictureError
from fourfold.imaging import FORMATS, Format, OpenPicture, SaveOptions, check_side, format_named
from fourfold.serving.problems import ProblemError, invalid_parameter
from fourfold.upscaling.fitting import CODEC_SHARE, codec_bytes, enlarged_layout, memory_that_allows


def choose_format(opened: OpenPicture, wanted: str, scale: int, max_memory: int) -> tuple[str, list[str]]:
    """Returns the format of the result, and a note where it is not the one that was to be expected.

    Args:
        opened: the picture, with all its frames.
        wanted: a format's name, or "auto" for the picture's own, or for the next best that can hold the result.
        scale: enlargement.
        max_memory: bytes that upscaling may take; some formats are written from the whole picture in memory.

    Raises:
        ProblemError: ``invalid-parameter`` if the wanted format cannot hold the result, ``picture-too-large`` if
            none can.
    """
    if wanted != "auto":
        format = format_named(wanted)
        if reason := _obstacle(opened, format, scale, max_memory):
            better = [name for name in FORMATS if not _obstacle(opened, FORMATS[name], scale, max_memory)]
            raise _refusal(reason, [name for name in better if name != "gif"])
        return format.name, []
    first, *others = _candidates(opened)
    reason = _obstacle(opened, FORMATS[first], scale, max_memory)
    if not reason:
        return first, [] if first == opened.format.name else [f"written as {first.upper()}, which holds all colours"]
    for name in others:
        if not _obstacle(opened, FORMATS[name], scale, max_memory):
            return name, [f"written as {name.upper()}, since {reason}"]
    raise _refusal(reason, [])


def _candidates(opened: OpenPicture) -> list[str]:
    """Returns the formats that come into question for "auto", the best first; a GIF's 256 colours would not do."""
    if opened.format.name != "gif":
        return list(dict.fromkeys((opened.format.name, "png")))
    return ["webp", "gif", "png"] if opened.frames > 1 else ["png"]


def _obstacle(opened: OpenPicture, format: Format, scale: int, max_memory: int) -> str:
    """Returns why the result cannot be written in a format, or nothing if it can."""
    layout = enlarged_layout(opened, scale, frames=opened.frames if format.frames else 1)
    name, size = format.name.upper(), f"{layout.width} x {layout.height}"
    try:
        check_side(format, layout.height, layout.width, layout.frames)
    except PictureError:
        return f"{name} ends at {format.max_side_px:,} pixels a side, and the result has {size}"
    taken = codec_bytes(opened, format, layout, SaveOptions())
    if taken > max_memory * CODEC_SHARE:
        needed, there = memory_that_allows(taken) >> 20, max_memory >> 20
        return f"a result of {size} takes about {needed} MiB of memory as {name}, and there are {there}"
    return ""


def _refusal(reason: str, fitting: list[str]) -> ProblemError:
    if not fitting:
        return ProblemError("picture-too-large", reason)
    message = f"{reason}; choose {' or '.join(fitting)}, or auto"
    return invalid_parameter("format", message)
