"""Picture files in, picture files out: any size, nothing lost, several files overlapped.

A file passes three stages: it is opened and its first rows decoded; the network makes band after band while an
encoder takes them away; the encoder finishes and the file gets its name. With several files the first stage of the
next one and the last stage of the one before run beside the network, so that the network alone sets the pace.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from fourfold.errors import FourfoldError, PictureError
from fourfold.imaging import (
    MAX_PIXELS,
    TRACES_NOTE,
    AlphaRows,
    AtomicOutput,
    Format,
    FrameRows,
    Layout,
    Metadata,
    OpenPicture,
    RowSink,
    SaveOptions,
    find_range,
    format_of,
    hand_on,
    losses,
    open_picture,
    refuse_existing,
    was_compressed,
    write_error,
)
from fourfold.upscaling.alpha import AlphaBands, alpha_upscaler, draws_alpha, sharing_memory
from fourfold.upscaling.choosing import Automatic
from fourfold.upscaling.fitting import CODEC_SHARE, codec_bytes, enlarged_layout, memory_that_allows
from fourfold.upscaling.receipt import (
    draft_receipt,
    embed_receipt,
    make_receipt,
    receipt_path,
    refuse_unusable,
    takes_receipt,
    without_receipt,
)
from fourfold.upscaling.upscaler import Upscaler

#: Decoded ahead of the network, at most, while the file before is still being upscaled.
_PREFETCH_BYTES = 32 << 20

#: A file is refused whose pixels the network would compute so many times as often as it must: tiles are mostly halo.
MOST_REPEATS = 8
_ALL_THE_MEMORY = 1 << 62


@dataclass(frozen=True)
class Job:
    """One file to upscale; names may be given as text."""

    source: Path
    destination: Path

    def __post_init__(self) -> None:
        for name in ("source", "destination"):
            object.__setattr__(self, name, Path(getattr(self, name)))


@dataclass(frozen=True)
class FileOptions:
    """How files are read and written.

    Attributes:
        save: quality and the rest; see :class:`fourfold.imaging.SaveOptions`.
        overwrite: replace outputs that are there.
        max_pixels: refuse larger inputs by their header.
        receipt: write a JSON receipt beside every output.
        embed_receipt: write the receipt into the output, as XMP.
        settings: more for the receipt, such as the fidelity.
    """

    save: SaveOptions = field(default_factory=SaveOptions)
    overwrite: bool = False
    max_pixels: int = MAX_PIXELS
    receipt: bool = False
    embed_receipt: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Outcome:
    """What became of one file.

    Attributes:
        job: which.
        status: "done" or "failed".
        error: why it failed.
        width: of the output, 0 if it failed.
        height: of the output (of one frame), 0 if it failed.
        frames: pictures in it.
        elapsed_s: seconds of work on the file, from opening to the finished one, without waits for the one before.
        notes: what was converted, or lost because the output's format cannot hold it.
        receipt: where the receipt lies, if one was asked for.
        precision: what it was computed in, "fp32" or "bf16"; empty if it failed.
        model: what made it; empty if it failed.
    """

    job: Job
    status: Literal["done", "failed"]
    error: FourfoldError | None = None
    width: int = 0
    height: int = 0
    frames: int = 1
    elapsed_s: float = 0.0
    notes: list[str] = field(default_factory=list)
    receipt: Path | None = None
    precision: str = ""
    model: str = ""


Progress = Callable[[Job, int, int], None]
Cancelled = Callable[[], bool]


def upscale_file(
    upscaler: Upscaler | Automatic,
    source: str | Path,
    destination: str | Path,
    *,
    options: FileOptions | None = None,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Outcome:
    """Upscales one file into another, row by row; the destination's ending decides its format.

    Args:
        upscaler: from :func:`fourfold.load`, or what gives each picture one.
        source: a picture file; animations and pages frame by frame.
        destination: the file to be; its folder is made if it is missing.
        options: see :class:`FileOptions`.
        progress: called with the job and the finished and all tiles.
        cancelled: asked before every tile.

    Raises:
        FourfoldError: whatever went wrong; nothing is left behind then.
    """
    job = Job(Path(source), Path(destination))
    for outcome in upscale_files(upscaler, [job], options=options, progress=progress, cancelled=cancelled):
        if outcome.error is not None:
            raise outcome.error
        return outcome
    raise AssertionError("one job has one outcome")


def upscale_files(
    upscaler: Upscaler | Automatic,
    jobs: Iterable[Job],
    *,
    options: FileOptions | None = None,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Iterator[Outcome]:
    """Upscales files one after the other, yielding what became of each, in order; a failure stops only its file.

    Decoding the next file and encoding the last one overlap with the network. When the iteration is stopped, by
    Ctrl-C or by closing the iterator, unfinished outputs are removed.

    Args:
        upscaler: from :func:`fourfold.load`, or what gives each picture one.
        jobs: what to upscale into what.
        options: see :class:`FileOptions`.
        progress: called with the job and the finished and all tiles.
        cancelled: asked before every tile; the file at hand and all later ones fail with CancelledError.

    Raises:
        Exception: what ``progress`` or ``cancelled`` raise, once the unfinished outputs are removed.
    """
    try:
        yield from _upscaled(_Line(upscaler, options or FileOptions(), _own(progress), _own(cancelled)), jobs)
    except _CallersError as carrier:
        raise carrier.error from None


def _upscaled(line: "_Line", jobs: Iterable[Job]) -> Iterator[Outcome]:
    before: Future[Outcome] | None = None
    with ThreadPoolExecutor(1, "decoder") as decoder, ThreadPoolExecutor(1, "finisher") as finisher:
        for job, opening in _one_ahead(decoder, line.prepare, jobs):
            ready = _attempt(job, opening.result)
            crowded = line.is_crowded(ready)
            if before is not None and crowded:
                yield before.result()
                before = None
            made = _attempt(job, partial(line.run_network, ready))
            after = finisher.submit(line.finish, made)
            if before is not None:
                yield before.result()
            before = after
        if before is not None:
            yield before.result()


def _one_ahead(
    decoder: ThreadPoolExecutor, prepare: Callable[[Job], "_Prepared"], jobs: Iterable[Job]
) -> Iterator[tuple[Job, "Future[_Prepared]"]]:
    """Yields every job with its preparation, the next one's being started already."""
    waiting: tuple[Job, Future[_Prepared]] | None = None
    for job in jobs:
        following = (job, decoder.submit(prepare, job))
        if waiting is not None:
            yield waiting
        waiting = following
    if waiting is not None:
        yield waiting


