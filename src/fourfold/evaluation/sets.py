"""Benchmark sets: folders of originals, with or without LR pictures beside them, in the layouts people have.

========  =============================================================  ==================================
layout    originals                                                      LR pictures
========  =============================================================  ==================================
plain     ``Set5/baby.png``                                              made here, by the house's bicubic
basicsr   ``Set5/GTmod12/baby.png``                                      ``Set5/LRbicx4/baby.png``
edsr      ``Set5/HR/baby.png``                                           ``Set5/LR_bicubic/X4/babyx4.png``
selfexsr  ``Set5/image_SRF_4/img_001_SRF_4_HR.png``                      ``Set5/image_SRF_4/img_001_SRF_4_LR.png``
========  =============================================================  ==================================

A set that does not fit together (a partner missing, folders swapped, a size that does not match) is refused with
the file's name: a mean over what happens to fit would look like a result.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import DataError, PictureError, UsageError
from fourfold.evaluation.paper import PICTURES, paper_set
from fourfold.imaging import find_pictures, imresize, read_picture
from fourfold.imaging.formats import UNREAD_SUFFIXES
from fourfold.places import is_folder, why_closed, why_unseen

SCALE = 4

Pixels = NDArray[Any]


@dataclass(frozen=True)
class Entry:
    """One picture of a set.

    Attributes:
        image: file name as in the set; what the results call it.
        key: the name without folder, ending and layout's suffix; what other programs name their results after.
        hr: the original.
        lr: the LR picture, or None where it is made here.
    """

    image: str
    key: str
    hr: Path
    lr: Path | None = None


@dataclass(frozen=True)
class BenchmarkSet:
    """A set: its name, where it lies, how it is laid out, and its pictures in order."""

    name: str
    folder: Path
    layout: str
    entries: tuple[Entry, ...]

    @property
    def sha256(self) -> str | None:
        """Hash over names and bytes of every original and LR picture, in order; None where one cannot be read."""
        return self._hashed[0]

    @property
    def why_unhashed(self) -> str | None:
        """Which file has no hash, and why; None where all have."""
        return self._hashed[1]

    @cached_property
    def _hashed(self) -> tuple[str | None, str | None]:
        digest = hashlib.sha256()
        for path in (path for entry in self.entries for path in (entry.hr, entry.lr) if path is not None):
            digest.update(os.fsencode(path.name))
            try:
                digest.update(path.read_bytes())
            except OSError as error:
                return None, f"{path.name} cannot be read ({error.strerror or error})"
        return digest.hexdigest(), None


@dataclass(frozen=True)
class Pair:
    """An original and its LR picture, ready to be measured.

    Attributes:
        hr: (H, W, 3) uint8 or uint16, both sides multiples of 4.
        lr: (H / 4, W / 4, 3), same dtype.
        notes: what was done to get there: cropped, alpha dropped.
        uncropped: (height, width) of the original's file; a result made from all of it has that size.
    """

    hr: Pixels
    lr: Pixels
    notes: tuple[str, ...] = field(default=())
    uncropped: tuple[int, int] | None = None


def find_sets(
    root: Path, names: Sequence[str] | None = None, *, on_note: Callable[[str], None] = lambda sentence: None
) -> list[BenchmarkSet]:
    """Returns the named sets under a folder, or every set there is.

    Args:
        root: a folder of sets, one with ``bench/`` inside, or a set itself.
        names: names of sub-folders, "." or its name for the folder itself; None for all that are not hidden, the
            paper's first. The paper's sets are found under their other names, too: "BSD100" finds a folder "B100".
        on_note: told, in a sentence, which folder was passed over because it is closed.

    Raises:
        UsageError: if a set is named twice.
        DataError: if the folder or a named set is missing, closed, empty, or does not fit together; if it is not
            clear whether the folder is a set or a folder of sets.
    """
    if not is_folder(root):
        raise DataError(_unseen(root) or f"{root}: no such folder")
    home = root / "bench" if is_folder(root / "bench") else root
    if names is None:
        names = _names_in(home, on_note)
    sets = [read_set(_named(home, name, names)) for name in names]
    twice = [name for name, count in Counter(of.name for of in sets).items() if count > 1]
    if twice:
        raise UsageError(f"two sets are called {twice[0]!r}; name each set once")
    return sets


def _named(home: Path, name: str, names: Sequence[str]) -> Path:
    """Returns the folder of a set; where there is none, the error says which of all names can be taken."""
    found = _find(home, name)
    if found is None:
        raise DataError(_unseen(home / name) or f"no set {name!r} in {home}; there are: {_there(home, names)}")
    return found


def _find(home: Path, name: str) -> Path | None:
    """Returns the folder of a set by its name, or by another one that the paper's sets go by; the home itself, too."""
    if is_folder(home / name):
        return home / name
    if _unseen(home / name):
        return None
    of = paper_set(name)
    same = [path for path in _folders(home) if of is not None and paper_set(path.name) == of]
    own = home.resolve().name
    if not same and (own == name or (of is not None and paper_set(own) == of)) and _layout(home) is not None:
        return home
    return same[0] if len(same) == 1 else None


