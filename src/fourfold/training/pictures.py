"""Finding and reading training pictures as people have them: nested, mixed, broken, twice, too small."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import DataError, PictureError
from fourfold.imaging import find_pictures, open_picture, read_rgb
from fourfold.imaging.finding import unread
from fourfold.places import is_file, is_folder, why_unseen

Pixels = NDArray[np.uint8]
ReadingProgress = Callable[[int, int], None]

#: Training pictures are the user's own files; a very large one is no attack.
_MAX_PIXELS = 2**40


@dataclass
class BankReport:
    """What happened to the pictures found: how many are used, and which were left out and why.

    What is overlooked was never found: pictures of kinds that are not read, and what lies behind links to folders.
    """

    used: list[Path] = field(default_factory=list)
    too_small: list[Path] = field(default_factory=list)
    broken: list[tuple[Path, str]] = field(default_factory=list)
    duplicates: list[tuple[Path, Path]] = field(default_factory=list)
    overlooked: list[str] = field(default_factory=list)
    found: int = 0

    @property
    def left_out(self) -> int:
        """Number of pictures that were found and are not used."""
        return len(self.too_small) + len(self.broken) + len(self.duplicates)


@dataclass(frozen=True)
class TrainingPicture:
    """A picture whose header has been read.

    Attributes:
        path: the HR file.
        height: rows that will be used.
        width: columns that will be used.
        lr_path: its precomputed LR file, or None where LR is made from HR.
    """

    path: Path
    height: int
    width: int
    lr_path: Path | None = None

    @property
    def bytes_needed(self) -> int:
        """Bytes as planar uint8 RGB, HR alone."""
        return 3 * self.height * self.width


def survey(
    folders: Sequence[Path], crop_px: int, *, scale: int = 4, lr_folder: Path | None = None, workers: int = 0
) -> tuple[list[TrainingPicture], BankReport]:
    """Returns the usable pictures under the folders, by their headers, and a report on the others.

    Args:
        folders: searched with everything below them.
        crop_px: a picture must be at least one crop large.
        scale: of the precomputed LR pictures.
        lr_folder: holds an LR picture for every HR picture, under the same relative path, with or without
            ``x4`` at the end of its name (DIV2K's habit).
        workers: threads; 0 takes one per processor.

    Raises:
        DataError: if a folder holds no picture, or cannot be read.
    """
    report = BankReport()
    paths = [(path, folder) for folder in folders for path in pictures_under(folder, "--data")]
    if lr_folder is not None:
        _check_lr_folder(lr_folder)
    report.found = len(paths)
    report.overlooked = [sentence for folder in folders for sentence in overlooked(folder)]
    pictures = []
    partners: dict[Path, Path] = {}
    with ThreadPoolExecutor(_threads(workers)) as pool:
        headers = pool.map(_size, [path for path, _ in paths])
        for (path, folder), header in zip(paths, headers, strict=True):
            if isinstance(header, str):
                report.broken.append((path, header))
            elif min(header) < crop_px:
                report.too_small.append(path)
            elif lr_folder is None:
                pictures.append(TrainingPicture(path, *header))
            elif (lr_path := _partner(path.relative_to(folder), lr_folder, scale)) is None:
                report.broken.append((path, f"no LR picture of that name in {lr_folder}"))
            elif partners.setdefault(lr_path, path) != path:
                report.broken.append((path, f"its LR picture {lr_path} is that of {partners[lr_path]}, too"))
            else:
                height, width = (side // scale * scale for side in header)
                pictures.append(TrainingPicture(path, height, width, lr_path))
    return pictures, report


def pictures_under(folder: Path, option: str) -> list[Path]:
    """Returns the pictures in a folder and below it, in a natural order; those that runs have left there are not any.

    Args:
        folder: where to look.
        option: of the command line that named it, for the message.

    Raises:
        DataError: if there is none, or the folder cannot be read.
    """
    if why := why_unseen(folder):
        raise DataError(f"{option} {folder}: cannot be read ({why})")
    try:
        found = find_pictures(folder, recursive=True)
    except PictureError as error:
        raise DataError(f"{option} {error}") from error
    runs = {within for within in {path.parent for path in found} if _is_of_a_run(within, folder)}
    if pictures := [path for path in found if path.parent not in runs]:
        return pictures
    raise DataError(f"{option} {folder}: there are no pictures but those that runs have left")


def overlooked(folder: Path) -> list[str]:
    """Returns in words what :func:`pictures_under` passes over in a folder and below it."""
    below = folder.rglob("*")
    entries = [path for path in below if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    said = []
    if others := unread(entries):
        said.append(f"{others} in {folder} or below, not read here; convert them first")
    if linked := sorted(path for path in entries if path.is_symlink() and is_folder(path)):
        more = f" and {len(linked) - 1} more" * (len(linked) > 1)
        said.append(f"links to folders are not followed: {linked[0]}{more}")
    return said


def _is_of_a_run(folder: Path, top: Path) -> bool:
    """Returns whether a folder is a run's, or lies in one, below the one that was named."""
    while folder != top and top in folder.parents:
        if is_file(folder / "recipe.json") and is_folder(folder / "checkpoints"):
            return True
        folder = folder.parent
    return False


def _check_lr_folder(folder: Path) -> None:
    if not is_folder(folder) and not why_unseen(folder):
        raise DataError(f"--lr-data {folder}: no such folder")
    if why := why_unseen(folder / "picture.png"):  # any name will do: whether names in it can be looked up at all
        raise DataError(f"--lr-data {folder}: cannot be read ({why})")


def decode(
    pictures: Sequence[TrainingPicture],
    report: BankReport,
    *,
    scale: int = 4,
    broken_share: float = 0.05,
    workers: int = 0,
    progress: ReadingProgress | None = None,
) -> Iterator[tuple[TrainingPicture, Pixels, Pixels | None]]:
    """Yields (picture, HR, LR or None), pixels planar (3, H, W) uint8, in the order given; fills in the report.

    Decoding runs ahead in threads. A picture whose pixels were seen before is named as a duplicate and skipped.

    Raises:
        DataError: as soon as more pictures are broken than ``broken_share`` of those found.
    """
    seen: dict[bytes, Path] = {}
    check_broken(report, broken_share)
    for done, (picture, result) in enumerate(_run_ahead(pictures, scale, _threads(workers)), 1):
        if isinstance(result, str):
            report.broken.append((picture.path, result))
            check_broken(report, broken_share)
        else:
            twin = seen.setdefault(hashlib.blake2b(result[0].tobytes(), digest_size=16).digest(), picture.path)
            if twin is not picture.path:
                report.duplicates.append((picture.path, twin))
            else:
                report.used.append(picture.path)
                yield picture, *result
        if progress is not None:
            progress(done, len(pictures))


Decoded = tuple[Pixels, Pixels | None] | str


def _run_ahead(
    pictures: Sequence[TrainingPicture], scale: int, threads: int
) -> Iterator[tuple[TrainingPicture, Decoded]]:
    """Yields each picture with what was decoded, or why it could not be, a few pictures ahead of the reader."""
    pending: deque[tuple[TrainingPicture, Future[Decoded]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for picture in pictures:
            pending.append((picture, pool.submit(_decode_one, picture, scale)))
            if len(pending) > 2 * threads:
                first, future = pending.popleft()
                yield first, future.result()
        for first, future in pending:
            yield first, future.result()


def _decode_one(picture: TrainingPicture, scale: int) -> Decoded:
    try:
        hr = read_planes(picture.path)[:, : picture.height, : picture.width]
        if hr.shape[1:] != (picture.height, picture.width):
            return f"its header says {picture.width}x{picture.height}, it has {hr.shape[2]}x{hr.shape[1]} pixels"
        if picture.lr_path is None:
            return hr, None
        lr = read_planes(picture.lr_path)
    except PictureError as error:
        return str(error)
    wanted = (picture.height // scale, picture.width // scale)
    if lr.shape[1:] != wanted:
        return (
            f"its LR picture {picture.lr_path} is {lr.shape[2]}x{lr.shape[1]}; "
            f"1/{scale} of {picture.width}x{picture.height} is {wanted[1]}x{wanted[0]}"
        )
    return hr, lr


def read_planes(path: Path) -> Pixels:
    """Returns a picture as planar RGB, (3, H, W) uint8; 16 bits are rounded to 8.

    Raises:
        PictureError: if it cannot be read.
    """
    picture = read_rgb(path)
    if picture.dtype == np.uint16:
        picture = ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.ascontiguousarray(picture.transpose(2, 0, 1))


def _size(path: Path) -> tuple[int, int] | str:
    try:
        opened = open_picture(path, max_pixels=_MAX_PIXELS)
    except PictureError as error:
        return str(error)
    return opened.height, opened.width


def _partner(relative: Path, lr_folder: Path, scale: int) -> Path | None:
    """Returns the LR file of an HR file, or None."""
    for stem in (relative.stem, f"{relative.stem}x{scale}"):
        for suffix in (relative.suffix, ".png"):
            candidate = lr_folder / relative.parent / f"{stem}{suffix}"
            if is_file(candidate):
                return candidate
    return None


def check_broken(report: BankReport, broken_share: float) -> None:
    """Refuses a set of which too much is broken.

    Raises:
        DataError: if more pictures are broken than ``broken_share`` of those found.
    """
    if len(report.broken) > broken_share * report.found:
        path, why = report.broken[0]
        raise DataError(
            f"{len(report.broken)} of {report.found} pictures cannot be used, such as {path} ({why}); "
            f"more than data.broken_share={broken_share:g} of them stops a run"
        )


def _threads(workers: int) -> int:
    return workers or min(16, os.cpu_count() or 1)
