"""The real server as a process of its own, to be driven from outside, killed and started again."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import httpx


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class ServedStudy:
    """``fourfold study serve`` on a port that stays the same over restarts."""

    def __init__(self, folder: Path, *options: str, log: Path) -> None:
        self.folder, self.options, self.log = folder, options, log
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin_link = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-c", "from fourfold.cli import main; main()", "study", "serve", str(self.folder)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port), *self.options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        assert self.process.stdout is not None
        for line in self.process.stdout:  # the port is open before these lines are printed
            if found := re.match(r"admin\s+(\S+)", line):
                self.admin_link = found[1]
                break
        else:
            raise AssertionError(f"the server did not start: {self.log.read_text()}")
        httpx.get(f"{self.url}/health", timeout=60).raise_for_status()

    def kill(self) -> None:
        """kill -9: no handler runs, nothing is flushed."""
        self._end(signal.SIGKILL)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Ctrl-C, or another request to stop."""
        return self._end(number)

    def _end(self, number: int) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(number)
        status = self.process.wait(timeout=60)
        self.process.stdout.close()
        self.process = None
        return status

    def __enter__(self) -> "ServedStudy":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.kill()
