"""A job: one picture on its way through the server."""

import re
import secrets
import time
import unicodedata
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

from fourfold.imaging import SUFFIXES
from fourfold.serving.settings import SCALE

NAME_LENGTH = 120


class State(StrEnum):
    """Where a job stands; the last four are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


FINAL = frozenset({State.DONE, State.FAILED, State.CANCELLED, State.EXPIRED})


@dataclass
class Job:
    """One picture, what is to be done with it, and how far that is.

    Attributes:
        id: 128 random bits; who knows it may read and cancel the job.
        client: whose job it is, for the limits; never shown.
        name: the picture's name as a person gave it, cleaned; never part of a path.
        model: one of the server's models.
        fidelity: 0 (photo-realistic) to 1 (faithful), or None for the model as it is.
        ensemble: whether the result is the mean over eight turned and mirrored versions, in eight times the time.
        format: format of the result: auto, png, jpg, webp, tiff or avif.
        batch: label that a client gives to jobs that belong together, or empty.
        source: format, width, height and bytes of the picture.
        result: the same of the result, once there is one.
        problem: a problem object, once the job has failed or was cancelled.
        fetched: whether the result was downloaded at least once.
    """

    client: str
    name: str
    model: str
    fidelity: float | None = None
    ensemble: bool = False
    format: str = "auto"
    batch: str = ""
    source: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: State = State.QUEUED
    created_at: float = field(default_factory=time.time)
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    done_tiles: int = 0
    total_tiles: int = 0
    attempts: int = 0
    result: dict[str, Any] | None = None
    problem: dict[str, Any] | None = None
    fetched: bool = False
    cancel_wanted: bool = False

    @property
    def tag(self) -> str:
        """What logs call the job: the beginning of its id, which is too little to fetch or delete it by."""
        return self.id[:6]

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self.state in FINAL

    @property
    def fraction(self) -> float:
        """How much is done, 0 to 1."""
        if self.state is State.DONE:
            return 1.0
        return min(1.0, self.done_tiles / self.total_tiles) if self.total_tiles else 0.0

    def remaining_s(self, now: float) -> float | None:
        """Returns the seconds that are left by the pace so far, or None while that is not known."""
        if self.state is not State.RUNNING or self.started_at is None or self.fraction < 0.02:
            return None
        return (now - self.started_at) * (1.0 - self.fraction) / self.fraction

    def record(self) -> dict[str, Any]:
        """Returns the job as plain values, for the disk."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Job":
        """Returns a job as it was written by :meth:`record`.

        Raises:
            ValueError: if the record is not one.
        """
        known = {name: record[name] for name in cls.__dataclass_fields__ if name in record}
        try:
            if known.get("result"):  # earlier versions did not record the frames, and told of one
                known["result"] = {"frames": 1, **known["result"]}
            return cls(**{**known, "state": State(record["state"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a job record: {error}") from error

    def result_name(self) -> str:
        """Returns the name under which a browser should save the result."""
        extension = str((self.result or {}).get("extension", "png"))
        path = PurePosixPath(self.name)
        # "Fig. 3" has no ending; what follows a dot is one only where pictures end so
        stem = path.stem if path.suffix.lower() in SUFFIXES else self.name
        return f"{stem or 'picture'}_x{SCALE}.{extension}"


_BIDI_AND_CONTROL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def clean_name(name: str | None) -> str:
    """Returns a name that is safe to show and to offer for saving: one line, no path, at most 120 characters.

    The name never touches the file system of the server; this protects the people who see it.
    """
    text = unicodedata.normalize("NFC", (name or "")[:4096])
    text = re.split(r"[\\/]", text)[-1]
    text = "".join(c for c in text if unicodedata.category(c) not in _BIDI_AND_CONTROL)
    text = re.sub(r'[<>:"|?*]', "_", text).strip(" .")
    if len(text) > NAME_LENGTH:
        path = PurePosixPath(text)
        suffix = path.suffix if len(path.suffix) <= 10 else ""
        text = text[: NAME_LENGTH - len(suffix)].rstrip(" .") + suffix
    return text or "picture"
