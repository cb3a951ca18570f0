"""What the report shows: the paper's Figure 2, the whole picture and a magnified crop of every method.

Pictures travel inside the page as data URIs: whole pictures as JPEG, crops without loss as PNG.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import DataError, FourfoldError, UsageError
from fourfold.evaluation.benchmark import Benchmark
from fourfold.evaluation.sets import SCALE, BenchmarkSet, Entry, read_pair
from fourfold.evaluation.tables import number
from fourfold.imaging import Picture, encode_picture, imresize, rgb_to_y, to_integers, to_unit

Pixels = NDArray[Any]

#: Shown when none is named, where a set has them: faces, stripes, hair, print.
FAVOURITES = ("butterfly.png", "baby.png", "comic.png", "zebra.png", "monarch.png")
PER_SET = 2
JPEG_QUALITY = 93
#: Larger pictures are shown as their middle part; the crop is still taken from the whole.
LARGEST_PX = 640


@dataclass(frozen=True)
class Region:
    """A square of a picture: left, top and side, in pixels of the original."""

    left: int
    top: int
    side: int

    def cut(self, picture: Pixels) -> Pixels:
        """Returns that part of an (H, W, 3) picture."""
        return picture[self.top : self.top + self.side, self.left : self.left + self.side]


@dataclass
class Panel:
    """One method in a figure, as data URIs, with its scores as text."""

    method: str
    psnr: str
    ssim: str
    whole: str
    crop: str


@dataclass
class Figure:
    """One picture: every method's panel, the original last; size and region are those of the part shown."""

    set: str
    image: str
    width: int
    height: int
    region: Region
    panels: list[Panel]

    @property
    def left(self) -> int:
        """The panel that the slider starts with on its left side: bicubic, or the first."""
        return next((k for k, panel in enumerate(self.panels) if panel.method == "bicubic"), 0)


@dataclass
class _Chosen:
    of: BenchmarkSet
    entry: Entry
    region: Region | None
    restored: dict[str, Pixels] = field(default_factory=dict)


class Gallery:
    """Keeps the restored pictures that the report will show.

    Args:
        sets: the benchmark's sets.
        wanted: ``SET/IMAGE`` or ``IMAGE``, each perhaps with the crop, ``Set5/baby.png@LEFT+TOP+SIDE``; None for
            two of every set.

    Attributes:
        left_out: which figures could not be made, and why, in sentences; known once :meth:`figures` was called.

    Raises:
        UsageError: for a picture that is in no set, or a crop that is written in another way.
    """

    def __init__(self, sets: Sequence[BenchmarkSet], wanted: Sequence[str] | None = None) -> None:
        if wanted is None:
            chosen = [_Chosen(of, entry, None) for of in sets for entry in _favourites(of)]
        else:
            chosen = [_find(sets, text) for text in wanted]
        # of one picture, several parts may be wanted
        self._chosen = list({(c.of.name, c.entry.image, c.region): c for c in chosen}.values())
        self.left_out: list[str] = []

    def keep(self, of: BenchmarkSet, entry: Entry, method: str, sr: Pixels) -> None:
        """Keeps a restored picture if it is one of those to be shown."""
        for chosen in self._chosen:
            if (chosen.of.name, chosen.entry.image) == (of.name, entry.image):
                chosen.restored[method] = sr

    def figures(self, found: Benchmark) -> list[Figure]:
        """Returns the figures of all kept pictures whose originals can still be read; the others are left out."""
        figures, self.left_out = [], []
        for chosen in (chosen for chosen in self._chosen if chosen.restored):
            try:
                figures.append(_figure(chosen, found))
            except FourfoldError as error:
                self.left_out.append(f"{chosen.of.name}/{chosen.entry.image} is not shown: {error}")
        return figures


def _favourites(of: BenchmarkSet) -> list[Entry]:
    liked = [entry for name in FAVOURITES for entry in of.entries if entry.image == name]
    return (liked + [entry for entry in of.entries if entry not in liked])[:PER_SET]


