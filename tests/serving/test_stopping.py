"""Stops and restarts of a real server process: SIGTERM, kill -9, a state folder."""

import gc
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fourfold.errors import UsageError
from fourfold.serving.jobs import Job
from fourfold.serving.store import Store
from tests.cli.running import command, hang_up
from tests.serving.conftest import RunningServer, png, wait_until

ROOT = Path(__file__).parents[2]
SERVE = """
import sys
import tempfile
from pathlib import Path
from typing import Any
from fourfold.serving import Settings, listen, run_server, service
service.HEARD_S = 10.0
models, state, drain_s = dict(pair.split("=") for pair in sys.argv[1].split(",")), sys.argv[2], float(sys.argv[3])
listening = listen("127.0.0.1", 0)
print(listening.getsockname()[1], flush=True)
run_server(
    Settings(models=models, state=Path(state) if state else None, drain_s=drain_s, loader="tests.serving.fakes:load"),
    listening,
)
"""


class ServerProcess:
    """A server in a process of its own."""

    def __init__(self, models: dict[str, str], state: Path | None = None, drain_s: float = 20.0) -> None:
        named = ",".join(f"{name}={path}" for name, path in models.items())
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, named, str(state or ""), str(drain_s)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # the tests may run under nohup, which has it ignored
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
        assert self.process.stdout is not None
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{int(self.process.stdout.readline())}", timeout=30.0, trust_env=False
        )
        wait_until(self._ready)

    def _ready(self) -> bool:
        try:
            return self.client.get("/v1/health").json()["status"] == "ok"
        except httpx.TransportError:
            return False

    def submit(self, **query: str) -> str:
        return self.client.post("/v1/jobs", content=png(), params=query).json()["id"]

    def state(self, job: str) -> str:
        return self.client.get(f"/v1/jobs/{job}").json()["state"]

    def worker_pids(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children]

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(40)


@pytest.fixture
def processes() -> Iterator[Callable[..., ServerProcess]]:
    started: list[ServerProcess] = []

    def start(*args: object, **kwargs: object) -> ServerProcess:
        started.append(ServerProcess(*args, **kwargs))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for server in started:
        server.client.close()
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
        for pipe in (server.process.stdout, server.process.stderr):
            pipe.close()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_asked_to_stop_it_finishes_what_runs_and_refuses_new_jobs(
    processes: Callable[..., ServerProcess], fake_models: dict[str, str], number: signal.Signals
) -> None:
    server = processes(fake_models)
    running, waiting = server.submit(model="slow"), server.submit()
    wait_until(lambda: server.state(running) == "running")
    children = server.worker_pids()
    server.process.send_signal(number)
    wait_until(lambda: server.client.get("/v1/health").json()["status"] == "stopping")
    refused = server.client.post("/v1/jobs", content=png())
    assert (refused.status_code, refused.json()["type"]) == (503, "/v1/problems/stopping")
    assert "retry-after" in refused.headers
    wait_until(lambda: server.state(running) == "done" and server.state(waiting) == "done")
    for job in (running, waiting):
        assert server.client.get(f"/v1/jobs/{job}/result").status_code == 200
    assert server.process.wait(40) == 0
    wait_until(lambda: all(gone(pid) for pid in children))


@pytest.mark.slow
def test_a_second_sigterm_stops_at_once(processes: Callable[..., ServerProcess], fake_models: dict[str, str]) -> None:
    server = processes(fake_models)
    job = server.submit(model="hang")
    wait_until(lambda: server.state(job) == "running")
    children = server.worker_pids()
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: server.client.get("/v1/health").json()["status"] == "stopping")
    server.end(signal.SIGTERM)
    assert time.monotonic() - started < 18, "it waited for the drain"
    wait_until(lambda: all(gone(pid) for pid in children))


def test_a_killed_server_loses_no_accepted_job(
    processes: Callable[..., ServerProcess], fake_models: dict[str, str], tmp_path: Path
) -> None:
    server = processes(fake_models, tmp_path / "state")
    done = server.submit(batch="batch-over-a-restart")
    wait_until(lambda: server.state(done) == "done")
    result = server.client.get(f"/v1/jobs/{done}/result").content
    running, waiting = server.submit(model="slow"), server.submit(name="wait.png")
    wait_until(lambda: server.state(running) == "running")
    children = server.worker_pids()
    server.end(signal.SIGKILL)
    wait_until(lambda: all(gone(pid) for pid in children))

    server = processes(fake_models, tmp_path / "state")
    assert server.client.get(f"/v1/jobs/{done}/result").content == result
    wait_until(lambda: server.state(running) == "done" and server.state(waiting) == "done")
    assert server.client.get(f"/v1/jobs/{waiting}").json()["name"] == "wait.png"
    assert [job["id"] for job in server.client.get("/v1/batches/batch-over-a-restart").json()] == [done]