_P = ParamSpec("_P")
_R = TypeVar("_R")


class _CallersError(BaseException):
    """What the caller's own function raised: no failure of a file, and no defect of ours."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _own(function: Callable[_P, _R] | None) -> Callable[_P, _R] | None:
    """Returns a caller's function whose errors pass through everything that handles the errors of files."""
    if function is None:
        return None

    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            raise _CallersError(error) from error

    return call


def _put_receipt(metadata: Metadata, receipt: dict[str, Any] | None) -> None:
    """Puts a receipt into the XMP, or takes out what is there of the picture before it was enlarged again."""
    if receipt is not None:
        if metadata.xmp is not None and not takes_receipt(metadata.xmp):
            metadata.notes.append("the XMP is damaged and was replaced by the receipt")
        metadata.xmp = embed_receipt(metadata.xmp, receipt)
    elif metadata.xmp is not None and metadata.xmp != (bare := without_receipt(metadata.xmp)):
        metadata.xmp = bare
        metadata.notes.append("the receipt in the XMP was left out: it is of the picture as it was")


def _attempt(job: Job, work: Callable[[], "_R | Outcome"]) -> "_R | Outcome":
    """Returns what the work returns, or a failed outcome."""
    try:
        return work()
    except FourfoldError as error:
        return Outcome(job, "failed", error)
    except MemoryError:
        remedy = "give less with --max-memory, such as --max-memory 256M"
        return Outcome(job, "failed", PictureError(f"{job.source}: out of memory; {remedy}"))
    except Exception as error:  # one file, be it ever so strange, must not take the others with it
        what = PictureError(
            f"{job.source}: {type(error).__name__}: {error}; this is a defect of Fourfold, please report"
        )
        what.__cause__ = error
        return Outcome(job, "failed", what)


