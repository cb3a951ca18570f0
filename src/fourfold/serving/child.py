"""A process of ours that may die: JSON lines in and out, started and watched from the event loop.

Hostile pictures are opened by C libraries and networks need gigabytes; both happen in child processes, so that the
worst a picture can do is end a process that is started again.
"""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

Message = dict[str, Any]

#: Longer messages than this are none of ours.
MESSAGE_BYTES = 4 << 20


class ChildDiedError(Exception):
    """The process ended, or said something that is no message."""


class Child:
    """One running child process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._killed = False

    @classmethod
    async def start(cls, module: str, settings: Message) -> "Child":
        """Starts ``python -m module`` and gives it its settings as the first line."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the current folder is no place to import from
            "-m",
            module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=MESSAGE_BYTES,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            start_new_session=True,  # Ctrl-C reaches the server only, which then ends its children in order
        )
        child = cls(process)
        await child.send(settings)
        return child

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs and was not told to end: one that is dying takes no more work."""
        return self._process.returncode is None and not self._killed

    @property
    def epitaph(self) -> str:
        """How the process ended, in words."""
        code = self._process.returncode
        if code is None:
            return "is running"
        return f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"

    async def send(self, message: Message) -> None:
        """Sends one message; a dead process is noticed by :meth:`receive`, not here."""
        if self._process.stdin is None:
            return
        with suppress(ConnectionError, RuntimeError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            await self._process.stdin.drain()

    async def receive(self) -> Message:
        """Returns the next message.

        Raises:
            ChildDiedError: if the process has ended, or is ended now for what it said.
        """
        try:
            line = await self._process.stdout.readline() if self._process.stdout else b""
            message = json.loads(line) if line else None
        except (ValueError, ConnectionError) as error:
            self.kill()
            raise ChildDiedError("said something that is no message") from error
        if not isinstance(message, dict):
            await self._process.wait()
            raise ChildDiedError(self.epitaph)
        return message

    async def wait(self) -> None:
        """Waits for the end of the process."""
        await self._process.wait()

    def kill(self) -> None:
        """Ends the process now, and whatever a library may have started in it."""
        if not self.alive:
            return
        self._killed = True
        with suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self.pid, signal.SIGKILL)
            else:
                self._process.kill()

    async def stop(self, grace_s: float = 5.0) -> None:
        """Asks the process to end by closing its input, and ends it after a grace."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), grace_s)
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def resident_bytes(self) -> int:
        """Returns the memory the process holds, or 0 where the system does not tell."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")
