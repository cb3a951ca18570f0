"""What a server allows and where it listens: one frozen object, checked once, read everywhere."""

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from fourfold.errors import UsageError
from fourfold.upscaling import check_installed, check_names, parse_size
from fourfold.weights import FOR_COMPRESSED, default_name

MEBI = 1024 * 1024
#: What every served model does: names, limits and the page count on it.
SCALE = 4
#: What a pixel of a result takes at most: 16 bits of red, green, blue and alpha. (A floating-point TIFF takes more.)
PIXEL_BYTES = 8
#: What the addresses of the server begin with; a path that it is put under must begin otherwise.
OWN_PATHS = frozenset({"docs", "favicon.ico", "metrics", "static", "v1"})


@dataclass(frozen=True)
class Limits:
    """How much one request, one client and all of them together may take.

    The defaults suit one machine that a small team shares. Every limit answers with its own error
    (see :mod:`fourfold.serving.problems`), so that a client knows what to change.

    Attributes:
        upload_bytes: largest body, counted while it streams in; Content-Length is only a hint.
        upload_s: longest pause between two pieces of a body; how long all of it may take follows from this and
            ``upload_bytes``.
        input_px: most pixels a header may announce; checked before anything is decoded.
        side_px: longest side a header may announce.
        output_px: most pixels of a result, 16 times those of the input.
        jobs_per_client: jobs of one client that wait or run.
        queue_length: jobs of all clients that wait.
        job_s: longest time a job may run before it is stopped.
        wait_s: longest time a job may wait before it is given up.
        inspect_s: longest time the header of a picture may take.
        retention_s: how long a result is kept.
        stored_bytes: most bytes of all pictures on disk; the oldest results go first. One upload and the largest
            result must find room.
        sync_px: most pixels of a picture for the synchronous call.
        sync_s: longest time the synchronous call waits.
        streams: event streams open at once, all clients together.
        streams_per_client: event streams of one client.
        worker_bytes: memory at which the worker is stopped, or 0 for no limit.
        worker_jobs: the worker is replaced by a fresh one after so many jobs.
    """

    upload_bytes: int = 64 * MEBI
    upload_s: float = 20.0
    input_px: int = 12_500_000
    side_px: int = 16_000
    output_px: int = 200_000_000
    jobs_per_client: int = 16
    queue_length: int = 64
    job_s: float = 900.0
    wait_s: float = 3600.0
    inspect_s: float = 10.0
    retention_s: float = 3600.0
    stored_bytes: int = 4096 * MEBI
    sync_px: int = 300_000
    sync_s: float = 60.0
    streams: int = 128
    streams_per_client: int = 32
    worker_bytes: int = 0
    worker_jobs: int = 200

    def __post_init__(self) -> None:
        """Refuses limits that can never be met."""
        for name, value in vars(self).items():
            if value < 0 or (value == 0 and name != "worker_bytes"):
                raise UsageError(f"the limit {name} is {value}; it must be more than 0")
        one = self.upload_bytes + PIXEL_BYTES * self.output_px
        if one > self.stored_bytes:  # results would go as soon as they are there
            raise UsageError(
                f"all pictures together may have {self.stored_bytes:,} bytes, and one upload and the largest result "
                f"can have {one:,}; allow more storage (--max-stored), smaller uploads (--max-upload) or smaller "
                "pictures (--max-megapixels)"
            )


@dataclass(frozen=True)
class Settings:
    """How one server is set up.

    Attributes:
        models: name -> what to load: a shipped name or a weights file. Clients choose among these names only.
        default_model: the one used when a client names none. When empty, the first of ``models``, and for compressed
            pictures, or what was a JPEG before, the one that is made for them, if it is served.
        limits: see :class:`Limits`.
        token: bearer token that calls of the API must carry, or empty for none.
        allowed_hosts: names that the Host header may carry, beside loopback; ``*`` allows any.
        cors_origins: origins of other sites that may call the API from a browser; none by default.
        state: folder that keeps jobs over a restart, or None for a private temporary one.
        drain_s: how long a stop waits for running jobs and for results to be fetched.
        engine: engine name for :func:`fourfold.load`.
        precision: precision for :func:`fourfold.load`.
        max_memory: memory that one upscale may take, such as ``"1G"``, or None.
        loader: ``module:function`` that gives an upscaler; a place to plug in another one.
        secure_cookie: mark the page's sign-in cookie Secure (behind TLS).
        root_path: path that a reverse proxy puts this server under, such as ``/upscale``.
    """

    models: dict[str, str] = field(default_factory=dict)
    default_model: str = ""
    limits: Limits = field(default_factory=Limits)
    token: str = ""
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    state: Path | None = None
    drain_s: float = 30.0
    engine: str = "auto"
    precision: str = "auto"
    max_memory: str | None = None
    loader: str = "fourfold:load"
    secure_cookie: bool = False
    root_path: str = ""

    def __post_init__(self) -> None:
        """Refuses a set-up that cannot serve."""
        if not self.models:
            raise UsageError("a server needs at least one model; ship one, or name a weights file with --model")
        if self.default_model and self.default_model not in self.models:
            raise UsageError(
                f"the default model {self.default_model!r} is not served; there are {', '.join(self.models)}"
            )
        if self.token and len(self.token) < 16:
            raise UsageError("the token has fewer than 16 characters; make one with: openssl rand -hex 24")
        if not re.fullmatch(r"[!-~]*", self.token):  # what a header can carry as it is, in every client
            raise UsageError("the token holds spaces or letters beyond ASCII; make one with: openssl rand -hex 24")
        if "*" in self.cors_origins:
            raise UsageError("the CORS origin '*' would open this server to every site; name the origins")
        if self.root_path.strip("/").split("/")[0] in OWN_PATHS:
            raise UsageError(f"the root path {self.root_path} begins like the server's own addresses; choose another")
        self._check_upscaling()

    def _check_upscaling(self) -> None:
        """Refuses what the worker, which is started again whenever it fails, could never be started with."""
        check_names(self.engine, self.precision)
        check_installed(self.engine)
        parse_size(self.max_memory)

    @property
    def default(self) -> str:
        """The model used when a client names none, but for compressed pictures that have one of their own."""
        return self.default_model or next(iter(self.models))

    @property
    def for_compressed(self) -> str:
        """The model used for compressed pictures when a client names none."""
        served = not self.default_model and FOR_COMPRESSED in self.models
        return FOR_COMPRESSED if served and self.default == default_name() else self.default

    def suited(self, compressed: bool) -> str:
        """Returns the model for a picture whose client names none; see :class:`fourfold.imaging.Metadata`."""
        return self.for_compressed if compressed else self.default


def is_loopback(host: str) -> bool:
    """Returns whether a host name or address is this machine itself."""
    if host in ("localhost", "localhost.localdomain") or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
