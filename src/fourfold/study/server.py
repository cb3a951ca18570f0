"""The study's web application: raters' pages and API, the admin page, security headers, problem+json errors."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.templating import Jinja2Templates
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fourfold.errors import RatingRefusedError, StudyError, StudyStoreError
from fourfold.fresh_files import FreshFiles
from fourfold.study.manifest import Study
from fourfold.study.store import RatingStore

log = logging.getLogger("fourfold.study")

_HERE = Path(__file__).parent

#: The longest body any page sends is under 1 kB.
BODY_LIMIT_BYTES = 16 * 1024
#: How long one may take: a client that sends half of it and then nothing holds no connection for longer.
BODY_S = 20.0

_SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # not "no-referrer": it makes browsers send "Origin: null" with a form, which is what a foreign page would send
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=()",
}

_STATUS = {"conflict": 409, "range": 422, "forbidden": 403, "token": 401}
_TITLES = {
    400: "Bad request",
    401: "No valid link",
    403: "Not allowed",
    404: "Not found",
    405: "Not allowed here",
    408: "Too slow",
    409: "Out of step",
    413: "Too large",
    422: "Not valid",
    500: "The study is damaged",
    503: "Not saved",
}


@dataclass(frozen=True)
class Settings:
    """How a study is served.

    ``public_url`` is what raters type (``https://ratings.example.org``); open enrolment lets up to ``open_places``
    people join without a link of their own; ``token_days`` is how long their place is kept.
    """

    public_url: str = "http://127.0.0.1:8400"
    open_places: int = 0
    token_days: int = 60

    @property
    def secure(self) -> bool:
        """Whether cookies may travel over HTTPS only."""
        return self.public_url.startswith("https://")


@dataclass(frozen=True)
class Context:
    """What every route needs."""

    study: Study
    store: RatingStore
    settings: Settings
    templates: Jinja2Templates

    def page(self, request: Request, name: str, status: int = 200, **values: Any) -> Response:
        """Returns a rendered page (Jinja2 escapes every value)."""
        shared = {"title": self.study.manifest.title, **values}
        return self.templates.TemplateResponse(
            request, name, shared, status_code=status, headers={"cache-control": "no-store"}
        )


def create_app(study: Study, store: RatingStore, settings: Settings | None = None) -> FastAPI:
    """Returns the application; it keeps no state of its own, so it may die and start again at any moment."""
    from fourfold.study.admin import admin_routes
    from fourfold.study.rating import rating_routes

    app = FastAPI(title="Rating study", docs_url=None, redoc_url=None, openapi_url=None)
    context = Context(study, store, settings or Settings(), Jinja2Templates(_HERE / "templates"))
    app.include_router(rating_routes(context))
    app.include_router(admin_routes(context))
    app.mount("/static", FreshFiles(directory=_HERE / "static"), name="static")
    _handle_errors(app, context)
    app.add_middleware(_Guard)
    return app


def _handle_errors(app: FastAPI, context: Context) -> None:
    """Answers every error as a page where a person asked for one, and as problem+json otherwise."""

    def answer(request: Request, status: int, detail: str) -> Response:
        title = _TITLES.get(status, "Error")
        if "text/html" in request.headers.get("accept", ""):
            return context.page(request, "message.html", status, heading=title, text=detail)
        problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        headers = {"cache-control": "no-store"} | ({"retry-after": "3"} if status == 503 else {})
        return JSONResponse(problem, status, headers, media_type="application/problem+json")

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, RatingRefusedError)
        return answer(request, _STATUS[error.reason], str(error))

    async def not_kept(request: Request, error: Exception) -> Response:
        log.error("%s", error)  # which says where the ratings are: no business of raters
        return answer(request, 503, "the ratings cannot be reached or saved at the moment")

    async def damaged(request: Request, error: Exception) -> Response:
        return answer(request, 500, "a file of this study is missing or was changed; tell the person who runs it")

    async def not_valid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = "; ".join(f"{'.'.join(str(part) for part in e['loc'][1:])}: {e['msg']}" for e in error.errors()[:3])
        return answer(request, 422, found or "the request is not what this page sends")

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return answer(request, error.status_code, error.detail)

    app.add_exception_handler(RatingRefusedError, refused)
    app.add_exception_handler(StudyStoreError, not_kept)
    app.add_exception_handler(StudyError, damaged)
    app.add_exception_handler(RequestValidationError, not_valid)
    app.add_exception_handler(HTTPException, http)


class _Guard:
    """Adds the security headers to every answer; refuses large bodies and requests that another site made.

    HEAD is answered wherever GET is, with the same headers and no body (RFC 9110, 9.3.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        only_head = scope["method"] == "HEAD"

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers[name] = value
            elif only_head:
                message = {**message, "body": b""}
            await send(message)

        async def refuse(status: int, detail: str) -> None:
            problem = {"type": "about:blank", "title": _TITLES[status], "status": status, "detail": detail}
            # what is left of the body is not read, so the connection is of no use afterwards
            headers = {"connection": "close"}
            answer = JSONResponse(problem, status, headers, media_type="application/problem+json")
            await answer(scope, receive, send_guarded)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["method"] not in ("GET", "HEAD") and _is_foreign(headers):
            await refuse(403, "sent by another site")
            return
        try:
            async with asyncio.timeout(BODY_S):
                body = await _limited_body(receive)
        except TimeoutError:
            await refuse(408, "the body did not come")
        except _TooLargeError:
            await refuse(413, "the body is too large")
        except _DisconnectedError:
            return  # half a form is no form, and nobody waits for an answer
        else:
            asked = {**scope, "method": "GET"} if only_head else scope
            await self.app(asked, _replay(body, receive), send_guarded)


class _TooLargeError(Exception):
    """A body is over the limit."""


class _DisconnectedError(Exception):
    """The client went away before its request had ended."""


def _is_foreign(headers: dict[str, str]) -> bool:
    """Returns whether a browser says that another site's page made this request."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and origin.split("://")[-1] != headers.get("host")


async def _limited_body(receive: Receive) -> bytes:
    """Returns the whole body; raises as soon as it is longer than the limit, whatever Content-Length claimed."""
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _DisconnectedError
        chunk: bytes = message.get("body", b"")
        body += chunk
        if len(body) > BODY_LIMIT_BYTES:
            raise _TooLargeError
        if not message.get("more_body", False):
            return body


def _replay(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
