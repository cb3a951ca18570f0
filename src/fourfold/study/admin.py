"""The admin page: progress of every rater, export, and shutting a rater out; behind the study's admin token."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from fourfold.errors import RatingRefusedError
from fourfold.study import export, tokens
from fourfold.study.server import Context

#: The cookie of one study, whose identifier follows: a browser shares cookies between the ports of a host.
COOKIE = "fourfold_study_admin_"


class AccessBody(BaseModel):
    """A rater, and whether he is shut out."""

    model_config = ConfigDict(strict=True, extra="forbid")
    rater: str = Field(pattern=r"^[a-z0-9-]{1,40}$")
    revoked: bool


def admin_routes(context: Context) -> APIRouter:
    """Returns the routes of the admin page."""
    router = APIRouter(prefix="/admin")
    cookie = COOKIE + context.study.manifest.study_id

    def admin(request: Request) -> None:
        if not tokens.is_admin(context.study.key, request.cookies.get(cookie, "")):
            raise RatingRefusedError("open the admin link that `fourfold study serve` printed", "token")

    Admin = [Depends(admin)]

    @router.get("/enter/{token}")
    def enter(token: str) -> Response:
        if not tokens.is_admin(context.study.key, token):
            raise RatingRefusedError("this is not the admin link of this study", "token")
        response = RedirectResponse("/admin", 303)
        secure = context.settings.secure
        response.set_cookie(cookie, token, httponly=True, samesite="lax", secure=secure, path="/admin")
        response.headers["cache-control"] = "no-store"
        return response

    @router.get("", dependencies=Admin)
    def page(request: Request) -> Response:
        return context.page(
            request,
            "admin.html",
            manifest=context.study.manifest,
            settings=context.settings,
            digest=context.study.manifest.digest,
        )

    @router.get("/api/progress", dependencies=Admin)
    def progress() -> dict[str, Any]:
        return overview(context)

    @router.post("/api/access", dependencies=Admin)
    def access(body: AccessBody) -> dict[str, Any]:
        context.store.set_revoked(body.rater, body.revoked)
        return overview(context)

    @router.get("/export/{name}", dependencies=Admin)
    def download(name: str) -> Response:
        makers = {
            "ratings.csv": (export.ratings_csv, "text/csv; charset=utf-8"),
            "ratings.json": (export.ratings_json, "application/json"),
            "raters.csv": (export.raters_csv, "text/csv; charset=utf-8"),
        }
        if name not in makers:
            raise RatingRefusedError(f"no export {name!r}; there are {', '.join(makers)}", "forbidden")
        make, kind = makers[name]
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        file = f"{name.partition('.')[0]}-{stamp}.{name.partition('.')[2]}"
        return Response(
            make(context.study.manifest, context.store),
            media_type=kind,
            headers={"content-disposition": f'attachment; filename="{file}"', "cache-control": "no-store"},
        )

    return router


def overview(context: Context) -> dict[str, Any]:
    """Returns what the admin page shows: every rater's progress, and the sums."""
    manifest = context.study.manifest
    screens = export.last_screens(context.store)
    total = len(manifest.order("anyone"))
    raters = [{**row, "total": total, "screen": screens.get(row["id"])} for row in context.store.overview()]
    return {
        "total": total,
        "raters": raters,
        "finished": sum(1 for row in raters if row["done"] >= total),
        "ratings": sum(row["done"] for row in raters),
    }
