"""Pictures through a running server: the ways that end well."""

import io
import socket
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from starlette.formparsers import MultiPartParser

from fourfold.imaging import Picture, encode_picture, imresize, read_picture
from fourfold.serving.app import create_app
from fourfold.serving.downloads import attachment
from fourfold.serving.previews import write_preview
from fourfold.serving.settings import Settings
from tests.conftest import make_photo
from tests.imaging.samples import animation, encoded
from tests.serving.conftest import HeldAnswers, RunningServer, png, wait_until

BATCH = "batch-of-the-tests-1"
TOKEN = "a-token-of-the-tests-0123456789"


def test_a_job_from_submission_to_result(server: RunningServer) -> None:
    photo = make_photo(16, 24)
    answer = server.client.post("/v1/jobs", content=png(24, 16), params={"name": "Meer & Möwe.png"})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["source"] == {"format": "png", "width": 24, "height": 16, "frames": 1, "bytes": len(png(24, 16))}
    done = server.wait_for(job["id"])
    assert done["state"] == "done", done
    assert (done["result"]["width"], done["result"]["height"], done["progress"]) == (96, 64, 1)
    result = server.client.get(f"/v1/jobs/{job['id']}/result")
    assert result.headers["content-type"] == "image/png"
    assert result.headers["content-disposition"] == attachment("Meer & Möwe_x4.png")
    np.testing.assert_array_equal(read_picture(result.content).pixels, imresize(photo, 4))


def test_a_client_that_goes_before_the_answer_leaves_no_job_behind(
    server: RunningServer, held_answers: HeldAnswers
) -> None:
    head = (
        f"POST /v1/jobs?model=crawl HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: {len(png())}\r\n\r\n"
    )
    others = server.connections()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + png())
        wait_until(lambda: bool(held_answers.made))
    wait_until(lambda: server.connections() <= others)
    held_answers.let_go.set()
    assert server.wait_for(held_answers.made[0])["state"] == "cancelled"


def test_the_synchronous_call_answers_with_the_picture_and_keeps_nothing(server: RunningServer) -> None:
    stored = server.service.store.bytes
    answer = server.client.post("/v1/upscale", content=png(20, 10), headers={"Content-Type": "image/png"})
    assert answer.status_code == 200
    assert read_picture(answer.content).pixels.shape == (40, 80, 3)
    wait_until(lambda: server.service.store.bytes <= stored)


def test_a_form_carries_picture_and_options(server: RunningServer) -> None:
    files = {"picture": ("urlaub.png", png(), "image/png")}
    answer = server.client.post("/v1/jobs", files=files, data={"format": "jpg", "model": ""})
    assert answer.status_code == 202, answer.text
    done = server.wait_for(answer.json()["id"])
    assert (done["name"], done["result"]["format"], done["result_name"]) == ("urlaub.png", "jpg", "urlaub_x4.jpg")


def test_an_option_may_be_given_twice_alike_or_empty(server: RunningServer) -> None:
    files = {"picture": ("a.png", png(), "image/png")}
    query = [("format", "jpg"), ("format", "jpg"), ("model", ""), ("model", "good")]
    answer = server.client.post("/v1/jobs", params=query, files=files, data={"format": "jpg", "model": ""})
    assert answer.status_code == 202, answer.text
    assert (answer.json()["format"], answer.json()["model"]) == ("jpg", "good")


def test_a_body_may_say_that_it_is_not_encoded(server: RunningServer) -> None:
    answer = server.client.post("/v1/upscale", content=png(), headers={"Content-Encoding": "Identity"})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(("format", "result", "frames"), [("auto", "webp", 3), ("png", "png", 1)])
