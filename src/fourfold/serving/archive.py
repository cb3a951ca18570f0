"""All results of a batch as one ZIP, made while it is sent: no copy on disk, little memory."""

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

PIECE_BYTES = 256 * 1024


class _Outlet:
    """A file to write into whose content is taken out again at once."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Does nothing; a ZIP writer asks for it."""

    def take(self) -> bytes:
        data, self._pieces = b"".join(self._pieces), []
        return data


def zip_stream(files: Iterable[tuple[str, Path]]) -> Iterator[bytes]:
    """Yields a ZIP of the files, each under its name; a file that has gone meanwhile is left out.

    Pictures are compressed already, so they are stored as they are.
    """
    outlet = _Outlet()
    # zipfile needs no more of a file than to write and flush; its type asks for all of it
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:  # type: ignore[call-overload]
        for name, path in files:
            try:
                source = path.open("rb")
            except FileNotFoundError:
                continue
            with source, archive.open(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), "w", force_zip64=True) as entry:
                while piece := source.read(PIECE_BYTES):
                    entry.write(piece)
                    yield outlet.take()
            yield outlet.take()
    yield outlet.take()


def distinct_names(names: Iterable[str]) -> Iterator[str]:
    """Yields the names, with a number added to those that came before."""
    seen: dict[str, int] = {}
    for name in names:
        folded = name.casefold()
        count = seen.get(folded, 0)
        seen[folded] = count + 1
        path = PurePosixPath(name)
        yield name if count == 0 else f"{path.stem} ({count + 1}){path.suffix}"
