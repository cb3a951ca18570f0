"""What lies at a path, for whoever may not look: a closed folder is an answer, not a traceback.

``Path.is_dir`` and its kin raise where a folder on the way is closed, in some versions of Python.
"""

import errno
import os
import stat
from pathlib import Path

#: Nothing is there, which is no reason worth telling.
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


def is_folder(path: Path) -> bool:
    """Returns whether a folder is there; False where that cannot be seen."""
    return stat.S_ISDIR(_mode(path))


def is_file(path: Path) -> bool:
    """Returns whether a regular file is there; False where that cannot be seen."""
    return stat.S_ISREG(_mode(path))


def is_stream(path: Path) -> bool:
    """Returns whether something is there that is neither a file nor a folder: a pipe, a device, a terminal."""
    mode = _mode(path)
    return mode != 0 and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def why_unseen(path: Path) -> str | None:
    """Returns why it cannot be seen what is at a path, "Permission denied"; None where it can, or nothing is there."""
    try:
        path.stat()
    except (OSError, ValueError) as error:
        return None if getattr(error, "errno", None) in _ABSENT else getattr(error, "strerror", None) or str(error)
    return None


def why_closed(folder: Path) -> str | None:
    """Returns why a folder cannot be looked into, "Permission denied"; None where it can."""
    try:
        os.scandir(folder).close()
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0
