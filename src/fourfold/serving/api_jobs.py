"""Routes of single jobs: submit, status, events, result, cancel; and the synchronous call."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from fourfold.serving.access import client_of
from fourfold.serving.downloads import attachment
from fourfold.serving.events import stream
from fourfold.serving.headers import HEAD
from fourfold.serving.jobs import Job, State
from fourfold.serving.problems import KINDS, ProblemError
from fourfold.serving.result_file import ResultResponse
from fourfold.serving.schemas import JobView, Options, ProblemBody
from fourfold.serving.service import Service
from fourfold.serving.submitting import submit

MEDIA_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "tiff": "image/tiff",
    "avif": "image/avif",
    "gif": "image/gif",
}


def problems(*slugs: str) -> dict[int | str, dict[str, Any]]:
    """Returns the problems of a route, for the OpenAPI document."""
    found: dict[int | str, dict[str, Any]] = {}
    for slug in ("token-needed", "cross-site", "wrong-host", *slugs):
        kind = KINDS[slug]
        entry = found.setdefault(kind.status, {"model": ProblemBody, "description": ""})
        entry["description"] = "; ".join(filter(None, (entry["description"], f"`{slug}`: {kind.title}")))
    return found


SUBMIT_PROBLEMS = (
    "invalid-parameter",
    "unknown-model",
    "invalid-request",
    "empty-upload",
    "upload-too-large",
    "upload-too-slow",
    "unsupported-media",
    "unsupported-encoding",
    "unreadable-picture",
    "picture-too-large",
    "too-many-jobs",
    "queue-full",
    "storage-full",
    "stopping",
)

#: What may become of a job that the synchronous call waits for.
_JOB_PROBLEMS = (
    *("busy", "timed-out", "waited-too-long", "handed-back", "cancelled", "expired"),
    *("out-of-memory", "engine-failed", "worker-died", "internal-error"),
)

_BINARY = {"type": "string", "format": "binary"}


def picture_document() -> dict[str, Any]:
    """Returns the OpenAPI description of a request that carries a picture."""
    schema = Options.model_json_schema()["properties"]
    parameters = [
        {"name": name, "in": "query", "required": False, "description": entry.pop("description", ""), "schema": entry}
        for name, entry in schema.items()
    ]
    fields = {"picture": _BINARY, **{name: {"type": "string"} for name in schema}}
    form = {"schema": {"type": "object", "required": ["picture"], "properties": fields}}
    content = {"image/*": {"schema": _BINARY}, "application/octet-stream": {"schema": _BINARY}}
    return {
        "parameters": parameters,
        "requestBody": {"required": True, "content": {**content, "multipart/form-data": form}},
    }


_RESULT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/*": {"schema": _BINARY}}, "description": "The picture, four times as large."}
}


def job_routes(service: Service) -> APIRouter:
    """Returns the routes of jobs."""
    router = APIRouter(prefix="/v1", tags=["jobs"])

    @router.post(
        "/jobs",
        status_code=202,
        response_model=JobView,
        responses=problems(*SUBMIT_PROBLEMS),
        openapi_extra=picture_document(),
        summary="Submit a picture",
    )
    async def submit_job(request: Request, response: Response) -> Any:
        """Puts a picture in the queue. Follow it at the address in `Location`."""
        job = await submit(service, request)
        if await request.is_disconnected():  # nobody learns the job's address: it would run for nothing
            await service.cancel(job)
        response.headers["Location"] = f"{request.scope.get('root_path', '')}/v1/jobs/{job.id}"
        return service.view(job.id)

    @router.get("/jobs/{job_id}", response_model=JobView, responses=problems("unknown-job"), summary="Ask for a job")
    async def get_job(job_id: str) -> Any:
        """Tells how far a job is."""
        return service.view(service.find(job_id).id)

    @router.delete("/jobs/{job_id}", response_model=JobView, responses=problems("unknown-job"), summary="Cancel a job")
    async def cancel_job(job_id: str) -> Any:
        """Cancels a job that waits or runs; of one that is through, deletes the pictures."""
        job = service.find(job_id)
        await service.cancel(job)
        return service.view(job.id)

    @router.get(
        "/jobs/{job_id}/events",
        responses={**problems("unknown-job", "too-many-streams"), 200: {"content": {"text/event-stream": {}}}},
        response_class=StreamingResponse,
        summary="Follow a job",
    )
    async def follow_job(job_id: str, request: Request) -> Response:
        """Server-sent events: `job` with the whole job at every change, `end` once it is through."""
        job = service.find(job_id)
        return event_response(service, client_of(request), job.id, lambda: [job.id], until_final=True)

    @router.get(
        "/jobs/{job_id}/result",
        responses={
            **problems("unknown-job", "not-finished", "no-result", "expired", "range-not-satisfiable"),
            **_RESULT,
        },
        response_class=FileResponse,
        summary="Fetch the result",
    )
    async def get_result(job_id: str, request: Request) -> Response:
        """The finished picture, byte ranges included, under its own name."""
        job = service.find(job_id)
        return _result_response(service, job, _note_nothing if HEAD in request.scope else _note_fetched)

    @router.get(
        "/jobs/{job_id}/preview",
        responses={
            **problems("unknown-job", "not-finished", "no-result", "expired"),
            200: {"content": {"image/webp": {}}},
        },
        response_class=FileResponse,
        summary="Look at source or result",
    )
    async def get_preview(job_id: str, of: Literal["source", "result"] = "result") -> Response:
        """What every browser shows, whatever the picture's format: the result itself, or an 8-bit sRGB WebP."""
        return _preview_response(service, service.find(job_id), of)

    @router.post(
        "/upscale",
        response_class=FileResponse,
        responses={**problems(*SUBMIT_PROBLEMS, *_JOB_PROBLEMS), **_RESULT},
        openapi_extra=picture_document(),
        summary="Upscale a small picture at once",
    )
    async def upscale_now(request: Request) -> Response:
        """Waits for the result and answers with it. For small pictures; `/v1/limits` says how small."""
        job = await submit(service, request, most_pixels=service.limits.sync_px)
        try:
            await _wait_connected(service, job, request)
        except BaseException:
            await service.cancel(job)
            raise
        if job.problem is not None:
            slug = str(job.problem["type"]).rsplit("/", 1)[-1]
            raise ProblemError(slug, str(job.problem.get("detail", "")))
        return _result_response(service, job, service.cancel)  # which deletes it

    return router


