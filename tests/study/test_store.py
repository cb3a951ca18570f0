"""The ratings store: the same tests on SQLite and on a real PostgreSQL server."""

import shutil
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from fourfold.errors import RatingRefusedError, StudyStoreError
from fourfold.study import Study, open_store
from fourfold.study.design import Showing
from fourfold.study.store import SCHEMA_VERSION, Answer, Progress, RatingStore
from tests.study.conftest import fresh_database

RATER = "r01-abcdef"


def answer(score: int = 3, nonce: str = "n" * 16) -> Answer:
    return Answer(score, nonce, 900, 1)


def nonce(number: int) -> str:
    return f"nonce-{number:08d}"


@pytest.fixture
def order(study: Study) -> list[Showing]:
    """Positions 0..3 are the calibration, 4..27 the ratings."""
    return study.manifest.order(RATER)


@pytest.fixture
def enrolled(store: RatingStore) -> RatingStore:
    store.enrol(RATER, "Ada", "invited")
    return store


def calibrate(store: RatingStore, order: list[Showing], rater: str = RATER) -> int:
    position = 0
    while order[position].anchor is not None:
        store.record(rater, order, position, answer(order[position].anchor or 0, nonce(position)))
        position += 1
    return position


def rate_all(store: RatingStore, order: list[Showing], rater: str = RATER) -> None:
    for position in range(calibrate(store, order, rater), len(order)):
        store.record(rater, order, position, answer(1 + position % 5, nonce(position)))


def test_a_study_from_the_first_rating_to_the_last(enrolled: RatingStore, order: list[Showing]) -> None:
    assert enrolled.progress(RATER) == Progress(0)
    rate_all(enrolled, order)
    assert enrolled.progress(RATER) == Progress(len(order), 1 + (len(order) - 1) % 5, True)
    kept = enrolled.ratings()
    assert [(r.position, r.stimulus, r.kind) for r in kept] == [(s.position, s.id, s.kind) for s in order]
    assert {(r.response_ms, r.magnification) for r in kept} == {(900, 1)}
    with pytest.raises(RatingRefusedError, match="rated everything"):
        enrolled.record(RATER, order, len(order), answer(3, nonce(9999)))


@pytest.mark.parametrize("score", [0, 6, -1, 10**12, True, 2.5, "3", None])
def test_scores_out_of_range(score: object, enrolled: RatingStore, order: list[Showing]) -> None:
    first = calibrate(enrolled, order)
    with pytest.raises(RatingRefusedError, match="whole number from 1 to 5") as caught:
        enrolled.record(RATER, order, first, Answer(score, nonce(50)))  # type: ignore[arg-type]
    assert caught.value.reason == "range"
    assert enrolled.progress(RATER).done == first


def test_the_database_itself_refuses_a_score_out_of_range(enrolled: RatingStore, order: list[Showing]) -> None:
    with pytest.raises(sa.exc.IntegrityError), enrolled._engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO study_ratings (rater, position, stimulus, kind, score, nonce, rated_at) "
                f"VALUES ('{RATER}', 0, 'x', 'rating', 6, 'nonce-nonce', 'now')"
            )
        )


def test_the_calibration_takes_only_the_given_score(enrolled: RatingStore, order: list[Showing]) -> None:
    wrong = 1 if order[0].anchor == 5 else 5
    with pytest.raises(RatingRefusedError, match=f"stands for {order[0].anchor}"):
        enrolled.record(RATER, order, 0, answer(wrong))


def test_out_of_order_and_twice(enrolled: RatingStore, order: list[Showing]) -> None:
    first = calibrate(enrolled, order)
    with pytest.raises(RatingRefusedError, match=f"picture {first + 2} is not next; picture {first + 1} is"):
        enrolled.record(RATER, order, first + 1, answer(3, nonce(100)))
    enrolled.record(RATER, order, first, answer(3, nonce(101)))
    with pytest.raises(RatingRefusedError, match=f"picture {first + 1} is rated already"):
        enrolled.record(RATER, order, first, answer(4, nonce(102)))
    assert [r.score for r in enrolled.ratings() if r.position == first] == [3]


def test_the_same_answer_sent_again_counts_once(enrolled: RatingStore, order: list[Showing]) -> None:
    first = calibrate(enrolled, order)
    for _ in range(3):
        assert enrolled.record(RATER, order, first, answer(3, nonce(100))).done == first + 1
    enrolled.record(RATER, order, first + 1, answer(5, nonce(101)))
    assert enrolled.record(RATER, order, first, answer(3, nonce(100))) == Progress(first + 2, 5, True)
    with pytest.raises(RatingRefusedError, match="given before"):
        enrolled.record(RATER, order, first, answer(4, nonce(100)))
    with pytest.raises(RatingRefusedError, match="given before"):
        enrolled.record(RATER, order, first + 2, answer(3, nonce(100)))


