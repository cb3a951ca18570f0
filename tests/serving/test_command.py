"""The command: what is wrong is said before it is announced that anything is served."""

import socket
from pathlib import Path

import pytest

from fourfold.serving.store import Store
from tests.cli.running import Cli
from tests.serving.conftest import png


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(monkeypatch, capsys)


_EXAMPLE = "pictures.example.org"

#: option, value and what is wrong with it
BAD_OPTIONS = [
    ("--engine", "foo", "no engine 'foo'; there are auto, openvino, torch"),
    ("--precision", "fp16", "no precision 'fp16'; there are auto, fp32, bf16"),
    ("--max-memory", "1", "a limit of 1 is too small to work in; give at least 16M"),
    ("--max-memory", "much", "'much' is no size; write it like 800M or 1.5G"),
    ("--max-upload", "much", "'much' is no size; write it like 800M or 1.5G"),
    ("--default-model", "nobody", "the default model 'nobody' is not served; there are tiny"),
    ("--root-path", "upscale", "--root-path upscale: a path begins with a slash, such as /upscale"),
    ("--root-path", "/v1/x", "the root path /v1/x begins like the server's own addresses; choose another"),
    ("--cors-origin", "example.com", "--cors-origin example.com: an origin looks like https://example.com"),
    ("--proxy", "localhost", "--proxy localhost: an address or a network, such as 127.0.0.1 or 172.16.0.0/12, or *"),
    (
        "--proxy",
        "10.0.0.1:80",
        "--proxy 10.0.0.1:80: an address or a network, such as 127.0.0.1 or 172.16.0.0/12, or *",
    ),
    *(
        ("--allow-host", name, f"--allow-host {name}: a name without http:// and without a port, such as {_EXAMPLE}")
        for name in ("https://example.org", "example.org:8443", "example.org/upscale", "a b")
    ),
    ("--token", "short", "the token has fewer than 16 characters; make one with: openssl rand -hex 24"),
]


@pytest.mark.parametrize(("option", "value", "words"), BAD_OPTIONS)
def test_bad_options_end_it_at_once(
    cli: Cli, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, option: str, value: str, words: str
) -> None:
    # one that is overlooked must fail here, not serve for ever
    monkeypatch.setattr("fourfold.serving.running.run_server", lambda *_, **__: pytest.fail("it serves"))
    finished = cli("serve", "--port", 0, "-n", tiny_weights, option, value)
    assert (finished.code, finished.out, finished.err) == (2, "", f"error: {words}\n")


@pytest.mark.parametrize(("option", "value", "words"), BAD_OPTIONS[:4])
def test_upscale_says_the_same(
    cli: Cli, tiny_weights: Path, tmp_path: Path, option: str, value: str, words: str
) -> None:
    (tmp_path / "cat.png").write_bytes(png())
    finished = cli("upscale", tmp_path / "cat.png", "-n", tiny_weights, option, value)
    assert (finished.code, finished.err) == (2, f"error: {words}\n")


def test_a_state_folder_that_is_not_free_ends_it_at_once(cli: Cli, tiny_weights: Path, tmp_path: Path) -> None:
    def serve(state: Path) -> str:
        finished = cli("serve", "--port", 0, "-n", tiny_weights, "--state", state)
        assert finished.code == 2
        return finished.err

    (tmp_path / "thesis.tex").write_text("dear")
    assert serve(tmp_path) == (
        f"error: the state folder {tmp_path} holds something else: thesis.tex; name a folder of its own\n"
    )
    used = Store(tmp_path / "state")
    assert serve(used.folder) == (
        f"error: another server uses the state folder {used.folder}; give each server its own\n"
    )
    used.close()


def test_a_port_that_is_taken_ends_it_at_once(cli: Cli, tiny_weights: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        finished = cli("serve", "--port", port, "-n", tiny_weights, "--state", tmp_path / "state")
    assert finished.code == 2
    assert finished.err.startswith(f"error: cannot listen at 127.0.0.1, port {port}: ")
    assert not (tmp_path / "state").exists()
