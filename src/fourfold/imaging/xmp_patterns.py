"""What finds properties in XMP packets, without reading all of their XML: nothing else in them may change."""

import re

#: An element that is closed, or closed within so many bytes: a packet that opens it a hundred thousand times over shall
#: keep nobody busy.
_ELEMENT = r"<({name})\b(?:[^<>]{{0,2000}}/>|.{{0,4000}}?</\1>)"


def number_pattern(names: str, values: str) -> re.Pattern[bytes]:
    """Returns what finds numbers as attributes or as elements, after the prefix that their namespace has usually."""
    return re.compile(rf"""(\b(?:{names})\s*(?:=\s*["']|>)\s*){values}(?=\s*["'<])""".encode())


def element_pattern(name: str) -> re.Pattern[bytes]:
    """Returns what finds elements, with all that is in them."""
    return re.compile(_ELEMENT.format(name=name).encode(), re.DOTALL)
