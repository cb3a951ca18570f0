"""The command line: one file per command, each a thin face over the rooms; only this room prints or exits."""

import importlib
import sys
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from fourfold.cli.extras import extra_with
from fourfold.cli.pipes import EXIT_CODE, NobodyReadsError, UnwritableError, noticing_readers, silence
from fourfold.cli.printing import say
from fourfold.errors import FourfoldError, UsageError
from fourfold.version import __version__

#: Commands in the order of ``fourfold --help``; each is ``fourfold.cli.<name>`` with an ``app``. A command's
#: module is imported only when it is asked for, so that ``fourfold upscale`` never waits for the others.
COMMANDS = ("demo", "upscale", "models", "train", "evaluate", "study", "serve", "export", "doctor")


class _LazyGroup(TyperGroup):
    """Imports a command's module when the command is looked up; notices when nobody reads what it prints."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with noticing_readers():  # --help is printed in here
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        with noticing_readers():
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        command = get_command(importlib.import_module(f"fourfold.cli.{cmd_name}").app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_LazyGroup,
    name="fourfold",
    help="Photo-realistic 4x super-resolution.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fourfold {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Photo-realistic 4x super-resolution: SRGAN (Ledig et al., CVPR 2017)."""


def main() -> None:
    """Runs the command line: 0 all done, 1 something failed, 2 wrong usage, 130 stopped, 141 nobody reads on."""
    # OpenVINO's converter for other formats takes as long to import as OpenVINO itself, and nothing here uses it;
    # None makes importing it fail at once, and OpenVINO goes on without
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    try:
        with noticing_readers():  # what is wrong with the options is printed out here
            app()
    except NobodyReadsError:
        silence()
        sys.exit(EXIT_CODE)
    except UnwritableError as error:
        _end(1, f"error: {error}")
    except FourfoldError as error:
        _end(2 if isinstance(error, UsageError) else 1, f"error: {error}")
    except KeyboardInterrupt:
        _end(130, "stopped; nothing half-written is left")
    except ModuleNotFoundError as error:
        extra = extra_with(error.name or "")
        if extra is None:
            raise
        _end(1, f"error: this command needs {error.name}; install it with: pip install 'fourfold[{extra}]'")


def _end(code: int, last: str) -> NoReturn:
    """Ends with a last line, on standard error or, where that takes nothing, on standard output."""
    for err in (True, False):
        try:
            say(last, err=err)
            break
        except (OSError, UnwritableError):
            continue
    silence()  # or the interpreter would fail once more with what is still waiting, and end with a code of its own
    sys.exit(code)