@pytest.mark.slow
def test_sigterm_with_a_state_folder_hands_what_waits_to_the_next_server(
    processes: Callable[..., ServerProcess], fake_models: dict[str, str], tmp_path: Path
) -> None:
    server = processes(fake_models, tmp_path / "state")
    running, waiting = server.submit(model="slow"), server.submit()
    wait_until(lambda: server.state(running) == "running")
    server.end(signal.SIGTERM)
    records = {path.parent.name: path.read_text() for path in (tmp_path / "state").glob("*/job.json")}
    assert '"state": "done"' in records[running]
    assert '"state": "queued"' in records[waiting]
    server = processes(fake_models, tmp_path / "state")
    wait_until(lambda: server.state(waiting) == "done")
    assert server.client.get(f"/v1/jobs/{running}/result").status_code == 200


def test_what_an_orderly_stop_breaks_off_is_not_held_against_the_picture(
    processes: Callable[..., ServerProcess], fake_models: dict[str, str], tmp_path: Path
) -> None:
    server = processes(fake_models, tmp_path / "state", drain_s=0.1)
    job = server.submit(model="crawl")
    wait_until(lambda: server.state(job) == "running")
    server.end(signal.SIGTERM)
    record = json.loads((tmp_path / "state" / job / "job.json").read_text())
    assert (record["state"], record["attempts"]) == ("queued", 0)