def _there(home: Path, names: Sequence[str]) -> str:
    """Returns which sets there are and how to take them: those of the names that are there, or else all."""
    there = _folders(home)
    taken = [name for name in names if _find(home, name)] or [path.name for path in there if _layout(path) is not None]
    how = f"; --sets {','.join(taken)} takes {'them' if len(taken) > 1 else 'it'}" if taken else ""
    return (", ".join(path.name for path in there) or "none") + how


def _names_in(home: Path, on_note: Callable[[str], None]) -> list[str]:
    """Returns the names of all sets in a folder, or "." where it is one itself."""
    _check_open(home)
    layout = _layout(home)
    if layout not in (None, "plain"):
        return ["."]
    found = []
    for folder in _folders(home):
        reason = why_closed(folder)
        if reason is not None:
            on_note(f"{folder} is passed over; it cannot be read ({reason})")
        elif _layout(folder) is not None:
            found.append(folder.name)
        elif unread := _unread(folder):
            on_note(f"{folder} is passed over; {unread}")
    found.sort(key=_paper_order)
    if layout is None and not found:
        raise DataError(_unread(home) or f"{home}: no pictures and no folders of pictures")
    if layout is not None and found:
        stray = pictures_in(home)
        count = f"{stray[0].name} and {len(stray) - 1} more" if len(stray) > 1 else stray[0].name
        raise DataError(
            f"{home} holds pictures of its own ({count}) and folders of pictures ({', '.join(found[:4])}"
            f"{', ...' if len(found) > 4 else ''}); say which are meant with --sets {','.join(found[:4])}, or with "
            "--sets . for its own"
        )
    return found or ["."]


def _unseen(path: Path) -> str | None:
    reason = why_unseen(path)
    return f"{path}: cannot be read ({reason})" if reason else None


def _check_open(folder: Path) -> None:
    reason = why_closed(folder)
    if reason is not None:
        raise DataError(f"{folder}: cannot be read ({reason})")


def _folders(home: Path) -> list[Path]:
    """Returns the folders in a folder that are not hidden, sorted; none where it may not be listed."""
    try:
        return sorted(path for path in home.iterdir() if not path.name.startswith(".") and is_folder(path))
    except OSError:
        return []


def _paper_order(name: str) -> tuple[int, str]:
    """Sorts the paper's sets before the others, in its order."""
    of, usual = paper_set(name), list(PICTURES)
    return (usual.index(of) if of else len(usual), name)


def read_set(folder: Path) -> BenchmarkSet:
    """Returns a set with its layout recognised.

    Raises:
        DataError: if it holds no pictures, cannot be read, or originals and LR pictures do not pair up.
    """
    _check_open(folder)
    layout = _layout(folder)
    if unread := _unread(folder / _ORIGINALS.get(layout or "", "")):
        raise DataError(unread)
    if layout is None:
        raise DataError(f"{folder}: no pictures; a set is a folder of originals, or holds GTmod12, HR or image_SRF_4")
    entries = tuple(_READERS[layout](folder))
    if not entries:
        raise DataError(f"{folder}: no pictures")
    twins = [key for key, count in Counter(entry.key for entry in entries).items() if count > 1]
    if twins:
        raise DataError(
            f"{folder}: several pictures are called {sorted(twins)[0]!r}; results could not tell them apart"
        )
    name = folder.name if folder.name not in ("", "..") else folder.resolve().name
    return BenchmarkSet(name, folder, layout, entries)


def pictures_in(folder: Path) -> list[Path]:
    """Returns the pictures right in a folder, in natural order; none where there is no such folder."""
    try:
        return find_pictures(folder)
    except (PictureError, OSError):
        return []


def _unread(folder: Path) -> str | None:
    """Returns, in words, which picture of a folder is of a kind that is not read; None where all are."""
    try:
        shown = [p for p in folder.iterdir() if not p.name.startswith(".")]
        names = sorted(p.name for p in shown if p.suffix.lower() in UNREAD_SUFFIXES)
    except OSError:
        return None
    if not names:
        return None
    kind = Path(names[0]).suffix[1:].upper()
    return f"{folder / names[0]}: {kind} is not read; convert the set to PNG, which loses nothing"


#: layout -> where its originals lie
_ORIGINALS = {"selfexsr": f"image_SRF_{SCALE}", "basicsr": "GTmod12", "edsr": "HR"}


def _layout(folder: Path) -> str | None:
    if is_folder(folder / f"image_SRF_{SCALE}"):
        return "selfexsr"
    if is_folder(folder / "GTmod12"):
        return "basicsr"
    if is_folder(folder / "HR"):
        return "edsr"
    return "plain" if pictures_in(folder) else None


def _read_plain(folder: Path) -> Iterable[Entry]:
    return [Entry(path.name, path.stem, path) for path in pictures_in(folder)]


def _read_basicsr(folder: Path) -> Iterable[Entry]:
    return _partners(folder / "GTmod12", folder / f"LRbicx{SCALE}", ("", f"x{SCALE}"))


def _read_edsr(folder: Path) -> Iterable[Entry]:
    return _partners(folder / "HR", folder / "LR_bicubic" / f"X{SCALE}", (f"x{SCALE}", ""))


