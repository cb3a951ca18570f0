"""``fourfold evaluate``: methods on benchmark sets, beside the paper's tables."""

import contextlib
import hashlib
import importlib
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from fourfold.cli.paths import given_path
from fourfold.cli.printing import say
from fourfold.errors import DataError, EvaluationError, FourfoldError, UsageError
from fourfold.places import is_file, is_folder, is_stream, why_unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fourfold.evaluation.benchmark import Benchmark, Measure, Problem
    from fourfold.evaluation.figures import Gallery
    from fourfold.evaluation.methods import Method
    from fourfold.evaluation.sets import BenchmarkSet, Entry
    from fourfold.networks.vgg19 import Normalisation

app = typer.Typer(add_completion=False)

#: more croppings than this in one set are told in one line
_CROPPINGS_TOLD = 5

#: of more pictures that could not be saved than this, the first ones are told: a full disk refuses every one
_UNSAVED_TOLD = 5


@app.command()
def evaluate(
    data: Annotated[
        Path,
        typer.Option("--data", parser=given_path, help="Folder of benchmark sets (or with bench/ inside), or one set."),
    ],
    sets: Annotated[
        str | None, typer.Option("--sets", help="Sets, separated by commas; the default is every one there is.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            help="Separated by commas: nearest, bilinear, bicubic, lanczos, hr, shipped models, weights files, "
            "NAME=FILE, each of these three with a + behind it for its self-ensemble, NAME=DIR with another program's "
            "results, NAME=DIR/{name}_x4.png with their naming. "
            "The default is nearest, bicubic and every shipped model.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", help="Method that the others are tested against (Wilcoxon); bicubic if it is there."),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", parser=given_path, help="Write every number as JSON; - for standard output."),
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option(
            "--html", parser=given_path, help="Write the report as one self-contained page; - for standard output."
        ),
    ] = None,
    pictures: Annotated[
        str | None,
        typer.Option("--pictures", help="Pictures to show in the report, such as Set5/baby.png,Set14/comic.png."),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", parser=given_path, help="Keep the restored pictures: DIR/SET/METHOD/NAME.png."),
    ] = None,
    niqe: Annotated[
        Path | None,
        typer.Option(
            "--niqe", parser=given_path, help="NIQE's parameters (.npz); looked for in niqe/ of the data folder."
        ),
    ] = None,
    vgg: Annotated[
        Path | None,
        typer.Option(
            "--vgg",
            parser=given_path,
            help="VGG19's weights: measures the distances of VGG22 and VGG54 too, with torch.",
        ),
    ] = None,
    vgg_normalisation: Annotated[
        str | None,
        typer.Option(
            "--vgg-normalisation",
            help="What those weights were trained with, oxford or torchvision; needed where the file does not say.",
        ),
    ] = None,
    lpips: Annotated[
        bool, typer.Option("--lpips", help="Measure LPIPS too, with torch and the lpips package.")
    ] = False,
    engine: Annotated[str, typer.Option("--engine", help="auto, openvino or torch.")] = "auto",
    precision: Annotated[str, typer.Option("--precision", help="auto, fp32 or bf16.")] = "auto",
) -> None:
    """Measure methods on benchmark sets and put them beside the paper's tables.

    PSNR and both SSIMs on Y with 4 pixels cut from every border, as the paper counts them; NIQE where its parameters
    are found. Exits with 1 when a picture could not be measured or saved; the rest is measured all the same.
    """
    from fourfold.evaluation.benchmark import check_against, run_benchmark
    from fourfold.evaluation.figures import Gallery
    from fourfold.evaluation.methods import ResultFolder, default_methods, make_methods, name_of
    from fourfold.evaluation.niqe import load_pristine
    from fourfold.evaluation.record import counted
    from fourfold.evaluation.sets import find_sets

    _check_files(json_file, html_file)
    if pictures is not None and html_file is None:
        raise UsageError("--pictures chooses what --html shows; give --html FILE too")
    if vgg_normalisation is not None and vgg is None:
        raise UsageError("--vgg-normalisation says what the weights of --vgg were trained with; give --vgg FILE too")
    specs = _split(methods) or default_methods()
    if against is None and "bicubic" in map(name_of, specs):
        against = "bicubic"
    _need(*(["scipy"] if against else []), *(["jinja2"] if html_file else []))
    notes: list[str] = []
    found_sets = find_sets(data, _split(sets), on_note=notes.append)
    chosen = make_methods(specs, engine=engine, precision=precision)
    check_against(against, chosen)
    normalisation = _normalisation(vgg, vgg_normalisation) if vgg is not None else None
    parameters = niqe or _find_niqe(data)
    if parameters is None:
        typer.echo("note: NIQE is left out; give its parameters with --niqe FILE", err=True)
    gallery = Gallery(found_sets, _split(pictures)) if html_file is not None else None

    if save is not None:
        _check_saved(save, found_sets, chosen)
        _make_folders(save, found_sets, chosen)

    def keep(of: "BenchmarkSet", entry: "Entry", method: str, sr: Any) -> None:
        if gallery is not None:  # first: what cannot be saved can still be shown
            gallery.keep(of, entry, method, sr)
        if save is not None:
            _save(_saved(save, of, method, entry), sr)

    with _ProgressBar() as progress:
        found = run_benchmark(
            found_sets,
            chosen,
            against=against,
            pristine=load_pristine(parameters) if parameters is not None else None,
            extra=_extra(vgg, normalisation, lpips),
            progress=progress,
            keep=keep if save is not None or gallery is not None else None,
        )
    if parameters is not None:
        found.notes.append(f"niqe is counted with the parameters of {parameters.name}, {_hash(parameters)}")
    if vgg is not None:
        weights = f"the {normalisation} weights of VGG19 in {vgg.name}, {_hash(vgg)}"
        found.notes.append(f"vgg22 and vgg54 are counted with {weights}")
    found.notes[:0] = notes
    found.notes += [note for method in chosen if isinstance(method, ResultFolder) for note in method.notes()]
    failed = _tell(found, json_file, html_file, gallery)
    if found.problems:
        failed.append(
            f"{counted(len(found.problems), 'measurement')} failed; a method without all pictures of a set has no mean"
        )
    if found.unkept:
        failed.append(f"{counted(len(found.unkept), 'measured picture')} could not be saved; every number is there")
    if failed:
        raise EvaluationError(". ".join(failed))


