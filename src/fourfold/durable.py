"""Small files that appear whole or not at all, and stay; folders that one process at a time works in.

Pictures, which are written as a stream and may not replace what is there, have :mod:`fourfold.imaging.atomic`.
"""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: What file systems without locks answer, network ones among them.
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


def write_atomically(path: Path, data: bytes) -> None:
    """Writes bytes so that the file is either the old one or the whole new one, whatever happens.

    Temporary file, fsync, rename, fsync of the folder, so that the rename outlasts a power cut, too.

    Raises:
        OSError: if it cannot be written; what was there is then still there, and nothing else.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".fourfold.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


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
