"""Workers and inspectors that die, hang and misbehave, and limits that hold."""

import asyncio
import errno
import json
import os
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from fourfold.durable import write_atomically
from fourfold.errors import FourfoldError, PictureError
from fourfold.imaging import Picture, encode_picture, read_picture, write_error
from fourfold.serving import Limits, store
from fourfold.serving.child import MESSAGE_BYTES, Child, ChildDiedError
from fourfold.serving.inspection import Inspection
from fourfold.serving.inspector import MOST_PAGES, has_more_pages, look, look_for_traces
from fourfold.serving.jobs import Job, State
from fourfold.serving.pipeline import shortened
from fourfold.serving.problems import ProblemError
from fourfold.serving.worker import describe_failure
from tests.conftest import make_photo
from tests.serving.conftest import RunningServer, png, wait_until
from tests.serving.test_bad_input import check_problem

Start = Callable[..., RunningServer]


def kill_worker(server: RunningServer) -> None:
    wait_until(lambda: server.service.supervisor.pid is not None)
    os.kill(server.service.supervisor.pid, signal.SIGKILL)


def problem_of(job: dict) -> str:
    return job["problem"]["type"].rsplit("/", 1)[-1]


def test_a_job_that_ends_its_worker_twice_is_reported_and_the_next_one_is_done(server: RunningServer) -> None:
    restarts = server.service.supervisor.restarts
    bad = server.submit(model="crash")["id"]
    good = server.submit()["id"]
    failed = server.wait_for(bad)
    assert (failed["state"], problem_of(failed), failed["attempts"]) == ("failed", "worker-died", 2)
    assert server.wait_for(good)["state"] == "done"
    assert server.service.supervisor.restarts == restarts + 2


def test_a_job_whose_worker_dies_once_is_done_by_the_next(server: RunningServer, fake_models: dict[str, str]) -> None:
    Path(fake_models["crash-once"]).with_suffix(".crashed").unlink(missing_ok=True)
    job = server.wait_for(server.submit(model="crash-once")["id"])
    assert (job["state"], job["attempts"]) == ("done", 2)


def test_a_worker_killed_in_the_middle_loses_nothing(server: RunningServer) -> None:
    running = server.submit(model="slow")["id"]
    waiting = [server.submit()["id"] for _ in range(3)]
    server.wait_for(running, "running")
    kill_worker(server)
    assert server.wait_for(running)["state"] == "done"
    assert [server.wait_for(job)["state"] for job in waiting] == ["done"] * 3


def test_an_idle_worker_that_dies_is_replaced(server: RunningServer) -> None:
    pid = server.service.supervisor.pid
    kill_worker(server)
    wait_until(lambda: server.service.supervisor.state == "ready" and server.service.supervisor.pid not in (None, pid))
    assert server.wait_for(server.submit()["id"])["state"] == "done"


