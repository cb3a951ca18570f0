"""The page in a real Chromium: with the mouse, with the keyboard alone, on a phone, in the dark."""

import base64
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fourfold.imaging import Picture, encode_picture, read_picture
from fourfold.serving.pipeline import NOTE_LENGTH
from fourfold.serving.problems import KINDS, problem_body
from tests.conftest import make_photo
from tests.serving.conftest import HeldAnswers, RunningServer, png, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DONE = '.row[data-state="done"]'


class Page:
    """A page that notes everything it should not do."""

    def __init__(self, chromium: Any, server: RunningServer, **options: Any) -> None:
        self.context = chromium.new_context(**options)
        self.context.set_default_timeout(20_000)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.foreign: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda m: self.errors.append(m.text) if "Content Security" in m.text else None)
        self.page.on("request", lambda request: self._note(request.url, server.url))
        self.page.goto(f"{server.url}/")
        self.page.wait_for_selector(".model")

    def _note(self, address: str, home: str) -> None:
        if not address.startswith((home, "blob:", "data:")):
            self.foreign.append(address)

    def close(self) -> None:
        self.context.close()
        assert not self.errors
        assert not self.foreign, "the page asked another host"


@pytest.fixture
def open_page(chromium: Any, server: RunningServer) -> Iterator[Callable[..., Any]]:
    pages: list[Page] = []

    def open_one(on: RunningServer | None = None, **options: Any) -> Any:
        pages.append(Page(chromium, on or server, **{"viewport": {"width": 1280, "height": 800}, **options}))
        return pages[-1].page

    yield open_one
    for page in pages:
        page.close()


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for number, name in enumerate(("one.png", "two.png")):
        (tmp_path / name).write_bytes(png(60, 40, number))
    return [str(tmp_path / "one.png"), str(tmp_path / "two.png")]