def test_undo_takes_back_the_last_rating_once(enrolled: RatingStore, order: list[Showing]) -> None:
    first = calibrate(enrolled, order)
    enrolled.record(RATER, order, first, answer(2, nonce(100)))
    enrolled.record(RATER, order, first + 1, answer(4, nonce(101)))
    with pytest.raises(RatingRefusedError, match="only the last"):
        enrolled.undo(RATER, first)
    assert enrolled.undo(RATER, first + 1) == Progress(first + 1, 4, False)
    with pytest.raises(RatingRefusedError, match="only one rating"):
        enrolled.undo(RATER, first)
    with pytest.raises(RatingRefusedError, match="given before"):
        enrolled.record(RATER, order, first + 1, answer(4, nonce(101)))  # the undone answer, come late
    assert enrolled.record(RATER, order, first + 1, answer(1, nonce(102))) == Progress(first + 2, 1, True)
    assert [r.score for r in enrolled.ratings() if r.position > first - 1] == [2, 1]
    assert [(row["done"], row["undone"]) for row in enrolled.overview()] == [(first + 2, 1)]


def test_nothing_to_undo(enrolled: RatingStore) -> None:
    for position in (-1, 0, 7):
        with pytest.raises(RatingRefusedError):
            enrolled.undo(RATER, position)


def test_strangers_and_shut_out_raters(enrolled: RatingStore, order: list[Showing]) -> None:
    with pytest.raises(RatingRefusedError, match="no rater"):
        enrolled.record("r99-zzzzzz", order, 0, answer(order[0].anchor or 0))
    enrolled.set_revoked(RATER, True)
    with pytest.raises(RatingRefusedError, match="access was closed"):
        enrolled.record(RATER, order, 0, answer(order[0].anchor or 0))
    enrolled.set_revoked(RATER, False)
    enrolled.record(RATER, order, 0, answer(order[0].anchor or 0))
    with pytest.raises(RatingRefusedError, match="no rater"):
        enrolled.set_revoked("r99-zzzzzz", True)


def test_names_are_data(store: RatingStore) -> None:
    name = "<script>alert('x')</script>'; DROP TABLE study_raters; -- ☃"
    store.enrol("open-abcdef", name, "open")
    assert [rater.name for rater in store.raters()] == [name]


def test_enrolling_twice_changes_nothing(enrolled: RatingStore) -> None:
    assert enrolled.enrol(RATER, "Eve", "open").name == "Ada"
    assert len(enrolled.raters()) == 1


def test_places_run_out_exactly_also_when_many_join_at_once(store: RatingStore) -> None:
    def join(number: int) -> bool:
        try:
            store.enrol(f"open-{number:06d}", "", "open", limit=5)
        except RatingRefusedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(join, range(16))) == 5
    assert len(store.raters()) == 5
    store.enrol("r01-abcdef", "", "invited")
    assert (store.enrolled("open"), store.enrolled("invited")) == (5, 1)


def test_a_rater_who_is_enrolled_meanwhile_is_there(tmp_path: Path, open_stores: Callable[..., RatingStore]) -> None:
    """As on PostgreSQL, where two transactions may both find no rater; SQLite lets one in at a time."""
    store = open_stores(f"sqlite:///{tmp_path / 'ratings.sqlite'}")
    store.enrol(RATER, "Ada", "invited")
    looked: list[str] = []

    @sa.event.listens_for(store._engine, "before_cursor_execute", retval=True)
    def miss_once(_c: object, _cursor: object, statement: str, values: object, *_: object) -> tuple[str, object]:
        if "FROM study_raters" in statement:
            looked.append(statement)
        return statement, ("nobody",) if looked == [statement] else values

    assert store.enrol(RATER, "", "invited").name == "Ada"
    assert [rater.id for rater in store.raters()] == [RATER]


def test_two_first_requests_at_once_are_of_one_rater(store: RatingStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        for number in range(1, 21):
            opened = pool.map(lambda _, n=number: store.enrol(f"open-{n:06d}", "", "open", limit=n), range(4))
            invited = pool.map(lambda _, n=number: store.enrol(f"invited-{n:06d}", "", "invited"), range(4))
            assert (len(set(opened)), len(set(invited))) == (1, 1)
    assert (store.enrolled("open"), store.enrolled("invited")) == (20, 20)


def test_two_tabs_at_once_leave_one_rating(enrolled: RatingStore, order: list[Showing]) -> None:
    first = calibrate(enrolled, order)
    both = threading.Barrier(8)

    def rate(number: int) -> bool:
        both.wait()
        try:
            enrolled.record(RATER, order, first, answer(1 + number % 5, nonce(1000 + number)))
        except RatingRefusedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(rate, range(8))) == 1
    assert enrolled.progress(RATER).done == first + 1


