"""A study on disk: the manifest with every hash, the pictures under random names, and the secret key.

::

    my-study/
    ├── manifest.json        what is shown, where it came from, SHA-256 of everything; never served
    ├── secret.key           signs the raters' links; keep it to yourself
    ├── pictures/<random>.png
    ├── invitations.csv      written by `fourfold study invite`
    └── ratings.sqlite       written by `fourfold study serve`

The manifest carries a digest over its own contents, and the store of the ratings remembers that digest: a study whose
pictures or manifest were changed after the first rating is refused.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from fourfold.errors import StudyError
from fourfold.places import is_file, why_unseen
from fourfold.study import tokens
from fourfold.study.design import Item, Showing, order_for

FORMAT = "fourfold-study"
VERSION = 2

#: The version before it differs in the orders of small studies (:func:`fourfold.study.design.order_for`).
_READ = (1, VERSION)


@dataclass(frozen=True)
class Stimulus:
    """One picture of a study: what it is, and the hash of the file that shows it."""

    id: str
    sha256: str
    width: int
    height: int
    set_name: str
    scene: str
    method: str
    anchor: int | None = None  # the score it stands for, in the calibration; None for a picture to rate

    @property
    def file(self) -> str:
        """The file, relative to the study's folder."""
        return f"pictures/{self.id}.png"


@dataclass(frozen=True)
class Manifest:
    """Everything that defines a study.

    ``methods`` maps each method to its label and where its pictures came from; ``sets`` maps each set to its methods;
    ``sources`` maps ``set/scene`` to the benchmark file and its hash; ``repeats`` names the pictures shown twice;
    ``version`` is that of the format.
    """

    study_id: str
    title: str
    created: str
    fourfold_version: str
    seed: str
    scale: int
    sets: Mapping[str, tuple[str, ...]]
    methods: Mapping[str, Mapping[str, Any]]
    sources: Mapping[str, Mapping[str, Any]]
    stimuli: Mapping[str, Stimulus]
    repeats: tuple[str, ...] = ()
    version: int = VERSION
    _orders: dict[str, list[Showing]] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything above."""
        return hashlib.sha256(_canonical(_contents(self))).hexdigest()

    @property
    def ratings_per_rater(self) -> int:
        """Pictures that each rater rates, without calibration and repeats (1,128 in the paper)."""
        return sum(1 for stimulus in self.stimuli.values() if stimulus.anchor is None)

    @property
    def shown_per_rater(self) -> int:
        """Pictures that each rater is shown to rate, those that come twice counted twice."""
        return self.ratings_per_rater + len(self.repeats)

    @property
    def largest_px(self) -> tuple[int, int]:
        """The largest width and the largest height of any picture."""
        return (
            max(stimulus.width for stimulus in self.stimuli.values()),
            max(stimulus.height for stimulus in self.stimuli.values()),
        )

    def order(self, rater: str) -> list[Showing]:
        """Returns everything this rater sees, in his order (kept, since every request asks for it)."""
        if rater not in self._orders:
            items = [Item(s.id, f"{s.set_name}/{s.scene}", s.anchor) for s in self.stimuli.values()]
            self._orders[rater] = order_for(rater, self.seed, items, self.repeats, thorough=self.version > 1)
        return self._orders[rater]


@dataclass(frozen=True)
class Study:
    """An opened study: its folder, its checked manifest and its key."""

    folder: Path
    manifest: Manifest
    key: bytes = field(repr=False)

    def picture(self, identifier: str) -> bytes:
        """Returns the file of one picture, checked against its hash.

        Raises:
            StudyError: if the file is missing or was changed since the study was created.
        """
        return _checked(self.folder, self.manifest.stimuli[identifier])


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Writes ``manifest.json`` with its digest."""
    contents = {"digest": manifest.digest, **_contents(manifest)}
    text = json.dumps(contents, indent=1, ensure_ascii=False)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")


