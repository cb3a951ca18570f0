"""What surrounds every answer: security headers, the counting, HEAD, and the answer to an exception nobody expected."""

import logging
import secrets

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fourfold.serving.access import problem_response
from fourfold.serving.metrics import Metrics
from fourfold.serving.problems import ProblemError

log = logging.getLogger("fourfold.serving")

#: The page loads nothing from anywhere else, runs no inline script, and cannot be framed.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

SECURITY = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


class Envelope:
    """ASGI middleware around everything: adds the headers and counts the answers."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, cors: bool = False) -> None:
        self._app = app
        self._metrics = metrics
        # a site that may call the API must be able to read what it answers
        self._security = {**SECURITY, "Cross-Origin-Resource-Policy": "cross-origin"} if cors else SECURITY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._security.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                self._metrics.requests.labels(_method(scope["method"]), str(message["status"])).inc()
                if "fourfold.problem" in scope:
                    self._metrics.refused.labels(scope["fourfold.problem"]).inc()
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            number = secrets.token_hex(4)
            log.exception("incident %s: %s", number, scope["method"])
            if started:
                raise
            scope["fourfold.problem"] = "internal-error"
            problem = ProblemError("internal-error", f"incident {number}")
            await problem_response(problem, scope)(scope, receive, send_with_headers)


#: In the scope of a request that came as HEAD and is answered as GET would be.
HEAD = "fourfold.head"


class Heads:
    """ASGI middleware that answers HEAD wherever GET is answered: with the same headers and no body (RFC 9110, 9.3.2).

    Routes see GET, with :data:`HEAD` in the scope for those that do more than to answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        asked = {**scope, "method": "GET", HEAD: True}  # the server goes by its own, and must go on to see HEAD

        async def send_head(message: Message) -> None:
            if message["type"] != "http.response.start":
                return
            if "fourfold.problem" in asked:
                scope["fourfold.problem"] = asked["fourfold.problem"]
            await send(message)
            await send({"type": "http.response.body", "body": b""})

        await self._app(asked, receive, send_head)


def _method(method: str) -> str:
    """Returns the method, or "other": a label must not take values that clients invent."""
    return method if method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH") else "other"
