"""Files that appear whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fourfold.durable import sync_folder
from fourfold.errors import OutputExistsError, PictureError

#: What the unfinished files are called; hidden, and short, so that a long name stays within the file system's limit.
TEMPORARY_PREFIX = ".fourfold-"


class AtomicOutput:
    """A temporary file beside ``path`` that becomes ``path`` on :meth:`commit`, or goes away on :meth:`discard`.

    Args:
        path: the file to be; its folder must exist.
        overwrite: replace a file that is there.

    Attributes:
        path: the file to be.
        descriptor: of the temporary file, open for reading and writing.

    Raises:
        OutputExistsError: if ``path`` is there and may not be replaced.
        PictureError: if the folder cannot be written, the disk is full, or the name is none or too long.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        if "\0" in str(self.path):
            raise PictureError(f"{str(self.path)!r} is no name of a file: it holds a zero byte")
        self._overwrite = overwrite
        refuse_existing(self.path, overwrite)
        self._temporary = self.path.parent / f"{TEMPORARY_PREFIX}{os.urandom(6).hex()}.part"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            self.descriptor = os.open(self._temporary, flags, 0o666)
        except OSError as error:
            raise write_error(self.path, error) from error
        self._open = True

    def commit(self) -> None:
        """Flushes the file to the disk and renames it.

        Raises:
            OutputExistsError: if a file has appeared meanwhile that may not be replaced.
            PictureError: if the disk refuses.
        """
        try:
            os.fsync(self.descriptor)
            self._close()
            _install(self._temporary, self.path, self._overwrite)
        except OSError as error:
            self.discard()
            raise write_error(self.path, error) from error
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Removes the temporary file; may be called at any time, and more than once."""
        if self._open:
            with suppress(OSError):  # emptied: an encoder that has failed may hold it open, and with it a full disk
                os.ftruncate(self.descriptor, 0)
        self._close()
        self._temporary.unlink(missing_ok=True)

    def __del__(self) -> None:
        if getattr(self, "_open", False):  # dropped half-way, by Ctrl-C in an unlucky moment
            self.discard()

    def _close(self) -> None:
        if self._open:
            self._open = False
            os.close(self.descriptor)


@contextmanager
def atomic_output(path: Path, *, overwrite: bool = False) -> Iterator[int]:
    """Gives the descriptor of an :class:`AtomicOutput` that is committed when the block ends well.

    When the block raises, KeyboardInterrupt included, nothing is left and ``path`` is as it was.

    Raises:
        OutputExistsError: if ``path`` is there and may not be replaced.
        PictureError: if the file cannot be written.
    """
    output = AtomicOutput(Path(path), overwrite=overwrite)
    try:
        yield output.descriptor
    except OSError as error:
        output.discard()
        raise write_error(output.path, error) from error
    except BaseException:
        output.discard()
        raise
    output.commit()


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raises OutputExistsError if there is something at ``path`` that may not be replaced."""
    try:
        there = os.path.lexists(path)
        folder = path.is_dir()
    except OSError as error:
        raise write_error(path, error) from error
    except ValueError as error:
        raise PictureError(f"{path}: not a usable file name ({error})") from error
    if folder:
        raise PictureError(f"{path}: is a folder; name a file in it")
    if there and not overwrite:
        raise OutputExistsError(f"{path}: exists already; --overwrite (overwrite=True) replaces it")


def _install(temporary: Path, path: Path, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(path)
    else:
        # a hard link fails where a file has appeared meanwhile; a rename would replace it
        try:
            os.link(temporary, path)
        except FileExistsError as error:
            raise OutputExistsError(f"{path}: appeared while this was running; it was left alone") from error
        except OSError:  # file systems without hard links
            refuse_existing(path, overwrite)
            temporary.replace(path)
        else:
            temporary.unlink()
    sync_folder(path.parent)


#: What to do about the failures that people meet.
_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder with -o",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another folder with -o",
    errno.EFBIG: "the file is larger than this system allows; choose another folder or a smaller format",
    errno.EACCES: "the folder may not be written; choose another with -o",
    errno.EPERM: "the folder may not be written; choose another with -o",
    errno.EROFS: "the file system is read-only; choose another folder with -o",
    errno.ENOENT: "the folder does not exist",
    errno.EEXIST: "a file is in the place of its folder; choose another with -o",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.ENAMETOOLONG: "the file name is too long for this file system; choose a shorter one with -o or --suffix",
}


def write_error(path: Path, error: OSError) -> PictureError:
    """Returns the error to raise when ``path`` could not be written."""
    reason = _REMEDIES.get(error.errno or 0, error.strerror or str(error))
    return PictureError(f"{path}: cannot be written: {reason}")


def write_at(descriptor: int, data: bytes, at: int) -> None:
    """Writes all of the bytes at a place in an open file, in as many pieces as the system takes them.

    Raises:
        OSError: if the disk refuses.
    """
    while data:
        written = os.pwrite(descriptor, data, at)
        data, at = data[written:], at + written
