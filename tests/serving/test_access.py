"""Who may come in, and what every answer carries."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from fourfold.errors import EngineError, UsageError
from fourfold.serving import Limits, Settings
from fourfold.serving.access import PUBLIC, PUBLIC_EXACT, client_of
from fourfold.serving.settings import OWN_PATHS
from fourfold.upscaling import parse_bytes
from tests.serving.conftest import RunningServer, png
from tests.serving.test_bad_input import check_problem

TOKEN = "a-token-of-the-tests-0123456789"
SITE = "https://friend.example"


@pytest.fixture(scope="module")
def guarded(start: Callable[..., RunningServer]) -> RunningServer:
    """A server with a token and one friendly site."""
    return start(token=TOKEN, cors_origins=(SITE,), allowed_hosts=("pictures.example",))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Cookie": "fourfold_session_PORT=forged"},
        {"Cookie": f"fourfold_session_PORT={TOKEN}"},
    ],
)
@pytest.mark.parametrize("address", ["/v1/models", "/metrics", "/v1/jobs/x", "/v1/batches/abcdefghijklmnop/events"])
def test_without_the_token_nothing_is_told(guarded: RunningServer, headers: dict, address: str) -> None:
    named = {name: value.replace("PORT", str(guarded.port)) for name, value in headers.items()}
    answer = guarded.client.get(address, headers=named)
    check_problem(answer, 401, "token-needed")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_without_the_token_no_body_is_read(guarded: RunningServer) -> None:
    check_problem(guarded.client.post("/v1/jobs", content=png()), 401, "token-needed")
    assert not list(guarded.service.store.folder.iterdir())


def test_with_the_token_everything_works(guarded: RunningServer) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.client.post("/v1/upscale", content=png(), headers=headers).status_code == 200


def test_two_servers_on_one_host_do_not_sign_each_others_pages_out(start: Callable[..., RunningServer]) -> None:
    servers = [start(token=token) for token in (TOKEN, TOKEN[::-1])]
    browser = httpx.Client(trust_env=False)
    for server in servers:
        answer = browser.post(
            f"{server.url}/v1/session", headers={"Authorization": f"Bearer {server.service.settings.token}"}
        )
        assert answer.status_code == 204
    assert [browser.get(f"{server.url}/v1/models").status_code for server in servers] == [200, 200]
    browser.close()
    for server in servers:
        server.stop()


def test_a_browser_signs_in_with_a_cookie(guarded: RunningServer) -> None:
    check_problem(guarded.client.post("/v1/session", headers={"Authorization": "Bearer no"}), 401, "token-needed")
    answer = guarded.client.post("/v1/session", headers={"Authorization": f"Bearer {TOKEN}"})
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 204
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert guarded.client.get("/v1/models").status_code == 200  # the client keeps cookies
    guarded.client.cookies.clear()


@pytest.mark.parametrize("address", ["/", "/docs", "/v1/health", "/v1/limits", "/static/app.js", "/v1/openapi.json"])
def test_what_shows_nothing_needs_no_token(guarded: RunningServer, address: str) -> None:
    assert guarded.client.get(address).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:8080", 200),
        ("pictures.example", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("", 421),
        ("[::bad", 421),
    ],
)
def test_only_known_host_names_are_answered(guarded: RunningServer, host: str, status: int) -> None:
    assert guarded.client.get("/v1/health", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Origin": "http://localhost", "Host": "localhost"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://[::1"}, False),
        ({"Origin": "http://localhost:1", "Host": "localhost:2"}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, False),  # a form that posts
        ({"Sec-Fetch-Site": "cross-site", "Origin": SITE}, True),
    ],
)
def test_other_sites_may_not_use_the_server(guarded: RunningServer, headers: dict, allowed: bool) -> None:
    given = {"Authorization": f"Bearer {TOKEN}", **headers}
    answer = guarded.client.post("/v1/upscale", content=png(), headers=given)
    if allowed:
        assert answer.status_code == 200, answer.text
    else:
        check_problem(answer, 403, "cross-site")


def test_a_link_from_another_site_may_open_the_page(guarded: RunningServer) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert guarded.client.get("/", headers=link).status_code == 200
    embedded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    check_problem(guarded.client.get("/", headers=embedded), 403, "cross-site")


def test_cors_is_granted_to_named_sites_only(guarded: RunningServer, server: RunningServer) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    granted = guarded.client.options("/v1/jobs", headers={"Origin": SITE, **asked})
    assert granted.headers["access-control-allow-origin"] == SITE
    refused = guarded.client.options("/v1/jobs", headers={"Origin": "https://evil.example", **asked})
    assert "access-control-allow-origin" not in refused.headers
    by_default = server.client.get("/v1/health", headers={"Origin": SITE})
    assert "access-control-allow-origin" not in by_default.headers


@pytest.mark.parametrize(
    ("method", "header"), [("HEAD", "authorization"), ("GET", "range"), ("GET", "if-range"), ("GET", "if-none-match")]
)
def test_pages_of_named_sites_may_ask_for_results_in_every_way(
    guarded: RunningServer, method: str, header: str
) -> None:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": header}
    granted = guarded.client.options("/v1/jobs/x/result", headers={"Origin": SITE, **asked})
    assert granted.status_code == 200
    answer = guarded.client.get("/v1/health", headers={"Origin": SITE})
    assert {"ETag", "Content-Range"} <= set(answer.headers["access-control-expose-headers"].split(", "))


@pytest.mark.parametrize("address", ["/", "/docs", "/v1/health", "/static/app.js", "/nowhere", "/v1/jobs/x"])
def test_every_answer_carries_the_security_headers(server: RunningServer, address: str) -> None:
    headers = server.client.get(address).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert "server" not in headers


@pytest.mark.parametrize("address", ["/", "/docs"])
def test_pages_load_nothing_from_elsewhere_and_run_nothing_inline(server: RunningServer, address: str) -> None:
    page = server.client.get(address).text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert not re.findall(r"<script(?![^>]*src=)", page)
    assert not re.findall(r"\son\w+=|\sstyle=", page)
    for name in re.findall(r'(?:src|href)="(static/[^"]+)"', page):
        assert server.client.get(f"/{name}").status_code == 200


def test_static_files_name_no_other_host() -> None:
    import fourfold.serving.pages

    for path in (Path(fourfold.serving.pages.__file__).parent / "static").iterdir():
        addresses = set(re.findall(r"https?://[^\s\"')]+", path.read_text()))
        assert addresses <= {"http://www.w3.org/2000/svg"}, path.name


def test_ipv6_clients_are_counted_by_their_network() -> None:
    from starlette.requests import HTTPConnection

    def client(host: str) -> str:
        return client_of(HTTPConnection({"type": "http", "client": (host, 1), "headers": []}))

    assert client("2001:db8::1") == client("2001:db8::2") == "2001:db8::/64"
    assert client("::ffff:10.0.0.1") == client("10.0.0.1") == "10.0.0.1"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models": {}}, "at least one model"),
        ({"default_model": "nobody"}, "is not served"),
        ({"token": "short"}, "fewer than 16"),
        ({"token": "sixteen letters and spaces"}, "spaces"),
        ({"token": "sechzehn-und-mehr-für-alle"}, "beyond ASCII"),
        ({"cors_origins": ("*",)}, "every site"),
        ({"engine": "foo"}, "no engine 'foo'; there are auto, openvino, torch"),
        ({"precision": "fp16"}, "no precision 'fp16'; there are auto, fp32, bf16"),
        ({"max_memory": "1"}, "too small to work in"),
        ({"max_memory": "much"}, "no size"),
    ],
)
def test_bad_settings_are_refused(changes: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Settings(**{"models": {"a": "a"}, **changes})


def test_an_engine_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourfold.upscaling.engines.available", lambda: ["openvino"])
    with pytest.raises(EngineError, match=r"torch engine needs torch.*pip install 'fourfold\[torch\]'"):
        Settings(models={"a": "a"}, engine="torch")
    Settings(models={"a": "a"}, engine="openvino")


def test_limits_that_can_never_be_met_are_refused() -> None:
    with pytest.raises(UsageError, match="job_s"):
        Limits(job_s=0)
    with pytest.raises(UsageError, match=r"may have 9,999 bytes.* can have 10,000; allow more storage.*--max-stored"):
        Limits(upload_bytes=2000, output_px=1000, stored_bytes=9999)
    Limits(upload_bytes=2000, output_px=1000, stored_bytes=10_000)


def test_every_option_of_the_command_is_documented() -> None:
    from typer.main import get_command

    from fourfold.cli.serve import app

    text = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    for parameter in get_command(app).params:
        for option in parameter.opts:
            if option != "--help":
                assert f"`{option}`" in text, option


def test_what_the_docker_recipe_passes_on_is_taken() -> None:
    from typer.main import get_command

    from fourfold.cli.serve import app

    root = Path(__file__).parents[2]
    [line] = [line for line in (root / "Dockerfile").read_text().splitlines() if line.startswith("#     --proxy")]
    arguments = line.lstrip("# ").split()
    assert " ".join(arguments) in " ".join((root / "docs" / "serving.md").read_text().split())
    given = get_command(app).make_context("serve", arguments).params
    assert (given["proxy"], given["secure_cookie"]) == (["172.17.0.1"], True)
    assert given["allow_host"] == ["pictures.example.org"]


def test_what_needs_no_token_is_documented() -> None:
    from typer.main import get_command

    from fourfold.cli.serve import app

    text = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    [paragraph] = [part for part in text.split("\n\n") if part.startswith("With a token")]
    for path in {*PUBLIC, *PUBLIC_EXACT} - {"/", "/v1/problems/", "/v1/session"}:
        assert f"`{path}`" in paragraph, path
    [option] = [parameter for parameter in get_command(app).params if parameter.name == "token"]
    assert "calls must carry, but for what shows no pictures" in option.help


def test_the_servers_own_paths_are_known(server: RunningServer) -> None:
    for own in ("/v1", "/docs/x", "/static", "/metrics/"):
        with pytest.raises(UsageError, match="begins like the server's own"):
            Settings(models={"a": "a"}, root_path=own)
    paths = {*server.client.get("/v1/openapi.json").json()["paths"], *PUBLIC, *PUBLIC_EXACT}
    assert {path.split("/")[1] for path in paths} - {""} == OWN_PATHS


def test_every_route_is_documented(server: RunningServer) -> None:
    text = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    for path in server.client.get("/v1/openapi.json").json()["paths"]:
        first = "/".join(path.split("/")[:3])
        assert first in text, path


@pytest.mark.parametrize(("text", "count"), [("64M", 64 << 20), ("1.5 GiB", 3 << 29), ("100", 100), ("2k", 2048)])
def test_sizes(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "much", "-1M", "1X", "M"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(UsageError, match="no size"):
        parse_bytes(text)
