"""Everything that can be wrong with a request, and the problem that answers it."""

import asyncio
import gzip
import socket
import struct
import zlib
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from fourfold.imaging import Picture, encode_picture
from fourfold.serving import Limits, uploads
from fourfold.serving.problems import KINDS, ProblemError
from fourfold.serving.uploads import LimitedReceive
from tests.conftest import make_photo
from tests.serving.conftest import RunningServer, png, wait_until


def header_only_png(width: int, height: int) -> bytes:
    """A PNG that announces its size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


def jpeg() -> bytes:
    return encode_picture(Picture(make_photo(32, 32)), "jpg")


#: name -> (body, query, headers, status, problem)
TABLE: dict[str, tuple[bytes, dict, dict, int, str]] = {
    "nothing": (b"", {}, {}, 400, "empty-upload"),
    "text": (b"hello", {}, {}, 415, "unsupported-media"),
    "html as png": (b"<html><script>alert(1)</script>", {}, {"Content-Type": "image/png"}, 415, "unsupported-media"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", {}, {}, 415, "unsupported-media"),
    "pdf": (b"%PDF-1.7\n", {}, {}, 415, "unsupported-media"),
    "zip": (b"PK\x03\x04" + b"\0" * 100, {}, {}, 415, "unsupported-media"),
    "video": (b"\0\0\0\x18ftypmp42" + b"\0" * 40, {}, {}, 415, "unsupported-media"),
    "wrong content type": (png(), {}, {"Content-Type": "text/html"}, 415, "unsupported-media"),
    "form without a file": (
        b"picture=1",
        {},
        {"Content-Type": "application/x-www-form-urlencoded"},
        415,
        "unsupported-media",
    ),
    "broken form": (b"nonsense", {}, {"Content-Type": "multipart/form-data; boundary=x"}, 400, "invalid-request"),
    "form without boundary": (b"--x", {}, {"Content-Type": "multipart/form-data"}, 400, "invalid-request"),
    "png signature alone": (b"\x89PNG\r\n\x1a\n", {}, {}, 422, "unreadable-picture"),
    "png header cut": (png()[:20], {}, {}, 422, "unreadable-picture"),
    "jpeg header cut": (jpeg()[:12], {}, {}, 422, "unreadable-picture"),
    "tiff garbage": (b"II*\0" + b"\xff" * 60, {}, {}, 422, "unreadable-picture"),
    "webp garbage": (b"RIFF\xff\xff\xff\x7fWEBPVP8 " + b"\xff" * 60, {}, {}, 422, "unreadable-picture"),
    "avif garbage": (b"\0\0\0\x18ftypavif" + b"\xff" * 60, {}, {}, 422, "unreadable-picture"),
    "gif garbage": (b"GIF89a" + b"\xff" * 60, {}, {}, 422, "unreadable-picture"),
    "huge header": (header_only_png(200_000, 200_000), {}, {}, 413, "picture-too-large"),
    "too many pixels": (header_only_png(400, 400), {}, {}, 413, "picture-too-large"),
    "too long a side": (header_only_png(3000, 2), {}, {}, 413, "picture-too-large"),
    "no pixels": (header_only_png(0, 10), {}, {}, 422, "unreadable-picture"),
    "too many bytes": (b"\x89PNG\r\n\x1a\n" + b"\0" * 300_000, {}, {}, 413, "upload-too-large"),
    "unknown model": (png(), {"model": "srgna"}, {}, 422, "unknown-model"),
    "model is a path": (png(), {"model": "../../etc/passwd"}, {}, 422, "unknown-model"),
    "model is long": (png(), {"model": "m" * 5000}, {}, 422, "invalid-parameter"),
    "fidelity beyond": (png(), {"fidelity": "1.5"}, {}, 422, "invalid-parameter"),
    "fidelity below": (png(), {"fidelity": "-0.1"}, {}, 422, "invalid-parameter"),
    "fidelity nan": (png(), {"fidelity": "nan"}, {}, 422, "invalid-parameter"),
    "fidelity a word": (png(), {"fidelity": "much"}, {}, 422, "invalid-parameter"),
    "fidelity not offered": (png(), {"fidelity": "0.5"}, {}, 422, "invalid-parameter"),
    "ensemble a word": (png(), {"ensemble": "much"}, {}, 422, "invalid-parameter"),
    "too many pixels for an ensemble": (header_only_png(126, 100), {"ensemble": "1"}, {}, 413, "picture-too-large"),
    "unknown format": (png(), {"format": "bmp"}, {}, 422, "invalid-parameter"),
    "format is a path": (png(), {"format": "../x"}, {}, 422, "invalid-parameter"),
    "short batch": (png(), {"batch": "short"}, {}, 422, "invalid-parameter"),
    "batch is a path": (png(), {"batch": "../" * 8}, {}, 422, "invalid-parameter"),
    "unknown parameter": (png(), {"modle": "good"}, {}, 422, "invalid-parameter"),
    "two models": (png(), {"model": ["good", "slow"]}, {}, 422, "invalid-parameter"),
    "gzip": (gzip.compress(png()), {}, {"Content-Encoding": "gzip"}, 415, "unsupported-encoding"),
    "encoded twice": (png(), {}, {"Content-Encoding": "identity, br"}, 415, "unsupported-encoding"),
    "endless name": (png(), {"name": "n" * 5000}, {}, 422, "invalid-parameter"),
}


@pytest.mark.parametrize("case", TABLE)
@pytest.mark.parametrize("address", ["/v1/jobs", "/v1/upscale"])
def test_bad_submissions(server: RunningServer, case: str, address: str) -> None:
    body, query, headers, status, problem = TABLE[case]
    answer = server.client.post(address, content=body, params=query, headers=headers)
    check_problem(answer, status, problem)
    if problem == "invalid-parameter":  # its remedy points to them
        assert all(error["parameter"] and error["message"] for error in answer.json()["errors"])
        assert answer.json()["errors"]
    assert "/tmp" not in answer.text, "the server's own paths are nobody's business"
    assert not [p for p in server.service.store.folder.iterdir() if p.name not in server.service.jobs]


@pytest.mark.parametrize(
    ("query", "form"),
    [({"format": ["png", "jpg"]}, {}), ({}, {"format": ["png", "jpg"]}), ({"format": "png"}, {"format": "jpg"})],
)
def test_what_is_given_twice_with_different_values_is_named(server: RunningServer, query: dict, form: dict) -> None:
    files = {"picture": ("a.png", png(), "image/png")}
    answer = server.client.post("/v1/jobs", params=query, data=form, files=files)
    check_problem(answer, 422, "invalid-parameter")
    [error] = answer.json()["errors"]
    assert error["parameter"] == "format"
    assert all(words in error["message"] for words in ("'png'", "'jpg'", "give it once"))


def test_an_encoded_body_is_refused_before_it_is_read(server: RunningServer) -> None:
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nContent-Encoding: gzip\r\n\r\n"
    answer = raw(server, head)
    assert b" 415 " in answer.split(b"\r\n")[0]
    assert b"\r\naccept-encoding: identity\r\n" in answer.lower()
    assert b"the Content-Encoding is 'gzip'" in answer


def check_problem(answer: object, status: int, problem: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    body = answer.json()
    assert body["type"] == f"/v1/problems/{problem}", body
    assert body["status"] == status == KINDS[problem].status
    assert body["title"]
    assert body["remedy"]


@pytest.mark.parametrize("kind", ["", "image/jpeg", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_the_content_of_a_body_counts_not_its_type(server: RunningServer, kind: str) -> None:
    """The last is what ``curl --data-binary @cat.png`` says."""
    headers = {"Content-Type": kind} if kind else {}
    answer = server.client.post("/v1/upscale", content=png(4, 4), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")


@pytest.mark.parametrize("part", [0.3, 0.9])
@pytest.mark.parametrize("format", ["png", "jpg", "webp", "tiff"])
def test_truncated_pictures_fail_or_are_refused(server: RunningServer, format: str, part: float) -> None:
    whole = encode_picture(Picture(make_photo(64, 64)), format)
    answer = server.client.post("/v1/jobs", content=whole[: int(len(whole) * part)])
    if answer.status_code == 202:
        job = server.wait_for(answer.json()["id"])
        assert job["state"] == "failed"
        assert job["problem"]["type"] == "/v1/problems/unreadable-picture"
        assert "/tmp" not in job["problem"]["detail"]
    else:
        check_problem(answer, 422, "unreadable-picture")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\cat.png", "cat.png"),
        ("a\r\nSet-Cookie: x=1.png", "aSet-Cookie_ x=1.png"),
        ("<img src=x onerror=alert(1)>.png", "_img src=x onerror=alert(1)_.png"),
        ("gnp.\u202etac.png", "gnp.tac.png"),
        ("n" * 3000 + ".png", "n" * 116 + ".png"),
        ("", "picture"),
        (" .. ", "picture"),
    ],
)
def test_names_are_cleaned_and_never_used_as_paths(server: RunningServer, given: str, shown: str) -> None:
    job = server.wait_for(server.submit(png(4, 4), name=given)["id"])
    assert (job["state"], job["name"]) == ("done", shown)
    folder = server.service.store.path(job["id"])
    assert {path.name for path in folder.iterdir()} <= {"result.png", "source-preview.webp"}
    result = server.client.get(f"/v1/jobs/{job['id']}/result")
    assert "set-cookie" not in result.headers


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("a %22fine%22 day.png", "a _fine_ day.png"),
        ("a%0D%0ASet-Cookie: x=1.png", "aSet-Cookie_ x=1.png"),
        ("%22%22.png", "__.png"),
        ("100%25%20%2e%2f%0d%5C.png", "100%25%20%2e%2f%0d%5C.png"),  # browsers write no others, so these are names
        ("%2522.png", "%2522.png"),
    ],
)
def test_file_names_are_read_as_forms_write_them(server: RunningServer, written: str, shown: str) -> None:
    head = f'Content-Disposition: form-data; name="picture"; filename="{written}"'
    body = b"\r\n".join([b"--x", head.encode(), b"", png(4, 4), b"--x--", b""])
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = server.client.post("/v1/jobs", content=body, headers=headers)
    assert (answer.status_code, answer.json()["name"]) == (202, shown)


@pytest.mark.parametrize(
    ("method", "address", "status", "problem"),
    [
        ("GET", "/v1/jobs/nobody", 404, "unknown-job"),
        ("DELETE", "/v1/jobs/nobody", 404, "unknown-job"),
        ("GET", "/v1/jobs/nobody/result", 404, "unknown-job"),
        ("GET", "/v1/jobs/nobody/preview", 404, "unknown-job"),
        ("GET", "/v1/jobs/nobody/preview?of=soul", 422, "invalid-parameter"),
        ("GET", "/v1/jobs/nobody/events", 404, "unknown-job"),
        ("GET", "/v1/jobs/..%2f..%2fetc%2fpasswd/result", 404, "not-found"),
        ("GET", "/v1/batches/short", 422, "invalid-parameter"),
        ("GET", "/v1/batches/nobody-has-this-batch/archive", 409, "no-result"),
        ("GET", "/v1/jobs", 405, "method-not-allowed"),
        ("PUT", "/v1/upscale", 405, "method-not-allowed"),
        ("GET", "/nowhere", 404, "not-found"),
        ("GET", "/v1/problems/nobodys", 404, "not-found"),
        ("GET", "/static/../app.py", 404, "not-found"),
        ("GET", "/static/%2e%2e/app.py", 404, "not-found"),
    ],
)
def test_bad_addresses(server: RunningServer, method: str, address: str, status: int, problem: str) -> None:
    check_problem(server.client.request(method, address), status, problem)


def test_a_result_that_is_not_ready(server: RunningServer) -> None:
    job = server.submit(model="slow")["id"]
    answer = server.client.get(f"/v1/jobs/{job}/result")
    check_problem(answer, 409, "not-finished")
    assert int(answer.headers["retry-after"]) >= 1
    server.client.delete(f"/v1/jobs/{job}")


def test_the_synchronous_call_takes_small_pictures_only(server: RunningServer) -> None:
    check_problem(server.client.post("/v1/upscale", content=png(200, 100)), 413, "picture-too-large")


def test_a_body_larger_than_it_says_is_cut_off_while_it_streams(server: RunningServer) -> None:
    def endless():
        yield b"\x89PNG\r\n\x1a\n"
        for _ in range(100):
            yield b"\0" * 65536

    answer = server.client.post("/v1/jobs", content=endless())  # chunked: no Content-Length at all
    check_problem(answer, 413, "upload-too-large")


def test_a_lying_content_length_is_refused_before_the_body(server: RunningServer) -> None:
    answer = raw(server, b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\nabc")
    assert b" 413 " in answer.split(b"\r\n")[0]
    assert b"upload-too-large" in answer


def test_a_body_that_stops_coming_is_given_up(server: RunningServer) -> None:
    answer = raw(server, b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert b"nothing came for 2 s; 3 bytes had come" in answer
    assert not server.service._arriving


@pytest.mark.parametrize(
    ("upload_bytes", "bytes_per_s", "said"),
    [
        (64 << 20, 40 * 1024, None),
        (64 << 20, 20 * 1024, "it took over 2048 s; 42024960 bytes had come"),
        (1 << 20, 1024, "it took over 600 s; 614400 bytes had come"),
    ],
)
def test_a_steady_body_has_as_long_as_the_largest_one_may_take(
    monkeypatch: pytest.MonkeyPatch, upload_bytes: int, bytes_per_s: int, said: str | None
) -> None:
    now = [0.0]
    monkeypatch.setattr(uploads, "time", SimpleNamespace(monotonic=lambda: now[0]))

    async def receive() -> dict:
        now[0] += 12.0
        return {"type": "http.request", "body": bytes(12 * bytes_per_s), "more_body": True}

    async def all_of_it() -> None:
        limited = LimitedReceive(receive, Limits(upload_bytes=upload_bytes))
        while limited.count + 12 * bytes_per_s <= upload_bytes:
            await limited()

    with pytest.raises(ProblemError, match=said) if said else nullcontext():
        asyncio.run(all_of_it())


def test_a_client_that_hangs_up_leaves_nothing(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
    wait_until(lambda: not server.service._arriving)
    wait_until(lambda: not [p for p in server.service.store.folder.iterdir() if p.name not in server.service.jobs])


def raw(server: RunningServer, request: bytes) -> bytes:
    """Sends bytes and returns what comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        line.sendall(request)
        answer = b""
        while piece := line.recv(65536):
            answer += piece
            if b"}" in answer:
                break
    return answer