def test_a_result_tells_its_frames(server: RunningServer, format: str, result: str, frames: int) -> None:
    first, *others = animation(3, (18, 12))
    moving = encoded(first, "GIF", save_all=True, append_images=others, duration=80)
    job = server.wait_for(server.submit(moving, format=format)["id"])
    assert (job["source"]["frames"], job["result"]["format"], job["result"]["frames"]) == (3, result, frames)
    [event] = follow(server, f"/v1/jobs/{job['id']}/events")
    assert event["result"] == job["result"]
    schemas = server.client.get("/v1/openapi.json").json()["components"]["schemas"]
    assert "frames" in schemas["ResultFacts"]["required"] and "frames" in schemas["PictureFacts"]["required"]


def test_a_form_goes_to_its_jobs_folder_and_nowhere_else(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MultiPartParser, "spool_max_size", 1024)  # Starlette's own file would soon need the disk
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    data = png(100, 80)
    answer = server.client.post("/v1/jobs", files={"picture": ("a.png", data, "image/png")}, data={"model": "slow"})
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (server.service.store.path(job["id"]) / "source").read_bytes() == data
    assert job["source"]["bytes"] == len(data) > 1024
    assert server.wait_for(job["id"])["state"] == "done"


def test_a_form_of_two_pictures_or_of_none_leaves_nothing(server: RunningServer) -> None:
    picture = ("a.png", png(), "image/png")
    for files in ([("picture", picture), ("picture", picture)], [("other", picture)]):
        answer = server.client.post("/v1/jobs", files=files)
        assert answer.status_code == 400, answer.text
    assert not [p for p in server.service.store.folder.iterdir() if p.name not in server.service.jobs]


def test_a_self_ensemble_is_asked_for_and_remembered(server: RunningServer) -> None:
    done = server.wait_for(server.submit(png(40, 30), ensemble="true")["id"])
    assert (done["state"], done["ensemble"]) == ("done", True), done
    assert server.wait_for(server.submit(png(40, 30))["id"])["ensemble"] is False
    result = server.client.get(f"/v1/jobs/{done['id']}/result").content
    np.testing.assert_array_equal(read_picture(result).pixels, imresize(make_photo(30, 40)[::-1], 4))


@pytest.mark.parametrize("format", ["png", "jpg", "webp", "tiff", "avif"])
def test_every_format_of_result(server: RunningServer, format: str) -> None:
    done = server.wait_for(server.submit(png(16, 16), format=format)["id"])
    assert done["state"] == "done", done
    data = server.client.get(f"/v1/jobs/{done['id']}/result").content
    assert read_picture(data).metadata.format == format


def test_alpha_and_sixteen_bits_stay(server: RunningServer) -> None:
    pixels = make_photo(12, 12).astype(np.uint16) * 257
    picture = Picture(pixels, alpha=np.full((12, 12), 40000, np.uint16))
    done = server.wait_for(server.submit(encode_picture(picture, "png"))["id"])
    result = read_picture(server.client.get(f"/v1/jobs/{done['id']}/result").content)
    assert result.pixels.dtype == np.uint16
    assert result.alpha is not None
    assert abs(int(result.alpha[20, 20]) - 40000) <= 1


def test_a_tiff_has_previews_that_browsers_show(server: RunningServer) -> None:
    data = encode_picture(Picture(make_photo(12, 18)), "tiff")
    done = server.wait_for(server.submit(data)["id"])
    for of, width in (("source", 18), ("result", 72)):
        answer = server.client.get(f"/v1/jobs/{done['id']}/preview", params={"of": of})
        assert answer.headers["content-type"] == "image/webp"
        assert read_picture(answer.content).width == width


def test_who_asks_for_the_preview_of_a_job_that_failed_is_not_told_to_ask_again(server: RunningServer) -> None:
    job = server.wait_for(server.submit(model="error")["id"])
    assert job["state"] == "failed"
    for of in ("source", "result"):
        answer = server.client.get(f"/v1/jobs/{job['id']}/preview", params={"of": of})
        assert (answer.status_code, answer.json()["type"]) == (409, "/v1/problems/no-result")
        assert "retry-after" not in answer.headers


