"""What comes out: the record, the tables, the page, and the command that makes them."""

import itertools
import json
import math
import os
import re
import threading
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.text import Text
from typer.testing import CliRunner

from fourfold.cli.evaluate import _print, _ProgressBar, app
from fourfold.errors import EvaluationError, PictureError, UsageError
from fourfold.evaluation.benchmark import Benchmark, run_benchmark
from fourfold.evaluation.context import describe
from fourfold.evaluation.figures import Figure, Gallery, Region, detailed_region
from fourfold.evaluation.methods import make_methods
from fourfold.evaluation.niqe import PristineModel
from fourfold.evaluation.pages import render
from fourfold.evaluation.plot import Point, scatter, ticks
from fourfold.evaluation.record import to_record, write_text
from fourfold.evaluation.sets import BenchmarkSet, find_sets
from fourfold.evaluation.tables import number, p_text, signed, tables
from tests.conftest import make_photo
from tests.evaluation.conftest import save


@pytest.fixture
def found(data: Path) -> Benchmark:
    return run_benchmark(find_sets(data), make_methods(["nearest", "bicubic", "hr"]), against="bicubic")


@pytest.fixture
def whole(data: Path) -> Benchmark:
    """A Set5 with as many pictures as the paper's, large enough for NIQE."""
    for k, name in enumerate(("baby", "bird", "butterfly", "head", "woman")):
        save(data / "Set5" / f"{name}.png", make_photo(104, 200, seed=k))
    pristine = PristineModel(np.ones(36), np.eye(36))
    methods = make_methods(["nearest", "bicubic", "hr"])
    return run_benchmark(find_sets(data), methods, against="bicubic", pristine=pristine)


def test_the_record_has_the_published_structure(found: Benchmark) -> None:
    record = to_record(found, describe(found, command="fourfold evaluate"))
    assert set(record) == {"results", "means", "context"}
    assert len(record["results"]) == 12
    first = record["results"][0]
    assert list(first)[:7] == ["set", "image", "method", "psnr_y", "ssim_wang", "ssim_daala", "niqe"]
    assert {"lr_psnr", "colour_drift", "seconds"} <= set(first)
    assert (first["set"], first["image"], first["method"]) == ("Set5", "baby.png", "nearest")
    again = json.loads(json.dumps(record, allow_nan=False))
    exact = next(r for r in again["results"] if r["method"] == "hr")
    assert exact["psnr_y"] == "inf" and float(exact["psnr_y"]) == float("inf")
    mean = next(m for m in again["means"] if (m["set"], m["method"]) == ("Set5", "bicubic"))
    assert mean["paper"] is None and mean["difference_to_paper"] is None  # three pictures are not the paper's Set5
    context = again["context"]
    assert len(context["sets"]["Set5"]["sha256"]) == 64 and context["methods"]["bicubic"]["kind"] == "resampler"
    assert {"commit", "command", "date", "machine", "libraries", "conventions"} <= set(context)


def test_the_record_has_the_papers_numbers(whole: Benchmark) -> None:
    mean = next(m for m in to_record(whole, {})["means"] if (m["set"], m["method"]) == ("Set5", "bicubic"))
    assert mean["paper"] == {"psnr_y": 28.43, "ssim_daala": 0.8211, "mos": 1.97}
    assert set(mean["difference_to_paper"]) == {"psnr_y", "ssim_daala"}


def test_a_record_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="cannot be written"):
        write_text(tmp_path / "absent" / "r.json", "{}")


def test_tables_stand_beside_the_papers(whole: Benchmark) -> None:
    console = Console(width=140, record=True)
    for table in tables(whole):
        console.print(table)
    text = console.export_text()
    assert "Set5, 5 pictures" in text and "Other, 1 picture " in text
    row = next(line for line in text.splitlines() if line.startswith("bicubic"))
    assert "28.43" in row and "0.8211" in row
    assert "inf" in text


def test_a_title_stays_in_one_line(found: Benchmark, capsys: pytest.CaptureFixture[str]) -> None:
    found.means = [replace(mean, values={}, p={}, against=None, method="x") for mean in found.means]
    _print(found)
    assert capsys.readouterr().out.splitlines()[0].strip() == "Set5, 3 pictures"


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("width", [80, 100])
def test_numbers_are_never_shortened(
    width: int, terminal: bool, whole: Benchmark, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")
    whole.means = [replace(mean, method=f"{mean.method:_<60}") for mean in whole.means] + whole.means
    _print(whole)
    said = capsys.readouterr().out
    text = Text.from_ansi(said).plain
    assert ("\x1b[" in said) == terminal
    assert "…" not in text and "..." not in text
    head, *rows = text.partition("Other, 1 picture")[0].splitlines()[1:]
    assert head.split()[:5] == ["PSNR", "paper", "diff", "SSIM", "daala"] and "NIQE" in head
    (bicubic,) = (row.split() for row in rows if row.startswith("bicubic "))
    mean = whole.mean("Set5", "bicubic")
    assert mean is not None and mean.values["niqe"] is not None
    assert bicubic[2] == "28.43" and bicubic[5] == "0.8211" and f"{mean.values['niqe']:.2f}" in bicubic


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "+0.00"), (-0.001, "+0.00"), (0.126, "+0.13"), (-0.126, "-0.13"), (None, "")]
)
def test_signed_numbers(value: float | None, text: str) -> None:
    assert signed(value, 2) == text


