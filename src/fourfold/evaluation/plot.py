"""The plot of distortion against perception as SVG: PSNR to the right, naturalness (NIQE) upwards.

Blau and Michaeli 2018 showed that a method cannot be best at both; the plot shows what each one chose.
Colours come from the page, so that the plot follows its light and its dark theme.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 420, 310
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 14, 26, 40
_LABEL_PX = 7.4  # width of a letter, near enough to keep labels apart


@dataclass(frozen=True)
class Point:
    """A method's mean on a set."""

    label: str
    psnr: float
    niqe: float


def scatter(points: Sequence[Point], *, original_niqe: float | None = None) -> str:
    """Returns an SVG of the points; further right is more faithful, further up more natural.

    Args:
        points: at least one; values must be finite.
        original_niqe: drawn as a line, what the originals themselves reach.
    """
    levels = [p.niqe for p in points] + ([original_niqe] if original_niqe is not None else [])
    xs, ys = ticks(min(p.psnr for p in points), max(p.psnr for p in points)), ticks(min(levels), max(levels))
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="PSNR against NIQE" class="plot" '
        'xmlns="http://www.w3.org/2000/svg">'
    ]
    parts += [_vertical(x, _x(x, xs)) for x in xs] + [_horizontal(y, _y(y, ys)) for y in ys]
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">PSNR, dB →</text>')
    parts.append(f'<text class="axis" x="{_LEFT - 26}" y="12">NIQE ↑ more natural</text>')
    if original_niqe is not None:
        y = _y(original_niqe, ys)
        parts.append(f'<line class="original" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="note" x="{WIDTH - _RIGHT}" y="{y - 5:.1f}" text-anchor="end">originals</text>')
    placed: list[tuple[float, float, float, float]] = []
    dots = [(_x(p.psnr, xs), _y(p.niqe, ys)) for p in points]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in dots]
    for point, (x, y) in zip(points, dots, strict=True):
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        parts.append(_label(point.label, x, y, placed, taken))
    return "".join([*parts, "</svg>"])


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


def _label(
    text: str, x: float, y: float, placed: list[tuple[float, float, float, float]], dots: Sequence[tuple[float, ...]]
) -> str:
    """Returns a label beside its dot, where it covers no other label and no dot, if there is such a place."""
    width = _LABEL_PX * len(text)
    spots = [(x + 9, y + 4), (x - 9 - width, y + 4), (x - width / 2, y - 11), (x - width / 2, y + 20)]
    spots += [(x + 9, y - 9), (x + 9, y + 17), (x - 9 - width, y - 9), (x - 9 - width, y + 17)]

    def cost(spot: tuple[float, float]) -> float:
        box = (spot[0], spot[1] - 10, spot[0] + width, spot[1] + 3)
        outside = box[0] < _LEFT or box[2] > WIDTH - 2 or box[1] < _TOP - 8 or box[3] > HEIGHT - _BOTTOM
        return 10 * outside + 3 * sum(_overlap(box, b) for b in placed) + sum(_overlap(box, b) for b in dots)

    left, base = min(spots, key=cost)
    placed.append((left, base - 10, left + width, base + 3))
    return f'<text class="label" x="{left:.1f}" y="{base:.1f}">{escape(text)}</text>'


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Returns round values in even steps that enclose low and high."""
    span = max(high - low, 0.5)
    step = 10.0 ** math.floor(math.log10(span / count))
    step *= next(m for m in (1, 2, 5, 10) if span / (step * m) <= count)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(k * step, 6) for k in range(first, max(last, first + 1) + 1)]


def _x(value: float, xs: Sequence[float]) -> float:
    return _LEFT + (value - xs[0]) / (xs[-1] - xs[0]) * (WIDTH - _LEFT - _RIGHT)


def _y(value: float, ys: Sequence[float]) -> float:
    """Low NIQE is natural, so it stands at the top."""
    return _TOP + (value - ys[0]) / (ys[-1] - ys[0]) * (HEIGHT - _TOP - _BOTTOM)
