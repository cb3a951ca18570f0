"""A real server on loopback, in a thread of the test, with a worker process that runs the fake upscaler."""

import asyncio
import dataclasses
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn

from fourfold.imaging import Picture, encode_picture
from fourfold.serving import Limits, Settings, create_app
from fourfold.serving.connections import bounded
from fourfold.serving.service import Service
from tests.conftest import make_photo

MODELS = ("good", "slow", "steady", "crawl", "crash", "crash-once", "hang", "error", "bug", "chatty", "greedy")


def png(width: int = 24, height: int = 16, seed: int = 0) -> bytes:
    """A small PNG."""
    return encode_picture(Picture(make_photo(height, width, seed)), "png")


class RunningServer:
    """A server that listens, and a client for it."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        self.service = self.app.state.service
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        config = uvicorn.Config(
            self.app,
            root_path=settings.root_path,
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(bounded(config))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=30.0, trust_env=False)
        wait_until(lambda: self._server.started or not self._thread.is_alive())

    def set_limit(self, **values: float) -> None:
        """Changes limits while the server runs."""
        for name, value in values.items():
            object.__setattr__(self.service.limits, name, value)

    def submit(self, data: bytes | None = None, **query: object) -> dict[str, object]:
        """Submits a picture and returns its job."""
        answer = self.client.post("/v1/jobs", content=png() if data is None else data, params=query)
        assert answer.status_code == 202, answer.text
        return answer.json()

    def connections(self) -> set[object]:
        """The connections that are open at the server's end."""
        return set(self._server.server_state.connections)

    def job(self, job_id: object) -> dict[str, object]:
        return self.client.get(f"/v1/jobs/{job_id}").json()

    def wait_for(self, job_id: object, *states: str) -> dict[str, object]:
        """Waits until a job is in one of the states, or through."""
        states = states or ("done", "failed", "cancelled", "expired")
        wait_until(lambda: self.job(job_id)["state"] in states)
        return self.job(job_id)

    def stop(self) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join(20)
        self._socket.close()
        assert not self._thread.is_alive()


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Polls until something is so."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


class HeldAnswers:
    """Jobs that are made while their answers are held back, until they are let go."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.let_go = threading.Event()


@pytest.fixture
def held_answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldAnswers]:
    """Holds back the answers to all pictures that are submitted."""
    accept, held = Service.accept, HeldAnswers()

    async def accept_late(*arguments: Any, **values: Any) -> Any:
        job = await accept(*arguments, **values)
        held.made.append(job.id)
        while not held.let_go.is_set():
            await asyncio.sleep(0.01)
        return job

    monkeypatch.setattr(Service, "accept", accept_late)
    yield held
    held.let_go.set()


@pytest.fixture(scope="session")
def fake_models(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> dict[str, str]:
    """Weights files whose names tell the fake upscaler how to behave."""
    folder = tmp_path_factory.mktemp("models")
    for name in MODELS:
        shutil.copy(tiny_weights, folder / f"{name}.safetensors")
    return {name: str(folder / f"{name}.safetensors") for name in MODELS}


@pytest.fixture(scope="session")
def fake_settings(fake_models: dict[str, str]) -> Settings:
    limits = Limits(
        upload_bytes=200_000, input_px=100_000, side_px=2000, output_px=1_600_000, sync_px=10_000, upload_s=2.0
    )
    return Settings(models=fake_models, limits=limits, loader="tests.serving.fakes:load", drain_s=5.0)


@pytest.fixture(scope="session")
def start(fake_settings: Settings) -> Iterator[Callable[..., RunningServer]]:
    """Starts servers: ``start(token="...", limits={"queue_length": 2})``; all are stopped at the end."""
    running: list[RunningServer] = []

    def start_one(limits: dict[str, float] | None = None, **changes: object) -> RunningServer:
        settings = dataclasses.replace(
            fake_settings, limits=dataclasses.replace(fake_settings.limits, **(limits or {})), **changes
        )
        running.append(RunningServer(settings))
        return running[-1]

    yield start_one
    for server in running:
        if server._thread.is_alive():
            server.stop()


@pytest.fixture(scope="session")
def server(start: Callable[..., RunningServer]) -> RunningServer:
    """The server that most tests share."""
    return start(limits={"jobs_per_client": 100})


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (16, 24, 3), dtype=np.uint8)
