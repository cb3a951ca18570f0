"""The other end of :mod:`fourfold.serving.child`: what a child process uses to talk to the server."""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

Message = dict[str, Any]


class Channel:
    """Messages to and from the server, over what were standard input and output.

    Standard output is moved away first, so that a library that prints cannot break a message. When the server goes
    away, in whatever manner, the input ends and the process ends with it at once, even in the middle of a picture.

    Args:
        at_once: called in the reading thread for every message; returns True if that is all there is to do.
    """

    def __init__(self, at_once: Callable[[Message], bool] | None = None) -> None:
        self._at_once = at_once
        self._out = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
        os.dup2(2, 1)
        self._write_lock = threading.Lock()
        self._messages: SimpleQueue[Message] = SimpleQueue()
        self.settings: Message = json.loads(sys.stdin.readline())
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if self._at_once is None or not self._at_once(message):
                self._messages.put(message)
        os._exit(0)

    def send(self, event: str, **values: Any) -> None:
        """Sends one event to the server."""
        with self._write_lock:
            self._out.write(json.dumps({"event": event, **values}) + "\n")
            self._out.flush()

    def messages(self) -> Iterator[Message]:
        """Yields what the server asks for, one after the other, for ever."""
        while True:
            yield self._messages.get()
