"""The name that a download is offered under."""

import re
import unicodedata
from urllib.parse import quote

#: What stands for itself in a quoted string, whoever reads it: no ``"`` or ``\``, nothing of a path, no ``;``, at
#: which some end the name, and no ``%``, which some decode.
_SAFE = re.compile(r"[A-Za-z0-9 !#$&'()+,.=@\[\]^_`{}~-]*")


def attachment(name: str) -> str:
    """Returns the Content-Disposition of a download (RFC 6266), whatever letters its name holds.

    Browsers take the whole name from ``filename*``. Others, such as ``curl -OJ``, know ``filename`` only, which is
    the name in plain ASCII: letters without their accents, and ``_`` for what has no such form.
    """
    plain = re.sub(r"^[ .]+", "_", "".join(map(_plain, name)))  # hidden, it would seem lost
    whole = "" if plain == name else f"; filename*=utf-8''{quote(name, safe='')}"
    return f'attachment; filename="{plain}"{whole}'


def _plain(letter: str) -> str:
    """Returns one letter in ASCII; one by one, since some fall apart into many that mean nothing alone."""
    parts = (part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part))
    text = "".join(parts)
    return text if _SAFE.fullmatch(text) else "_"
