"""Keeps one worker process alive and gives it one job at a time.

The worker may fail in any way: it is started again, and the job it held is tried once more, because the next
picture must not pay for a fault of this one, nor this one for a passing shortage. A job that ends two workers is
reported as failed. Time and memory of a job are limited from outside, where a stuck worker cannot prevent it.
"""

import asyncio
import logging
import time
from typing import Any, Protocol

from fourfold.serving.child import Child, ChildDiedError, Message
from fourfold.serving.jobs import Job
from fourfold.serving.settings import Settings

log = logging.getLogger("fourfold.serving")

WORKER = "fourfold.serving.worker"
START_S = 180.0
#: Between asking a job to stop and ending the worker that does not listen.
GRACE_S = 5.0
TICK_S = 0.25
LONGEST_PAUSE_S = 30.0
#: Rest after something that nobody expected, so that it does not fill the log.
STUMBLED_S = 1.0
ATTEMPTS = 2


class Work(Protocol):
    """What the supervisor needs from the service: jobs to do, and somebody to tell."""

    async def next_job(self) -> Job:
        """Waits for a job and returns it, already marked as running."""

    async def order(self, job: Job) -> Message:
        """Returns what the worker is told about a job."""

    def progressed(self, job: Job, done: int, total: int) -> None:
        """Takes note of progress."""

    async def finished(self, job: Job, outcome: Message) -> None:
        """Takes the outcome of a job: ``event`` is done, failed or cancelled."""

    async def lost(self, job: Job) -> None:
        """Puts a job back at the front of the queue, after its worker died the first time."""


