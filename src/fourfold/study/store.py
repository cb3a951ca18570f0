"""Where ratings are kept: SQLite in the study's folder, or PostgreSQL by URL; a rating is on disk before it returns.

Ratings are only ever added: an undo marks a rating as undone and keeps it. Each rating carries a nonce that the page
made up, so that a page which lost the answer can send the same rating again without it counting twice.
"""

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from fourfold.errors import RatingRefusedError, StudyStoreError
from fourfold.study.databases import make_engine, make_reading_engine, store_error, without_password
from fourfold.study.design import SCALE, Showing
from fourfold.study.schema import (
    SCHEMA_VERSION,
    events_table,
    meta_table,
    raters_table,
    ratings_table,
    tables,
)

#: No honest page sends more; the bound keeps a hostile one from filling the disk.
EVENTS_PER_RATER = 10_000

_NONCE = re.compile(r"[A-Za-z0-9_-]{8,64}")


@dataclass(frozen=True)
class Rater:
    """One rater as stored."""

    id: str
    name: str
    enrolment: str
    created_at: str
    revoked_at: str | None


@dataclass(frozen=True)
class Progress:
    """How far a rater has come: ratings that count, the last score, and whether it can be undone."""

    done: int
    last_score: int | None = None
    can_undo: bool = False


@dataclass(frozen=True)
class Answer:
    """What a rater's page sends for one picture."""

    score: int
    nonce: str
    response_ms: int | None = None
    magnification: int | None = None


@dataclass(frozen=True)
class Rating:
    """One rating that counts."""

    rater: str
    position: int
    stimulus: str
    kind: str
    score: int
    response_ms: int | None
    magnification: int | None
    rated_at: str


