"""The plot of distortion against perception as SVG: PSNR to the right, naturalness (NIQE) upwards.

Blau and Michaeli 2018 showed that a method cannot be best at both; the plot shows what each one chose.
Colours come from the page, so that the plot follows its light and its dark theme.
"""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

WIDTH, HEIGHT = 420, 310
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 20, 28, 44
_LETTER = 9.4  # width of a letter at the size that the page has on a telephone; where there is room, it is smaller
_ABOVE, _BELOW = 12, 4  # how far letters reach from the line that they stand on
_LONGEST = 19  # letters of a label: beside a dot in the middle there is room for so many
_NEAR = 12.5  # a label that is further from its dot than those beside it could be that of another: a line leads to it

_Box = tuple[float, float, float, float]
_Dot = tuple[float, float]
_Spot = tuple[str, float, float]  # where a text starts, ends or has its middle, and the line that it stands on

#: Where the axes are written: no place for a label.
_MARGINS: list[_Box] = [(0, -HEIGHT, WIDTH, _TOP - 8), (0, HEIGHT - _BOTTOM, WIDTH, 2 * HEIGHT)]


@dataclass(frozen=True)
class Point:
    """A method's mean on a set."""

    label: str
    psnr: float
    niqe: float


@dataclass(frozen=True)
class _Text:
    """What is to be written: its class, the spots where it may stand, the best first, and its dot, if it has one."""

    kind: str
    whole: str
    spots: Sequence[_Spot]
    dot: _Dot | None = None


