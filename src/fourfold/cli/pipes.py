"""Standard output and error whose readers go away, as in ``fourfold models | head -1``.

Python ignores SIGPIPE, so that a client that hangs up in the middle of an answer is an exception in the server that
answers, and not its end. A reader of *our* output that goes away is an exception as well, then: what is under way is
tidied up on the way out, and the command ends without a word.
"""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

#: What a shell reports for a program that SIGPIPE has ended, so that scripts need no second rule.
EXIT_CODE = 141


class NobodyReadsError(Exception):
    """Standard output, or standard error, is a pipe that nobody reads from any more."""


@contextmanager
def noticing_readers() -> Iterator[None]:
    """Turns a write to a standard stream that nobody reads into NobodyReadsError; other broken pipes stay as they are.

    Raises:
        NobodyReadsError: whatever is printed from here on is lost.
    """
    try:
        yield
        if sys.stdout is not None:  # closed by whoever started this program
            sys.stdout.flush()
    except BrokenPipeError as error:
        if not _somebody_reads():
            raise NobodyReadsError from error
        raise
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # rich has noticed first, and ends the program its own way
            raise NobodyReadsError from error
        raise


def _somebody_reads() -> bool:
    """Says whether both standard streams are read, or at least not known to be without a reader."""
    return not any(_is_left(stream) for stream in (sys.stdout, sys.stderr))


def _is_left(stream: TextIO) -> bool:
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)  # asks for nothing but what is told unasked: errors and hang-ups
        return bool(poll.poll(0))
    except (AttributeError, OSError, ValueError):  # no poll on this system; no file behind the stream
        return False


def silence() -> None:
    """Lets everything that is still to be printed, at the end of the interpreter included, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
