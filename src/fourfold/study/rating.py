"""What a rater's browser talks to: enrolment, the page, the pictures under meaningless names, ratings and undo."""

import math
import time
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from fourfold.errors import RatingRefusedError
from fourfold.study import tokens
from fourfold.study.design import SCALE, Showing
from fourfold.study.server import Context
from fourfold.study.store import Answer, Progress, Rater

#: The cookie of one study, whose identifier follows: a browser shares cookies between the ports of a host.
COOKIE = "fourfold_rater_"

#: What it was called in all studies; raters without a link of their own have nothing else.
_EARLIER_COOKIE = "fourfold_rater"

#: What follows the name of another one, which the first page gives to see whether this browser keeps any.
_KEPT = "_kept"
#: What the address says when a link was opened just now.
_ARRIVED = "arrived"
_NO_COOKIES = "this browser keeps no cookies for this page, so it cannot take part: allow them, and open the link again"

#: The rater whose page makes a request, as that page says.
PAGE_RATER = "x-fourfold-rater"
_DAY_S = 86_400

#: A store that took a write is taken to be well for so long, whoever asks.
HEALTH_S = 5.0
_NAME_LENGTH = 80


class RatingBody(BaseModel):
    """One rating as the page sends it."""

    model_config = ConfigDict(strict=True, extra="forbid")
    picture: str = Field(max_length=64)
    position: int = Field(ge=0, le=10_000_000)
    score: int
    nonce: str
    response_ms: int | None = Field(None, ge=0, le=2_000_000_000)
    magnification: int | None = Field(None, ge=1, le=32)


class UndoBody(BaseModel):
    """The position whose rating is to be taken back."""

    model_config = ConfigDict(strict=True, extra="forbid")
    position: int = Field(ge=0, le=10_000_000)


class ScreenBody(BaseModel):
    """What the page sees of the screen; lengths in CSS pixels."""

    model_config = ConfigDict(extra="forbid")
    screen_width: int = Field(ge=0, le=100_000)
    screen_height: int = Field(ge=0, le=100_000)
    window_width: int = Field(ge=0, le=100_000)
    window_height: int = Field(ge=0, le=100_000)
    pixel_ratio: float = Field(gt=0, le=64)
    pinch_zoom: float = Field(gt=0, le=64)
    colour_depth: int = Field(ge=0, le=64)
    magnification: int = Field(ge=0, le=32)
    fits: bool


class EventBody(BaseModel):
    """A pause or its end."""

    model_config = ConfigDict(extra="forbid")
    what: str = Field(pattern="^(pause|resume|hidden|visible)$")


