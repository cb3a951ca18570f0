"""Standard output and error whose readers go away, as in ``fourfold models | head -1``, or whose disk is full.

Python ignores SIGPIPE, so that a client that hangs up in the middle of an answer is an exception in the server that
answers, and not its end. A reader of *our* output that goes away is an exception as well, then: what is under way is
tidied up on the way out, and the command ends without a word.
"""

import os
import select
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

#: What a shell reports for a program that SIGPIPE has ended, so that scripts need no second rule.
EXIT_CODE = 141


class NobodyReadsError(Exception):
    """Standard output, or standard error, is a pipe that nobody reads from any more."""


class UnwritableError(Exception):
    """Standard output, or standard error, is a file that takes nothing any more.

    Args:
        error: what the system says.
        stream: which of them, where that is known.
    """

    def __init__(self, error: OSError, stream: str = "standard output or standard error") -> None:
        super().__init__(f"{stream} cannot be written ({error.strerror or error}); what was to be said there is lost")


@contextmanager
def noticing_readers() -> Iterator[None]:
    """Turns a failed write to a standard stream into an error of its own; other broken pipes and full disks stay so.

    Raises:
        NobodyReadsError: nobody reads it: whatever is printed from here on is lost.
        UnwritableError: it takes nothing any more.
    """
    try:
        yield
        _flush()
    except BrokenPipeError as error:
        if not _somebody_reads():
            raise NobodyReadsError from error
        raise
    except OSError as error:
        if error.filename is None and _is_of_printing(error):
            raise UnwritableError(error) from error
        raise
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # rich has noticed first, and ends the program its own way
            raise NobodyReadsError from error
        raise


def _flush() -> None:
    try:
        if sys.stdout is not None:  # closed by whoever started this program
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UnwritableError(error, "standard output") from error


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


def _is_of_printing(error: OSError) -> bool:
    """Says whether it comes from a library that prints, and writes nothing else; the error itself names no file."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__", "").partition(".")[0] in ("typer", "rich")


def silence() -> None:
    """Lets everything that is still to be printed, at the end of the interpreter included, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
