"""Where on the earth a TIFF's pixels lie (GeoTIFF), and where they lie once there are more of them.

Source: OGC 19-008r4, GeoTIFF 1.1 (2019): requirements 7 and 8 (the tags), annex D (from raster to model coordinates).
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fourfold.imaging.exif import Tag

_PIXEL_SCALE, _TIE_POINTS, _TRANSFORMATION, _KEYS = 0x830E, 0x8482, 0x85D8, 0x87AF
_DOUBLE_KEYS, _TEXT_KEYS = 0x87B0, 0x87B1
_SHORT, _DOUBLE, _ASCII = 3, 12, 2
#: Every tag that is taken over, with its type.
TAGS = {
    _PIXEL_SCALE: _DOUBLE,
    _TIE_POINTS: _DOUBLE,
    _TRANSFORMATION: _DOUBLE,
    _KEYS: _SHORT,
    _DOUBLE_KEYS: _DOUBLE,
    _TEXT_KEYS: _ASCII,
}

#: Of the same files, and not taken over: they speak of the very values of the small picture's pixels, or count them.
LEFT_OUT = {
    0xA480: "GDAL's metadata",
    0xA481: "GDAL's value for no data",
    0xC69C: "rational polynomial coefficients",
}

_RASTER_TYPE, _PIXEL_IS_POINT = 1025, 2


@dataclass(frozen=True)
class Georeference:
    """The tags of one picture.

    Attributes:
        tags: by number, values in little-endian order.
    """

    tags: Mapping[int, Tag] = field(default_factory=dict)

    def enlarged(self, scale: int) -> "Georeference":
        """Returns where the pixels lie when each has become ``scale`` by ``scale`` of them."""
        # a raster coordinate counts from the first pixel's corner, or from its middle
        shift = (scale - 1) / 2 if self._pixel_is_point() else 0.0
        changed: dict[int, Callable[[list[float]], list[float]]] = {
            _PIXEL_SCALE: lambda sizes: [size / scale for size in sizes[:2]] + sizes[2:],
            _TIE_POINTS: lambda points: [
                value * scale + shift if k % 6 < 2 else value for k, value in enumerate(points)
            ],
            _TRANSFORMATION: lambda matrix: _enlarged_matrix(matrix, scale, shift),
        }
        return Georeference(
            {number: _with(tag, changed[number]) if number in changed else tag for number, tag in self.tags.items()}
        )

    def _pixel_is_point(self) -> bool:
        keys = self.tags.get(_KEYS)
        if keys is None:
            return False
        numbers = struct.unpack(f"<{keys.count}H", keys.data)
        entries = [numbers[k : k + 4] for k in range(4, len(numbers) - 3, 4)]
        return (_RASTER_TYPE, 0, 1, _PIXEL_IS_POINT) in entries


def read_georeference(tags: Mapping[int, Tag]) -> tuple[Georeference | None, list[str]]:
    """Returns what a TIFF's tags, in little-endian order, say, or None; and what could not be taken over."""
    notes = [f"{what} (TIFF tag {number}) left out" for number, what in LEFT_OUT.items() if number in tags]
    found = {number: tags[number] for number in TAGS if number in tags}
    if not found:
        return None, notes
    whole = {_PIXEL_SCALE: 3, _TIE_POINTS: 6, _TRANSFORMATION: 16, _KEYS: 4}
    fits = all(tag.kind == TAGS[number] and tag.count % whole.get(number, 1) == 0 for number, tag in found.items())
    fits = fits and all(
        number not in found or found[number].count == whole[number] for number in (_PIXEL_SCALE, _TRANSFORMATION)
    )
    # a tag whose values lie outside the file is not among them
    if not fits or (_PIXEL_SCALE in found and _TIE_POINTS not in found):
        return None, [*notes, "the map coordinates are damaged and were left out"]
    return Georeference(found), notes


def _enlarged_matrix(m: list[float], scale: int, shift: float) -> list[float]:
    """Returns the rows of a 4x4 matrix for raster coordinates ``scale * i + shift`` in place of ``i``."""
    rows = [m[k : k + 4] for k in range(0, 16, 4)]
    enlarged = [[i / scale, j / scale, k, at - (i + j) * shift / scale] for i, j, k, at in rows[:3]]
    return [value for row in (*enlarged, rows[3]) for value in row]


def _with(tag: Tag, change: Callable[[list[float]], list[float]]) -> Tag:
    values = change(list(struct.unpack(f"<{tag.count}d", tag.data)))
    return Tag(tag.kind, tag.count, struct.pack(f"<{tag.count}d", *values))
