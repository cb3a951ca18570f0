"""Database engines whose commits wait for the disk: SQLite and PostgreSQL."""

import sqlite3
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from fourfold.errors import StudyStoreError


def make_engine(url: str) -> sa.Engine:
    """Returns an engine whose commits wait for the disk."""
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            url = "postgresql+psycopg://" + url.removeprefix(prefix)
    try:
        backend = sa.make_url(url).get_backend_name()
        if backend not in ("sqlite", "postgresql"):
            raise StudyStoreError(f"no store for {backend!r}; give sqlite:///FILE or postgresql://USER@HOST/DATABASE")
        engine = sa.create_engine(url, pool_pre_ping=True)
    except (SQLAlchemyError, ValueError) as error:
        raise StudyStoreError(
            f"{without_password(url)!r} is no database URL ({error}); "
            "give sqlite:///FILE or postgresql://USER@HOST/DATABASE"
        ) from error
    if backend == "sqlite":
        sa.event.listen(engine, "connect", _set_up_sqlite)
        sa.event.listen(engine, "begin", _begin_immediately)
    return engine


def _set_up_sqlite(connection: Any, _record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we begin transactions ourselves, see below
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=10000")
    with suppress(sqlite3.DatabaseError):  # read-only or damaged: the first transaction says so, with the remedy
        cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # a commit returns when the disk has it, also after a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_immediately(connection: sa.Connection) -> None:
    # A transaction that reads and then writes must own the write lock from its start, or two of them deadlock.
    read_only = connection.get_execution_options().get("sqlite_read", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def without_password(url: str) -> str:
    """Returns a database URL fit to be shown."""
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return "(unreadable URL)"
