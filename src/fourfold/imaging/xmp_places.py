"""Places in the picture, and what else is counted in its pixels, as XMP states them: turned and enlarged."""

import re
from collections.abc import Callable, Sequence

from fourfold.imaging.exif_corrections import QUARTER_TURNS, turned_area, turned_point
from fourfold.imaging.xmp_patterns import element_pattern, number_pattern

#: Regions, such as faces, in parts of the picture's sides: the middle, and the size (Metadata Working Group, Guidelines
#: for Handling Image Metadata 2.0, 2010, section 5.9).
_REGION = element_pattern("mwg-rs:Area")
_OF_REGION = {name: number_pattern(f"stArea:{name}", "([0-9]*\\.?[0-9]+(?:[eE][+-]?[0-9]+)?)") for name in "xywh"}
_NUMBER = "([0-9.eE+-]{1,30})"
#: A region of Microsoft's: its left upper corner and its sides, in parts of the picture's (Microsoft, People Tagging).
_RECTANGLE = number_pattern("MPReg:Rectangle", r"\s*,\s*".join([_NUMBER] * 4))
#: IPTC's image regions, in parts of the picture's sides or in pixels: a rectangle by its left upper corner and its
#: sides, a circle by its middle and its radius, which counts in widths, a polygon by its corners (IPTC Photo Metadata
#: Standard 2019.1, Region Boundary).
_BOUNDARY, _IN_PIXELS = element_pattern("Iptc4xmpExt:RegionBoundary"), number_pattern("Iptc4xmpExt:rbUnit", "pixel")
#: A packet with more of them has been made to keep somebody busy.
_BEGINNING, _MOST_BOUNDARIES = b"<Iptc4xmpExt:RegionBoundary", 1000
_OF_BOUNDARY = {name: number_pattern(f"Iptc4xmpExt:rb{name}", _NUMBER) for name in ("X", "Y", "W", "H", "Rx")}
#: Where the subject is, in pixels (Adobe, XMP Specification, part 2, section 3.3), two to four numbers as EXIF has it.
_SUBJECT = re.compile(
    rb"<exif:Subject(?:Area|Location)\b[^<>]{0,200}>\s*<rdf:Seq>\s*(?:<rdf:li>\s*[0-9]{1,9}\s*</rdf:li>\s*){2,4}</rdf:Seq>"
)
_ITEM = re.compile(rb"(<rdf:li>\s*)([0-9]+)")
#: Dots per length, across and down.
_RESOLUTIONS = [number_pattern(f"tiff:{axis}Resolution", "([0-9]{1,10}(?:/[0-9]{1,10})?)") for axis in "XY"]
#: A panorama's size, and that of what it is cut from (Google, Photo Sphere XMP Metadata).
_PANORAMA = number_pattern("GPano:[A-Za-z]{1,40}Pixels", "([0-9]{1,9})")


def turned_places(text: bytes, orientation: int, width: int, height: int) -> tuple[bytes, list[str]]:
    """Returns a packet's text with places where they are once the picture is turned, and notes on those left.

    Args:
        text: in UTF-8.
        orientation: that the pixels were turned by, as EXIF counts them, 2 to 8.
        width: of the picture before it was turned.
        height: likewise.
    """
    boundaries = [0]

    def boundary(region: re.Match[bytes]) -> bytes:
        turned = _turned_boundary(region[0], orientation, width, height)
        boundaries[0] += turned is not None
        return region[0] if turned is None else turned

    if orientation in QUARTER_TURNS:
        text = _exchanged(text, *_RESOLUTIONS)
    text = _REGION.sub(lambda region: _turned(region[0], orientation), text)
    text = _RECTANGLE.sub(lambda rectangle: _turned_rectangle(rectangle, orientation), text)
    text = _with_subjects(text, lambda numbers: turned_area(numbers, orientation, width, height))
    if text.count(_BEGINNING) <= _MOST_BOUNDARIES:
        text = _BOUNDARY.sub(boundary, text)
    left = text.count(_BEGINNING) - boundaries[0]
    return text, [f"{left} of IPTC's image regions in XMP stay where they were before the picture was turned"] * (
        left > 0
    )


