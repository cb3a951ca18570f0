"""Routes of batches: jobs that a client submitted under one label, followed, fetched and cancelled together."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse

from fourfold.serving.access import client_of
from fourfold.serving.api_jobs import event_response, problems
from fourfold.serving.archive import distinct_names, zip_stream
from fourfold.serving.downloads import attachment
from fourfold.serving.headers import HEAD
from fourfold.serving.jobs import Job, State
from fourfold.serving.problems import ProblemError
from fourfold.serving.schemas import BATCH_PATTERN, JobView
from fourfold.serving.service import Service

Batch = Annotated[str, Path(pattern=BATCH_PATTERN, description="the label given to the jobs when they were submitted")]


def _nothing_done(jobs: list[Job]) -> ProblemError:
    """Returns why there is no result of a batch, and what would help."""
    if not jobs:
        remedy = "Check the label; submit pictures with it as the parameter 'batch'."
        return ProblemError("no-result", "no picture is known under this label", remedy=remedy)
    if waiting := sum(not job.final for job in jobs):
        return ProblemError("not-finished", f"none is done yet; {waiting} of {len(jobs)} wait or run", retry_after_s=1)
    if any(job.state is State.EXPIRED for job in jobs):
        return ProblemError("expired", "no result of this batch is left")
    remedy = "See the problem in each job of the batch."
    return ProblemError("no-result", "every job of this batch failed or was cancelled", remedy=remedy)


def batch_routes(service: Service) -> APIRouter:
    """Returns the routes of batches."""
    router = APIRouter(prefix="/v1/batches", tags=["batches"])

    @router.get(
        "/{batch}", response_model=list[JobView], responses=problems("invalid-parameter"), summary="List a batch"
    )
    async def list_batch(batch: Batch) -> Any:
        """All jobs of a batch, oldest first."""
        return [service.view(job.id) for job in service.batch(batch)]

    @router.get(
        "/{batch}/events",
        responses={**problems("too-many-streams"), 200: {"content": {"text/event-stream": {}}}},
        response_class=StreamingResponse,
        summary="Follow a batch",
    )
    async def follow_batch(batch: Batch, request: Request) -> Response:
        """Server-sent events of all jobs of a batch, of those to come as well; it does not end by itself."""
        return event_response(
            service, client_of(request), batch, lambda: [job.id for job in service.batch(batch)], until_final=False
        )

    @router.get(
        "/{batch}/archive",
        responses={**problems("not-finished", "no-result", "expired"), 200: {"content": {"application/zip": {}}}},
        response_class=StreamingResponse,
        summary="Fetch all results",
    )
    async def get_archive(batch: Batch, request: Request) -> Response:
        """A ZIP of all results that there are."""
        jobs = service.batch(batch)
        done = [job for job in jobs if job.state is State.DONE]
        if not done:
            raise _nothing_done(jobs)
        disposition = {"Content-Disposition": attachment("fourfold.zip")}
        if HEAD in request.scope:  # no result is read that nobody gets
            return StreamingResponse(iter(()), media_type="application/zip", headers=disposition)
        names = list(distinct_names(job.result_name() for job in done))
        files = zip_stream(list(zip(names, map(service.result_path, done), strict=True)))

        def noting_the_end() -> Iterator[bytes]:
            yield from files
            for job in done:  # a server that stops waits until the last byte was asked for
                job.fetched = True

        return StreamingResponse(noting_the_end(), media_type="application/zip", headers=disposition)

    @router.delete("/{batch}", response_model=list[JobView], responses=problems(), summary="Cancel a batch")
    async def cancel_batch(batch: Batch) -> Any:
        """Cancels all jobs of a batch that wait or run."""
        for job in service.batch(batch):
            if not job.final:
                await service.cancel(job)
        return [service.view(job.id) for job in service.batch(batch)]

    return router
