"""The page for people, and the API's documentation, without a single outside resource."""

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup, escape
from starlette.responses import FileResponse, Response

from fourfold.serving.problems import KINDS
from fourfold.version import __version__

HERE = Path(__file__).parent


def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=select_autoescape(default=True), trim_blocks=True
    )
    templates.filters["prose"] = _prose
    return templates


def _prose(text: str) -> Markup:
    """Returns text with what stands in backquotes as code."""
    pieces = str(text or "").split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if place % 2 else escape(piece) for place, piece in enumerate(pieces)
    )


def page_routes() -> APIRouter:
    """Returns the routes of the pages."""
    router = APIRouter(include_in_schema=False)
    templates = _templates()

    @router.get("/")
    async def page() -> Response:
        return HTMLResponse(templates.get_template("page.html").render(version=__version__))

    @router.get("/docs")
    async def docs(request: Request) -> Response:
        document = request.app.openapi()
        return HTMLResponse(
            templates.get_template("docs.html").render(document=document, kinds=KINDS, version=__version__)
        )

    @router.get("/favicon.ico")
    async def favicon() -> Response:
        return FileResponse(HERE / "static" / "icon.svg", media_type="image/svg+xml")

    return router