class RatingStore:
    """Keeps the ratings of one study; safe for several threads and several processes."""

    def __init__(self, url: str | sa.URL, *, study_id: str, digest: str, read_only: bool = False) -> None:
        """Opens the store, makes its tables when there are none, and checks that it belongs to this study.

        Args:
            url: ``sqlite:///path`` or ``postgresql://user@host/database``.
            study_id: identifier of the study.
            digest: digest of its manifest.
            read_only: make and change nothing; then the store must be there.

        Raises:
            StudyStoreError: if it cannot be opened or written, is from a newer Fourfold, or of another study; if it is
                only to be read and not there.
        """
        self._shown_url = without_password(url)
        self._engine = make_reading_engine(url) if read_only else make_engine(url)
        # SQLite has one writer at a time, and those who wait ask again now and then: under load, some in vain
        self._in_turn = threading.Lock() if self._engine.dialect.name == "sqlite" else nullcontext()
        try:
            if read_only:
                self._check(study_id, digest)
            else:
                self._prepare(study_id, digest)
        except StudyStoreError:
            self._engine.dispose()
            raise

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def enrol(self, rater: str, name: str, enrolment: str, *, limit: int | None = None) -> Rater:
        """Returns a rater, added if new; ``limit`` bounds how many raters of this kind of enrolment there may be.

        Raises:
            RatingRefusedError: if the limit is reached.
        """
        try:
            return self._enrol(rater, name, enrolment, limit)
        except StudyStoreError as error:
            # PostgreSQL: of two first requests of one rater that come at once, the other one was faster
            there = self.rater(rater) if isinstance(error.__cause__, IntegrityError) else None
            if there is None:
                raise
            return there

    def _enrol(self, rater: str, name: str, enrolment: str, limit: int | None) -> Rater:
        with self._transaction() as connection:
            if limit is not None:
                # PostgreSQL: two people who join at once must not both take the last place, nor one of them two
                connection.execute(sa.select(meta_table).where(meta_table.c.name == "digest").with_for_update())
            row = connection.execute(sa.select(raters_table).where(raters_table.c.id == rater)).first()
            if row is not None:
                return Rater(*row)
            if limit is not None and _enrolled(connection, enrolment) >= limit:
                message = "this study has all the raters it looks for; thank you"
                raise RatingRefusedError(message, "forbidden")
            new = Rater(rater, name, enrolment, _now(), None)
            connection.execute(raters_table.insert().values(**vars(new)))
            return new

    def enrolled(self, enrolment: str) -> int:
        """Returns how many raters came by one kind of enrolment; whoever was shut out leaves his place to another."""
        with self._reading() as connection:
            return _enrolled(connection, enrolment)

    def rater(self, rater: str) -> Rater | None:
        """Returns a rater, or None."""
        with self._reading() as connection:
            row = connection.execute(sa.select(raters_table).where(raters_table.c.id == rater)).first()
            return Rater(*row) if row is not None else None

    def raters(self) -> list[Rater]:
        """Returns all raters in the order in which they came."""
        with self._reading() as connection:
            query = sa.select(raters_table).order_by(raters_table.c.created_at, raters_table.c.id)
            return [Rater(*row) for row in connection.execute(query)]

    def set_revoked(self, rater: str, revoked: bool) -> None:
        """Shuts a rater out (the ratings stay), or lets him in again.

        Raises:
            RatingRefusedError: if there is no such rater.
        """
        with self._transaction() as connection:
            change = (
                raters_table.update().where(raters_table.c.id == rater).values(revoked_at=_now() if revoked else None)
            )
            if connection.execute(change).rowcount != 1:
                raise RatingRefusedError(f"no rater {rater!r} in this study")

    def progress(self, rater: str) -> Progress:
        """Returns how far a rater has come."""
        with self._reading() as connection:
            return _progress(connection, rater)

    def record(self, rater: str, order: Sequence[Showing], position: int, answer: Answer) -> Progress:
        """Keeps one rating and returns how far the rater has come; when this returns, the rating is on disk.

        The same answer sent again (same nonce, position and score) is accepted and counts once.

        Raises:
            RatingRefusedError: if the score is out of range, the position was rated already or is not the next one,
                the rater has finished, was shut out, or is not known.
            StudyStoreError: if it could not be kept.
        """
        _check_answer(answer)
        with self._transaction() as connection:
            _lock(connection, rater)
            known = sa.select(ratings_table).where(
                ratings_table.c.rater == rater, ratings_table.c.nonce == answer.nonce
            )
            earlier = connection.execute(known).first()
            if earlier is not None:
                if earlier.position == position and earlier.score == answer.score and earlier.undone_at is None:
                    return _progress(connection, rater)
                raise RatingRefusedError("this answer was given before and does not count again")
            showing = _next_showing(_progress(connection, rater).done, order, position)
            if showing.anchor is not None and answer.score != showing.anchor:
                raise RatingRefusedError(f"in the calibration this picture stands for {showing.anchor}", "range")
            connection.execute(
                ratings_table.insert().values(
                    rater=rater,
                    position=position,
                    stimulus=showing.id,
                    kind=showing.kind,
                    rated_at=_now(),
                    **vars(answer),
                )
            )
            return Progress(position + 1, answer.score, True)

    def undo(self, rater: str, position: int) -> Progress:
        """Takes back the last rating, once, and returns how far the rater has come now.

        Raises:
            RatingRefusedError: if ``position`` is not the last rating, or an undo came just before.
        """
        with self._transaction() as connection:
            _lock(connection, rater)
            progress = _progress(connection, rater)
            if position != progress.done - 1:
                raise RatingRefusedError("only the last rating can be taken back")
            if not progress.can_undo:
                raise RatingRefusedError("only one rating can be taken back; rate this picture first")
            change = (
                ratings_table.update()
                .where(
                    ratings_table.c.rater == rater,
                    ratings_table.c.position == position,
                    ratings_table.c.undone_at.is_(None),
                )
                .values(undone_at=_now())
            )
            connection.execute(change)
            return _progress(connection, rater)

    def note(self, rater: str, what: str, details: dict[str, Any]) -> None:
        """Keeps an event that is no rating: the screen, a pause, a return.

        Raises:
            RatingRefusedError: if this rater has sent more events than any honest page would.
        """
        with self._transaction() as connection:
            count = sa.select(sa.func.count()).select_from(events_table).where(events_table.c.rater == rater)
            if connection.execute(count).scalar_one() >= EVENTS_PER_RATER:
                raise RatingRefusedError("too many events from this page", "forbidden")
            connection.execute(events_table.insert().values(rater=rater, at=_now(), what=what, details=details))

    def events(self) -> list[dict[str, Any]]:
        """Returns all events in order: rater, at, what, details."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(events_table).order_by(events_table.c.id)).mappings()
            return [{key: row[key] for key in ("rater", "at", "what", "details")} for row in rows]

    def ratings(self) -> list[Rating]:
        """Returns all ratings that count, by rater and position."""
        columns = [ratings_table.c[name] for name in Rating.__dataclass_fields__]
        query = sa.select(*columns).where(ratings_table.c.undone_at.is_(None))
        with self._reading() as connection:
            return [
                Rating(*row)
                for row in connection.execute(query.order_by(ratings_table.c.rater, ratings_table.c.position))
            ]

    def check_writable(self) -> None:
        """Writes something that changes nothing.

        Raises:
            StudyStoreError: if ratings could not be kept now.
        """
        with self._transaction() as connection:
            _write(connection)

    def overview(self) -> list[dict[str, Any]]:
        """Returns one row a rater for the admin page: done, undone, first and last rating."""
        counting = sa.case((ratings_table.c.undone_at.is_(None), 1), else_=0)
        numbers = (
            sa.select(
                ratings_table.c.rater,
                sa.func.sum(counting).label("done"),
                sa.func.sum(1 - counting).label("undone"),
                sa.func.min(ratings_table.c.rated_at).label("first_at"),
                sa.func.max(ratings_table.c.rated_at).label("last_at"),
            )
            .group_by(ratings_table.c.rater)
            .subquery()
        )
        query = sa.select(
            raters_table,
            sa.func.coalesce(numbers.c.done, 0).label("done"),
            sa.func.coalesce(numbers.c.undone, 0).label("undone"),
            numbers.c.first_at,
            numbers.c.last_at,
        ).outerjoin(numbers, numbers.c.rater == raters_table.c.id)
        with self._reading() as connection:
            rows = connection.execute(query.order_by(raters_table.c.created_at, raters_table.c.id)).mappings()
            return [dict(row) for row in rows]

    def _check(self, study_id: str, digest: str) -> None:
        with self._reading() as connection:
            if not sa.inspect(connection).has_table("study_meta"):
                raise StudyStoreError(
                    f"{self._shown_url} is no ratings store; give the --database that the study is served with"
                )
            rows = connection.execute(sa.select(meta_table)).all()
            _check_owner({row.name: row.value for row in rows}, study_id, digest)

    def _prepare(self, study_id: str, digest: str) -> None:
        with self._transaction() as connection:
            if sa.inspect(connection).has_table("study_meta"):
                rows = connection.execute(sa.select(meta_table)).all()
                _check_owner({row.name: row.value for row in rows}, study_id, digest)
                _write(connection)  # proves now, not at the first rating, that the store can be written
                return
            tables.create_all(connection)
            values = {"schema": str(SCHEMA_VERSION), "study_id": study_id, "digest": digest, "created_at": _now()}
            connection.execute(meta_table.insert(), [{"name": name, "value": value} for name, value in values.items()])

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self._in_turn, self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise store_error(self._shown_url, error) from error

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect().execution_options(sqlite_read=True) as connection:
                yield connection
        except SQLAlchemyError as error:
            raise store_error(self._shown_url, error) from error


def open_store(url: str | None, folder: Path, *, study_id: str, digest: str, read_only: bool = False) -> RatingStore:
    """Returns the store at ``url``, or the SQLite file in the study's folder when there is no URL.

    Raises:
        StudyStoreError: as :class:`RatingStore` does.
    """
    place = url or sa.URL.create("sqlite", database=str(folder / "ratings.sqlite"))
    return RatingStore(place, study_id=study_id, digest=digest, read_only=read_only)


def _write(connection: sa.Connection) -> None:
    connection.execute(meta_table.update().where(meta_table.c.name == "schema").values(value=str(SCHEMA_VERSION)))


def _check_owner(meta: dict[str, str], study_id: str, digest: str) -> None:
    schema = int(meta.get("schema", "0"))
    if schema > SCHEMA_VERSION:
        raise StudyStoreError(
            f"the ratings store has version {schema}, this Fourfold knows up to {SCHEMA_VERSION}; update Fourfold"
        )
    if meta.get("study_id") != study_id:
        raise StudyStoreError("the ratings store belongs to another study; give this study its own --database")
    if meta.get("digest") != digest:
        raise StudyStoreError(
            "the study was changed after its first rating: the ratings store was made for other pictures; "
            "restore the study's folder from a copy, or create a new study"
        )


def _enrolled(connection: sa.Connection, enrolment: str) -> int:
    of = raters_table.c
    count = sa.select(sa.func.count()).where(of.enrolment == enrolment, of.revoked_at.is_(None))
    number: int = connection.execute(count).scalar_one()
    return number


def _lock(connection: sa.Connection, rater: str) -> None:
    """Makes the writers of one rater wait for each other, and refuses who may not write."""
    row = connection.execute(sa.select(raters_table).where(raters_table.c.id == rater).with_for_update()).first()
    if row is None:
        raise RatingRefusedError(f"no rater {rater!r} in this study", "forbidden")
    if row.revoked_at is not None:
        raise RatingRefusedError("your access was closed by the person who runs this study", "forbidden")


def _progress(connection: sa.Connection, rater: str) -> Progress:
    mine = ratings_table.c.rater == rater
    counts = ratings_table.c.undone_at.is_(None)
    done = connection.execute(sa.select(sa.func.count()).select_from(ratings_table).where(mine, counts)).scalar_one()
    newest = (
        sa.select(ratings_table.c.score, ratings_table.c.undone_at)
        .where(mine)
        .order_by(ratings_table.c.id.desc())
        .limit(1)
    )
    last = connection.execute(newest).first()
    if last is None:
        return Progress(0)
    # An undone rating at the top means: the one before it may not be taken back as well.
    return Progress(done, last.score, can_undo=last.undone_at is None)


def _next_showing(done: int, order: Sequence[Showing], position: int) -> Showing:
    if done >= len(order):
        raise RatingRefusedError("you have rated everything; nothing more can be added")
    if position < done:
        raise RatingRefusedError(f"picture {position + 1} is rated already")
    if position > done:
        raise RatingRefusedError(f"picture {position + 1} is not next; picture {done + 1} is")
    return order[position]


def _check_answer(answer: Answer) -> None:
    if isinstance(answer.score, bool) or answer.score not in SCALE:
        raise RatingRefusedError(f"a score is a whole number from 1 to 5, not {answer.score!r}", "range")
    if not _NONCE.fullmatch(answer.nonce):
        raise RatingRefusedError("a nonce has 8 to 64 letters and digits", "range")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
