"""The bank for sets larger than memory: pictures decoded once into a file, crops read from it by threads."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fourfold.durable import exclusive, write_atomically
from fourfold.errors import DataError
from fourfold.training.bank import Planes
from fourfold.training.pictures import BankReport, Pixels, TrainingPicture
from fourfold.training.sampler import Crops

Decoder = Callable[[], Iterable[tuple[TrainingPicture, Pixels, Pixels | None]]]


class StreamedBank:
    """Pictures in a file of planar uint8; the same crops as :class:`fourfold.training.bank.ResidentBank`, bit for bit.

    The file is mapped into memory, so the system's page cache holds as much of it as there is room for. It is made
    once per set of pictures (by their paths, sizes, times and what of them is used) and used again by later runs::

        CACHE/pictures-0123456789abcdef/
          lock              held by the run that decodes; others wait for it
          hr.raw, lr.raw    the pixels
          index.json        sizes and the report; written last, so a folder without it, or whose other files are not
                            as long as it says, is begun anew

    Args:
        folder: the cache folder, made by :func:`build_cache`.
        scale: of the LR pictures.
        workers: threads that read crops.
        pin: whether batches lie in pinned memory, from which copies to an accelerator do not wait.
    """

    kind = "streamed"

    def __init__(self, folder: Path, scale: int = 4, workers: int = 4, pin: bool = False) -> None:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self._hr = Planes(index["heights"], index["widths"])
        self._pixels = np.memmap(folder / "hr.raw", dtype=np.uint8, mode="r")
        self.heights, self.widths, self.has_lr = self._hr.heights, self._hr.widths, bool(index["has_lr"])
        self._scale, self._pin = scale, pin
        if self.has_lr:
            self._lr = Planes([h // scale for h in index["heights"]], [w // scale for w in index["widths"]])
            self._lr_pixels = np.memmap(folder / "lr.raw", dtype=np.uint8, mode="r")
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="crops")

    def gather(self, crops: Crops, room_px: int) -> tuple[Tensor, Tensor | None]:
        """Returns HR and LR crops in host memory; see :class:`fourfold.training.bank.Bank`."""
        hr = self._take(self._pixels, self._hr, crops, room_px, 1)
        if not self.has_lr:
            return hr, None
        return hr, self._take(self._lr_pixels, self._lr, crops, room_px // self._scale, self._scale)

    def _take(self, pixels: NDArray[np.uint8], planes: Planes, crops: Crops, room: int, shrink: int) -> Tensor:
        batch = torch.empty(len(crops), 3, room, room, dtype=torch.uint8, pin_memory=self._pin)
        out = batch.numpy()

        list(self._pool.map(lambda k: planes.cut(pixels, crops, k, out[k], shrink), range(len(crops))))
        return batch


def build_cache(
    root: Path,
    pictures: Sequence[TrainingPicture],
    decoder: Decoder,
    report: BankReport,
    announce: Callable[[str], None] = lambda text: None,
    scale: int = 4,
) -> Path:
    """Returns the cache folder of these pictures, decoding them into it unless an earlier run has.

    Args:
        root: where cache folders lie.
        pictures: the set.
        decoder: yields the decoded pictures.
        report: filled by the decoder, or from the cache.
        announce: told if another run decodes the same pictures, and is waited for.
        scale: of the LR pictures.

    Raises:
        DataError: if the cache cannot be written, or no picture is usable.
    """
    try:
        folder = root / f"pictures-{_fingerprint(pictures, scale)}"
    except OSError as error:
        raise DataError(f"--data {error.filename}: cannot be read any more ({error.strerror or error})") from error

    def busy() -> None:
        announce(f"another run decodes the same pictures into {folder}; waiting for it")

    try:
        if _taken_up(folder, pictures, report, scale):  # which may lie where nothing can be written
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / "lock", busy):
            return folder if _taken_up(folder, pictures, report, scale) else _build(folder, decoder, report)
    except OSError as error:
        raise DataError(
            f"the decoded pictures cannot be kept in {folder} ({error.strerror or error}); they need "
            f"{sum(p.bytes_needed for p in pictures) / 1e9:.1f} GB. Give another place with --cache"
        ) from error


def _taken_up(folder: Path, pictures: Sequence[TrainingPicture], report: BankReport, scale: int) -> bool:
    """Fills the report from a finished cache; returns whether there is one, and whole: files may be damaged or gone."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        areas = sum(height * width for height, width in zip(index["heights"], index["widths"], strict=True))
        lr_bytes = 3 * areas // scale**2 if index["has_lr"] else 0
        if [(folder / name).stat().st_size for name in ("hr.raw", "lr.raw")] != [3 * areas, lr_bytes]:
            return False
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False
    _restore(report, index["report"], [picture.path for picture in pictures])
    return True