def test_a_picture_that_arrives_too_late_is_refused(
    start: Callable[..., RunningServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    look = server.service.inspection.look

    async def look_while_it_stops(*arguments: Any, **values: Any) -> Any:
        server.service.draining = True
        return await look(*arguments, **values)

    monkeypatch.setattr(server.service.inspection, "look", look_while_it_stops)
    answer = server.client.post("/v1/jobs", content=png())
    assert (answer.status_code, answer.json()["type"]) == (503, "/v1/problems/stopping")
    assert not server.service.jobs
    server.stop()


def test_whoever_asks_hears_that_his_job_was_handed_back(
    processes: Callable[..., ServerProcess], fake_models: dict[str, str]
) -> None:
    server = processes(fake_models, drain_s=0.2)
    jobs = [server.submit(model="crawl") for _ in range(2)]
    wait_until(lambda: server.state(jobs[0]) == "running")
    with server.client.stream("GET", f"/v1/jobs/{jobs[1]}/events") as events:
        server.process.send_signal(signal.SIGTERM)
        told = "".join(events.iter_text())
    assert "/v1/problems/handed-back" in told
    for job in jobs:
        seen = server.client.get(f"/v1/jobs/{job}").json()
        assert (seen["state"], seen["problem"]["type"]) == ("failed", "/v1/problems/handed-back")
    assert server.process.wait(40) == 0


def test_logs_do_not_tell_the_ids_of_jobs(processes: Callable[..., ServerProcess], fake_models: dict[str, str]) -> None:
    server = processes(fake_models)
    job = server.submit(model="crash")
    wait_until(lambda: server.state(job) == "failed")
    server.end(signal.SIGTERM)
    assert server.process.stderr is not None
    log = server.process.stderr.read()
    assert (job[:6] in log, job in log) == (True, False)


@pytest.mark.slow
def test_the_temporary_folder_goes_with_the_server(
    processes: Callable[..., ServerProcess],
    fake_models: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    server = processes(fake_models, drain_s=0.1)
    server.submit()
    assert list(tmp_path.glob("fourfold-serve-*"))
    server.end(signal.SIGINT)
    assert not list(tmp_path.glob("fourfold-serve-*"))


def test_a_job_whose_model_is_no_longer_served_fails_and_the_others_are_done(
    start: Callable[..., RunningServer], fake_models: dict[str, str], tmp_path: Path
) -> None:
    facts = {"format": "png", "width": 24, "height": 16, "frames": 1, "bytes": len(png())}
    kinds = (("a", "gone"), ("b", "good"))
    jobs = [Job("client", "a.png", model, source=facts, id=letter * 22) for letter, model in kinds]
    for job in jobs:
        folder = tmp_path / "state" / job.id
        folder.mkdir(parents=True)
        (folder / "job.json").write_text(json.dumps(job.record()))
        (folder / "source").write_bytes(png())
    (tmp_path / "state" / "lock").touch()
    server = start(state=tmp_path / "state")
    failed, done = (server.wait_for(job.id) for job in jobs)
    assert (failed["state"], failed["problem"]["type"]) == ("failed", "/v1/problems/unknown-model")
    assert "'gone'" in failed["problem"]["detail"]
    assert done["state"] == "done"
    server.stop()


def test_the_temporary_folder_goes_with_an_application_that_was_never_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store = Store(None)
    assert [store.folder] == list(tmp_path.iterdir())
    del store
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_two_servers_do_not_share_a_state_folder(tmp_path: Path) -> None:
    first = Store(tmp_path / "state")
    with pytest.raises(UsageError, match="another server"):
        Store(tmp_path / "state")
    first.close()
    Store(tmp_path / "state").close()


@pytest.mark.parametrize("name", ["Documents/thesis.tex", "thesis.tex", "family-photos-summer-2019/a.jpg", ".config/x"])
def test_a_folder_with_other_things_in_it_is_no_state_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("dear")
    with pytest.raises(UsageError, match=f"holds something else: {name.split('/')[0]}"):
        Store(tmp_path)
    assert (tmp_path / name).read_text() == "dear"
    assert not (tmp_path / "lock").exists()


def test_what_a_file_system_keeps_at_its_root_stays(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".DS_Store").touch()
    store = Store(tmp_path)
    assert not list(store.restore())
    store.close()
    assert (tmp_path / "lost+found").is_dir()


def test_jobs_are_taken_up_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    for letter, created_at in (("a", 30.0), ("b", 10.0), ("c", 20.0)):
        record = {
            "id": letter * 22,
            "client": "x",
            "name": "x",
            "model": "m",
            "state": "done",
            "created_at": created_at,
        }
        (tmp_path / (letter * 22)).mkdir()
        (tmp_path / (letter * 22) / "job.json").write_text(json.dumps(record))
    store = Store(tmp_path)
    assert [job.id[0] for job in store.restore()] == ["b", "c", "a"]
    store.close()


def test_damaged_records_are_dropped_and_the_rest_is_kept(tmp_path: Path) -> None:
    state = tmp_path / "state"
    for name, text in {
        "a" * 22: "not json",
        "b" * 22: "{}",
        "c" * 22: '{"id": "../../etc", "client": "x", "name": "x", "model": "m", "state": "done"}',
        "d" * 22: '{"id": "%s", "client": "x", "name": "x", "model": "m", "state": "running"}' % ("d" * 22),
        "e" * 22: '{"id": "%s", "client": "x", "name": "x", "model": "m", "state": "done"}' % ("e" * 22),
    }.items():
        (state / name).mkdir(parents=True)
        (state / name / "job.json").write_text(text)
    (state / "lock").touch()
    store = Store(state)
    assert [job.id for job in store.restore()] == ["e" * 22]
    assert sorted(path.name for path in state.iterdir() if path.is_dir()) == ["e" * 22]
    store.close()


def test_clients_that_hang_up_do_not_stop_it(tiny_weights: Path, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:  # a pipe that nobody reads would fill up
        process = subprocess.Popen(command("serve", "--port", 0, "-n", tiny_weights), stderr=log)
    try:
        wait_until(lambda: "serving" in (tmp_path / "log").read_text() or process.poll() is not None)
        address = re.search(r"http://127\.0\.0\.1:(\d+)", (tmp_path / "log").read_text())
        assert address, "it serves"
        with httpx.Client(base_url=address[0], trust_env=False, timeout=60.0) as client:
            wait_until(lambda: answers(client) or process.poll() is not None)
            hang_up(int(address[1]), "/docs")
            assert answers(client)
        assert process.poll() is None
    finally:
        process.terminate()
        assert process.wait(60) == 0


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/v1/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize(("options", "path"), [((), ""), (("--root-path", "/upscale/"), "/upscale")])
def test_the_command_says_where_it_serves(tiny_weights: Path, options: tuple[str, ...], path: str) -> None:
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("fourfold")), "serve", "--port", "0", "-n", str(tiny_weights), *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(rf"serving tiny at (http://127\.0\.0\.1:\d+{path})/\n", line)
    assert found, line
    with httpx.Client(base_url=found[1], trust_env=False, timeout=60.0) as client:
        assert client.get("/v1/health").status_code == 200
        answer = client.post("/v1/upscale", content=png())  # the real engine, once
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    process.send_signal(signal.SIGINT)
    process.wait(30)
    process.stderr.close()