def drop(page: Any, names: dict[str, bytes]) -> None:
    """Drops files on the page as a browser reports it."""
    given = [[name, base64.b64encode(data).decode()] for name, data in names.items()]
    page.evaluate(
        """(given) => {
            const transfer = new DataTransfer();
            for (const [name, data] of given) {
                const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
                transfer.items.add(new File([bytes], name, { type: "image/png" }));
            }
            for (const kind of ["dragenter", "dragover", "drop"])
                document.querySelector("main").dispatchEvent(
                    new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        given,
    )


def choose(page: Any, model: str) -> None:
    """Chooses a model, from among those that are folded away if need be."""
    if page.get_attribute("#settings", "open") is None:
        page.click("#settings > summary")
    radio = page.locator(f"input[value={model}]")
    if not radio.is_visible():
        page.click(".more-models > summary")
    radio.check()


def delete_all_the_same(page: Any) -> None:
    """Answers the question about results that were not downloaded."""
    page.click("#delete button[value=delete]")
    page.wait_for_selector("#delete", state="hidden")


def share(page: Any) -> int:
    return int(page.get_attribute("#divider", "aria-valuenow"))


def zoom(page: Any) -> int:
    return int(re.sub(r"\D", "", page.inner_text("#zoom-text")))


def test_drop_watch_compare_download(open_page: Callable[..., Any], server: RunningServer) -> None:
    page = open_page()
    choose(page, "steady")
    drop(page, {"one.png": png(60, 40), "bad.png": b"no picture", "two.png": png(40, 40, 1)})
    page.wait_for_selector('.row[data-state="running"]')
    # a selector, since the page's own policy forbids the evaluation that waiting for a function needs
    page.wait_for_selector('.row-progress[value]:not([value="0"]):not([value="1"])')
    page.wait_for_selector(f"{DONE} >> nth=1")
    assert page.inner_text('.row[data-state="failed"] .row-state') == "This kind of file is not taken"
    # before and after, in step
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert share(page) < 40
    before = zoom(page)
    page.mouse.wheel(0, -600)
    assert zoom(page) > before
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.6, steps=4)
    page.mouse.up()
    transforms = {
        page.evaluate(f"document.getElementById('image-{side}').style.transform") for side in ("before", "after")
    }
    assert len(transforms) == 1, "zoom and pan of both are one"
    # downloads
    with page.expect_download() as download:
        page.click(f"{DONE} .row-download >> nth=0")
    assert download.value.suggested_filename == "one_x4.png"
    assert read_picture(Path(download.value.path()).read_bytes()).pixels.shape == (160, 240, 3)
    with page.expect_download() as download:
        page.click("#download-all")
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        assert archive.namelist() == ["one_x4.png", "two_x4.png"]


def test_cancel_again_and_clear(open_page: Callable[..., Any], files: list[str]) -> None:
    page = open_page()
    choose(page, "crawl")
    page.set_input_files("#file", files)
    page.wait_for_selector('.row[data-state="running"]')
    page.click(".row-remove >> nth=1")  # one that waits
    page.click(".row-remove >> nth=0")  # one that runs
    page.wait_for_selector('.row[data-state="cancelled"] >> nth=1')
    assert "Cancelled" in page.inner_text("#failure")
    page.click("#settings summary")
    choose(page, "good")
    page.click(".row-again >> nth=1")
    page.click(".row-again >> nth=0")
    page.wait_for_selector(f"{DONE} >> nth=1")
    page.click("#clear-button")
    delete_all_the_same(page)
    page.wait_for_selector("#hero")
    assert page.locator(".row").count() == 0


def test_an_answer_that_is_late_brings_no_cancelled_picture_back(
    open_page: Callable[..., Any], files: list[str]
) -> None:
    page = open_page()
    late: list[tuple[Any, Any]] = []

    def hold_deletion(route: Any) -> None:
        if route.request.method == "DELETE":
            late.append((route, route.fetch()))
        else:
            route.continue_()

    page.route(re.compile(r"/v1/jobs/[^/]+$"), hold_deletion)
    choose(page, "steady")
    page.set_input_files("#file", files[:1])
    page.wait_for_selector('.row[data-state="running"]')
    page.click(".row-remove")
    page.wait_for_selector('.row[data-state="cancelled"]')
    wait_until(lambda: page.is_visible(".row") and bool(late))
    [(route, answer)] = late
    assert answer.json()["state"] == "running"
    with page.expect_response(lambda response: response.request.method == "DELETE"):
        route.fulfill(response=answer)
    page.click("#settings summary")
    choose(page, "good")
    page.set_input_files("#file", files[1:])
    page.wait_for_selector(DONE)
    assert page.get_attribute(".row >> nth=0", "data-state") == "cancelled"


def test_what_is_cancelled_before_the_answer_comes_does_not_run_on(
    open_page: Callable[..., Any], server: RunningServer, files: list[str], held_answers: HeldAnswers
) -> None:
    page = open_page()
    choose(page, "crawl")
    page.set_input_files("#file", files[:1])
    wait_until(lambda: bool(held_answers.made))
    page.click(".row-remove")
    page.wait_for_selector('.row[data-state="cancelled"]')
    assert server.job(held_answers.made[0])["state"] in ("queued", "running")
    held_answers.let_go.set()
    assert server.wait_for(held_answers.made[0])["state"] == "cancelled"


def test_what_was_broken_off_when_the_server_had_it_all_does_not_run_on(
    open_page: Callable[..., Any],
    server: RunningServer,
    files: list[str],
    held_answers: HeldAnswers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def is_connected(_: object) -> bool:
        return False

    monkeypatch.setattr("starlette.requests.Request.is_disconnected", is_connected)  # its answer is under way already
    page = open_page()
    page.evaluate("Object.defineProperty(XMLHttpRequestUpload.prototype, 'onload', { set() {} })")  # not heard of yet
    choose(page, "crawl")
    page.set_input_files("#file", files[:1])
    wait_until(lambda: bool(held_answers.made))
    page.click(".row-remove")
    page.wait_for_selector('.row[data-state="cancelled"]')
    held_answers.let_go.set()
    assert server.wait_for(held_answers.made[0])["state"] == "cancelled"


def in_batch(page: Any, server: RunningServer) -> list[str]:
    """Returns the states of the page's jobs, as the server has them, oldest first."""
    batch = page.evaluate("JSON.parse(sessionStorage.getItem('fourfold-batch'))")
    return [job["state"] for job in server.client.get(f"/v1/batches/{batch}").json()]


def test_once_more_takes_the_place_of_the_first_result(
    open_page: Callable[..., Any], server: RunningServer, files: list[str]
) -> None:
    page = open_page()
    choose(page, "error")
    page.set_input_files("#file", files)
    page.wait_for_selector('.row[data-state="failed"] >> nth=1')
    page.click("#settings summary")
    choose(page, "good")
    page.click(".row-again >> nth=0")  # of a failed one
    page.click(".row-again >> nth=1")
    page.wait_for_selector(f"{DONE} >> nth=1")
    page.click(".row-again >> nth=0")  # of a finished one
    page.wait_for_selector(f"{DONE} >> nth=1")
    wait_until(lambda: in_batch(page, server) == ["expired", "expired", "expired", "done", "done"])
    assert page.inner_text("#download-all") == "Download 2 as ZIP"
    with page.expect_download() as download:
        page.click("#download-all")
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        assert archive.namelist() == ["two_x4.png", "one_x4.png"]
    page.reload()
    page.wait_for_selector(f"{DONE} >> nth=1")
    assert page.locator(".row").count() == 2
    page.click("#clear-button")
    wait_until(lambda: set(in_batch(page, server)) == {"expired"})


def upscale_one(page: Any, files: list[str]) -> str | None:
    """Has the first picture upscaled, opens the settings again, and returns the address of the result."""
    choose(page, "good")
    page.set_input_files("#file", files[:1])
    page.wait_for_selector(DONE)
    page.click("#settings summary")
    address: str | None = page.get_attribute(".row-download", "href")
    return address


def test_once_more_in_vain_leaves_the_result_of_before(
    open_page: Callable[..., Any], server: RunningServer, files: list[str]
) -> None:
    page = open_page()
    result = upscale_one(page, files)
    choose(page, "error")
    page.click(".row-again")
    page.wait_for_selector(f"{DONE} >> text=once more failed")
    assert "Once more failed: The upscaling engine failed: the engine is" in page.inner_text("#notes")
    wait_until(lambda: in_batch(page, server) == ["done", "expired"])
    choose(page, "crawl")
    page.click(".row-again")
    page.wait_for_selector('.row[data-state="running"]')
    page.click(".row-remove")
    page.wait_for_selector(f"{DONE} >> text=once more cancelled")
    page.context.set_offline(True)
    page.click(".row-again")
    page.wait_for_selector('.row[data-state="waiting"] >> text=does not answer')
    page.click(".row-remove")
    page.wait_for_selector(f"{DONE} >> text=once more cancelled")
    page.context.set_offline(False)
    wait_until(lambda: in_batch(page, server) == ["done", "expired", "expired"])
    assert page.get_attribute(".row-download", "href") == result
    with page.expect_download() as download:
        page.click(".row-download")
    assert read_picture(Path(download.value.path()).read_bytes()).pixels.shape == (160, 240, 3)


def test_a_reload_while_once_more_runs_leaves_one_row(
    open_page: Callable[..., Any], server: RunningServer, files: list[str]
) -> None:
    page = open_page()
    result = upscale_one(page, files)
    choose(page, "crawl")
    page.click(".row-again")
    page.wait_for_selector('.row[data-state="running"]')
    page.reload()
    page.wait_for_selector('.row[data-state="running"]')
    assert page.locator(".row").count() == 1
    page.click(".row-remove")
    page.wait_for_selector(f"{DONE} >> text=once more cancelled")
    wait_until(lambda: in_batch(page, server) == ["done", "expired"])
    assert page.get_attribute(".row-download", "href") == result
    page.reload()
    page.wait_for_selector(DONE)
    assert page.locator(".row").count() == 1


def test_once_more_that_is_done_while_it_is_cancelled_leaves_the_result_of_before(
    open_page: Callable[..., Any], server: RunningServer, files: list[str]
) -> None:
    page = open_page()
    page.set_input_files("#file", files[:1])
    page.wait_for_selector(DONE)
    result = page.get_attribute(".row-download", "href")
    held: list[Any] = []

    def hold_deletion(route: Any) -> None:
        if route.request.method == "DELETE" and not held:
            held.append(route)
        else:
            route.continue_()

    page.route(re.compile(r"/v1/jobs/[^/]+$"), hold_deletion)
    choose(page, "steady")
    page.click(".row-again")
    page.wait_for_selector('.row[data-state="running"]')
    page.click(".row-remove")
    wait_until(lambda: page.is_visible(".row") and in_batch(page, server) == ["done", "done"])
    held[0].continue_()
    page.wait_for_selector(f"{DONE} >> text=once more cancelled")
    wait_until(lambda: in_batch(page, server) == ["done", "expired"])
    assert page.get_attribute(".row-download", "href") == result


def test_results_that_are_gone_are_not_counted(
    open_page: Callable[..., Any], server: RunningServer, files: list[str]
) -> None:
    page = open_page()
    page.set_input_files("#file", files)
    page.wait_for_selector(f"{DONE} >> nth=1")
    assert page.inner_text("#download-all") == "Download 2 as ZIP"
    choose(page, "crawl")
    page.click(".row-again >> nth=0")
    page.wait_for_selector('.row[data-state="running"]')
    assert page.is_visible("#download-all")
    batch = page.evaluate("JSON.parse(sessionStorage.getItem('fourfold-batch'))")
    server.client.delete(f"/v1/jobs/{server.client.get(f'/v1/batches/{batch}').json()[0]['id']}")
    page.wait_for_selector("#download-all", state="hidden")
    page.click("#cancel-all")
    page.wait_for_selector('.row[data-state="cancelled"]')


def test_a_download_while_the_server_is_away_is_none(open_page: Callable[..., Any], files: list[str]) -> None:
    page = open_page()
    page.set_input_files("#file", files[:1])
    page.wait_for_selector(DONE)
    page.context.set_offline(True)
    page.click(".row-download")
    page.context.set_offline(False)
    page.click(".row-remove")
    assert "“one.png” has not been downloaded" in page.inner_text("#delete-text")


def test_results_are_not_deleted_before_they_were_downloaded_without_a_question(
    open_page: Callable[..., Any], files: list[str]
) -> None:
    page = open_page()
    page.set_input_files("#file", files)
    page.wait_for_selector(f"{DONE} >> nth=1")
    page.click("#clear-button")
    assert page.inner_text("#delete-text").startswith("2 results have not been downloaded.")
    page.keyboard.press("Escape")
    page.wait_for_selector("#delete", state="hidden")
    with page.expect_download():
        page.click(".row-download >> nth=0")
    page.click(".row-remove >> nth=1")
    assert "“two.png” has not been downloaded" in page.inner_text("#delete-text")
    page.click("#delete button[value=keep]")
    page.wait_for_selector("#delete", state="hidden")
    assert page.locator(".row").count() == 2
    page.reload()
    page.wait_for_selector(f"{DONE} >> nth=1")
    page.click(".row-remove >> nth=0")
    page.wait_for_selector(".row >> nth=1", state="detached")
    page.click("#clear-button")
    delete_all_the_same(page)
    page.wait_for_selector("#hero")


def test_what_was_replaced_or_removed_offline_is_deleted_later(
    open_page: Callable[..., Any], server: RunningServer, files: list[str]
) -> None:
    page = open_page()
    page.set_input_files("#file", files)
    page.wait_for_selector(f"{DONE} >> nth=1")
    page.context.set_offline(True)
    page.click(".row-remove >> nth=1")
    delete_all_the_same(page)
    page.click(".row-again >> nth=0")
    page.wait_for_selector('.row[data-state="waiting"] >> text=does not answer')
    assert in_batch(page, server) == ["done", "done"]
    page.context.set_offline(False)
    page.wait_for_selector(DONE)
    wait_until(lambda: in_batch(page, server) == ["expired", "expired", "done"])


def test_what_was_cancelled_offline_is_cancelled_later(
    open_page: Callable[..., Any], server: RunningServer, files: list[str]
) -> None:
    page = open_page()
    choose(page, "crawl")
    page.set_input_files("#file", files)
    page.wait_for_selector('.row[data-state="running"]')
    page.wait_for_selector('.row[data-state="queued"]')
    page.context.set_offline(True)
    page.click(".row-remove >> nth=0")
    page.wait_for_selector('.row[data-state="cancelled"]')
    assert in_batch(page, server) == ["running", "queued"]
    page.context.set_offline(False)
    wait_until(lambda: in_batch(page, server)[0] == "cancelled")
    page.wait_for_selector('.row[data-state="running"]')
    page.click("#cancel-all")
    page.wait_for_selector('.row[data-state="cancelled"] >> nth=1')


def test_a_failed_picture_that_was_removed_stays_away(open_page: Callable[..., Any], files: list[str]) -> None:
    page = open_page()
    choose(page, "error")
    page.set_input_files("#file", files)
    page.wait_for_selector('.row[data-state="failed"] >> nth=1')
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.click(".row-remove >> nth=0")
    page.reload()
    page.wait_for_selector('.row[data-state="failed"]')
    assert page.locator(".row-name").all_inner_texts() == ["two.png"]


def test_paste(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.evaluate(
        """(data) => {
            const transfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            transfer.items.add(new File([bytes], "image.png", { type: "image/png" }));
            document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
        }""",
        base64.b64encode(png()).decode(),
    )
    page.wait_for_selector(DONE)


def test_with_the_keyboard_alone(open_page: Callable[..., Any], files: list[str]) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    # a headless browser opens no file chooser by a key; that it is asked to is what can be seen
    page.evaluate("document.getElementById('file').addEventListener('click', () => { window.asked = true; })")
    page.keyboard.press("o")
    assert page.evaluate("window.asked")
    page.set_input_files("#file", files)
    page.wait_for_selector(f"{DONE} >> nth=1")
    reached = tab_through(page, 40)
    assert {"theme-button", "help-button", "divider", "canvas", "zoom-in", "download-all"} <= reached
    page.focus("#divider")
    page.keyboard.press("ArrowLeft")
    assert share(page) == 48
    page.keyboard.press("Home")
    assert share(page) == 0
    page.keyboard.press("End")
    assert share(page) == 100
    page.keyboard.press("1")
    assert zoom(page) == 100
    page.keyboard.press("+")
    assert zoom(page) == 150
    page.keyboard.press("0")
    page.keyboard.press("b")
    assert page.get_attribute("#swap-button", "aria-pressed") == "true"
    page.keyboard.press("j")
    assert "two.png" in page.inner_text("#facts")
    page.focus(".row-select >> nth=1")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert "one.png" in page.inner_text("#facts")
    with page.expect_download() as download:
        page.keyboard.press("d")
    assert download.value.suggested_filename == "one_x4.png"
    page.keyboard.press("?")
    assert page.is_visible("#help")
    page.keyboard.press("Escape")
    assert not page.is_visible("#help")
    page.focus(".row-remove >> nth=1")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.value") == "keep", "Enter alone deletes nothing"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('.row').length === 1")
    assert page.evaluate("document.activeElement.classList.contains('row-select')"), "the focus is not lost"


def test_the_fitted_view_is_smooth_and_its_divider_whole(open_page: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "small.png").write_bytes(png(60, 8))  # the view is four times as large as the result, and no larger
    (tmp_path / "wide.png").write_bytes(png(200, 100))
    page = open_page(viewport={"width": 1280, "height": 700})
    page.set_input_files("#file", [str(tmp_path / "small.png"), str(tmp_path / "wide.png")])
    page.wait_for_selector(f"{DONE} >> nth=1")
    drawn = "getComputedStyle(document.getElementById('image-before')).imageRendering"
    page.click(".row-select >> nth=0")
    page.keyboard.press("0")
    assert zoom(page) >= 300 and page.evaluate(drawn) == "auto"
    page.keyboard.press("+")
    assert page.evaluate(drawn) == "pixelated"
    page.keyboard.press("0")
    assert page.evaluate(drawn) == "auto"
    page.click(".row-select >> nth=1")
    canvas = page.locator("#canvas").bounding_box()
    page.focus("#divider")
    for key in ("Home", "End"):
        page.keyboard.press(key)
        knob = page.locator(".divider-knob").bounding_box()
        assert canvas["x"] <= knob["x"] and knob["x"] + knob["width"] <= canvas["x"] + canvas["width"], key


def focused(page: Any) -> str:
    """Returns the id of what has the focus, or its first class."""
    return str(page.evaluate("document.activeElement.id || document.activeElement.classList[0]"))


def test_the_focus_is_not_lost_with_what_had_it(open_page: Callable[..., Any], files: list[str]) -> None:
    page = open_page()
    choose(page, "crawl")
    page.set_input_files("#file", files)
    page.wait_for_selector('.row[data-state="running"]')
    page.focus("#cancel-all")
    page.keyboard.press("Enter")
    page.wait_for_selector("#cancel-all", state="hidden")
    assert focused(page) == "row-select"
    page.focus("#clear-button")
    page.keyboard.press("Enter")
    page.wait_for_selector("#hero")
    assert page.evaluate("document.activeElement.closest('#hero') !== null"), focused(page)
    page.set_input_files("#file", files[:1])
    page.wait_for_selector('.row[data-state="running"]')
    page.click(".row-remove")
    page.wait_for_selector('.row[data-state="cancelled"]')
    page.focus(".row-remove")
    page.keyboard.press("Enter")
    page.wait_for_selector("#hero")
    assert page.evaluate("document.activeElement.closest('#hero') !== null"), focused(page)


def test_a_failure_is_read_out_and_names_the_file(open_page: Callable[..., Any]) -> None:
    page = open_page()
    drop(page, {"empty.png": b"", "other.png": b""})
    page.wait_for_selector('.row[data-state="failed"] >> nth=1')
    said = page.locator("#announcer p").all_inner_texts()
    assert said == ["2 pictures added", *(f"{name} failed: The file is empty" for name in ("empty.png", "other.png"))]
    assert page.inner_text("#failure-name") == "empty.png"
    page.click(".row-select >> nth=1")
    assert page.inner_text("#failure-name") == "other.png"
    inert = page.locator("[inert]").evaluate_all("(all) => all.map((one) => one.id || one.className)")
    assert inert == ["canvas", "tools-group", "tools-group"], "the facts can be read"


def tab_through(page: Any, steps: int) -> set[str]:
    """Returns the ids that the Tab key reaches; each must show that it has the focus."""
    reached = set()
    for _ in range(steps):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => { const e = document.activeElement, s = getComputedStyle(e);
                       const knob = e.id === "divider" && e.querySelector(".divider-knob");
                       return [e.id, (knob ? getComputedStyle(knob) : s).outlineStyle]; }"""
        )
        if name:
            reached.add(name)
            assert outline != "none", f"{name} has the focus and does not show it"
    return reached


@pytest.mark.parametrize("width", [1280, 390])
def test_notes_on_a_result_can_be_read_to_the_end(open_page: Callable[..., Any], tmp_path: Path, width: int) -> None:
    picture = Picture(make_photo(16, 16))
    picture.metadata.comments = {f"{'k' * 70}{number}": "text" for number in range(100)}
    (tmp_path / "one.png").write_bytes(encode_picture(picture, "png"))
    (tmp_path / "two.png").write_bytes(png())
    page = open_page(viewport={"width": width, "height": 800})
    page.select_option("#format", "jpg")
    page.set_input_files("#file", str(tmp_path / "one.png"))
    page.wait_for_selector(DONE)
    [note] = page.locator("#notes li").all()
    assert len(note.inner_text()) == NOTE_LENGTH
    assert note.inner_text() in page.inner_text("#announcer")
    assert page.locator("#notes").evaluate("(notes) => notes.scrollWidth <= notes.clientWidth"), "cut off"
    page.focus("#notes")
    page.keyboard.press("End")
    at_the_end = "n.scrollTop + n.clientHeight >= n.scrollHeight - 1"
    page.wait_for_function(f"() => {{ const n = document.getElementById('notes'); return {at_the_end}; }}")
    assert page.locator("#notes").bounding_box()["height"] < 120
    page.click("#settings > summary")
    page.select_option("#format", "png")
    page.set_input_files("#file", str(tmp_path / "two.png"))
    page.wait_for_selector(f"{DONE} >> nth=1")
    page.click(".row-select >> nth=1")
    assert not page.is_visible("#notes")


@pytest.mark.parametrize("width", [1920, 1280, 1241, 1024, 901, 360])
def test_below_the_picture_a_long_name_gives_way_and_sizes_do_not(
    open_page: Callable[..., Any], tmp_path: Path, width: int
) -> None:
    name = f"{'long_' * 30}name.png"
    (tmp_path / name).write_bytes(png(60, 40))
    page = open_page(viewport={"width": width, "height": 800})
    page.set_input_files("#file", str(tmp_path / name))
    page.wait_for_selector(DONE)
    assert page.inner_text("#facts-sizes").startswith("60 × 40 → 240 × 160, ")
    facts, sizes, shown = (page.locator(part).bounding_box() for part in ("#facts", "#facts-sizes", "#facts-name"))
    assert sizes["x"] + sizes["width"] <= facts["x"] + facts["width"] + 1
    assert sizes["height"] < 30 and shown["width"] > 100
    assert page.get_attribute("#facts", "title").startswith(f"{name} 60 × 40")


@pytest.mark.parametrize("width", [390, 320])
def test_on_a_phone(open_page: Callable[..., Any], files: list[str], width: int) -> None:
    phone = {"viewport": {"width": width, "height": 800}, "is_mobile": True, "has_touch": True}
    page = open_page(**phone, device_scale_factor=2)
    assert no_sideways_scroll(page)
    page.set_input_files("#file", files)
    page.wait_for_selector(f"{DONE} >> nth=1")
    assert no_sideways_scroll(page)
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, a, summary, select")]
            .filter((e) => e.checkVisibility() && !e.closest(".sr, .skip"))
            .map((e) => [e.id || e.className, e.getBoundingClientRect()])
            .filter(([, box]) => Math.min(box.width, box.height) < 24).map(([name]) => name)"""
    )
    assert not small, "too small for a finger"
    page.tap(".row-select >> nth=1")
    assert "two.png" in page.inner_text("#facts")


