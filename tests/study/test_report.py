"""The report's files: complete, self-contained, safe, and refused where nothing can be reported."""

import csv
import errno
import html
import io
import json
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fourfold.errors import OutputExistsError, StudyError, UsageError
from fourfold.evaluation.paper import PICTURES
from fourfold.study import Report, ReportRequest, create_study, export, make_report, open_store, read_manifest
from fourfold.study.figures import significance_figure
from fourfold.study.labels import labels, short_labels
from fourfold.study.manifest import write_manifest
from fourfold.study.significance import Comparison
from fourfold.study.store import Answer
from tests.study.conftest import small_request


@pytest.fixture(scope="module")
def rated_study(study_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study, rated through the store by six raters who like the original best."""
    folder = Path(shutil.copytree(study_folder, tmp_path_factory.mktemp("rated") / "study"))
    manifest = read_manifest(folder)
    liked = {"nearest": 1.4, "bicubic": 2.6, "hr": 4.5}
    rng = np.random.default_rng(0)
    store = open_store(None, folder, study_id=manifest.study_id, digest=manifest.digest)
    for number in range(6):
        rater = f"r{number:02d}-abcdef"
        store.enrol(rater, "<b>name</b>", "invited")
        order = manifest.order(rater)
        for showing in order if number else order[:-5]:  # the first one has not finished
            score = showing.anchor or int(np.clip(rng.normal(liked[manifest.stimuli[showing.id].method], 0.5), 1, 5))
            store.record(rater, order, showing.position, Answer(score, f"nonce-{showing.position:04d}", 900, 2))
    store.note("r01-abcdef", "screen", {"magnification": 2, "fits": True})
    store.set_revoked("r05-abcdef", True)
    store.close()
    return folder


@pytest.fixture
def request_of(rated_study: Path, tmp_path: Path) -> ReportRequest:
    return ReportRequest(rated_study, tmp_path / "report")


@pytest.fixture(scope="module")
def report(rated_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report of that study, for tests that only read it."""
    return make_report(ReportRequest(rated_study, tmp_path_factory.mktemp("out") / "report"))


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_everything_is_there(report: Report) -> None:
    folder = report.page.parent
    assert {p.name for p in folder.iterdir()} == {
        "index.html",
        "report.json",
        "mos.csv",
        "significance.csv",
        "raters.csv",
        "pictures.csv",
        "ratings.csv",
        "figures",
    }
    figures = {f"{kind}-{s}" for kind in ("mos", "distribution", "ranks", "significance") for s in ("Set5", "BSD100")}
    assert {p.stem for p in (folder / "figures").iterdir()} == figures | {"raters"}
    for path in (folder / "figures").iterdir():
        assert ET.parse(path).getroot().tag.endswith("svg")
    contents = json.loads((folder / "report.json").read_text())
    assert contents == json.loads(report.json())
    assert (contents["raters"], contents["ratings"]) == (
        6,
        len([r for r in read_csv(folder / "ratings.csv") if r["kind"] == "rating"]),
    )
    mos = {(row["set_name"], row["method"]): row for row in read_csv(folder / "mos.csv")}
    assert float(mos["Set5", "hr"]["mos"]) > float(mos["Set5", "bicubic"]["mos"]) > float(mos["Set5", "nearest"]["mos"])
    assert {row["mos_paper"] for row in mos.values()} == {""}
    assert len(read_csv(folder / "significance.csv")) == 6
    assert len(read_csv(folder / "pictures.csv")) == 21
    assert len(read_csv(folder / "raters.csv")) == 6
    assert [p.name for p in folder.parent.iterdir()] == ["report"]


def test_the_mos_is_that_of_the_ratings(report: Report) -> None:
    folder = report.page.parent
    ratings = [row for row in read_csv(folder / "ratings.csv") if row["kind"] == "rating"]
    for row in read_csv(folder / "mos.csv"):
        own = [int(r["score"]) for r in ratings if (r["set_name"], r["method"]) == (row["set_name"], row["method"])]
        assert float(row["mos"]) == pytest.approx(np.mean(own))
        assert [int(row[f"count_{s}"]) for s in range(1, 6)] == [own.count(s) for s in range(1, 6)]


def test_the_page_says_what_a_careful_reader_must_know(report: Report) -> None:
    text = report.page.read_text(encoding="utf-8")
    plain = re.sub(r"\s+", " ", text)
    assert "1 of 6 raters has not rated everything" in plain
    assert "Only 6 raters" in plain
    assert "Shut out on the admin page, and still counted here: r05-abcdef" in plain
    assert "1 rater had fine screens" in plain
    assert "Set5: the paper's numbers are left out; its Set5 has 5 pictures, this one 3" in html.unescape(plain)
    assert "BSD100: the paper's numbers are left out; its BSD100 has 100 pictures, this one 4" in html.unescape(plain)
    assert "Ledig" not in plain
    assert report.manifest.digest in plain


def test_figures_say_what_they_show(report: Report) -> None:
    folder = report.page.parent / "figures"
    said = {path.stem: ET.parse(path).getroot().attrib for path in folder.iterdir()}
    assert {about["role"] for about in said.values()} == {"img"}
    mos = {(row["set_name"], row["method"]): float(row["mos"]) for row in read_csv(folder.parent / "mos.csv")}
    names = {"nearest": "nearest", "bicubic": "bicubic", "hr": "original"}
    told = ", ".join(f"{name} {mos['Set5', method]:.2f}" for method, name in names.items())
    assert said["mos-Set5"]["aria-label"] == f"Mean opinion scores on Set5: {told}"
    assert said["significance-Set5"]["aria-label"] == "Differences on Set5 that are more than chance: none"
    pairs = [("nearest", "hr", -2.0, 0.01), ("hr", "bicubic", 1.0, 0.01), ("nearest", "bicubic", -0.1, 0.8)]
    compared = [Comparison("Set5", first, second, 20, by, p, p) for first, second, by, p in pairs]
    drawn = ET.fromstring(significance_figure("Set5", compared, tuple(names), names))
    assert drawn.attrib["aria-label"].endswith(": original above nearest, original above bicubic")
    assert re.search(r"nearest \d+, \d+, \d+, \d+, \d+; bicubic", said["distribution-Set5"]["aria-label"])
    assert said["ranks-Set5"]["aria-label"].startswith("Mean ordinal ranks on Set5: original 1")
    assert said["raters"]["aria-label"].count(" and ") == 1 + 6
    assert all(about["style"].startswith("background:#ffffff; min-width:") for about in said.values())


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1280, 1920])
def test_the_page_in_a_browser(report: Report, width: int, chromium: Any) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 800})
    page.goto(report.page.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    letters = page.locator(".panel svg text").evaluate_all(
        "all => all.map((t) => { const { a, b } = t.getScreenCTM();"
        " return parseFloat(getComputedStyle(t).fontSize) * Math.hypot(a, b); })"
    )
    assert min(letters) >= 9 and max(letters) < 15
    page.set_viewport_size({"width": 700, "height": 1000})
    page.emulate_media(media="print", color_scheme="dark")
    wide = "all => all.filter(e => e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > innerWidth)"
    assert page.locator(".panel, .panel svg, table").evaluate_all(f"{wide}.length") == 0
    style = "(e, name) => getComputedStyle(e)[name]"
    assert page.locator("body").evaluate(style, "backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("h3").first.evaluate(style, "breakAfter") == "avoid"
    page.close()


def test_remarks_are_on_raters_who_count(rated_study: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(rated_study, tmp_path / "study"))
    manifest = read_manifest(folder)
    store = open_store(None, folder, study_id=manifest.study_id, digest=manifest.digest)
    store.enrol("came-and-went", "", "invited")
    store.note("came-and-went", "screen", {"magnification": 3, "fits": True})
    store.set_revoked("came-and-went", True)
    store.set_revoked("r04-abcdef", True)
    store.close()
    left_out = ("r01-abcdef", "r05-abcdef")
    page = make_report(ReportRequest(folder, tmp_path / "report", exclude=left_out)).page.read_text(encoding="utf-8")
    assert "still counted here: r04-abcdef; see --exclude" in page
    assert "fine screens" not in page


def test_the_papers_mos_stands_beside_sets_of_as_many_pictures(
    request_of: ReportRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PICTURES, "BSD100", 4)
    made = make_report(request_of)
    mos = {(row["set_name"], row["method"]): row for row in read_csv(made.page.parent / "mos.csv")}
    assert (mos["BSD100", "nearest"]["mos_paper"], mos["Set5", "nearest"]["mos_paper"]) == ("1.11", "")
    plain = html.unescape(made.page.read_text(encoding="utf-8"))
    assert "paper 1.11" in plain
    assert "paper 1.28" not in plain
    assert "Ledig" in plain
    assert "Set5: the paper's numbers are left out" in plain
    assert "BSD100: the paper's numbers are left out" not in plain


def test_a_rater_with_too_few_ratings_has_no_bias(report: Report, request_of: ReportRequest, tmp_path: Path) -> None:
    ratings = tmp_path / "ratings.csv"
    lines = (report.page.parent / "ratings.csv").read_text(encoding="utf-8").splitlines()
    first = next(showing for showing in report.manifest.order("passer-by") if showing.kind == "rating")
    shown = report.manifest.stimuli[first.id]
    short = f"passer-by,{first.position},rating,{shown.set_name},{shown.scene},{shown.method},3,,,"
    ratings.write_text("\n".join([*lines, short]) + "\n", encoding="utf-8")
    made = make_report(replace(request_of, ratings=ratings))
    folder = made.page.parent
    [row] = [row for row in read_csv(folder / "raters.csv") if row["rater"] == "passer-by"]
    assert (row["ratings"], row["bias"], row["inconsistency"], row["correlation"]) == ("1", "", "", "")
    summaries = {one["rater"]: one for one in json.loads((folder / "report.json").read_text())["rater_summaries"]}
    assert (summaries["passer-by"]["bias"], summaries["passer-by"]["inconsistency"]) == (None, None)
    assert summaries["r02-abcdef"]["bias"] == {one.rater: one.bias for one in report.analysis.raters}["r02-abcdef"]
    page = re.sub(r"\s+", " ", made.page.read_text(encoding="utf-8"))
    assert re.search(r"<td>passer-by</td><td>1</td><td>\d\.00</td> <td>–</td><td>–</td><td>–</td>", page)
    assert "1 of 7 raters has no bias, no inconsistency and no part in the fitted qualities" in page
    assert "their ratings count: passer-by." in page
    assert "not drawn: 1 of 7 raters" in (folder / "figures" / "raters.svg").read_text(encoding="utf-8")
    assert "not drawn" not in (report.page.parent / "figures" / "raters.svg").read_text(encoding="utf-8")


def test_the_page_loads_nothing_and_ids_do_not_clash(report: Report) -> None:
    text = report.page.read_text(encoding="utf-8")
    ids = re.findall(r' id="([^"]+)"', text)
    assert not {one for one in ids if ids.count(one) > 1 and f"#{one}" in text}
    assert "<script" not in text
    assert not re.findall(r'(?:src|href)="(?!#)', text)
    assert set(re.findall(r"https?://[^\"'<> ]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_hostile_names_are_text_everywhere(rated_study: Path, tmp_path: Path) -> None:
    """A method and a title that are HTML and mathtext must come out as they are."""
    folder = Path(shutil.copytree(rated_study, tmp_path / "study"))
    manifest = read_manifest(folder)
    evil = "<script>alert(1)</script> $x_1$"
    stimuli = {k: replace(s, method=evil if s.method == "bicubic" else s.method) for k, s in manifest.stimuli.items()}
    sets = {name: tuple(evil if m == "bicubic" else m for m in methods) for name, methods in manifest.sets.items()}
    changed = replace(manifest, title="<i>title</i>", stimuli=stimuli, sets=sets, methods={evil: {"kind": "<b>"}})
    (folder / "ratings.sqlite").unlink()
    write_manifest(changed, folder)
    (folder / "ratings.csv").write_text(
        "rater,position,kind,set_name,scene,method,score\n"
        + "".join(
            f'{rater},{showing.position},{showing.kind},{one.set_name},{one.scene},"{one.method}",{1 + n % 5}\n'
            for rater in ("r0", "r1", "r2")
            for n, showing in enumerate(changed.order(rater))
            for one in [stimuli[showing.id]]
        )
    )
    report = make_report(ReportRequest(folder, tmp_path / "report", ratings=folder / "ratings.csv"))
    text = report.page.read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "<i>title" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; $x_1$" in text


def test_a_report_is_replaced_only_if_asked_and_only_a_report(report: Report, request_of: ReportRequest) -> None:
    shutil.copytree(report.page.parent, request_of.output)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        make_report(request_of)
    make_report(replace(request_of, overwrite=True))
    other = request_of.output.parent / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputExistsError, match="is no report"):
        make_report(replace(request_of, output=other, overwrite=True))
    assert (other / "thesis.tex").exists()


@pytest.mark.parametrize("name", ["notes.tex", "raw/r01.csv", "manifest.json"])
def test_a_folder_with_more_than_a_report_in_it_is_not_replaced(
    name: str, report: Report, request_of: ReportRequest
) -> None:
    shutil.copytree(report.page.parent, request_of.output)
    (request_of.output / name).parent.mkdir(exist_ok=True)
    (request_of.output / name).write_text("years of work")
    with pytest.raises(OutputExistsError, match="holds more than one"):
        make_report(replace(request_of, overwrite=True))
    assert (request_of.output / name).read_text() == "years of work"


def test_another_programs_report_is_not_replaced(request_of: ReportRequest) -> None:
    request_of.output.mkdir()
    (request_of.output / "report.json").write_text('{"coverage": 0.9}')
    with pytest.raises(OutputExistsError, match="is no report"):
        make_report(replace(request_of, overwrite=True))


def test_a_report_that_cannot_take_the_place_of_the_old_one_leaves_it(
    report: Report, request_of: ReportRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(report.page.parent, request_of.output)
    (request_of.output / "index.html").write_text("old")
    rename = Path.rename

    def stuck(self: Path, target: Path) -> Path:
        if self.suffix == ".part" and target == request_of.output:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stuck)
    with pytest.raises(StudyError, match="cannot write the report"):
        make_report(replace(request_of, overwrite=True))
    assert (request_of.output / "index.html").read_text() == "old"
    assert [path.name for path in request_of.output.parent.glob("*.part")] == []


BAD_CSV = {
    "no such file": (None, "cannot read"),
    "other columns": ("a,b\n1,2\n", "line 2: not a rating"),
    "score 7": ("rater,position,kind,set_name,scene,method,score\nr,1,rating,Set5,a,hr,7\n", "score 7"),
    "score a word": ("rater,position,kind,set_name,scene,method,score\nr,1,rating,Set5,a,hr,good\n", "line 2"),
    "kind": ("rater,position,kind,set_name,scene,method,score\nr,1,guess,Set5,a,hr,3\n", "'guess'"),
    "empty": ("rater,position,kind,set_name,scene,method,score\n", "nothing has been rated"),
    "twice": (
        "rater,position,kind,set_name,scene,method,score\n"
        "r1,4,rating,Set5,scene0,hr,5\nr1,5,repeat,Set5,scene0,hr,3\nr1,4,rating,Set5,scene0,hr,5\n",
        "line 4: rater r1 has a rating at position 4 in line 2 already; give each rating once",
    ),
    "binary": ("\x00\x01", "line|nothing|cannot"),
    "a position before the first": (
        "rater,position,kind,set_name,scene,method,score\nr1,-1,rating,Set5,scene0,hr,5\n",
        r"line 2 \(rater r1, position -1\): the rating of scene0 of Set5 by hr, where this study has nothing there",
    ),
    "a position after the last": (
        "rater,position,kind,set_name,scene,method,score\nr1,999,rating,Set5,scene0,hr,5\n",
        "line 2 .*where this study has nothing there; give the study",
    ),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_bad_exports(case: str, request_of: ReportRequest, tmp_path: Path) -> None:
    text, message = BAD_CSV[case]
    path = tmp_path / "in.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StudyError, match=message):
        make_report(replace(request_of, ratings=path))
    assert not request_of.output.exists()


def test_an_export_gives_the_same_report(report: Report, request_of: ReportRequest) -> None:
    exported = report.page.parent / "ratings.csv"
    assert "calibration" in {row["set_name"] for row in read_csv(exported)}  # which is no set of the study
    assert make_report(replace(request_of, ratings=exported)).json() == report.json()


@pytest.fixture(scope="module")
def rated_twin(bench_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of the same pictures, methods and seed, and an export of what the same raters rated in it."""
    folder = tmp_path_factory.mktemp("twin") / "study"
    manifest = create_study(folder, small_request(bench_folder))
    store = open_store(None, folder, study_id=manifest.study_id, digest=manifest.digest)
    for rater in (f"r{number:02d}-abcdef" for number in range(12)):  # of few, the calibration may agree by chance
        store.enrol(rater, "", "invited")
        order = manifest.order(rater)
        for showing in order:
            store.record(rater, order, showing.position, Answer(showing.anchor or 3, f"nonce-{showing.position:04d}"))
    (folder / "ratings.csv").write_bytes(export.ratings_csv(manifest, store))
    store.close()
    return folder


@pytest.mark.parametrize("kind", ["calibration", "rating", "repeat"])
def test_ratings_of_a_twin_of_the_study_are_refused(
    kind: str, rated_twin: Path, request_of: ReportRequest, tmp_path: Path
) -> None:
    make_report(ReportRequest(rated_twin, tmp_path / "own", ratings=rated_twin / "ratings.csv"))
    head, *lines = (rated_twin / "ratings.csv").read_text(encoding="utf-8").splitlines()
    some = tmp_path / "some.csv"
    some.write_text("\n".join([head, *(line for line in lines if f",{kind}," in line)]) + "\n", encoding="utf-8")
    with pytest.raises(StudyError, match=rf"some.csv, line \d+ \(.*: the {kind} of .* where this study has .*; give"):
        make_report(replace(request_of, ratings=some))


def test_methods_that_look_like_formulas_come_back_from_an_export(tmp_path: Path) -> None:
    records = [
        export.Record("r1", 0, "rating", "Set5", "-a", "+ours", 3),
        export.Record("r1", 1, "rating", "B", "a", "'x", 3),
    ]
    (tmp_path / "ratings.csv").write_bytes(export.table(map(vars, records), tuple(export.Record.__dataclass_fields__)))
    assert "'+ours" in (tmp_path / "ratings.csv").read_text()
    assert export.read_records(tmp_path / "ratings.csv") == records


def test_below_a_closed_folder_nothing_is_reported(request_of: ReportRequest, closed: Path) -> None:
    with pytest.raises(StudyError, match=r"closed/in/rep: the report cannot be written there \(Permission denied\)"):
        make_report(replace(request_of, output=closed / "in" / "rep"))
    with pytest.raises(StudyError, match=r"closed/in: cannot be read \(Permission denied\)"):
        make_report(replace(request_of, study=closed / "in"))
    with pytest.raises(StudyError, match=r"closed/r.csv.*Permission denied"):
        make_report(replace(request_of, ratings=closed / "r.csv"))


def test_a_link_to_a_report_stays_a_link(report: Report, request_of: ReportRequest, tmp_path: Path) -> None:
    shutil.copytree(report.page.parent, tmp_path / "there")
    (tmp_path / "there" / "index.html").write_text("old")
    request_of.output.symlink_to(tmp_path / "there")
    made = make_report(replace(request_of, overwrite=True))
    assert request_of.output.is_symlink()
    assert made.page.read_text(encoding="utf-8") == (tmp_path / "there" / "index.html").read_text(encoding="utf-8")
    assert made.page.read_text(encoding="utf-8") != "old"
    assert {path.name for path in tmp_path.iterdir()} == {"there", request_of.output.name}


def test_one_rater_has_no_interval(request_of: ReportRequest) -> None:
    others = tuple(f"r{number:02d}-abcdef" for number in range(1, 6))
    made = make_report(replace(request_of, exclude=others))
    assert "(-)" in made.text()
    assert "nan" not in made.text()
    shown = re.sub(r"<svg.*?</svg>|<[^>]+>", " ", made.page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not re.search(r"\bnan\b", shown)


def test_what_cannot_be_reported(request_of: ReportRequest, own_study: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="has no ratings yet"):
        make_report(replace(request_of, study=own_study))
    assert not (own_study / "ratings.sqlite").exists()  # asking must not make a store
    with pytest.raises(StudyError, match="is not a study"):
        make_report(replace(request_of, study=tmp_path))
    with pytest.raises(UsageError, match="--pairs"):
        make_report(replace(request_of, pairs="eye"))
    with pytest.raises(UsageError, match="--exclude r77"):
        make_report(replace(request_of, exclude=("r77",)))
    everyone = tuple(f"r{number:02d}-abcdef" for number in range(6))
    with pytest.raises(UsageError, match=r"all raters are excluded.*r00-abcdef.*leave some in"):
        make_report(replace(request_of, exclude=everyone))
    assert not request_of.output.exists()


def test_ratings_of_a_changed_study_are_refused(rated_study: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(rated_study, tmp_path / "study"))
    write_manifest(replace(read_manifest(folder), repeats=()), folder)  # whole in itself, but not what was rated
    with pytest.raises(StudyError, match="changed after its first rating"):
        make_report(ReportRequest(folder, tmp_path / "report"))


def change(picture: Path) -> None:
    picture.write_bytes(picture.read_bytes() + b"x")


@pytest.mark.parametrize(("spoil", "says"), [(change, "was changed after"), (Path.unlink, "cannot read")])
@pytest.mark.parametrize("exported", [False, True])
def test_a_study_with_a_changed_or_missing_picture_is_not_reported(
    spoil: Callable[[Path], None], says: str, exported: bool, rated_study: Path, report: Report, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(rated_study, tmp_path / "study"))
    picture = min((folder / "pictures").iterdir())
    spoil(picture)
    ratings = report.page.parent / "ratings.csv" if exported else None
    with pytest.raises(StudyError, match=f"{picture.name}.* {says}|{says} .*{picture.name}"):
        make_report(ReportRequest(folder, tmp_path / "report", ratings=ratings))
    assert not (tmp_path / "report").exists()


def test_a_report_needs_no_key(rated_study: Path, report: Report, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(rated_study, tmp_path / "study"))
    (folder / "secret.key").unlink()
    assert make_report(ReportRequest(folder, tmp_path / "report")).json() == report.json()


def test_a_report_only_reads_the_store(rated_study: Path, report: Report, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(rated_study, tmp_path / "study"))
    (folder / "ratings.sqlite").chmod(0o444)
    before = (folder / "ratings.sqlite").stat()
    assert make_report(ReportRequest(folder, tmp_path / "report")).json() == report.json()
    assert (folder / "ratings.sqlite").stat().st_mtime_ns == before.st_mtime_ns
    assert {path.name for path in folder.iterdir()} == {path.name for path in rated_study.iterdir()}
    typo = tmp_path / "typo.sqlite"
    with pytest.raises(StudyError, match=r"no ratings store at .*typo.sqlite; give the --database"):
        make_report(ReportRequest(folder, tmp_path / "none", database=f"sqlite:///{typo}"))
    assert not typo.exists()


def test_no_two_methods_are_called_alike() -> None:
    named = labels(["srgan-vgg54", "SRGAN", "hr", "net-trained-with-l1-step-1000", "net-trained-with-l1-step-2000"])
    assert list(named.values())[:3] == ["srgan-vgg54", "SRGAN", "original"]
    assert labels(["srgan-vgg54", "mine"]) == {"srgan-vgg54": "SRGAN", "mine": "mine"}
    assert list(short_labels(named).values())[3:] == ["net-train…-step-1000", "net-train…-step-2000"]
    alike = labels([f"networks-{middle}-of-all-networks" for middle in ("one", "two")])
    assert short_labels(alike) == alike


def test_a_table_with_more_than_ascii_is_known_as_utf_8(tmp_path: Path) -> None:
    assert export.table([{"rater": "r1", "score": 3}], ("rater", "score")) == b"rater,score\nr1,3\n"
    assert export.table([{"rater": "José"}], ("rater",)) == b"\xef\xbb\xbfrater\nJos\xc3\xa9\n"


def test_the_table_for_a_terminal(report: Report) -> None:
    lines = report.text().splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["nearest", "bicubic", "original"]
    assert lines[-1].startswith("6 raters, ")
