"""Who may come in: host names, other sites, the token. Checked before a byte of a body is read."""

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from fourfold.serving.problems import MEDIA_TYPE, ProblemError, under
from fourfold.serving.settings import Settings, is_loopback

_COOKIE = "fourfold_session"
#: Paths that need no token: they show nothing that a client brought.
PUBLIC = ("/static/", "/v1/problems/")
PUBLIC_EXACT = frozenset(
    {"/", "/docs", "/favicon.ico", "/v1/health", "/v1/limits", "/v1/openapi.json", "/v1/session", "/v1/problems"}
)


def problem_response(problem: ProblemError, scope: Scope, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Returns a problem as the answer to a request, with headers of its own beside the problem's."""
    root_path = scope.get("app_root_path", scope.get("root_path", ""))  # below a mount, the latter is the mount's
    body = under(root_path, problem.body())
    return JSONResponse(body, problem.status, {**(headers or {}), **problem.headers()}, media_type=MEDIA_TYPE)


def client_of(connection: HTTPConnection) -> str:
    """Returns whom to count a request for: an IPv4 address, or the /64 of an IPv6 one."""
    host = connection.client.host if connection.client else "unknown"
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host


class Tokens:
    """The bearer token, and the cookie that stands for it in a browser (events and pictures carry no header)."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        # the cookie ends with this server and says nothing about the token
        self._cookie = hmac.new(secrets.token_bytes(32), self._token, hashlib.sha256).hexdigest()

    @property
    def wanted(self) -> bool:
        """Whether a token is asked for at all."""
        return bool(self._token)

    @property
    def cookie(self) -> str:
        """What the cookie of a signed-in page holds."""
        return self._cookie

    @staticmethod
    def cookie_name(connection: HTTPConnection) -> str:
        """Returns what the cookie is called: browsers share cookies between the ports of a host, and servers do not."""
        _, _, port = connection.headers.get("host", "").rpartition(":")
        return f"{_COOKIE}_{port}" if port.isdecimal() else _COOKIE

    def header_is_right(self, connection: HTTPConnection) -> bool:
        """Returns whether the Authorization header carries the token."""
        scheme, _, given = connection.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token)

    def cookie_is_right(self, connection: HTTPConnection) -> bool:
        """Returns whether the cookie is the one that this server gave."""
        return hmac.compare_digest(
            connection.cookies.get(self.cookie_name(connection), "").encode(), self._cookie.encode()
        )

    def check(self, connection: HTTPConnection) -> None:
        """Refuses a request without the token.

        Raises:
            ProblemError: ``token-needed``.
        """
        if self.wanted and not self.header_is_right(connection) and not self.cookie_is_right(connection):
            given = "authorization" in connection.headers
            raise ProblemError("token-needed", "the token is not the right one" if given else "")


class KeptPrefix:
    """ASGI middleware for reverse proxies that leave the server's own path in place, and for those who ask directly.

    Servers put that path before what was asked for, since most proxies take it away; here it would stand there twice.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        root = scope.get("root_path", "")
        if root and scope["type"] == "http":
            asked = scope["path"].removeprefix(root)
            if asked == root or asked.startswith(f"{root}/"):
                raw = (scope.get("raw_path") or b"").removeprefix(root.encode())
                scope.update(path=asked, raw_path=raw)
        await self._app(scope, receive, send)


class Gate:
    """ASGI middleware that lets a request in, or answers it with the reason why not."""

    def __init__(self, app: ASGIApp, settings: Settings, tokens: Tokens) -> None:
        self._app = app
        self._settings = settings
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] == "http":
            connection = HTTPConnection(scope)
            try:
                self._check_host(connection.headers)
                self._check_site(connection.headers, scope["method"])
                if not _is_public(path_of(scope)):
                    self._tokens.check(connection)
            except ProblemError as problem:
                scope["fourfold.problem"] = problem.slug
                await problem_response(problem, scope)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check_host(self, headers: Headers) -> None:
        """A page elsewhere can point its own name at 127.0.0.1 (DNS rebinding); it cannot change the Host header."""
        allowed = self._settings.allowed_hosts
        host = host_name(headers.get("host", ""))
        if "*" not in allowed and not is_loopback(host) and host not in allowed:
            raise ProblemError("wrong-host", f"the request is for {host[:100]!r}")

    def _check_site(self, headers: Headers, method: str) -> None:
        origin = headers.get("origin", "")
        if origin and origin in self._settings.cors_origins:
            return
        site = headers.get("sec-fetch-site", "")
        if site:
            navigation = method in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
            foreign = site not in ("same-origin", "none") and not navigation
        else:
            foreign = bool(origin) and _place_of(origin) != headers.get("host", "").lower()
        if foreign:
            raise ProblemError("cross-site", f"it came from {origin[:100] or 'another site'!r}")


def path_of(scope: Scope) -> str:
    """Returns the path below the address that the server is mounted at."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"


def _place_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def host_name(host: str) -> str:
    """Returns the name in a Host header, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_public(path: str) -> bool:
    return path in PUBLIC_EXACT or path.startswith(PUBLIC)