def _build(folder: Path, decoder: Decoder, report: BankReport) -> Path:
    """Decodes into a cache folder; what is begun and not ended leaves nothing that takes room."""
    try:
        return _decode_into(folder, decoder, report)
    except BaseException:
        for name in ("hr.raw", "lr.raw"):
            with suppress(OSError):
                (folder / name).unlink(missing_ok=True)
        raise


def _decode_into(folder: Path, decoder: Decoder, report: BankReport) -> Path:
    heights, widths, has_lr = [], [], False
    with (folder / "hr.raw").open("wb") as hr_file, (folder / "lr.raw").open("wb") as lr_file:
        for _, hr, lr in decoder():
            hr_file.write(np.ascontiguousarray(hr).data)
            heights.append(hr.shape[1])
            widths.append(hr.shape[2])
            if lr is not None:
                has_lr = True
                lr_file.write(np.ascontiguousarray(lr).data)
        for file in (hr_file, lr_file):  # before the index, which says that they are whole
            file.flush()
            os.fsync(file.fileno())
    if not heights:
        raise DataError("none of the pictures is usable")
    index = {"heights": heights, "widths": widths, "has_lr": has_lr, "report": _stored(report)}
    write_atomically(folder / "index.json", json.dumps(index).encode())
    return folder


def _fingerprint(pictures: Sequence[TrainingPicture], scale: int) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for picture in pictures:
        if picture.lr_path is not None:  # as much of HR is used as the scale divides
            digest.update(f"{scale}\0{picture.height}x{picture.width}\0".encode())
        for path in (picture.path, *([picture.lr_path] if picture.lr_path is not None else [])):
            stat = path.stat()
            line = f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\0"
            digest.update(line.encode("utf-8", "surrogateescape"))
        digest.update(b"\n")
    return digest.hexdigest()


def _stored(report: BankReport) -> dict[str, list[list[str]]]:
    return {
        "used": [[_absolute(path)] for path in report.used],
        "broken": [[_absolute(path), why] for path, why in report.broken],
        "duplicates": [[_absolute(path), _absolute(twin)] for path, twin in report.duplicates],
    }


def _absolute(path: str | Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100, Path.absolute() keeps "..", and Path.resolve() follows links


def _restore(report: BankReport, stored: dict[str, list[list[str]]], pictures: Sequence[Path]) -> None:
    """Adds what decoding found; what the headers say, the report has from this run's own look at them.

    The cache may have been made from elsewhere: paths are this run's own where they lead to the same files.
    """
    named = {_absolute(path): path for path in pictures}
    leading = {os.path.realpath(path): path for path in reversed(pictures)}

    def own(path: str) -> Path:
        return named.get(_absolute(path)) or leading.get(os.path.realpath(path), Path(path))

    report.used = [own(path) for (path,) in stored["used"]]
    report.broken += [(own(path), why) for path, why in stored["broken"] if os.path.realpath(path) in leading]
    report.duplicates = [(own(path), own(twin)) for path, twin in stored["duplicates"]]
