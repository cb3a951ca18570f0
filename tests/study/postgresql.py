"""A real PostgreSQL server for tests: its own data folder, its own port, an unprivileged user, gone afterwards."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def find_binaries() -> Path | None:
    """The folder with initdb and postgres: on the PATH, or where Debian and others put them."""
    on_path = shutil.which("initdb")
    places = [Path(on_path).parent] if on_path else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    places += sorted(Path("/usr").glob("pgsql-*/bin"), reverse=True)
    return next((p for p in places if (p / "initdb").is_file() and (p / "postgres").is_file()), None)


@contextmanager
def running_server() -> Iterator[str]:
    """Gives the URL of a fresh server's database; skips where PostgreSQL or a user to run it is missing."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server found (initdb, postgres); install the package postgresql to run this test")
    user = _unprivileged_user()
    home = Path(tempfile.mkdtemp(prefix="fourfold-pg-"))  # not under pytest's folder, which others may not enter
    try:
        if user is not None:
            os.chown(home, pwd.getpwnam(user).pw_uid, -1)
        home.chmod(0o700)
        _run(
            [binaries / "initdb", "-D", home / "data", "-U", "study", "-A", "trust", "--no-locale", "-E", "UTF8"], user
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {home}"
        control = [binaries / "pg_ctl", "-D", home / "data", "-w", "-t", "60"]
        _run([*control, "-l", home / "log", "-o", options, "start"], user)
        try:
            yield f"postgresql://study@127.0.0.1:{port}/postgres"
        finally:
            _run([*control, "-m", "immediate", "stop"], user)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _unprivileged_user() -> str | None:
    """The user to run as: ourselves (None) unless we are root, as which PostgreSQL does not run."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    pytest.skip("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _run(command: list[object], user: str | None) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        user=user,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout
