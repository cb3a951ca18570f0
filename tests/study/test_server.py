"""The web application over HTTP: the rater's way, the admin page, and everything that is refused."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from fourfold.study import Settings, Study, create_app
from fourfold.study import tokens as study_tokens
from fourfold.study.store import RatingStore
from fourfold.study.tokens import admin_token, issue, picture_name
from tests.study.client import Client

SOON = 2_000_000_000
PERSON = {"accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def new_client(study: Study, store: RatingStore) -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(open_places: int = 0, of: Study = study, at: RatingStore = store) -> Client:
        made.append(Client(create_app(of, at, Settings(open_places=open_places))))
        return made[-1]

    yield make
    for client in made:
        client.close()


def join(client: Client, data: dict[str, str], headers: dict[str, str] | None = None) -> httpx.Response:
    """Sends the first page's form as a browser does that has been given that page."""
    client.get("/", headers=PERSON)
    return client.post("/join", data=data, headers=headers or {})


@pytest.fixture
def store_url(tmp_path: Any) -> str:
    """The server's tests run on SQLite; the store's own run on both."""
    return f"sqlite:///{tmp_path / 'ratings.sqlite'}"


@pytest.fixture
def other_study(study: Study) -> Study:
    """A study on the same host: the same pictures, another identifier and another key."""
    return replace(study, manifest=replace(study.manifest, study_id="0123456789abcdef"), key=b"o" * 32)


@pytest.fixture
def client(new_client: Callable[..., Client]) -> Client:
    return new_client()


def arrive(client: Client, study: Study, rater: str = "r01-abcdef", expires_at: int = SOON) -> str:
    client.cookies.clear()
    answer = client.get(f"/r/{issue(study.key, rater, expires_at)}")
    assert answer.status_code == 303, answer.text
    assert client.get(answer.headers["location"]).status_code == 200
    return rater


def of_page(rater: str) -> dict[str, str]:
    """What a rater's page says of itself."""
    return {"x-fourfold-rater": rater}


def cookie_of(study: Study) -> str:
    return f"fourfold_rater_{study.manifest.study_id}"


def rate(client: Client, state: dict[str, Any], given: int | None = None, **changes: Any) -> Any:
    current = state["current"]
    body = {
        "picture": current["picture"],
        "position": current["position"],
        "score": given or current["anchor"] or 3,
        "nonce": f"nonce-{time.perf_counter_ns()}",
        "response_ms": 800,
        "magnification": 1,
    }
    return client.post("/api/rating", json=body | changes)


def calibrated(client: Client) -> dict[str, Any]:
    state = client.get("/api/state").json()
    while state["phase"] == "calibration":
        state = rate(client, state).json()
    return state


def test_the_whole_way_of_a_rater(client: Client, study: Study, store: RatingStore) -> None:
    rater = arrive(client, study)
    page = client.get("/rate")
    assert page.status_code == 200
    assert "A small study" in page.text
    state = client.get("/api/state").json()
    assert (state["phase"], state["done"], state["total"], state["calibration"]) == ("calibration", 0, 28, 4)
    seen = []
    while state["phase"] != "done":
        picture = client.get(state["current"]["url"])
        assert picture.headers["content-type"] == "image/png"
        seen.append(picture.content)
        state = rate(client, state).json()
    assert state["current"] is None
    assert len(seen) == 28
    assert len(set(seen)) == 25  # three were shown twice, under other names
    assert store.progress(rater).done == 28


def test_names_of_pictures_tell_nothing_and_differ_between_raters(client: Client, study: Study) -> None:
    first = {picture_name(study.key, "r01-abcdef", n) for n in range(28)}
    second = {picture_name(study.key, "r02-abcdef", n) for n in range(28)}
    assert len(first) == 28
    assert not first & second
    arrive(client, study)
    text = client.get("/api/state").text
    assert not any(word in text for word in (*study.manifest.stimuli, "nearest", "bicubic", "Set5", "scene"))


def test_only_three_pictures_can_be_had_at_a_time(client: Client, study: Study) -> None:
    rater = arrive(client, study)
    calibrated(client)
    names = [picture_name(study.key, rater, n) for n in range(28)]
    got = [n for n, name in enumerate(names) if client.get(f"/pictures/{name}.png").status_code == 200]
    assert got == [3, 4, 5]
    other = picture_name(study.key, "r02-abcdef", 4)
    assert client.get(f"/pictures/{other}.png").status_code == 404
    assert client.get("/pictures/..%2f..%2fmanifest.json.png").status_code == 404


