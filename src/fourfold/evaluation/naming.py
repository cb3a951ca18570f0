"""How another program named its result pictures: given as a pattern, or found out from what lies in a folder.

A folder often holds the results of several programs, the originals too. A naming that holds the method's name is
taken before any other; without one, a naming is taken only where no other comes near it. What stays open is refused:
the numbers of another program under a method's name would look like a result.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fourfold.errors import DataError
from fourfold.evaluation.sets import SCALE, BenchmarkSet, Entry, pictures_in
from fourfold.imaging import SUFFIXES
from fourfold.places import is_file, is_folder, why_closed, why_unseen

#: words in a naming that say: these are the originals, or the LR pictures
_NO_RESULTS = frozenset({"hr", "lr", "gt"})

#: (prefix, suffix) -> picture's key -> the stem that is named so
_Votes = dict[tuple[str, str], dict[str, str]]

#: stem -> the pictures of a folder that are called so
_Files = dict[str, list[Path]]


@dataclass(frozen=True)
class Naming:
    """A naming that was found: ``prefix + picture's name + suffix``, any picture format."""

    folder: Path
    prefix: str
    suffix: str

    @property
    def text(self) -> str:
        """The naming as it can be given: ``{name}_x4``."""
        return f"{self.prefix}{{name}}{self.suffix}"

    def wanted(self, entry: Entry) -> str:
        """Returns what an entry's file would be called, for a message."""
        return f"{self.folder / (self.prefix + entry.key + self.suffix)}.png"

    def path(self, entry: Entry) -> Path | None:
        """Returns the file of an entry, or None.

        Raises:
            DataError: if there are two.
        """
        return _file_called(self._files, f"{self.prefix}{entry.key}{self.suffix}")

    @cached_property
    def _files(self) -> _Files:
        return _files_in(self.folder)  # once: a set may have thousands of pictures


@dataclass(frozen=True)
class Pattern:
    """A naming that was given: a path with ``{name}`` and perhaps ``{set}``, anywhere in it.

    With a picture's ending it means exactly that file; without one, the file of that name in any picture format.
    """

    text: str
    set_name: str
    _seen: dict[Path, _Files] = field(default_factory=dict, init=False, repr=False, compare=False)

    def wanted(self, entry: Entry) -> str:
        """Returns what an entry's file would be called, for a message."""
        values = {"name": entry.key, "set": self.set_name}
        # in one go: a picture's name may itself hold {set}
        return re.sub(r"\{(name|set)\}", lambda match: values[match[1]], self.text)

    def path(self, entry: Entry) -> Path | None:
        """Returns the file of an entry, or None.

        Raises:
            DataError: if no ending was given and there are two.
        """
        path = Path(self.wanted(entry))
        if Path(self.text).suffix.lower() in SUFFIXES:
            return path if is_file(path) or why_unseen(path) else None  # what is closed is named by whoever reads it
        if path.parent not in self._seen:
            self._seen[path.parent] = _files_in(path.parent)
        return _file_called(self._seen[path.parent], path.name)


def _files_in(folder: Path) -> _Files:
    files: _Files = {}
    for path in pictures_in(folder):
        files.setdefault(path.stem, []).append(path)
    return files


def _file_called(found: _Files, stem: str) -> Path | None:
    files = found.get(stem, [])
    if len(files) > 1:
        raise DataError(
            f"{files[0].parent}: {files[0].name} and {files[1].name} are both called {stem!r}; "
            f"give the ending, as in NAME=DIR/{{name}}{files[0].suffix}"
        )
    return files[0] if files else None


def result_folder(root: Path, of: BenchmarkSet) -> Path:
    """Returns the folder with a set's results: the set's own below the root, or the root itself.

    Raises:
        DataError: if there is neither, or it may not be looked into.
    """
    for folder in (root / of.name, root / of.name.lower(), root):
        inner = folder / f"image_SRF_{SCALE}"
        if is_folder(inner):
            return _open(inner)
        if is_folder(folder) and (folder != root or pictures_in(root)):
            return _open(folder)
    _open(root)
    raise DataError(f"{root}: no folder {of.name} and no pictures")


