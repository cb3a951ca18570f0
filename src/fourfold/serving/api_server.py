"""Routes about the server itself: models, limits, health, metrics, problems, and signing in."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from fourfold.serving.access import Tokens
from fourfold.serving.api_jobs import MEDIA_TYPES, problems
from fourfold.serving.metrics import CONTENT_TYPE
from fourfold.serving.models import model_view
from fourfold.serving.problems import KINDS, ProblemError, problem_body, under
from fourfold.serving.schemas import HealthView, LimitsView, ModelView
from fourfold.serving.service import Service
from fourfold.serving.settings import SCALE
from fourfold.version import __version__


def server_routes(service: Service, tokens: Tokens) -> APIRouter:
    """Returns the routes about the server."""
    router = APIRouter(tags=["server"])
    settings = service.settings

    @router.get("/v1/models", response_model=list[ModelView], responses=problems(), summary="List the models")
    async def list_models() -> Any:
        """The models that may be named in a request; one of them is the default."""
        return [model_view(name, settings) for name in settings.models]

    @router.get("/v1/limits", response_model=LimitsView, summary="What one client may ask for")
    async def get_limits() -> Any:
        """The limits of this server."""
        limits = settings.limits
        return LimitsView(
            upload_bytes=limits.upload_bytes,
            max_pixels=min(limits.input_px, limits.output_px // SCALE**2),
            side_px=limits.side_px,
            jobs_per_client=limits.jobs_per_client,
            queue_length=limits.queue_length,
            job_s=limits.job_s,
            retention_s=limits.retention_s,
            sync_px=limits.sync_px,
            formats=list(MEDIA_TYPES),
            token=tokens.wanted,
            version=__version__,
        )

    @router.get(
        "/v1/health",
        response_model=HealthView,
        responses={503: {"model": HealthView, "description": "no worker, or the server is stopping"}},
        summary="Ask how the server is",
    )
    async def get_health(response: Response) -> Any:
        """`ok` with 200 while jobs are taken and a worker is ready; `starting` counts as well."""
        worker = service.supervisor.state
        status = "stopping" if service.draining else {"ready": "ok", "starting": "starting"}.get(worker, "failing")
        if status in ("stopping", "failing"):
            response.status_code = 503
        return {"status": status, "worker": worker, "version": __version__}

    @router.get("/metrics", response_class=PlainTextResponse, responses=problems(), summary="Metrics for Prometheus")
    async def get_metrics() -> Response:
        """Counters and gauges as Prometheus text."""
        return Response(service.metrics.render(service), media_type=CONTENT_TYPE)

    @router.get("/v1/problems", summary="List the problems")
    async def list_problems(request: Request) -> list[dict[str, Any]]:
        """Every kind of problem that this server answers with."""
        return [under(request.scope.get("root_path", ""), problem_body(slug)) for slug in KINDS]

    @router.get("/v1/problems/{slug}", responses=problems("not-found"), summary="Explain a problem")
    async def get_problem(slug: str, request: Request) -> dict[str, Any]:
        """What the `type` of a problem points to."""
        if slug not in KINDS:
            raise ProblemError("not-found", f"there is no problem {slug[:60]!r}")
        return under(request.scope.get("root_path", ""), problem_body(slug))

    @router.post("/v1/session", status_code=204, responses=problems(), summary="Sign a browser in")
    async def sign_in(request: Request, response: Response) -> None:
        """Takes the token from the Authorization header and gives a cookie, which events and pictures need."""
        if tokens.wanted and not tokens.header_is_right(request):
            raise ProblemError("token-needed", "the token is not the right one")
        response.set_cookie(
            tokens.cookie_name(request),
            tokens.cookie,
            httponly=True,
            samesite="strict",
            secure=settings.secure_cookie,
            path=request.scope.get("root_path", "") or "/",
        )

    return router
