"""EXIF blocks corrected where they stand: what describes the pixels changes, and nothing moves.

The notes that cameras keep for themselves (MakerNote) hold offsets that count from the block's start, in ways that only
the makers know. Were the block written anew, they would point at something else. So values are changed in their places,
and a list that lacks a tag is written anew behind everything else.

Source: TIFF 6.0 (1992), section 2; EXIF 2.32 (2019), section 4.5.
"""

import struct
from collections.abc import Iterator
from typing import TypeVar

from fourfold.imaging.exif import (
    DEEPEST,
    EXIF_IFD,
    HEAD_BYTES,
    INTEROP_IFD,
    MAX_TAGS,
    ORIENTATION,
    PIXEL_HEIGHT,
    PIXEL_WIDTH,
    PREFIX,
    RESOLUTION_UNIT,
    SUB_IFDS,
    TYPE_BYTES,
    X_RESOLUTION,
    Y_RESOLUTION,
    Exif,
    Ifd,
    build_exif,
    fraction,
    parse_exif,
    resolution,
)

_T = TypeVar("_T")

_SHORT, _LONG, _RATIONAL, _INCH = 3, 4, 5, 2
_POINTERS = (_LONG, 13)
_WIDTH, _HEIGHT = 0x0100, 0x0101
#: The size once more, in the list of interoperability (EXIF 2.32, section 4.6.7; DCF 2.0).
_RELATED_WIDTH, _RELATED_HEIGHT = 0x1001, 0x1002
#: Where the subject is: a point, a circle or a rectangle; a point.
_SUBJECTS = (0x9214, 0xA214)
#: Pixels per unit on the camera's sensor, across and down.
_ON_SENSOR = (0xA20E, 0xA20F)
#: Where a thumbnail begins, and how long it is: as a JPEG, or uncompressed.
_THUMBNAILS = ((0x0201, 0x0202), (0x0111, 0x0117))
#: Orientations that exchange rows and columns.
QUARTER_TURNS = (5, 6, 7, 8)


def upright(block: bytes, width: int, height: int, orientation: int) -> bytes:
    """Returns the block with orientation 1 and without the thumbnail, which shows the picture unturned.

    Where the subject is, is told of the turned picture. One on its side has its horizontal and vertical resolution
    exchanged. Lists that cannot be read are left out.

    Args:
        block: with or without its prefix.
        width: of the picture before it is turned.
        height: likewise.
        orientation: that the pixels are turned by, 1 to 8; the block of a TIFF does not state it.

    Raises:
        ValueError: if the block is damaged.
    """
    changing = _Changing(block)
    main = changing.lists()[0]
    if orientation in QUARTER_TURNS:
        changing.exchange(main, X_RESOLUTION, Y_RESOLUTION)
    for settings in (ifd for ifd in changing.lists() if ifd.tag == EXIF_IFD):
        if orientation in QUARTER_TURNS:
            changing.exchange(settings, *_ON_SENSOR)
        for tag in _SUBJECTS:
            if numbers := changing.whole_numbers(settings, tag):
                changing.put_numbers(settings, tag, turned_area(numbers, orientation, width, height))
    if ORIENTATION in main.entries:
        changing.put(main, ORIENTATION, changing.whole_number(1))
    changing.leave_out_damaged()
    changing.leave_out_thumbnail()
    return changing.block()


def enlarged(block: bytes, scale: int) -> bytes:
    """Returns the block for the picture made ``scale`` times as large: where the subject is, and pixels on the sensor.

    Raises:
        ValueError: if the block is damaged.
    """
    changing = _Changing(block)
    for settings in (ifd for ifd in changing.lists() if ifd.tag == EXIF_IFD):
        for tag in _SUBJECTS:
            if numbers := changing.whole_numbers(settings, tag):
                changing.put_numbers(settings, tag, [number * scale for number in numbers])
        for tag in _ON_SENSOR:
            changing.multiply(settings, tag, scale)
    return changing.block()


def turned_point(orientation: int, from_start: tuple[_T, _T], from_end: tuple[_T, _T]) -> tuple[_T, _T]:
    """Returns where a point of a stored picture lies, across and down, once it is upright.

    Args:
        orientation: how the picture lies, 1 to 8.
        from_start: how far the point is from the left and from the top.
        from_end: how far it is from the right and from below.
    """
    (x, y), (right, below) = from_start, from_end
    turned = {
        2: (right, y),
        3: (right, below),
        4: (x, below),
        5: (y, x),
        6: (below, x),
        7: (below, right),
        8: (y, right),
    }
    return turned.get(orientation, (x, y))


def turned_area(numbers: list[int], orientation: int, width: int, height: int) -> list[int]:
    """Returns a point, and the diameter or the sides of what is around it, in the upright picture."""
    (x, y), around = numbers[:2], numbers[2:]
    point = turned_point(orientation, (x, y), (width - 1 - x, height - 1 - y))
    return [max(0, value) for value in point] + (around[::-1] if orientation in QUARTER_TURNS else around)


