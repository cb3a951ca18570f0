"""Personal links for raters: signed, with an end, and kept in ``invitations.csv`` for the person who runs the study."""

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fourfold.durable import append_whole
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
        StudyError: if the file cannot be read or written.
    """
    if not 1 <= count <= 10_000:
        raise UsageError(f"--raters is a number from 1 to 10000, not {count}")
    if not 1 <= days <= 3650:
        raise UsageError(f"--days is a number from 1 to 3650, not {days}")
    check_address(url)
    path = study.folder / "invitations.csv"
    first = _number_of_invitations(path) + 1
    expires_at = int(time.time()) + days * 86_400
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires_at))
    raters = [tokens.new_rater(f"r{number:02d}") for number in range(first, first + count)]
    base = url.rstrip("/")
    made = [Invitation(r, f"{base}/r/{tokens.issue(study.key, r, expires_at)}", expires) for r in raters]
    _append(path, made)
    return made


def check_address(url: str) -> None:
    """Checks an address to which links are added.

    Raises:
        UsageError: if a browser could not open it, or it has a path: pages and cookies are at the top of their host.
    """
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--url {url!r} must begin with http:// or https://, as in https://ratings.example.org")
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or any(letter.isspace() for letter in url):
        raise UsageError(f"--url {url!r} is no address of a study; give one such as https://ratings.example.org")
    if parts.path.strip("/"):
        raise UsageError(
            f"--url {url!r} has a path, and a study is served at the top of its host; give it a host name "
            "or a port of its own, as in https://ratings.example.org"
        )


def admin_link(study: Study, url: str) -> str:
    """Returns the link that opens the study's admin page; whoever has it sees who rates, and can shut raters out."""
    return f"{url.rstrip('/')}/admin/enter/{tokens.admin_token(study.key)}"


def _number_of_invitations(path: Path) -> int:
    if not path.exists():
        return 0
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return sum(1 for _ in csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise StudyError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def _append(path: Path, made: Sequence[Invitation]) -> None:
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    try:
        before = path.read_bytes() if path.exists() else b""
        if not before:
            writer.writerow(_COLUMNS)
        elif not before.endswith(b"\n"):  # an editor left the last line open
            lines.write("\n")
        writer.writerows((one.rater, one.link, one.expires) for one in made)
        append_whole(path, lines.getvalue().encode(), mode=0o600)  # a link is a password
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror}") from error
