"""What becomes of a command that is to stop."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import typer

from fourfold.signals import unless_ignored


@contextmanager
def stopping_cleanly() -> Iterator[None]:
    """Turns Ctrl-C, a request to terminate and a closed terminal into exit code 130, once everything is tidied up."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in unless_ignored("SIGTERM", "SIGHUP")}
    try:
        yield
    except KeyboardInterrupt:
        with suppress(OSError):  # a terminal that is closed shows nothing
            typer.echo("stopped; nothing half-written is left", err=True)
        raise typer.Exit(130) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
