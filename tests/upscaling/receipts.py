"""Receipts within XMP, as a program that knows nothing of Fourfold finds them."""

import json
from typing import Any
from xml.etree import ElementTree


def embedded_receipt(xmp: bytes | None) -> dict[str, Any] | None:
    """The receipt in an XMP packet, by its namespace; None if there is none."""
    text = None if xmp is None else ElementTree.fromstring(xmp).findtext(".//{urn:fourfold:receipt:1}receipt")
    return None if text is None else dict(json.loads(text))
