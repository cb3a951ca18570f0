"""Where pictures wait and results are kept: one folder per job, named by the job's random id and nothing else.

With a state folder every change of a job is on disk before a client hears of it, so that a restart, or a
``kill -9``, loses nothing that was accepted. Without one the pictures lie in a private temporary folder that goes
away with the server.
"""

import asyncio
import json
import logging
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fourfold.durable import write_atomically
from fourfold.errors import UsageError
from fourfold.serving.jobs import Job, State

log = logging.getLogger("fourfold.serving")

_ID = re.compile(r"[A-Za-z0-9_-]{20,32}")
#: Besides jobs, what a state folder may hold: our lock, and what systems put into folders of their own accord.
_NO_JOBS = {"lock", "lost+found", ".DS_Store"}


class Store:
    """The jobs' folders.

    Args:
        state: folder that outlives the server, or None for a temporary one.
    """

    def __init__(self, state: Path | None) -> None:
        self.durable = state is not None
        self._bytes: dict[str, int] = {}
        self._lock: Any = None
        # one thread: the records of a job reach the disk in the order in which they were made
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="store")
        if state is None:
            self.folder = Path(tempfile.mkdtemp(prefix="fourfold-serve-"))
            # an application that is made and never started, for its OpenAPI document, say, is not closed either
            self._remove_temporary = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        else:
            self.folder = state
            self._claim(state)

    def _claim(self, state: Path) -> None:
        import fcntl  # a state folder needs a system with file locks; serving without one does not

        try:
            state.mkdir(parents=True, exist_ok=True, mode=0o700)
            _refuse_foreign(state)
            self._lock = (state / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise UsageError(f"another server uses the state folder {state}; give each server its own") from error
        except OSError as error:
            raise UsageError(f"cannot use the state folder {state}: {error.strerror or error}") from error

    @property
    def bytes(self) -> int:
        """Bytes of all pictures that are kept."""
        return sum(self._bytes.values())

    def bytes_of(self, job_id: str) -> int:
        """Bytes of the pictures of one job."""
        return self._bytes.get(job_id, 0)

    def path(self, job_id: str) -> Path:
        """Returns the folder of a job; only ids that the server made itself come here."""
        if not _ID.fullmatch(job_id):
            raise ValueError(f"not a job id: {job_id!r}")
        return self.folder / job_id

    async def create(self, job_id: str) -> Path:
        """Makes the folder of a job and returns it."""
        folder = self.path(job_id)
        await self._run(lambda: folder.mkdir(mode=0o700))
        return folder

    async def save(self, job: Job) -> None:
        """Puts the job's record on disk, where a state folder was given."""
        if self.durable:
            data = json.dumps(job.record()).encode()
            target = self.path(job.id) / "job.json"
            await self._run(lambda: write_atomically(target, data) if target.parent.is_dir() else None)

    async def measure(self, job_id: str) -> int:
        """Counts the bytes of a job anew and returns them."""
        folder = self.path(job_id)
        size: int = await self._run(lambda: _folder_bytes(folder))
        self._bytes[job_id] = size
        return size

    async def remove(self, job_id: str) -> None:
        """Deletes all pictures of a job."""
        self._bytes.pop(job_id, None)
        folder = self.path(job_id)
        await self._run(lambda: shutil.rmtree(folder, ignore_errors=True))

    async def strip(self, job_id: str, keep: Callable[[str], bool]) -> None:
        """Deletes the files of a job that need not be kept, and counts the rest."""
        folder = self.path(job_id)
        await self._run(lambda: _strip(folder, keep))
        await self.measure(job_id)

    def restore(self) -> Iterator[Job]:
        """Yields the jobs that an earlier server left in the state folder, oldest first; damaged ones are removed."""
        jobs = []
        for folder in (path for path in self.folder.iterdir() if path.is_dir() and path.name not in _NO_JOBS):
            job = _read_job(folder)
            if job is None:
                log.warning("removing the folder %s...: no readable job in it", folder.name[:6])
                shutil.rmtree(folder, ignore_errors=True)
                continue
            self._bytes[job.id] = _folder_bytes(folder)
            jobs.append(job)
        yield from sorted(jobs, key=lambda job: job.created_at)

    async def _run(self, work: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)

    def close(self) -> None:
        """Writes what is pending, and removes the temporary folder."""
        self._disk.shutdown(wait=True)
        if not self.durable:
            self._remove_temporary()
        if self._lock is not None:
            self._lock.close()


def _refuse_foreign(state: Path) -> None:
    """Refuses a folder with anything in it that no server of ours left: damaged jobs are removed, all else is safe.

    A server of ours leaves its lock; a folder without one, whatever its folders are called, is somebody else's.

    Raises:
        UsageError: naming what is in the way.
    """
    ours = (state / "lock").is_file()
    for path in sorted(state.iterdir()):
        if path.name not in _NO_JOBS and not (ours and path.is_dir() and _ID.fullmatch(path.name)):
            raise UsageError(f"the state folder {state} holds something else: {path.name}; name a folder of its own")


def _strip(folder: Path, keep: Callable[[str], bool]) -> None:
    for path in folder.glob("*"):
        if not keep(path.name):
            path.unlink(missing_ok=True)


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*") if path.is_file()) if folder.is_dir() else 0


def _read_job(folder: Path) -> Job | None:
    try:
        job = Job.from_record(json.loads((folder / "job.json").read_bytes()))
    except (OSError, ValueError):
        return None
    waits_without_picture = job.state in (State.QUEUED, State.RUNNING) and not (folder / "source").is_file()
    return None if job.id != folder.name or waits_without_picture else job
