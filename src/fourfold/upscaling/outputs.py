"""Which files are meant, and where their enlarged versions go."""

import glob
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from fourfold.errors import FourfoldError, PictureError, UsageError
from fourfold.imaging import FORMATS, SUFFIXES, find_pictures, format_named, open_picture
from fourfold.imaging.finding import natural_order, unread
from fourfold.places import is_file, is_folder
from fourfold.upscaling.files import Job
from fourfold.upscaling.whole_names import place, real, told_apart, without_clashes, without_unclear

#: So many names are told where there may be thousands.
_MOST_NAMES = 3


@dataclass(frozen=True)
class Naming:
    """How outputs are named.

    Attributes:
        output: a file, a folder, or None for the input's own folder.
        suffix: put behind the name, before the ending.
        ext: format name, or "auto" for the input's own.
        scale: enlargement, to tell what a format can still hold.
    """

    output: str | None = None
    suffix: str = "_x4"
    ext: str = "auto"
    scale: int = 4


@dataclass
class Plan:
    """What is to be done.

    Attributes:
        jobs: to do, in order.
        skipped: not to do, since their outputs are there (only if that was asked for).
        problems: inputs that give nothing to do, and why.
        notes: what else the user should know.
    """

    jobs: list[Job] = field(default_factory=list)
    skipped: list[Job] = field(default_factory=list)
    problems: list[tuple[str, FourfoldError]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Input:
    """A picture file, and the folder that was asked for, if it was found in one."""

    path: Path
    root: Path | None


def plan_jobs(inputs: Iterable[str], naming: Naming, *, recursive: bool = False, skip_existing: bool = False) -> Plan:
    """Returns what upscaling these inputs means, before any of it is done.

    What lies in the folder of ``-o`` is no input where that folder is only found below one: it is an earlier output.

    Args:
        inputs: files, folders and globs.
        naming: where the outputs go.
        recursive: look into the folders below the given ones, too; ``-o`` then mirrors them.
        skip_existing: leave out what has its output already.

    Raises:
        UsageError: if two inputs would give one output by ``--ext``, an output would replace an input, or ``-o`` does
            not fit.
    """
    plan = Plan()
    found = _distinct(_Search(naming, recursive, plan).expand(inputs))
    as_file = _names_a_file(naming, found)
    for item in found:
        destination = Path(naming.output or "") if as_file else _destination(item, naming, plan)
        plan.jobs.append(Job(item.path, destination))
    plan.jobs = _distinct_jobs(plan.jobs)
    if naming.ext == "auto":
        _tell_apart(plan, naming.suffix, skip_existing)
    if skip_existing:
        plan.jobs = _without_listed_outputs(plan.jobs, plan)
    _refuse_replacing(plan.jobs)
    if naming.ext == "auto":
        plan.jobs, problems = without_clashes(plan.jobs)
        plan.problems += problems
    else:
        _refuse_clashes(plan.jobs)
    if skip_existing:
        plan.skipped = [job for job in plan.jobs if os.path.lexists(job.destination)]
        plan.jobs = [job for job in plan.jobs if not os.path.lexists(job.destination)]
    return plan


class _Search:
    """Finds the pictures that the inputs mean; what is wrong with an input goes into the plan."""

    def __init__(self, naming: Naming, recursive: bool, plan: Plan) -> None:
        self._suffix, self._recursive, self._plan = naming.suffix, recursive, plan
        there = naming.output is not None and _is_folder(Path(naming.output))
        self._outputs = Path(real(naming.output or "")) if there else None

    def expand(self, inputs: Iterable[str]) -> list[_Input]:
        """Returns the pictures of all inputs, in order."""
        found: list[_Input] = []
        for text in inputs:
            try:
                found += self._expand_one(text)
            except FourfoldError as error:
                self._plan.problems.append((text, error))
        return found

    def _expand_one(self, text: str) -> list[_Input]:
        path = Path(text)
        if not text:
            raise PictureError("an empty name is no picture")
        if _is_folder(path):
            return self._in_folder(path)
        if not os.path.lexists(path) and glob.has_magic(text):
            return self._matching(text)
        if not os.path.lexists(path):
            raise PictureError(f"{text}: no such file or folder")
        return [_Input(path, None)]

    def _in_folder(self, folder: Path) -> list[_Input]:
        pictures = self._in_tree(folder) if self._recursive else find_pictures(folder)
        if not self._recursive:
            self._say_unread(str(folder), folder.iterdir())
        return [_Input(p, folder) for p in self._without_outputs(pictures)]

    def _in_tree(self, folder: Path) -> list[Path]:
        """Returns the pictures of a folder and of those below it that can be read; the others become problems."""

        def cannot_read(error: OSError) -> None:
            place = Path(error.filename)
            problem = PictureError(f"{place}: cannot be read ({error.strerror or error})")
            if place == folder:
                raise problem from error
            self._plan.problems.append((str(place), problem))

        found: list[Path] = []
        files: list[Path] = []
        linked: list[Path] = []
        for parent, below, names in os.walk(folder, onerror=cannot_read):
            files += map(Path, names)
            below[:] = [n for n in below if not n.startswith(".") and not self._is_output(Path(parent, n), folder)]
            linked += [Path(parent, n) for n in below if Path(parent, n).is_symlink()]
            with suppress(PictureError):  # this one of many may hold no picture
                found += find_pictures(parent)
        if not found:
            others = f"; it holds {unread(files)}, not read here" if unread(files) else ""
            endings = " ".join(sorted(SUFFIXES))
            raise PictureError(f"{folder}: no picture in it or below; endings searched: {endings}{others}")
        self._say_unread(str(folder), files)
        if linked:
            self._plan.notes.append(f"{folder}: links to folders are not followed: {_some(linked)}")
        return sorted(found, key=natural_order)

    def _say_unread(self, where: str, files: Iterable[Path]) -> None:
        others = unread(files)
        if others:
            self._plan.notes.append(f"{where}: left out {others}, not read here; convert them first")

    def _matching(self, pattern: str) -> list[_Input]:
        """Returns what a glob means: pictures, and with ``recursive`` the folders that match, too."""
        fixed = Path(*takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
        matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207, takes absolute patterns, too
        matches = [match for match in matches if not self._is_output(match, fixed)]
        folders = [p for p in matches if is_folder(p)]
        no_folders = set(matches).difference(folders)
        pictures = [p for p in matches if p.suffix.lower() in SUFFIXES and p in no_folders]
        found = [_Input(p, None) for p in self._without_outputs(pictures)]
        if self._recursive:
            for folder in folders:
                found += self._expand_one(str(folder))
        elif folders and found:
            self._plan.notes.append(f"{pattern}: folders that match are searched with --recursive: {_some(folders)}")
        files = [match for match in matches if is_file(match)]
        if not found:
            others = unread(files)
            raise PictureError(
                f"{pattern}: no picture matches" + (f"; what does is {others}, not read here" if others else "")
            )
        self._say_unread(pattern, files)
        return found

    def _is_output(self, path: Path, root: Path) -> bool:
        """Says whether a path lies in the folder of ``-o`` and is only found because that lies below the input's."""
        if self._outputs is None:
            return False
        below = Path(real(root)) in self._outputs.parents
        if not (below and Path(real(path)).is_relative_to(self._outputs)):
            return False
        note = f"left out {self._outputs}: the outputs go there"
        if note not in self._plan.notes:
            self._plan.notes.append(note)
        return True

    def _without_outputs(self, pictures: list[Path]) -> list[Path]:
        """Returns the pictures without those that an earlier run has made of others among them."""
        suffix = self._suffix
        if not suffix:
            return pictures
        originals = {(p.parent, name) for p in pictures for name in (p.stem, p.name)}
        kept = [
            p
            for p in pictures
            if not (p.stem.endswith(suffix) and (p.parent, p.stem.removesuffix(suffix)) in originals)
        ]
        if len(kept) < len(pictures):
            left_out = len(pictures) - len(kept)
            self._plan.notes.append(f"left out {left_out} pictures that end in {suffix}: earlier outputs")
        return kept


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except PermissionError as error:  # a folder on the way is closed
        raise PictureError(f"{path}: cannot be looked at ({error.strerror})") from error
    except (OSError, ValueError) as error:
        raise PictureError(f"{path}: not a usable name ({error})") from error


def _distinct(found: list[_Input]) -> list[_Input]:
    """Returns every name once: a link is a picture of its own, which gets an output of its own."""
    return list({place(item.path): item for item in reversed(found)}.values())[::-1]


def _distinct_jobs(jobs: list[Job]) -> list[Job]:
    """Returns the jobs without those that would make the same file of the same picture once more, through a link."""
    return list({(_key(job.source), place(job.destination)): job for job in reversed(jobs)}.values())[::-1]


def _without_listed_outputs(jobs: list[Job], plan: Plan) -> list[Job]:
    """Returns the jobs without pictures that others of them have become: a glob that the shell expands lists both."""
    made = {place(job.destination) for job in jobs if place(job.destination) != place(job.source)}
    kept = [job for job in jobs if place(job.source) not in made]
    if len(kept) < len(jobs):
        plan.notes.append(f"left out {len(jobs) - len(kept)} pictures that are earlier outputs of others")
    return kept


def _names_a_file(naming: Naming, found: list[_Input]) -> bool:
    """Says whether ``-o`` is a file rather than a folder."""
    output = naming.output
    if output is None or not found:  # with nothing to do, whatever is wrong with the inputs is said instead
        return False
    if output == "-":
        raise UsageError("-o -: pictures are not written to standard output; give a file (./- for one of that name)")
    path, as_folder = Path(output), output.endswith(("/", os.sep))
    if path.is_file() and (as_folder or path.suffix.lower() not in SUFFIXES):
        raise UsageError(f"-o {output} is a file, not a folder; give a folder, or a file with a picture's ending")
    if as_folder or _is_folder(path):
        return False
    single = len(found) == 1 and found[0].root is None
    if not single:
        if path.is_file() or path.suffix.lower() in SUFFIXES:
            raise UsageError(f"-o {output} is one file, but there are several inputs; give a folder")
        return False
    if not path.suffix:
        return False
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"-o {output}: no picture format ends in {path.suffix!r}; there are {', '.join(sorted(SUFFIXES))} "
            "(for a folder of that name, end it with a slash)"
        )
    if naming.ext != "auto" and format_named(naming.ext).name != SUFFIXES[path.suffix.lower()]:
        raise UsageError(f"-o {output} and --ext {naming.ext} name two formats; give one of them")
    return True


def _destination(item: _Input, naming: Naming, plan: Plan) -> Path:
    if naming.output is None:
        folder = item.path.parent
    elif item.root is None:
        folder = Path(naming.output)
    else:
        folder = Path(naming.output) / item.path.parent.relative_to(item.root)
    return folder / (item.path.stem + naming.suffix + _ending(item.path, naming, plan))


def _ending(path: Path, naming: Naming, plan: Plan) -> str:
    if naming.ext != "auto":
        return format_named(naming.ext).suffixes[0]
    own = SUFFIXES.get(path.suffix.lower())
    if own in ("png", "tiff"):  # both hold whatever comes
        return ".png" if path.suffix.lower() == ".apng" else path.suffix  # what is written is no animation
    try:
        opened = open_picture(path, max_pixels=2**62, all_frames=True)
    except FourfoldError:
        return path.suffix if own else ".png"  # whatever is wrong will be said when its turn comes
    format = opened.format
    named_so = own == format.name
    if own is not None and not named_so:
        plan.notes.append(f"{path}: a {format.name.upper()}, whatever its name says; --ext names another format")
    side_px = max(opened.height, opened.width) * naming.scale
    if format.name == "gif" and (better := _instead_of_gif(path, opened.frames, side_px, plan)):
        return better
    if side_px > format.max_side_px:
        plan.notes.append(f"{path}: too large for {format.name} when enlarged; written as PNG")
        return ".png"
    return path.suffix if named_so else format.suffixes[0]


def _instead_of_gif(path: Path, frames: int, side_px: int, plan: Plan) -> str:
    """Returns the ending for what becomes of a GIF: its 256 colours would not do; nothing if nothing else will."""
    if frames > 1 and side_px > FORMATS["webp"].max_side_px:
        if side_px <= FORMATS["gif"].max_side_px:
            plan.notes.append(f"{path}: too large for webp when enlarged; written as GIF")
        return ""
    better = ".webp" if frames > 1 else ".png"
    plan.notes.append(f"{path}: written as {better[1:].upper()}, which holds all colours; --ext gif keeps GIF")
    return better


def _tell_apart(plan: Plan, suffix: str, skip_existing: bool) -> None:
    named, notes = told_apart(plan.jobs, suffix)
    plan.notes += notes
    if skip_existing:
        named, problems = without_unclear(plan.jobs, named)
        plan.problems += problems
    plan.jobs = named


def _refuse_replacing(jobs: list[Job]) -> None:
    sources = {_key(job.source) for job in jobs}
    for job in jobs:
        if _key(job.destination) in sources:
            itself = _key(job.destination) == _key(job.source)
            remedy = (
                "" if itself else "; if that is an earlier output: the folder, or the glob in quotes, leaves it out"
            )
            raise UsageError(
                f"{job.destination}: the output would replace an input; give --suffix or another -o{remedy}"
            )


def _refuse_clashes(jobs: list[Job]) -> None:
    made: dict[str, Path] = {}
    for job in jobs:
        other = made.setdefault(place(job.destination), job.source)
        if other is not job.source:
            raise UsageError(
                f"{other} and {job.source} would both become {job.destination}; upscale them into different folders, "
                "or without --ext"
            )


def _some(paths: list[Path]) -> str:
    """Returns the first of many names."""
    more = len(paths) - _MOST_NAMES
    return ", ".join(map(str, paths[:_MOST_NAMES])) + f" and {more} more" * (more > 0)


def _key(path: Path) -> str:
    """Returns what is the same for all names of a file, links included."""
    return os.path.normcase(real(path))