def _tell(found: "Benchmark", json_file: Path | None, html_file: Path | None, gallery: "Gallery | None") -> list[str]:
    """Prints the tables, the JSON or the page, writes the files, and says on stderr what was noted and what failed.

    Returns:
        what could not be written, in sentences; the rest was.
    """
    from fourfold.evaluation.context import describe
    from fourfold.evaluation.pages import render
    from fourfold.evaluation.record import record_text, to_record

    if "-" not in (str(json_file), str(html_file)):
        _print(found)  # first: whatever happens to the files, the numbers have been seen
    record = to_record(found, describe(found, command="fourfold " + shlex.join(sys.argv[1:])))
    for note in _shortened(record["context"]["notes"]):
        say(f"note: {note}", err=True)
    unwritten = _write(json_file, lambda: record_text(record))
    if gallery is not None:
        unwritten += _write(html_file, lambda: render(found, record["context"], gallery))
        for sentence in gallery.left_out:
            say(f"note: {sentence}", err=True)
    for problem in found.problems:
        say(f"failed: {_place(problem)}: {problem.message}", err=True)
    for problem in found.unkept[:_UNSAVED_TOLD]:
        say(f"not saved: {_place(problem)}: {problem.message}", err=True)
    if len(found.unkept) > _UNSAVED_TOLD:
        typer.echo(f"not saved: {len(found.unkept) - _UNSAVED_TOLD} more", err=True)
    return unwritten


def _write(file: Path | None, text: "Callable[[], str]") -> list[str]:
    """Writes a file, if there is one to write, or standard output; returns what went wrong, for the other to go on."""
    from fourfold.evaluation.record import shown, write_text

    try:
        if str(file) == "-":
            typer.echo(shown(text()), nl=False)
        elif file is not None:
            typer.echo(f"wrote {write_text(file, text())}", err=True)
    except FourfoldError as error:
        return [str(error)]
    return []


def _place(problem: "Problem") -> str:
    return f"{problem.set}/{problem.image}" + (f", {problem.method}" if problem.method else "")


def _shortened(notes: list[str]) -> list[str]:
    """Returns the notes with many croppings of one set told as one; the JSON record has them all."""
    from fourfold.evaluation.record import counted

    croppings: dict[str, list[str]] = {}
    for note in notes:
        if " cropped from " in note:
            croppings.setdefault(note.partition(":")[0], []).append(note)
    told = []
    for note in notes:
        alike = croppings.get(note.partition(":")[0], []) if " cropped from " in note else []
        if len(alike) <= _CROPPINGS_TOLD:
            told.append(note)
        elif note == alike[0]:
            told.append(f"{note}, and {counted(len(alike) - 1, 'more picture')} to multiples of 4")
    return told


def _check_files(json_file: Path | None, html_file: Path | None) -> None:
    """Raises before hours of measuring, not after, where a file cannot be written."""
    if None not in (json_file, html_file) and len({os.path.realpath(str(file)) for file in (json_file, html_file)}) < 2:
        raise UsageError(f"--json {json_file} and --html {html_file} are the same; name two")
    for file in (json_file, html_file):
        if file is None or str(file) == "-":
            continue
        folder = file.absolute().parent
        reason = why_unseen(file)
        if reason is not None:
            raise UsageError(f"{file}: cannot be written ({reason}); name another")
        if is_folder(file):
            raise UsageError(f"{file} is a folder; name a file in it")
        if is_file(file) and file.is_symlink() and folder.parts[1:2] in (("dev",), ("proc",)):
            raise UsageError(f"{file}: give - for standard output")  # a file would take the place of the link
        if not is_stream(file) and not is_folder(folder):
            raise UsageError(f"{file}: there is no folder {file.parent}")
        if not (os.access(file, os.W_OK) if is_stream(file) else os.access(folder, os.W_OK | os.X_OK)):
            raise UsageError(f"{file}: {'it' if is_stream(file) else folder} may not be written; name another")