def event_response(
    service: Service, client: str, key: str, first: Callable[[], list[str]], *, until_final: bool
) -> StreamingResponse:
    """Returns an event stream over a job or a batch, for one client.

    Raises:
        ProblemError: ``too-many-streams``.
    """
    listeners, limits = service.listeners, service.limits
    if len(listeners) >= limits.streams or listeners.of(client) >= limits.streams_per_client:
        raise ProblemError("too-many-streams", retry_after_s=10)
    listener = listeners.add(key, client)
    # discarded when the answer ends in any way, also when its first byte was never asked for
    return _EventResponse(
        stream(listener, first(), service.view, until_final=until_final),
        lambda: service.listeners.discard(key, listener),
    )


class _EventResponse(StreamingResponse):
    def __init__(self, content: AsyncIterator[bytes], closed: Callable[[], None]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(content, headers=headers, media_type="text/event-stream")
        self._closed = closed

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            if HEAD in scope:  # nothing is waited for that nobody is told
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            else:
                await super().__call__(scope, receive, send)
        finally:
            self._closed()


#: A picture never runs anything, wherever it is opened.
_PICTURE_HEADERS = {"Cache-Control": "private, max-age=600", "Content-Security-Policy": "sandbox; default-src 'none'"}


async def _note_fetched(job: Job) -> None:
    job.fetched = True


async def _note_nothing(job: Job) -> None:
    pass


def _result_response(service: Service, job: Job, after: Callable[[Job], Awaitable[None]]) -> ResultResponse:
    path = service.result_path(job)
    if not path.is_file():  # expired between two looks
        raise ProblemError("expired")
    return ResultResponse(
        path,
        MEDIA_TYPES.get((job.result or {}).get("format", ""), "application/octet-stream"),
        {**_PICTURE_HEADERS, "Content-Disposition": attachment(job.result_name())},
        lambda: after(job),
    )


def _preview_response(service: Service, job: Job, of: str) -> FileResponse:
    if job.state is State.EXPIRED:
        raise ProblemError("expired")
    path = service.store.path(job.id) / f"{of}-preview.webp"
    media_type = "image/webp"
    if of == "result" and not path.is_file():  # browsers show most results themselves
        path = service.result_path(job)
        media_type = MEDIA_TYPES.get((job.result or {}).get("format", ""), "application/octet-stream")
    if not path.is_file():
        if job.final:
            raise ProblemError("no-result", "there is no preview, and none will come")
        raise ProblemError("not-finished", "there is no preview (yet)", retry_after_s=1)
    return FileResponse(path, media_type=media_type, headers=dict(_PICTURE_HEADERS))


async def _wait_connected(service: Service, job: Job, request: Request) -> None:
    """Waits for a job as long as its client does.

    Raises:
        ProblemError: ``busy`` when the time is over or the client is gone.
    """
    waiting = asyncio.create_task(service.wait(job, service.limits.sync_s))
    try:
        while not waiting.done():
            await asyncio.wait({waiting}, timeout=0.5)
            if not waiting.done() and await request.is_disconnected():
                raise ProblemError("busy", "the client has gone")
        if not waiting.result():
            detail = f"the limit is {service.limits.sync_s:.0f} s, waiting included"
            raise ProblemError("busy", detail, retry_after_s=10)
    finally:
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