@pytest.mark.parametrize("width", [360, 740])
def test_nothing_that_has_the_focus_is_covered(open_page: Callable[..., Any], tmp_path: Path, width: int) -> None:
    for number in range(8):
        (tmp_path / f"a_long_name_of_a_picture_{number}.png").write_bytes(png(24, 16, number))
    page = open_page(viewport={"width": width, "height": 640})
    page.set_input_files("#file", sorted(str(path) for path in tmp_path.glob("*.png")))
    page.wait_for_selector(f"{DONE} >> nth=7")
    page.evaluate("scrollTo(0, 0)")
    covered = set()
    for key in ["Tab"] * 50 + ["Shift+Tab"] * 50:
        page.keyboard.press(key)
        covered.add(
            page.evaluate(
                """() => {
                    const e = document.activeElement, box = e.getBoundingClientRect();
                    const at = document.elementFromPoint(box.left + box.width / 2, box.bottom - 2);
                    if (e === document.body) return ""; // beyond the last and the first
                    return at && (e.contains(at) || at.contains(e)) ? "" : e.outerHTML.slice(0, 80);
                }"""
            )
        )
    assert covered == {""}
    assert page.locator(".row-name >> nth=0").bounding_box()["width"] > 160
    assert page.locator("#download-all").bounding_box()["height"] < 45


