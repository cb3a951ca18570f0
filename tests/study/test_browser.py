"""The raters' page in a real Chromium: the whole way with everything that goes wrong on it, and exact pixels."""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from fourfold.imaging import read_rgb
from fourfold.study import Study, invite, open_study
from fourfold.study.store import RatingStore
from tests.study.serving import ServedStudy

pytestmark = pytest.mark.browser

#: A window in which no picture of the small study fits.
TOO_SMALL = {"width": 400, "height": 170}


@pytest.fixture
def served(own_study: Path, tmp_path: Path) -> Iterator[ServedStudy]:
    with ServedStudy(own_study, "--open", "3", log=tmp_path / "log") as server:
        yield server


@pytest.fixture
def new_context(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Browser contexts, each a device of its own; any script error or blocked resource fails the test."""
    made: list[Any] = []
    errors: list[str] = []

    def make(**options: Any) -> Any:
        context = chromium.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
        context.set_default_timeout(20_000)
        context.on("weberror", lambda error: errors.append(str(error.error)))
        context.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else 0)
        made.append(context)
        return context

    yield make
    for context in made:
        context.close()
    assert errors == []


def link_of(served: ServedStudy) -> str:
    [invitation] = invite(open_study(served.folder, check_pictures=False), 1, url=served.url, days=1)
    return invitation.link


def visit(page: Any, served: ServedStudy) -> None:
    """Opens the study on a device that was offline a moment ago.

    Chromium may refuse the first connection of a new page then, once in some hundred times. A server that is gone
    fails the test, with its log; one that answers is visited again.
    """
    from playwright.sync_api import Error

    try:
        page.goto(served.url)
    except Error as error:
        if "ERR_" not in str(error):
            raise
        assert served.process is not None
        assert served.process.poll() is None, f"the server ended: {served.log.read_text()}"
        httpx.get(f"{served.url}/health", timeout=60).raise_for_status()
        page.goto(served.url)


def count(page: Any) -> str:
    return str(page.locator("#count").text_content())


def ready(page: Any) -> None:
    """Waits until a picture is on the stage, its buttons work, and it was looked at for long enough."""
    page.wait_for_selector("#stage canvas")
    page.wait_for_selector(".score:not([aria-disabled=true])")
    page.evaluate("() => new Promise((resolve) => setTimeout(resolve, 300))")


def rate(page: Any, score: int | None = None, *, by_key: bool = True) -> None:
    """Rates the picture shown (in the calibration with the score that is given) and waits for the next."""
    ready(page)
    before = count(page)
    wanted = page.locator(".score.wanted")
    if wanted.count():
        score = int(wanted.get_attribute("data-score"))
    if by_key:
        page.keyboard.press(str(score))
    else:
        page.click(f".score[data-score='{score}']")
    page.wait_for_function("before => document.getElementById('count').textContent !== before", arg=before)


def start(page: Any) -> None:
    page.wait_for_selector("#start:enabled")
    page.click("#start")
    page.wait_for_selector("#stage canvas")


def try_now(page: Any) -> None:
    """Presses the button, if the page has not tried again by itself and put it away."""
    page.evaluate("() => document.getElementById('retry').click()")


def through_the_calibration(page: Any) -> None:
    while "Calibration" in count(page):
        rate(page)
    page.click("#begin")
    ready(page)


def kept(served: ServedStudy) -> list[Any]:
    manifest = open_study(served.folder, check_pictures=False).manifest
    url = f"sqlite:///{served.folder / 'ratings.sqlite'}"
    store = RatingStore(url, study_id=manifest.study_id, digest=manifest.digest)
    try:
        return store.ratings()
    finally:
        store.close()


def test_the_focus_stays_where_a_score_was_given(served: ServedStudy, new_context: Callable[..., Any]) -> None:
    """Who rates with Tab and Enter, or with a switch, need not find the score again for every picture."""
    page = new_context().new_page()
    page.goto(served.url)
    page.fill("#name", "Grace")
    page.click("text=Take part")
    start(page)
    through_the_calibration(page)
    focused = "() => document.activeElement.dataset.score ?? document.activeElement.className"
    assert page.evaluate(focused) == "scores", "the card has gone, and the focus not with it"
    for _ in range(3):
        page.keyboard.press("Tab")
    for number in (1, 2, 3):
        assert count(page) == f"Picture {number} of 24"
        assert page.evaluate(focused) == "3"
        page.wait_for_timeout(300)  # a press sooner than this does not count
        page.keyboard.press("Enter" if number < 3 else "Space")
        page.wait_for_function(f"() => document.getElementById('count').textContent === 'Picture {number + 1} of 24'")
        ready(page)
    assert [rating.score for rating in kept(served)[4:]] == [3, 3, 3]


def test_from_enrolment_to_the_last_rating(served: ServedStudy, new_context: Callable[..., Any]) -> None:
    context = new_context()
    page = context.new_page()

    # enrolment, instructions, screen check, calibration
    page.goto(served.url)
    page.fill("#name", "Ada <b>Lovelace</b>")
    page.click("text=Take part")
    start(page)
    assert count(page) == "Calibration 1 of 4"
    wrong = page.locator(".score:not(.wanted)").first.get_attribute("data-score")
    ready(page)
    page.keyboard.press(wrong)
    assert "the score is given" in page.text_content("#toast")
    through_the_calibration(page)

    # keys, mouse, undo
    assert count(page) == "Picture 1 of 24"
    rate(page, 2)
    rate(page, 4, by_key=False)
    ready(page)
    page.keyboard.press("u")
    page.wait_for_function("() => document.getElementById('count').textContent === 'Picture 2 of 24'")
    assert page.locator("#undo").is_disabled()
    rate(page, 5)
    assert [r.score for r in kept(served)[4:]] == [2, 5]

    # pause hides the picture, keys do nothing, resume goes on
    ready(page)
    page.keyboard.press("p")
    page.wait_for_selector("#card-pause")
    page.keyboard.press("3")
    assert len(kept(served)) == 6
    page.click("#resume")
    rate(page, 3)

    # a reload goes on at the same picture
    ready(page)
    shown = page.get_attribute("#stage canvas", "data-url")
    page.reload()
    page.wait_for_selector("#card-welcome")
    assert page.text_content("#welcome-title") == "Welcome back"
    start(page)
    assert count(page) == "Picture 4 of 24"
    assert page.get_attribute("#stage canvas", "data-url") == shown

    # a second tab goes ahead; the first one follows by itself
    second = context.new_page()
    second.goto(served.url)
    start(second)
    rate(second, 1)
    page.wait_for_function("() => document.getElementById('count').textContent === 'Picture 5 of 24'")
    second.close()
    rate(page, 2)

    # the connection is lost: the score is kept, nothing else shows, and it arrives once
    ready(page)
    context.set_offline(True)
    page.keyboard.press("4")
    page.wait_for_selector("#offline:visible")
    page.keyboard.press("1")
    assert count(page) == "Picture 6 of 24"
    assert len(kept(served)) == 9
    context.set_offline(False)
    page.wait_for_function("() => document.getElementById('count').textContent === 'Picture 7 of 24'")
    page.wait_for_selector("#offline", state="hidden")
    assert [r.score for r in kept(served)[4:]] == [2, 5, 3, 1, 2, 4]

    # the connection is lost, and then the page is closed: the score is sent when the page is back
    ready(page)
    context.set_offline(True)
    page.keyboard.press("5")
    page.wait_for_selector("#offline:visible")
    page.close()
    context.set_offline(False)
    page = context.new_page()
    visit(page, served)
    start(page)
    assert count(page) == "Picture 8 of 24"
    assert kept(served)[-1].score == 5

    # the server dies and comes back: the page waits for it
    ready(page)
    served.kill()
    page.keyboard.press("2")
    page.wait_for_selector("#offline:visible")
    served.start()
    page.wait_for_function("() => document.getElementById('count').textContent === 'Picture 9 of 24'")
    assert kept(served)[-1].score == 2

    # to the end, one undo from there, and again to the end
    while count(page) != "Picture 24 of 24":
        rate(page, 3)
    ready(page)
    page.keyboard.press("3")
    page.wait_for_selector("#card-done")
    page.set_viewport_size(TOO_SMALL)  # seen only when a picture is to be shown again
    page.click("#done-undo")
    page.wait_for_selector("#card-small")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.wait_for_selector("#card-small", state="hidden")
    ready(page)
    page.keyboard.press("1")
    page.wait_for_selector("#card-done")
    scores = [r.score for r in kept(served)]
    assert len(scores) == 28
    assert scores[-1] == 1
    page.reload()
    page.wait_for_selector("#card-done")


def test_a_second_tab_that_heard_nothing_is_told_where_we_are(
    served: ServedStudy, new_context: Callable[..., Any]
) -> None:
    context = new_context()
    context.add_init_script("delete window.BroadcastChannel")
    first, second = context.new_page(), context.new_page()
    first.goto(link_of(served))
    start(first)
    through_the_calibration(first)
    second.goto(served.url)
    start(second)
    rate(first, 4)
    ready(second)
    second.keyboard.press("1")
    second.wait_for_function("() => document.getElementById('count').textContent === 'Picture 2 of 24'")
    assert "went on elsewhere" in second.text_content("#toast")
    assert [r.score for r in kept(served)[4:]] == [4]


@pytest.mark.parametrize("status", [404, 408, 429])
def test_a_proxys_word_is_not_the_studys(served: ServedStudy, new_context: Callable[..., Any], status: int) -> None:
    page = new_context().new_page()
    page.goto(link_of(served))
    start(page)
    ready(page)
    before = count(page)
    page.route("**/api/rating", lambda route: route.fulfill(status=status, body="backend is restarting"))
    page.keyboard.press(page.locator(".score.wanted").get_attribute("data-score"))
    page.wait_for_selector("#offline:visible")
    assert "Your last score is kept here" in page.text_content("#offline-text")
    page.reload()  # behind the first card, too, the reason is to be read
    page.wait_for_selector("#offline:visible")
    spot = page.locator("#retry").bounding_box()
    assert page.evaluate("([x, y]) => document.elementFromPoint(x, y).id", [spot["x"] + 5, spot["y"] + 5]) == "retry"
    page.unroute("**/api/rating")
    try_now(page)
    start(page)
    ready(page)
    assert count(page) != before


def test_a_browser_that_keeps_nothing_sends_scores_all_the_same(
    served: ServedStudy, new_context: Callable[..., Any]
) -> None:
    page = new_context().new_page()
    page.add_init_script(
        "for (const name of ['getItem', 'setItem', 'removeItem'])"
        " Storage.prototype[name] = () => { throw new DOMException('no', 'SecurityError'); };"
    )
    page.goto(link_of(served))
    start(page)
    rate(page)
    rate(page)


def test_the_cards_say_what_is_saved(served: ServedStudy, new_context: Callable[..., Any]) -> None:
    context = new_context()
    page = context.new_page()
    page.goto(link_of(served))
    start(page)
    through_the_calibration(page)
    rate(page, 2)
    ready(page)
    page.keyboard.press("p")
    saved = "Everything is saved. You can close this page; open the same link on this device to go on."
    assert page.text_content("#pause-text") == f"Picture 2 of 24 is next. {saved}"
    page.click("#resume")
    ready(page)

    # the connection is lost: nothing of that is said while a score is kept here alone
    context.set_offline(True)
    page.keyboard.press("4")
    page.wait_for_selector("#offline:visible")
    page.keyboard.press("p")
    page.wait_for_selector("#card-pause")
    assert str(page.text_content("#pause-text")).startswith("Your last score is kept on this device until it is saved.")
    page.set_viewport_size(TOO_SMALL)
    assert "Your last score is kept here" in str(page.text_content("#card-small"))

    # it is back: the card that is open all the while follows
    context.set_offline(False)
    page.wait_for_function("() => document.getElementById('pause-text').textContent.startsWith('Picture 3 of 24')")
    assert page.text_content("#pause-text") == f"Picture 3 of 24 is next. {saved}"
    assert "Your ratings are saved; rating goes on" in re.sub(r"\s+", " ", str(page.text_content("#card-small")))
    assert page.locator("#card-pause").is_visible()
    assert [r.score for r in kept(served)[4:]] == [2, 4]


@pytest.mark.parametrize("width", [360, 1280])
def test_a_score_that_only_the_page_has(served: ServedStudy, new_context: Callable[..., Any], width: int) -> None:
    context = new_context(viewport={"width": width, "height": 640})
    context.add_init_script("Storage.prototype.setItem = () => { throw new DOMException('no', 'SecurityError'); };")
    page = context.new_page()
    page.goto(link_of(served))
    start(page)
    ready(page)
    context.set_offline(True)
    page.keyboard.press(page.locator(".score.wanted").get_attribute("data-score"))
    page.wait_for_selector("#offline:visible")
    page.keyboard.press("p")
    page.wait_for_selector("#card-pause")
    assert page.text_content("#pause-text") == "Your last score is not saved yet. Leave this page open until it is."
    for part in ("pause-title", "pause-text", "resume"):  # the line about the connection covers none of it
        box = page.locator(f"#{part}").bounding_box()
        spot = [box["x"] + 5, box["y"] + 5]
        assert page.evaluate("([x, y]) => document.elementFromPoint(x, y).id", spot) == part


def test_keys_of_other_layouts(served: ServedStudy, new_context: Callable[..., Any]) -> None:
    page = new_context().new_page()
    page.goto(link_of(served))
    start(page)
    through_the_calibration(page)

    def press(key: str, code: str, **more: bool) -> bool:
        """Returns whether the page took the key for itself."""
        ready(page)
        event = {"key": key, "code": code, "bubbles": True, "cancelable": True} | more
        return not page.evaluate("event => document.dispatchEvent(new KeyboardEvent('keydown', event))", event)

    # AZERTY without and with Shift, a numeric keypad without Num Lock, Arabic digits
    pressed = [("&", "Digit1"), ("2", "Digit2"), ("End", "Numpad1"), ("\u0664", "Digit4"), ("5", "Numpad5")]
    for number, (key, code) in enumerate(pressed, start=1):
        assert count(page) == f"Picture {number} of 24"
        assert press(key, code)
        page.wait_for_function(
            "n => document.getElementById('count').textContent.startsWith(`Picture ${n} `)", arg=number + 1
        )
    assert [r.score for r in kept(served)[4:]] == [1, 2, 1, 4, 5]

    # what types something else is that: Dvorak's l and g, an 8 where others have a 3, what AltGr makes of a key
    for key, code in (("l", "KeyP"), ("g", "KeyU"), (";", "KeyP"), ("8", "Digit3"), ("6", "Digit6"), ("Tab", "Tab")):
        assert not press(key, code)
    assert not press("#", "Digit3", modifierAltGraph=True)
    assert count(page) == "Picture 6 of 24"
    assert page.locator("#card-pause").is_hidden()

    # one key does one thing: a U where others have their P takes back
    assert press("u", "KeyP")
    page.wait_for_function("() => document.getElementById('count').textContent === 'Picture 5 of 24'")
    assert page.locator("#card-pause").is_hidden()

    # a Cyrillic letter at the place of P
    assert press("\u0437", "KeyP")
    page.wait_for_selector("#card-pause")


def test_another_device_that_went_on_while_a_picture_was_held_up(
    served: ServedStudy, new_context: Callable[..., Any]
) -> None:
    link = link_of(served)
    first, second = new_context().new_page(), new_context().new_page()
    first.goto(link)
    start(first)
    through_the_calibration(first)
    held: list[Any] = []
    second.route("**/pictures/*", lambda route: held.append(route))
    second.goto(link)
    second.wait_for_selector("#start:enabled")
    with second.expect_request("**/pictures/*"):
        second.click("#start")
    for score in (1, 2, 3):
        rate(first, score)
    for route in held:
        route.continue_()
    second.unroute("**/pictures/*")  # with it, what was held since goes on
    ready(second)
    assert count(second) == "Picture 4 of 24"
    assert "went on elsewhere" in second.text_content("#toast")
    assert second.locator("#offline").is_hidden()
    rate(second, 4)
    assert [r.score for r in kept(served)[4:]] == [1, 2, 3, 4]


def test_a_picture_that_was_damaged_is_named_until_it_is_whole_again(
    served: ServedStudy, new_context: Callable[..., Any]
) -> None:
    page = new_context().new_page()
    page.goto(link_of(served))
    whole = {path: path.read_bytes() for path in (served.folder / "pictures").iterdir()}
    for path, data in whole.items():
        path.write_bytes(data + b"x")
    page.wait_for_selector("#start:enabled")
    page.click("#start")
    page.wait_for_selector("#offline:visible")
    text = str(page.text_content("#offline-text"))
    assert text == (
        "A file of this study is missing or was changed; tell the person who runs it. Your scores are saved."
    )
    for path, data in whole.items():
        path.write_bytes(data)
    try_now(page)
    rate(page)
    assert page.locator("#offline").is_hidden()
    assert len(kept(served)) == 1


def test_raters_who_take_turns_at_one_screen(served: ServedStudy, new_context: Callable[..., Any]) -> None:
    context = new_context()
    links = link_of(served), link_of(served)
    first, second = context.new_page(), context.new_page()
    first.goto(links[0])
    start(first)
    through_the_calibration(first)
    rate(first, 1)
    second.goto(links[1])
    start(second)
    rate(second)

    # the page of the first one is still open: it must not rate for the second one
    first.bring_to_front()
    ready(first)
    first.keyboard.press("2")
    first.wait_for_selector("#card-stopped")
    assert "Another rater opened a link in this browser" in first.text_content("#stopped-text")
    assert first.locator("#stopped-reload").is_hidden()  # it would lead to the second one's page
    assert len(kept(served)) == 6

    # the link of the first one sends the score that was kept, once and under the right name
    first.goto(links[0])
    start(first)
    assert count(first) == "Picture 3 of 24"
    rate(first, 3)
    one, two = first.get_attribute("body", "data-rater"), second.get_attribute("body", "data-rater")
    assert [r.score for r in kept(served) if r.rater == one][4:] == [1, 2, 3]
    assert len([r for r in kept(served) if r.rater == two]) == 1
    assert first.evaluate("() => localStorage.length") == 0

    # and now it is the second one's page that is out of action, when it is used
    assert second.locator("#card-stopped").is_hidden()
    second.bring_to_front()
    ready(second)
    second.keyboard.press(second.get_attribute(".score.wanted", "data-score"))
    second.wait_for_selector("#card-stopped")
    assert len([r for r in kept(served) if r.rater == two]) == 1


def test_joining_over_plain_http(served: ServedStudy, new_context: Callable[..., Any]) -> None:
    """Under a name that is not localhost, a browser tells where a form comes from by its origin alone."""
    page = new_context().new_page()
    page.goto(f"http://ratings.test:{served.port}")
    page.click("text=Take part")
    start(page)
    rate(page)
    assert len(kept(served)) == 1


def test_a_shut_out_rater_is_told(served: ServedStudy, new_context: Callable[..., Any]) -> None:
    page, admin = new_context().new_page(), new_context().new_page()
    page.goto(link_of(served))
    start(page)
    admin.goto(served.admin_link)
    admin.once("dialog", lambda dialog: dialog.accept())
    admin.focus("text=Shut out")
    admin.keyboard.press("Enter")
    admin.wait_for_selector("text=Let in again")
    assert admin.evaluate("() => document.activeElement.textContent") == "Let in again", "the focus stays"
    ready(page)
    page.keyboard.press(page.get_attribute(".score.wanted", "data-score"))
    page.wait_for_selector("#card-stopped")
    assert "access was closed" in page.text_content("#stopped-text")


def test_the_admin_page_is_not_changed_under_ones_hands(served: ServedStudy, new_context: Callable[..., Any]) -> None:
    page, admin = new_context().new_page(), new_context().new_page()
    page.goto(served.url)
    page.fill("#name", "Grace")
    page.click("text=Take part")
    start(page)
    admin.clock.install()  # so that the page asks again when we say so
    admin.goto(served.admin_link)
    admin.wait_for_selector("text=0 of 28")
    assert admin.locator("#raters progress:indeterminate").count() == 0
    admin.dblclick("text=Grace")
    selected = admin.evaluate("() => getSelection().toString()")
    assert "Grace" in selected

    button = admin.locator("text=Shut out").bounding_box()
    admin.mouse.move(button["x"] + 10, button["y"] + 10)
    rate(page)
    admin.clock.fast_forward(4000)
    admin.wait_for_selector("text=1 of 28")
    assert admin.evaluate("() => getSelection().toString()") == selected

    asked: list[str] = []
    admin.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    admin.mouse.down()
    rate(page)
    second = new_context().new_page()
    second.goto(served.url)
    second.click("text=Take part")
    second.wait_for_selector("#start:enabled")
    admin.clock.fast_forward(4000)
    admin.wait_for_selector("text=2 of 28")
    assert admin.locator("#raters tr").count() == 2
    admin.mouse.up()
    assert len(asked) == 1 and "The ratings stay" in asked[0]


@pytest.mark.parametrize("width", [360, 1100])
def test_only_the_table_of_the_admin_page_scrolls_sideways(
    served: ServedStudy, new_context: Callable[..., Any], width: int
) -> None:
    page, admin = new_context().new_page(), new_context(viewport={"width": width, "height": 800}).new_page()
    page.goto(served.url)
    page.fill("#name", "A rather long name, as people have them")
    page.click("text=Take part")
    start(page)
    admin.goto(served.admin_link)
    admin.wait_for_selector("text=A rather long name")
    assert admin.evaluate("() => document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1600])
def test_whoever_watches_can_shut_out_at_any_width(
    served: ServedStudy, new_context: Callable[..., Any], width: int, scheme: str
) -> None:
    page = new_context().new_page()
    page.goto(served.url)
    page.fill("#name", "A rather long name, as people have them")
    page.click("text=Take part")
    start(page)
    admin = new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
    admin.goto(served.admin_link)
    admin.wait_for_selector("text=1280 × 800, ratio 1")
    table, button = (admin.locator(what).bounding_box() for what in (".table-scroll", "text=Shut out"))
    assert table["x"] <= button["x"] and button["x"] + button["width"] <= table["x"] + table["width"] <= width
    assert admin.locator("#raters td:last-child").evaluate(_LOOKS) == admin.locator(".table-scroll").evaluate(_LOOKS)
    row = admin.locator("#raters tr")
    if width >= 800:
        assert admin.locator(".table-scroll").evaluate("box => box.scrollWidth <= box.clientWidth"), "all is in sight"
    assert row.locator("td:nth-child(5)").evaluate("cell => cell.scrollWidth <= cell.clientWidth")


_LOOKS = "element => getComputedStyle(element).backgroundColor"


def test_the_admin_page_shows_names_as_text(served: ServedStudy, new_context: Callable[..., Any]) -> None:
    page, admin = new_context().new_page(), new_context().new_page()
    page.goto(served.url)
    page.fill("#name", "<img src=x onerror=alert(1)>")
    page.click("text=Take part")
    page.wait_for_selector("#start:enabled")
    admin.goto(served.admin_link)
    admin.wait_for_selector("text=<img src=x onerror=alert(1)>")
    assert admin.locator("#raters img").count() == 0


def screenshot(page: Any) -> NDArray[np.uint8]:
    return read_rgb_bytes(page.screenshot(scale="device"))


def read_rgb_bytes(data: bytes) -> NDArray[np.uint8]:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(
    ("ratio", "size", "factor"),
    [
        (1.0, (1280, 800), 1),
        (1.25, (1281, 803), 1),
        (1.5, (901, 701), 2),
        (2.0, (1280, 800), 2),
        (3.0, (390, 844), 3),
        (2.625, (412, 915), 3),
        (1.1, (1280, 720), 1),
        (1.75, (1366, 768), 2),
        (0.9, (1422, 888), 1),
    ],
)
def test_every_pixel_of_a_picture_reaches_the_screen(
    ratio: float,
    size: tuple[int, int],
    factor: int,
    served: ServedStudy,
    study: Study,
    new_context: Callable[..., Any],
) -> None:
    context = new_context(viewport={"width": size[0], "height": size[1]}, device_scale_factor=ratio)
    page = context.new_page()
    page.goto(link_of(served))
    start(page)
    for _ in range(2):
        ready(page)
        picture = read_rgb_bytes(
            context.request.get(served.url + page.get_attribute("#stage canvas", "data-url")).body()
        )
        page.evaluate("() => { document.getElementById('anchor').hidden = true; }")
        seen = screenshot(page)
        expected = np.repeat(np.repeat(picture, factor, axis=0), factor, axis=1)
        assert is_part_of(expected, seen), f"the picture is not shown pixel for pixel at ratio {ratio}"
        rate(page)
    assert {r.magnification for r in kept(served)} == {factor}


def is_part_of(part: NDArray[np.uint8], whole: NDArray[np.uint8]) -> bool:
    """Whether ``part`` stands somewhere in ``whole``, exactly."""
    rows, columns = whole.shape[0] - part.shape[0] + 1, whole.shape[1] - part.shape[1] + 1
    corner = (whole[:rows, :columns] == part[0, 0]).all(axis=2)
    corner &= (whole[:rows, part.shape[1] - 1 :] == part[0, -1]).all(axis=2)
    return any(
        np.array_equal(whole[y : y + part.shape[0], x : x + part.shape[1]], part) for y, x in np.argwhere(corner)
    )


def test_a_window_that_is_too_small_stops_rating_until_it_is_large_enough(
    served: ServedStudy, new_context: Callable[..., Any]
) -> None:
    page = new_context(viewport=TOO_SMALL).new_page()
    page.add_init_script(
        "window.skippedMs = 0; const now = performance.now.bind(performance);"
        "performance.now = () => now() + window.skippedMs;"
    )
    page.goto(link_of(served))
    page.wait_for_selector("#checks li.bad")
    assert page.locator("#start").is_disabled()
    page.set_viewport_size({"width": 400, "height": 500})
    start(page)
    ready(page)
    page.set_viewport_size(TOO_SMALL)
    page.wait_for_selector("#card-small")
    page.keyboard.press(page.get_attribute(".score[data-score='1']", "data-score"))
    page.keyboard.press("5")
    page.evaluate("() => { window.skippedMs += 3_600_000; }")  # an hour behind the card is no hour of looking
    page.set_viewport_size({"width": 400, "height": 500})
    page.wait_for_selector("#card-small", state="hidden")
    assert kept(served) == []
    rate(page)
    assert kept(served)[0].response_ms < 3_600_000


def test_a_window_that_got_too_small_behind_a_card(served: ServedStudy, new_context: Callable[..., Any]) -> None:
    page = new_context(viewport={"width": 400, "height": 500}).new_page()
    page.goto(link_of(served))
    start(page)
    while "Calibration" in count(page):
        rate(page)
    page.wait_for_selector("#card-begin")
    page.set_viewport_size(TOO_SMALL)
    page.click("#begin")
    page.wait_for_selector("#card-small")
    page.keyboard.press("3")
    page.set_viewport_size({"width": 400, "height": 500})
    page.wait_for_selector("#card-small", state="hidden")
    rate(page, 4)
    assert [r.score for r in kept(served)[4:]] == [4]


def test_the_page_works_by_keyboard_alone_and_names_its_parts(
    served: ServedStudy, new_context: Callable[..., Any]
) -> None:
    page = new_context().new_page()
    page.goto(link_of(served))
    page.wait_for_selector("#start:enabled")
    while page.evaluate("() => document.activeElement.id") != "start":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    through_the_calibration(page)
    names = page.evaluate(
        "() => [...document.querySelectorAll('.score')].map((b) => b.innerText.replace(/\\s+/g, ' '))"
    )
    assert names == ["1 Bad", "2 Poor", "3 Fair", "4 Good", "5 Excellent"]
    assert page.get_attribute("#stage canvas", "aria-label") == "Picture to rate"
    rate(page, 4)
    ready(page)
    assert page.text_content("#status") == "Saved: 4. Picture 2 of 24."
    # what is behind a card cannot be reached
    page.keyboard.press("p")
    page.wait_for_selector("#card-pause")
    assert page.evaluate("() => document.querySelector('.scores').inert")


def test_the_screen_check_is_recorded(served: ServedStudy, new_context: Callable[..., Any]) -> None:
    page = new_context(device_scale_factor=2.0).new_page()
    with page.expect_response("**/api/screen") as answer:
        page.goto(link_of(served))
        start(page)
    sent = answer.value.request.post_data_json
    assert (sent["pixel_ratio"], sent["magnification"], sent["fits"]) == (2, 2, True)
    assert (sent["window_width"], sent["window_height"]) == (1280, 800)


def test_pictures_are_the_files_of_the_study(served: ServedStudy, study: Study) -> None:
    for stimulus in study.manifest.stimuli.values():
        pixels = read_rgb_bytes(study.picture(stimulus.id))
        np.testing.assert_array_equal(pixels, read_rgb(study.folder / stimulus.file))
