"""Every error that the server answers with, as RFC 9457 ``application/problem+json``.

One table names them all; the page, the API document and the tests read the same table. A problem's ``type`` is an
address on this server that explains it.
"""

import errno
from dataclasses import dataclass, field
from typing import Any

from fourfold.errors import (
    CancelledError,
    EngineError,
    FourfoldError,
    PictureError,
    PictureTooLargeError,
    UnknownModelError,
    UsageError,
    WeightsError,
)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "/v1/problems/"
#: What systems say when there is no room: on the disk, or in a quota.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Kind:
    """One kind of problem: its status code, its title, and what a client can do about it."""

    status: int
    title: str
    remedy: str


KINDS: dict[str, Kind] = {
    # the request
    "invalid-parameter": Kind(422, "A parameter is not valid", "Correct the parameters named in 'errors'."),
    "invalid-request": Kind(
        400, "The request cannot be read", "Send the picture as the body, or as multipart/form-data."
    ),
    "not-found": Kind(404, "There is nothing here", "See /docs for the addresses of this server."),
    "method-not-allowed": Kind(405, "This address does not take that method", "See /docs."),
    "unknown-model": Kind(422, "This server does not serve that model", "Choose a name from /v1/models."),
    "wrong-host": Kind(421, "This server does not answer to that host name", "Start it with --allow-host NAME."),
    "cross-site": Kind(403, "Another site may not use this server", "Start it with --cors-origin ORIGIN."),
    "token-needed": Kind(401, "A token is needed", "Send 'Authorization: Bearer TOKEN'."),
    # the picture
    "empty-upload": Kind(400, "No picture came", "Send the picture's bytes as the body."),
    "upload-too-large": Kind(413, "The file is too large", "Send a smaller file; /v1/limits names the limit."),
    "upload-too-slow": Kind(408, "The upload was too slow", "Send it again over a steadier connection."),
    "unsupported-media": Kind(
        415, "This kind of file is not taken", "Send a PNG, JPEG, WebP, TIFF, AVIF or another listed picture."
    ),
    "unsupported-encoding": Kind(
        415, "This encoding of the body is not taken", "Send the body as it is, without Content-Encoding."
    ),
    "unreadable-picture": Kind(422, "The picture cannot be read", "Open and save it again in another program."),
    "picture-too-large": Kind(413, "The picture is too large", "Crop, shrink or split it; /v1/limits names the limit."),
    # the load
    "too-many-jobs": Kind(429, "You have too many jobs here", "Wait for one to finish, or cancel one."),
    "queue-full": Kind(429, "The server is busy", "Try again after the seconds in Retry-After."),
    "too-many-streams": Kind(429, "Too many event streams are open", "Poll the job instead, or try again later."),
    "storage-full": Kind(503, "The server has no room for another picture", "Try again after Retry-After."),
    "busy": Kind(503, "The picture was not done in time", "Submit it as a job, which may wait."),
    "stopping": Kind(503, "The server is stopping", "Submit again after Retry-After."),
    # the job
    "unknown-job": Kind(404, "There is no such job", "It may have been deleted, or the server restarted."),
    "not-finished": Kind(409, "The job is not finished", "Ask again after Retry-After, or follow its events."),
    "no-result": Kind(409, "There is no picture to give", "See the problem in the job itself."),
    "range-not-satisfiable": Kind(416, "The picture has no such bytes", "Ask for bytes below its size, or for all."),
    "expired": Kind(410, "The result has expired", "Submit the picture again; /v1/limits says how long results stay."),
    "cancelled": Kind(409, "The job was cancelled", "Submit the picture again."),
    "timed-out": Kind(504, "The job took too long and was stopped", "Send a smaller picture."),
    "waited-too-long": Kind(503, "The job waited too long and was given up", "Submit it again later."),
    "out-of-memory": Kind(507, "The job needed too much memory and was stopped", "Send a smaller picture."),
    "worker-died": Kind(500, "The worker died twice on this picture", "Open and save the picture in another program."),
    "handed-back": Kind(503, "The server stopped before this job ran", "Submit the picture again."),
    "engine-failed": Kind(500, "The upscaling engine failed", "Tell who runs the server; the log says more."),
    "internal-error": Kind(500, "Something went wrong in the server", "Tell who runs the server; the log says more."),
}


@dataclass
class ProblemError(FourfoldError):
    """A problem on its way to the client.

    Attributes:
        slug: key of :data:`KINDS`.
        detail: what failed this time, with the value.
        retry_after_s: seconds after which another try makes sense, or None.
        extra: further members of the JSON object.
        remedy: what would work, where the kind's own remedy does not fit.
    """

    slug: str
    detail: str = ""
    retry_after_s: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    remedy: str = ""

    def __str__(self) -> str:
        """Returns the title and the detail."""
        return f"{KINDS[self.slug].title}: {self.detail}" if self.detail else KINDS[self.slug].title

    @property
    def status(self) -> int:
        """HTTP status code."""
        return KINDS[self.slug].status

    def body(self) -> dict[str, Any]:
        """Returns the members of the problem object."""
        remedy = {"remedy": self.remedy} if self.remedy else {}
        return problem_body(self.slug, self.detail, {**self.extra, **remedy})

    def headers(self) -> dict[str, str]:
        """Returns the headers that belong to this problem."""
        headers = {"Cache-Control": "no-store"}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after_s)))
        if self.slug == "token-needed":
            headers["WWW-Authenticate"] = 'Bearer realm="fourfold"'
        if self.slug == "unsupported-encoding":
            headers["Accept-Encoding"] = "identity"
        return headers


def invalid_parameter(parameter: str, message: str) -> ProblemError:
    """Returns the problem of one parameter that is not valid, named as its remedy says."""
    errors = [{"parameter": parameter, "message": message}]
    return ProblemError("invalid-parameter", f"{parameter}: {message}"[:500], extra={"errors": errors})


def under(root_path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Returns a problem object for clients of a server that a proxy puts under a path."""
    return {**body, "type": root_path + body["type"]}


def problem_body(slug: str, detail: str = "", extra: dict[str, Any] | None = None) -> dict[str, Any]:
    """Returns the members of a problem object."""
    kind = KINDS[slug]
    body: dict[str, Any] = {"type": TYPE_PREFIX + slug, "title": kind.title, "status": kind.status}
    if detail:
        body["detail"] = detail
    return {**body, "remedy": kind.remedy, **(extra or {})}


#: From the most special class to the most general.
_OF_ERRORS: tuple[tuple[type[BaseException], str], ...] = (
    (PictureTooLargeError, "picture-too-large"),
    (PictureError, "unreadable-picture"),
    (UnknownModelError, "unknown-model"),
    (CancelledError, "cancelled"),
    (UsageError, "invalid-parameter"),
    (WeightsError, "engine-failed"),
    (EngineError, "engine-failed"),
    (MemoryError, "out-of-memory"),
)


def slug_of(error: BaseException) -> str:
    """Returns the kind of problem that an exception of the house is."""
    return next((slug for kind, slug in _OF_ERRORS if isinstance(error, kind)), "internal-error")
