"""Building a study: every version of every picture, the calibration, the manifest; whole or not at all."""

import hashlib
import itertools
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fourfold.errors import DataError, StudyError, UsageError
from fourfold.evaluation.methods import KERNELS, Method, make_methods
from fourfold.evaluation.sets import SCALE, BenchmarkSet, Entry, Pair, find_sets, read_pair
from fourfold.imaging import find_pictures, imresize, read_rgb
from fourfold.places import is_folder, why_unseen
from fourfold.study import design
from fourfold.study.manifest import Manifest, Stimulus, write_key, write_manifest
from fourfold.study.stimuli import as_bytes, encode_alike, new_identifier, write_stimulus
from fourfold.version import __version__
from fourfold.weights import ALIASES, shipped_names

#: Called with (pictures made, pictures in all, what was made).
Progress = Callable[[int, int, str], None]

#: Where the calibration pictures are looked for, under the data folder.
CALIBRATION_FOLDERS = ("calibration", "BSD300/images/train", "BSDS300/images/train", "bench/calibration")

#: Calibration pictures larger than this are cut to their middle.
_CALIBRATION_SIDE_PX = 480

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


def create_study(folder: Path, request: Request, progress: Progress | None = None) -> Manifest:
    """Builds a study in a new folder and returns its manifest.

    Everything is built beside the folder and renamed at the end, so that a study is there whole or not at all.

    Raises:
        UsageError: for an unknown method or set, or a number that makes no sense.
        DataError: if pictures are missing or do not fit together.
        StudyError: if the folder is there already or cannot be written.
    """
    reason = why_unseen(folder)
    if reason:
        raise StudyError(f"{folder}: a study cannot be written there ({reason}); name another folder")
    if folder.exists():
        raise StudyError(f"{folder} is there already; name a new folder (a study is never changed)")
    _check_numbers(request)
    sets = find_sets(request.data, list(request.sets))
    methods = {method.name: method for method in _make_methods(request)}
    seed = request.seed or secrets.token_hex(8)
    calibration = _choose_calibration(request, seed)
    _refuse_test_pictures(calibration, sets)
    partial = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.part"
    try:
        (partial / "pictures").mkdir(parents=True)
        builder = _Builder(partial, request, seed, sets, methods, calibration, progress or (lambda *_: None))
        manifest = builder.build()
        write_manifest(manifest, partial)
        write_key(partial)
        partial.rename(folder)
    except OSError as error:
        raise StudyError(f"cannot write the study to {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


class _Builder:
    """Makes all pictures of one study and remembers what they are."""

    def __init__(
        self,
        folder: Path,
        request: Request,
        seed: str,
        sets: Sequence[BenchmarkSet],
        methods: Mapping[str, Method],
        calibration: Sequence[Path],
        progress: Progress,
    ) -> None:
        self.folder, self.request, self.seed, self.sets, self.methods = folder, request, seed, sets, methods
        self.calibration, self.progress = dict(zip(_names(calibration), calibration, strict=True)), progress
        self.plan = {one.name: self._methods_on(one.name) for one in sets}
        self.total = sum(len(one.entries) * len(self.plan[one.name]) for one in sets) + 2 * len(calibration)
        self.stimuli: list[Stimulus] = []
        self.sources: dict[str, dict[str, Any]] = {}

    def build(self) -> Manifest:
        for one in self.sets:
            for entry in one.entries:
                self._add_scene(one, entry)
        for name, path in self.calibration.items():
            self._add_calibration(name, path)
        # The order in the file must not be the order of making, nor the alphabet of methods.
        self.stimuli.sort(key=lambda stimulus: stimulus.id)
        return Manifest(
            study_id=secrets.token_hex(8),
            title=self.request.title,
            created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            fourfold_version=__version__,
            seed=self.seed,
            scale=SCALE,
            sets=self.plan,
            methods={name: dict(method.about()) for name, method in self.methods.items()},
            sources=self.sources,
            stimuli={stimulus.id: stimulus for stimulus in self.stimuli},
            repeats=tuple(self._repeats()),
        )

    def _methods_on(self, set_name: str) -> tuple[str, ...]:
        names = tuple(self.methods)
        return names if self.request.same_everywhere else design.methods_for(set_name, names)

    def _add_scene(self, one: BenchmarkSet, entry: Entry) -> None:
        pair = read_pair(entry)
        names = self.plan[one.name]
        versions = [_fitting(self.methods[name].restore(pair, entry, one), pair, name, entry) for name in names]
        self._note_source(f"{one.name}/{entry.key}", entry.hr)
        self._write(one.name, entry.key, names, versions, [None] * len(names))

    def _add_calibration(self, name: str, path: Path) -> None:
        hr = _middle(read_rgb(path))
        nearest = imresize(imresize(hr, 1 / SCALE), SCALE, kernel="nearest")
        self._note_source(f"calibration/{name}", path)
        self._write("calibration", name, tuple(design.ANCHORS), [nearest, hr], list(design.ANCHORS.values()))

    def _note_source(self, name: str, path: Path) -> None:
        self.sources[name] = {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

    def _write(
        self,
        set_name: str,
        scene: str,
        names: Sequence[str],
        versions: Sequence[NDArray[Any]],
        anchors: Sequence[int | None],
    ) -> None:
        for name, anchor, pixels, data in zip(names, anchors, versions, encode_alike(versions), strict=True):
            identifier = new_identifier()
            write_stimulus(self.folder / "pictures", identifier, data)
            height, width = pixels.shape[:2]
            digest = hashlib.sha256(data).hexdigest()
            self.stimuli.append(Stimulus(identifier, digest, width, height, set_name, scene, name, anchor))
        self.progress(len(self.stimuli), self.total, f"{set_name}/{scene}")

    def _repeats(self) -> list[str]:
        # a set is asked for by one of its names and called by its folder's: B100 for BSD100
        called = dict(zip(self.request.sets, (one.name for one in self.sets), strict=True))
        wanted = called[self.request.repeats_from or self.request.sets[-1]]
        candidates = {s.id: (s.scene, s.method) for s in self.stimuli if s.set_name == wanted}
        return design.choose_repeats(self.seed, candidates, self.request.repeats)


def _check_numbers(request: Request) -> None:
    if not request.sets:
        raise UsageError(f"--sets names no set; give some of {', '.join(design.SETS)}, or others under --data")
    if request.calibration < 0 or request.repeats < 0:
        raise UsageError("--calibration and --repeats are 0 or more")
    if request.repeats_from is not None and request.repeats_from not in request.sets:
        raise UsageError(f"--repeats-from {request.repeats_from}: not among the sets {', '.join(request.sets)}")
    if not request.title.strip():
        raise UsageError("--title is empty; raters read it on every page")


def _make_methods(request: Request) -> list[Method]:
    specs = _resolve(request.methods, request.without)
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


def _resolve(methods: Sequence[str], without: Sequence[str]) -> list[str]:
    """Returns the methods to make, ``paper`` replaced by the paper's methods, in the paper's order where they have one.

    ``srgan`` and ``srresnet`` become the names that the paper's variants have, so that the report finds their MOS.
    """
    named = {ALIASES.get(_name(spec), _name(spec)): ALIASES.get(spec, spec) for spec in methods if spec != "paper"}
    if len(named) != sum(1 for spec in methods if spec != "paper"):
        raise UsageError(f"a method is named twice in {', '.join(methods)}")
    if "paper" in methods:
        named = {name: named.pop(name, name) for name in design.TWELVE} | named
    unknown = [name for name in without if ALIASES.get(name, name) not in named]
    if unknown:
        raise UsageError(f"--without {unknown[0]}: not among the methods {', '.join(named)}")
    left_out = {ALIASES.get(name, name) for name in without}
    return [spec for name, spec in named.items() if name not in left_out]


def _name(spec: str) -> str:
    return spec.partition("=")[0]


def _choose_calibration(request: Request, seed: str) -> list[Path]:
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
        raise DataError(f"{folder} holds {len(found)} pictures, the calibration needs {request.calibration}")
    by_chance = sorted(found, key=lambda path: hashlib.sha256(f"{seed}/{path.name}".encode()).digest())
    return by_chance[: request.calibration]


def _names(paths: Sequence[Path]) -> list[str]:
    """Returns a name of its own for each picture: that of its file, numbered from the second of that name on."""
    names: list[str] = []
    stems = {path.stem for path in paths}
    for path in paths:
        numbered = (f"{path.stem}-{number}" for number in itertools.count(2))
        free = (name for name in numbered if name not in stems and name not in names)
        names.append(next(free) if path.stem in names else path.stem)
    return names


def _refuse_test_pictures(calibration: Sequence[Path], sets: Sequence[BenchmarkSet]) -> None:
    """Raises before anything is built where a calibration picture is one that will be rated."""
    if not calibration:
        return
    tested = {_pixel_hash(read_rgb(entry.hr)): f"{one.name}/{entry.image}" for one in sets for entry in one.entries}
    for path in calibration:
        twin = tested.get(_pixel_hash(read_rgb(path)))
        if twin is not None:
            raise DataError(f"the calibration picture {path} is {twin} of the test; give other --calibration-data")


def _fitting(pixels: NDArray[Any], pair: Pair, name: str, entry: Entry) -> NDArray[Any]:
    """Returns a version with the size of its original; one of the size before cropping is cropped alike."""
    height, width = pair.hr.shape[:2]
    if pixels.shape[:2] not in ((height, width), pair.uncropped):
        raise DataError(
            f"{name}: the picture for {entry.image} is {pixels.shape[1]}x{pixels.shape[0]}, "
            f"the original is {width}x{height}"
        )
    return pixels[:height, :width]


def _middle(pixels: NDArray[Any]) -> NDArray[Any]:
    """Returns the middle of a picture, sides multiples of the scale and not too long."""
    height, width = (min(side, _CALIBRATION_SIDE_PX) // SCALE * SCALE for side in pixels.shape[:2])
    if min(height, width) < SCALE:
        raise DataError("a calibration picture is too small to be shrunk")
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def _pixel_hash(pixels: NDArray[Any]) -> str:
    """Returns a hash that copies of a picture share: in another format, of 16 bits for 8, or cut to even sides."""
    height, width = (side // _COMMON_MULTIPLE * _COMMON_MULTIPLE or side for side in pixels.shape[:2])
    shown = as_bytes(pixels[:height, :width])
    return hashlib.sha256(str(shown.shape).encode() + shown.tobytes()).hexdigest()
