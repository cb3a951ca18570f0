"""The parts that need no server: the waiting line, names, archives, problems."""

import io
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fourfold import errors
from fourfold.serving.archive import distinct_names, zip_stream
from fourfold.serving.fair_queue import FairQueue
from fourfold.serving.jobs import NAME_LENGTH, Job, State, clean_name
from fourfold.serving.problems import KINDS, ProblemError, slug_of


def test_clients_take_turns() -> None:
    queue = FairQueue()
    for number in range(3):
        queue.put("many", f"many{number}")
    queue.put("one", "one0")
    assert list(queue.order()) == ["many0", "one0", "many1", "many2"]
    assert [queue.position(job) for job in ("many0", "one0", "many2", "nobody")] == [0, 1, 3, None]
    assert [queue.take() for _ in range(5)] == ["many0", "one0", "many1", "many2", None]


def test_a_lost_job_goes_first() -> None:
    queue = FairQueue()
    queue.put("a", "a0")
    queue.put("b", "b0")
    queue.put("b", "lost", front=True)
    assert queue.take() == "lost"


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["put", "take", "remove"])), max_size=60))
def test_nothing_is_lost_or_doubled_and_the_order_is_what_it_says(steps: list[tuple[str, str]]) -> None:
    queue, inside = FairQueue(), {}
    for number, (client, step) in enumerate(steps):
        if step == "put":
            queue.put(client, str(number))
            inside[str(number)] = client
        elif step == "take":
            order = list(queue.order())
            taken = queue.take()
            assert taken == (order[0] if order else None)
            inside.pop(taken, None)
        elif inside:
            job = next(iter(inside))
            assert queue.remove(inside.pop(job), job)
        assert Counter(queue.order()) == Counter(list(inside))
        assert len(queue) == len(inside)


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_name_becomes_a_short_line_without_a_path(name: str) -> None:
    cleaned = clean_name(name)
    assert 0 < len(cleaned) <= NAME_LENGTH
    assert not set(cleaned) & set('/\\<>:"|?*\r\n\0')
    assert clean_name(cleaned) == cleaned


def test_a_zip_of_files_some_of_which_are_gone(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 700_000)
    (tmp_path / "b").write_bytes(b"")
    pieces = list(zip_stream([("a.png", tmp_path / "a"), ("gone.png", tmp_path / "gone"), ("b.png", tmp_path / "b")]))
    assert max(map(len, pieces)) < 300_000
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        assert {i.filename: i.file_size for i in archive.infolist()} == {"a.png": 700_000, "b.png": 0}


def test_names_in_a_zip_are_distinct_whatever_their_case() -> None:
    assert list(distinct_names(["a.png", "A.png", "b.png", "a.png"])) == ["a.png", "A (2).png", "b.png", "a (3).png"]


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("photo.jpeg", "photo_x4.png"),
        ("photo.v2.TIF", "photo.v2_x4.png"),
        ("Fig. 3", "Fig. 3_x4.png"),
        ("St. Peter", "St. Peter_x4.png"),
        ("holiday 12.05.2024", "holiday 12.05.2024_x4.png"),
        ("picture", "picture_x4.png"),
    ],
)
def test_a_result_keeps_the_name_but_for_the_ending(name: str, offered: str) -> None:
    assert Job("client", clean_name(name), "model", result={"extension": "png"}).result_name() == offered


@pytest.mark.parametrize(
    ("error", "slug"),
    [
        (errors.PictureTooLargeError(""), "picture-too-large"),
        (errors.PictureError(""), "unreadable-picture"),
        (errors.UnknownModelError(""), "unknown-model"),
        (errors.UsageError(""), "invalid-parameter"),
        (errors.WeightsError(""), "engine-failed"),
        (errors.EngineError(""), "engine-failed"),
        (errors.CancelledError(""), "cancelled"),
        (MemoryError(), "out-of-memory"),
        (ZeroDivisionError(), "internal-error"),
    ],
)
def test_the_errors_of_the_house_are_kinds_of_problems(error: BaseException, slug: str) -> None:
    assert slug_of(error) == slug


@pytest.mark.parametrize("slug", KINDS)
def test_every_problem_says_what_helps(slug: str) -> None:
    body = ProblemError(slug, "detail", retry_after_s=0.2).body()
    assert 400 <= body["status"] < 600
    assert body["remedy"].endswith(".")


def test_a_job_survives_its_record() -> None:
    job = Job("client", "name.png", "model", 0.5, "png", "batch", {"width": 1}, state=State.DONE)
    assert Job.from_record({**job.record(), "of a newer version": 1}) == job
    with pytest.raises(ValueError, match="not a job record"):
        Job.from_record({"state": "done"})
    # as an earlier version left it
    assert Job.from_record({**job.record(), "result": {"width": 4}}).result == {"width": 4, "frames": 1}
