"""Results as they are sent: whole, in ranges, or not at all where the client has them already (RFC 9110)."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from fourfold.serving.access import problem_response
from fourfold.serving.problems import ProblemError

#: Byte ranges (14.1.2); of any other unit or form, the header is as good as absent (14.2).
_RANGES = re.compile(r"bytes=[ \t]*((?:\d+-\d*|-\d+)(?:[ \t]*,[ \t]*(?:\d+-\d*|-\d+))*)[ \t]*", re.IGNORECASE)


class ResultResponse(FileResponse):
    """A file; ``fetched`` is awaited once its end has been sent.

    Args:
        path: of the file, which must be there.
        media_type: of it.
        headers: beside those of a file.
        fetched: called when the last byte is sent.
    """

    def __init__(
        self, path: Path, media_type: str, headers: dict[str, str], fetched: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(path, media_type=media_type, headers=headers, stat_result=path.stat())
        self._fetched = fetched

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends what the request asks for."""
        headers, size = Headers(scope=scope), int(self.headers["content-length"])
        if _matches(headers.get("if-none-match", ""), self.headers["etag"]):
            kept = {name: self.headers[name] for name in ("etag", "cache-control") if name in self.headers}
            await Response(status_code=304, headers=kept)(scope, receive, send)
            return
        # a range of what it was before is not wanted of what it is now (13.1.5)
        same = headers.get("if-range") in (None, self.headers["etag"], self.headers["last-modified"])
        wanted = _ranges(headers.get("range", ""), size) if same else None
        if wanted is None:
            scope = {**scope, "headers": [(name, value) for name, value in scope["headers"] if name != b"range"]}
        elif not wanted:
            problem = ProblemError("range-not-satisfiable", f"the result has {size:,} bytes")
            scope["fourfold.problem"] = problem.slug
            await problem_response(problem, scope, {"Content-Range": f"bytes */{size}"})(scope, receive, send)
            return
        await super().__call__(scope, receive, send)
        if wanted is None or any(stop >= size for _, stop in wanted):
            await self._fetched()


def _ranges(header: str, size: int) -> list[tuple[int, int]] | None:
    """Returns from where to where a request wants a file, as far as it goes; None where it wants the whole."""
    found = _RANGES.fullmatch(header)
    if found is None:
        return None
    ranges = []
    for text in found[1].split(","):
        first, _, last = text.strip().partition("-")
        start = int(first) if first else max(0, size - int(last))
        stop = int(last) + 1 if first and last else size
        if first and last and int(last) < int(first):  # no range at all
            return None
        if start < size:
            ranges.append((start, min(stop, size)))
    return ranges


def _matches(header: str, etag: str) -> bool:
    return any(one.strip().removeprefix("W/") in (etag, "*") for one in header.split(","))