class Supervisor:
    """The worker process and the loop that feeds it."""

    def __init__(self, settings: Settings, work: Work) -> None:
        self._settings = settings
        self._work = work
        self._child: Child | None = None
        self._failures = 0
        self._served = 0
        self.state = "starting"
        self.restarts = 0
        self.engine: dict[str, Any] = {}
        self.last_error = ""

    @property
    def pid(self) -> int | None:
        """Process id of the worker, or None while there is none."""
        return self._child.pid if self._child is not None and self._child.alive else None

    def resident_bytes(self) -> int:
        """Memory of the worker."""
        return self._child.resident_bytes() if self._child is not None and self._child.alive else 0

    async def run(self) -> None:
        """Serves jobs until it is cancelled."""
        try:
            while True:
                try:
                    child = await self._ready_worker()
                    if child is not None:
                        await self._serve(child)
                except Exception:  # whatever it was, jobs must not wait for ever
                    log.exception("the worker's keeper stumbled; it goes on")
                    await asyncio.sleep(STUMBLED_S)
        finally:
            if self._child is not None:
                await self._child.stop(1.0)

    async def _ready_worker(self) -> Child | None:
        """Returns the worker, started and with its model loaded; after a failure, waits and returns None."""
        if self._child is not None and self._child.alive:
            return self._child
        if self._child is not None or self._failures:
            self.restarts += 1
        self.state = "starting" if not self._failures else "failing"
        try:
            self._child = await Child.start(WORKER, self._worker_settings())
            hello = await asyncio.wait_for(self._child.receive(), START_S)
            if hello["event"] != "ready":
                raise ChildDiedError(str(hello.get("detail", "could not start")))
        except (ChildDiedError, TimeoutError, OSError) as error:
            await self._start_failed(str(error) or "did not start in time")
            return None
        self.engine = {key: hello.get(key, "") for key in ("engine", "precision", "device")}
        self._failures, self._served, self.last_error, self.state = 0, 0, "", "ready"
        self._tell_of_tight_memory(self._child.resident_bytes())
        return self._child

    def _tell_of_tight_memory(self, needed: int) -> None:
        limit = self._settings.limits.worker_bytes
        if limit and needed >= limit:
            log.error(
                "the worker takes %d MiB before any picture, and may take %d: every job will fail; "
                "give more with --worker-memory",
                *(needed // 2**20, limit // 2**20),
            )

    async def _start_failed(self, why: str) -> None:
        self._failures += 1
        self.state, self.last_error = "failing", why
        if self._child is not None:
            self._child.kill()
        pause_s = min(LONGEST_PAUSE_S, 0.5 * 2.0**self._failures)
        log.error("the worker did not start: %s; trying again in %.0f s", why, pause_s)
        await asyncio.sleep(pause_s)

    def _worker_settings(self) -> Message:
        settings = self._settings
        return {
            "loader": settings.loader,
            "models": settings.models,
            "default": settings.default,
            "engine": settings.engine,
            "precision": settings.precision,
            "max_memory": settings.max_memory,
            "input_px": settings.limits.input_px,
        }

    async def _serve(self, child: Child) -> None:
        """Waits for a job and does it; returns at once when the idle worker dies."""
        job_task = asyncio.create_task(self._work.next_job())
        death = asyncio.create_task(child.wait())
        try:
            await asyncio.wait({job_task, death}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            death.cancel()
            job_task.cancel()  # of no effect on a job that was taken
        await asyncio.wait({job_task})
        if job_task.cancelled():
            log.warning("the idle worker %s; starting another", child.epitaph)
            return
        job = job_task.result()
        try:
            await self._do(child, job)
        except Exception:  # whatever it was, the next job must not wait for ever
            log.exception("job %s could not be seen through", job.tag)
            child.kill()
            if not job.final:
                await self._work.finished(job, {"event": "failed", "slug": "internal-error", "detail": ""})
        await self._recycle(child)

    async def _recycle(self, child: Child) -> None:
        """Replaces a worker that has served long; whatever a library may leak goes with it."""
        self._served += 1
        if self._served >= self._settings.limits.worker_jobs and child.alive:
            await child.stop()

    async def _do(self, child: Child, job: Job) -> None:
        watch = _Watch(self._settings, job)
        await child.send(await self._work.order(job))
        receiving: asyncio.Task[Message] = asyncio.create_task(child.receive())
        try:
            while True:
                await asyncio.wait({receiving}, timeout=TICK_S)
                if receiving.done():
                    message = receiving.result()
                    if message["event"] == "progress":
                        self._work.progressed(job, int(message["done"]), int(message["total"]))
                    else:
                        await self._work.finished(job, watch.verdict(message))
                        return
                    receiving = asyncio.create_task(child.receive())
                await watch.look(child)
        except ChildDiedError as error:
            log.warning("the worker %s during job %s, attempt %d", error, job.tag, job.attempts)
            await self._bury(job, watch, str(error))
        finally:
            receiving.cancel()

    async def _bury(self, job: Job, watch: "_Watch", epitaph: str) -> None:
        """Decides what becomes of a job whose worker is gone."""
        self.state = "starting"
        if watch.reason:
            await self._work.finished(job, watch.verdict({"event": "cancelled"}))
        elif job.attempts < ATTEMPTS:
            await self._work.lost(job)
        else:
            await self._work.finished(job, {"event": "failed", "slug": "worker-died", "detail": f"it {epitaph}"})


class _Watch:
    """Looks after one running job: its time, its memory, and whether somebody wants it stopped."""

    def __init__(self, settings: Settings, job: Job) -> None:
        self._limits = settings.limits
        self._job = job
        self._until = time.monotonic() + settings.limits.job_s
        self._kill_at = float("inf")
        self.reason = ""

    async def look(self, child: Child) -> None:
        """Stops the job if it must be: kindly first, then by ending the worker."""
        now = time.monotonic()
        if not self.reason:
            self.reason = self._why_stop(child, now)
            if self.reason == "out-of-memory":
                child.kill()
            elif self.reason:
                self._kill_at = now + GRACE_S
                await child.send({"do": "cancel", "job": self._job.id})
        elif now > self._kill_at:
            log.warning("job %s does not stop; ending the worker", self._job.tag)
            child.kill()

    def _why_stop(self, child: Child, now: float) -> str:
        if self._job.cancel_wanted:
            return "cancelled"
        if now > self._until:
            return "timed-out"
        if self._limits.worker_bytes and child.resident_bytes() > self._limits.worker_bytes:
            return "out-of-memory"
        return ""

    def verdict(self, message: Message) -> Message:
        """Returns the outcome, with the true reason where the job was stopped from outside."""
        if message["event"] == "done" or not self.reason:
            return message
        if self.reason == "cancelled":
            return {"event": "cancelled"}
        limit = {
            "timed-out": f"the limit is {self._limits.job_s:.0f} s",
            "out-of-memory": f"the limit is {self._limits.worker_bytes // 2**20} MiB",
        }[self.reason]
        return {"event": "failed", "slug": self.reason, "detail": limit}