def _find(sets: Sequence[BenchmarkSet], text: str) -> _Chosen:
    whole = _named(sets, text)  # first: a name may hold an @ of its own
    if whole is not None:
        return _Chosen(*whole, None)
    name, _, place = text.rpartition("@")
    part = _named(sets, name)
    match = re.fullmatch(r"([0-9]{1,9})\+([0-9]{1,9})\+([0-9]{1,9})", place)
    if part is None:
        name = name if match else text
        raise UsageError(f"picture {name!r} is in none of the sets {', '.join(of.name for of in sets)}")
    if match is None or int(match[3]) < 4:
        raise UsageError(f"picture {text!r}: write the crop as @LEFT+TOP+SIDE in pixels, such as @120+80+96")
    return _Chosen(*part, Region(*map(int, match.groups())))


def _named(sets: Sequence[BenchmarkSet], name: str) -> tuple[BenchmarkSet, Entry] | None:
    for of in sets:
        for entry in of.entries:
            if name in (entry.image, entry.key, f"{of.name}/{entry.image}", f"{of.name}/{entry.key}"):
                return of, entry
    return None


def _figure(chosen: _Chosen, found: Benchmark) -> Figure:
    pair = read_pair(chosen.entry)
    height, width = pair.hr.shape[:2]
    if any(sr.shape[:2] != (height, width) for sr in chosen.restored.values()):
        raise DataError(f"{chosen.entry.hr} has another size than when it was measured")
    region = _inside(chosen.region, height, width) if chosen.region else detailed_region(pair.hr)
    restored = {name: sr for name, sr in chosen.restored.items() if name != "hr"} | {"hr": pair.hr}
    window = _window(region, height, width)
    panels = []
    for name, sr in restored.items():
        score = found.score(chosen.of.name, chosen.entry.image, name)
        values = score.values if score else {"psnr_y": float("inf"), "ssim_daala": 1.0}
        panels.append(
            Panel(
                "original" if name == "hr" else name,
                number(values["psnr_y"], 2),
                number(values["ssim_daala"], 4),
                data_uri(sr[window], "jpg"),
                data_uri(region.cut(sr), "png"),
            )
        )
    rows, columns = window
    seen = Region(region.left - columns.start, region.top - rows.start, region.side)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    return Figure(chosen.of.name, chosen.entry.image, *size, seen, panels)


def _inside(region: Region, height: int, width: int) -> Region:
    side = min(region.side, height, width)
    return Region(min(region.left, width - side), min(region.top, height - side), side)


def detailed_region(hr: Pixels) -> Region:
    """Returns the square in which bicubic loses most: where methods differ, and where one should look.

    Args:
        hr: (H, W, 3) original.
    """
    height, width = hr.shape[:2]
    side = min(max(round(min(height, width) * 0.25), 32), 112, height, width)
    luma = rgb_to_y(to_unit(hr))
    lr = imresize(luma, 1 / SCALE)
    lost = np.abs(luma - imresize(lr, size=(height, width)))
    # the root keeps one glaring edge from outweighing a whole area of texture
    summed = np.pad(np.sqrt(lost).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    inner = summed[side:, side:] - summed[:-side, side:] - summed[side:, :-side] + summed[:-side, :-side]
    # away from the edge of the picture, where a crop shows little of what it belongs to
    rows, columns = inner.shape[0] // 8, inner.shape[1] // 8
    middle = inner[rows : inner.shape[0] - rows, columns : inner.shape[1] - columns]
    top, left = np.unravel_index(int(middle.argmax()), middle.shape)
    return Region(int(left) + columns, int(top) + rows, side)


def _window(region: Region, height: int, width: int) -> tuple[slice, slice]:
    """Returns rows and columns to show: everything, or a part around the region where the picture is very large.

    The region is always in it, also one that is larger than what is shown otherwise.
    """

    def span(start: int, length: int) -> slice:
        shown = min(length, max(LARGEST_PX, region.side))
        first = min(max(start + region.side // 2 - shown // 2, 0), length - shown)
        return slice(first, first + shown)

    return span(region.top, height), span(region.left, width)


def data_uri(pixels: Pixels, kind: str) -> str:
    """Returns a picture as a data URI, 8 bits per channel; ``kind`` is "png" or "jpg"."""
    eight = pixels if pixels.dtype == np.uint8 else to_integers(to_unit(pixels))
    picture = Picture(np.ascontiguousarray(eight))
    quality = JPEG_QUALITY if kind == "jpg" else None
    data = encode_picture(picture, kind, quality=quality, on_loss=lambda sentence: None)
    return f"data:image/{'jpeg' if kind == 'jpg' else 'png'};base64,{base64.b64encode(data).decode('ascii')}"