def corrected(block: bytes, width: int, height: int, dpi: tuple[float, float] | None) -> bytes:
    """Returns the block with the picture's size, where it states one, and its dots per inch, if there are any.

    Raises:
        ValueError: if the block is damaged.
    """
    changing = _Changing(block)
    main, *below = changing.lists()
    stated = [(main, _WIDTH, width), (main, _HEIGHT, height)]  # some programs repeat it in the main list
    for ifd in below:
        if ifd.tag == EXIF_IFD:
            stated += [(ifd, PIXEL_WIDTH, width), (ifd, PIXEL_HEIGHT, height)]
        elif ifd.tag == INTEROP_IFD:
            stated += [(ifd, _RELATED_WIDTH, width), (ifd, _RELATED_HEIGHT, height)]
    for ifd, tag, value in stated:
        if tag in ifd.entries:
            changing.put(ifd, tag, changing.whole_number(value))
    if dpi is not None and resolution(block) != dpi:
        changing.set_resolution(main, dpi)
    return changing.block()


def resolution_alone(dpi: tuple[float, float]) -> bytes:
    """Returns a block that says nothing but dots per inch."""
    changing = _Changing(build_exif(Exif("<", Ifd())))
    changing.set_resolution(changing.lists()[0], dpi)
    return changing.block()


class _List:
    """A list of tags where it stands.

    Attributes:
        tag: that points at it; 0 for the main list.
        at: where it is.
        entries: twelve bytes each, by tag.
    """

    def __init__(self, tag: int, at: int, entries: dict[int, bytes]) -> None:
        self.tag, self.at, self.entries = tag, at, entries


