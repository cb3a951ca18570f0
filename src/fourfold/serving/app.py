"""The web application: routes, pages and middleware around one service."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Match

from fourfold.errors import FourfoldError
from fourfold.fresh_files import FreshFiles
from fourfold.serving.access import Gate, KeptPrefix, Tokens, problem_response
from fourfold.serving.api_batches import batch_routes
from fourfold.serving.api_document import DescribedApi
from fourfold.serving.api_jobs import job_routes
from fourfold.serving.api_server import server_routes
from fourfold.serving.headers import Envelope, Heads
from fourfold.serving.pages import HERE, page_routes
from fourfold.serving.problems import ProblemError, slug_of
from fourfold.serving.service import Service
from fourfold.serving.settings import Settings
from fourfold.version import __version__

ABOUT = """
Hand in a picture, get it back four times as wide and high.

* Small pictures: `POST /v1/upscale` answers with the result.
* All others: `POST /v1/jobs`, follow `GET /v1/jobs/{id}/events`, fetch `GET /v1/jobs/{id}/result`.
* Errors are `application/problem+json` (RFC 9457); their `type` is an address on this server.
"""


def create_app(settings: Settings) -> FastAPI:
    """Returns the ASGI application of a server; its service is ``app.state.service``."""
    service = Service(settings)
    tokens = Tokens(settings.token)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = DescribedApi(
        guarded=tokens.wanted,
        title="Fourfold",
        version=__version__,
        description=ABOUT,
        lifespan=life,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # those pages load scripts from elsewhere; ours are in pages.py
        redoc_url=None,
    )
    app.state.service = service
    for router in (job_routes(service), batch_routes(service), server_routes(service, tokens), page_routes()):
        app.include_router(router)
    app.mount("/static", FreshFiles(directory=HERE / "static"), name="static")
    _answer_errors(app)
    # the last one added is the outermost
    app.add_middleware(Heads)
    app.add_middleware(Gate, settings=settings, tokens=tokens)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Range", "If-Range", "If-None-Match"],
            expose_headers=["Location", "Retry-After", "Content-Disposition", "ETag", "Content-Range"],
        )
    app.add_middleware(KeptPrefix)
    app.add_middleware(Envelope, metrics=service.metrics, cors=bool(settings.cors_origins))
    return app


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(FourfoldError)
    async def on_fourfold(request: Request, error: FourfoldError) -> JSONResponse:
        problem = error if isinstance(error, ProblemError) else ProblemError(slug_of(error), str(error))
        return _answer(request, problem)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        errors: list[dict[str, Any]] = [
            {"parameter": ".".join(str(part) for part in entry["loc"][1:]), "message": entry["msg"]}
            for entry in error.errors()
        ]
        detail = "; ".join(f"{e['parameter']}: {e['message']}" for e in errors)
        return _answer(request, ProblemError("invalid-parameter", detail[:500], extra={"errors": errors}))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        slug = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "invalid-request")
        headers = dict(error.headers or {})
        if "Allow" in headers:  # there, the methods of one route: an address may have several
            headers["Allow"] = ", ".join(_methods(request))
        return _answer(request, ProblemError(slug), headers)


def _methods(request: Request) -> list[str]:
    """Returns the methods that the address of a request takes."""

    def takes(method: str) -> bool:
        asked = {**request.scope, "method": method}
        return any(route.matches(asked)[0] is Match.FULL for route in request.app.routes)

    taken = [method for method in ("GET", "POST", "DELETE") if takes(method)]
    return taken + ["HEAD"] * ("GET" in taken)  # which :class:`Heads` answers


def _answer(request: Request, problem: ProblemError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    request.scope["fourfold.problem"] = problem.slug
    return problem_response(problem, request.scope, headers)
