"""Clients that connect and say nothing, or follow more than their share."""

import socket
from collections.abc import Callable
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from fourfold.serving import connections
from tests.serving.conftest import RunningServer, wait_until

REQUEST = b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, start: Callable[..., RunningServer]) -> RunningServer:
    monkeypatch.setattr(connections, "HEADER_S", 0.5)
    return start()


def hear(client: socket.socket, end: bytes) -> bytes:
    """Returns what comes until something that it ends with; fails where the connection ends before."""
    heard = b""
    while not heard.endswith(end):
        piece = client.recv(10_000)
        assert piece, heard
        heard += piece
    return heard


def ask(client: socket.socket) -> None:
    client.sendall(REQUEST)
    assert hear(client, b"}").startswith(b"HTTP/1.1 200")


def connect(server: RunningServer) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), timeout=15.0)


@pytest.mark.parametrize("sent", [b"", REQUEST[:9], REQUEST[:-2]])
def test_who_does_not_end_his_header_is_given_up(sent: bytes, impatient: RunningServer) -> None:
    with connect(impatient) as client:
        client.sendall(sent)
        assert client.recv(100) == b""


def test_a_header_byte_by_byte_does_not_win_time(impatient: RunningServer) -> None:
    with connect(impatient) as client:
        client.settimeout(0.05)
        ended = b"G"
        for _ in range(200):
            try:
                client.sendall(b"G")
                ended = client.recv(100)
            except TimeoutError:
                continue  # nothing heard yet: another byte
            except OSError:
                ended = b""
            break
    assert ended == b""


def test_a_body_that_nobody_waits_for_any_more_holds_nothing(impatient: RunningServer) -> None:
    """Answered before it ended, as a body is that is too large."""
    with connect(impatient) as client:
        client.sendall(REQUEST[:-2] + b"Content-Length: 5\r\n\r\n")
        hear(client, b"}")
        client.sendall(b"x")
        assert client.recv(100) == b""


def test_the_second_request_of_a_connection_is_waited_for_no_longer(impatient: RunningServer) -> None:
    with connect(impatient) as client:
        ask(client)
        ask(client)
        client.sendall(REQUEST[:20])
        assert client.recv(100) == b""


def test_answers_may_take_longer(impatient: RunningServer) -> None:
    job = impatient.submit(model="slow")["id"]
    with connect(impatient) as client:
        client.sendall(f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        heard = hear(client, b"event: end\ndata: {}\n\n\r\n0\r\n\r\n")
    assert b'"state":"done"' in heard


def test_one_client_cannot_have_all_event_streams(start: Callable[..., RunningServer]) -> None:
    server = start(limits={"streams_per_client": 2})
    address = f"/v1/batches/{'a' * 16}/events"
    with ExitStack() as open_ones:
        for _ in range(2):
            open_ones.enter_context(server.client.stream("GET", address))
        refused = server.client.get(address)
        assert refused.status_code == 429 and refused.json()["type"].endswith("too-many-streams")
        assert [server.service.listeners.of(client) for client in ("127.0.0.1", "10.0.0.1")] == [2, 0]
    wait_until(lambda: len(server.service.listeners) == 0)
    with server.client.stream("GET", address) as again:
        assert again.status_code == 200
