"""What a study is asked to be, and everything that can be refused before a picture is made."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fourfold.errors import DataError, UsageError
from fourfold.evaluation.methods import KERNELS, Method, ResultFolder, make_methods, name_of
from fourfold.evaluation.record import counted, shown
from fourfold.evaluation.sets import BenchmarkSet
from fourfold.imaging import find_pictures, read_rgb
from fourfold.places import is_folder, why_unseen
from fourfold.study import design
from fourfold.study.stimuli import as_bytes
from fourfold.weights import ALIASES, shipped_names

#: Where the calibration pictures are looked for, under the data folder.
CALIBRATION_FOLDERS = ("calibration", "BSD300/images/train", "BSDS300/images/train", "bench/calibration")

#: Benchmark sets are handed on cut at the right and the bottom, to sides that divide by 2, 3, 4 or 12. Cut to sides
#: that divide by this, all copies of a picture are alike again.
_COMMON_MULTIPLE = 12


@dataclass(frozen=True)
class Request:
    """What to build; the defaults are the paper's study.

    Attributes:
        data: folder with the benchmark sets.
        sets: which sets.
        methods: names, weights files, ``NAME=DIR``; ``paper`` stands for the paper's twelve that are not named.
        without: methods to leave out.
        same_everywhere: rate all methods on BSD100 too, not only the paper's nine.
        calibration_data: folder of pictures that are in no set; looked for under ``data`` when None.
        calibration: how many pictures the calibration shows, each as nearest neighbour and as original.
        repeats: how many pictures are shown twice.
        repeats_from: the set that these are chosen from; the last of ``sets`` when None.
        seed: the study's seed; a fresh one when None.
        title: what raters read.
        engine: engine that runs the networks.
        precision: its precision.
    """

    data: Path
    sets: Sequence[str] = design.SETS
    methods: Sequence[str] = ("paper",)
    without: Sequence[str] = ()
    same_everywhere: bool = False
    calibration_data: Path | None = None
    calibration: int = design.CALIBRATION_PICTURES
    repeats: int = design.REPEATED_PICTURES
    repeats_from: str | None = None
    seed: str | None = None
    title: str = "Picture quality study"
    engine: str = "auto"
    precision: str = "auto"


def check_numbers(request: Request) -> None:
    """Raises for what a request says by itself, before anything is looked at.

    Raises:
        UsageError: naming the option.
    """
    if not request.sets:
        raise UsageError(f"--sets names no set; give some of {', '.join(design.SETS)}, or others under --data")
    if request.calibration < 0 or request.repeats < 0:
        raise UsageError("--calibration and --repeats are 0 or more")
    if request.repeats_from is not None and request.repeats_from not in request.sets:
        raise UsageError(f"--repeats-from {request.repeats_from}: not among the sets {', '.join(request.sets)}")
    if not request.title.strip():
        raise UsageError("--title is empty; raters read it on every page")
    for option, text in (("--title", request.title), ("--seed", request.seed or "")):
        if shown(text) != text:
            raise UsageError(f"{option} {shown(text)} is not in UTF-8")


def methods_on(set_name: str, methods: tuple[str, ...], same_everywhere: bool) -> tuple[str, ...]:
    """Returns the methods to rate on a set.

    Raises:
        UsageError: if nothing would be compared there.
    """
    rated = methods if same_everywhere else design.methods_for(set_name, methods)
    if len(rated) < 2:
        left = f"only {rated[0]} is" if rated else "none of these methods is"
        raise UsageError(
            f"{set_name}: {left} rated there, because the paper left its other variants out on BSD100; give "
            "--same-everywhere, more --methods, or other --sets"
        )
    return rated


def check_names(sets: Sequence[BenchmarkSet], methods: Mapping[str, Method], calibration: Sequence[Path]) -> None:
    """Raises before anything is built for names that the manifest, which is UTF-8, cannot hold."""
    of_pictures = [path.name for path in (*(entry.hr for one in sets for entry in one.entries), *calibration)]
    folders = [method.location for method in methods.values() if isinstance(method, ResultFolder)]
    for name in (*methods, *of_pictures, *folders):
        if shown(name) != name:
            raise DataError(f"{shown(name)}: this name is not in UTF-8; rename it")


def check_results(
    sets: Sequence[BenchmarkSet], plan: Mapping[str, tuple[str, ...]], methods: Mapping[str, Method]
) -> list[str]:
    """Raises before anything is built where another program's picture is missing; returns the naming that was found."""
    folders = {name: method for name, method in methods.items() if isinstance(method, ResultFolder)}
    for one in sets:
        for name in folders.keys() & set(plan[one.name]):
            for entry in one.entries:
                folders[name].source(entry, one)
    return [note for folder in folders.values() for note in folder.notes()]


