"""The jobs of one server: accepted, waiting, running, kept, expired.

Everything here runs on the event loop and takes no time; pictures are opened and upscaled in child processes, and
the disk is written in a thread.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fourfold.serving.child import Message
from fourfold.serving.events import Listeners
from fourfold.serving.fair_queue import FairQueue
from fourfold.serving.inspection import Inspection
from fourfold.serving.jobs import Job, State
from fourfold.serving.metrics import Metrics
from fourfold.serving.problems import ProblemError, problem_body, under
from fourfold.serving.settings import Settings
from fourfold.serving.store import Store
from fourfold.serving.supervisor import ATTEMPTS, Supervisor
from fourfold.upscaling import parse_size

log = logging.getLogger("fourfold.serving")

TIDY_S = 1.0
#: After a result has expired its job still answers "expired" for so long, and is then unknown.
MEMORY_OF_EXPIRED_S = 3600.0
MOST_JOBS_KNOWN = 10_000
#: For so long a stopping server still answers those who ask for a job that it handed back.
HEARD_S = 2.0


@dataclass(frozen=True)
class Request:
    """What a client asks for, checked: everything of a job but the picture; ``model`` may be empty."""

    client: str
    name: str
    model: str
    fidelity: float | None
    ensemble: bool
    format: str
    batch: str


class Service:
    """Everything between the HTTP routes and the worker."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.limits = settings.limits
        self.store = Store(settings.state)
        self.queue = FairQueue()
        self.jobs: dict[str, Job] = {}
        self._unsettled: set[str] = set()  # ended, and the disk would not take or let go yet
        self.listeners = Listeners()
        self.metrics = Metrics()
        self.inspection = Inspection(settings.limits, parse_size(settings.max_memory))
        self.supervisor = Supervisor(settings, self)
        self.draining = False
        self._arriving: dict[str, int] = {}
        self._waiting = asyncio.Event()
        self._ended: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Takes up what an earlier server left, and starts working."""
        for job in self.store.restore():
            await self._take_up(job)
        self._tasks = [asyncio.create_task(self.supervisor.run()), asyncio.create_task(self._tidy_for_ever())]

    async def _take_up(self, job: Job) -> None:
        self.jobs[job.id] = job
        if job.state is State.RUNNING and job.attempts >= ATTEMPTS:
            await self.finished(job, {"event": "failed", "slug": "worker-died", "detail": "and the server with it"})
        elif not job.final and job.model not in self.settings.models:  # this server was started with others
            detail = f"{job.model[:60]!r}, since the last start; there are {', '.join(self.settings.models)}"
            await self.finished(job, {"event": "failed", "slug": "unknown-model", "detail": detail})
        elif not job.final:
            job.state, job.cancel_wanted, job.created_at = State.QUEUED, False, time.time()
            self._enqueue(job)

    async def stop(self) -> None:
        """Stops working; without a state folder, jobs that did not run are handed back to their clients."""
        await self._halt()
        self.listeners.close()
        await self.inspection.stop()
        self.store.close()

    async def _halt(self) -> bool:
        """Ends all work; returns whether clients are to hear that their jobs were handed back."""
        self.draining = True
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        left = [job for job in self.jobs.values() if not job.final]
        for job in left:
            if self.store.durable:
                if job.state is State.RUNNING:  # stopped, not died: this attempt is not held against the picture
                    job.attempts -= 1
                job.state = State.QUEUED
                await self._record(job)
            else:
                await self.finished(job, {"event": "failed", "slug": "handed-back", "detail": ""})
        return bool(left) and not self.store.durable

    async def drain(self) -> None:
        """Finishes what is under way before a stop: refuses new jobs, ends when nothing is left to wait for.

        With a state folder only the running job is finished: what waits is taken up by the next server. Without
        one, the waiting jobs are done as far as the time allows, and results stay until they were fetched; what is left
        is handed back, and those who ask for it are still told so.
        """
        self.draining = True
        until = time.monotonic() + self.settings.drain_s
        while time.monotonic() < until and self._under_way():
            await asyncio.sleep(0.05)
        if await self._halt():
            await asyncio.sleep(HEARD_S)

    def _under_way(self) -> bool:
        if self.store.durable:
            return self.running_count > 0
        lingering = time.time() - 10.0
        return any(
            not job.final or (job.state is State.DONE and not job.fetched and (job.finished_at or 0) > lingering)
            for job in self.jobs.values()
        )

    # -------------------------------------------------------------- arriving

    @asynccontextmanager
    async def place(self, client: str) -> AsyncIterator[None]:
        """Holds a place in the queue while a picture arrives, so that what is accepted can be kept.

        Raises:
            ProblemError: ``stopping``, ``too-many-jobs``, ``queue-full`` or ``storage-full``.
        """
        self._refuse_if_full(client)
        self._arriving[client] = self._arriving.get(client, 0) + 1
        try:
            yield
        finally:
            self._arriving[client] -= 1
            if not self._arriving[client]:
                del self._arriving[client]

    def _refuse_if_full(self, client: str) -> None:
        limits = self.limits
        if self.draining:
            raise ProblemError("stopping", retry_after_s=10)
        mine = sum(job.client == client and not job.final for job in self.jobs.values())
        if mine + self._arriving.get(client, 0) >= limits.jobs_per_client:
            detail = f"{limits.jobs_per_client} of yours wait or run"
            raise ProblemError("too-many-jobs", detail, retry_after_s=self._pace_s())
        arriving = sum(self._arriving.values())
        if len(self.queue) + arriving >= limits.queue_length:
            raise ProblemError("queue-full", f"{len(self.queue)} jobs wait", retry_after_s=self._pace_s())
        # uploads under way count as large as they may become, or many at once would overrun the disk
        needed = self.store.bytes + (arriving + 1) * limits.upload_bytes
        if needed > limits.stored_bytes and not self._evictable(needed - limits.stored_bytes):
            raise ProblemError("storage-full", retry_after_s=60)

    def _pace_s(self) -> float:
        """Returns after how many seconds a place is likely to be free: the time that recent jobs took."""
        recent = [
            job.finished_at - job.started_at
            for job in list(self.jobs.values())[-20:]
            if job.state is State.DONE and job.finished_at and job.started_at
        ]
        return min(60.0, max(1.0, sum(recent) / len(recent))) if recent else 5.0

    async def accept(self, request: Request, job_id: str, upload: Path, *, most_pixels: int | None = None) -> Job:
        """Returns the new job for a picture that has arrived in its folder; ``most_pixels`` is a smaller limit.

        Raises:
            ProblemError: if it is not a picture that this server takes, or ``stopping``.
        """
        found = await self.inspection.look(
            upload,
            request.format,
            most_pixels,
            client=request.client,
            ensemble=request.ensemble,
            traces=not request.model and self.settings.for_compressed != self.settings.default,
        )
        if self.draining and not self.store.durable:  # it arrived too late: nobody would do it, or hand it back
            raise ProblemError("stopping", retry_after_s=10)
        suited = self.settings.suited(found.pop("compressed"))
        job = Job(**{**vars(request), "model": request.model or suited}, id=job_id)
        job.source = {**found, "bytes": upload.stat().st_size}
        await self.store.save(job)
        await self.store.measure(job.id)
        self.jobs[job.id] = job
        self.metrics.submitted.inc()
        self.metrics.uploaded.inc(job.source["bytes"])
        self._enqueue(job)
        return job

    def _enqueue(self, job: Job, *, front: bool = False) -> None:
        self.queue.put(job.client, job.id, front=front)
        self._waiting.set()
        self._tell_of(job)
        self._tell_of_the_queue()

    # --------------------------------------------------- what the worker does

    @property
    def running_count(self) -> int:
        """Number of jobs that run."""
        return sum(job.state is State.RUNNING for job in self.jobs.values())

    async def next_job(self) -> Job:
        """Waits for a job and returns it, marked as running."""
        while True:
            if not (self.draining and self.store.durable):
                job_id = self.queue.take()
                if job_id is not None:
                    return self._begin(self.jobs[job_id])
            self._waiting.clear()
            await self._waiting.wait()

    def _begin(self, job: Job) -> Job:
        job.state, job.started_at = State.RUNNING, time.time()
        job.attempts += 1
        job.done_tiles = job.total_tiles = 0
        self.metrics.waited.observe(job.started_at - job.created_at)
        self._tell_of(job)
        self._tell_of_the_queue()
        return job

    async def order(self, job: Job) -> Message:
        """Returns what the worker is told about a job, once the attempt is on record."""
        await self._record(job)
        return {
            "do": "upscale",
            "job": job.id,
            "folder": str(self.store.path(job.id)),
            "model": job.model,
            "fidelity": job.fidelity,
            "ensemble": job.ensemble,
            "format": job.format,
        }

    def progressed(self, job: Job, done: int, total: int) -> None:
        """Takes note of progress."""
        job.done_tiles, job.total_tiles = done, total
        self._tell_of(job)

    async def lost(self, job: Job) -> None:
        """Puts a job back at the front after its worker died."""
        job.state, job.started_at = State.QUEUED, None
        self._enqueue(job, front=True)  # at once: a job that is cancelled meanwhile must be found there
        await self._record(job)

    async def finished(self, job: Job, outcome: Message) -> None:
        """Takes the outcome of a job: ``event`` is done, failed or cancelled."""
        if outcome["event"] == "done" and not job.cancel_wanted:
            job.state, job.result = State.DONE, outcome["result"]
            self.metrics.pixels.inc(outcome["result"]["width"] * outcome["result"]["height"])
        elif outcome["event"] == "failed":
            job.state, job.problem = State.FAILED, problem_body(outcome["slug"], outcome["detail"])
        else:
            job.state, job.problem = State.CANCELLED, problem_body("cancelled")
        job.finished_at = time.time()
        job.expires_at = job.finished_at + self.limits.retention_s
        self.metrics.finished.labels(job.state.value).inc()
        if job.started_at is not None:
            self.metrics.worked.observe(job.finished_at - job.started_at)
        await self._settle(job)

    async def _settle(self, job: Job) -> None:
        """Keeps what a finished job needs, and tells everybody."""
        await self._shed(job)
        if (ended := self._ended.get(job.id)) is not None:
            ended.set()
        self._tell_of(job)

    async def _shed(self, job: Job) -> None:
        """Records how a job ended and deletes what it no longer needs; tried again later where the disk refuses."""
        settled = recorded = await self._record(job)
        try:
            if job.state is State.DONE:
                # on record before the picture is deleted: a crash in between must not lose the job
                await self.store.strip(job.id, lambda name: name != "source" or not recorded)
            elif self.store.durable:
                await self.store.strip(job.id, lambda name: name == "job.json")
            else:
                await self.store.remove(job.id)
        except OSError as error:
            log.error("what job %s no longer needs cannot be deleted: %s", job.tag, error.strerror or error)
            settled = False
        (self._unsettled.discard if settled else self._unsettled.add)(job.id)

    async def _record(self, job: Job) -> bool:
        """Puts a job that was accepted on record; returns whether it is.

        A full disk is no reason to stop working: the job goes on from memory, and after a restart it is taken up as the
        last record has it.
        """
        try:
            await self.store.save(job)
        except OSError as error:
            log.error("job %s cannot be put on record: %s", job.tag, error.strerror or error)
            return False
        return True

    # ------------------------------------------------- what clients may ask

    def find(self, job_id: str) -> Job:
        """Returns a job.

        Raises:
            ProblemError: ``unknown-job``.
        """
        job = self.jobs.get(job_id)
        if job is None:
            raise ProblemError("unknown-job")
        return job

    def batch(self, batch: str) -> list[Job]:
        """Returns the jobs of a batch, oldest first."""
        return [job for job in self.jobs.values() if job.batch == batch]

    def result_path(self, job: Job) -> Path:
        """Returns the file of a job's result.

        Raises:
            ProblemError: ``not-finished``, ``no-result`` or ``expired``.
        """
        if job.state is State.EXPIRED:
            raise ProblemError("expired")
        if not job.final:
            raise ProblemError("not-finished", f"it is {job.state}", retry_after_s=job.remaining_s(time.time()) or 1)
        if job.result is None:
            raise ProblemError("no-result", f"it {job.state}" if job.state is State.FAILED else f"it was {job.state}")
        return self.store.path(job.id) / f"result.{job.result['extension']}"

    async def cancel(self, job: Job) -> None:
        """Stops a job that waits or runs; forgets the pictures of one that is through."""
        if job.state is State.QUEUED:
            self.queue.remove(job.client, job.id)
            await self.finished(job, {"event": "cancelled"})
            self._tell_of_the_queue()
        elif job.state is State.RUNNING:
            job.cancel_wanted = True
        else:
            await self._expire(job)

    async def wait(self, job: Job, timeout_s: float) -> bool:
        """Waits until a job is through; returns whether it is."""
        ended = self._ended.setdefault(job.id, asyncio.Event())
        if job.final:
            ended.set()
        try:
            await asyncio.wait_for(ended.wait(), timeout_s)
        except TimeoutError:
            return False
        finally:
            self._ended.pop(job.id, None)
        return True

    def view(self, job_id: str) -> dict[str, Any] | None:
        """Returns a job as clients see it, or None if there is none."""
        job = self.jobs.get(job_id)
        if job is None:
            return None
        remaining_s = job.remaining_s(time.time())
        return {
            "id": job.id,
            "state": job.state.value,
            "name": job.name,
            "model": job.model,
            "fidelity": job.fidelity,
            "ensemble": job.ensemble,
            "format": job.format,
            "batch": job.batch or None,
            "position": self.queue.position(job.id) if job.state is State.QUEUED else None,
            "progress": round(job.fraction, 4),
            "remaining_s": None if remaining_s is None else round(remaining_s, 1),
            "attempts": job.attempts,
            "created_at": job.created_at,
            "started_at": job.started_at,
            "finished_at": job.finished_at,
            "expires_at": job.expires_at,
            "source": job.source,
            "result": job.result,
            "result_name": job.result_name() if job.result else None,
            "problem": job.problem and under(self.settings.root_path, job.problem),
        }

    def _tell_of(self, job: Job) -> None:
        self.listeners.tell(job.id, job.id, *([job.batch] if job.batch else []))

    def _tell_of_the_queue(self) -> None:
        for job_id in self.queue.order():
            self._tell_of(self.jobs[job_id])

    # ---------------------------------------------------------------- tidying

    async def _tidy_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TIDY_S)
            try:
                await self.tidy(time.time())
            except OSError:
                log.exception("tidying failed; it is tried again")

    async def tidy(self, now: float) -> None:
        """Lets go of what has expired or waited too long, and of the oldest results when the disk is full."""
        for job in list(self.jobs.values()):
            if job.state is State.QUEUED and now - job.created_at > self.limits.wait_s:
                self.queue.remove(job.client, job.id)
                detail = f"the limit is {self.limits.wait_s:.0f} s"
                await self.finished(job, {"event": "failed", "slug": "waited-too-long", "detail": detail})
            elif job.state is State.EXPIRED:
                if now > (job.expires_at or 0) + MEMORY_OF_EXPIRED_S:
                    del self.jobs[job.id]
            elif job.final and now > (job.expires_at or 0):
                await self._expire(job)
        for job_id in list(self._unsettled):
            unsettled = self.jobs.get(job_id)
            if unsettled is not None and unsettled.final:
                await self._shed(unsettled)
            else:
                self._unsettled.discard(job_id)
        await self._make_room()

    async def _make_room(self) -> None:
        room_for_uploads = self.limits.upload_bytes * (sum(self._arriving.values()) + 1)
        excess = self.store.bytes + room_for_uploads - self.limits.stored_bytes
        for job in self._evictable(excess):
            await self._expire(job)
        known = [job for job in self.jobs.values() if job.final]
        for job in known[: max(0, len(self.jobs) - MOST_JOBS_KNOWN)]:
            await self._expire(job)
            self.jobs.pop(job.id, None)

    def _evictable(self, excess: int) -> list[Job]:
        """Returns the oldest finished jobs whose pictures make up the excess; empty if there are not enough."""
        chosen: list[Job] = []
        freed = 0
        for job in sorted(self.jobs.values(), key=lambda job: job.finished_at or 0.0):
            if freed >= excess:
                break
            if job.final and job.state is not State.EXPIRED:
                chosen.append(job)
                freed += self.store.bytes_of(job.id)
        return chosen if freed >= excess else []

    async def _expire(self, job: Job) -> None:
        job.state, job.expires_at = State.EXPIRED, min(job.expires_at or time.time(), time.time())
        await self.store.remove(job.id)
        self._tell_of(job)
