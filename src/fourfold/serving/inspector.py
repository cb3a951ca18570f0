"""The inspector process: reads headers, and looks for traces of JPEG. Run by :mod:`fourfold.serving.inspection`."""

import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

from fourfold.errors import PictureError
from fourfold.imaging import SIGNATURE_BYTES, OpenPicture, open_picture, recognise, was_compressed
from fourfold.serving.child_side import Channel
from fourfold.serving.problems import ProblemError, slug_of
from fourfold.serving.result_format import choose_format
from fourfold.serving.settings import SCALE

#: The server compares dimensions with its own limits; here they are only read.
ANY_SIZE = 2**62
#: The header of every page of a TIFF is read and compared, which takes longer than to send it.
MOST_PAGES = 4096
#: By the version in a TIFF file's header: where the first page is told, an offset, a count, the bytes of an entry.
_TIFFS = {42: (4, "I", "H", 12), 43: (8, "Q", "Q", 20)}


def look(path: Path, format: str, max_memory: int) -> dict[str, Any]:
    """Returns what the header of a picture says, or the problem it has.

    Args:
        path: the picture's file.
        format: of the result, or "auto"; a result that it cannot hold is told as ``refusal``.
        max_memory: bytes that upscaling may take.
    """
    if has_more_pages(path, MOST_PAGES):
        detail = f"it has more than {MOST_PAGES:,} pages"
        return {"event": "problem", "slug": "picture-too-large", "detail": detail}
    try:
        opened = open_picture(path, max_pixels=ANY_SIZE, all_frames=True)
    except (PictureError, MemoryError) as error:
        return {"event": "problem", "slug": _slug(path, error), "detail": without_path(str(error), path)}
    return {
        "event": "picture",
        "format": opened.format.name,
        "width": opened.width,
        "height": opened.height,
        "frames": opened.frames,
        "compressed": opened.metadata.compressed,
        "refusal": _refusal(opened, format, max_memory),
    }


def look_for_traces(path: Path) -> dict[str, Any]:
    """Returns whether the pixels of a picture, whose size is within the limits, were a JPEG before."""
    try:
        return {"event": "traces", "compressed": was_compressed(path, open_picture(path, max_pixels=ANY_SIZE))}
    except (PictureError, MemoryError):  # what is wrong with it is told when it is upscaled
        return {"event": "traces", "compressed": False}


def has_more_pages(path: Path, most: int) -> bool:
    """Returns whether a TIFF file has more pages than so many, looking at nothing but where the next one is."""
    seen: set[int] = set()
    with path.open("rb") as file, suppress(KeyError, struct.error, OSError, ValueError):
        order = {b"II": "<", b"MM": ">"}[file.read(2)]

        def number(kind: str, at: int) -> int:
            file.seek(at)
            found: int = struct.unpack(order + kind, file.read(struct.calcsize(order + kind)))[0]
            return found

        first, offset, count, entry_bytes = _TIFFS[number("H", 2)]
        page = number(offset, first)
        while page and page not in seen and len(seen) <= most:  # damaged files may go in circles
            seen.add(page)
            page = number(offset, page + struct.calcsize(order + count) + number(count, page) * entry_bytes)
    return len(seen) > most


def _refusal(opened: OpenPicture, format: str, max_memory: int) -> dict[str, Any] | None:
    """Returns the problem of a result that cannot be written, or None; limits of the server come before it."""
    try:
        choose_format(opened, format, SCALE, max_memory)
    except ProblemError as error:
        return {"slug": error.slug, "detail": error.detail, "extra": error.extra}
    return None


def _slug(path: Path, error: BaseException) -> str:
    """Returns unsupported-media where the file is of another kind, and unreadable-picture where it is damaged."""
    with path.open("rb") as file:
        start = file.read(SIGNATURE_BYTES)
    try:
        recognise(start)
    except PictureError:
        return "unsupported-media"
    return slug_of(error)


def without_path(text: str, path: Path) -> str:
    """Returns a message without the server's own file name in it."""
    return text.removeprefix(f"{path}: ").replace(str(path), "the picture").replace(str(path.parent), "")


def main() -> None:
    """Answers until the server goes away."""
    channel = Channel()
    for message in channel.messages():
        path = Path(message["path"])
        if message["do"] == "look":
            answer = look(path, message["format"], channel.settings["max_memory"])
        else:
            answer = look_for_traces(path)
        channel.send(answer.pop("event"), **answer)


if __name__ == "__main__":
    main()