def methods_of(request: Request) -> list[Method]:
    """Returns the methods to rate, in the paper's order where they have one.

    Raises:
        UsageError: for fewer than two, an unknown one, or one of the paper's that is not shipped.
        FourfoldError: if a network cannot be loaded.
    """
    specs = resolve(request.methods, request.without)
    if len(specs) < 2:
        raise UsageError("a study compares at least two methods; give more with --methods")
    there = {*KERNELS, "hr", *shipped_names()}
    missing = [spec for spec in specs if spec in design.TWELVE and spec not in there]
    if missing:
        raise UsageError(_remedy(missing, request.without))
    return make_methods(specs, engine=request.engine, precision=request.precision)


def _remedy(missing: Sequence[str], without: Sequence[str]) -> str:
    """Returns what to do about the paper's methods that are not shipped, all of them at once."""
    are, them = ("are", "them") if len(missing) > 1 else ("is", "it")
    given = ",".join(f"{name}=DIR" for name in missing)
    return (
        f"{' and '.join(missing)}, of the paper's methods, {are} not shipped: add {given} to --methods (a folder with "
        f"results, or a weights file), or leave {them} out with --without {','.join([*without, *missing])}"
    )


def resolve(methods: Sequence[str], without: Sequence[str]) -> list[str]:
    """Returns the methods to make, ``paper`` replaced by the paper's methods, in the paper's order where they have one.

    ``srgan`` and ``srresnet`` become the names that the paper's variants have, so that the report finds their MOS.
    """
    named = {ALIASES.get(name_of(spec), name_of(spec)): ALIASES.get(spec, spec) for spec in methods if spec != "paper"}
    if len(named) != sum(1 for spec in methods if spec != "paper"):
        raise UsageError(f"a method is named twice in {', '.join(methods)}")
    if "paper" in methods:
        named = {name: named.pop(name, name) for name in design.TWELVE} | named
    unknown = [name for name in without if ALIASES.get(name, name) not in named]
    if unknown:
        raise UsageError(f"--without {unknown[0]}: not among the methods {', '.join(named)}")
    left_out = {ALIASES.get(name, name) for name in without}
    return [spec for name, spec in named.items() if name not in left_out]


def choose_calibration(request: Request, seed: str) -> list[Path]:
    """Returns the pictures to calibrate with, chosen by the seed.

    Raises:
        UsageError: if nothing says where they lie.
        DataError: if there are too few, or they cannot be read.
    """
    if request.calibration == 0:
        return []
    folder = request.calibration_data
    if folder is None:
        folder = next((request.data / name for name in CALIBRATION_FOLDERS if is_folder(request.data / name)), None)
    if folder is None:
        raise UsageError(
            f"no calibration pictures under {request.data}: give --calibration-data DIR with {request.calibration} "
            "photographs that are in no test set (the paper took BSD300's training pictures), or --calibration 0"
        )
    reason = why_unseen(folder)
    if reason:
        raise DataError(f"{folder}: the calibration pictures cannot be read ({reason})")
    found = find_pictures(folder, recursive=True)
    if len(found) < request.calibration:
        raise DataError(f"{folder} holds {counted(len(found), 'picture')}, the calibration needs {request.calibration}")
    by_chance = sorted(found, key=lambda path: hashlib.sha256(f"{seed}/{path.name}".encode()).digest())
    return by_chance[: request.calibration]


def refuse_test_pictures(calibration: Sequence[Path], sets: Sequence[BenchmarkSet]) -> None:
    """Raises before anything is built where a calibration picture is one that will be rated."""
    if not calibration:
        return
    tested = {_pixel_hash(read_rgb(entry.hr)): f"{one.name}/{entry.image}" for one in sets for entry in one.entries}
    for path in calibration:
        twin = tested.get(_pixel_hash(read_rgb(path)))
        if twin is not None:
            raise DataError(f"the calibration picture {path} is {twin} of the test; give other --calibration-data")


def _pixel_hash(pixels: NDArray[Any]) -> str:
    """Returns a hash that copies of a picture share: in another format, of 16 bits for 8, or cut to even sides."""
    height, width = (side // _COMMON_MULTIPLE * _COMMON_MULTIPLE or side for side in pixels.shape[:2])
    shown = as_bytes(pixels[:height, :width])
    return hashlib.sha256(str(shown.shape).encode() + shown.tobytes()).hexdigest()
