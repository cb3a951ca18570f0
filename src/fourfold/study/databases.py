"""Database engines: such as write, and wait for the disk, and such as only read; SQLite and PostgreSQL."""

import os
import shutil
import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from fourfold.errors import StudyStoreError
from fourfold.places import is_file, why_unseen

#: Where a SQLite file says by which version it is written and read: 2 for WAL, in which it may lack what is in `-wal`.
_VERSIONS = slice(18, 20)


def make_engine(url: str | sa.URL) -> sa.Engine:
    """Returns an engine whose commits wait for the disk.

    Raises:
        StudyStoreError: if the URL is none, or of another kind of database.
    """
    engine = _engine(_parsed(url))
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_up_sqlite)
        sa.event.listen(engine, "begin", _begin_immediately)
    return engine


def make_reading_engine(url: str | sa.URL) -> sa.Engine:
    """Returns an engine to read with: it makes no database, changes none, and leaves nothing beside a SQLite file.

    A SQLite file may be closed to writers, as may its folder, and it may be in use by a server.

    Raises:
        StudyStoreError: if the URL is none, of another kind of database, or no SQLite file is there.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        return _engine(parsed)
    if parsed.query.get("uri"):
        return _reading(parsed.update_query_dict({"mode": "ro"}))
    path = _existing(parsed)
    if not _has_bytes(f"{path}-wal"):
        # Nobody has a WAL database open: all is in the file. Opened in any other way it would get files beside it.
        return _reading(_address(path, "immutable=1" if _is_wal(path) else "mode=ro"))
    if Path(f"{path}-shm").exists():
        return _reading(_address(path, "mode=ro"))
    # A copy that was taken without `-shm`, which SQLite would have to make.
    copies = Path(tempfile.mkdtemp(prefix="fourfold-"))
    try:
        for ending in ("", "-wal"):
            shutil.copyfile(f"{path}{ending}", copies / f"ratings{ending}")
    except OSError as error:
        shutil.rmtree(copies, ignore_errors=True)
        raise StudyStoreError(f"cannot read the ratings store {path}: {error.strerror}") from error
    engine = _reading(_address(copies / "ratings", "mode=ro"))
    sa.event.listen(engine, "engine_disposed", lambda _: shutil.rmtree(copies, ignore_errors=True))
    return engine


def without_password(url: str | sa.URL) -> str:
    """Returns a database URL fit to be shown; a SQLite file by its path as it is."""
    try:
        parsed = sa.make_url(url)
    except (SQLAlchemyError, ValueError):
        return "(unreadable URL)"
    if parsed.get_backend_name() == "sqlite" and parsed.database and not parsed.query:
        return parsed.database
    return parsed.render_as_string(hide_password=True)


def store_error(shown_url: str, error: SQLAlchemyError) -> StudyStoreError:
    """Returns what failed in a database, and what would help."""
    cause = str(error.orig if isinstance(error, DBAPIError) else error).strip().splitlines()
    text = cause[0] if cause else type(error).__name__
    remedy = "try again"
    if "readonly" in text or "read-only" in text:
        remedy = "make the file and its folder writable, or give another --database"
    elif "full" in text or "No space" in text:
        remedy = "free some space; every rating that was acknowledged is safe"
    elif "unable to open" in text:
        remedy = "its folder must exist and be writable"
    elif "not a database" in text or "malformed" in text:
        remedy = "restore it from a copy, or give another --database"
    elif "connection" in text:
        remedy = "check that the server runs and that the URL, user and password are right"
    return StudyStoreError(f"the ratings store {shown_url} failed: {text}; {remedy}")


def _parsed(url: str | sa.URL) -> sa.URL:
    if isinstance(url, str):
        for prefix in ("postgresql://", "postgres://"):
            if url.startswith(prefix):
                url = "postgresql+psycopg://" + url.removeprefix(prefix)
    try:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
    except (SQLAlchemyError, ValueError) as error:
        raise _no_url(url, error) from error
    if backend not in ("sqlite", "postgresql"):
        raise StudyStoreError(f"no store for {backend!r}; give sqlite:///FILE or postgresql://USER@HOST/DATABASE")
    return parsed


def _engine(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(url, pool_pre_ping=True)
    except (SQLAlchemyError, ValueError) as error:
        raise _no_url(url, error) from error


def _no_url(url: str | sa.URL, error: Exception) -> StudyStoreError:
    return StudyStoreError(
        f"{without_password(url)!r} is no database URL ({error}); "
        "give sqlite:///FILE or postgresql://USER@HOST/DATABASE"
    )


def _reading(url: sa.URL) -> sa.Engine:
    engine = _engine(url)
    sa.event.listen(engine, "connect", _set_up_reading)
    sa.event.listen(engine, "begin", _begin_immediately)
    return engine


def _existing(url: sa.URL) -> Path:
    """Returns the file of a SQLite database, links followed: what SQLite keeps beside it lies where they lead."""
    path = Path(os.path.realpath(url.database or ""))
    if not url.database or not is_file(path):
        reason = why_unseen(path)
        raise StudyStoreError(
            f"there is no ratings store at {without_password(url)}{f' ({reason})' if reason else ''}; "
            "give the --database that the study is served with"
        )
    return path


def _address(path: Path, how: str) -> sa.URL:
    name, _, value = how.partition("=")
    return sa.URL.create("sqlite", database=f"file:{quote(os.fsencode(path))}", query={name: value, "uri": "true"})


def _has_bytes(path: str) -> bool:
    with suppress(OSError):
        return Path(path).stat().st_size > 0
    return False


def _is_wal(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(_VERSIONS.stop)[_VERSIONS] == b"\x02\x02"
    return False


def _set_up_sqlite(connection: Any, record: ConnectionPoolEntry) -> None:
    _set_up_reading(connection, record)
    cursor = connection.cursor()
    with suppress(sqlite3.DatabaseError):  # read-only or damaged: the first transaction says so, with the remedy
        cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # a commit returns when the disk has it, also after a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _set_up_reading(connection: Any, _record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we begin transactions ourselves, see below
    connection.execute("PRAGMA busy_timeout=10000")


def _begin_immediately(connection: sa.Connection) -> None:
    # A transaction that reads and then writes must own the write lock from its start, or two of them deadlock.
    read_only = connection.get_execution_options().get("sqlite_read", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
