"""The receipt: what made this picture, for whoever meets it later; a JSON file beside it, or XMP inside it."""

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fourfold.imaging import AtomicOutput, refuse_existing, write_error
from fourfold.imaging.xmp import xmp_encoding
from fourfold.upscaling.upscaler import Upscaler
from fourfold.version import __version__
from fourfold.weights import WeightsFile

#: XML namespace of the receipt's properties; a name, not an address to visit.
NAMESPACE = "urn:fourfold:receipt:1"

#: Added to the output's name for the receipt beside it.
SUFFIX = ".receipt.json"

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
#: The end of what holds the properties, whatever prefix stands for RDF.
_RDF_END = re.compile(r"</(?:[\w.-]+:)?RDF\s*>")
#: Of our namespace in one packet; more are somebody's joke.
_MOST_CHARACTERS = 16_000  # of a receipt; without a bound, a packet of nothing but beginnings would take hours
_MOST_PREFIXES = 8
_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    f'<rdf:RDF xmlns:rdf="{_RDF}">\n'
    "{description}</rdf:RDF>\n</x:xmpmeta>\n"
    '<?xpacket end="w"?>'
)


def make_receipt(
    upscaler: Upscaler, precision: str, settings: dict[str, Any], source: dict[str, Any]
) -> dict[str, Any]:
    """Returns the receipt of one upscaled picture, ready for JSON.

    Args:
        upscaler: what upscaled it.
        precision: in which; see :meth:`.Upscaler.precision_for`.
        settings: what else decided the result: quality, fidelity...
        source: the input's ``name``, ``sha256``, ``width`` and ``height``.
    """
    config = upscaler.weights.config
    return {
        "statement": "Enlarged by a neural network: fine detail is estimated, not recorded.",
        "software": f"Fourfold {__version__}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "input": source,
        "model": {
            "name": upscaler.name,
            "architecture": config.architecture,
            "sha256": upscaler.weights.sha256,
            "scale": upscaler.scale,
            "made_of": [_weights(w) for w in upscaler.made_of] if len(upscaler.made_of) > 1 else None,
        },
        "settings": {
            "engine": upscaler.engine,
            "precision": precision,
            "device": upscaler.device,
            "ensemble": upscaler.ensemble,
            **settings,
        },
    }


def receipt_path(picture: Path) -> Path:
    """Returns where the receipt of an upscaled picture lies."""
    return picture.with_name(picture.name + SUFFIX)


def refuse_unusable(path: Path) -> None:
    """Refuses a place for a receipt before any work is done.

    Raises:
        PictureError: if it is a folder, or its name is too long where the picture's own is not.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return  # the folder is made later, or refused for the picture itself
    except OSError as error:
        raise write_error(path, error) from error
    refuse_existing(path, overwrite=True)


def draft_receipt(path: Path, text: str) -> AtomicOutput:
    """Returns a receipt that is on the disk and lacks only its name: commit it once the picture has its own.

    Raises:
        PictureError: if it cannot be written; nothing is left then.
    """
    draft = AtomicOutput(path, overwrite=True)
    try:
        os.write(draft.descriptor, text.encode())
        os.fsync(draft.descriptor)
    except OSError as error:
        draft.discard()
        raise write_error(path, error) from error
    return draft


def _weights(weights: WeightsFile) -> dict[str, str]:
    return {"name": weights.config.name or weights.path.stem, "sha256": weights.sha256}


def embed_receipt(xmp: bytes | None, receipt: dict[str, Any]) -> bytes:
    """Returns an XMP packet that holds the receipt, beside what was in it already.

    The receipt is one property, ``receipt``, whose text is its JSON; a receipt that is there already is replaced. The
    packet is UTF-8 then, whatever it was. One that :func:`takes_receipt` denies is replaced as a whole.
    """
    text = _escape(json.dumps(receipt, sort_keys=True))
    description = (
        f'<rdf:Description rdf:about="" xmlns:rdf="{_RDF}" xmlns:fourfold="{NAMESPACE}">\n'
        f"<fourfold:receipt>{text}</fourfold:receipt>\n</rdf:Description>\n"
    )
    packet = _without_receipt(_decoded(xmp)) if xmp else ""
    ends = [found.start() for found in _RDF_END.finditer(packet)]
    if not ends:
        return _PACKET.format(description=description).encode()
    return (packet[: ends[-1]] + description + packet[ends[-1] :]).encode()


def without_receipt(xmp: bytes) -> bytes:
    """Returns an XMP packet without the receipt that it may hold; the packet as it is where there is none."""
    if NAMESPACE.encode() not in xmp.replace(b"\0", b""):
        return xmp
    text = _decoded(xmp)
    packet = _without_receipt(text)
    return xmp if packet == text else packet.encode()


def takes_receipt(xmp: bytes) -> bool:
    """Says whether a receipt can be put beside what is in an XMP packet; not where it has no RDF that ends."""
    return _RDF_END.search(_decoded(xmp)) is not None


def _decoded(xmp: bytes) -> str:
    text = xmp.decode(xmp_encoding(xmp), "replace").lstrip("\ufeff").rstrip("\0")
    return re.sub(r"^\s*<\?xml\s[^>]*\?>\s*", "", text)  # which may name the encoding that it had


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _without_receipt(packet: str) -> str:
    # earlier versions did not name the namespace of rdf
    pattern = (
        rf'<rdf:Description rdf:about=""(?: xmlns:rdf="{_RDF}")? xmlns:fourfold="{NAMESPACE}">'
        rf".{{0,{_MOST_CHARACTERS}}}?</rdf:Description>\s*"
    )
    packet = re.sub(pattern, "", packet, flags=re.DOTALL)
    # another program may have written the packet anew, with other quotes, among other properties, as an attribute
    prefixes = set(re.findall(rf"""xmlns:([\w.-]+)\s*=\s*["']{re.escape(NAMESPACE)}["']""", packet))
    for prefix in sorted(prefixes)[:_MOST_PREFIXES]:
        name = re.escape(prefix) + ":receipt"
        packet = re.sub(rf"<{name}\b[^<>]*/>\s*", "", packet)
        packet = re.sub(rf"<{name}\b[^<>]*>[^<]*</{name}\s*>\s*", "", packet)  # its text is escaped
        packet = re.sub(rf"""\s{name}\s*=\s*("[^"]*"|'[^']*')""", "", packet)
    return packet
