"""What goes over the wire, for the checks and for the OpenAPI document."""

from typing import Literal

from pydantic import BaseModel, Field

Format = Literal["auto", "png", "jpg", "webp", "tiff", "avif"]
#: A label that a client chooses; long enough to be as good as a secret.
BATCH_PATTERN = r"^[A-Za-z0-9_-]{16,64}$"


class PictureFacts(BaseModel):
    """Facts of a picture."""

    format: str = Field(description="png, jpg, webp, tiff, avif or gif")
    width: int
    height: int
    frames: int = Field(description="pictures in it: frames of an animation, pages of a TIFF")
    bytes: int


class ResultFacts(PictureFacts):
    """Facts of a result."""

    extension: str = Field(description="ending of the file's name, without the dot")
    notes: list[str] = Field(default=[], description="what was converted on the way, in words")


class ProblemBody(BaseModel):
    """A problem as of RFC 9457."""

    type: str = Field(description="address on this server that explains the problem")
    title: str
    status: int
    detail: str | None = None
    remedy: str = Field(description="what would work")


class JobView(BaseModel):
    """A job as its owner sees it."""

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled", "expired"]
    name: str = Field(description="the picture's name, cleaned")
    model: str
    fidelity: float | None
    ensemble: bool
    format: str
    batch: str | None
    position: int | None = Field(description="jobs that are served before this one, while it waits")
    progress: float = Field(description="0 to 1")
    remaining_s: float | None = Field(description="estimate, while it runs")
    attempts: int
    created_at: float = Field(description="seconds since 1970, as all times here")
    started_at: float | None
    finished_at: float | None
    expires_at: float | None
    source: PictureFacts
    result: ResultFacts | None
    result_name: str | None
    problem: ProblemBody | None


class ModelView(BaseModel):
    """A model that this server serves."""

    name: str
    title: str
    about: str
    default: bool = Field(description="whether it is used where no model is named")
    for_compressed: bool = Field(description="whether it is used for compressed pictures where no model is named")
    fidelity: bool = Field(description="whether the parameter fidelity works with it")
    architecture: str
    updates: int
    data: str
    data_licence: str
    licence: str
    scores: dict[str, object]


class LimitsView(BaseModel):
    """What one client may ask for."""

    upload_bytes: int
    max_pixels: int = Field(description="most pixels of a picture handed in")
    side_px: int
    jobs_per_client: int
    queue_length: int
    job_s: float
    retention_s: float
    sync_px: int
    formats: list[str]
    token: bool = Field(description="whether a token is needed")
    version: str


class HealthView(BaseModel):
    """How the server is."""

    status: Literal["ok", "starting", "failing", "stopping"]
    worker: str
    version: str


class Options(BaseModel):
    """What may be asked of one picture, in the query or as form fields."""

    model: str = Field(
        default="", max_length=200, description="a name from /v1/models; what suits the picture, if empty"
    )
    fidelity: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="0 (photo-realistic) to 1 (faithful), for models that have it",
    )
    ensemble: bool = Field(
        default=False,
        description="true: the mean over eight turned and mirrored versions, in eight times the time; the picture may "
        "have an eighth of the pixels",
    )
    format: Format = Field(default="auto", description="format of the result; auto keeps the picture's own")
    name: str = Field(default="", max_length=4096, description="a name for people; it never touches the file system")
    batch: str = Field(default="", pattern=rf"^$|{BATCH_PATTERN}", description="label of jobs that belong together")
