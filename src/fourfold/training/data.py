"""Opening the training data: resident on the device where it fits, streamed from a file where it does not."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from fourfold.errors import DataError
from fourfold.memory import system_memory
from fourfold.training.bank import Bank, ResidentBank
from fourfold.training.pictures import BankReport, ReadingProgress, TrainingPicture, check_broken, decode, survey
from fourfold.training.recipe import DataSettings
from fourfold.training.streaming import StreamedBank, build_cache

#: Share of the free memory that the pictures may take; the rest is for the network's activations.
RESIDENT_SHARE = 0.5
#: The same of the machine's own memory, through which they go to an accelerator's.
PASSING_SHARE = 0.8


@dataclass(frozen=True)
class DataSource:
    """Where a run's pictures are.

    Attributes:
        folders: HR pictures, searched with everything below them.
        lr_folder: precomputed LR pictures, or None to make LR from HR.
        cache: where a set larger than memory is kept decoded.
    """

    folders: Sequence[Path]
    lr_folder: Path | None = None
    cache: Path | None = None


@dataclass(frozen=True)
class DataSize:
    """What the pictures will take, and how they will be kept.

    Attributes:
        kind: "resident" or "streamed".
        bytes_needed: decoded.
        bytes_free: on the device.
    """

    kind: str
    bytes_needed: int
    bytes_free: int

    def __str__(self) -> str:
        if self.kind == "resident":
            return f"{self.bytes_needed / 1e9:.2f} GB of pixels, kept in the device's memory"
        return (
            f"{self.bytes_needed / 1e9:.2f} GB of pixels, streamed from a file of decoded pictures "
            f"({self.bytes_free / 1e9:.1f} GB of the device's memory are free)"
        )


def find_usable(source: DataSource, settings: DataSettings, scale: int) -> tuple[list[TrainingPicture], BankReport]:
    """Returns the pictures that are usable by their headers, at least one, and a report on the others.

    Args:
        source: folders.
        settings: the recipe's data settings.
        scale: of the LR pictures.

    Raises:
        DataError: if nothing is usable, too many pictures are broken, or HR that has its own LR is to be shrunk.
    """
    if settings.shrink_share and source.lr_folder is not None:
        raise DataError(
            "data.shrink_share shrinks HR, for which --lr-data has no LR; --set data.shrink_share=0 leaves HR as it is"
        )
    pictures, report = survey(
        source.folders, settings.crop_px, scale=scale, lr_folder=source.lr_folder, workers=settings.workers
    )
    check_broken(report, settings.broken_share)
    if pictures:
        return pictures, report
    if report.too_small:
        raise DataError(
            f"none of the {report.found} pictures is at least {settings.crop_px}x{settings.crop_px} pixels, one crop; "
            "--set data.crop_px=... takes smaller crops"
        )
    path, why = report.broken[0]
    raise DataError(f"none of the {report.found} pictures is usable, such as {path} ({why})")


def measure_data(
    pictures: Sequence[TrainingPicture], settings: DataSettings, scale: int, device: torch.device, processes: int = 1
) -> DataSize:
    """Returns how the pictures will be kept, by their headers.

    Each process of a machine keeps all of them: in the machine's own memory without an accelerator, and on their way
    to one.
    """
    has_lr = any(picture.lr_path is not None for picture in pictures)
    needed = sum(picture.bytes_needed for picture in pictures)
    needed += needed // scale**2 if has_lr else 0
    free = free_memory(device)
    if device.type == "cuda":
        fits = needed <= RESIDENT_SHARE * free
        fits = fits and processes * needed <= PASSING_SHARE * free_memory(torch.device("cpu"))
    else:
        fits = processes * needed <= RESIDENT_SHARE * free
    return DataSize(settings.bank if settings.bank != "auto" else "resident" if fits else "streamed", needed, free)


def open_bank(
    source: DataSource,
    settings: DataSettings,
    scale: int,
    device: torch.device,
    *,
    processes: int = 1,
    default_cache: Path,
    progress: ReadingProgress | None = None,
    announce: Callable[[str], None] = lambda text: None,
    one_first: AbstractContextManager[None] | None = None,
    any_process: Callable[[bool], bool] = bool,
) -> tuple[Bank, BankReport]:
    """Returns the training pictures and what was found.

    Args:
        source: folders.
        settings: the recipe's data settings.
        scale: of the LR pictures.
        device: that trains.
        processes: of this machine, each of which keeps its own copy where they are resident.
        default_cache: where decoded pictures are kept if the source names no place.
        progress: called with (pictures read, pictures to read).
        announce: told in words how the pictures are kept.
        one_first: lets one process of a machine go through first, while the others wait for it.
        any_process: whether a flag is set on any process; what one has no room for, all of them stream.

    Raises:
        DataError: if nothing is usable, too many pictures are broken, or the cache cannot be written.
    """
    pictures, report = find_usable(source, settings, scale)
    read = partial(
        decode,
        pictures,
        report,
        scale=scale,
        broken_share=settings.broken_share,
        workers=settings.workers,
        progress=progress,
    )
    size = measure_data(pictures, settings, scale, device, processes)
    # each process sees the free memory of its own moment; if they differed, some would wait for the others for ever
    size = replace(size, kind="streamed" if any_process(size.kind == "streamed") else "resident")
    announce(str(size))
    if size.kind == "resident":
        needed = sum(picture.bytes_needed for picture in pictures)
        return ResidentBank(read(), needed, device, scale), report
    with one_first or nullcontext():
        folder = build_cache(source.cache or default_cache, pictures, read, report, announce, scale)
    check_broken(report, settings.broken_share)  # a cache that was there already has not been asked
    return StreamedBank(folder, scale, settings.workers or 4, pin=device.type == "cuda"), report


def free_memory(device: torch.device) -> int:
    """Returns the free bytes of a device's memory."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    available = system_memory()[1]
    if available is None:  # not Linux: take half of what is built in to be free
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2 if hasattr(os, "sysconf") else 8 << 30
    return available