def _saved(save: Path, of: "BenchmarkSet", method: str, entry: "Entry") -> Path:
    return save / of.name / method / f"{entry.key}.png"


def _check_saved(save: Path, sets: "Sequence[BenchmarkSet]", methods: "Sequence[Method]") -> None:
    """Raises where a picture that is saved would take the place of one that is read, or spoil its set."""
    from fourfold.evaluation.methods import ResultFolder

    read = set()
    own = {_identity(entry.hr.parent) for of in sets for entry in of.entries}
    for folder in (save / of.name for of in sets):
        if (identity := _identity(folder)) is not None and identity in own:
            # it would hold pictures and folders of pictures then, which is no set any more
            raise UsageError(f"--save {save}: {folder} is where the set's own pictures lie; name another folder")
    for of in sets:
        for entry in of.entries:
            read |= {_identity(path) for path in (entry.hr, entry.lr) if path is not None}
            for method in methods:
                if isinstance(method, ResultFolder):
                    with contextlib.suppress(DataError):  # what is missing is told when it is measured
                        read.add(_identity(method.source(entry, of)))
    for target in (_saved(save, of, method.name, entry) for of in sets for method in methods for entry in of.entries):
        if (identity := _identity(target)) is not None and identity in read:
            raise UsageError(f"--save {save}: {target} is one of the pictures that are measured; name another folder")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _make_folders(save: Path, sets: "Sequence[BenchmarkSet]", methods: "Sequence[Method]") -> None:
    """Makes the folders that pictures are saved in.

    Raises:
        UsageError: before hours of measuring, not after, where that fails, or where two of them are one.
    """
    made: dict[tuple[int, int] | None, Path] = {}
    for folder in (save / of.name / method.name for of in sets for method in methods):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            there = next((path for path in (folder, *folder.absolute().parents) if is_file(path)), folder)
            raise UsageError(f"--save {save}: {there} is a file; name a folder, or move the file away") from error
        except OSError as error:
            raise UsageError(f"--save {save}: {folder} cannot be made ({error.strerror}); name another") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UsageError(f"--save {save}: {folder} may not be written; name another")
        if (there := made.setdefault(_identity(folder), folder)) != folder:
            raise UsageError(f"--save {save}: {there} and {folder} are one folder; name another")


def _need(*modules: str) -> None:
    """Imports what is needed at the very end, so that its lack is told before hours of measuring."""
    for module in modules:
        importlib.import_module(module)


def _split(text: str | None) -> list[str] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise UsageError("an empty list was given; leave the option out for the default")
    return parts


def _find_niqe(data: Path) -> Path | None:
    """Returns NIQE's parameters in ``niqe/`` of the data folder or of the one above."""
    for folder in (data / "niqe", data.resolve().parent / "niqe", data.resolve().parent.parent / "niqe"):
        files = sorted(folder.glob("*.npz")) if is_folder(folder) else []
        if files:
            return files[0]
    return None


def _extra(vgg: Path | None, normalisation: "Normalisation | None", lpips: bool) -> "dict[str, Measure]":
    from fourfold.evaluation.perceptual import lpips_distance, vgg_distance

    extra: dict[str, Measure] = {}
    if vgg is not None and normalisation is not None:
        for layer in ("22", "54"):  # the two of the paper's content losses
            extra[f"vgg{layer}"] = vgg_distance(vgg, layer, normalisation=normalisation)
    if lpips:
        extra["lpips"] = lpips_distance()
    return extra


def _normalisation(vgg: Path, given: str | None) -> "Normalisation":
    from fourfold.networks.vgg19_weights import stated_normalisation

    if given not in (None, "oxford", "torchvision"):
        raise UsageError(f"--vgg-normalisation {given}: it can be oxford or torchvision")
    said = cast("Normalisation | None", given) or stated_normalisation(vgg)
    if said is None:
        raise UsageError(
            f"{vgg} does not say what VGG19's weights in it were trained with; give --vgg-normalisation oxford or "
            "torchvision"
        )
    return said


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256 " + hashlib.file_digest(file, "sha256").hexdigest()


def _save(path: Path, pixels: Any) -> None:
    from fourfold.imaging import Picture, write_picture

    write_picture(Picture(pixels), path, overwrite=True)


class _ProgressBar:
    """A bar on stderr where that is a terminal; nothing elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> "_ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int, what: str) -> None:
        self._bar.update(self._task, completed=done, total=total, description=what)


def _print(found: "Benchmark") -> None:
    from rich.console import Console

    from fourfold.evaluation.record import counted
    from fourfold.evaluation.tables import tables, width_of

    out = Console()
    width = out.width if out.is_terminal else 140
    for table in tables(found):
        # a line that is too long for the terminal goes on in the next; a number is never shortened
        console = Console(width=max(width, width_of(table)))
        console.print(table)
        console.print()
    Console(width=width).print(
        f"{counted(len(found.scores), 'measurement')} in {found.elapsed_s:.1f} s. PSNR and SSIM on Y, 4 px cut; "
        "* p < 0.05 (paired Wilcoxon, PSNR)",
        style="dim",
    )
