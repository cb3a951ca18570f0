"""Lines for people: whatever is in a name or a text from a file, it stays a line, and every stream can spell it."""

import re
import sys
from typing import TextIO

import typer

from fourfold.cli.pipes import UnwritableError

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def say(line: str, err: bool = False) -> None:
    """Prints a line to standard output or standard error.

    Raises:
        UnwritableError: if the stream takes nothing any more.
    """
    stream = sys.stderr if err else sys.stdout
    try:
        typer.echo(printable(line, stream), err=err)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UnwritableError(error, "standard error" if err else "standard output") from error


def printable(line: str, stream: TextIO) -> str:
    """Returns a line with escapes for what the stream has no letters for, and for what would move about in a terminal.

    File names may hold anything but a slash, and text fields of pictures anything: colours, new lines, which would look
    like further messages, and bytes that are no Unicode.
    """
    plain = _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), line)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return plain.encode(encoding, "backslashreplace").decode(encoding)