def enlarged_places(text: bytes, scale: int) -> bytes:
    """Returns a packet's text with what it counts in pixels ``scale`` times as large."""

    def boundary(region: re.Match[bytes]) -> bytes:
        part = region[0]
        if not _IN_PIXELS.search(part):
            return part
        for pattern in _OF_BOUNDARY.values():
            part = _put(part, pattern, [scale * value for value in _values(part, pattern)])
        return part

    text = _with_subjects(text, lambda numbers: [number * scale for number in numbers])
    if _IN_PIXELS.search(text) and text.count(_BEGINNING) <= _MOST_BOUNDARIES:
        text = _BOUNDARY.sub(boundary, text)
    return _PANORAMA.sub(lambda number: number[1] + b"%d" % (int(number[2]) * scale), text)


def _turned(region: bytes, orientation: int) -> bytes:
    """Returns a region where it lies in the upright picture; as it is where it is no rectangle of numbers."""
    found = {name: match[2] for name, pattern in _OF_REGION.items() if (match := pattern.search(region))}
    if not {"x", "y"} <= found.keys():
        return region
    from_start = found["x"], found["y"]
    right, below = (b"%.6g" % (1.0 - float(value)) for value in from_start)
    across, down = turned_point(orientation, from_start, (right, below))
    put = {"x": across, "y": down}
    if orientation in QUARTER_TURNS and {"w", "h"} <= found.keys():
        put |= {"w": found["h"], "h": found["w"]}
    for name, value in put.items():
        region = _OF_REGION[name].sub(rb"\g<1>" + value, region)
    return region


def _turned_rectangle(rectangle: re.Match[bytes], orientation: int) -> bytes:
    """Returns a rectangle, by its corner and its sides, where it lies in the upright picture."""
    try:
        x, y, w, h = (float(value) for value in rectangle.groups()[1:])
    except ValueError:
        return rectangle[0]
    corner = turned_point(orientation, (x, y), (1.0 - x - w, 1.0 - y - h))
    sides = (h, w) if orientation in QUARTER_TURNS else (w, h)
    return rectangle[1] + b", ".join(map(_written, (*corner, *sides)))


def _turned_boundary(region: bytes, orientation: int, width: int, height: int) -> bytes | None:
    """Returns one of IPTC's regions where it lies in the upright picture; None where it is none of the three kinds."""
    right, below = (float(width), float(height)) if _IN_PIXELS.search(region) else (1.0, 1.0)
    x, y, w, h, radius = (_values(region, pattern) for pattern in _OF_BOUNDARY.values())
    rectangle = len(x) == len(y) == len(w) == len(h) == 1
    if not x or len(x) != len(y) or not (rectangle or not w + h):
        return None
    across, down = (w[0], h[0]) if rectangle else (0.0, 0.0)
    points = [
        turned_point(orientation, (left, top), (right - left - across, below - top - down))
        for left, top in zip(x, y, strict=True)
    ]
    x, y = [point[0] for point in points], [point[1] for point in points]
    if orientation in QUARTER_TURNS:
        w, h = h, w
        radius = [value * width / height if right == 1.0 else value for value in radius]
    for pattern, values in zip(_OF_BOUNDARY.values(), (x, y, w, h, radius), strict=True):
        region = _put(region, pattern, values)
    return region


def _values(text: bytes, pattern: re.Pattern[bytes]) -> list[float]:
    """Returns the numbers that a pattern finds; none where one of them is none."""
    try:
        return [float(match[2]) for match in pattern.finditer(text)]
    except ValueError:
        return []


def _put(text: bytes, pattern: re.Pattern[bytes], values: Sequence[float]) -> bytes:
    """Returns the text with other numbers in place of those that a pattern finds, if there are any."""
    left = iter(values)
    return pattern.sub(lambda match: match[1] + _written(next(left)), text) if values else text


def _written(value: float) -> bytes:
    return b"%.10g" % (round(value, 6) + 0.0)


def _with_subjects(text: bytes, change: Callable[[list[int]], list[int]]) -> bytes:
    """Returns the text with other numbers for where the subject is, as many of them."""

    def changed(subject: re.Match[bytes]) -> bytes:
        numbers = iter(change([int(item[2]) for item in _ITEM.finditer(subject[0])]))
        return _ITEM.sub(lambda item: item[1] + b"%d" % next(numbers), subject[0])

    return _SUBJECT.sub(changed, text)


def _exchanged(text: bytes, first: re.Pattern[bytes], second: re.Pattern[bytes]) -> bytes:
    """Returns the text with what two properties say exchanged, where both are there."""
    across, down = first.search(text), second.search(text)
    if across is None or down is None:
        return text
    return second.sub(rb"\g<1>" + across[2], first.sub(rb"\g<1>" + down[2], text))