def test_events_are_kept_and_bounded(enrolled: RatingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    enrolled.note(RATER, "screen", {"pixel_ratio": 1.5})
    [event] = enrolled.events()
    assert (event["rater"], event["what"], event["details"]) == (RATER, "screen", {"pixel_ratio": 1.5})
    monkeypatch.setattr("fourfold.study.store.EVENTS_PER_RATER", 1)
    with pytest.raises(RatingRefusedError, match="too many"):
        enrolled.note(RATER, "pause", {})


Opener = Callable[..., RatingStore]


def test_ratings_are_there_after_opening_again(store_url: str, open_stores: Opener, study: Study) -> None:
    order = study.manifest.order(RATER)
    first = open_stores(store_url)
    first.enrol(RATER, "", "invited")
    rate_all(first, order)
    first.close()
    assert open_stores(store_url).progress(RATER).done == len(order)


def test_a_store_of_another_or_changed_study_or_newer_version(store_url: str, open_stores: Opener) -> None:
    store = open_stores(store_url, "s1", "d1")
    with pytest.raises(StudyStoreError, match="another study"):
        open_stores(store_url, "s2", "d1")
    with pytest.raises(StudyStoreError, match="changed after its first rating"):
        open_stores(store_url, "s1", "d2")
    with store._engine.begin() as connection:
        newer = str(SCHEMA_VERSION + 1)
        connection.execute(sa.text(f"UPDATE study_meta SET value = '{newer}' WHERE name = 'schema'"))
    with pytest.raises(StudyStoreError, match=r"version 2, this Fourfold knows up to 1; update Fourfold"):
        open_stores(store_url, "s1", "d1")


def test_two_processes_worth_of_stores_on_one_database(store_url: str, open_stores: Opener, study: Study) -> None:
    order = study.manifest.order(RATER)
    one, two = open_stores(store_url), open_stores(store_url)
    one.enrol(RATER, "", "invited")
    first = calibrate(two, order)
    one.record(RATER, order, first, answer(3, nonce(100)))
    with pytest.raises(RatingRefusedError, match="rated already"):
        two.record(RATER, order, first, answer(3, nonce(101)))


# Only reading


def test_a_store_that_is_only_read_says_the_same_and_takes_nothing(store_url: str, open_stores: Opener) -> None:
    with pytest.raises(StudyStoreError, match=r"no ratings store.*give the --database"):
        open_stores(store_url, read_only=True)
    written = open_stores(store_url)
    written.enrol(RATER, "", "invited")
    reading = open_stores(store_url, read_only=True)
    assert [rater.id for rater in reading.raters()] == [RATER]
    written.enrol("r02-abcdef", "", "invited")  # a server goes on
    assert len(reading.raters()) == 2
    with pytest.raises(StudyStoreError, match="another study"):
        open_stores(store_url, "s2", read_only=True)


@pytest.mark.parametrize("kept", [("",), ("", "-wal"), ("", "-wal", "-shm")])
def test_reading_a_sqlite_copy_leaves_no_trace(kept: tuple[str, ...], tmp_path: Path, open_stores: Opener) -> None:
    store = open_stores(f"sqlite:///{tmp_path / 'r.sqlite'}")
    store.enrol(RATER, "", "invited")
    if kept == ("",):
        store.close()
    copies = tmp_path / "what?#%41"
    copies.mkdir()
    for ending in kept:
        shutil.copyfile(f"{tmp_path / 'r.sqlite'}{ending}", copies / f"ratings.sqlite{ending}")
        (copies / f"ratings.sqlite{ending}").chmod(0o444)
    before = {path.name: path.read_bytes() for path in copies.iterdir()}
    copies.chmod(0o555)
    try:
        reading = open_store(None, copies, study_id="s1", digest="d1", read_only=True)
        assert [rater.id for rater in reading.raters()] == [RATER]
        with pytest.raises(StudyStoreError, match="readonly"):
            reading.enrol("r02-abcdef", "", "invited")
        reading.close()
    finally:
        copies.chmod(0o755)
    after = {path.name: path.read_bytes() for path in copies.iterdir()}
    assert set(after) == set(before)
    assert all(after[name] == before[name] for name in after if not name.endswith("-shm"))  # which has locks only


def test_reading_makes_no_file(tmp_path: Path, open_stores: Opener) -> None:
    for url in (f"sqlite:///{tmp_path}/typo.sqlite", f"sqlite:///file:{tmp_path}/typo.sqlite?uri=true", "sqlite://"):
        with pytest.raises(StudyStoreError, match=r"no ratings store|unable to open"):
            open_stores(url, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_store_below_a_closed_folder(closed: Path, open_stores: Opener) -> None:
    with pytest.raises(StudyStoreError, match=r"closed/r.sqlite \(Permission denied\)"):
        open_stores(f"sqlite:///{closed / 'r.sqlite'}", read_only=True)


# What only one kind of database can do wrong


def test_a_study_may_lie_anywhere(tmp_path: Path) -> None:
    folder = tmp_path / "who? #1 100%25 é;&mode=ro"
    folder.mkdir()
    store = open_store(None, folder, study_id="s1", digest="d1")
    store.enrol(RATER, "", "invited")
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert [path.name for path in folder.iterdir()] == ["ratings.sqlite"]
    again = open_store(None, folder, study_id="s1", digest="d1", read_only=True)
    assert [rater.id for rater in again.raters()] == [RATER]
    again.close()


def test_sqlite_waits_for_the_disk(tmp_path: Path, open_stores: Opener) -> None:
    store = open_stores(f"sqlite:///{tmp_path / 'r.sqlite'}")
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2  # FULL


def test_postgresql_waits_for_the_disk(postgresql_url: str, open_stores: Opener) -> None:
    store = open_stores(fresh_database(postgresql_url))
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
        assert connection.exec_driver_sql("SHOW fsync").scalar_one() == "on"


def test_a_read_only_database(tmp_path: Path, open_stores: Opener) -> None:
    path = tmp_path / "r.sqlite"
    open_stores(f"sqlite:///{path}").close()
    with pytest.raises(StudyStoreError, match=r"readonly.*make the file and its folder writable"):
        open_stores(f"sqlite:///file:{path}?mode=ro&uri=true")


def test_a_postgresql_database_that_is_read_only(postgresql_url: str, open_stores: Opener) -> None:
    open_stores(fresh_database(postgresql_url)).close()
    with pytest.raises(StudyStoreError, match="read-only"):
        open_stores(fresh_database(postgresql_url, default_transaction_read_only="on"))


def test_a_full_database_loses_nothing_and_says_so(tmp_path: Path, open_stores: Opener, study: Study) -> None:
    order = study.manifest.order(RATER)
    store = open_stores(f"sqlite:///{tmp_path / 'r.sqlite'}")
    store.enrol(RATER, "", "invited")
    first = calibrate(store, order)
    full = threading.Event()

    @sa.event.listens_for(store._engine, "begin")
    def limit(connection: sa.Connection) -> None:
        if full.is_set():
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        else:
            connection.exec_driver_sql("PRAGMA max_page_count=1000000")

    full.set()
    with pytest.raises(StudyStoreError, match=r"full; free some space"):
        store.note(RATER, "screen", {"filler": "x" * 100_000})
    assert store.progress(RATER).done == first
    full.clear()
    assert store.record(RATER, order, first, answer(3, nonce(100))).done == first + 1


def test_files_that_are_no_database(tmp_path: Path, open_stores: Opener) -> None:
    (tmp_path / "text.sqlite").write_text("this is not a database, whatever its name says" * 40)
    with pytest.raises(StudyStoreError, match="not a database"):
        open_stores(f"sqlite:///{tmp_path / 'text.sqlite'}")
    with pytest.raises(StudyStoreError, match="its folder must exist"):
        open_stores(f"sqlite:///{tmp_path / 'nowhere' / 'r.sqlite'}")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ratings.sqlite", "is no database URL|unreadable URL"),
        ("mysql://u:secret@h/d", "no store for 'mysql'"),
        ("postgresql://study:secret@127.0.0.1:1/none", "check that the server runs"),
        ("", "is no database URL|unreadable URL"),
    ],
)
def test_urls_that_lead_nowhere(url: str, message: str, open_stores: Opener) -> None:
    with pytest.raises(StudyStoreError, match=message) as caught:
        open_stores(url)
    assert "secret" not in str(caught.value)


def test_another_programs_database_is_left_alone(tmp_path: Path, open_stores: Opener) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE things (name TEXT)")
    other.close()
    store = open_stores(f"sqlite:///{path}")  # the tables have names of their own and live beside others
    assert store.raters() == []