def _open(folder: Path) -> Path:
    reason = why_closed(folder)
    if reason is not None:
        raise DataError(f"{folder}: cannot be read ({reason})")
    return folder


def find_naming(folder: Path, keys: Sequence[str], method: str) -> Naming:
    """Returns the naming of a method's results.

    Those that hold the method's name as a whole word come first, and the one that fits the most pictures wins even
    where another program's fits more. Without any, the naming that fits the most pictures is taken if nothing comes
    near it and it does not say HR, LR or GT.

    Raises:
        DataError: if nothing fits, or several namings do and none stands out.
    """
    votes = _votes(folder, keys)
    if not votes:
        raise DataError(
            f"{method}: no file in {folder} is named after {keys[0]!r} or another picture of the set; "
            f"give the naming, as in {method}={folder}/{{name}}.png"
        )
    named = {naming: files for naming, files in votes.items() if any(_has_word(part, method) for part in naming)}
    rest = {naming: files for naming, files in votes.items() if not _NO_RESULTS & _words(naming)}
    if not named and not rest:
        raise DataError(
            f"{method}: {folder} holds only originals or LR pictures by their names, {_patterns(votes)}; if they are "
            f"results, give the naming, as in {method}={folder}/{_text(next(iter(votes)))}.png"
        )
    choices = named or rest
    best = min(choices, key=lambda naming: (-len(choices[naming]), len(_words(naming)), len("".join(naming))))
    rivals = _rivals(best, choices, bool(named))
    if rivals:
        raise DataError(
            f"{method}: several namings fit {folder}: {_patterns([best, *rivals])}; give the one that is meant, "
            f"as in {method}={folder}/{_text(best)}.png"
        )
    return Naming(folder, *best)


def _votes(folder: Path, keys: Sequence[str]) -> _Votes:
    votes: _Votes = {}
    order = {key: place for place, key in enumerate(keys)}
    lengths = sorted({len(key) for key in keys})
    for stem in dict.fromkeys(path.stem for path in pictures_in(folder)):
        # every part of the stem is looked up, not every key searched: of both there may be thousands
        parts = {stem[start : start + length] for length in lengths for start in range(len(stem) - length + 1)}
        for key in sorted(parts & order.keys(), key=order.__getitem__):
            for start in _places(key, stem):
                votes.setdefault((stem[:start], stem[start + len(key) :]), {})[key] = stem
    return votes


def _places(key: str, stem: str) -> Iterator[int]:
    """Yields where a key stands in a stem, without overlaps."""
    start = stem.find(key)
    while start >= 0:
        yield start
        start = stem.find(key, start + max(len(key), 1))


def _rivals(best: tuple[str, str], votes: _Votes, named: bool) -> list[tuple[str, str]]:
    """Returns the namings that could be meant as well as the best.

    Files that the best explains are no votes for another: in ``12_x4``, picture ``2`` only seems to be named.
    """
    explained = set(votes[best].values())

    def is_rival(naming: tuple[str, str]) -> bool:
        own = len(set(votes[naming].values()) - explained)
        if named:  # SRGAN's own results, fewer than those of SRGAN-VGG54, are meant by SRGAN all the same
            tied = len(votes[naming]) == len(votes[best]) and len(_words(naming)) == len(_words(best))
            return own > 0 and (tied or len(_words(naming)) < len(_words(best)))
        ambiguous = len(votes[naming]) == len(votes[best]) and votes[naming] != votes[best]
        return ambiguous or len(votes[best]) <= 2 * own

    return [naming for naming in votes if is_rival(naming)]


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", text, re.IGNORECASE) is not None


def _words(naming: tuple[str, str]) -> set[str]:
    return {word.lower() for part in naming for word in re.findall(r"[^\W_]+", part)}


def _text(naming: tuple[str, str]) -> str:
    return f"{naming[0]}{{name}}{naming[1]}"


def _patterns(namings: Iterable[tuple[str, str]]) -> str:
    return ", ".join([_text(naming) for naming in namings][:6])