def no_sideways_scroll(page: Any) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_light_dark_and_what_was_chosen(open_page: Callable[..., Any]) -> None:
    def ground(page: Any) -> float:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return float(np.mean([int(value) for value in re.findall(r"\d+", colour)[:3]]))

    assert ground(open_page(color_scheme="light")) > 200
    page = open_page(color_scheme="dark")
    assert ground(page) < 50
    page.click("#theme-button")
    assert ground(page) > 200
    page.reload()
    page.wait_for_selector(".model")
    assert ground(page) > 200


def test_a_self_ensemble_is_chosen_sent_and_remembered(
    open_page: Callable[..., Any], server: RunningServer, files: list[str]
) -> None:
    page = open_page()
    choose(page, "good")
    page.check("#ensemble")
    assert page.text_content("#settings-summary").endswith(", self-ensemble")
    page.set_input_files("#file", files[:1])
    page.wait_for_selector(DONE)
    assert [job.ensemble for job in server.service.jobs.values()][-1:] == [True]
    page.reload()
    page.wait_for_selector(".model", state="attached")
    assert page.is_checked("#ensemble")


def test_many_models_are_folded_and_few_are_not(
    open_page: Callable[..., Any], start: Callable[..., RunningServer], fake_models: dict[str, str]
) -> None:
    page = open_page()
    assert page.locator(".model:visible").count() == 2
    assert page.inner_text(".more-models > summary") == f"{len(fake_models) - 2} more models"
    choose(page, "chatty")
    page.reload()
    page.wait_for_selector(".model")
    assert page.is_checked("input[value=chatty]") and page.is_visible("input[value=chatty]")
    few = dict(list(fake_models.items())[:4])
    page = open_page(start(models=few))
    assert page.locator(".model:visible").count() == 4 and not page.locator(".more-models").count()


