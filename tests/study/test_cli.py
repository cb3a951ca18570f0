"""``fourfold study`` as a user types it."""

import csv
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from fourfold.cli.study import app
from fourfold.errors import FourfoldError, StudyError, UsageError
from fourfold.study import Study, open_store, open_study, tokens
from tests.study.serving import ServedStudy, free_port


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_create_invite_serve_report(bench_folder: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    made = run(
        "create", study, "--data", bench_folder, "--sets", "Set5", "--methods", "nearest,bicubic,hr",
        "--calibration", 1, "--repeats", 2, "--seed", "x", "--title", "Trial",
    )  # fmt: skip
    assert "9 ratings a rater, 2 pictures shown twice, 1 for calibration" in made
    links = re.findall(r"(\S+)  (http://127\.0\.0\.1:8400/r/\S+)", run("invite", study, "--raters", 2))
    more = re.findall(r"(\S+)  http", run("invite", study, "--raters", 1))
    assert [rater[:4] for rater, _ in links] + [more[0][:4]] == ["r01-", "r02-", "r03-"]
    assert (study / "invitations.csv").stat().st_mode & 0o077 == 0
    assert len((study / "invitations.csv").read_text().splitlines()) == 4
    with ServedStudy(study, log=tmp_path / "log") as server:
        for _, link in links:
            with httpx.Client(base_url=server.url, trust_env=False, follow_redirects=True) as http:
                assert http.get(link.replace("http://127.0.0.1:8400", server.url)).status_code == 200
                state = http.get("/api/state").json()
                while state["phase"] != "done":
                    now = state["current"]
                    rating = {
                        "picture": now["picture"],
                        "position": now["position"],
                        "nonce": f"nonce{now['position']:04d}",
                    }
                    answer = http.post("/api/rating", json=rating | {"score": now["anchor"] or 3})
                    assert answer.status_code == 200, answer.text
                    state = answer.json()
        with pytest.raises(UsageError, match="give another --port"):
            run("serve", study, "--port", server.port)
        assert server.stop() in (0, 130)
    text = run("report", study)
    assert "2 raters, 18 ratings" in text
    assert (study / "report" / "index.html").is_file()
    contents = json.loads(run("report", study, "-o", tmp_path / "again", "--json").split("written:")[0])
    assert contents["sets"]["Set5"]["opinions"][0]["mos"] == 3.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("invite", "STUDY", "--raters", "0"), "--raters"),
        (("invite", "STUDY", "--days", "0"), "--days"),
        (("invite", "STUDY", "--url", "ratings.example.org"), "http"),
        (("serve", "STUDY", "--url", "ratings.example.org"), "must begin with http:// or https://"),
        (("serve", "STUDY", "--url", "https://"), "no address of a study"),
        (("serve", "STUDY", "--url", "http://[::1"), "no address of a study"),
        (("serve", "STUDY", "--url", "http://127.0.0.1:70000"), "no address of a study"),
        (("serve", "STUDY", "--url", "https://example.org/?study=1"), "no address of a study"),
        (("serve", "STUDY", "--url", "https://example.org/study"), "served at the top of its host"),
        (("invite", "STUDY", "--url", "https://example.org/study/"), "served at the top of its host"),
        (("report", "STUDY"), "has no ratings yet"),
        (("serve", "STUDY", "--database", "mysql://x/y"), "no store for"),
        (("report", "STUDY", "--database", "postgresql://study:secret@db:54x/ratings"), r"\(unreadable URL\)"),
        (("serve", "/nowhere"), "is not a study"),
        (("create", "STUDY", "--data", "/nowhere"), "is there already"),
    ],
)
def test_wrong_calls(words: tuple[str, ...], message: str, own_study: Path) -> None:
    with pytest.raises(FourfoldError, match=message):
        run(*(str(own_study) if word == "STUDY" else word for word in words))