def rating_routes(context: Context) -> APIRouter:
    """Returns the routes of the raters' pages."""
    router = APIRouter()
    cookie = COOKIE + context.study.manifest.study_id

    def token_of(request: Request) -> str:
        """Returns the token of this study that the browser has, or nothing."""
        if cookie not in request.cookies:
            with suppress(tokens.TokenError):
                earlier = request.cookies.get(_EARLIER_COOKIE, "")
                tokens.read(context.study.key, earlier, time.time())
                return earlier
        return request.cookies.get(cookie, "")

    def current_rater(request: Request) -> Rater:
        """Returns the rater whose cookie this is; a valid token of a new rater enrols him."""
        token = token_of(request)
        if not token:
            if request.url.query == _ARRIVED:
                raise RatingRefusedError(_NO_COOKIES, "forbidden")
            raise RatingRefusedError("open the link that you were given", "token")
        identifier = tokens.read(context.study.key, token, time.time())
        # two raters at one screen share the cookie; an older tab must not rate for whoever opened a link after it
        if request.headers.get(PAGE_RATER, identifier) != identifier:
            raise RatingRefusedError("another rater opened a link in this browser; open your own link", "token")
        rater = context.store.rater(identifier) or context.store.enrol(identifier, "", "invited")
        if rater.revoked_at is not None:
            raise RatingRefusedError("your access was closed by the person who runs this study", "forbidden")
        return rater

    Me = Annotated[Rater, Depends(current_rater)]

    wrote_at = -math.inf

    @router.get("/health")
    def health() -> dict[str, str]:
        nonlocal wrote_at
        if time.monotonic() - wrote_at > HEALTH_S:
            context.store.check_writable()
            wrote_at = time.monotonic()
        return {"status": "ok"}

    @router.get("/")
    def landing(request: Request) -> Response:
        try:
            current_rater(request)
        except RatingRefusedError as error:
            places = context.settings.open_places
            answer = context.page(
                request,
                "landing.html",
                shut_out=error.reason != "token",
                open_enrolment=places > 0,
                full=places > 0 and context.store.enrolled("open") >= places,
                place=tokens.new_place(context.study.key, "open"),
                # someone who came without any link has done nothing wrong
                problem=str(error) if token_of(request) else None,
                shown=context.study.manifest.shown_per_rater,
                scale=SCALE,
            )
            answer.set_cookie(cookie + _KEPT, "1", httponly=True, samesite="lax", secure=context.settings.secure)
            return answer
        return RedirectResponse("/rate", 303)

    @router.post("/join")
    def join(request: Request, name: Annotated[str, Form()] = "", place: Annotated[str, Form()] = "") -> Response:
        # whoever goes back and presses the button again is still the same person, and shut out if he was
        try:
            current_rater(request)
            return RedirectResponse("/rate", 303)
        except RatingRefusedError as error:
            if error.reason != "token":
                raise
        if context.settings.open_places <= 0:
            raise RatingRefusedError("this study is by invitation; open the link that you were given", "forbidden")
        if request.cookies.get(cookie + _KEPT) is None:  # or every try would take a place
            raise RatingRefusedError(_NO_COOKIES, "forbidden")
        # a form that is sent twice is still one person's
        rater = tokens.read_place(context.study.key, place) or tokens.new_rater("open")
        context.store.enrol(rater, _clean_name(name), "open", limit=context.settings.open_places)
        expires_at = int(time.time()) + context.settings.token_days * _DAY_S
        return _with_cookie(RedirectResponse("/rate", 303), tokens.issue(context.study.key, rater, expires_at))

    @router.get("/r/{token}")
    def arrive(token: str) -> Response:
        # nobody is enrolled by the link alone: programs that look at a mail's links follow them, too
        tokens.read(context.study.key, token, time.time())
        return _with_cookie(RedirectResponse(f"/rate?{_ARRIVED}", 303), token)

    def _with_cookie(response: Response, token: str) -> Response:
        seconds = max(1, tokens.expiry(token) - int(time.time()))
        # Lax, not strict: the link is opened from a mail, and the redirect must carry the cookie
        response.set_cookie(
            cookie, token, max_age=seconds, httponly=True, samesite="lax", secure=context.settings.secure
        )
        response.headers["cache-control"] = "no-store"
        return response

    @router.get("/rate")
    def rate(request: Request, rater: Me) -> Response:
        width, height = context.study.manifest.largest_px
        return context.page(
            request,
            "rate.html",
            rater=rater,
            scale=SCALE,
            largest_width=width,
            largest_height=height,
            shown=context.study.manifest.shown_per_rater,
        )

    @router.get("/api/state")
    def state(rater: Me) -> dict[str, Any]:
        return _state(context, rater, context.store.progress(rater.id))

    @router.get("/pictures/{name}.png")
    def picture(name: str, rater: Me) -> Response:
        order = context.study.manifest.order(rater.id)
        done = context.store.progress(rater.id).done
        # only the last picture (for an undo), the current one and the next one (to load ahead) can be had
        for showing in order[max(0, done - 1) : done + 2]:
            if tokens.picture_name(context.study.key, rater.id, showing.position) == name:
                return Response(
                    context.study.picture(showing.id),
                    media_type="image/png",
                    headers={"cache-control": "private, max-age=600"},
                )
        raise HTTPException(404, "this is not a picture of yours to rate now")

    @router.post("/api/rating")
    def record(body: RatingBody, rater: Me) -> dict[str, Any]:
        order = context.study.manifest.order(rater.id)
        name = tokens.picture_name(context.study.key, rater.id, body.position)
        if body.position < len(order) and body.picture != name:
            raise RatingRefusedError("this is not the picture that you were shown", "forbidden")
        answer = Answer(body.score, body.nonce, body.response_ms, body.magnification)
        return _state(context, rater, context.store.record(rater.id, order, body.position, answer))

    @router.post("/api/undo")
    def undo(body: UndoBody, rater: Me) -> dict[str, Any]:
        return _state(context, rater, context.store.undo(rater.id, body.position))

    @router.post("/api/screen")
    def screen(body: ScreenBody, request: Request, rater: Me) -> dict[str, str]:
        details = body.model_dump() | {"browser": request.headers.get("user-agent", "")[:300]}
        context.store.note(rater.id, "screen", details)
        return {"status": "kept"}

    @router.post("/api/event")
    def event(body: EventBody, rater: Me) -> dict[str, str]:
        context.store.note(rater.id, body.what, {})
        return {"status": "kept"}

    return router


def _state(context: Context, rater: Rater, progress: Progress) -> dict[str, Any]:
    """Returns where a rater stands, and the pictures that his page may show now and load ahead."""
    order = context.study.manifest.order(rater.id)
    calibration = sum(1 for showing in order if showing.kind == "calibration")
    upcoming = [_shown(context, rater, showing) for showing in order[progress.done : progress.done + 2]]
    phase = "done" if not upcoming else "calibration" if progress.done < calibration else "rating"
    return {
        "phase": phase,
        "done": progress.done,
        "total": len(order),
        "calibration": calibration,
        "current": upcoming[0] if upcoming else None,
        "next": upcoming[1] if len(upcoming) > 1 else None,
        "can_undo": progress.can_undo,
        "last_score": progress.last_score if progress.can_undo else None,
    }


def _shown(context: Context, rater: Rater, showing: Showing) -> dict[str, Any]:
    stimulus = context.study.manifest.stimuli[showing.id]
    name = tokens.picture_name(context.study.key, rater.id, showing.position)
    return {
        "position": showing.position,
        "picture": name,
        "url": f"/pictures/{name}.png",
        "width": stimulus.width,
        "height": stimulus.height,
        "anchor": showing.anchor,
    }


def _clean_name(text: str) -> str:
    """Returns a name as typed, without control characters, in one line; HTML in it is text like any other."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())[:_NAME_LENGTH]