def test_the_server_chooses_by_the_picture_unless_a_model_is_chosen(
    open_page: Callable[..., Any], start: Callable[..., RunningServer], fake_models: dict[str, str], tmp_path: Path
) -> None:
    served = start(models=dict.fromkeys(("srgan-plus", "srresnet-plus", "srgan-jpeg"), fake_models["good"]))
    jpeg = tmp_path / "photo.jpg"
    jpeg.write_bytes(encode_picture(Picture(make_photo(40, 60)), "jpg", quality=80))
    page = open_page(served)
    titles = page.locator(".model-title")
    assert titles.all_inner_texts()[:3] == ["Automatic", "Photo-realistic", "Faithful"]
    assert page.is_checked("input[value='']")
    page.set_input_files("#file", [str(jpeg)])
    wait_until(lambda: len(served.service.jobs) == 1)
    page = open_page(served)
    choose(page, "srresnet-plus")
    page.set_input_files("#file", [str(jpeg)])
    wait_until(lambda: len(served.service.jobs) == 2)
    models = [job.model for job in served.service.jobs.values()]
    assert models == ["srgan-jpeg", "srresnet-plus"]
    page.reload()
    page.wait_for_selector(".model", state="attached")
    assert page.is_checked("input[value=srresnet-plus]"), "the choice is kept"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_enough(open_page: Callable[..., Any], files: list[str], scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    page.set_input_files("#file", files)
    page.wait_for_selector(f"{DONE} >> nth=1")
    names = ["--ink", "--ink-soft", "--good", "--bad", "--accent"]
    for ground in ("--surface", "--ground", "--sunken"):
        for name in names:
            ratio = contrast(variable(page, name), variable(page, ground))
            assert ratio >= 4.5, (scheme, name, ground, ratio)
    assert contrast(variable(page, "--ground"), variable(page, "--ink")) >= 7


def variable(page: Any, name: str) -> list[float]:
    text = page.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('{name}').trim()")
    return [int(text[place : place + 2], 16) / 255 for place in (1, 3, 5)]


def contrast(first: list[float], second: list[float]) -> float:
    """Returns the contrast ratio of WCAG 2.2, 1 to 21."""

    def luminance(colour: list[float]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_everything_has_a_name_for_a_screen_reader(open_page: Callable[..., Any], files: list[str]) -> None:
    page = open_page()
    page.set_input_files("#file", files)
    page.wait_for_selector(f"{DONE} >> nth=1")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, a[href], input:not([hidden]), select, [role=slider], progress")]
            .filter((e) => !e.textContent.trim() && !e.getAttribute("aria-label") && !e.labels?.length)
            .map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert not nameless
    assert page.get_attribute("#image-after", "alt") == "one.png, after"
    assert "is done" in page.inner_text("#announcer")
    assert page.get_attribute("#divider", "aria-valuetext") == "50 % before, 50 % after"
    assert page.get_attribute("html", "lang") == "en"
    assert page.locator("h1").count() == 1


def test_a_reload_finds_the_pictures_again(open_page: Callable[..., Any], files: list[str]) -> None:
    page = open_page()
    choose(page, "steady")
    page.set_input_files("#file", files)
    page.wait_for_selector('.row[data-state="running"]')
    page.wait_for_selector('.row[data-state="queued"]')
    page.reload()
    page.wait_for_selector(f"{DONE} >> nth=1")
    assert not page.is_visible("#settings-form"), "the list needs the room"
    assert page.inner_text(".row-name >> nth=0") == "one.png"
    page.wait_for_function("() => document.getElementById('image-before').naturalWidth === 60")
    page.wait_for_function("() => document.getElementById('image-after').naturalWidth === 240")
    page.wait_for_function("() => [...document.querySelectorAll('.thumb img')].every((i) => i.naturalWidth > 0)")


def test_a_tiff_is_shown_all_the_same(open_page: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "scan.tif").write_bytes(encode_picture(Picture(make_photo(30, 40)), "tiff"))
    page = open_page()
    page.set_input_files("#file", [str(tmp_path / "scan.tif")])
    page.wait_for_selector(DONE)
    page.wait_for_function("() => document.getElementById('image-before').naturalWidth === 40")
    page.wait_for_function("() => document.getElementById('image-after').naturalWidth === 160")
    page.wait_for_function("() => document.querySelector('.thumb img').naturalWidth > 0")


def test_a_preview_is_asked_for_when_there_is_one_and_no_sooner(open_page: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "scan.tif").write_bytes(encode_picture(Picture(make_photo(30, 40)), "tiff"))
    page = open_page()
    answers: list[int] = []
    page.on("response", lambda answer: answers.append(answer.status) if "/preview" in answer.url else None)
    choose(page, "steady")
    page.set_input_files("#file", [str(tmp_path / "scan.tif")])
    page.wait_for_selector('.row[data-state="running"]')
    page.wait_for_function("() => document.querySelector('.thumb img').naturalWidth > 0")
    assert page.locator('.row[data-state="running"]').count(), "long before the end"
    page.wait_for_selector(DONE)
    page.wait_for_function("() => document.getElementById('image-before').naturalWidth === 40")
    assert set(answers) == {200}


def test_problems_are_told_in_words_of_the_page(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page()
    told = page.evaluate(
        """async (problems) => {
            const { inWords } = await import("./static/words.js");
            return problems.map(inWords).map(({ title, remedy }) => `${title}. ${remedy}`);
        }""",
        [problem_body(slug) for slug in KINDS],
    )
    foreign = re.compile(r"/v1|/docs|Retry-After|--|\bjob|worker|parameter|header|multipart|Submit|undefined")
    assert not [text for text in told if foreign.search(text)]
    (tmp_path / "damaged.png").write_bytes(png(60, 40)[:-2000])
    page.set_input_files("#file", str(tmp_path / "damaged.png"))
    page.wait_for_selector('.row[data-state="failed"]')
    assert page.inner_text("#failure-detail") == "The file is damaged or ends too early."


def test_names_are_shown_as_text(open_page: Callable[..., Any]) -> None:
    page = open_page()
    drop(page, {"<img src=x onerror=alert(1)>.png": png()})
    page.wait_for_selector(DONE)
    assert page.inner_text(".row-name") == "<img src=x onerror=alert(1)>.png"
    assert page.locator(".row-name img").count() == 0


def test_a_lost_connection_is_shown_and_mended(open_page: Callable[..., Any], files: list[str]) -> None:
    page = open_page()
    page.context.set_offline(True)
    page.set_input_files("#file", files)
    page.wait_for_selector('.row[data-state="waiting"] >> text=does not answer')
    page.context.set_offline(False)
    page.wait_for_selector(f"{DONE} >> nth=1")


def test_a_file_that_was_moved_stops_no_other(open_page: Callable[..., Any], files: list[str]) -> None:
    """A browser reports a file that it can read no more as it does a lost connection."""
    page = open_page()
    page.context.set_offline(True)
    page.set_input_files("#file", files)
    page.wait_for_selector('.row[data-state="waiting"] >> text=does not answer')
    Path(files[0]).unlink()
    page.context.set_offline(False)
    page.wait_for_selector(DONE)
    assert page.inner_text('.row[data-state="failed"] .row-name') == "one.png"
    page.click('.row[data-state="failed"] .row-name')
    assert "cannot be read any more" in page.inner_text("#failure")


def test_cancelled_and_once_more_is_the_later_one(
    open_page: Callable[..., Any], server: RunningServer, files: list[str], held_answers: HeldAnswers
) -> None:
    page = open_page()
    choose(page, "crawl")
    page.set_input_files("#file", files[:1])
    wait_until(lambda: len(held_answers.made) == 1)
    page.click(".row-remove")
    page.wait_for_selector('.row[data-state="cancelled"]')
    page.click("#settings summary")
    choose(page, "good")
    page.click(".row-again")
    wait_until(lambda: len(held_answers.made) == 2)
    held_answers.let_go.set()
    page.wait_for_selector(DONE)
    assert [server.job(made)["state"] for made in held_answers.made] == ["cancelled", "done"]
    assert page.locator(".row").count() == 1


STREAM = re.compile(r"/v1/batches/[^/]+/events$")


def end_streams(page: Any) -> None:
    """Lets the page's streams of events end as soon as they begin; it asks for another every fifth of a second."""
    page.route(STREAM, lambda route: route.fulfill(content_type="text/event-stream", body="retry: 200\n\n"))
    page.reload()


def test_a_result_that_went_with_the_server_is_not_offered(open_page: Callable[..., Any], files: list[str]) -> None:
    page = open_page()
    page.set_input_files("#file", files)
    page.wait_for_selector(f"{DONE} >> nth=1")
    end_streams(page)
    page.wait_for_selector(f"{DONE} >> nth=1")
    assert page.is_visible("#download-all")
    page.route(re.compile(r"/v1/batches/[^/]+$"), lambda route: route.fulfill(json=[]))
    page.wait_for_selector('.row[data-state="expired"] >> nth=1')
    assert not page.is_visible("#download-all")


def test_without_a_stream_the_page_asks_instead(open_page: Callable[..., Any], files: list[str]) -> None:
    page = open_page()
    refused = {"title": "Too many streams", "type": "/problems/too-many-streams", "status": 429}
    page.route(STREAM, lambda route: route.fulfill(status=429, json=refused))
    page.reload()
    page.set_input_files("#file", files)
    page.wait_for_selector(f"{DONE} >> nth=1")


def test_too_many_pictures_wait_their_turn(open_page: Callable[..., Any], start: Callable[..., RunningServer]) -> None:
    server = start(limits={"queue_length": 1, "jobs_per_client": 2})
    page = open_page(server)
    drop(page, {f"{number}.png": png(8, 8, number) for number in range(6)})
    page.wait_for_selector(f"{DONE} >> nth=5", timeout=60_000)
    server.stop()


def test_pictures_that_are_dropped_before_the_sign_in_are_sent_after_it(
    chromium: Any, start: Callable[..., RunningServer]
) -> None:
    server = start(token="t" * 20)
    context = chromium.new_context()
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("#sign-in[open]")
    drop(page, {"early.png": png()})
    page.wait_for_function("() => document.querySelector('.row')?.dataset.state === 'waiting'")
    page.fill("#token", "t" * 20)
    page.keyboard.press("Enter")
    page.wait_for_selector(DONE)
    assert page.locator(".row").count() == 1
    context.close()
    server.stop()


def test_a_page_with_pictures_that_wait_is_not_left_by_mistake(
    open_page: Callable[..., Any], held_answers: HeldAnswers
) -> None:
    page = open_page()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.click("#theme-button")  # a browser asks on behalf of pages that were used
    drop(page, {"one.png": png()})
    wait_until(lambda: len(held_answers.made) == 1)
    page.close(run_before_unload=True)
    wait_until(lambda: page.is_visible(".row") and asked == ["beforeunload"])
    held_answers.let_go.set()
    page.wait_for_selector(DONE)


def test_a_token_is_asked_for_once(
    open_page: Callable[..., Any], chromium: Any, start: Callable[..., RunningServer]
) -> None:
    token = 'Kx9%vT2^pQ8|mZ4{wL"+/='
    server = start(token=token)
    context = chromium.new_context()
    page = context.new_page()
    page.goto(server.url)
    for wrong in ("wrong", "für alle"):
        page.fill("#token", wrong)
        page.keyboard.press("Enter")
        page.wait_for_selector("text=That is not the right token.")
    for _ in range(3):
        page.keyboard.press("Escape")
    page.wait_for_selector("#sign-in[open]")
    assert page.evaluate("document.activeElement.id") == "token"
    page.fill("#token", token)
    page.keyboard.press("Enter")
    page.wait_for_selector(".model")
    drop(page, {"one.png": png()})
    page.wait_for_selector(DONE)
    page.wait_for_function("() => document.getElementById('image-after').naturalWidth === 96")
    page.reload()
    page.wait_for_selector(DONE)
    assert not page.is_visible("#sign-in")
    choose(page, "steady")
    # as after a restart: the cookie is good no more, which only the stream could tell
    end_streams(page)
    page.wait_for_selector(DONE)
    context.clear_cookies()
    page.unroute(STREAM)
    page.wait_for_selector("#sign-in[open]")
    page.fill("#token", token)
    page.keyboard.press("Enter")
    page.wait_for_selector("#sign-in", state="hidden")
    assert page.is_checked("input[value=steady]"), "the choice outlasts the sign-in"
    drop(page, {"two.png": png()})
    page.wait_for_selector(f"{DONE} >> nth=1")
    context.close()
    server.stop()


def test_the_documentation(chromium: Any, server: RunningServer) -> None:
    page = chromium.new_page(viewport={"width": 390, "height": 800})
    page.goto(f"{server.url}/docs")
    page.click("summary:has-text('/v1/jobs') >> nth=0")
    assert server.url in page.inner_text("pre >> nth=0")
    assert no_sideways_scroll(page)
    page.close()


def test_the_list_follows_the_keys(open_page: Callable[..., Any], tmp_path: Path) -> None:
    for number in range(15):
        (tmp_path / f"{number:02d}.png").write_bytes(png(60, 40, number))
    page = open_page(viewport={"width": 1280, "height": 600})
    page.set_input_files("#file", sorted(str(path) for path in tmp_path.glob("*.png")))
    page.wait_for_selector(f"{DONE} >> nth=14", timeout=60_000)
    for _ in range(14):
        page.keyboard.press("j")
    row, list_ = page.locator(".row.selected").bounding_box(), page.locator("#queue").bounding_box()
    assert row["y"] + row["height"] <= list_["y"] + list_["height"] + 1
    assert "14.png, 240 × 160" in page.inner_text("#announcer")
    page.locator(".row-select >> nth=14").focus()
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.closest('.row').querySelector('.row-name').textContent") == "13.png"


def test_once_more_keeps_the_place(open_page: Callable[..., Any], files: list[str]) -> None:
    page = open_page()
    page.set_input_files("#file", files)
    page.wait_for_selector(f"{DONE} >> nth=1")
    page.locator(".row-again >> nth=1").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.closest('.row').querySelector('.row-name').textContent") == "two.png"


def test_a_cancelled_picture_of_an_earlier_page_is_to_be_chosen_again(
    open_page: Callable[..., Any], files: list[str]
) -> None:
    page = open_page()
    choose(page, "hang")
    page.set_input_files("#file", files[0])
    page.wait_for_selector('.row[data-state="running"]')
    page.reload()
    page.click('.row[data-state="running"] .row-remove')
    page.wait_for_selector('.row[data-state="cancelled"]')
    assert page.inner_text("#failure-remedy") == "Choose the picture again to start anew."


def test_a_duplicated_tab_has_a_list_of_its_own(open_page: Callable[..., Any], files: list[str]) -> None:
    page = open_page()
    page.set_input_files("#file", files[0])
    page.wait_for_selector(DONE)
    with page.context.expect_page() as opened:
        page.evaluate("() => { window.open(location.href); }")
    twin = opened.value
    twin.wait_for_selector(".model")
    twin.set_input_files("#file", files)
    twin.wait_for_selector(f"{DONE} >> nth=1")
    assert (page.locator(".row").count(), twin.locator(".row").count()) == (1, 2)
    page.reload()
    page.wait_for_selector(DONE)
    assert page.locator(".row").count() == 1


COVER = """() => {
    const cover = document.createElement("div");
    cover.style = "position: fixed; inset: 0; z-index: 99";
    document.body.append(cover);
}"""


def test_folders_are_left_out_and_told_of(open_page: Callable[..., Any], files: list[str], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    page = open_page()
    session = page.context.new_cdp_session(page)
    for dropped, told in (([files[0]], "Folders were left out"), ([], "There was no picture")):
        data = {"items": [], "files": [str(tmp_path / "folder"), *dropped], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            if kind != "dragEnter":  # under the pointer, the page changes all the while
                page.evaluate(COVER)
            session.send("Input.dispatchDragEvent", {"type": kind, "x": 400, "y": 300, "data": data})
        page.wait_for_selector(f"#notice-text:has-text('{told}')")
    assert page.locator(".row-name").all_inner_texts() == ["one.png"]


def test_a_result_that_did_not_come_is_asked_for_again(open_page: Callable[..., Any], files: list[str]) -> None:
    page = open_page()
    page.set_input_files("#file", files)
    page.wait_for_selector(f"{DONE} >> nth=1")
    page.route("**/preview?of=result", lambda route: route.abort())
    page.click(".row-select >> nth=1")
    page.wait_for_selector("#image-after:not([src])", state="attached")
    page.unroute("**/preview?of=result")
    page.click(".row-select >> nth=1")
    page.wait_for_selector("#image-after[src]", state="attached")
    wait_until(lambda: page.evaluate("document.getElementById('image-after').naturalWidth") > 0)