def test_undo_and_resume(client: Client, study: Study) -> None:
    arrive(client, study)
    state = calibrated(client)
    state = rate(client, state, 2).json()
    assert (state["can_undo"], state["last_score"]) == (True, 2)
    state = client.post("/api/undo", json={"position": state["done"] - 1}).json()
    assert (state["done"], state["can_undo"], state["last_score"]) == (4, False, None)
    assert client.get("/api/state").json() == state


# Bad input

REFUSED_RATINGS = {
    "score 0": ({"score": 0}, 422, "1 to 5"),
    "score 6": ({"score": 6}, 422, "1 to 5"),
    "score a text": ({"score": "3"}, 422, "score"),
    "score a fraction": ({"score": 3.5}, 422, "score"),
    "score true": ({"score": True}, 422, "score"),
    "score null": ({"score": None}, 422, "score"),
    "score huge": ({"score": 10**30}, 422, "1 to 5"),
    "no such picture": ({"picture": "x" * 22}, 403, "not the picture"),
    "picture too long": ({"picture": "x" * 2000}, 422, "picture"),
    "out of order": ({"position": 5}, 403, "not the picture"),
    "beyond the end": ({"position": 28}, 409, "not next"),
    "negative": ({"position": -1}, 422, "position"),
    "nonce short": ({"nonce": "x"}, 422, "nonce"),
    "nonce long": ({"nonce": "x" * 65}, 422, "nonce"),
    "nonce with a zero byte": ({"nonce": "x" * 10 + "\x00"}, 422, "nonce"),
    "response time negative": ({"response_ms": -1}, 422, "response_ms"),
    "a field too many": ({"rater": "r02-abcdef"}, 422, "rater"),
}


@pytest.mark.parametrize("case", REFUSED_RATINGS)
def test_ratings_that_are_refused(case: str, client: Client, study: Study, store: RatingStore) -> None:
    changes, status, message = REFUSED_RATINGS[case]
    rater = arrive(client, study)
    state = calibrated(client)
    answer = rate(client, state, **changes)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert message in answer.json()["detail"]
    assert store.progress(rater).done == 4


def test_someone_elses_picture(new_client: Callable[..., Client], study: Study, store: RatingStore) -> None:
    mine, theirs = new_client(), new_client()
    rater = arrive(mine, study, "r01-abcdef")
    arrive(theirs, study, "r02-abcdef")
    own, other = calibrated(mine), calibrated(theirs)
    answer = rate(mine, own, picture=other["current"]["picture"])
    assert (answer.status_code, answer.json()["detail"]) == (403, "this is not the picture that you were shown")
    assert mine.get(other["current"]["url"]).status_code == 404
    assert store.progress(rater).done == 4


def test_a_page_of_another_rater_in_the_same_browser(client: Client, study: Study, store: RatingStore) -> None:
    older = arrive(client, study, "r01-abcdef")
    state = client.get("/api/state", headers=of_page(older)).json()
    newer = arrive(client, study, "r02-abcdef")
    current = state["current"]
    rating = {"picture": current["picture"], "position": 0, "score": current["anchor"], "nonce": "nonce-0000"}
    for answer in (
        client.get("/api/state", headers=of_page(older)),
        client.post("/api/rating", json=rating, headers=of_page(older)),
        client.post("/api/undo", json={"position": 0}, headers=of_page(older)),
        client.post("/api/event", json={"what": "pause"}, headers=of_page(older)),
    ):
        assert (answer.status_code, answer.json()["title"]) == (401, "No valid link")
        assert "another rater opened a link in this browser" in answer.json()["detail"]
    assert store.ratings() == store.events() == []
    assert client.get("/api/state", headers=of_page(newer)).status_code == 200
    arrive(client, study, older)
    assert client.post("/api/rating", json=rating, headers=of_page(older)).json()["done"] == 1
    assert (store.progress(older).done, store.progress(newer).done) == (1, 0)


