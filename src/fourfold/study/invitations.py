"""Personal links for raters: signed, with an end, and kept in ``invitations.csv`` for the person who runs the study."""

import csv
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fourfold.errors import StudyError, UsageError
from fourfold.study import tokens
from fourfold.study.manifest import Study

_COLUMNS = ("rater", "link", "expires")


@dataclass(frozen=True)
class Invitation:
    """One rater's link; ``expires`` is a UTC time."""

    rater: str
    link: str
    expires: str


def invite(study: Study, count: int, *, url: str, days: int) -> list[Invitation]:
    """Returns new links and adds them to the study's ``invitations.csv``.

    Args:
        study: the opened study.
        count: how many raters to invite.
        url: address of the study as raters reach it, such as ``https://ratings.example.org``.
        days: how long the links work.

    Raises:
        UsageError: for a number or an address that makes no sense.
        StudyError: if the file cannot be written.
    """
    if not 1 <= count <= 10_000:
        raise UsageError(f"--raters is a number from 1 to 10000, not {count}")
    if not 1 <= days <= 3650:
        raise UsageError(f"--days is a number from 1 to 3650, not {days}")
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--url {url!r} must begin with http:// or https://")
    path = study.folder / "invitations.csv"
    first = _number_of_invitations(path) + 1
    expires_at = int(time.time()) + days * 86_400
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires_at))
    raters = [tokens.new_rater(f"r{number:02d}") for number in range(first, first + count)]
    base = url.rstrip("/")
    made = [Invitation(r, f"{base}/r/{tokens.issue(study.key, r, expires_at)}", expires) for r in raters]
    _append(path, made)
    return made


def admin_link(study: Study, url: str) -> str:
    """Returns the link that opens the study's admin page; whoever has it sees who rates, and can shut raters out."""
    return f"{url.rstrip('/')}/admin/enter/{tokens.admin_token(study.key)}"


def _number_of_invitations(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.DictReader(file))


def _append(path: Path, made: Sequence[Invitation]) -> None:
    try:
        new = not path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)  # a link is a password
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(_COLUMNS)
            writer.writerows((one.rater, one.link, one.expires) for one in made)
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror}") from error