def test_numbers_in_words() -> None:
    assert [number(v, 2) for v in (None, float("inf"), 1.005)] == ["-", "inf", "1.00"]
    assert [p_text(p) for p in (None, 1e-9, 0.0499, 0.0625, 1.0)] == ["-", "<.0001*", ".0499*", ".0625", "1.0000"]
    assert [p_text(p) for p in (0.04996, 0.05, 0.05004)] == [".04996*", ".0500", ".05004"]


class _Outside(HTMLParser):
    """Collects everything that a page would fetch, and checks that tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "img", "input", "br", "line", "circle"):
            self.open.append(tag)
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "poster", "action")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "circle"):
            assert self.open.pop() == tag


def _page(found: Benchmark, data: Path, wanted: list[str] | None = None) -> str:
    sets = find_sets(data)
    gallery = Gallery(sets, wanted)
    again = run_benchmark(sets, found.methods, against="bicubic", keep=gallery.keep)
    return render(again, describe(again), gallery)


def test_the_page_needs_nothing_beside_it(found: Benchmark, data: Path) -> None:
    page = _page(found, data)
    outside = _Outside()
    outside.feed(page)
    assert not outside.open
    assert all(link.startswith(("data:", "#")) for link in outside.links)
    assert "url(" not in page and "@import" not in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "") and "https://" not in page
    figures = re.findall(r'<figure class="crop">.*?</figure>', page, flags=re.S)
    assert len(figures) == 3 * 3  # two pictures of Set5, one of Other, three methods each
    assert "original" in figures[2] and "(inf dB / 1.0000)" in figures[2]


def test_one_is_not_many(data: Path, found: Benchmark) -> None:
    sets = find_sets(data, ["Other"])
    page = _flat(render(run_benchmark(sets, make_methods(["bicubic"])), describe(found), Gallery(sets)))
    assert "1 method on 1 picture, measured" in page and "The small line" not in page
    page = _flat(_page(found, data))
    assert "3 methods on 4 pictures, measured" in page and "The small line" not in page


def test_what_is_not_there_is_not_explained(whole: Benchmark) -> None:
    page = _flat(render(whole, describe(whole), Gallery(whole.sets)))
    assert "The small line is the difference to the paper's Tables 1 and 2" in page
    assert "The dashed line is what the originals themselves reach" in page
    whole.methods = [method for method in whole.methods if method.name != "hr"]
    whole.means = [mean for mean in whole.means if mean.method != "hr"]
    page = _flat(render(whole, describe(whole), Gallery(whole.sets)))
    assert "at the cost of the other.</p>" in page and "The dashed line" not in page


def _flat(page: str) -> str:
    return re.sub(r"\s+", " ", page)


def test_names_cannot_break_the_page(data: Path, tmp_path: Path) -> None:
    evil = '<img src=x onerror=alert(1)>"'
    save(tmp_path / "d" / "Set5" / "</script><b>.png".replace("/", "_"), make_photo(40, 44))
    method = make_methods(["bicubic"])[0]
    method.name = evil
    sets = find_sets(tmp_path / "d")
    gallery = Gallery(sets)
    found = run_benchmark(sets, [method], keep=gallery.keep)
    page = render(found, describe(found), gallery)
    assert "<img src=x" not in page and "<b>" not in page
    outside = _Outside()
    outside.feed(page)
    assert not outside.open


def test_chosen_pictures_and_crops(data: Path) -> None:
    sets = find_sets(data)
    for name in ("Set5/bird.png", "bird.png", "bird", "Set5/bird@8+4+16"):
        gallery = Gallery(sets, [name])
        found = run_benchmark(sets, make_methods(["nearest", "bicubic"]), keep=gallery.keep)
        (figure,) = gallery.figures(found)
        assert (figure.set, figure.image) == ("Set5", "bird.png")
        assert [p.method for p in figure.panels] == ["nearest", "bicubic", "original"] and figure.left == 1
    assert figure.region == Region(8, 4, 16)
    with pytest.raises(UsageError, match=r"cat\.png.*Set5"):
        Gallery(sets, ["cat.png"])
    for text in ("bird@8,4", "bird@", "Set5/bird@8+4", "bird@8+4+3", "bird@-8+4+16", "bird@8+4+" + 5000 * "9"):
        with pytest.raises(UsageError, match="LEFT"):
            Gallery(sets, [text])


def _figures(sets: list[BenchmarkSet], wanted: list[str]) -> list[Figure]:
    gallery = Gallery(sets, wanted)
    return gallery.figures(run_benchmark(sets, make_methods(["bicubic"]), keep=gallery.keep))


def test_several_crops_of_one_picture(data: Path) -> None:
    wanted = ["bird@8+4+16", "Set5/bird.png@0+0+16", "bird", "bird@8+4+16"]
    figures = _figures(find_sets(data), wanted)
    assert [(f.image, len(f.panels)) for f in figures] == [("bird.png", 2)] * 3
    assert [f.region for f in figures[:2]] == [Region(8, 4, 16), Region(0, 0, 16)]


def test_names_with_an_at(data: Path) -> None:
    for name in ("photo@2x", "bird@8+4+16"):
        save(data / "Set5" / f"{name}.png", make_photo(52, 56))
    sets = find_sets(data)
    for text, image, region in (
        ("photo@2x.png", "photo@2x.png", None),
        ("Set5/photo@2x", "photo@2x.png", None),
        ("photo@2x.png@8+4+16", "photo@2x.png", Region(8, 4, 16)),
        ("bird@8+4+16", "bird@8+4+16.png", None),
        ("bird@8+4+20", "bird.png", Region(8, 4, 20)),
    ):
        (figure,) = _figures(sets, [text])
        assert figure.image == image and region in (None, figure.region)
    with pytest.raises(UsageError, match=r"picture 'photo@3x\.png' is in none"):
        Gallery(sets, ["photo@3x.png@1+1+8"])
    with pytest.raises(UsageError, match=r"picture 'cat@2x' is in none"):
        Gallery(sets, ["cat@2x"])


@pytest.mark.parametrize(
    ("place", "size"), [("10+20+900", (900, 900)), ("0+0+64", (640, 640)), ("0+0+2000", (920, 920))]
)
def test_the_crop_lies_inside_what_is_shown(place: str, size: tuple[int, int], tmp_path: Path) -> None:
    save(tmp_path / "Set" / "a.png", np.zeros((920, 960, 3), np.uint8))
    (figure,) = _figures(find_sets(tmp_path), [f"a@{place}"])
    region = figure.region
    assert (figure.width, figure.height) == size
    assert 0 <= region.left <= figure.width - region.side and 0 <= region.top <= figure.height - region.side


def test_the_region_is_where_detail_is() -> None:
    picture = np.full((120, 160, 3), 120, np.uint8)
    picture[60:90, 100:130] = np.random.default_rng(0).integers(0, 255, (30, 30, 3))
    region = detailed_region(picture)
    assert region.left <= 105 and region.left + region.side >= 125
    assert region.top <= 65 and region.top + region.side >= 85


def test_the_plot() -> None:
    svg = scatter([Point("a<b", 26.0, 7.0), Point("c", 28.0, 5.0)], original_niqe=4.0)
    assert "a&lt;b" in svg and svg.count("<circle") == 2
    dots = [tuple(map(float, m)) for m in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', svg)]
    assert dots[1][0] > dots[0][0] and dots[1][1] < dots[0][1]  # more faithful: right; more natural: up
    assert scatter([Point("one", 26.0, 7.0)])


def test_the_plot_in_words() -> None:
    svg = scatter([Point('a"<b', 26.0, 7.0)], original_niqe=4.0)
    label = ET.fromstring(svg).get("aria-label")
    assert label == 'PSNR against NIQE: a"<b 26.00 dB and 7.00, the originals 4.00'


def test_long_labels_of_the_plot_are_shortened() -> None:
    svg = scatter([Point("n" * 60, 26.0, 7.0)])
    assert f"><title>{'n' * 60}</title>{'n' * 9}…{'n' * 9}</text>" in svg


@pytest.mark.browser
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("width", [360, 1280, 1920])
def test_the_plots_can_be_read(whole: Benchmark, width: int, count: int, tmp_path: Path, chromium: Any) -> None:
    names = ["bicubic", "a method with quite a name", "srgan-vgg22", "mine", "srresnet-plus", "srresnet-mse", "ours"]
    places = [(28.4, 5.5), (30.0, 5.0), (32.0, 5.1), (25.0, 9.0), (31.0, 8.0), (31.02, 8.02), (31.0, 8.0)]
    svg = scatter([Point(name, *place) for name, place in zip(names, places, strict=True)], original_niqe=5.2)
    whole.methods = [method for method in whole.methods if method.name != "hr"]
    page_text = render(whole, describe(whole), Gallery(whole.sets))
    card = re.search(r'<div class="card"><h3>Set5</h3><svg.*?</svg></div>', page_text, re.DOTALL)
    assert card is not None
    path = tmp_path / "report.html"
    path.write_text(page_text.replace(card[0], f'<div class="card"><h3>x</h3>{svg}</div>' * count), encoding="utf-8")
    page = chromium.new_page(viewport={"width": width, "height": 800})
    page.goto(path.as_uri())
    assert page.locator("svg.plot").count() == count
    plot = page.locator("svg.plot").first
    assert plot.evaluate("svg => svg.parentElement.offsetWidth") <= 560
    sizes = plot.locator("text").evaluate_all(
        "all => all.map(t => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a)"
    )
    assert min(sizes) > 10.5 and max(sizes) < 17
    line, whole_box = plot.locator(".original").bounding_box(), plot.bounding_box()
    boxes = [text.bounding_box() for text in plot.locator(".label").all()]
    page.close()
    for box in boxes:
        assert whole_box["x"] <= box["x"] and box["x"] + box["width"] <= whole_box["x"] + whole_box["width"]
        base = box["y"] + 0.75 * box["height"]  # below it are the tails of letters alone
        assert not box["y"] + 0.2 * box["height"] < line["y"] < base
    for one, other in itertools.combinations(boxes, 2):
        apart = abs(one["y"] - other["y"]) > 0.6 * one["height"]
        assert apart or not -one["width"] < one["x"] - other["x"] < other["width"]


def test_labels_that_find_no_room_beside_their_dots_have_lines_to_them() -> None:
    assert "leader" not in scatter([Point("one", 26.0, 7.0), Point("other", 30.0, 5.0)])
    svg = scatter([Point(f"srresnet-{k}", 30.0, 7.0) for k in range(9)] + [Point("far", 26.0, 5.0)])
    places = re.findall(r'<text class="label" x="([\d.]+)" y="([\d.]+)"', svg)
    assert len(set(places)) == 10 and svg.count('class="leader"') > 2


@pytest.mark.parametrize("niqe", [5.43, 5.5, 6.81])  # of which some would round to a little more than the distance
def test_labels_right_below_their_dots_have_no_lines_to_them(niqe: float) -> None:
    svg = scatter([Point(f"srresnet-{k}", 30.0, niqe) for k in range(5)] + [Point("far", 26.0, 5.0)])
    lines = [
        tuple(map(float, line)) for line in re.findall(r'"leader" x1="(.*?)" y1="(.*?)" x2="(.*?)" y2="(.*?)"', svg)
    ]
    assert lines and all(math.dist(line[:2], line[2:]) > 13 for line in lines)


@pytest.mark.parametrize(("low", "high"), [(26.2, 32.1), (5.0, 5.0), (0.01, 0.02), (-3.0, 400.0)])
def test_ticks_enclose(low: float, high: float) -> None:
    values = ticks(low, high)
    assert values[0] <= low and values[-1] >= high and 2 <= len(values) <= 8


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


def test_the_command(data: Path, tmp_path: Path, tiny_weights: Path) -> None:
    json_file, html_file = tmp_path / "r.json", tmp_path / "r.html"
    result = _run(
        "--data", str(data), "--methods", f"bicubic,tiny={tiny_weights}", "--engine", "openvino",
        "--json", str(json_file), "--html", str(html_file), "--save", str(tmp_path / "out"),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    record = json.loads(json_file.read_text())
    assert {r["method"] for r in record["results"]} == {"bicubic", "tiny"}
    assert "Set5" in result.output
    assert html_file.read_text().lstrip().startswith("<!doctype")
    assert (tmp_path / "out" / "Set5" / "tiny" / "bird.png").is_file()
    # what was saved takes part again as another program's results, and scores the same
    again = _run("--data", str(data), "--sets", "Set5", "--methods",
                 f"again={tmp_path / 'out' / 'Set5' / 'tiny'}", "--json", "-")  # fmt: skip
    assert again.exit_code == 0, again.output
    redone = {r["image"]: r["psnr_y"] for r in json.loads(again.stdout)["results"]}
    before = {r["image"]: r["psnr_y"] for r in record["results"] if (r["set"], r["method"]) == ("Set5", "tiny")}
    assert redone == before


def test_a_failure_is_told_and_the_rest_done(data: Path, tmp_path: Path) -> None:
    (data / "Set5" / "zz.png").write_bytes(b"broken")
    json_file = tmp_path / "r.json"
    result = _run("--data", str(data), "--methods", "bicubic", "--json", str(json_file))
    assert isinstance(result.exception, EvaluationError) and "1 measurement failed" in str(result.exception)
    assert "failed: Set5/zz.png" in result.output
    record = json.loads(json_file.read_text())
    assert len(record["results"]) == 4
    assert record["means"][0]["complete"] is False and record["means"][0]["psnr_y"] is None


def test_names_with_line_breaks_write_no_lines_of_their_own(data: Path) -> None:
    (data / "Set5" / "zz\nfailed: all.png").write_bytes(b"broken")
    result = _run("--data", str(data), "--methods", "bicubic")
    told = [line for line in result.stderr.splitlines() if line.startswith("failed")]
    assert len(told) == 1 and told[0].startswith(r"failed: Set5/zz\nfailed: all.png: ")


@pytest.mark.parametrize("how", ["gone", "another size"])
def test_an_original_that_is_no_longer_there_costs_its_figure_alone(
    how: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "Set5" / "zz.png").write_bytes(b"broken")

    def measure(*arguments: Any, **options: Any) -> Benchmark:
        found = run_benchmark(*arguments, **options)
        (data / "Other" / "lone.png").unlink()
        if how != "gone":
            save(data / "Other" / "lone.png", make_photo(60, 64))
        return found

    monkeypatch.setattr("fourfold.evaluation.benchmark.run_benchmark", measure)
    html_file = tmp_path / "r.html"
    result = _run("--data", str(data), "--methods", "bicubic", "--html", str(html_file))
    assert isinstance(result.exception, EvaluationError)
    assert str(result.exception) == "1 measurement failed; a method without all pictures of a set has no mean"
    assert "failed: Set5/zz.png" in result.stderr and "note: Other/lone.png is not shown: " in result.stderr
    page = html_file.read_text()
    assert "Other/lone.png is not shown: " in page and "<h3>butterfly.png" in page and "<h3>lone.png" not in page


def test_a_picture_that_cannot_be_hashed_loses_nothing(data: Path, tmp_path: Path) -> None:
    loop = data / "Set5" / "zz.png"
    loop.symlink_to(loop)
    json_file, html_file = tmp_path / "r.json", tmp_path / "r.html"
    result = _run(
        "--data", str(data), "--methods", "bicubic", "--json", str(json_file), "--html", str(html_file)
    )  # fmt: skip
    assert isinstance(result.exception, EvaluationError) and "1 measurement failed" in str(result.exception)
    assert "failed: Set5/zz.png" in result.output and "PSNR" in result.stdout
    note = "Set5: no hash, zz.png cannot be read (Too many levels of symbolic links)"
    assert f"note: {note}" in result.stderr
    context = json.loads(json_file.read_text())["context"]
    assert context["sets"]["Set5"]["sha256"] is None and len(context["sets"]["Other"]["sha256"]) == 64
    assert note in context["notes"] and "Set5 without a hash" in html_file.read_text()


def test_names_that_are_no_text(data: Path, tmp_path: Path) -> None:
    (data / "Set5" / "bird.png").rename(data / "Set5" / os.fsdecode(b"caf\xe9.png"))
    (data / "Other").rename(data / os.fsdecode(b"caf\xe9 [x]"))
    json_file, html_file = tmp_path / "r.json", tmp_path / "r.html"
    arguments = ("--data", str(data), "--methods", "bicubic")
    result = _run(*arguments, "--json", str(json_file), "--html", str(html_file), "--save", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert r"caf\udce9 [x], 1 picture" in result.stdout
    assert "caf\udce9.png" in {result["image"] for result in json.loads(json_file.read_text())["results"]}
    page = html_file.read_text("utf-8")
    details = re.search(r'<script id="details" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert details is not None and set(json.loads(details[1])) == {"Set5", r"caf\udce9 [x]"}
    assert r'data-set="caf\udce9 [x]"' in page
    assert (tmp_path / "out" / "Set5" / "bicubic" / os.fsdecode(b"caf\xe9.png")).is_file()
    for kind in ("--json", "--html"):
        assert _run(*arguments, kind, "-").exit_code == 0


def test_a_file_that_cannot_be_written_takes_nothing_with_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "Set5" / "zz.png").write_bytes(b"broken")
    json_file, html_file = tmp_path / "r.json", tmp_path / "r.html"

    def refuse(path: Path, data: bytes) -> None:
        if path == json_file:
            raise OSError(28, "No space left on device")
        path.write_bytes(data)

    monkeypatch.setattr("fourfold.evaluation.record.write_atomically", refuse)
    result = _run("--data", str(data), "--methods", "bicubic", "--json", str(json_file), "--html", str(html_file))
    assert isinstance(result.exception, EvaluationError)
    assert str(result.exception) == (
        f"{json_file}: cannot be written (No space left on device). "
        "1 measurement failed; a method without all pictures of a set has no mean"
    )
    assert html_file.is_file() and "failed: Set5/zz.png" in result.stderr and "PSNR" in result.stdout


def test_a_pipe_is_written_into(data: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    result = _run("--data", str(data), "--methods", "nearest", "--json", str(pipe))
    reader.join(timeout=60)
    assert result.exit_code == 0 and len(json.loads(read[0])["results"]) == 4 and pipe.is_fifo()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_a_link_to_standard_output_is_not_replaced(data: Path, tmp_path: Path) -> None:
    with (tmp_path / "redirected").open("w") as file:
        link = f"/proc/self/fd/{file.fileno()}"
        result = _run("--data", str(data), "--methods", "nearest", "--json", link)
    assert isinstance(result.exception, UsageError) and "give - for standard output" in str(result.exception)


def test_the_page_on_standard_output(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = _run("--data", str(data), "--methods", "nearest", "--html", "-", "--json", "r.json")
    assert result.exit_code == 0, result.output
    assert result.stdout.lstrip().startswith("<!doctype") and result.stdout.rstrip().endswith("</html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "r.json"]


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("location", ["/{set}/mine/{name}.png", "/{set}/bicubic/{name}.png", "/Set5/mine", "DATA"])
def test_saving_never_replaces_what_is_measured(location: str, link: bool, data: Path, tmp_path: Path) -> None:
    taken = data if location == "DATA" else tmp_path / "r16"
    for name in ("baby", "bird", "butterfly"):
        picture = (data / "Set5" / f"{name}.png").read_bytes()
        for method in ("mine", "bicubic"):
            path = tmp_path / "r16" / "Set5" / method / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture)
    save_to = tmp_path / "link" if link else taken
    if link:
        save_to.symlink_to(taken)
    methods = "bicubic" if location == "DATA" else f"bicubic,mine={tmp_path}/r16{location}"
    arguments = ["--data", str(data), "--sets", "Set5", "--methods", methods, "--save"]
    if location == "DATA":  # a method that is called as a folder of originals is
        (data / "Set5").rename(data / "bicubic")
        (data / "Set5" / "HR").mkdir(parents=True)
        (data / "bicubic" / "baby.png").rename(data / "Set5" / "HR" / "baby.png")
        (data / "Set5" / "bicubic").symlink_to(data / "Set5" / "HR")
    result = _run(*arguments, str(save_to))
    assert isinstance(result.exception, UsageError)
    assert "is one of the pictures that are measured; name another folder" in str(result.exception)
    assert _run(*arguments, str(tmp_path / "free")).exit_code == 0


def test_saving_into_a_set_is_refused(data: Path) -> None:
    """Its folder would hold pictures and folders of pictures then, and be no set any more."""
    before = sorted(data.rglob("*"))
    result = _run("--data", str(data), "--sets", "Set5", "--methods", "bicubic", "--save", str(data))
    assert isinstance(result.exception, UsageError)
    assert "Set5 is where the set's own pictures lie; name another folder" in str(result.exception)
    assert sorted(data.rglob("*")) == before


def test_closed_folders_of_the_data_are_told(tmp_path: Path, closed: Path) -> None:
    save(tmp_path / "Set" / "a.png", make_photo(40, 44))
    result = _run("--data", str(tmp_path), "--methods", "nearest", "--json", "-")
    assert result.exit_code == 0, result.output
    note = f"{closed} is passed over; it cannot be read (Permission denied)"
    assert f"note: {note}" in result.stderr and json.loads(result.stdout)["context"]["notes"] == [note]


def test_square_brackets_are_no_markup(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "Set5").rename(data / "Set5 [old]")
    methods = make_methods(["nearest", "bicubic"])
    methods[1].name = "mine [/bold][x2]"
    _print(run_benchmark(find_sets(data), methods, against="mine [/bold][x2]"))
    said = capsys.readouterr().out
    assert "Set5 [old], 3 pictures" in said and "p vs mine [/bold][x2]" in said and "\nmine [/bold][x2] " in said
    console = Console(width=120, record=True, force_terminal=True)
    bar = _ProgressBar()._bar
    bar.add_task("Set [old]/[/x].png", total=None)
    console.print(bar.get_renderable())
    assert "Set [old]/[/x].png" in console.export_text()


def test_what_cannot_be_saved_is_told_and_no_result_is_lost(data: Path, tmp_path: Path) -> None:
    taken = tmp_path / "out" / "Set5" / "bicubic"
    for name in ("baby", "bird"):
        (taken / f"{name}.png").mkdir(parents=True)
    json_file, html_file = tmp_path / "r.json", tmp_path / "r.html"
    result = _run(
        "--data", str(data), "--methods", "bicubic", "--save", str(tmp_path / "out"),
        "--json", str(json_file), "--html", str(html_file),
    )  # fmt: skip
    assert isinstance(result.exception, EvaluationError)
    assert str(result.exception) == "2 measured pictures could not be saved; every number is there"
    assert f"not saved: Set5/bird.png, bicubic: {taken / 'bird.png'}: is a folder" in result.output
    assert "Set5" in result.stdout and "PSNR" in result.stdout
    record = json.loads(json_file.read_text())
    assert len(record["results"]) == 4 and all(m["complete"] for m in record["means"])
    assert "baby.png" in html_file.read_text()
    assert (taken / "butterfly.png").is_file()


def test_of_many_that_cannot_be_saved_the_first_are_told(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise PictureError("the disk is full")

    monkeypatch.setattr("fourfold.imaging.write_picture", full)
    (data / "Set5" / "zz.png").write_bytes(b"broken")
    result = _run("--data", str(data), "--methods", "nearest,bicubic", "--save", str(tmp_path / "out"))
    told = [line for line in result.stderr.splitlines() if line.startswith("not saved:")]
    assert len(told) == 6 and told[-1] == "not saved: 3 more"
    assert str(result.exception) == (
        "1 measurement failed; a method without all pictures of a set has no mean. "
        "8 measured pictures could not be saved; every number is there"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--methods", ","], "empty list"),
        (["--sets", "Set9"], "no set 'Set9'"),
        (["--against", "srgan", "--methods", "bicubic"], "no method 'srgan'"),
        (["--json", "absent/r.json"], "no folder absent"),
        (["--methods", "bicubic", "--niqe", "absent.npz"], "no NIQE parameters"),
        (["--methods", "bicubic", "--html", "x.html", "--pictures", "cat"], "none of the sets"),
    ],
)
def test_wrong_usage(arguments: list[str], says: str, data: Path) -> None:
    result = _run("--data", str(data), *arguments)
    assert result.exit_code != 0 and says in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--save", "FILE"], "is a file; name a folder"),
        (["--save", "FILE/below/it"], "is a file; name a folder"),
        (["--save", "TAKEN"], "Set5 is a file; name a folder"),
        (["--save", "TAKEN/deep"], "nearest is a file; name a folder"),
        (["--save", "SAME", "--methods", "nearest,bicubic"], "Set5/bicubic are one folder; name another"),
        (["--save", "FOLDER/out", "--methods", "bicubic,..=FOLDER/{set}/{name}.png"], "no method can be called '..'"),
        (["--save", "x" * 300], "cannot be made"),
        (["--json", "FOLDER"], "is a folder"),
        (["--html", "FOLDER"], "is a folder"),
        (["--sets", "Set5,Set5"], "two sets are called 'Set5'"),
        (["--pictures", "Set5/baby.png"], "give --html FILE too"),
        (["--methods", "hr=FOLDER"], "hr is the originals"),
        (["--against", "bicubik"], "no method 'bicubik' to compare with; there are nearest"),
        (["--engine", "foo"], "no engine 'foo'"),
        (["--precision", "foo"], "no precision 'foo'"),
        (["--vgg-normalisation", "foo"], "give --vgg FILE too"),
        (["--json", "-", "--html", "-"], "--json - and --html - are the same"),
        (["--json", "taken/../o.json", "--html", "o.json"], "are the same"),
        (["--json", "CLOSED/o.json"], "o.json: cannot be written (Permission denied)"),
        (["--html", "CLOSED/x/o.html"], "o.html: cannot be written (Permission denied)"),
        (["--html", "LOCKED/o.html"], "locked may not be written"),
        (["--json", "LOCKED/../pipe"], "it may not be written"),
        (["--json", "LOOP"], "symbolic links"),
    ],
)
def test_wrong_usage_is_told_before_measuring(
    arguments: list[str], says: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: Path
) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    access = os.access

    def unlocked(path: Any, mode: int) -> bool:
        return access(path, mode) and not (mode & os.W_OK and "locked" in str(path))

    monkeypatch.setattr(os, "access", unlocked)
    (tmp_path / "file").touch()
    (tmp_path / "taken" / "deep" / "Set5").mkdir(parents=True)
    (tmp_path / "taken" / "Set5").touch()
    (tmp_path / "taken" / "deep" / "Set5" / "nearest").touch()
    (tmp_path / "same" / "Set5" / "nearest").mkdir(parents=True)
    (tmp_path / "same" / "Set5" / "bicubic").symlink_to("nearest")

    def never(*_: Any, **__: Any) -> None:
        pytest.fail("measured")

    monkeypatch.setattr("fourfold.evaluation.benchmark.run_benchmark", never)
    places = {"FILE": tmp_path / "file", "FOLDER": tmp_path, "TAKEN": tmp_path / "taken"}
    places |= {"CLOSED": closed, "LOCKED": tmp_path / "locked", "LOOP": tmp_path / "loop", "SAME": tmp_path / "same"}
    given = arguments
    for word, place in places.items():
        given = [a.replace(word, str(place)) for a in given]
    defaults = [] if "--methods" in given else ["--methods", "nearest"]
    result = _run("--data", str(data), *given, *defaults)
    assert isinstance(result.exception, UsageError) and says in str(result.exception)


def test_the_naming_found_is_told(data: Path, tmp_path: Path) -> None:
    for name in ("baby", "bird", "butterfly"):
        original = data / "Set5" / f"{name}.png"
        (tmp_path / f"{name}_ours.png").write_bytes(original.read_bytes())
        (tmp_path / f"{name}_HR.png").write_bytes(original.read_bytes())
    given = f"given={tmp_path}/{{name}}_HR.png"
    result = _run("--data", str(data), "--sets", "Set5", "--methods", f"ours={tmp_path},{given}", "--json", "-")
    assert result.exit_code == 0, result.output
    note = f"Set5: ours is what is named {{name}}_ours in {tmp_path}"
    assert [line for line in result.stderr.splitlines() if "is what" in line] == [f"note: {note}"]
    assert json.loads(result.stdout)["context"]["notes"] == [note]


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_in_a_browser(found: Benchmark, data: Path, tmp_path: Path, width: int, chromium: Any) -> None:
    path = tmp_path / "report.html"
    path.write_text(_page(found, data), encoding="utf-8")
    page = chromium.new_page(viewport={"width": width, "height": 800})
    said: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    stage = page.locator(".stage").first
    stage.locator("input").fill("20")
    assert stage.evaluate("e => e.style.getPropertyValue('--cut')") == "20%"
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.up()
    page.mouse.move(box["x"], box["y"])
    assert abs(float(stage.evaluate("e => e.style.getPropertyValue('--cut')").rstrip("%")) - 75) < 1
    page.locator("select.left").first.select_option(label="nearest")
    assert stage.locator(".tag.left").inner_text() == "nearest"
    page.locator("details").first.locator("summary").click()
    page.locator("details select").first.select_option("ssim_daala")
    assert page.locator("details").first.locator("tbody td").first.inner_text().startswith("0.")
    page.close()
    assert not said and all(url.startswith(("file:", "data:")) for url in asked)


@pytest.mark.browser
def test_the_slider_by_keyboard(found: Benchmark, data: Path, tmp_path: Path, chromium: Any) -> None:
    path = tmp_path / "report.html"
    path.write_text(_page(found, data), encoding="utf-8")
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    page.goto(path.as_uri())
    stage = page.locator(".stage").first
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()

    def cut() -> float:
        return float(stage.evaluate("e => e.style.getPropertyValue('--cut')").rstrip("%"))

    page.mouse.click(box["x"] + 0.3 * box["width"], box["y"] + 50)
    dragged = cut()
    assert abs(dragged - 30) < 0.5 and page.evaluate("document.activeElement.type") == "range"
    for key, least, most in (("ArrowRight", 1, 3), ("ArrowLeft", -1, 1), ("PageUp", 5, 20), ("End", 69, 71)):
        page.keyboard.press(key)
        assert least <= cut() - dragged <= most
    for place, key, end in ((0.995, "End", 100), (0.005, "Home", 0)):
        page.mouse.click(box["x"] + place * box["width"], box["y"] + 50)
        page.keyboard.press(key)
        assert cut() == end
    page.keyboard.press("End")
    page.locator("select.left").first.select_option(label="nearest")
    assert stage.locator("input").get_attribute("aria-valuetext") == "100 % nearest, 0 % original"
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("width", [700, 1030])  # of A4 and of Letter, upright and across, less the margins
def test_the_page_on_paper(whole: Benchmark, width: int, tmp_path: Path, chromium: Any) -> None:
    for found in (*whole.means, *whole.scores):
        found.values.update(vgg22=0.123, vgg54=0.456, lpips=0.789)
    sets = find_sets(whole.sets[0].folder.parent)
    gallery = Gallery(sets, ["Set5/bird.png"])
    run_benchmark(sets[:1], whole.methods, keep=gallery.keep)
    path = tmp_path / "report.html"
    path.write_text(render(whole, describe(whole), gallery), encoding="utf-8")
    page = chromium.new_page(viewport={"width": width, "height": 700}, color_scheme="dark")
    page.goto(path.as_uri())
    for summary in page.locator("summary").all():
        summary.click()
    page.emulate_media(media="print", color_scheme="dark")
    wide = "all => all.filter(e => e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > innerWidth)"
    assert page.locator(".scroll, .card, table").count() > 9
    assert page.locator(".scroll, .card, table").evaluate_all(f"{wide}.length") == 0
    assert page.locator("th:first-child").evaluate_all(_STYLES, "position") == ["static"]
    assert page.locator("body").evaluate_all(_STYLES, "backgroundColor") == ["rgb(255, 255, 255)"]
    assert page.locator(".figure").evaluate_all(_STYLES, "breakInside") == ["avoid"]
    stage = page.locator(".stage")
    assert stage.locator(".tag.right").evaluate_all(_STYLES, "printColorAdjust") == ["exact"]
    assert [stage.locator(part).is_visible() for part in ("img.under", "img.over", ".bar", ".tag.left")] == [
        True, False, False, False,
    ]  # fmt: skip
    shown, frame = stage.locator("img.under").bounding_box(), stage.bounding_box()
    assert abs(shown["width"] / shown["height"] - 200 / 104) < 0.02 and abs(shown["width"] - frame["width"]) < 1
    page.close()


_STYLES = "(all, name) => [...new Set(all.map(e => getComputedStyle(e)[name]))]"


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1280, 1920])
def test_long_names_leave_room_for_numbers(data: Path, tmp_path: Path, width: int, chromium: Any) -> None:
    (data / "Set5" / "bird.png").rename(data / "Set5" / f"{'a' * 120}.png")
    sets, methods = find_sets(data), make_methods(["nearest", "bicubic"])
    methods[1].name = "My method with a name that is not at all short"
    found = run_benchmark(sets, methods, against=methods[1].name)
    path = tmp_path / "report.html"
    path.write_text(render(found, describe(found), Gallery(sets)), encoding="utf-8")
    page = chromium.new_page(viewport={"width": width, "height": 800})
    page.goto(path.as_uri())
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shares = page.locator("tbody th").evaluate_all(
        "all => all.map(th => th.offsetWidth / th.closest('.scroll').clientWidth)"
    )
    page.close()
    assert len(shares) == 10 and max(shares) < 0.6


def test_many_croppings_are_told_in_one_line(tmp_path: Path) -> None:
    for k in range(7):
        save(tmp_path / "Odd" / f"{k}.png", make_photo(41, 42, seed=k))
    save(tmp_path / "Whole" / "0.png", make_photo(40, 43, seed=9))
    record = tmp_path / "r.json"
    result = CliRunner().invoke(app, ["--data", str(tmp_path), "--methods", "nearest", "--json", str(record)])
    assert result.exit_code == 0
    assert [line for line in result.stderr.splitlines() if "cropped" in line] == [
        "note: Odd: 0.png cropped from 42x41 to 40x40, and 6 more pictures to multiples of 4",
        "note: Whole: 0.png cropped from 43x40 to 40x40",
    ]
    assert len(json.loads(record.read_text())["context"]["notes"]) == 8
