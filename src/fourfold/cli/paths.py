"""Paths on the command line."""

from pathlib import Path

import typer


def given_path(text: str) -> Path:
    """Returns a path as it was typed, for ``typer.Option(parser=given_path)``, but not an empty one.

    Of an empty text, which a script's unset variable is, Path makes the current folder.

    Raises:
        typer.BadParameter: if it is empty.
    """
    if not text:
        raise typer.BadParameter("the path is empty; the current folder is '.'")
    return Path(text)
