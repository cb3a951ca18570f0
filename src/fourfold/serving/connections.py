"""HTTP connections that are given up when their client does not say what it wants."""

import asyncio

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

#: How long the header of a request may take. Far above what the slowest line needs for one, and short enough that a
#: client which opens connections and says nothing cannot hold them all.
HEADER_S = 20.0

#: Connections at once; more are answered with 503.
MOST = 512


def bounded(config: uvicorn.Config) -> uvicorn.Config:
    """Returns uvicorn's settings with bounds on the connections that clients can hold."""
    config.http, config.limit_concurrency = PromptProtocol, MOST
    return config


class PromptProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, which by itself waits for the rest of a request for ever."""

    _giving_up: asyncio.TimerHandle | None = None

    # narrower than asyncio's, as uvicorn's own is: what it gets can be written to
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first header."""
        super().connection_made(transport)
        self._expect_header()

    def data_received(self, data: bytes) -> None:
        """Waits for the rest of a header, from when it began, or no more once it is there."""
        super().data_received(data)
        # at rest: nothing of a request is there, or it was answered before it had ended
        if self.conn.their_state is h11.IDLE or self.conn.our_state is h11.DONE:
            self._expect_header()
        else:
            self._expect_nothing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no more."""
        self._expect_nothing()
        super().connection_lost(exc)

    def _expect_header(self) -> None:
        if self._giving_up is None:
            self._giving_up = self.loop.call_later(HEADER_S, self.transport.close)

    def _expect_nothing(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