@pytest.mark.parametrize("dtype", ["float32", "uint32"])
def test_previews_of_values_beyond_one_are_not_white(dtype: str, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = make_photo(24, 36).astype(dtype)
    values[0, 0] = 255
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", metadata=None)
    write_preview(tmp_path / "a.tif", tmp_path / "a.webp", 1000)
    shown = read_picture(tmp_path / "a.webp").pixels.astype(float)
    assert np.abs(shown - values.astype(float)).mean() < 15


def test_previews_of_highlights_are_not_black(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = make_photo(24, 36).astype("float32") / 255
    shown = values.copy()
    values[:6, :6], shown[:6, :6] = 1000.0, 1.0
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", metadata=None)
    write_preview(tmp_path / "a.tif", tmp_path / "a.webp", 1000)
    preview = read_picture(tmp_path / "a.webp").pixels.astype(float)
    assert np.abs(preview - shown.astype(float) * 255).mean() < 15


def test_a_result_can_be_fetched_in_ranges(server: RunningServer) -> None:
    done = server.wait_for(server.submit()["id"])
    whole = server.client.get(f"/v1/jobs/{done['id']}/result").content
    part = server.client.get(f"/v1/jobs/{done['id']}/result", headers={"Range": "bytes=10-19"})
    assert part.status_code == 206
    assert part.content == whole[10:20]
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"


@pytest.mark.parametrize("unit", ["items=0-3", "bytes=abc", "bytes=", "bytes=9-3", "bytes 0-3", "bytes=0-3;1"])
def test_ranges_that_are_none_give_the_whole(server: RunningServer, unit: str) -> None:
    done = server.wait_for(server.submit()["id"])
    whole = server.client.get(f"/v1/jobs/{done['id']}/result")
    answer = server.client.get(f"/v1/jobs/{done['id']}/result", headers={"Range": unit})
    assert (answer.status_code, answer.content) == (200, whole.content)


def test_a_range_beyond_the_end_is_a_problem(server: RunningServer) -> None:
    address = f"/v1/jobs/{server.wait_for(server.submit()['id'])['id']}/result"
    size = len(server.client.get(address).content)
    answer = server.client.get(address, headers={"Range": f"bytes={size}-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/v1/problems/range-not-satisfiable"


def test_a_result_that_the_client_has_is_not_sent_again(server: RunningServer) -> None:
    address = f"/v1/jobs/{server.wait_for(server.submit()['id'])['id']}/result"
    tag = server.client.get(address).headers["etag"]
    for header in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = server.client.get(address, headers={"If-None-Match": header})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert server.client.get(address, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_range_of_another_result_gives_the_whole(server: RunningServer) -> None:
    address = f"/v1/jobs/{server.wait_for(server.submit()['id'])['id']}/result"
    whole = server.client.get(address)
    for tag, status in ((whole.headers["etag"], 206), (whole.headers["last-modified"], 206), ('"other"', 200)):
        answer = server.client.get(address, headers={"Range": "bytes=10-19", "If-Range": tag})
        assert (answer.status_code, answer.content) == (
            status,
            whole.content[10:20] if status == 206 else whole.content,
        )


@pytest.mark.parametrize(
    ("wanted", "fetched"),
    [(None, True), ("bytes=0-9", False), ("bytes=10-", True), ("bytes=-1", True), ("bytes=0-3,5-999999", True)],
)
def test_a_result_is_fetched_once_its_end_is(server: RunningServer, wanted: str | None, fetched: bool) -> None:
    job = server.wait_for(server.submit()["id"])["id"]
    server.client.get(f"/v1/jobs/{job}/result", headers={"Range": wanted} if wanted else {})
    wait_until(lambda: server.service.find(job).fetched == fetched)  # the answer is there a moment sooner


def test_head_is_get_without_a_body(server: RunningServer) -> None:
    job = server.wait_for(server.submit(batch=BATCH + "-head")["id"])["id"]
    addresses = ["/", "/docs", "/static/app.js", "/v1/limits", "/v1/models", "/v1/health", "/v1/openapi.json"]
    addresses += [f"/v1/jobs/{job}", f"/v1/jobs/{job}/result", f"/v1/jobs/{job}/preview", f"/v1/jobs/{job}/events"]
    addresses += [f"/v1/batches/{BATCH}-head/archive", "/v1/jobs/nobody", "/nowhere", "/v1/upscale"]
    for address in addresses:
        head, got = server.client.head(address), server.client.get(address)
        assert (head.status_code, head.content) == (got.status_code, b""), address
        for name in ("content-type", "content-length", "content-disposition", "content-security-policy"):
            assert head.headers.get(name) == got.headers.get(name), (address, name)
    running = server.submit(model="steady")["id"]
    assert server.client.head(f"/v1/jobs/{running}/events").status_code == 200
    assert server.job(running)["state"] != "done", "it does not wait for the end"
    wait_until(lambda: not len(server.service.listeners))
    server.client.delete(f"/v1/jobs/{running}")


def test_a_result_that_was_only_asked_about_is_not_fetched(server: RunningServer) -> None:
    job = server.wait_for(server.submit()["id"])["id"]
    for method, fetched in (("HEAD", False), ("GET", True)):
        server.client.request(method, f"/v1/jobs/{job}/result")
        wait_until(lambda fetched=fetched: server.service.jobs[job].fetched is fetched)


def test_a_batch_is_listed_and_fetched_as_zip(server: RunningServer) -> None:
    names = ["cat.png", "cat.png", "dog.png"]
    for number, name in enumerate(names):
        server.submit(png(8, 8, number), name=name, batch=BATCH)
    wait_until(lambda: all(j["state"] == "done" for j in server.client.get(f"/v1/batches/{BATCH}").json()))
    answer = server.client.get(f"/v1/batches/{BATCH}/archive")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["cat_x4.png", "cat_x4 (2).png", "dog_x4.png"]
        assert read_picture(archive.read("dog_x4.png")).pixels.shape == (32, 32, 3)
    assert answer.headers["content-disposition"] == 'attachment; filename="fourfold.zip"'


def test_a_batch_without_a_result_says_what_would_help(server: RunningServer) -> None:
    def ask(batch: str) -> tuple[int, str, str]:
        answer = server.client.get(f"/v1/batches/{batch}/archive")
        return answer.status_code, answer.json()["type"].rpartition("/")[2], answer.json()["remedy"]

    assert ask("nobody-has-this-batch") == (
        *(409, "no-result"),
        "Check the label; submit pictures with it as the parameter 'batch'.",
    )
    batch = "batch-of-the-tests-4"
    running = server.submit(model="crawl", batch=batch)["id"]
    assert ask(batch)[:2] == (409, "not-finished")
    server.client.delete(f"/v1/jobs/{running}")
    server.wait_for(running)
    assert ask(batch) == (409, "no-result", "See the problem in each job of the batch.")
    done = server.wait_for(server.submit(batch=batch)["id"])["id"]
    server.client.delete(f"/v1/jobs/{done}")
    assert ask(batch)[:2] == (410, "expired")


def test_a_batch_is_cancelled_together(server: RunningServer) -> None:
    batch = "batch-of-the-tests-2"
    for _ in range(3):
        server.submit(model="slow", batch=batch)
    server.client.delete(f"/v1/batches/{batch}")
    wait_until(lambda: {j["state"] for j in server.client.get(f"/v1/batches/{batch}").json()} == {"cancelled"})


def test_waiting_jobs_know_their_place(server: RunningServer) -> None:
    first, second, third = (server.submit(model="slow")["id"] for _ in range(3))
    assert server.job(third)["position"] == server.job(second)["position"] + 1
    for job in (third, second, first):
        server.client.delete(f"/v1/jobs/{job}")
    assert server.wait_for(first)["state"] == "cancelled"


def test_cancelling_a_running_job_stops_it_and_deletes_its_picture(server: RunningServer) -> None:
    job = server.submit(model="slow")["id"]
    server.wait_for(job, "running")
    server.client.delete(f"/v1/jobs/{job}")
    cancelled = server.wait_for(job)
    assert cancelled["state"] == "cancelled"
    assert cancelled["progress"] < 1
    assert not server.service.store.path(job).exists()
    assert server.client.get(f"/v1/jobs/{job}/result").json()["type"] == "/v1/problems/no-result"


def test_deleting_a_finished_job_deletes_its_result(server: RunningServer) -> None:
    job = server.wait_for(server.submit()["id"])["id"]
    assert server.client.delete(f"/v1/jobs/{job}").json()["state"] == "expired"
    assert server.client.get(f"/v1/jobs/{job}/result").status_code == 410
    assert not server.service.store.path(job).exists()


def test_models_limits_health_and_metrics(server: RunningServer) -> None:
    models = server.client.get("/v1/models").json()
    assert [m["name"] for m in models if m["default"]] == ["good"]
    assert server.client.get("/v1/limits").json()["max_pixels"] == 100_000
    health = server.client.get("/v1/health")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    server.wait_for(server.submit()["id"])
    text = server.client.get("/metrics").text
    assert "fourfold_worker_up 1.0" in text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values['fourfold_jobs_finished_total{outcome="done"}']) >= 1
    assert float(values["fourfold_worker_resident_bytes"]) > 1e6


def test_the_openapi_document_names_every_route_and_problem(server: RunningServer) -> None:
    document = server.client.get("/v1/openapi.json").json()
    assert {"/v1/jobs", "/v1/jobs/{job_id}/events", "/v1/upscale", "/v1/batches/{batch}/archive"} <= set(
        document["paths"]
    )
    submit = document["paths"]["/v1/jobs"]["post"]
    assert {"202", "401", "413", "415", "429", "503"} <= set(submit["responses"])
    assert "multipart/form-data" in submit["requestBody"]["content"]
    assert "507" in document["paths"]["/v1/upscale"]["post"]["responses"]
    assert "HTTPValidationError" not in str(document)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400 and (path, status) != ("/v1/health", "503"):
                    assert list(answer["content"]) == ["application/problem+json"], (path, status)
                    assert answer["description"].startswith("`"), (path, status)


def test_the_openapi_document_asks_for_the_token_where_the_server_does() -> None:
    models = {"tiny": "tiny"}
    plain, guarded = (create_app(Settings(models, token=token)).openapi() for token in ("", "t" * 24))
    assert "securitySchemes" not in plain["components"] and "security" not in str(plain["paths"])
    assert guarded["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    asked = {path for path, calls in guarded["paths"].items() if all("security" in call for call in calls.values())}
    assert "/v1/jobs" in asked and "/metrics" in asked and not asked & {"/v1/limits", "/v1/health", "/v1/session"}


def test_events_tell_the_progress_and_end(server: RunningServer) -> None:
    job = server.submit(model="slow")["id"]
    seen = follow(server, f"/v1/jobs/{job}/events")
    progress = [event["progress"] for event in seen]
    assert progress == sorted(progress)
    assert len({p for p in progress if 0 < p < 1}) >= 3
    assert seen[-1]["state"] == "done"


def test_events_of_a_finished_job_end_at_once(server: RunningServer) -> None:
    job = server.wait_for(server.submit()["id"])["id"]
    assert [event["state"] for event in follow(server, f"/v1/jobs/{job}/events")] == ["done"]


def test_events_of_a_batch_tell_of_jobs_to_come(server: RunningServer) -> None:
    batch = "batch-of-the-tests-3"
    with server.client.stream("GET", f"/v1/batches/{batch}/events") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "retry: 2000"
        job = server.submit(batch=batch)["id"]
        for line in lines:
            if line.startswith("data:") and job in line and '"done"' in line:
                break


def test_streams_are_forgotten_when_clients_go(server: RunningServer) -> None:
    job = server.submit(model="slow")["id"]
    with server.client.stream("GET", f"/v1/jobs/{job}/events") as answer:
        next(answer.iter_lines())
    wait_until(lambda: len(server.service.listeners) == 0)
    server.client.delete(f"/v1/jobs/{job}")


def follow(server: RunningServer, address: str) -> list[dict]:
    """Returns the jobs that an event stream tells of, until it ends."""
    text = httpx.get(server.url + address, timeout=30.0, trust_env=False).text
    assert text.endswith("event: end\ndata: {}\n\n")
    import json

    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("event: job")]
    return [json.loads(lines[1].removeprefix("data: ")) for lines in blocks]


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        ("/v1/limits", "GET, HEAD"),
        ("/v1/jobs", "POST"),
        ("/v1/jobs/x", "GET, DELETE, HEAD"),
        ("/v1/batches/0123456789abcdef", "GET, DELETE, HEAD"),
        ("/", "GET, HEAD"),
    ],
)
def test_a_method_that_is_not_taken_is_told_which_ones_are(server: RunningServer, address: str, taken: str) -> None:
    answer = server.client.put(address)
    assert (answer.status_code, answer.headers["allow"]) == (405, taken)


def test_a_head_of_an_archive_fetches_nothing(server: RunningServer) -> None:
    job = server.submit(batch=f"{BATCH}-heads")
    server.wait_for(job["id"])
    for fetched, ask in ((False, server.client.head), (True, server.client.get)):
        answer = ask(f"/v1/batches/{BATCH}-heads/archive")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
        assert "content-length" not in answer.headers
        wait_until(lambda fetched=fetched: server.service.find(str(job["id"])).fetched is fetched)


def test_under_a_path_problems_are_explained_there(start: Callable[..., RunningServer]) -> None:
    server = start(root_path="/upscale")
    job = server.submit(model="error")
    found = [server.client.get("/v1/jobs/nobody").json(), server.wait_for(job["id"])["problem"]]
    assert all(problem["type"].startswith("/upscale/v1/problems/") for problem in found)
    assert server.client.get("/static/none.js").json()["type"] == "/upscale/v1/problems/not-found"
    assert [server.client.get(problem["type"]).json()["type"] for problem in found] == [p["type"] for p in found]
    server.stop()


@pytest.mark.parametrize("kept", ["", "/upscale"])
def test_a_proxy_may_take_the_path_away_or_leave_it(start: Callable[..., RunningServer], kept: str) -> None:
    server = start(root_path="/upscale", token=TOKEN)
    for address in ("/", "/docs", "/static/app.js", "/v1/limits"):
        assert server.client.get(kept + address).status_code == 200, address
    for address in ("/v1/models", "/upscaled/v1/limits", "/v1/jobs/x", "/upscale/upscale/v1/models"):
        answer = server.client.get(kept + address)
        assert (answer.status_code, answer.json()["type"]) == (401, "/upscale/v1/problems/token-needed"), address
    signed_in = server.client.post(f"{kept}/v1/session", headers={"Authorization": f"Bearer {TOKEN}"})
    assert "Path=/upscale;" in signed_in.headers["set-cookie"]
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = server.client.post(f"{kept}/v1/jobs", content=png(), headers=headers)
    assert answer.headers["location"] == f"/upscale/v1/jobs/{answer.json()['id']}"
    assert server.client.get(answer.headers["location"], headers=headers).status_code == 200
    assert server.client.get(f"{kept}/docs/", headers=headers).headers["location"] == f"{server.url}/upscale/docs"
    assert server.client.get("/upscale").headers["location"] == f"{server.url}/upscale/"
    server.stop()