def test_twice_out_of_order_and_after_the_end(client: Client, study: Study) -> None:
    rater = arrive(client, study)
    state = calibrated(client)
    assert rate(client, state).status_code == 200
    twice = rate(client, state)
    assert (twice.status_code, twice.json()["detail"]) == (409, "picture 5 is rated already")
    ahead = rate(client, state, position=9, picture=picture_name(study.key, rater, 9))
    assert (ahead.status_code, ahead.json()["detail"]) == (409, "picture 10 is not next; picture 6 is")
    state = client.get("/api/state").json()
    while state["phase"] != "done":
        last = state
        state = rate(client, state).json()
    after = rate(client, last)
    assert (after.status_code, after.json()["detail"]) == (409, "you have rated everything; nothing more can be added")


def forged(key: bytes) -> dict[str, str]:
    good = issue(key, "r01-abcdef", SOON)
    rater, expiry, signature = good.split(".")
    return {
        "another rater": f"r02-abcdef.{expiry}.{signature}",
        "a later end": f"{rater}.{SOON + 1:x}.{signature}",
        "another key": issue(b"k" * 32, "r01-abcdef", SOON),
        "signature cut": good[:-1],
        "no signature": f"{rater}.{expiry}",
        "nothing": "x",
        "not ascii": "r01-abcdef.7.ü",
        "signed, but no rater": issue(key, "../../etc", SOON),
        "the admin's": admin_token(key),
        "expired": issue(key, "r01-abcdef", 1_000_000),
    }


@pytest.mark.parametrize("case", forged(b"k" * 32))
def test_forged_and_expired_tokens(case: str, client: Client, study: Study, store: RatingStore) -> None:
    token = forged(study.key)[case]
    by_link = client.get(f"/r/{token}")
    assert by_link.status_code in (401, 404)  # a path with slashes is no token at all
    client.cookies.clear()
    by_cookie = client.get("/api/state", headers={b"cookie": f"{cookie_of(study)}={token}".encode()})
    assert by_cookie.status_code == 401
    assert ("expired" if case == "expired" else "not one of this study") in by_cookie.json()["detail"]
    assert store.raters() == []


