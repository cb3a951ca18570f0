"""Who wants to hear of which jobs, and the server-sent events that tell them.

A listener holds the set of jobs that changed since it last looked, never a growing list of messages: a slow client
misses intermediate progress and costs no memory.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

HEARTBEAT_S = 15.0
#: Progress is told at most this often per stream.
PAUSE_S = 0.1


class Listener:
    """One open event stream of one client."""

    def __init__(self, client: str) -> None:
        self.client = client
        self._changed: dict[str, None] = {}
        self._wake = asyncio.Event()
        self.closed = False

    def tell(self, job_id: str) -> None:
        """Notes that a job changed."""
        self._changed[job_id] = None
        self._wake.set()

    def close(self) -> None:
        """Ends the stream, because the server ends."""
        self.closed = True
        self._wake.set()

    async def changed(self, timeout_s: float) -> list[str]:
        """Returns the jobs that changed, or an empty list after the time."""
        try:
            await asyncio.wait_for(self._wake.wait(), timeout_s)
        except TimeoutError:
            return []
        self._wake.clear()
        changed, self._changed = list(self._changed), {}
        return changed


class Listeners:
    """All open event streams, by the job or the batch they follow."""

    def __init__(self) -> None:
        self._by_key: dict[str, set[Listener]] = {}

    def __len__(self) -> int:
        """Returns how many streams are open."""
        return sum(len(listeners) for listeners in self._by_key.values())

    def of(self, client: str) -> int:
        """Returns how many streams one client has open."""
        return sum(one.client == client for listeners in self._by_key.values() for one in listeners)

    def add(self, key: str, client: str) -> Listener:
        """Returns a new listener to a job or a batch."""
        listener = Listener(client)
        self._by_key.setdefault(key, set()).add(listener)
        return listener

    def discard(self, key: str, listener: Listener) -> None:
        """Forgets a listener."""
        listeners = self._by_key.get(key, set())
        listeners.discard(listener)
        if not listeners:
            self._by_key.pop(key, None)

    def close(self) -> None:
        """Ends all streams."""
        for listeners in self._by_key.values():
            for listener in listeners:
                listener.close()

    def tell(self, job_id: str, *keys: str) -> None:
        """Tells all who follow one of the keys that a job changed."""
        for key in keys:
            for listener in self._by_key.get(key, ()):
                listener.tell(job_id)


def encode_event(name: str, data: Any) -> bytes:
    """Returns one server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


async def stream(
    listener: Listener,
    first: list[str],
    view: Callable[[str], dict[str, Any] | None],
    *,
    until_final: bool,
    heartbeat_s: float = HEARTBEAT_S,
) -> AsyncIterator[bytes]:
    """Yields the events of a stream: every job as it is now, then each change.

    Args:
        listener: who listens.
        first: jobs to tell of at once.
        view: job id -> what a client sees of it, or None if the job is gone.
        until_final: end once no job is left that can still change.
        heartbeat_s: seconds after which a comment shows that the line is alive.
    """
    yield b"retry: 2000\n\n"
    changed = first
    while True:
        final = True
        for job_id in changed:
            seen = view(job_id)
            if seen is not None:
                final = final and seen["state"] not in ("queued", "running")
                yield encode_event("job", seen)
        if until_final and changed and final:
            yield encode_event("end", {})
            return
        await asyncio.sleep(PAUSE_S)
        changed = await listener.changed(heartbeat_s)
        if listener.closed and not changed:
            return
        if not changed:
            yield b": alive\n\n"