def write_key(folder: Path) -> None:
    """Writes a fresh ``secret.key`` that only its owner can read."""
    descriptor = os.open(folder / "secret.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(tokens.new_key().hex() + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Returns the manifest of a study.

    Raises:
        StudyError: if there is none, it cannot be read, is damaged, of a newer version, or was edited.
    """
    path = folder / "manifest.json"
    if not is_file(path):
        reason = why_unseen(path)
        if reason:
            raise StudyError(f"{folder}: cannot be read ({reason})")
        raise StudyError(f"{folder} is not a study: it has no manifest.json; make one with: fourfold study create")
    try:
        contents = json.loads(_read(path))
        if contents.get("format") != FORMAT:
            raise StudyError(f"{path} is not the manifest of a rating study")
        if contents.get("version") not in _READ:
            raise StudyError(
                f"{path} has version {contents.get('version')}, this Fourfold reads up to version {VERSION}; "
                "update Fourfold"
            )
        digest = contents.pop("digest")
        manifest = _from_contents(contents)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StudyError(f"{path} is damaged ({type(error).__name__}: {error}); restore it from a copy") from error
    if manifest.digest != digest or hashlib.sha256(_canonical(contents)).hexdigest() != digest:
        raise StudyError(f"{path} was changed after the study was created; restore it from a copy")
    return manifest


def open_study(
    folder: Path, *, check_pictures: bool = True, progress: Callable[[int, int], None] | None = None
) -> Study:
    """Returns a study, ready to serve, with every picture checked against its hash.

    Args:
        folder: the study's folder.
        check_pictures: False skips reading all pictures; each is still checked when it is shown.
        progress: called with (pictures checked, pictures in all).

    Raises:
        StudyError: if anything is missing, damaged or changed.
    """
    manifest = read_manifest(folder)
    try:
        key = bytes.fromhex((folder / "secret.key").read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise StudyError(f"{folder / 'secret.key'} is missing or damaged; restore it from a copy") from error
    if len(key) < 32:
        raise StudyError(f"{folder / 'secret.key'} is too short to be a key; restore it from a copy")
    if check_pictures:
        check_all_pictures(folder, manifest, progress)
    return Study(folder, manifest, key)


def check_all_pictures(folder: Path, manifest: Manifest, progress: Callable[[int, int], None] | None = None) -> None:
    """Reads every picture of a study and compares it with its hash.

    Args:
        folder: the study's folder.
        manifest: its manifest.
        progress: called with (pictures checked, pictures in all).

    Raises:
        StudyError: if a file is missing or was changed since the study was created.
    """
    for done, stimulus in enumerate(manifest.stimuli.values(), start=1):
        _checked(folder, stimulus)
        if progress:
            progress(done, len(manifest.stimuli))


def _contents(manifest: Manifest) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": manifest.version,
        "study_id": manifest.study_id,
        "title": manifest.title,
        "created": manifest.created,
        "fourfold_version": manifest.fourfold_version,
        "seed": manifest.seed,
        "scale": manifest.scale,
        "sets": {name: list(methods) for name, methods in manifest.sets.items()},
        "methods": {name: dict(record) for name, record in manifest.methods.items()},
        "sources": {name: dict(record) for name, record in manifest.sources.items()},
        "repeats": list(manifest.repeats),
        "stimuli": [asdict(stimulus) for stimulus in manifest.stimuli.values()],
    }


def _from_contents(contents: dict[str, Any]) -> Manifest:
    stimuli = [Stimulus(**record) for record in contents["stimuli"]]
    by_id = {stimulus.id: stimulus for stimulus in stimuli}
    if not by_id or len(by_id) != len(stimuli) or not all(_is_plain(identifier) for identifier in by_id):
        raise ValueError("pictures without, or with doubtful, names")
    return Manifest(
        study_id=contents["study_id"],
        title=contents["title"],
        created=contents["created"],
        fourfold_version=contents["fourfold_version"],
        seed=contents["seed"],
        scale=contents["scale"],
        sets={name: tuple(methods) for name, methods in contents["sets"].items()},
        methods=contents["methods"],
        sources=contents["sources"],
        stimuli=by_id,
        repeats=tuple(contents["repeats"]),
        version=contents["version"],
    )


def _is_plain(identifier: str) -> bool:
    return identifier.isascii() and identifier.isalnum()


def _canonical(contents: Mapping[str, Any]) -> bytes:
    return json.dumps(contents, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def _checked(folder: Path, stimulus: Stimulus) -> bytes:
    data = _read(folder / stimulus.file)
    if hashlib.sha256(data).hexdigest() != stimulus.sha256:
        raise StudyError(f"{folder / stimulus.file} was changed after the study was created; restore it")
    return data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StudyError(f"cannot read {path}: {error.strerror}") from error