def test_without_any_token(client: Client) -> None:
    for path in ("/rate", "/api/state", "/pictures/x.png", "/admin", "/admin/api/progress"):
        assert client.get(path).status_code == 401, path
    for path in ("/api/rating", "/api/undo", "/api/screen", "/api/event", "/admin/api/access"):
        assert client.post(path, json={}).status_code in (401, 422), path
    page = client.get("/", headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "by invitation" in page.text


def test_a_shut_out_rater(client: Client, study: Study, store: RatingStore) -> None:
    rater = arrive(client, study)
    store.set_revoked(rater, True)
    answer = client.get("/api/state")
    assert (answer.status_code, answer.json()["title"]) == (403, "Not allowed")


def test_a_shut_out_rater_is_told_and_gets_no_other_place(
    new_client: Callable[..., Client], study: Study, store: RatingStore
) -> None:
    client = new_client(open_places=5)
    join(client, {"name": "Mallory"})
    [rater] = store.raters()
    store.set_revoked(rater.id, True)
    landing = client.get("/", headers=PERSON)
    assert "Your access was closed by the person who runs this study." in landing.text
    assert "<form" not in landing.text
    again = join(client, {"name": "Mallory"}, headers=PERSON)
    assert (again.status_code, "access was closed" in again.text) == (403, True)
    assert len(store.raters()) == 1
    store.set_revoked(rater.id, False)
    assert client.get("/").headers["location"] == "/rate"


def test_a_place_of_someone_shut_out_is_free_again(
    new_client: Callable[..., Client], study: Study, store: RatingStore
) -> None:
    client = new_client(open_places=1)
    join(client, {"name": "Spam"})
    client.cookies.clear()
    assert "Take part" not in client.get("/", headers=PERSON).text
    store.set_revoked(store.raters()[0].id, True)
    assert "Take part" in client.get("/", headers=PERSON).text
    assert join(client, {"name": "Ann"}).status_code == 303
    assert [rater.name for rater in store.raters() if rater.revoked_at is None] == ["Ann"]


@pytest.mark.parametrize("how", ["head", "get"])
def test_whoever_only_looks_at_a_link_is_no_rater(how: str, client: Client, study: Study, store: RatingStore) -> None:
    link = f"/r/{issue(study.key, 'r01-abcdef', SOON)}"
    assert getattr(client, how)(link).status_code == 303
    assert store.raters() == []
    assert client.get("/rate").status_code == 200
    assert [rater.id for rater in store.raters()] == ["r01-abcdef"]


def test_someone_whose_link_is_over_may_take_a_place(new_client: Callable[..., Client], study: Study) -> None:
    client = new_client(open_places=5)
    token = issue(study.key, "r01-abcdef", 1_000_000)
    landing = client.get("/", headers={b"cookie": f"{cookie_of(study)}={token}".encode()})
    assert "expired" in landing.text
    assert "Take part" in landing.text


def test_two_studies_on_one_host_leave_each_other_alone(
    study: Study,
    other_study: Study,
    new_client: Callable[..., Client],
    open_stores: Callable[..., RatingStore],
    tmp_path: Any,
) -> None:
    """Browsers share cookies between ports; here the two clients share theirs."""
    one = new_client()
    store = open_stores(
        f"sqlite:///{tmp_path}/other.sqlite", other_study.manifest.study_id, other_study.manifest.digest
    )
    other = new_client(of=other_study, at=store)
    arrive(one, study)
    enter(one, study)
    other.cookies.update(one.cookies)
    assert other.get("/api/state").json()["detail"] == "open the link that you were given"
    assert other.get(f"/r/{issue(other_study.key, 'r07-abcdef', SOON)}").status_code == 303
    enter(other, other_study)
    one.cookies.update(other.cookies)
    for client in (one, other):
        assert client.get("/api/state").status_code == 200
        assert client.get("/admin").status_code == 200


def test_a_cookie_from_before_cookies_had_the_studys_name(client: Client, study: Study, store: RatingStore) -> None:
    rater = arrive(client, study)
    headers = {b"cookie": f"fourfold_rater={issue(study.key, rater, SOON)}".encode()}
    client.cookies.clear()
    assert client.get("/api/state", headers=headers).status_code == 200
    strange = {b"cookie": f"fourfold_rater={issue(b'k' * 32, rater, SOON)}".encode()}  # of another study on this host
    assert client.get("/api/state", headers=strange).json()["detail"] == "open the link that you were given"
    assert 'role="alert"' not in client.get("/", headers=strange).text
    arrive(client, study, "r02-abcdef")
    both = {b"cookie": headers[b"cookie"] + f"; {cookie_of(study)}={client.cookies[cookie_of(study)]}".encode()}
    client.cookies.clear()
    client.get("/api/state", headers=both)
    client.post("/api/event", json={"what": "pause"}, headers=both)
    assert [event["rater"] for event in store.events()] == ["r02-abcdef"]


def test_html_in_names_is_text(new_client: Callable[..., Client], study: Study, store: RatingStore) -> None:
    client = new_client(open_places=2)
    name = "<script>alert(1)</script>\n\x00 & \u202eco" + "x" * 200
    assert join(client, {"name": name}).status_code == 303
    [rater] = store.raters()
    assert rater.name.startswith("<script>alert(1)</script>")
    assert rater.name.isprintable()
    assert len(rater.name) == 80
    assert "<script>alert" not in client.get("/rate").text
    enter(client, study)
    assert "<script>alert" not in client.get("/admin").text  # names come by JSON and are set as text
    assert client.get("/admin/export/raters.csv").text.count("<script>") == 1


def test_formulas_in_names_do_not_run_in_a_spreadsheet(
    new_client: Callable[..., Client], study: Study, store: RatingStore
) -> None:
    client = new_client(open_places=1)
    join(client, {"name": "=HYPERLINK(1)"})
    enter(client, study)
    assert ",'=HYPERLINK(1)," in client.get("/admin/export/raters.csv").text


def test_open_enrolment_only_if_asked_and_while_places_last(new_client: Callable[..., Client]) -> None:
    assert join(new_client(), {"name": "Eve"}).status_code == 403
    client = new_client(open_places=1)
    assert "Take part" in client.get("/", headers={"accept": "text/html"}).text
    assert join(client, {}).status_code == 303
    assert client.get("/api/state").status_code == 200
    assert client.get("/").headers["location"] == "/rate"
    client.cookies.clear()
    full = join(client, {"name": "Eve"})
    assert (full.status_code, "all the raters" in full.text) == (403, True)


def test_one_person_takes_one_place(new_client: Callable[..., Client], study: Study, store: RatingStore) -> None:
    client = new_client(open_places=5)
    assert join(client, {"name": "Ann"}).headers["location"] == "/rate"
    rate(client, client.get("/api/state").json())
    again = join(client, {"name": "Ann"})  # back, and the button once more
    assert (again.status_code, again.headers["location"], "set-cookie" in again.headers) == (303, "/rate", False)
    assert client.get("/api/state").json()["done"] == 1
    assert [rater.name for rater in store.raters()] == ["Ann"]
    invited = arrive(client, study)
    assert join(client, {}).headers["location"] == "/rate"
    assert sorted(rater.id for rater in store.raters())[1:] == [invited]


def test_a_browser_without_cookies_takes_no_place(
    new_client: Callable[..., Client], study: Study, store: RatingStore
) -> None:
    client = new_client(open_places=1)
    for _ in range(3):
        form = re.search(r'name="place" value="([^"]+)"', client.get("/", headers=PERSON).text)[1]
        client.cookies.clear()
        answer = client.post("/join", data={"name": "Ann", "place": form}, headers=PERSON)
        assert answer.status_code == 403 and "This browser keeps no cookies for this page" in answer.text
    assert store.raters() == []
    link = client.get(f"/r/{issue(study.key, 'r01-abcdef', SOON)}").headers["location"]
    client.cookies.clear()
    answer = client.get(link, headers=PERSON)
    assert answer.status_code == 403 and "This browser keeps no cookies for this page" in answer.text
    assert store.raters() == []


def test_a_form_that_is_sent_twice_takes_one_place(
    new_client: Callable[..., Client], study: Study, store: RatingStore
) -> None:
    client = new_client(open_places=5)
    forms = [re.search(r'name="place" value="([^"]+)"', client.get("/", headers=PERSON).text)[1] for _ in range(2)]
    answers = []
    for form in (*forms, *forms, "", "open-aaaaaa.forged", issue(study.key, "r01-abcdef", SOON), "ü"):
        client.cookies.clear()
        answers.append(join(client, {"place": form}).status_code)
    assert answers == [303] * 7 + [403]
    assert {form.split(".")[0] for form in forms} < {rater.id for rater in store.raters()}
    assert len(store.raters()) == 5
    client.cookies.clear()
    # what a form holds is no link
    assert client.get(f"/r/{forms[0]}").status_code == 401


def test_the_server_is_well_only_while_ratings_can_be_saved(
    client: Client, store: RatingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fourfold.errors import StudyStoreError

    def full(*_: object) -> None:
        raise StudyStoreError("the ratings store /srv/study/ratings.sqlite failed: database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(RatingStore, "check_writable", full)
        answer = client.get("/health")
    assert (answer.status_code, "sqlite" in answer.text) == (503, False)
    assert client.get("/health").status_code == 200
    monkeypatch.setattr(RatingStore, "check_writable", full)  # it took a write a moment ago
    assert client.get("/health").status_code == 200


def test_scripts_are_asked_for_again(client: Client) -> None:
    assert client.get("/static/rate.js").headers["cache-control"] == "no-cache"


def test_people_read_pages_when_no_place_is_left(new_client: Callable[..., Client]) -> None:
    client = new_client(open_places=1)
    join(client, {"name": "Ann"})
    client.cookies.clear()
    landing = client.get("/", headers=PERSON).text
    assert "Take part" not in landing
    assert "all the raters it looks for" in landing
    page = join(client, {"name": "Bob"}, headers=PERSON)
    assert (page.status_code, page.headers["content-type"]) == (403, "text/html; charset=utf-8")
    assert "This study has all the raters it looks for; thank you." in page.text
    for accept in ("*/*", "application/json"):
        answer = join(client, {"name": "Bob"}, headers={"accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")


BAD_BODIES = {
    "no JSON": (b"score=3", 422),
    "cut": (b'{"score": 3', 422),
    "a list": (b"[1]", 422),
    "not UTF-8": (b"\xff\xfe", 422),
    "deep": (b"[" * 9000, 400),
    "large": (b" " * 20_000, 413),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_bad_bodies(case: str, client: Client, study: Study) -> None:
    body, status = BAD_BODIES[case]
    arrive(client, study)
    answer = client.post("/api/rating", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_a_body_without_end_is_cut_off_while_it_comes(client: Client, study: Study) -> None:
    arrive(client, study)
    sent = []

    async def stream() -> AsyncIterator[bytes]:
        for _ in range(4000):
            sent.append(1)
            yield b" " * 1024

    assert client.post("/api/rating", content=stream()).status_code == 413
    assert len(sent) < 40


def test_a_body_that_stalls_is_given_up(client: Client, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    rater = arrive(client, study)
    monkeypatch.setattr("fourfold.study.server.BODY_S", 0.05)

    async def stream() -> AsyncIterator[bytes]:
        yield b'{"position": '
        await asyncio.sleep(30)

    answer = client.post("/api/undo", content=stream(), headers=of_page(rater))
    assert (answer.status_code, answer.json()["title"]) == (408, "Too slow")
    assert answer.headers["connection"] == "close"
    assert client.get("/api/state", headers=of_page(rater)).status_code == 200


def test_half_a_form_enrols_nobody(study: Study, store: RatingStore) -> None:
    app = create_app(study, store, Settings(open_places=5))
    messages = [{"type": "http.request", "body": b"name=Mar", "more_body": True}, {"type": "http.disconnect"}]
    headers = [(b"host", b"127.0.0.1:8400"), (b"content-type", b"application/x-www-form-urlencoded")]
    scope = {"type": "http", "method": "POST", "path": "/join", "query_string": b"", "headers": headers}
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    assert (sent, store.raters()) == ([], [])


def test_another_sites_page_cannot_rate(client: Client, study: Study, store: RatingStore) -> None:
    rater = arrive(client, study)
    for headers in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "https://evil.test"}):
        assert client.post("/api/undo", json={"position": 0}, headers=headers).status_code == 403
    assert store.progress(rater).done == 0


def test_a_form_over_plain_http_is_known_by_its_origin(new_client: Callable[..., Client], store: RatingStore) -> None:
    client = new_client(open_places=5)  # browsers send no Sec-Fetch-Site over plain HTTP
    host = {"host": "192.168.1.5:8400"}
    for origin in ("null", "http://192.168.1.6:8400", "http://evil.test"):
        assert join(client, {}, headers=host | {"origin": origin}).status_code == 403, origin
    assert store.raters() == []
    own = join(client, {}, headers=host | {"origin": "http://192.168.1.5:8400"})
    assert own.headers["location"] == "/rate"


def test_every_answer_has_the_security_headers(client: Client, study: Study) -> None:
    arrive(client, study)
    for path in ("/", "/rate", "/api/state", "/static/rate.js", "/nothing", "/admin"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


def test_cookies_are_out_of_reach_for_scripts(client: Client, study: Study) -> None:
    cookie = client.get(f"/r/{issue(study.key, 'r01-abcdef', SOON)}").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


def test_no_page_loads_anything_from_outside(client: Client, study: Study) -> None:
    arrive(client, study)
    enter(client, study)
    for path in ("/", "/rate", "/admin", "/static/rate.js", "/static/api.js", "/static/study.css", "/static/admin.js"):
        text = client.get(path).text.replace("http://www.w3.org/2000/svg", "").replace("http://127.0.0.1:8400", "")
        assert "http://" not in text, path
        assert "https://" not in text, path


def test_a_rating_that_was_not_kept_is_not_acknowledged(
    client: Client, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fourfold.errors import StudyStoreError

    arrive(client, study)
    state = calibrated(client)

    def full(*_: object) -> None:
        raise StudyStoreError("the ratings store failed: database or disk is full; free some space")

    monkeypatch.setattr(RatingStore, "record", full)
    answer = rate(client, state)
    assert (answer.status_code, answer.json()["title"], answer.headers["retry-after"]) == (503, "Not saved", "3")
    assert "store" not in answer.json()["detail"], "where ratings are kept is no business of raters"
    assert client.get("/api/state").json()["done"] == state["done"]


def test_a_picture_that_was_changed_is_not_shown(own_study: Any, new_client: Callable[..., Client]) -> None:
    from fourfold.study import open_study

    study = open_study(own_study)
    client = new_client(of=study)
    arrive(client, study)
    for path in (own_study / "pictures").iterdir():
        path.write_bytes(path.read_bytes()[:-20] + b"x" * 20)
    answer = client.get(client.get("/api/state").json()["current"]["url"])
    assert (answer.status_code, answer.json()["title"]) == (500, "The study is damaged")
    assert str(own_study) not in answer.text


# The screen, events, admin

SCREEN = {
    "screen_width": 1920,
    "screen_height": 1080,
    "window_width": 1280,
    "window_height": 720,
    "pixel_ratio": 1.25,
    "pinch_zoom": 1,
    "colour_depth": 24,
    "magnification": 1,
    "fits": True,
}


def test_the_screen_is_recorded(client: Client, study: Study, store: RatingStore) -> None:
    rater = arrive(client, study)
    assert client.post("/api/screen", json=SCREEN).status_code == 200
    assert client.post("/api/event", json={"what": "pause"}).status_code == 200
    screen, pause = store.events()
    assert (screen["rater"], screen["details"]["pixel_ratio"], pause["what"]) == (rater, 1.25, "pause")
    for changes in ({"pixel_ratio": 0}, {"screen_width": -1}, {"pixel_ratio": "NaN"}, {"extra": 1}, {"fits": "maybe"}):
        assert client.post("/api/screen", json=SCREEN | changes).status_code == 422, changes
    assert client.post("/api/event", json={"what": "<b>"}).status_code == 422


def enter(client: Client, study: Study) -> None:
    assert client.get(f"/admin/enter/{admin_token(study.key)}").status_code == 303


def test_the_admin_page(client: Client, study: Study, store: RatingStore) -> None:
    rater = arrive(client, study)
    calibrated(client)
    client.post("/api/screen", json=SCREEN)
    for token in ("x", admin_token(b"k" * 32), issue(study.key, rater, SOON), "ü"):
        assert client.get(f"/admin/enter/{token}").status_code == 401
    assert client.get("/admin").status_code == 401
    enter(client, study)
    assert "A small study" in client.get("/admin").text
    overview = client.get("/admin/api/progress").json()
    assert overview["raters"][0]["id"] == rater
    assert (overview["raters"][0]["done"], overview["total"], overview["finished"]) == (4, 28, 0)
    assert overview["raters"][0]["screen"]["window_width"] == 1280
    shut = client.post("/admin/api/access", json={"rater": rater, "revoked": True}).json()
    assert shut["raters"][0]["revoked_at"]
    assert client.get("/api/state").status_code == 403
    assert client.post("/admin/api/access", json={"rater": "nobody", "revoked": True}).status_code == 409
    assert client.post("/admin/api/access", json={"rater": "r01-\x00", "revoked": True}).status_code == 422


def test_exports(client: Client, study: Study, tmp_path: Any) -> None:
    from fourfold.study.export import read_records

    arrive(client, study)
    state = calibrated(client)
    for _ in range(5):
        state = rate(client, state, 4).json()
    enter(client, study)
    answer = client.get("/admin/export/ratings.csv")
    assert answer.headers["content-disposition"].startswith('attachment; filename="ratings-')
    (tmp_path / "ratings.csv").write_bytes(answer.content)
    records = read_records(tmp_path / "ratings.csv")
    assert [record.score for record in records if record.kind == "rating"] == [4] * 5
    contents = json.loads(client.get("/admin/export/ratings.json").text)
    assert [vars(record) for record in records] == contents["ratings"]
    assert len(contents["ratings"]) == 9
    assert contents["digest"] == study.manifest.digest
    assert client.get("/admin/export/secret.key").status_code == 403


def test_health_needs_no_token(client: Client) -> None:
    assert client.get("/health").json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["/", "/health", "/rate", "/api/state", "/static/rate.js", "/admin", "/nowhere"])
@pytest.mark.parametrize("arrived", [False, True])
def test_head_is_answered_as_get_without_a_body(client: Client, study: Study, path: str, arrived: bool) -> None:
    if arrived:
        arrive(client, study)
    head, got = client.head(path), client.get(path)
    assert (head.status_code, head.headers) == (got.status_code, got.headers)
    assert head.status_code != 405


def test_head_sends_no_body_itself(study: Study, store: RatingStore) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "HEAD", "path": "/health", "query_string": b"", "headers": []}
    asyncio.run(create_app(study, store)(scope, receive, send))
    assert sent[0]["status"] == 200
    assert dict(sent[0]["headers"])[b"content-length"] == b"15"
    assert [message["body"] for message in sent[1:]] == [b""] * len(sent[1:])


def test_head_of_what_is_only_posted_is_refused(client: Client) -> None:
    assert client.head("/join").status_code == 405


def test_tokens_are_compared_in_constant_time_and_hold_no_secret(study: Study) -> None:
    token = issue(study.key, "r01-abcdef", SOON)
    assert study.key.hex() not in token
    assert study_tokens.read(study.key, token, SOON) == "r01-abcdef"
    with pytest.raises(study_tokens.TokenError, match="expired"):
        study_tokens.read(study.key, token, SOON + 1)
