"""Small files that appear whole or not at all, and stay.

Pictures, which are written as a stream and may not replace what is there, have :mod:`fourfold.imaging.atomic`.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


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
