"""The upscaler: a network, an engine and exact tiles behind one call."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import CancelledError, EngineError, PictureError, UsageError
from fourfold.imaging import RowSource, to_integers, to_unit
from fourfold.imaging.arrays import checked_pixels, range_problem
from fourfold.upscaling import luma
from fourfold.upscaling.engines import Engine, OutOfMemoryError, create
from fourfold.upscaling.ensemble import mean_over_turns
from fourfold.upscaling.folding import folded
from fourfold.upscaling.graph import Convolution, Graph
from fourfold.upscaling.interpolation import interpolate
from fourfold.upscaling.sizes import parse_size
from fourfold.upscaling.tiles import Grid, Span, plan, sufficient_halo_px
from fourfold.weights import WeightsFile, default_name, faithful_end, load_weights

_Made = TypeVar("_Made")

Progress = Callable[[int, int], None]
Cancelled = Callable[[], bool]

#: BT.601 luma in full range, for what a colour network makes of a grey picture.
_GREY = np.array([0.299, 0.587, 0.114], np.float32)

#: float32 copies of a tile's output that exist at once beside the network's own tensors.
_END_COPIES = 4

#: What a network makes of less is mostly of the zeros around it: of one white pixel, it makes grey ones.
_LEAST_SIDE_PX = 16

#: How much more work tiles may be that read all that the network sees.
_MOST_FOR_EXACT = 1.5

#: Larger windows bring nothing and delay progress and cancelling.
_MAX_WINDOW_PX = 512 * 512


class ArraySource:
    """An array in memory as a row source; (H, W, 1) or (H, W, 3)."""

    def __init__(self, array: NDArray[Any], white: float = 1.0) -> None:
        self.height, self.width, self.channels = array.shape
        self.dtype, self.white = array.dtype, white
        self._array = array

    def read(self, top: int, bottom: int) -> NDArray[Any]:
        """Returns rows ``top`` to ``bottom``."""
        return self._array[top:bottom]


class Upscaler:
    """Upscales pictures with one network on one engine. Several threads may use it at once.

    Args:
        weights: a loaded weights file.
        engine: "auto", "openvino" or "torch".
        precision: "auto", "fp32" or "bf16"; "auto" is fp32 for all but 8-bit pictures, see :meth:`precision_for`.
        max_memory: bytes that upscaling may take on top of what the engine holds at start, or text such as "1G".
        ensemble: give the mean over the eight turned and mirrored versions of a picture, in eight times the time.
        made_of: the files that interpolated weights were made of, if they were.

    Attributes:
        name: of the model.
        scale: how many times as large the result is, 4 for the shipped models.
        engine: "openvino" or "torch".
        precision: "fp32" or "bf16": of 8-bit pictures; of others, see :meth:`precision_for`.
        device: "cpu", "cuda"...
        weights: the weights file.
        ensemble: whether results are means over eight versions of the picture.
        halo_px: what a tile of an 8-bit picture reads beyond its edges; of a deeper one, as far as the network sees.
        max_window_px: largest tile, halo included; follows from ``max_memory`` whenever that is set.

    Raises:
        UsageError: for an unknown engine or precision, or a limit that is no size.
        EngineError: if the engine cannot run here.
    """

    def __init__(
        self,
        weights: WeightsFile,
        *,
        engine: str = "auto",
        precision: str = "auto",
        max_memory: int | str | None = None,
        ensemble: bool = False,
        made_of: Sequence[WeightsFile] = (),
    ) -> None:
        self.weights = weights
        self.ensemble = ensemble
        self.name = weights.config.name or weights.path.stem
        max_memory = parse_size(max_memory)  # a wrong option is told before the engine is made
        self._graph: Graph = folded(weights)
        made_of = made_of or (weights,)
        self.made_of = tuple(made_of)
        self._engine: Engine = create(self._graph, engine, precision)
        self._exact: _OnDemand[Engine] = _OnDemand()
        self._companion: _OnDemand[Upscaler] = _OnDemand()
        self._fits_depth = precision == "auto"
        self.scale = self._graph.scale
        self.halo_px = sufficient_halo_px(self._graph, *made_of)
        self._reach_px = self._graph.halo_px
        self.max_memory = max_memory
        self.engine, self.precision, self.device = self._engine.name, self._engine.precision, self._engine.device

    def precision_for(self, dtype: Any) -> str:
        """Returns the precision that pictures of a dtype are computed in.

        With "auto", bf16 is for 8-bit pictures alone: its results have no finer steps than they.
        """
        return "fp32" if self._fits_depth and np.dtype(dtype) != np.uint8 else self.precision

    @property
    def max_memory(self) -> int:
        """Bytes that upscaling may take; when it is set, the tiles of the pictures that follow are fitted to it."""
        return self._max_memory

    @max_memory.setter
    def max_memory(self, size: int | str | None) -> None:
        # within a call, a part of the work may be given less than parse_size() takes for a whole
        size = size if isinstance(size, int) and size > 0 else parse_size(size)
        self.max_window_px = self._fitting_window_px(size, self._engine.precision)
        self._max_memory = size

    def __call__(
        self,
        array: NDArray[Any],
        *,
        white: float = 1.0,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
    ) -> NDArray[Any]:
        """Returns the picture ``scale`` times as large, in the dtype and the number of axes that it came in.

        Args:
            array: (H, W, 3), (H, W) or (H, W, 1); RGB; uint8, uint16, or float32 in 0..1.
            white: of a picture with highlights, ``metadata.white``: there are none where the source has none.
            progress: called with the finished and all tiles.
            cancelled: asked before every tile.

        Raises:
            PictureError: for another shape or dtype, an empty or masked picture, values that are not in 0..1.
            CancelledError: once ``cancelled`` returns True.
            EngineError: if the engine fails.
        """
        picture = _check(array)
        height, width, channels = picture.shape
        result = np.empty((height * self.scale, width * self.scale, channels), picture.dtype)
        row = 0
        for band in self.stream(ArraySource(picture, white), progress=progress, cancelled=cancelled):
            result[row : row + len(band)] = band
            row += len(band)
        return result[:, :, 0] if array.ndim == 2 else result

    def stream(
        self, source: RowSource, *, progress: Progress | None = None, cancelled: Cancelled | None = None
    ) -> Iterator[NDArray[Any]]:
        """Yields the upscaled picture in bands of rows, top to bottom, (rows, scale * width, channels).

        Memory stays within ``max_memory`` whatever the picture's size: rows are read when they are needed and
        forgotten afterwards. Where the memory does not suffice after all, tiles are halved and the work goes on.

        Raises:
            As calling the upscaler.
        """
        rows = _Rows(source)
        engine, window_px = self._engine_for(source.dtype)
        grid = self._plan(source, window_px)
        done, band, total = 0, 0, grid.tiles
        while band < len(grid.rows):
            span = grid.rows[band]
            rows.need(span)
            try:
                parts = []
                for column in grid.columns:
                    if cancelled is not None and cancelled():
                        raise CancelledError("stopped")
                    parts.append(self._tile(engine, rows.window(column), span, column, source))
                    done += 1
                    if progress is not None:
                        progress(done, total)
            except OutOfMemoryError:
                window_px //= 2
                if window_px < 64:
                    raise
                done -= len(parts)
                grid, band = self._plan(source, window_px, span.core_start, span.start), 0
                total = done + grid.tiles
                continue
            band += 1
            yield parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _plan(self, source: RowSource, window_px: int, first_row: int = 0, kept_row: int = 0) -> Grid:
        window_px = _unpadded_px(window_px, source.height, source.width)
        rows_px = self._rows_px(self.max_memory, source.channels, source.dtype)
        return self._grid(source.height, source.width, source.dtype, window_px, rows_px, first_row, kept_row)

    def _grid(
        self,
        height: int,
        width: int,
        dtype: Any,
        window_px: int,
        rows_px: int,
        first_row: int = 0,
        kept_row: int = 0,
    ) -> Grid:
        """Returns the tiles; of deeper pictures than 8 bits, they read all that the network sees where it fits.

        Args:
            height: of the picture.
            width: of the picture.
            dtype: of the picture.
            window_px: area of a window.
            rows_px: pixels of one row of cores.
            first_row: rows before it are finished already.
            kept_row: rows before it are gone, and cannot be read again.
        """
        quick = plan(height, width, self.halo_px, window_px, rows_px, first_row)
        if np.dtype(dtype) == np.uint8 or self._reach_px <= self.halo_px:
            return quick
        exact = plan(height, width, self._reach_px, window_px, rows_px, first_row)
        fits = exact.window_px <= max(window_px, quick.window_px) and exact.rows[0].start >= kept_row
        return exact if fits and exact.computed_px <= _MOST_FOR_EXACT * quick.computed_px else quick

    def _rows_px(self, memory: int, channels: int, dtype: Any) -> int:
        """Returns how large a band may be: its output and the rows it is made of may take a quarter of the memory."""
        bytes_per_px = (2 * self.scale**2 + 1) * channels * np.dtype(dtype).itemsize
        return int(memory // 4 // bytes_per_px)

    def repeats(self, height: int, width: int, dtype: Any, memory: int, channels: int = 3) -> float:
        """Returns how often the network does the work of a picture's pixel within so many bytes, halos counted."""
        window_px = _unpadded_px(self._fitting_window_px(memory, self.precision_for(dtype)), height, width)
        rows_px = self._rows_px(memory, channels, dtype)
        return self._grid(height, width, dtype, window_px, rows_px).computed_px / (height * width)

    def _engine_for(self, dtype: Any) -> tuple[Engine, int]:
        """Returns the engine for pictures of a dtype, and the largest window that it may be given."""
        if self.precision_for(dtype) == self.precision:
            return self._engine, self.max_window_px
        left = max(self._max_memory - self.engine_bytes, self._max_memory // 2)
        return self._exact_engine(), min(self.max_window_px, self._fitting_window_px(left, "fp32"))

    @property
    def engine_bytes(self) -> int:
        """What an engine that comes after the start holds: its weights about three times, measured."""
        return 4 * sum(node.weight.nbytes for node in self._graph.nodes if isinstance(node, Convolution))

    def companion(self, make: "Callable[[str, str], Upscaler]") -> "Upscaler":
        """Returns another upscaler, made once for this one and all its copies.

        Args:
            make: called with the name of this one's engine and the precision that this one was asked for.
        """
        asked = "auto" if self._fits_depth else self.precision
        return self._companion.get(lambda: make(self.engine, asked))

    def _exact_engine(self) -> Engine:
        return self._exact.get(lambda: create(self._graph, self.engine, "fp32"))

    def _fitting_window_px(self, memory: int, precision: str) -> int:
        bytes_per_value = 2 if precision == "bf16" else 4
        inside = self._graph.peak_values(in_place=self._engine.name == "openvino") * bytes_per_value
        ends = (_END_COPIES + int(self.ensemble)) * 3 * self.scale**2 * 4  # a mean needs a sum
        return max(64, min(_MAX_WINDOW_PX, int(memory * 0.6 / (inside + ends))))

    def _tile(self, engine: Engine, window: NDArray[Any], row: Span, column: Span, source: RowSource) -> NDArray[Any]:
        """Returns the core of one tile, upscaled, in the source's dtype."""
        unit = to_unit(window)
        rgb = np.repeat(unit, 3, axis=2) if source.channels == 1 else unit
        rgb, top, left = _large_enough(rgb, source)
        sr = self._run(engine, rgb)
        if source.white < 1.0:
            sr = _without_new_highlights(sr, rgb, source.white, self.scale)
        s = self.scale
        sr = sr[
            (top + row.core_start - row.start) * s : (top + row.core_stop - row.start) * s,
            (left + column.core_start - column.start) * s : (left + column.core_stop - column.start) * s,
        ]
        if source.channels == 1:
            sr = (sr @ _GREY)[..., None]
        if np.issubdtype(source.dtype, np.integer):
            return np.asarray(to_integers(sr, source.dtype))
        return np.clip(sr, 0.0, 1.0).astype(source.dtype, copy=False)

    def _run(self, engine: Engine, rgb: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns a window through the network; once more in fp32 where bf16 gave NaN or infinity."""
        sr = self._restore(engine, rgb)
        if _is_finite(sr):
            return sr
        if engine is self._engine and self.precision != "fp32":
            sr = self._restore(self._exact_engine(), rgb)
            if _is_finite(sr):
                return sr
        if not np.isfinite(rgb).all():
            raise PictureError("the picture holds NaN or infinity; its values must lie in 0..1")
        raise EngineError(f"{self.name} gives NaN or infinity for this picture, in fp32 too; its weights are damaged")

    def _restore(self, engine: Engine, rgb: NDArray[np.float32]) -> NDArray[np.float32]:
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are looked for afterwards
            if self.ensemble:
                return mean_over_turns(lambda turned: luma.run(engine, self._graph, turned), rgb)
            return luma.run(engine, self._graph, rgb)


class _OnDemand(Generic[_Made]):
    """Something that is made when it is first needed: once, for all threads and for copies of its upscaler."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: _Made | None = None

    def get(self, make: Callable[[], _Made]) -> _Made:
        """Returns it; ``make`` is called the first time."""
        with self._lock:
            if self._made is None:
                self._made = make()
            return self._made


class _Rows:
    """The rows of a source that are still needed."""

    def __init__(self, source: RowSource) -> None:
        self._source = source
        self._top = 0
        self._kept = np.empty((0, source.width, source.channels), source.dtype)
        self._span: Span | None = None

    def need(self, span: Span) -> None:
        """Reads up to the span's end and forgets what lies before its start."""
        bottom = self._top + len(self._kept)
        kept = self._kept[max(0, span.start - self._top) :]
        if span.stop > bottom:
            kept = np.concatenate([kept, self._source.read(bottom, span.stop)])
        self._top, self._kept, self._span = span.start, kept, span

    def window(self, column: Span) -> NDArray[Any]:
        """Returns the current span's rows in a span of columns."""
        assert self._span is not None
        return self._kept[: self._span.stop - self._span.start, column.start : column.stop]


def load(
    model: str | Path | None = None,
    *,
    engine: str = "auto",
    precision: str = "auto",
    fidelity: float | None = None,
    faithful: str | Path | None = None,
    max_memory: int | str | None = None,
    ensemble: bool = False,
) -> Upscaler:
    """Returns an upscaler, ready to be called with pictures.

    Args:
        model: a shipped name such as "srgan-plus", or a weights file; None for the best shipped one.
        engine: "auto", "openvino" (CPU) or "torch" (CUDA, MPS, CPU).
        precision: "auto" (bf16 for 8-bit pictures where the processor has it, else fp32), "fp32" or "bf16".
        fidelity: 0 (``model`` itself) to 1 (the faithful network); None is ``model`` itself.
        faithful: the faithful network, a name or a file; None is the shipped one that ``model`` began from.
        max_memory: bytes, or text such as "1G"; what upscaling may take beyond what the engine holds at start.
        ensemble: give the mean over the eight turned and mirrored versions of a picture: nearer to the original, in
            eight times the time; of photo-realistic models, softer.

    Raises:
        UnknownModelError: if there is no such model.
        WeightsError: if a weights file is damaged.
        UsageError: for a wrong option.
        EngineError: if the engine cannot run here.
    """
    weights, made_of = resolve(model, fidelity=fidelity, faithful=faithful)
    return Upscaler(
        weights, engine=engine, precision=precision, max_memory=max_memory, ensemble=ensemble, made_of=made_of
    )


def resolve(
    model: str | Path | None = None, *, fidelity: float | None = None, faithful: str | Path | None = None
) -> tuple[WeightsFile, list[WeightsFile]]:
    """Returns the weights that a model and a fidelity name, and the files that they are made of.

    Raises:
        UnknownModelError: if there is no such model.
        WeightsError: if a weights file is damaged.
        UsageError: for a fidelity out of range, networks that do not fit, or a faithful one without a fidelity.
    """
    weights = load_weights(model if model is not None else default_name())
    if fidelity is None:
        if faithful is not None:
            raise UsageError("a faithful network is named without a fidelity; give a fidelity from 0 to 1")
        return weights, [weights]
    other = load_weights(faithful_end(weights.path) if faithful is None else faithful)
    return interpolate(weights, other, fidelity), [weights, other]


def _is_finite(sr: NDArray[np.float32]) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(sr.sum()))


def _without_new_highlights(
    sr: NDArray[np.float32], rgb: NDArray[np.float32], white: float, scale: int
) -> NDArray[np.float32]:
    """Returns the result with nothing beyond white that is brighter than all of the source around it.

    Beyond white, values stand for their logarithms: where a network overshoots beside a bright edge by a hundredth, as
    all of them do, it would make a lamp of it.
    """
    around = np.pad(rgb, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = np.maximum(np.maximum(around[:-2], around[1:-1]), around[2:])
    brightest = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    ceiling = np.maximum(brightest, np.float32(white))
    return np.minimum(sr, ceiling.repeat(scale, axis=0).repeat(scale, axis=1))


def _unpadded_px(window_px: int, height: int, width: int) -> int:
    """Returns how many of a window's pixels are the picture's own, where it is so thin that edges are repeated."""
    for side in (height, width):
        window_px = window_px * min(side, _LEAST_SIDE_PX) // _LEAST_SIDE_PX
    return max(1, window_px)


def _large_enough(window: NDArray[np.float32], source: RowSource) -> tuple[NDArray[np.float32], int, int]:
    """Returns a window of a tiny picture with its edges repeated, and the row and column where it begins in that.

    The picture's size decides, not the window's, so that all tiles of a picture are treated alike.
    """
    short = [max(0, _LEAST_SIDE_PX - side) for side in (source.height, source.width)]
    if not any(short):
        return window, 0, 0
    before = [missing // 2 for missing in short]
    after = [missing - first for missing, first in zip(short, before, strict=True)]
    rows, columns = zip(before, after, strict=True)
    return np.pad(window, (rows, columns, (0, 0)), mode="edge"), before[0], before[1]


def _check(array: NDArray[Any]) -> NDArray[Any]:
    """Returns a picture as (H, W, C), checked."""
    picture = checked_pixels(array)
    if (problem := range_problem(picture)) is not None:
        raise PictureError(problem)
    return picture