@dataclass
class _Prepared:
    """A file that is open, with its first rows decoded."""

    job: Job
    upscaler: Upscaler
    opened: OpenPicture
    rows: FrameRows
    format: Format
    layout: Layout
    notes: list[str]
    receipt: dict[str, Any] | None
    codec_bytes: int
    worked_s: float


@dataclass
class _Made:
    """A file all of whose rows are made; the encoder may still be busy."""

    prepared: _Prepared
    output: AtomicOutput
    sink: RowSink


class _Line:
    """The three stages, for one set of options."""

    def __init__(
        self,
        upscaler: Upscaler | Automatic,
        options: FileOptions,
        progress: Progress | None,
        cancelled: Cancelled | None,
    ) -> None:
        self._upscaler, self._options = upscaler, options
        self._progress, self._cancelled = progress, cancelled
        # what --strip leaves out is taken away on opening: the receipt is put in afterwards, and stays
        self._save = replace(self._options.save, strip=False)
        self._encoding_bytes = 0  # what the codecs of the file before may still hold

    def _suited(self, source: Path, opened: OpenPicture) -> Upscaler:
        """Returns a picture's upscaler: a shallow copy, with the same engine and a limit of memory of its own."""
        shared = self._upscaler
        if not isinstance(shared, Automatic):
            return copy(shared)
        compressed = was_compressed(source, opened)
        if compressed and not opened.metadata.compressed:
            opened.metadata.notes.append(TRACES_NOTE)
        return copy(shared.suited(compressed))

    def prepare(self, job: Job) -> _Prepared:
        """Opens a file, says what its output will be, and decodes the first rows."""
        started_s = time.monotonic()
        format = format_of(job.destination)
        refuse_existing(job.destination, self._options.overwrite)
        if self._options.receipt:
            refuse_unusable(receipt_path(job.destination))
        opened = _open(job.source, format, self._options.max_pixels)
        upscaler = self._suited(job.source, opened)
        if self._options.save.strip:
            opened.metadata = opened.metadata.stripped()
        opened.metadata = opened.metadata.enlarged(upscaler.scale)
        layout = enlarged_layout(opened, upscaler.scale)
        receipt = self._receipt(job, opened, upscaler)
        _put_receipt(opened.metadata, receipt if self._options.embed_receipt else None)
        try:
            notes = opened.metadata.notes + losses(format, layout, opened.metadata, self._save)
        except PictureError as error:
            raise PictureError(f"{job.source}: {error}") from error
        stale = receipt_path(job.destination)
        if not self._options.receipt and os.path.lexists(stale) and os.path.lexists(job.destination):
            notes.append(f"{stale.name} stays and is not of this picture, but of the one that it replaces")
        codecs = codec_bytes(opened, format, layout, self._save)
        _refuse_too_much(job, opened, codecs, upscaler, format)
        _refuse_repetition(job, opened, codecs, upscaler)
        heavy = _is_heavy(codecs, upscaler)
        if not heavy:
            notes += opened.look_through()
        try:
            job.destination.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(job.destination, error) from error
        rows = FrameRows(opened, 0, str(job.source))
        if not heavy:
            rows.prefetch(min(_PREFETCH_BYTES, upscaler.max_memory // 32))
        return _Prepared(
            job, upscaler, opened, rows, format, layout, notes, receipt, codecs, time.monotonic() - started_s
        )

    def is_crowded(self, ready: "_Prepared | Outcome") -> bool:
        """Says whether the file before must be finished first, for its encoder and this one's need the memory."""
        before, self._encoding_bytes = self._encoding_bytes, 0
        if isinstance(ready, Outcome):
            return False
        self._encoding_bytes = ready.codec_bytes
        return _is_heavy(ready.codec_bytes + before, ready.upscaler)

    def run_network(self, prepared: "_Prepared | Outcome") -> "_Made | Outcome":
        """Makes all rows and hands them to the encoder; on any failure nothing is left."""
        if isinstance(prepared, Outcome):
            return prepared
        if _is_heavy(prepared.codec_bytes, prepared.upscaler):  # only now does the network not need this memory
            prepared.notes += prepared.opened.look_through()
        destination, started_s = prepared.job.destination, time.monotonic()
        output = AtomicOutput(destination, overwrite=self._options.overwrite)
        sink = None
        try:
            sink = RowSink(
                prepared.layout,
                prepared.opened.metadata,
                prepared.format,
                self._save,
                output.descriptor,
                destination.parent,
                prepared.upscaler.max_memory // 16,
            )
            with _less_memory(prepared.upscaler, prepared.codec_bytes):
                for frame in range(prepared.opened.frames):
                    self._one_frame(prepared, frame, sink)
            prepared.worked_s += time.monotonic() - started_s
            return _Made(prepared, output, sink)
        except BaseException as error:
            if sink is not None:
                sink.abort()
            output.discard()
            if isinstance(error, OSError):
                raise write_error(destination, error) from error
            raise

    def _one_frame(self, prepared: _Prepared, frame: int, sink: RowSink) -> None:
        rows = prepared.rows if frame == 0 else FrameRows(prepared.opened, frame, str(prepared.job.source))
        progress, upscaler = self._frame_progress(prepared, frame), prepared.upscaler
        alpha = None
        if rows.has_alpha and draws_alpha(upscaler):
            upscaler = sharing_memory(upscaler)
            drawn = alpha_upscaler(upscaler, upscaler.max_memory)
            alpha = AlphaBands(drawn.stream(AlphaRows(rows), cancelled=self._cancelled)).rows
        bands = upscaler.stream(rows, progress=progress, cancelled=self._cancelled)
        hand_on(bands, rows, upscaler.scale, sink.write, alpha)

    def _frame_progress(self, prepared: _Prepared, frame: int) -> Callable[[int, int], None] | None:
        progress, frames = self._progress, prepared.opened.frames
        if progress is None:
            return None
        return lambda done, total: progress(prepared.job, frame * total + done, frames * total)

    def finish(self, made: "_Made | Outcome") -> Outcome:
        """Waits for the encoder, gives the file its name, writes the receipt."""
        if isinstance(made, Outcome):
            return made
        return _attempt(made.prepared.job, partial(self._finish, made))

    def _finish(self, made: _Made) -> Outcome:
        prepared, layout = made.prepared, made.prepared.layout
        receipt, started_s = None, time.monotonic()
        try:
            made.sink.finish()
            text = self._receipt_text(prepared, made.output, made.sink.quality)
            # written whole before the picture has its name, so that a full disk leaves neither
            receipt = None if text is None else draft_receipt(receipt_path(made.output.path), text)
            made.output.commit()
            if receipt is not None:
                receipt.commit()
        except BaseException as error:
            made.sink.abort()
            made.output.discard()
            if receipt is not None:
                receipt.discard()
            if isinstance(error, OSError):
                raise write_error(prepared.job.destination, error) from error
            raise
        elapsed_s = prepared.worked_s + time.monotonic() - started_s
        return Outcome(
            prepared.job,
            "done",
            width=layout.width,
            height=layout.height,
            frames=layout.frames,
            elapsed_s=elapsed_s,
            notes=prepared.notes + made.sink.notes,
            receipt=None if receipt is None else receipt.path,
            precision=prepared.upscaler.precision_for(layout.dtype),
            model=prepared.upscaler.name,
        )

    def _receipt(self, job: Job, opened: OpenPicture, upscaler: Upscaler) -> dict[str, Any] | None:
        if not (self._options.receipt or self._options.embed_receipt):
            return None
        with job.source.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        source = {"name": job.source.name, "sha256": sha256, "width": opened.width, "height": opened.height}
        if opened.metadata.peak > 1.0:
            source |= {"peak": opened.metadata.peak, "highlights": opened.metadata.highlights}
        return make_receipt(upscaler, upscaler.precision_for(opened.dtype), self._options.settings, source)

    def _receipt_text(self, prepared: _Prepared, output: AtomicOutput, quality: int | None) -> str | None:
        if prepared.receipt is None or not self._options.receipt:
            return None
        os.lseek(output.descriptor, 0, os.SEEK_SET)
        with os.fdopen(os.dup(output.descriptor), "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        layout = prepared.layout
        made = {"name": output.path.name, "sha256": sha256, "width": layout.width, "height": layout.height}
        settings = dict(prepared.receipt["settings"])
        if quality != self._options.save.quality:  # lowered: the encoder would not have it otherwise
            settings["quality"] = quality
        return json.dumps({**prepared.receipt, "settings": settings, "output": made}, indent=2) + "\n"


def _is_heavy(codec_bytes: int, upscaler: Upscaler) -> bool:
    return codec_bytes > upscaler.max_memory // 8


def _refuse_too_much(job: Job, opened: OpenPicture, codecs: int, upscaler: Upscaler, format: Format) -> None:
    """Refuses a file whose decoder and encoder alone would break the promise of --max-memory."""
    if codecs > upscaler.max_memory * CODEC_SHARE:
        needed = memory_that_allows(codecs)
        enough = _memory_for_tiles(opened, codecs, upscaler, needed)
        other = "" if format.streamed else "; PNG, JPEG and TIFF are written row by row (--ext png)"
        raise PictureError(
            f"{job.source}: its decoder and encoder hold all or much of the picture in memory, which takes about "
            f"{needed >> 20}M; --max-memory {_tens_of_mebibytes(enough)}M allows it{other}"
        )


def _refuse_repetition(job: Job, opened: OpenPicture, codecs: int, upscaler: Upscaler) -> None:
    """Refuses a file whose tiles would be so small that nearly all of the work is done many times, for hours."""
    max_memory = upscaler.max_memory
    enough = _memory_for_tiles(opened, codecs, upscaler, max_memory)
    if enough > max_memory:
        times = _repeats(opened, codecs, upscaler, max_memory)
        raise PictureError(
            f"{job.source}: within {max_memory >> 20}M {upscaler.name} would do its work {times:,.0f} times over, in "
            f"tiny tiles; --max-memory {_tens_of_mebibytes(enough)}M allows it"
        )


def _memory_for_tiles(opened: OpenPicture, codecs: int, upscaler: Upscaler, memory: int) -> int:
    """Returns so much memory, or as much more as it takes that tiles are not mostly halo."""
    # a very deep network repeats work in any case
    most = MOST_REPEATS * _repeats(opened, codecs, upscaler, _ALL_THE_MEMORY)
    if _repeats(opened, codecs, upscaler, memory) <= most:
        return memory
    while _repeats(opened, codecs, upscaler, memory) > most / 2:
        memory += memory // 4
    return memory


def _repeats(opened: OpenPicture, codecs: int, upscaler: Upscaler, memory: int) -> float:
    """Returns how often the network does a picture's work within so much memory, beside decoder and encoder."""
    share = 2 if opened.has_alpha and draws_alpha(upscaler) else 1
    shape = opened.height, opened.width, opened.dtype
    return upscaler.repeats(*shape, (memory - codecs) // share, opened.channels)


def _tens_of_mebibytes(size: int) -> int:
    return -(-size // (10 << 20)) * 10


@contextmanager
def _less_memory(upscaler: Upscaler, taken_bytes: int) -> Iterator[None]:
    """Leaves the upscaler what the decoder and the encoder do not take; its tiles become smaller by that."""
    whole = upscaler.max_memory
    upscaler.max_memory = whole - taken_bytes
    try:
        yield
    finally:
        upscaler.max_memory = whole


def _open(source: Path, format: Format, max_pixels: int) -> OpenPicture:
    opened = open_picture(source, max_pixels=max_pixels, all_frames=format.frames)
    if opened.dtype.kind == "f":
        again = open_picture(source, max_pixels=max_pixels, all_frames=format.frames)
        opened.metadata.set_range(find_range(again, str(source)))
    return opened