def scatter(points: Sequence[Point], *, original_niqe: float | None = None) -> str:
    """Returns an SVG of the points; further right is more faithful, further up more natural.

    Args:
        points: at least one; values must be finite.
        original_niqe: drawn as a line, what the originals themselves reach.
    """
    levels = [p.niqe for p in points] + ([original_niqe] if original_niqe is not None else [])
    xs, ys = ticks(min(p.psnr for p in points), max(p.psnr for p in points)), ticks(min(levels), max(levels))
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label={quoteattr(_told(points, original_niqe))} '
        'class="plot" xmlns="http://www.w3.org/2000/svg">'
    ]
    parts += [_vertical(x, _x(x, xs)) for x in xs] + [_horizontal(y, _y(y, ys)) for y in ys]
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">PSNR, dB →</text>')
    parts.append('<text class="axis" x="4" y="14">NIQE ↑ more natural</text>')
    dots = [(_x(p.psnr, xs), _y(p.niqe, ys)) for p in points]
    taken: list[_Box] = [*_MARGINS, *((x - 6, y - 6, x + 6, y + 6) for x, y in dots)]
    texts = [_Text("label", p.label, _around(*dot), dot) for p, dot in zip(points, dots, strict=True)]
    if original_niqe is not None:
        y = _y(original_niqe, ys)
        parts.append(f'<line class="original" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        taken.append((_LEFT, y - 1, WIDTH - _RIGHT, y + 1))
        ends = [("end", WIDTH - _RIGHT - 2), ("start", _LEFT + 4)]
        texts.append(_Text("note", "originals", [(anchor, x, y + down) for down in (-6, 16) for anchor, x in ends]))
    placed = _placed(texts, taken)
    parts += [_leader(text.dot, box) for text, _, box in placed]
    parts += [f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5"/>' for x, y in dots]
    parts += [_written(*one) for one in placed]
    return "".join([*parts, "</svg>"])


def _told(points: Sequence[Point], original_niqe: float | None) -> str:
    """Returns the plot in words, for those who do not see it."""
    told = [f"{p.label} {p.psnr:.2f} dB and {p.niqe:.2f}" for p in points]
    told += [f"the originals {original_niqe:.2f}"] if original_niqe is not None else []
    return f"PSNR against NIQE: {', '.join(told)}"


def _vertical(value: float, x: float) -> str:
    return (
        f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
        f'<text class="tick" x="{x:.1f}" y="{HEIGHT - _BOTTOM + 15}" text-anchor="middle">{value:g}</text>'
    )


def _horizontal(value: float, y: float) -> str:
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick" x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
    )


def _around(x: float, y: float) -> list[_Spot]:
    """Returns where a dot's label may stand, the best places first: beside it, and further away in all directions."""
    spots: list[_Spot] = [("start", x + 9, y + 5), ("end", x - 9, y + 5)]
    spots += [("middle", x, y - 12), ("middle", x, y + 21)]
    spots += [(anchor, x + a, y + b) for b in (-8, 17) for anchor, a in (("start", 7), ("end", -7))]
    for away in range(24, 120, 16):
        for part in range(16):
            across, down = math.cos(math.tau * part / 16), math.sin(math.tau * part / 16)
            anchor = "start" if across > 0.5 else "end" if across < -0.5 else "middle"
            spots.append((anchor, x + away * across, y + away * down + 5))
    return spots


def _placed(texts: Sequence[_Text], taken: Sequence[_Box]) -> list[tuple[_Text, str, _Box]]:
    """Returns texts with their anchors and boxes, where they cover least of each other and of what is there.

    Every text chooses in turn; then each chooses again, knowing where the others are.
    """
    boxes = [[(a, _box(a, x, y, _width(_shortened(text.whole)))) for a, x, y in text.spots] for text in texts]
    chosen: dict[int, tuple[str, _Box]] = {}
    for _ in range(4):
        for k, spots in enumerate(boxes):
            others = [*taken, *(box for j, (_, box) in chosen.items() if j != k)]
            ways = [_way(texts[j].dot, box) for j, (_, box) in chosen.items() if j != k]
            least = math.inf
            for n, (anchor, box) in enumerate(spots):
                cost = 3 * min(n, 8) + sum(_covered(box, other) for other in others)
                if cost < least and (cost := cost + _cost_of_way(texts[k].dot, box, others, ways)) < least:
                    least, chosen[k] = cost, (anchor, box)
    return [(text, *chosen[k]) for k, text in enumerate(texts)]


def _cost_of_way(dot: _Dot | None, box: _Box, others: Sequence[_Box], ways: Sequence[Sequence[_Dot]]) -> float:
    """Returns how bad it is what lines cross: the one from a dot to its box, and other lines that box."""
    way = _way(dot, box)
    crossed = sum(_meets(other, way) for other in others if not _meets(other, way[:1]))
    crossed += sum(_meets(box, other) for other in ways)
    return 60 * crossed + (math.dist(way[0], way[-1]) / 2 if way else 0)


def _way(dot: _Dot | None, box: _Box) -> list[_Dot]:
    """Returns points along the line that leads from a dot to the letters in a box; none where they are near."""
    if dot is None:
        return []
    end = min(max(dot[0], box[0]), box[2]), min(max(dot[1], box[1] + 3), box[3] - 3)
    if math.dist(dot, end) <= _NEAR:
        return []
    return [(dot[0] + k / 10 * (end[0] - dot[0]), dot[1] + k / 10 * (end[1] - dot[1])) for k in range(11)]


def _meets(box: _Box, way: Sequence[_Dot]) -> bool:
    return any(box[0] < x < box[2] and box[1] < y < box[3] for x, y in way)


def _leader(dot: _Dot | None, box: _Box) -> str:
    way = _way(dot, box)
    if not way:
        return ""
    (x1, y1), (x2, y2) = way[0], way[-1]
    return f'<line class="leader" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _written(text: _Text, anchor: str, box: _Box) -> str:
    shown = _shortened(text.whole)
    title = f"<title>{escape(text.whole)}</title>" if shown != text.whole else ""
    x = {"start": box[0], "middle": (box[0] + box[2]) / 2, "end": box[2]}[anchor]
    place = f'x="{x:.1f}" y="{box[3] - _BELOW:.1f}" text-anchor="{anchor}"'
    return f'<text class="{text.kind}" {place}>{title}{escape(shown)}</text>'


def _box(anchor: str, x: float, base: float, width: float) -> _Box:
    """Returns the box of a text, moved to the inside of the plot where it would run over its edge."""
    left = x - {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * width
    left = max(_LEFT + 1.0, min(left, WIDTH - 2.0 - width))
    return left, base - _ABOVE, left + width, base + _BELOW


def _covered(a: _Box, b: _Box) -> float:
    """Returns how bad it is that two boxes overlap: that they do, and how much."""
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return 60 + across * down if across > 0 and down > 0 else 0.0


def _shortened(text: str) -> str:
    """Returns a text without its middle, where it is long: names often differ at their ends."""
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]}…{text[-half:]}"


def _width(text: str) -> float:
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return _LETTER * (len(text) + wide + 0.5 * sum(letter in "MWmw" for letter in text))


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Returns round values in even steps that enclose low and high."""
    middle, span = (low + high) / 2, max(high - low, 0.5)
    low, high = middle - span / 2, middle + span / 2
    step = 10.0 ** math.floor(math.log10(span / count))
    step *= next(m for m in (1, 2, 5, 10) if span / (step * m) <= count)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(k * step, 6) for k in range(first, max(last, first + 1) + 1)]


def _x(value: float, xs: Sequence[float]) -> float:
    return _LEFT + (value - xs[0]) / (xs[-1] - xs[0]) * (WIDTH - _LEFT - _RIGHT)


def _y(value: float, ys: Sequence[float]) -> float:
    """Low NIQE is natural, so it stands at the top."""
    return _TOP + (value - ys[0]) / (ys[-1] - ys[0]) * (HEIGHT - _TOP - _BOTTOM)
