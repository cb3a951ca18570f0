"""``fourfold upscale``: pictures in, pictures four times as large out."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fourfold.cli.pipes import UnwritableError
from fourfold.cli.printing import printable, say
from fourfold.cli.stopping import stopping_cleanly
from fourfold.errors import FourfoldError, UsageError

if TYPE_CHECKING:
    from fourfold.upscaling.files import Job, Outcome
    from fourfold.upscaling.outputs import Plan

app = typer.Typer(add_completion=False)


@app.command()
@stopping_cleanly()
def upscale(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Files, folders or globs.")],
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="A file, or a folder. Default: beside each input.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "-n",
            "--model",
            help="A shipped name (see `fourfold models`) or a weights file. Default: what suits the picture.",
        ),
    ] = None,
    fidelity: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="From 0, the model itself, to 1, the faithful one; mixes their weights."),
    ] = None,
    faithful: Annotated[
        str | None,
        typer.Option(help="The faithful model of --fidelity, a name or a file. Default: the one it began from."),
    ] = None,
    ensemble: Annotated[
        bool,
        typer.Option("--ensemble", help="The mean over eight turned and mirrored versions; eight times the time."),
    ] = False,
    engine: Annotated[str, typer.Option(help="auto, openvino or torch.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto (fp32 for more than 8 bits, else the fastest here), fp32 or bf16.")
    ] = "auto",
    max_memory: Annotated[
        str, typer.Option(help="Memory that upscaling may take beyond what the engine needs at start, such as 800M.")
    ] = "1G",
    max_pixels: Annotated[
        int | None, typer.Option(min=1, help="Refuse larger inputs. Default: 100000000 (10,000 x 10,000).")
    ] = None,
    ext: Annotated[
        str, typer.Option(help="Output format: auto (the input's own), png, jpg, webp, tiff, avif or gif.")
    ] = "auto",
    suffix: Annotated[str | None, typer.Option(help="Put behind the name. Default: _x4.")] = None,
    quality: Annotated[int | None, typer.Option(min=1, max=100, help="For JPEG, WebP and AVIF. Default: 95.")] = None,
    lossless: Annotated[bool, typer.Option("--lossless", help="WebP and AVIF without loss.")] = False,
    recursive: Annotated[
        bool, typer.Option("-r", "--recursive", help="Folders with the folders below; -o mirrors them.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave out what has its output.")] = False,
    strip: Annotated[
        bool, typer.Option("--strip", help="Leave out EXIF (GPS included), XMP, IPTC, map coordinates, text fields.")
    ] = False,
    receipt: Annotated[
        bool, typer.Option("--receipt", help="Write a JSON beside each output: hashes, model, settings.")
    ] = False,
    embed_receipt: Annotated[
        bool, typer.Option("--embed-receipt", help="Write the same into the output, as XMP.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per file on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress, no notes; errors only.")] = False,
) -> None:
    """Make pictures four times as large.

    Colour profile, EXIF, XMP, DPI, transparency, 16 bits and animation are kept. One failing file does not stop the
    others. Exit code 0: all done; 1: something failed; 2: wrong usage; 130: stopped by Ctrl-C, SIGTERM or SIGHUP; 141:
    nobody reads the output any more.
    """
    from fourfold.imaging import MAX_PIXELS, SaveOptions, format_named
    from fourfold.upscaling import load, parse_size
    from fourfold.upscaling.choosing import Automatic
    from fourfold.upscaling.files import FileOptions, upscale_files
    from fourfold.upscaling.outputs import Naming, plan_jobs
    from fourfold.weights import default_name, locate, read_config

    if overwrite and skip_existing:
        raise UsageError("--overwrite and --skip-existing contradict each other; give one of them")
    if output == "":  # an unset variable of a script; Path would make it the current folder
        raise UsageError("-o is empty; give a file or a folder ('.' for the current one)")
    if ext != "auto":
        format_named(ext)
    parse_size(max_memory)
    scale = int(read_config(locate(model or default_name())).parameters.get("scale", 4))
    naming = Naming(output, f"_x{scale}" if suffix is None else _checked_suffix(suffix), ext, scale)
    plan = plan_jobs(inputs, naming, recursive=recursive, skip_existing=skip_existing)
    plan.notes += _idle(plan, output, suffix, lossless) + _nothing_between(model, fidelity, faithful)
    report = _Report(as_json, quiet)
    report.plan(plan)
    options = FileOptions(
        SaveOptions(quality, lossless, strip),
        overwrite,
        MAX_PIXELS if max_pixels is None else max_pixels,
        receipt,
        embed_receipt,
        {
            "fidelity": fidelity,
            "max_memory": max_memory,
            "quality": quality,
            "lossless": lossless,
            "strip": strip,
        },
    )
    if plan.jobs:
        automatic = Automatic(
            partial(
                load,
                engine=engine,
                precision=precision,
                fidelity=fidelity,
                faithful=faithful,
                max_memory=max_memory,
                ensemble=ensemble,
            )
        )
        if model is None:
            automatic.expect(job.source for job in plan.jobs)
        upscaler = automatic if model is None else automatic.named(model)
        with _progress(plan, quiet) as progress:
            for outcome in upscale_files(upscaler, plan.jobs, options=options, progress=progress):
                report.outcome(outcome)
    report.end()


def _nothing_between(model: str | None, fidelity: float | None, faithful: str | None) -> list[str]:
    """Returns a note where the fidelity dial has the same network at both ends."""
    from fourfold.weights import faithful_end, locate

    if model is None or fidelity is None or faithful is not None:
        return []
    end = faithful_end(locate(model))
    if locate(model).resolve() != locate(end).resolve():
        return []
    return [f"--fidelity {fidelity:g} changes nothing: {end} is the faithful network itself; name another with -n"]


def _idle(plan: "Plan", output: str | None, suffix: str | None, lossless: bool) -> list[str]:
    """Returns a note for each option that cannot act on what is planned."""
    from fourfold.imaging import SUFFIXES

    notes = []
    destinations = [job.destination for job in plan.jobs]
    if suffix is not None and destinations == [Path(output or "")]:
        notes.append(f"--suffix {suffix} is not used: -o {output} is the whole name")
    if lossless and any(SUFFIXES.get(path.suffix.lower()) == "jpg" for path in destinations):
        notes.append("--lossless: JPEG always loses something and is written as usual; PNG and TIFF lose nothing")
    return notes


def _checked_suffix(suffix: str) -> str:
    if "/" in suffix or "\\" in suffix or "\0" in suffix:
        raise UsageError(f"--suffix {suffix!r} is part of a file name; use -o for a folder")
    return suffix


class _Report:
    """Says what happened: results to standard output, notes and errors to standard error."""

    def __init__(self, as_json: bool, quiet: bool) -> None:
        self._as_json, self._quiet = as_json, quiet
        self._failed = 0
        self._unsaid: UnwritableError | None = None

    def plan(self, plan: "Plan") -> None:
        for note in plan.notes:
            self._note(note)
        for text, error in plan.problems:
            self._failure(text, None, error)
        for job in plan.skipped:
            if self._as_json:
                self._object({"input": str(job.source), "output": str(job.destination), "status": "skipped"})
            else:
                self._note(f"{job.destination} is there already; skipped")

    def outcome(self, outcome: "Outcome") -> None:
        job = outcome.job
        if outcome.error is not None:
            self._failure(str(job.source), str(job.destination), outcome.error)
            return
        for note in outcome.notes:
            self._note(f"{job.source}: {note}")
        if self._as_json:
            self._object(_as_object(outcome))
        elif not self._quiet:
            frames = f", {outcome.frames} frames" if outcome.frames > 1 else ""
            size = f"{outcome.width}x{outcome.height}{frames}"
            self._say(f"{job.source} -> {job.destination}  {size}  {outcome.model}  {outcome.elapsed_s:.1f} s")

    def _failure(self, source: str, destination: str | None, error: FourfoldError) -> None:
        self._failed += 1
        self._say(f"error: {error}", err=True)
        if self._as_json:
            self._object({"input": source, "output": destination, "status": "failed", "error": str(error)})

    def _note(self, text: str) -> None:
        if not self._quiet:
            self._say(f"note: {text}", err=True)

    def _object(self, value: dict[str, Any]) -> None:
        self._say(json.dumps(value))

    def _say(self, line: str, err: bool = False) -> None:
        try:
            say(line, err=err)
        except UnwritableError as error:  # told at the end: the pictures are what matters
            self._unsaid = error

    def end(self) -> None:
        """Ends the command with what its exit code is to be, if something failed.

        Raises:
            UnwritableError: if a line could not be printed.
            typer.Exit: if a picture could not be made.
        """
        if self._unsaid is not None:
            raise self._unsaid
        if self._failed:
            raise typer.Exit(1)


def _as_object(outcome: "Outcome") -> dict[str, Any]:
    return {
        "input": str(outcome.job.source),
        "output": str(outcome.job.destination),
        "status": outcome.status,
        "width": outcome.width,
        "height": outcome.height,
        "frames": outcome.frames,
        "model": outcome.model,
        "precision": outcome.precision,
        "seconds": round(outcome.elapsed_s, 3),
        "notes": outcome.notes,
        "receipt": None if outcome.receipt is None else str(outcome.receipt),
    }


@contextmanager
def _progress(plan: "Plan", quiet: bool) -> Iterator[Callable[["Job", int, int], None] | None]:
    """Gives a progress function that draws a bar with the time left on standard error, where a person sees it."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    total, finished = len(plan.jobs), 0
    to_terminal = sys.stdout is not None and sys.stdout.isatty()  # else results go to a file or a pipe, past the bar
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, redirect_stdout=to_terminal) as bar:
        task = bar.add_task("starting", total=None)
        shown: Job | None = None

        def advance(job: "Job", done: int, tiles: int) -> None:
            nonlocal shown, finished
            if job is not shown:
                shown, finished = job, finished + 1
                name = printable(Path(job.source).name, sys.stderr)
                bar.reset(task, total=tiles, description=f"{finished}/{total} {name[:40]}")
            bar.update(task, completed=done, total=tiles)

        yield advance
