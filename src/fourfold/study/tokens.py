"""Who may rate, and under what name a rater sees a picture: everything is signed with the study's own key.

A rater's token is ``<rater>.<expiry>.<signature>``; nobody can make one without the key, and nothing has to be stored
to check it. The name of a picture in a URL is a keyed hash of the rater and the position, so that it tells neither
the method nor the scene, and no two raters ever see the same name.
"""

import base64
import hashlib
import hmac
import re
import secrets

from fourfold.errors import RatingRefusedError

_RATER = re.compile(r"[a-z0-9]{1,16}-[a-z0-9]{4,16}")
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # no look-alikes: people read these aloud


class TokenError(RatingRefusedError):
    """A token that this study never gave out, or whose time is over."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "token")


def new_key() -> bytes:
    """Returns a fresh secret for one study."""
    return secrets.token_bytes(32)


def new_rater(prefix: str) -> str:
    """Returns a fresh identifier such as ``r01-7fk3wq``; ``prefix`` is lower-case letters and digits."""
    return f"{prefix}-{''.join(secrets.choice(_ALPHABET) for _ in range(6))}"


def issue(key: bytes, rater: str, expires_at: int) -> str:
    """Returns the token of one rater.

    Args:
        key: the study's secret.
        rater: the rater's identifier.
        expires_at: seconds since 1970 (UTC) after which the token counts no more.
    """
    body = f"{rater}.{expires_at:x}"
    return f"{body}.{_sign(key, 'rater', body)}"


def read(key: bytes, token: str, now: float) -> str:
    """Returns the rater that a token belongs to.

    Raises:
        TokenError: if the token is forged, damaged or expired.
    """
    body, _, signature = token.rpartition(".")
    if not hmac.compare_digest(_sign(key, "rater", body).encode(), signature.encode("utf-8", "replace")):
        raise TokenError("this link is not one of this study; ask the person who invited you for a new one")
    rater, _, expiry = body.partition(".")
    if not _RATER.fullmatch(rater):
        raise TokenError("this link is not one of this study; ask the person who invited you for a new one")
    if now > int(expiry, 16):
        raise TokenError("this link has expired; ask the person who invited you for a new one")
    return rater


def expiry(token: str) -> int:
    """Returns when a token that ``read`` has accepted ends, in seconds since 1970."""
    return int(token.split(".")[1], 16)


def new_place(key: bytes, prefix: str) -> str:
    """Returns what a form that is not sent yet holds: the rater whom it will enrol, signed. It opens nothing itself."""
    rater = new_rater(prefix)
    return f"{rater}.{_sign(key, 'place', rater)}"


def read_place(key: bytes, place: str) -> str | None:
    """Returns the rater of a form, or None if this study did not make it."""
    rater, _, signature = place.rpartition(".")
    ours = hmac.compare_digest(_sign(key, "place", rater).encode(), signature.encode("utf-8", "replace"))
    return rater if ours and _RATER.fullmatch(rater) else None


def admin_token(key: bytes) -> str:
    """Returns the one token that opens the admin page."""
    return _sign(key, "admin", "admin", length=24)


def is_admin(key: bytes, token: str) -> bool:
    """Returns whether a token is the admin's, in constant time."""
    return hmac.compare_digest(admin_token(key).encode(), token.encode("utf-8", "replace"))


def picture_name(key: bytes, rater: str, position: int) -> str:
    """Returns the name under which one rater sees the picture at one position."""
    return _sign(key, "picture", f"{rater}/{position}", length=16)


def _sign(key: bytes, purpose: str, text: str, length: int = 18) -> str:
    digest = hmac.new(key, f"{purpose}:{text}".encode("utf-8", "replace"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:length]).decode().rstrip("=")