def test_a_disk_that_is_full_for_a_moment_stops_nothing(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(state=tmp_path)
    assert server.wait_for(server.submit()["id"])["state"] == "done"
    failures = 0

    def full(path: Path, data: bytes) -> None:
        nonlocal failures
        if b'"done"' in data and failures < 2:
            failures += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        write_atomically(path, data)

    monkeypatch.setattr(store, "write_atomically", full)
    jobs = [server.wait_for(server.submit()["id"]) for _ in range(2)]
    assert [job["state"] for job in jobs] == ["done", "done"]
    assert failures == 2
    folders = [tmp_path / str(job["id"]) for job in jobs]
    # once there is room, the ends are recorded and the pictures go
    wait_until(lambda: not any((folder / "source").exists() for folder in folders))
    assert all('"done"' in (folder / "job.json").read_text() for folder in folders)
    server.stop()


@pytest.mark.parametrize("kept", [False, True])
def test_a_disk_that_lets_nothing_go_for_a_moment_stops_nothing(
    kept: bool, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(state=tmp_path if kept else None)
    strip, failures = store._strip, 0

    def stuck(folder: Path, keep: Callable[[str], bool]) -> None:
        nonlocal failures
        if failures < 2:
            failures += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        strip(folder, keep)

    monkeypatch.setattr(store, "_strip", stuck)
    jobs = [server.wait_for(server.submit()["id"]) for _ in range(3)]
    assert [job["state"] for job in jobs] == ["done"] * 3
    folders = [server.service.store.path(str(job["id"])) for job in jobs]
    wait_until(lambda: not any((folder / "source").exists() for folder in folders))
    assert failures == 2
    assert all(server.client.get(f"/v1/jobs/{job['id']}/result").status_code == 200 for job in jobs)
    server.stop()


def test_a_job_that_is_cancelled_when_its_worker_died_stays_cancelled(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(state=tmp_path)
    service, record, answers = server.service, server.service._record, []

    async def record_slowly(job: Job) -> bool:
        if job.attempts == 1 and job.state is State.QUEUED:
            answers.append(job.state)
            await service.cancel(job)  # as a client would while the disk is waited for
        return await record(job)

    monkeypatch.setattr(service, "_record", record_slowly)
    job = server.submit(model="crash")
    assert server.wait_for(job["id"])["state"] == "cancelled"
    assert server.wait_for(server.submit()["id"])["state"] == "done"
    assert (server.job(job["id"])["state"], answers, len(service.queue)) == ("cancelled", ["queued"], 0)
    server.stop()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="takes a device that is always full")
@pytest.mark.parametrize("form", [False, True])
def test_a_disk_that_is_full_while_a_picture_arrives(
    form: bool, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(state=tmp_path)
    create = server.service.store.create

    async def create_without_room(job_id: str) -> Path:
        folder = await create(job_id)
        (folder / "source").symlink_to("/dev/full")
        return folder

    with monkeypatch.context() as patch:
        patch.setattr(server.service.store, "create", create_without_room)
        data = png(120, 100)  # more than is kept back before it is written
        body = {"files": {"picture": data}} if form else {"content": data}
        check_refused_for_now(server.client.post("/v1/jobs", **body))
    check_nothing_is_left(server)
    server.stop()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("place", ["folder", "record"])
def test_a_disk_that_is_full_before_or_after_the_picture(
    place: str, number: int, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(state=tmp_path)

    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    async def no_folder(_: str) -> None:
        full()

    with monkeypatch.context() as patch:
        if place == "folder":
            patch.setattr(server.service.store, "create", no_folder)
        else:
            patch.setattr(store, "write_atomically", full)
        check_refused_for_now(server.client.post("/v1/jobs", content=png()))
    check_nothing_is_left(server)
    server.stop()


def check_refused_for_now(answer: httpx.Response) -> None:
    check_problem(answer, 503, "storage-full")
    assert (answer.headers["retry-after"], answer.json()["detail"]) == ("60", "the disk is full")


def check_nothing_is_left(server: RunningServer) -> None:
    assert [path.name for path in server.service.store.folder.iterdir()] == ["lock"]
    assert (server.service.store.bytes, server.service.jobs, len(server.service.queue)) == (0, {}, 0)
    assert server.wait_for(server.submit()["id"])["state"] == "done"  # once there is room


def test_another_fault_of_the_disk_is_no_full_one(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start()

    async def broken(_: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(server.service.store, "create", broken)
    check_problem(server.client.post("/v1/jobs", content=png()), 500, "internal-error")
    server.stop()


def test_a_fault_around_a_job_fails_that_job_alone(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start()

    def broken(job: object, done: int, total: int) -> None:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr(server.service, "progressed", broken)
        failed = server.wait_for(server.submit(model="steady")["id"])
    assert (failed["state"], problem_of(failed)) == ("failed", "internal-error")
    assert server.wait_for(server.submit()["id"])["state"] == "done"
    server.stop()


@pytest.mark.parametrize(("model", "problem"), [("error", "engine-failed"), ("bug", "internal-error")])
def test_a_job_that_fails_leaves_the_worker_alive(server: RunningServer, model: str, problem: str) -> None:
    wait_until(lambda: server.service.supervisor.state == "ready")
    pid = server.service.supervisor.pid
    job = server.wait_for(server.submit(model=model)["id"])
    assert (job["state"], problem_of(job), job["attempts"]) == ("failed", problem, 1)
    assert server.service.supervisor.pid == pid


def test_a_library_that_prints_breaks_no_message(server: RunningServer) -> None:
    assert server.wait_for(server.submit(model="chatty")["id"])["state"] == "done"


def test_a_picture_with_endless_notes_is_done(server: RunningServer) -> None:
    picture = Picture(make_photo(16, 16))
    picture.metadata.comments = {f"{'k' * 70}{number}": "text" for number in range(1000)}
    job = server.wait_for(server.submit(encode_picture(picture, "png"), format="jpg")["id"])
    assert (job["state"], job["attempts"]) == ("done", 1), job["problem"]
    assert len(json.dumps(job["result"]["notes"])) < 20_000
    many = shortened([f"note {number}" for number in range(1000)])
    assert many[0] == "note 0" and many[-1] == "and 970 more notes"


@pytest.mark.parametrize("said", ["nonsense", "[1]x", "9" * (MESSAGE_BYTES + 1)], ids=["word", "json and more", "long"])
def test_a_child_that_says_nonsense_gets_no_more_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    (tmp_path / "babbler.py").write_text(f"import time\nprint({said!r}, flush=True)\ntime.sleep(600)\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    async def listen() -> None:
        child = await Child.start("babbler", {})
        with pytest.raises(ChildDiedError, match="no message"):
            await child.receive()
        assert not child.alive
        await child.wait()

    asyncio.run(listen())


def caused(error: FourfoldError, cause: BaseException) -> FourfoldError:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "slug"),
    [
        (PictureError("the file is damaged"), "unreadable-picture"),
        (caused(write_error(Path("a"), OSError(errno.ENOSPC, "")), OSError(errno.ENOSPC, "")), "storage-full"),
        (caused(write_error(Path("a"), OSError(errno.EDQUOT, "")), OSError(errno.EDQUOT, "")), "storage-full"),
        (PictureError("the picture: out of memory; give less"), "out-of-memory"),
        (caused(PictureError("a.png: KeyError"), KeyError("a")), "internal-error"),
        (ProblemError("picture-too-large", "more than the memory"), "picture-too-large"),
    ],
)
def test_what_is_not_the_pictures_fault_is_not_laid_at_its_door(error: FourfoldError, slug: str) -> None:
    found, detail = describe_failure(error)
    assert found == slug and "-o" not in detail


def test_the_synchronous_call_reports_a_failure(server: RunningServer) -> None:
    check_problem(server.client.post("/v1/upscale", content=png(), params={"model": "error"}), 500, "engine-failed")


def test_a_dead_inspector_is_replaced(server: RunningServer) -> None:
    server.submit()
    server.service.inspection._child.kill()
    wait_until(lambda: not server.service.inspection._child.alive)
    assert server.wait_for(server.submit()["id"])["state"] == "done"


def test_clients_take_turns_at_the_inspector(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def ask(self: Inspection, question: dict[str, str], most_s: float) -> dict[str, object]:
        asked.append(question["path"])
        await asyncio.sleep(0)
        facts = {"format": "png", "width": 1, "height": 1, "frames": 1, "compressed": False}
        return {"event": "picture", **facts, "refusal": None}

    async def all_at_once() -> None:
        inspection = Inspection(Limits(), 1 << 30)
        wanted = [("many", name) for name in "abcd"] + [("one", "single"), ("another", "other")]
        await asyncio.gather(*(inspection.look(Path(name), client=client) for client, name in wanted))
        assert not inspection._clients, "who waits no more is forgotten"

    monkeypatch.setattr(Inspection, "_ask", ask)
    asyncio.run(all_at_once())
    assert asked[:3] == ["a", "single", "other"]
    assert sorted(asked) == sorted(["a", "b", "c", "d", "single", "other"])


def test_an_inspector_that_takes_too_long_is_said_to_be_slow(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    server = start(limits={"inspect_s": 0.0001})
    check_problem(server.client.post("/v1/jobs", content=png()), 422, "unreadable-picture")
    assert "the inspector was lost over a picture: too slow" in caplog.text
    server.stop()


def was_a_jpeg() -> NDArray[np.uint8]:
    """The pixels of a JPEG."""
    pixels: NDArray[np.uint8] = read_picture(encode_picture(Picture(make_photo(64, 96)), "jpg", quality=75)).pixels
    return pixels


def test_a_picture_that_was_a_jpeg_is_known_by_its_pixels(start: Start, fake_models: dict[str, str]) -> None:
    server = start(models=dict.fromkeys(("srgan-plus", "srgan-jpeg"), fake_models["good"]))
    once = encode_picture(Picture(was_a_jpeg()), "png")
    assert server.submit(once)["model"] == "srgan-jpeg"
    assert server.submit(encode_picture(Picture(make_photo(64, 96)), "png"))["model"] == "srgan-plus"
    assert server.submit(once, model="srgan-plus")["model"] == "srgan-plus", "what is named is taken"


def test_traces_that_take_too_long_to_find_are_no_reason_to_refuse_a_picture(
    start: Start, fake_models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fourfold.serving.inspection.TRACES_S", 0.0)
    server = start(models=dict.fromkeys(("srgan-plus", "srgan-jpeg"), fake_models["good"]))
    once = encode_picture(Picture(was_a_jpeg()), "png")
    assert server.submit(once)["model"] == "srgan-plus", "as its file says"
    assert server.submit(once, model="srgan-jpeg")["model"] == "srgan-jpeg"


def test_traces_are_looked_for_in_what_is_accepted_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []

    async def ask(self: Inspection, question: dict[str, str], most_s: float) -> dict[str, object]:
        asked.append(question["do"])
        if question["do"] != "look":
            return {"event": "traces", "compressed": True}
        facts = {"format": "png", "width": 100, "height": 100, "frames": 1, "compressed": question["path"] == "stored"}
        return {"event": "picture", **facts, "refusal": None}

    async def look_at(name: str, **values: object) -> bool:
        found = await Inspection(Limits(), 1 << 30).look(Path(name), client="one", **values)
        return bool(found["compressed"])

    monkeypatch.setattr(Inspection, "_ask", ask)
    assert asyncio.run(look_at("a", traces=True)) and not asyncio.run(look_at("a"))
    assert asyncio.run(look_at("stored", traces=True))
    with pytest.raises(ProblemError):
        asyncio.run(look_at("a", traces=True, most_pixels=9_999))
    assert asked == ["look", "look for traces", "look", "look", "look"]


def test_what_cannot_be_decoded_has_no_traces(tmp_path: Path) -> None:
    (whole := tmp_path / "whole.png").write_bytes(data := encode_picture(Picture(was_a_jpeg()), "png"))
    (broken := tmp_path / "broken.png").write_bytes(data[:200])
    assert look_for_traces(whole)["compressed"]
    for path in (broken, tmp_path / "nowhere.png"):
        assert look_for_traces(path) == {"event": "traces", "compressed": False}


def tiff_of_pages(pages: int, order: str, big: bool, last: int = 0) -> bytes:
    """A TIFF file whose pages hold next to nothing, after the last one of which comes ``last``."""
    mark, start = {"<": b"II", ">": b"MM"}[order], 16 if big else 8
    offset, size = ("Q", 8 + 20 + 8) if big else ("I", 2 + 12 + 4)
    head = struct.pack(f"{order}HHHQ", 43, 8, 0, start) if big else struct.pack(f"{order}HI", 42, start)
    entry = struct.pack(f"{order}QHHQQ", 1, 256, 3, 1, 1) if big else struct.pack(f"{order}HHHII", 1, 256, 3, 1, 1)
    following = [*(start + n * size for n in range(1, pages)), last]
    return mark + head + b"".join(entry + struct.pack(order + offset, after) for after in following)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_of_too_many_pages_is_not_opened(tmp_path: Path, order: str, big: bool) -> None:
    path = tmp_path / "many.tif"
    path.write_bytes(tiff_of_pages(5, order, big))
    assert has_more_pages(path, 4) and not has_more_pages(path, 5)
    path.write_bytes(tiff_of_pages(5, order, big, last=16 if big else 8))
    assert not has_more_pages(path, 5), "five pages that go in a circle are five"
    path.write_bytes(tiff_of_pages(5, order, big, last=2**31 + 1))
    assert not has_more_pages(path, 6)
    path.write_bytes(tiff_of_pages(MOST_PAGES + 1, order, big))
    found = look(path, "auto", 1 << 30)
    assert (found["slug"], found["detail"]) == ("picture-too-large", "it has more than 4,096 pages")


@pytest.mark.parametrize(
    "data", [b"", b"I", b"II*\0", b"MM\0+" + b"\xff" * 12, png()], ids=["nothing", "one", "short", "far", "png"]
)
def test_what_is_no_tiff_has_no_pages(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    assert not has_more_pages(tmp_path / "file", 1)


def test_jobs_that_hang_or_hoard_are_stopped(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourfold.serving.supervisor.GRACE_S", 0.2)
    server = start(limits={"worker_bytes": 300 << 20})
    hoarding = server.submit(model="greedy")["id"]
    cancelled = server.submit(model="hang")["id"]
    hanging = server.submit(model="hang")["id"]
    good = server.submit()["id"]
    assert problem_of(server.wait_for(hoarding)) == "out-of-memory"
    server.wait_for(cancelled, "running")
    server.set_limit(job_s=0.5)
    server.client.delete(f"/v1/jobs/{cancelled}")
    assert server.wait_for(cancelled)["state"] == "cancelled"
    assert problem_of(server.wait_for(hanging)) == "timed-out"
    server.set_limit(job_s=60)
    assert server.wait_for(good)["state"] == "done"
    server.stop()


def test_a_worker_without_room_for_itself_is_told(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    server = start(limits={"worker_bytes": 1 << 20})
    wait_until(lambda: "every job will fail; give more with --worker-memory" in caplog.text)
    server.stop()


def test_the_queue_and_a_client_are_bounded(start: Start) -> None:
    server = start(limits={"queue_length": 2, "jobs_per_client": 4, "worker_jobs": 1})
    jobs = [server.submit(model="hang")["id"]]
    server.wait_for(jobs[0], "running")
    jobs += [server.submit()["id"] for _ in range(2)]
    full = server.client.post("/v1/jobs", content=png())
    check_problem(full, 429, "queue-full")
    assert int(full.headers["retry-after"]) >= 1
    server.client.delete(f"/v1/jobs/{jobs[1]}")
    server.client.delete(f"/v1/jobs/{jobs[2]}")
    server.set_limit(queue_length=50)
    jobs = [server.submit()["id"] for _ in range(3)]
    check_problem(server.client.post("/v1/upscale", content=png()), 429, "too-many-jobs")
    server.stop()


def test_what_waits_too_long_or_expires_is_let_go(start: Start) -> None:
    server = start(limits={"wait_s": 0.5, "retention_s": 0.5})
    running = server.submit(model="slow")["id"]
    server.wait_for(running, "running")
    kept = server.wait_for(running)
    assert kept["state"] == "done"
    blocker = server.submit(model="hang")["id"]
    waiting = server.submit()["id"]
    assert problem_of(server.wait_for(waiting)) == "waited-too-long"
    wait_until(lambda: server.job(running)["state"] == "expired")
    check_problem(server.client.get(f"/v1/jobs/{running}/result"), 410, "expired")
    check_problem(server.client.get(f"/v1/jobs/{running}/preview?of=source"), 410, "expired")
    assert not server.service.store.path(running).exists()
    assert server.job(blocker)["state"] == "running"
    server.stop()


def test_the_oldest_results_make_room_for_new_ones(start: Start) -> None:
    server = start(limits={"upload_bytes": 10_000, "output_px": 13_000, "stored_bytes": 120_000})
    jobs = [server.wait_for(server.submit(png(28, 28, number))["id"])["id"] for number in range(8)]
    wait_until(lambda: server.job(jobs[0])["state"] == "expired")
    assert server.job(jobs[-1])["state"] == "done"
    wait_until(lambda: server.service.store.bytes <= 120_000)
    server.stop()


def test_a_worker_that_cannot_start_makes_the_server_unhealthy(start: Start, fake_models: dict[str, str]) -> None:
    path = Path(fake_models["good"]).with_name("unloadable.safetensors")
    path.write_bytes(Path(fake_models["good"]).read_bytes())
    server = start(models={"unloadable": str(path)})
    wait_until(lambda: server.client.get("/v1/health").status_code == 503)
    assert server.client.get("/v1/health").json()["status"] == "failing"
    assert "cannot be loaded" in server.service.supervisor.last_error
    server.stop()


def test_a_full_turn_of_workers_by_count(start: Start) -> None:
    server = start(limits={"worker_jobs": 2})
    jobs = [server.submit()["id"] for _ in range(5)]
    assert [server.wait_for(job)["state"] for job in jobs] == ["done"] * 5
    assert server.service.supervisor.restarts == 2
    server.stop()


def test_the_event_loop_stays_free_while_pictures_are_upscaled(server: RunningServer) -> None:
    job = server.submit(model="slow")["id"]
    server.wait_for(job, "running")
    answers = 0
    until = time.monotonic() + 20
    while server.job(job)["state"] == "running" and time.monotonic() < until:
        answers += server.client.get("/v1/health").status_code == 200
    assert answers >= 2
