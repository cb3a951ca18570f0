"""``kill -9`` of the server at any moment loses no rating that was acknowledged, and none counts twice."""

import random
import threading
import time
from pathlib import Path

import httpx
import pytest

from fourfold.study import invite, open_study
from fourfold.study.store import RatingStore
from tests.cli.running import hang_up
from tests.study.conftest import fresh_database
from tests.study.serving import ServedStudy


class Robot(threading.Thread):
    """A rater's page without a page: rates as fast as it can, sends again what got no answer, notes what did."""

    def __init__(self, link: str, base: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.link, self.base = link, base
        self.random = random.Random(seed)
        self.acknowledged: dict[int, int] = {}
        self.problem: Exception | None = None
        self.progress = threading.Event()

    def run(self) -> None:
        try:
            with httpx.Client(timeout=30, trust_env=False) as http:
                self._rate_all(http)
        except Exception as error:
            self.problem = error
        finally:
            self.progress.set()

    def _rate_all(self, http: httpx.Client) -> None:
        self._until_answered(lambda: http.get(self.link))
        state = self._until_answered(lambda: http.get(f"{self.base}/api/state")).json()
        while state["phase"] != "done":
            current = state["current"]
            rating = {
                "picture": current["picture"],
                "position": current["position"],
                "score": current["anchor"] or self.random.randint(1, 5),
                "nonce": f"{self.random.getrandbits(128):032x}",
            }
            state = self._until_answered(lambda rating=rating: http.post(f"{self.base}/api/rating", json=rating)).json()
            self.acknowledged[rating["position"]] = rating["score"]
            self.progress.set()

    def _until_answered(self, send):  # type: ignore[no-untyped-def]
        while True:
            try:
                answer = send()
            except httpx.TransportError:
                time.sleep(0.1)  # the server is being started again
                continue
            assert answer.status_code in (200, 303), answer.text
            return answer


def check(folder: Path, url: str, robots: list[Robot], raters: list[str]) -> int:
    """Compares every acknowledged rating with the store; returns how many were compared."""
    manifest = open_study(folder).manifest
    store = RatingStore(url, study_id=manifest.study_id, digest=manifest.digest)
    try:
        kept: dict[str, dict[int, int]] = {rater: {} for rater in raters}
        for rating in store.ratings():
            assert rating.position not in kept[rating.rater], "a rating counts twice"
            kept[rating.rater][rating.position] = rating.score
    finally:
        store.close()
    for rater, robot in zip(raters, robots, strict=True):
        lost = {p: s for p, s in robot.acknowledged.copy().items() if kept[rater].get(p) != s}
        assert lost == {}, f"{rater}: acknowledged, and not in the store"
    return sum(len(robot.acknowledged) for robot in robots)


def killed_while_rating(folder: Path, url: str, log: Path, *, kills: int, raters: int, seed: int) -> tuple[int, int]:
    """Runs robots against a server that is killed again and again; returns ratings compared and kills done."""
    chance = random.Random(seed)
    with ServedStudy(folder, "--database", url, log=log) as server:
        study = open_study(folder)
        invitations = invite(study, raters, url=server.url, days=1)
        robots = [Robot(one.link, server.url, seed + n) for n, one in enumerate(invitations)]
        for robot in robots:
            robot.start()
        done = 0
        for _ in range(kills):
            busy = [robot for robot in robots if robot.is_alive()]
            if not busy:
                break
            busy[0].progress.clear()
            busy[0].progress.wait(timeout=60)  # something was acknowledged since the last kill
            time.sleep(chance.uniform(0.0, 0.05))  # at any moment: in a request, in a commit, between two
            server.kill()
            done += 1
            check(folder, url, robots, [one.rater for one in invitations])
            server.start()
        for robot in robots:
            robot.join(timeout=120)
            assert robot.problem is None, robot.problem
            assert not robot.is_alive()
        total = len(study.manifest.order("x"))
        assert all(len(robot.acknowledged) == total for robot in robots)
        compared = check(folder, url, robots, [one.rater for one in invitations])
        assert server.stop() in (0, -2, 130)
    return compared, done


def test_one_kill(own_study: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{own_study / 'ratings.sqlite'}"
    assert killed_while_rating(own_study, url, tmp_path / "log", kills=1, raters=2, seed=1) == (2 * 28, 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_many_kills(kind: str, own_study: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if kind == "sqlite":
        url = f"sqlite:///{own_study / 'ratings.sqlite'}"
    else:
        url = fresh_database(request.getfixturevalue("postgresql_url"))
    compared, kills = killed_while_rating(own_study, url, tmp_path / "log", kills=20, raters=24, seed=2)
    print(f"{kind}: {compared} acknowledged ratings, {kills} kills; none lost, none counted twice")
    assert compared == 24 * 28
    assert kills >= 10


def test_browsers_that_hang_up_do_not_stop_it(own_study: Path, tmp_path: Path) -> None:
    with ServedStudy(own_study, log=tmp_path / "log") as served:
        assert served.process is not None
        hang_up(served.port, "/nothing", times=300)
        httpx.get(f"{served.url}/health", timeout=60).raise_for_status()
        assert served.process.poll() is None
