"""Small files that appear whole or not at all, and stay; folders that one process at a time works in.

Pictures, which are written as a stream and may not replace what is there, have :mod:`fourfold.imaging.atomic`.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fourfold.places import is_stream

#: What file systems without locks answer, network ones among them.
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


def write_atomically(path: Path, data: bytes) -> None:
    """Writes bytes so that the file is either the old one or the whole new one, whatever happens.

    Temporary file, fsync, rename, fsync of the folder, so that the rename outlasts a power cut, too. The file's
    permissions are those of any new file. A pipe or a device is written into: a rename would put a file in its place.

    Raises:
        OSError: if it cannot be written; what was there is then still there, and nothing else.
    """
    if is_stream(path):
        with path.open("wb") as stream:
            stream.write(data)
        return
    temporary = path.parent / f".fourfold.{os.urandom(6).hex()}.part"
    # opened like this, it gets the permissions that the umask leaves; tempfile's are closed to everybody else
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def append_whole(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Adds bytes to the end of a file, all of them or none: half a line would be glued to the next one.

    Args:
        path: the file, made if it is not there.
        data: the bytes, with the end of their last line.
        mode: of a new file, less what the umask takes away.

    Raises:
        OSError: if they cannot be written, such as on a full disk; the file is then as long as it was.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), mode)
    with os.fdopen(handle, "ab", buffering=0) as file:
        length, rest = file.seek(0, os.SEEK_END), memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            with suppress(OSError):
                file.truncate(length)
            raise


def sync_folder(folder: Path) -> None:
    """Brings a rename in the folder to the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def exclusive(path: Path, busy: Callable[[], None] | None = None) -> Iterator[None]:
    """Holds a lock that ends with the process, however that ends; where the system has no file locks, holds nothing.

    Args:
        path: the lock's file, made if it is not there and left behind.
        busy: called if another process holds the lock, which is then waited for; without it, there is no waiting.

    Raises:
        BlockingIOError: if another process holds the lock and it is not to be waited for.
        OSError: if the file cannot be made.
    """
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        yield
        return
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if busy is None:
                raise
            busy()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield
