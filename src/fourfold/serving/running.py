"""The server process: uvicorn, and a stop that finishes what runs."""

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

from fourfold.errors import UsageError
from fourfold.serving.app import create_app
from fourfold.serving.connections import bounded
from fourfold.serving.service import Service
from fourfold.serving.settings import Settings
from fourfold.signals import unless_ignored

log = logging.getLogger("fourfold.serving")

#: For answers that are still being sent when everything is done.
CLOSE_S = 5


class DrainingServer(uvicorn.Server):
    """A server that, told to stop, first refuses new jobs and finishes those under way; told again, stops at once."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._drain: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until it is told to stop."""
        self._loop = asyncio.get_running_loop()
        self._heed_closed_terminals(self._loop)
        await super().serve(sockets)

    def _heed_closed_terminals(self, loop: asyncio.AbstractEventLoop) -> None:
        """Takes SIGHUP, too, which uvicorn leaves alone."""
        if threading.current_thread() is threading.main_thread():
            for number in unless_ignored("SIGHUP"):
                loop.add_signal_handler(number, self.handle_exit, number, None)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Takes SIGTERM, SIGINT and SIGHUP."""
        if self._service.draining or self._loop is None:
            super().handle_exit(sig, frame)
            return
        self._service.draining = True
        name = signal.Signals(sig).name
        log.warning("%s: no new jobs; finishing what runs (once more stops at once)", name)
        self._loop.call_soon_threadsafe(self._begin_drain)

    def _begin_drain(self) -> None:
        async def drain() -> None:
            await self._service.drain()
            self._service.listeners.close()
            self.should_exit = True  # an orderly end, with exit code 0

        self._drain = asyncio.create_task(drain())


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens; port 0 takes any free one.

    Raises:
        UsageError: if the address is not this machine's, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((str(address[0]), port), family=family, backlog=256)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot listen at {host}, port {port}: {reason}; choose another --port or --host") from error


def run_server(
    settings: Settings,
    listening: socket.socket,
    *,
    proxies: tuple[str, ...] = (),
    announce: Callable[[], None] = lambda: None,
) -> None:
    """Serves until SIGTERM, Ctrl-C or the end of its terminal.

    Args:
        settings: what to serve and within what limits.
        listening: from :func:`listen`.
        proxies: addresses of reverse proxies whose X-Forwarded-For is believed.
        announce: called once nothing stands in the way of serving any more: the state folder is this server's.

    Raises:
        UsageError: if the state folder cannot be used.
    """
    app = create_app(settings)
    announce()
    config = uvicorn.Config(
        app,
        root_path=settings.root_path,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies) or None,
        server_header=False,
        access_log=False,  # addresses hold the ids of jobs, which are secrets
        log_level="warning",
        timeout_graceful_shutdown=CLOSE_S,
        timeout_keep_alive=15,
        h11_max_incomplete_event_size=64 * 1024,
    )
    DrainingServer(bounded(config), app.state.service).run([listening])