def test_a_changed_study_is_not_served_and_says_why(own_study: Path) -> None:
    path = next((own_study / "pictures").iterdir())
    path.write_bytes(path.read_bytes() + b"x")
    command = [sys.executable, "-c", "from fourfold.cli import main; main()", "study", "serve", str(own_study)]
    done = subprocess.run(
        [*command, "--port", str(free_port())], capture_output=True, text=True, timeout=120, env=os.environ, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "was changed after the study was created" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("step", ["create.write_manifest", "report._page"])
def test_stopping_in_the_middle_leaves_nothing(
    step: str, bench_folder: Path, own_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"fourfold.study.{step}", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    study = open_study(own_study)
    (tmp_path / "out").mkdir()
    record = next(showing for showing in study.manifest.order("r01") if showing.kind == "rating")
    stimulus = study.manifest.stimuli[record.id]
    (tmp_path / "ratings.csv").write_text(
        "rater,position,kind,set_name,scene,method,score\n"
        f"r01,{record.position},rating,{stimulus.set_name},{stimulus.scene},{stimulus.method},3\n"
    )
    words = {
        "create": f"create {tmp_path}/out/study --data {bench_folder} --sets Set5 --methods nearest,hr --calibration 0",
        "report": f"report {own_study} -o {tmp_path}/out/report --ratings {tmp_path}/ratings.csv",
    }[step.partition(".")[0]].split()
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # without the command's own, the tests would end here
    try:
        result = CliRunner().invoke(app, words)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (result.exit_code, result.stderr) == (130, "stopped; nothing half-written is left\n")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.usefixtures("terminals_matter")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_server_leaves_all_ratings_in_one_file(number: int, own_study: Path, tmp_path: Path) -> None:
    with ServedStudy(own_study, "--open", "1", log=tmp_path / "log") as server:
        with httpx.Client(base_url=server.url, trust_env=False, follow_redirects=True) as http:
            http.get("/")
            assert http.post("/join", data={"name": "one"}).url.path == "/rate"
        assert server.stop(number) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert [path.name for path in own_study.glob("ratings*")] == ["ratings.sqlite"]
    manifest = open_study(own_study).manifest
    store = open_store(None, own_study, study_id=manifest.study_id, digest=manifest.digest, read_only=True)
    assert [rater.name for rater in store.raters()] == ["one"]
    store.close()


def test_an_address_may_end_with_a_slash(own_study: Path) -> None:
    assert "  https://example.org:8443/r/" in run(
        "invite", own_study, "--raters", 1, "--url", "https://example.org:8443/"
    )


@pytest.mark.parametrize("there", [0, 2])
def test_links_that_find_no_room_leave_the_others_whole(there: int, own_study: Path) -> None:
    kept = own_study / "invitations.csv"
    if there:
        run("invite", own_study, "--raters", there)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, hard))  # as a disk that is full in the middle of a link
    try:
        with pytest.raises(StudyError, match="cannot write"):
            run("invite", own_study, "--raters", 5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    kept.write_text(kept.read_text().rstrip("\n"))  # as some editors leave it
    made = run("invite", own_study, "--raters", 2)
    rows = list(csv.DictReader(kept.read_text(encoding="utf-8").splitlines()))
    assert [row["rater"][:4] for row in rows] == [f"r{n:02d}-" for n in range(1, there + 3)]
    assert all(f"{row['rater']}  {row['link']}\n" in made for row in rows[there:])


def test_an_invitation_ends_when_it_says(own_study: Path) -> None:
    output = run("invite", own_study, "--raters", 1, "--days", 7)
    study: Study = open_study(own_study, check_pictures=False)
    token = output.split("/r/")[1].split()[0]
    week = 7 * 86_400
    assert tokens.read(study.key, token, time.time() + week - 60)
    with pytest.raises(tokens.TokenError, match="expired"):
        tokens.read(study.key, token, time.time() + week + 60)
