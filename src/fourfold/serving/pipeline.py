"""One picture from its upload to its result, in the folder of its job."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyvips

from fourfold.errors import PictureError
from fourfold.imaging import format_named, open_picture
from fourfold.serving.previews import RESULT_SIDE_PX, SOURCE_SIDE_PX, needs_preview, write_preview
from fourfold.serving.result_format import choose_format
from fourfold.upscaling.files import FileOptions, upscale_file

log = logging.getLogger("fourfold.serving")

#: Notes of one result, and letters of one note.
MOST_NOTES, NOTE_LENGTH = 30, 500


def upscale_in_folder(
    folder: Path,
    upscaler: Callable[[], Any],
    *,
    format: str,
    max_pixels: int,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> dict[str, Any]:
    """Turns ``folder / "source"`` into ``folder / "result.*"``, with previews of both beside them.

    Args:
        folder: the job's own.
        upscaler: gives the upscaler; asked after the picture has been opened.
        format: of the result; "auto" for the picture's own; see :func:`choose_format`.
        max_pixels: of the picture, all frames together.
        progress: called with the finished and all tiles.
        cancelled: asked before every tile.

    Returns:
        The facts of the result: format, extension, width, height, frames, bytes, notes.

    Raises:
        FourfoldError: whatever went wrong; no result is left then.
    """
    source = folder / "source"
    opened = open_picture(source, max_pixels=max_pixels, all_frames=True, verify=True)
    enlarger = upscaler()
    name, notes = choose_format(opened, format, enlarger.scale, enlarger.max_memory)
    extension = format_named(name).suffixes[0].lstrip(".")
    target = folder / f"result.{extension}"
    _try_preview(source, folder / "source-preview.webp", SOURCE_SIDE_PX)
    outcome = upscale_file(
        enlarger,
        source,
        target,
        options=FileOptions(overwrite=True, max_pixels=max_pixels),
        progress=lambda _, done, total: progress(done, total),
        cancelled=cancelled,
    )
    if needs_preview(name, outcome.width, outcome.height):
        _try_preview(target, folder / "result-preview.webp", RESULT_SIDE_PX)
    return {
        "format": name,
        "extension": extension,
        "width": outcome.width,
        "height": outcome.height,
        "frames": outcome.frames,
        "bytes": target.stat().st_size,
        "notes": shortened(notes + outcome.notes),
    }


def shortened(notes: list[str]) -> list[str]:
    """Returns notes that a page can show: a picture may make them as many and as long as it likes."""
    kept = [note if len(note) <= NOTE_LENGTH else f"{note[: NOTE_LENGTH - 1]}…" for note in notes[:MOST_NOTES]]
    return kept + ([f"and {len(notes) - MOST_NOTES} more notes"] if len(notes) > MOST_NOTES else [])


def _try_preview(source: Path, target: Path, side_px: int) -> None:
    """Writes a preview; a picture that cannot be previewed can still be upscaled, or will say itself what is wrong."""
    try:
        write_preview(source, target, side_px)
    except (PictureError, pyvips.Error) as error:
        target.unlink(missing_ok=True)
        log.warning("no preview: %s", str(error)[:200])
