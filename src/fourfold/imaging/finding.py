"""Which files of a folder are pictures."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from fourfold.errors import PictureError
from fourfold.imaging.formats import SOURCE_SUFFIXES, SUFFIXES, UNREAD_SUFFIXES
from fourfold.places import is_folder, why_unseen


def find_pictures(folder: str | Path, recursive: bool = False) -> list[Path]:
    """Returns the picture files of a folder, by their endings, in a natural order (``2.png`` before ``10.png``).

    Hidden files and folders are left out, and links to folders are not followed. A link whose file is not there, such
    as one of git-annex, counts: whoever opens it says so.

    Args:
        folder: where to look.
        recursive: look into the folders below, too.

    Raises:
        PictureError: if the folder is missing, cannot be read, or holds no picture.
    """
    folder = Path(folder)
    if not is_folder(folder):
        why = why_unseen(folder)
        raise PictureError(f"{folder}: cannot be looked at ({why})" if why else f"{folder}: no such folder")
    found: list[Path] = []
    _search(folder, recursive, found)
    if not found:
        where = "in it or below" if recursive else "in it (--recursive looks into the folders below, too)"
        others = unread(folder.rglob("*") if recursive else folder.iterdir())
        raise PictureError(
            f"{folder}: no picture {where}; endings searched: {' '.join(sorted(SUFFIXES))}"
            + (f"; it holds {others}, not read here" if others else "")
        )
    return sorted(found, key=natural_order)


def unread(files: Iterable[Path]) -> str:
    """Returns in words how many of these files are pictures that are not read here, such as "12 .heic"; else ""."""
    known = UNREAD_SUFFIXES | SOURCE_SUFFIXES
    endings = Counter(file.suffix.lower() for file in files if not file.name.startswith("."))
    return ", ".join(f"{endings[ending]:,} {ending}" for ending in sorted(known & endings.keys()))


def _search(folder: Path, recursive: bool, found: list[Path]) -> None:
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise PictureError(f"{folder}: cannot be read ({error.strerror or error})") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            if recursive:
                _search(Path(entry.path), recursive, found)
        elif Path(entry.name).suffix.lower() in SUFFIXES and _is_file(entry):
            found.append(Path(entry.path))


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Says whether an entry is a file, or a link that leads nowhere, into a circle or a closed folder."""
    try:
        return entry.is_file() or (entry.is_symlink() and not entry.is_dir())
    except OSError:
        return True


def natural_order(path: Path) -> tuple[list[list[tuple[int, int, str]]], str]:
    """Returns a sorting key under which numbers inside names count as numbers.

    Names that are one to it, such as ``a.png`` and ``A.png``, are told apart by their letters: in the order in which a
    folder has them, they would come differently from disk to disk.
    """
    return [_pieces(part) for part in path.parts], str(path)


def _pieces(name: str) -> list[tuple[int, int, str]]:
    pieces = re.findall(r"[0-9]{1,18}|[^0-9]+", name)
    return [(0, int(p), p) if p.isdecimal() else (1, 0, p.casefold()) for p in pieces]
