"""From a request with a picture to a job: options checked, place held, picture taken in and looked at."""

import logging
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request

from fourfold.serving.access import client_of
from fourfold.serving.jobs import Job, clean_name
from fourfold.serving.models import has_fidelity
from fourfold.serving.problems import DISK_FULL, ProblemError, invalid_parameter
from fourfold.serving.schemas import Options
from fourfold.serving.service import Request as JobRequest
from fourfold.serving.service import Service
from fourfold.serving.uploads import receive_picture
from fourfold.weights import ALIASES

log = logging.getLogger("fourfold.serving")


async def submit(service: Service, request: Request, *, most_pixels: int | None = None) -> Job:
    """Returns the job of a request that carries a picture.

    Args:
        service: whose job it becomes.
        request: options in the query or in form fields, the picture in the body.
        most_pixels: a smaller limit than the server's, for the synchronous call.

    Raises:
        ProblemError: for everything that can be wrong with it.
    """
    parse_options(service, request.query_params.multi_items())  # refused before the body is read
    client = client_of(request)
    async with service.place(client), _full_disk_told(), _folder(service) as job_id:
        upload = await receive_picture(request, service.store.path(job_id), service.limits)
        options = parse_options(service, [*upload.fields, *request.query_params.multi_items()])
        wanted = JobRequest(
            client=client,
            name=clean_name(options.name or upload.name),
            model=options.model,
            fidelity=options.fidelity,
            ensemble=options.ensemble,
            format=options.format,
            batch=options.batch,
        )
        return await service.accept(wanted, job_id, upload.path, most_pixels=most_pixels)


@asynccontextmanager
async def _full_disk_told() -> AsyncIterator[None]:
    """Tells of a disk that is full as of storage that is: the limit of one's own may be larger than what is left."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        log.error("a picture was refused: %s", error.strerror or error)
        raise ProblemError("storage-full", "the disk is full", retry_after_s=60) from error


@asynccontextmanager
async def _folder(service: Service) -> AsyncIterator[str]:
    """Gives the id of a new job with its folder, which goes away again when the job is not accepted."""
    job_id = secrets.token_urlsafe(16)
    await service.store.create(job_id)
    try:
        yield job_id
    except BaseException:
        await service.store.remove(job_id)
        raise


def parse_options(service: Service, values: Iterable[tuple[str, str]]) -> Options:
    """Returns what is asked for, by name and value.

    Raises:
        ProblemError: ``invalid-parameter`` or ``unknown-model``.
    """
    try:
        options = Options.model_validate(_once_each(values))
    except ValidationError as error:
        raise ProblemError("invalid-parameter", *describe(error)) from error
    options.model = ALIASES.get(options.model, options.model)
    _check_model(service, options)
    return options


def _once_each(values: Iterable[tuple[str, str]]) -> dict[str, str]:
    given: dict[str, str] = {}
    for key, value in values:
        if key not in Options.model_fields:
            known = ", ".join(Options.model_fields)
            raise invalid_parameter(key[:60], f"there is no such parameter; there are {known}")
        if value == "":  # an empty form field is one that was left out
            continue
        if given.setdefault(key, value) != value:
            raise invalid_parameter(key, f"it is given as {given[key][:60]!r} and as {value[:60]!r}; give it once")
    return given


def _check_model(service: Service, options: Options) -> None:
    served = service.settings.models
    if options.model and options.model not in served:
        raise ProblemError("unknown-model", f"{options.model[:60]!r}; there are {', '.join(served)}")
    model = options.model or service.settings.default
    if options.fidelity is not None and not has_fidelity(model, service.settings):
        raise invalid_parameter("fidelity", f"the model {model!r} has none; leave the parameter out")


def describe(error: ValidationError) -> tuple[str, None, dict[str, Any]]:
    """Returns the detail, no time to wait, and the list of errors of a failed validation."""
    errors = [
        {"parameter": ".".join(str(part) for part in entry["loc"]), "message": entry["msg"]}
        for entry in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return "; ".join(f"{e['parameter']}: {e['message']}" for e in errors)[:500], None, {"errors": errors}