def _partners(originals: Path, small: Path, endings: Sequence[str]) -> list[Entry]:
    paths = pictures_in(originals)
    if not is_folder(small):
        return [Entry(path.name, path.stem, path) for path in paths]
    partners = _by_stem(pictures_in(small))
    entries = []
    for path in paths:
        lr = next((partners[path.stem + e] for e in endings if path.stem + e in partners), None)
        if lr is None:
            raise DataError(f"{path.name} has no LR partner in {small}; expected {path.stem + endings[0]}.png")
        entries.append(Entry(path.name, path.stem, path, lr))
    left = sorted(set(partners.values()) - {entry.lr for entry in entries})
    if left:
        raise DataError(f"{left[0]} has no original in {originals}")
    return entries


def _by_stem(paths: Sequence[Path]) -> dict[str, Path]:
    """Returns stem -> path.

    Raises:
        DataError: if two pictures share a stem, so that either might be the partner.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise DataError(
                f"{path.parent}: {found[path.stem].name} and {path.name} are both called {path.stem!r}, and it is not "
                "clear which is meant; move one away"
            )
        found[path.stem] = path
    return found


def _read_selfexsr(folder: Path) -> Iterable[Entry]:
    ending = f"_SRF_{SCALE}_HR"
    # the results of other programs lie in the same folder; they may be there in several formats
    paths = _by_stem([p for p in pictures_in(folder / f"image_SRF_{SCALE}") if p.stem.endswith((ending, "_LR"))])
    originals = [stem for stem in paths if stem.endswith(ending)]
    for stem in paths:
        partner = stem[: -len("LR")] + "HR"
        if stem.endswith("_LR") and partner not in paths:
            raise DataError(f"{paths[stem]} has no original; expected {partner}.png beside it")
    for stem in originals:
        key = stem.removesuffix(ending)
        lr = paths.get(f"{key}_SRF_{SCALE}_LR")
        if lr is None:
            raise DataError(f"{paths[stem]} has no LR partner; expected {key}_SRF_{SCALE}_LR.png beside it")
        yield Entry(paths[stem].name, key, paths[stem], lr)


_READERS = {"plain": _read_plain, "basicsr": _read_basicsr, "edsr": _read_edsr, "selfexsr": _read_selfexsr}


def read_pair(entry: Entry) -> Pair:
    """Returns an entry's pixels: the original cropped to a multiple of 4 where it must be, and its LR picture.

    Raises:
        PictureError: if a file cannot be read.
        DataError: if original and LR picture do not belong together.
    """
    hr, notes = read_pixels(entry.hr)
    height, width = hr.shape[:2]
    if min(height, width) < SCALE:
        raise DataError(f"{entry.hr}: {width}x{height} pixels are too few to shrink by {SCALE}")
    whole_height, whole_width = height // SCALE * SCALE, width // SCALE * SCALE
    if (whole_height, whole_width) != (height, width):
        hr = hr[:whole_height, :whole_width]
        notes = (*notes, f"{entry.image} cropped from {width}x{height} to {whole_width}x{whole_height}")
    if entry.lr is None:
        return Pair(hr, imresize(hr, 1 / SCALE), notes, (height, width))
    lr, lr_notes = read_pixels(entry.lr)
    _check_sizes(entry, hr, lr)
    lr = lr if lr.dtype == hr.dtype else _as_dtype(lr, hr.dtype)
    return Pair(hr, lr, (*notes, *lr_notes), (height, width))


def _check_sizes(entry: Entry, hr: Pixels, lr: Pixels) -> None:
    (height, width), (lr_height, lr_width) = hr.shape[:2], lr.shape[:2]
    if (lr_height * SCALE, lr_width * SCALE) == (height, width):
        return
    if lr_height > height and lr_width > width:
        raise DataError(
            f"{entry.image}: the LR picture ({lr_width}x{lr_height}) is larger than the original ({width}x{height}); "
            "are the two folders swapped?"
        )
    raise DataError(
        f"{entry.image}: the LR picture is {lr_width}x{lr_height}, and a quarter of the original's "
        f"{width}x{height} is {width // SCALE}x{height // SCALE}"
    )


def _as_dtype(pixels: Pixels, dtype: np.dtype[Any]) -> Pixels:
    top = np.iinfo(dtype).max
    unit = pixels.astype(np.float64) / np.iinfo(pixels.dtype).max
    return np.floor(unit * top + 0.5).astype(dtype)


def read_pixels(path: Path) -> tuple[Pixels, tuple[str, ...]]:
    """Returns (H, W, 3) uint8 or uint16, grey tripled, and notes on what was dropped.

    Raises:
        PictureError: if the file cannot be read, or holds floating values.
    """
    picture = read_picture(path, max_pixels=2**40)  # as read_rgb: chosen by whoever measures, of any size
    pixels = picture.pixels
    if not np.issubdtype(pixels.dtype, np.integer):
        raise PictureError(f"{path}: floating values; measured pictures hold 8 or 16 bits")
    notes = () if picture.alpha is None else (f"{path.name}: the transparency does not count",)
    return (np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels), notes
