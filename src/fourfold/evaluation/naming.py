"""How another program named its result pictures: given as a pattern, or found out from what lies in a folder.

A folder often holds the results of several programs, the originals too. A naming that holds the method's name is
taken before any other; without one, a naming is taken only where no other comes near it. What stays open is refused:
the numbers of another program under a method's name would look like a result.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fourfold.errors import DataError
from fourfold.evaluation.sets import SCALE, BenchmarkSet, Entry, pictures_in
from fourfold.imaging import SUFFIXES

#: words in a naming that say: these are the originals, or the LR pictures
_NO_RESULTS = frozenset({"hr", "lr", "gt"})

#: (prefix, suffix) -> picture's key -> the stem that is named so
_Votes = dict[tuple[str, str], dict[str, str]]


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
        return _file_called(self.folder, f"{self.prefix}{entry.key}{self.suffix}")


@dataclass(frozen=True)
class Pattern:
    """A naming that was given: a path with ``{name}`` and perhaps ``{set}``, anywhere in it.

    With a picture's ending it means exactly that file; without one, the file of that name in any picture format.
    """

    text: str
    set_name: str

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
            return path if path.is_file() else None
        return _file_called(path.parent, path.name)


def _file_called(folder: Path, stem: str) -> Path | None:
    files = [path for path in pictures_in(folder) if path.stem == stem]
    if len(files) > 1:
        raise DataError(
            f"{folder}: {files[0].name} and {files[1].name} are both called {stem!r}; "
            f"give the ending, as in NAME=DIR/{{name}}{files[0].suffix}"
        )
    return files[0] if files else None


def result_folder(root: Path, of: BenchmarkSet) -> Path:
    """Returns the folder with a set's results: the set's own below the root, or the root itself.

    Raises:
        DataError: if there is neither.
    """
    for folder in (root / of.name, root / of.name.lower(), root):
        if folder.is_dir() and (folder != root or pictures_in(root)):
            inner = folder / f"image_SRF_{SCALE}"
            return inner if inner.is_dir() else folder
    raise DataError(f"{root}: no folder {of.name} and no pictures")


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
    rivals = [naming for naming in choices if _is_rival(naming, best, choices, bool(named))]
    if rivals:
        raise DataError(
            f"{method}: several namings fit {folder}: {_patterns([best, *rivals])}; give the one that is meant, "
            f"as in {method}={folder}/{_text(best)}.png"
        )
    return Naming(folder, *best)


def _votes(folder: Path, keys: Sequence[str]) -> _Votes:
    votes: _Votes = {}
    for stem in dict.fromkeys(path.stem for path in pictures_in(folder)):
        for key in keys:
            for match in re.finditer(re.escape(key), stem):
                votes.setdefault((stem[: match.start()], stem[match.end() :]), {})[key] = stem
    return votes


def _is_rival(naming: tuple[str, str], best: tuple[str, str], votes: _Votes, named: bool) -> bool:
    """Returns whether a naming could be meant as well as the best.

    Files that the best explains are no votes for another: in ``12_x4``, picture ``2`` only seems to be named.
    """
    own = len(set(votes[naming].values()) - set(votes[best].values()))
    if named:  # SRGAN's own results, fewer than those of SRGAN-VGG54, are meant by SRGAN all the same
        tied = len(votes[naming]) == len(votes[best]) and len(_words(naming)) == len(_words(best))
        return own > 0 and (tied or len(_words(naming)) < len(_words(best)))
    ambiguous = len(votes[naming]) == len(votes[best]) and votes[naming] != votes[best]
    return ambiguous or len(votes[best]) <= 2 * own


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", text, re.IGNORECASE) is not None


def _words(naming: tuple[str, str]) -> set[str]:
    return {word.lower() for part in naming for word in re.findall(r"[^\W_]+", part)}


def _text(naming: tuple[str, str]) -> str:
    return f"{naming[0]}{{name}}{naming[1]}"


def _patterns(namings: Iterable[tuple[str, str]]) -> str:
    return ", ".join([_text(naming) for naming in namings][:6])