class _Changing:
    """A block that is being changed.

    Args:
        block: with or without its prefix.

    Raises:
        ValueError: if its main list is damaged.
    """

    def __init__(self, block: bytes) -> None:
        self._order = parse_exif(block).order
        self._data = bytearray(block.removeprefix(PREFIX))

    def block(self) -> bytes:
        """Returns the block as it is now, prefix included."""
        return PREFIX + bytes(self._data)

    def lists(self) -> list[_List]:
        """Returns the main list and those below it that can be read."""
        return [ifd for ifd, _ in self._walk(0, self._number(4), depth=0)]

    def whole_numbers(self, ifd: _List, tag: int) -> list[int]:
        """Returns two to four numbers of 16 bits; none where they are missing, of another kind or elsewhere."""
        entry = ifd.entries.get(tag, bytes(12))
        kind, count = struct.unpack_from(self._order + "2xHI", entry)
        at = struct.unpack_from(self._order + "8xI", entry)[0]
        if kind != _SHORT or not 2 <= count <= 4 or (count > 2 and at + 2 * count > len(self._data)):
            return []
        values = entry[8:] if count == 2 else bytes(self._data[at : at + 2 * count])
        return list(struct.unpack(self._order + f"{count}H", values))

    def put_numbers(self, ifd: _List, tag: int, numbers: list[int]) -> None:
        """Gives a tag that is in the list several whole numbers, of 16 bits where they suffice, else of 32."""
        kind, code = (_SHORT, "H") if max(numbers) < 65536 else (_LONG, "I")
        values = struct.pack(self._order + code * len(numbers), *numbers)
        if len(values) > 4:
            values = struct.pack(self._order + "I", self._append(values))
        self.put(ifd, tag, struct.pack(self._order + "HI", kind, len(numbers)) + values)

    def exchange(self, ifd: _List, first: int, second: int) -> None:
        """Exchanges what two tags say, where both are there."""
        if {first, second} <= ifd.entries.keys():
            self.put(ifd, first, ifd.entries[second][2:])
            self.put(ifd, second, ifd.entries[first][2:])

    def multiply(self, ifd: _List, tag: int, factor: int) -> None:
        """Multiplies a fraction, where the tag holds one."""
        kind, count, at = struct.unpack(self._order + "2xHII", ifd.entries.get(tag, bytes(12)))
        if (kind, count) != (_RATIONAL, 1) or at + 8 > len(self._data):
            return
        above, below = struct.unpack_from(self._order + "II", self._data, at)
        if above * factor < 2**32:
            above *= factor
        else:
            below = max(1, round(below / factor))
        at = self._append(struct.pack(self._order + "II", above, below))
        self.put(ifd, tag, struct.pack(self._order + "HII", _RATIONAL, 1, at))

    def whole_number(self, value: int) -> bytes:
        """Returns an entry without its tag, of 16 bits where they suffice, else of 32."""
        code = "HIH2x" if value < 65536 else "HII"
        return struct.pack(self._order + code, _SHORT if value < 65536 else _LONG, 1, value)

    def put(self, ifd: _List, tag: int, rest: bytes) -> None:
        """Gives a tag that is in the list another kind, count and value."""
        for at in self._places(ifd.at):
            if self._short(at) == tag:
                self._data[at + 2 : at + 12] = rest

    def set_resolution(self, main: _List, dpi: tuple[float, float]) -> None:
        """States dots per inch; the numbers go behind the block, since their old places may serve other tags, too."""
        entries = {RESOLUTION_UNIT: self.whole_number(_INCH)}
        for tag, value in zip((X_RESOLUTION, Y_RESOLUTION), dpi, strict=True):
            at = self._append(struct.pack(self._order + "II", *fraction(value)))
            entries[tag] = struct.pack(self._order + "HII", _RATIONAL, 1, at)
        if entries.keys() <= main.entries.keys():
            for tag, rest in entries.items():
                self.put(main, tag, rest)
            return
        whole = {tag: entry[2:] for tag, entry in self.lists()[0].entries.items()} | entries
        made = struct.pack(self._order + "H", len(whole))
        made += b"".join(struct.pack(self._order + "H", tag) + whole[tag] for tag in sorted(whole))
        self._data[4:8] = struct.pack(self._order + "I", self._append(made + bytes(4)))

    def leave_out_damaged(self) -> None:
        """Takes the pointers away that lead to no list; the entries behind them move up."""
        for ifd, damaged in list(self._walk(0, self._number(4), depth=0)):
            if not damaged:
                continue
            places = self._places(ifd.at)
            kept = [bytes(self._data[at : at + 12]) for at in places if self._short(at) not in damaged]
            end = places[-1] + 12
            following = bytes(self._data[end : end + 4])
            made = struct.pack(self._order + "H", len(kept)) + b"".join(kept) + following
            self._data[ifd.at : end + len(following)] = made.ljust(end + len(following) - ifd.at, b"\0")

    def leave_out_thumbnail(self) -> None:
        """Takes the pointer to the thumbnail's list away, and blanks both where nothing else lies; cuts off the end."""
        at = self._number(4)
        end = at + 2 + 12 * self._short(at)
        thumbnail = self._number(end) if end + 4 <= len(self._data) else 0
        self._data[end : end + 4] = bytes(min(4, len(self._data) - end))
        used = [span for ifd in self.lists() for span in self._spans(ifd.at)]
        if thumbnail:
            for start, stop in self._thumbnail_spans(thumbnail):
                if not any(start < taken_stop and taken_start < stop for taken_start, taken_stop in used):
                    self._data[start:stop] = bytes(stop - start)
        last = max(stop for _, stop in used)
        if not any(self._data[last:]):
            del self._data[last:]

    def _append(self, data: bytes) -> int:
        """Puts bytes behind the block; returns where they are, an even number."""
        self._data += bytes(len(self._data) % 2)
        self._data += data
        return len(self._data) - len(data)

    def _walk(self, tag: int, at: int, depth: int) -> Iterator[tuple[_List, set[int]]]:
        """Yields a list and those below it, each with its tags that point at no list.

        Raises:
            ValueError: if this list is damaged.
        """
        if depth > DEEPEST:
            raise ValueError("lists of tags go round in a circle")
        entries = {self._short(place): bytes(self._data[place : place + 12]) for place in self._places(at)}
        damaged: set[int] = set()
        below: list[tuple[_List, set[int]]] = []
        for number in sorted(SUB_IFDS.keys() & entries.keys()):
            kind, pointed = struct.unpack_from(self._order + "2xH4xI", entries[number])
            if kind not in _POINTERS:
                continue
            try:
                below += self._walk(number, pointed, depth + 1)
            except ValueError:
                damaged.add(number)
        yield _List(tag, at, entries), damaged
        yield from below

    def _thumbnail_spans(self, at: int) -> list[tuple[int, int]]:
        """Returns from where to where the thumbnail and its list lie, as far as they can be read."""
        try:
            places = self._places(at)
        except ValueError:
            return []
        values = {self._short(place): self._single(place) for place in places}
        spans = self._spans(at)
        for first, length in _THUMBNAILS:
            start, size = values.get(first), values.get(length)
            if start and size and start + size <= len(self._data):
                spans.append((start, start + size))
        return spans

    def _spans(self, at: int) -> list[tuple[int, int]]:
        """Returns from where to where a list lies, and each of its values that does not fit into it."""
        places = self._places(at)
        spans = [(at, min(len(self._data), at + 2 + 12 * len(places) + 4))]
        for place in places:
            size = TYPE_BYTES.get(self._short(place + 2), 0) * self._number(place + 4)
            start = self._number(place + 8)
            if size > 4 and start + size <= len(self._data):
                spans.append((start, start + size))
        return spans

    def _places(self, at: int) -> list[int]:
        """Returns where a list's entries are.

        Raises:
            ValueError: if the list lies outside the block.
        """
        count = self._short(at) if HEAD_BYTES <= at <= len(self._data) - 2 else MAX_TAGS + 1
        if count > MAX_TAGS or at + 2 + 12 * count > len(self._data):
            raise ValueError("a list of tags lies outside the block")
        return [at + 2 + 12 * k for k in range(count)]

    def _single(self, place: int) -> int:
        """Returns the value of an entry that is one whole number, else 0."""
        if self._number(place + 4) != 1:
            return 0
        return {_SHORT: self._short, _LONG: self._number}.get(self._short(place + 2), lambda _: 0)(place + 8)

    def _short(self, at: int) -> int:
        return int(struct.unpack_from(self._order + "H", self._data, at)[0])

    def _number(self, at: int) -> int:
        return int(struct.unpack_from(self._order + "I", self._data, at)[0])
