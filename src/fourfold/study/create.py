"""Building a study: every version of every picture, the calibration, the manifest; whole or not at all."""

import hashlib
import itertools
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fourfold.errors import DataError, StudyError
from fourfold.evaluation.methods import Method
from fourfold.evaluation.sets import SCALE, BenchmarkSet, Entry, Pair, find_sets, read_pair
from fourfold.imaging import imresize, read_rgb
from fourfold.places import why_unseen
from fourfold.study import design
from fourfold.study.manifest import Manifest, Stimulus, write_key, write_manifest
from fourfold.study.request import (
    Request,
    check_names,
    check_numbers,
    check_results,
    choose_calibration,
    methods_of,
    methods_on,
    refuse_test_pictures,
)
from fourfold.study.stimuli import encode_alike, new_identifier, write_stimulus
from fourfold.version import __version__

#: Called with (pictures made, pictures in all, what was made).
Progress = Callable[[int, int, str], None]

#: Calibration pictures larger than this are cut to their middle.
_CALIBRATION_SIDE_PX = 480


def create_study(
    folder: Path,
    request: Request,
    progress: Progress | None = None,
    on_note: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Builds a study in a new folder and returns its manifest.

    Everything is built beside the folder and renamed at the end, so that a study is there whole or not at all.

    Args:
        folder: a new folder.
        request: what to build.
        progress: called after each scene.
        on_note: called, before anything is built, with which pictures were taken in folders of results.

    Raises:
        UsageError: for an unknown method or set, or a number that makes no sense.
        DataError: if pictures are missing or do not fit together, or names cannot be written in UTF-8.
        StudyError: if the folder is there already or cannot be written.
    """
    reason = why_unseen(folder)
    if reason:
        raise StudyError(f"{folder}: a study cannot be written there ({reason}); name another folder")
    if folder.exists():
        raise StudyError(f"{folder} is there already; name a new folder (a study is never changed)")
    check_numbers(request)
    sets = find_sets(request.data, list(request.sets))
    methods = {method.name: method for method in methods_of(request)}
    plan = {one.name: methods_on(one.name, tuple(methods), request.same_everywhere) for one in sets}
    seed = request.seed or secrets.token_hex(8)
    calibration = choose_calibration(request, seed)
    check_names(sets, methods, calibration)
    refuse_test_pictures(calibration, sets)
    for note in check_results(sets, plan, methods):
        on_note(note)
    partial = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.part"
    try:
        (partial / "pictures").mkdir(parents=True)
        builder = _Builder(partial, request, seed, sets, plan, methods, calibration, progress or (lambda *_: None))
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
        plan: Mapping[str, tuple[str, ...]],
        methods: Mapping[str, Method],
        calibration: Sequence[Path],
        progress: Progress,
    ) -> None:
        self.folder, self.request, self.seed, self.sets, self.methods = folder, request, seed, sets, methods
        self.plan = dict(plan)
        self.calibration, self.progress = dict(zip(_names(calibration), calibration, strict=True)), progress
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


def _names(paths: Sequence[Path]) -> list[str]:
    """Returns a name of its own for each picture: that of its file, numbered from the second of that name on."""
    names: list[str] = []
    stems = {path.stem for path in paths}
    for path in paths:
        numbered = (f"{path.stem}-{number}" for number in itertools.count(2))
        free = (name for name in numbered if name not in stems and name not in names)
        names.append(next(free) if path.stem in names else path.stem)
    return names


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
