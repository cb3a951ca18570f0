"""Runs the command line, in this process or in one of its own."""

import json
import socket
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from fourfold.cli import main


@dataclass
class Finished:
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The JSON objects on standard output, one per line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Cli:
    """Calls ``fourfold`` with arguments."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> Finished:
        self._monkeypatch.setattr(sys, "argv", ["fourfold", *map(str, arguments)])
        self._capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as error:
            code = int(error.code or 0)
        captured = self._capsys.readouterr()
        return Finished(code, captured.out, captured.err)


def command(*arguments: object) -> list[str]:
    """The real command line, for a process of its own."""
    return [sys.executable, "-c", "from fourfold.cli import main; main()", *map(str, arguments)]


def hang_up(port: int, path: str, times: int = 50) -> None:
    """Asks a server for something, many times, and never waits for the answer."""
    for _ in range(times):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
