"""Taking in a picture: counted while it arrives, written to its job's folder, never trusted."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field
from pathlib import Path

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from fourfold.serving.problems import ProblemError
from fourfold.serving.settings import Limits

FIELD = "picture"
#: Overhead of multipart/form-data that is granted beyond the limit.
FORM_BYTES = 64 * 1024
#: A body may take so many times the longest pause altogether, or as long as the largest one takes at this rate.
PAUSES, SLOWEST_BYTES_PER_S = 30, 32 * 1024
FLUSH_BYTES = 1024 * 1024
#: How forms write what would break a quoted file name (HTML standard, multipart/form-data); a ``%`` stays as it is.
_ESCAPES = {"%22": '"', "%0D": "\r", "%0A": "\n"}


#: Beside ``image/*``, what a body that is a picture may be called; the last is what curl calls any body by itself.
_ANY_KIND = ("", "application/octet-stream", "application/x-www-form-urlencoded")


@dataclass
class Upload:
    """A picture that has arrived, with the name, as somebody else wrote it, and the form fields that came along."""

    path: Path
    name: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)


class LimitedReceive:
    """Passes on a body while it stays within its limits of bytes and time."""

    def __init__(self, receive: Receive, limits: Limits, extra_bytes: int = 0) -> None:
        self._receive = receive
        self._limits = limits
        self._most = limits.upload_bytes + extra_bytes
        self._total_s = max(PAUSES * limits.upload_s, limits.upload_bytes / SLOWEST_BYTES_PER_S)
        self._until = time.monotonic() + self._total_s
        self.count = 0

    async def __call__(self) -> Message:
        """Returns the next piece.

        Raises:
            ProblemError: ``upload-too-large`` or ``upload-too-slow``.
        """
        left_s = self._until - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), min(self._limits.upload_s, left_s))
        except TimeoutError as error:
            over = left_s < self._limits.upload_s
            why = f"it took over {self._total_s:.0f} s" if over else f"nothing came for {self._limits.upload_s:g} s"
            raise ProblemError("upload-too-slow", f"{why}; {self.count} bytes had come") from error
        self.count += len(message.get("body", b""))
        if self.count > self._most:
            raise too_large(self._limits)
        return message


def too_large(limits: Limits) -> ProblemError:
    """Returns the problem of a body over the limit."""
    return ProblemError(
        "upload-too-large", f"the limit is {limits.upload_bytes} bytes", extra={"max_bytes": limits.upload_bytes}
    )


async def receive_picture(request: Request, folder: Path, limits: Limits) -> Upload:
    """Writes the picture of a request to ``folder / "source"``.

    The body is the picture itself (``image/*``, or a type that says nothing), or a ``multipart/form-data`` with the
    file in the field ``picture``.

    Raises:
        ProblemError: for a body that is empty, too large, too slow, broken, or of another kind.
    """
    _refuse_encoded(request.headers)
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limits.upload_bytes + FORM_BYTES:
        raise too_large(limits)
    try:
        if kind == "multipart/form-data":
            upload = await _receive_form(request, folder, limits)
        elif kind in _ANY_KIND or kind.startswith("image/"):
            upload = await _receive_body(request, folder, limits)
        else:
            raise ProblemError("unsupported-media", f"the body is {kind[:60]!r}; send image/* or multipart/form-data")
    except ClientDisconnect as error:
        raise ProblemError("invalid-request", "the connection ended before the picture did") from error
    if upload.path.stat().st_size == 0:
        raise ProblemError("empty-upload")
    return upload


def _refuse_encoded(headers: Headers) -> None:
    """Refuses a body that is not the picture as it is: nothing here would decode it."""
    encodings = ", ".join(headers.getlist("content-encoding"))
    if any(name.strip().lower() not in ("", "identity") for name in encodings.split(",")):
        raise ProblemError("unsupported-encoding", f"the Content-Encoding is {encodings[:60]!r}")


async def _receive_body(request: Request, folder: Path, limits: Limits) -> Upload:
    limited = Request(request.scope, LimitedReceive(request.receive, limits))
    path = folder / "source"
    with path.open("wb") as file:
        pieces = bytearray()
        async for piece in limited.stream():
            pieces += piece
            if len(pieces) >= FLUSH_BYTES:
                await asyncio.to_thread(file.write, bytes(pieces))
                pieces.clear()
        await asyncio.to_thread(file.write, bytes(pieces))
    return Upload(path)


class _FormParser(MultiPartParser):
    """Starlette's parser, with the file of the form written to a path of ours as it arrives.

    Starlette's own goes into the system's temporary folder, which may be memory, and counts nowhere.
    """

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes, None], path: Path) -> None:
        super().__init__(headers, stream, max_files=1, max_fields=16, max_part_size=4096)
        self._path = path
        self._files = ExitStack()

    def on_headers_finished(self) -> None:
        """Begins a part; the first with a file name is the file, a second is refused."""
        super().on_headers_finished()
        upload = self._current_part.file
        if upload is not None:
            upload.file.close()
            upload.file = self._files.enter_context(self._path.open("wb"))

    async def parse(self) -> FormData:
        """Returns the form, its file complete on disk and closed."""
        with self._files:
            return await super().parse()


async def _receive_form(request: Request, folder: Path, limits: Limits) -> Upload:
    limited = Request(request.scope, LimitedReceive(request.receive, limits, FORM_BYTES))
    path = folder / "source"
    try:
        async with aclosing(limited.stream()) as stream:
            form = await _FormParser(limited.headers, stream, path).parse()
    except MultiPartException as error:
        raise ProblemError("invalid-request", f"the form is broken: {error.message[:200]}") from error
    picture = form.get(FIELD)
    if not isinstance(picture, UploadFile):
        raise ProblemError("empty-upload", f"the form has no file in the field {FIELD!r}")
    if (picture.size or 0) > limits.upload_bytes:
        raise too_large(limits)
    fields = [(key, value) for key, value in form.multi_items() if isinstance(value, str)]
    return Upload(path, _form_name(picture.filename or ""), fields)


def _form_name(text: str) -> str:
    """Returns a file name as it was before the form; not yet clean."""
    return re.sub("|".join(_ESCAPES), lambda match: _ESCAPES[match[0]], text)
