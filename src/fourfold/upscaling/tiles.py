"""Exact tiles: how a picture is cut so that every pixel is computed as it would be from the whole picture.

A tile's *window* is what the network reads, its *core* what is kept of the result. Between the edge of a core and
the edge of its window lie at least ``halo`` pixels, except where the window's edge is the picture's own: there the
network pads with zeros in both cases. All windows of a picture have one size, so that an engine prepares for one
shape only.
"""

from dataclasses import dataclass

from fourfold.errors import UsageError
from fourfold.upscaling.graph import Graph
from fourfold.weights import WeightsFile, locate, shipped_names

#: Halo of the shipped networks for 8-bit pictures. Their receptive field reaches 40 pixels, but what lies far away
#: hardly counts: with 24 pixels no value differs from the whole picture's by more than 0.01/255 in fp32
#: (benchmarks/halo.py), nor by more than a step of rounding in bf16 (two steps in noise, less than bf16 errs by itself;
#: tests/upscaling/test_halo.py holds every shipped network to it). Tiles of 424 pixels then cost 1.27 times the whole
#: picture's work instead of 1.52 times. Deeper pictures would show it in their last bits, and get the whole field.
SHIPPED_HALO_PX = 24


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in pixels of the picture before upscaling.

    Attributes:
        start, stop: the window.
        core_start, core_stop: the part of it that is kept.
    """

    start: int
    stop: int
    core_start: int
    core_stop: int


@dataclass(frozen=True)
class Grid:
    """The tiles of a picture: every span of rows with every span of columns."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    @property
    def tiles(self) -> int:
        """How many tiles there are."""
        return len(self.rows) * len(self.columns)

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of every window."""
        row, column = self.rows[0], self.columns[0]
        return row.stop - row.start, column.stop - column.start

    @property
    def window_px(self) -> int:
        """Area of every window."""
        height, width = self.window
        return height * width

    @property
    def computed_px(self) -> int:
        """Pixels that the network reads in all; the picture's own plus the halos."""
        return self.tiles * self.window_px


def sufficient_halo_px(graph: Graph, *made_of: WeightsFile) -> int:
    """Returns the halo for 8-bit pictures of a network made of these files: measured for shipped ones, else all."""
    shipped = {locate(name) for name in shipped_names()}
    return min(SHIPPED_HALO_PX, graph.halo_px) if all(file.path in shipped for file in made_of) else graph.halo_px


def spans(length: int, count: int, halo_px: int, first: int = 0, max_core_px: int | None = None) -> tuple[Span, ...]:
    """Returns about ``count`` spans with windows of one size whose cores cover ``first..length`` without overlap.

    Args:
        length: of the axis.
        count: how many; the last windows may overlap more than the halo asks for.
        halo_px: pixels that a core keeps from the inner edges of its window.
        first: where the cores begin; the windows may reach back from there by the halo.
        max_core_px: longest core; a picture's first and last could be longer by the halo that they do not need.
    """
    begin = max(0, first - halo_px)
    reach = length - begin
    window = min(reach, -(-(reach + 2 * halo_px * (count - 1)) // count))
    found: list[Span] = []
    core_start = first
    while core_start < length:
        start = min(max(begin, core_start - halo_px), length - window)
        stop = start + window
        core_stop = length if stop == length else stop - halo_px
        if max_core_px is not None:
            core_stop = min(core_stop, core_start + max_core_px)
        found.append(Span(start, stop, core_start, core_stop))
        core_start = core_stop
    return tuple(found)


def plan(
    height: int, width: int, halo_px: int, max_window_px: int, max_rows_px: int | None = None, first_row: int = 0
) -> Grid:
    """Returns the grid that computes the fewest pixels with windows of at most ``max_window_px`` pixels.

    Args:
        height: of the picture.
        width: of the picture.
        halo_px: see :func:`spans`.
        max_window_px: area of a window; at the least, a window holds one pixel and its halo.
        max_rows_px: pixels of one row of cores, over the full width: bounds what a stream keeps at once.
        first_row: rows before it are finished already.

    Raises:
        UsageError: for an empty picture.
    """
    if height < 1 or width < 1:
        raise UsageError(f"cannot upscale a picture of {width}x{height} pixels")
    best: Grid | None = None
    max_core_px = None if max_rows_px is None else max(1, max_rows_px // width)
    least_rows_px = _least_rows_px(height, halo_px, first_row, max_core_px)
    for column_count in _counts(width):
        columns = spans(width, column_count, halo_px)
        column_px = columns[0].stop - columns[0].start
        least_px = _least_px(width, column_px, halo_px) * least_rows_px
        if best is not None and best.window_px <= max_window_px and least_px >= best.computed_px:
            break  # narrower ones repeat even more; tried to the last, those of a very wide picture would be millions
        tall = max(1, max_window_px // column_px)
        grid = Grid(_rows(height, halo_px, tall, first_row, max_core_px), columns)
        if best is None or _better(grid, best, max_window_px):
            best = grid
        if column_px <= 2 * halo_px + 1:
            break
    assert best is not None
    return best


def _least_px(length: int, window_px: int, halo_px: int) -> int:
    """Returns how many pixels along an axis windows of this size, and all smaller ones, read at the least."""
    if window_px >= length:
        return length
    # n windows keep n * (window - 2 * halo) + 2 * halo pixels at the most
    return max(length, -(-(length - 2 * halo_px) * window_px // (window_px - 2 * halo_px)))


def _least_rows_px(height: int, halo_px: int, first: int, max_core_px: int | None) -> int:
    """Returns how many rows all windows of one column read at the least, however tall they are."""
    if max_core_px is None:
        return height - first
    reach = height - max(0, first - halo_px)
    return max(height - first, -(-(height - first) // max_core_px) * min(reach, 2 * halo_px + 1))


def _better(grid: Grid, best: Grid, max_window_px: int) -> bool:
    fits = grid.window_px <= max_window_px
    if fits != (best.window_px <= max_window_px):
        return fits
    if not fits:
        return grid.window_px < best.window_px
    return grid.computed_px < best.computed_px


def _counts(length: int) -> list[int]:
    """Returns the numbers of tiles to try along an axis: all small ones, then in growing steps."""
    counts, count = [], 1
    while count <= length:
        counts.append(count)
        count += max(1, count // 16)
    return counts


def _rows(height: int, halo_px: int, tall: int, first: int, max_core_px: int | None) -> tuple[Span, ...]:
    """Returns the fewest spans of rows whose windows are at most ``tall``, or the smallest windows there can be."""
    reach = height - max(0, first - halo_px)
    useful = max(1, tall - 2 * halo_px)
    if max_core_px is not None:
        useful = min(useful, max_core_px)
        tall = min(tall, max_core_px + 2 * halo_px)
    count = 1 if tall >= reach else max(1, -(-(reach - 2 * halo_px) // useful))
    return spans(height, count, halo_px, first, max_core_px)
