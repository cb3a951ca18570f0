"""``fourfold serve``: the web page and the HTTP API."""

import ipaddress
import logging
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from fourfold.errors import UsageError

app = typer.Typer(add_completion=False)

_WHERE, _WHO, _HOW, _LIMITS = "Where", "Who may come in", "How to upscale", "Limits"


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 for all of this machine's.", rich_help_panel=_WHERE)
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any.", rich_help_panel=_WHERE)] = 8080,
    root_path: Annotated[
        str, typer.Option(help="Path that a reverse proxy puts the server under.", rich_help_panel=_WHERE)
    ] = "",
    state: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps jobs and results over a restart.", rich_help_panel=_WHERE),
    ] = None,
    token: Annotated[
        str,
        typer.Option(
            envvar="FOURFOLD_TOKEN",
            show_envvar=True,
            help="Bearer token that calls must carry, but for what shows no pictures; better given in the environment.",
            rich_help_panel=_WHO,
        ),
    ] = "",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Host name to answer to, beside localhost; '*' for any.", rich_help_panel=_WHO),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(help="Other site, such as https://example.com, that may call the API.", rich_help_panel=_WHO),
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(help="Address of a reverse proxy whose X-Forwarded-For is believed.", rich_help_panel=_WHO),
    ] = None,
    secure_cookie: Annotated[
        bool, typer.Option(help="Mark the sign-in cookie Secure (behind TLS).", rich_help_panel=_WHO)
    ] = False,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-n", help="Shipped name or weights file to serve; all shipped ones.", rich_help_panel=_HOW
        ),
    ] = None,
    default_model: Annotated[
        str, typer.Option(help="Model used when a request names none.", rich_help_panel=_HOW)
    ] = "",
    engine: Annotated[str, typer.Option(help="auto, openvino or torch.", rich_help_panel=_HOW)] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.", rich_help_panel=_HOW)] = "auto",
    max_memory: Annotated[str, typer.Option(help="Memory that one upscale may take.", rich_help_panel=_HOW)] = "1G",
    max_upload: Annotated[str, typer.Option(help="Largest file.", rich_help_panel=_LIMITS)] = "64M",
    max_megapixels: Annotated[
        float, typer.Option(min=0.001, help="Largest picture, by its header.", rich_help_panel=_LIMITS)
    ] = 12.5,
    max_side: Annotated[int, typer.Option(min=1, help="Longest side, in pixels.", rich_help_panel=_LIMITS)] = 16_000,
    jobs_per_client: Annotated[
        int, typer.Option(min=1, help="Jobs of one client that wait or run.", rich_help_panel=_LIMITS)
    ] = 16,
    queue_length: Annotated[int, typer.Option(min=1, help="Jobs that wait.", rich_help_panel=_LIMITS)] = 64,
    job_time: Annotated[
        float, typer.Option(min=1, help="Seconds that a job may run.", rich_help_panel=_LIMITS)
    ] = 900.0,
    wait_time: Annotated[
        float, typer.Option(min=1, help="Seconds that a job may wait.", rich_help_panel=_LIMITS)
    ] = 3600.0,
    keep: Annotated[
        float, typer.Option(min=1, help="Seconds that a result is kept.", rich_help_panel=_LIMITS)
    ] = 3600.0,
    max_stored: Annotated[str, typer.Option(help="Most bytes of all pictures.", rich_help_panel=_LIMITS)] = "4G",
    sync_megapixels: Annotated[
        float,
        typer.Option(min=0.001, help="Largest picture for the synchronous call.", rich_help_panel=_LIMITS),
    ] = 0.3,
    sync_time: Annotated[
        float, typer.Option(min=1, help="Seconds that the synchronous call waits.", rich_help_panel=_LIMITS)
    ] = 60.0,
    worker_memory: Annotated[
        str, typer.Option(help="Memory at which the worker is stopped, such as 6G.", rich_help_panel=_LIMITS)
    ] = "",
    drain: Annotated[
        float, typer.Option(min=0, help="Seconds that a stop waits for running jobs.", rich_help_panel=_LIMITS)
    ] = 30.0,
) -> None:
    """Serve the upscaling page and the HTTP API; on this machine only, unless told otherwise.

    The page is at the address that is printed, the API's documentation at /docs. See docs/serving.md.
    """
    from fourfold.serving import Limits, Settings, is_loopback, listen, run_server, served_models
    from fourfold.serving.settings import SCALE
    from fourfold.upscaling import parse_bytes
    from fourfold.weights import ALIASES

    limits = Limits(
        upload_bytes=parse_bytes(max_upload),
        input_px=round(max_megapixels * 1e6),
        output_px=SCALE**2 * round(max_megapixels * 1e6),
        side_px=max_side,
        jobs_per_client=jobs_per_client,
        queue_length=queue_length,
        job_s=job_time,
        wait_s=wait_time,
        retention_s=keep,
        stored_bytes=parse_bytes(max_stored),
        sync_px=round(sync_megapixels * 1e6),
        sync_s=sync_time,
        worker_bytes=parse_bytes(worker_memory) if worker_memory else 0,
    )
    proxies = tuple(_proxy(text) for text in proxy or ())
    hosts = tuple(allow_host or (() if is_loopback(host) else ("*",)))
    settings = Settings(
        models=served_models(model or []),
        default_model=ALIASES.get(default_model, default_model),
        limits=limits,
        token=token,
        allowed_hosts=tuple(_host(name) for name in hosts),
        cors_origins=tuple(_origin(text) for text in cors_origin or ()),
        state=state,
        drain_s=drain,
        engine=engine,
        precision=precision,
        max_memory=max_memory,
        secure_cookie=secure_cookie,
        root_path=_path(root_path),
    )
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    with listen(host, port) as listening:
        address = listening.getsockname()
        run_server(
            settings,
            listening,
            proxies=proxies,
            announce=lambda: _announce(address, settings),
        )


def _origin(text: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path not in ("", "/"):
        raise UsageError(f"--cors-origin {text}: an origin looks like https://example.com")
    return f"{parts.scheme}://{parts.netloc}".lower()


def _host(text: str) -> str:
    name = text.lower()
    bare = name.strip("[]")
    if name != "*" and (not name or re.search(r"[/\s,@]", name) or (":" in bare and not _is_network(bare))):
        raise UsageError(
            f"--allow-host {text}: a name without http:// and without a port, such as pictures.example.org"
        )
    return bare


def _proxy(text: str) -> str:
    if text != "*" and not _is_network(text):
        raise UsageError(f"--proxy {text}: an address or a network, such as 127.0.0.1 or 172.16.0.0/12, or *")
    return text


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _path(text: str) -> str:
    path = text.rstrip("/")
    if path and not path.startswith("/"):
        raise UsageError(f"--root-path {text}: a path begins with a slash, such as /upscale")
    return path


def _announce(address: tuple[Any, ...], settings: Any) -> None:
    from fourfold.serving import is_loopback

    host = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
    typer.echo(f"serving {', '.join(settings.models)} at http://{host}:{address[1]}{settings.root_path}/", err=True)
    if not is_loopback(str(address[0])) and not settings.token:
        typer.echo(
            "note: everybody who reaches this address may use it; set FOURFOLD_TOKEN to ask for a token", err=True
        )
