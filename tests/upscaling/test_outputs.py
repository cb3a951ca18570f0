"""Which files are meant and what their outputs are called, before anything is upscaled."""

import os
from pathlib import Path

import pytest
from PIL import Image

from fourfold.errors import PictureError, UsageError
from fourfold.imaging import refuse_existing
from fourfold.upscaling.outputs import Naming, plan_jobs
from tests.conftest import make_photo


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Makes small pictures under the current folder."""
    monkeypatch.chdir(tmp_path)

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(make_photo(8, 8)).save(path)

    return make


def planned(*inputs, output=None, ext="auto", suffix="_x4", recursive=False, skip_existing=False):
    plan = plan_jobs(inputs, Naming(output, suffix, ext), recursive=recursive, skip_existing=skip_existing)
    return {str(job.source): str(job.destination) for job in plan.jobs}, plan


@pytest.mark.parametrize("output", ["large.png", "large", ".", "large/cat.png"])
def test_a_current_folder_that_is_gone(tree, tmp_path, monkeypatch, output):
    """As of a shell whose folder another one has removed."""
    tree("cat.png")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(PictureError, match="the current folder is there no more"):
        planned(str(tmp_path / "cat.png"), output=output)
    cat, large = str(tmp_path / "cat.png"), str(tmp_path / "large.png")
    assert planned(cat, output=large)[0] == {cat: large}


MISSING = {
    "into a file": (["none.png"], "out.png"),
    "into a format that is none": (["none.png"], "out.bmp"),
    "two into a file": (["none.png", "neither.png"], "out.png"),
    "a glob into a file": (["n*.png"], "out.png"),
    "a folder without pictures into a file": (["."], "out.png"),
}


@pytest.mark.parametrize("case", MISSING)
def test_with_nothing_to_do_the_inputs_are_what_is_wrong(tree, case):
    inputs, output = MISSING[case]
    jobs, plan = planned(*inputs, output=output)
    assert jobs == {}
    assert [text for text, _ in plan.problems] == inputs
    assert all("no such file" in str(e) or "no picture" in str(e) for _, e in plan.problems)


_CAT, _LARGE, _DEEP = ["cat.png"], ["large/cat_x4.png", "large/dog.png"], ["large/deep/cow.png"]
#: inputs, -o, what is found, and whether something is left out
SEARCHES = {
    "a folder above the outputs": (["."], "large", _CAT, True),
    "by another name": (["../in"], "./large/", ["../in/cat.png"], True),
    "deep outputs": (["."], "large/deep", _CAT + _LARGE, True),
    "a glob over folders": (["*"], "large", _CAT, True),
    "a glob through folders": (["**/*.png"], "large", _CAT, True),
    "the folder itself": (["large"], "large", _LARGE + _DEEP, False),
    "a glob in it": (["large/d*.png"], "large", ["large/dog.png"], False),
    "a file in it": (["large/dog.png"], "large", ["large/dog.png"], False),
    "elsewhere": (["."], "../other", _CAT + _LARGE + _DEEP, False),
    "a folder that is not there yet": (["."], "later", _CAT + _LARGE + _DEEP, False),
}


@pytest.mark.parametrize("case", SEARCHES)
def test_the_folder_of_the_outputs_is_not_searched(tree, tmp_path, monkeypatch, case):
    inputs, output, expected, some_left_out = SEARCHES[case]
    tree("in/cat.png", "in/large/cat_x4.png", "in/large/dog.png", "in/large/deep/cow.png", "in/large/.hidden/cat.png")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    jobs, plan = planned(*inputs, output=output, recursive=True)
    assert sorted(jobs) == sorted(expected)
    assert sum("the outputs go there" in note for note in plan.notes) == some_left_out


#: pictures beside each other -> what becomes of them
BESIDE = {
    "a GIF alone": (["cat.gif"], {"cat.gif": "cat_x4.png"}),
    "a GIF beside a PNG": (["cat.gif", "cat.png"], {"cat.gif": "cat.gif_x4.png", "cat.png": "cat_x4.png"}),
    "their outputs beside them": (
        ["cat.gif", "cat.png", "cat.gif_x4.png", "cat_x4.png"],
        {"cat.gif": "cat.gif_x4.png", "cat.png": "cat_x4.png"},
    ),
    "a GIF beside a JPEG": (["cat.gif", "cat.jpg"], {"cat.gif": "cat_x4.png", "cat.jpg": "cat_x4.jpg"}),
}


@pytest.mark.parametrize("case", BESIDE)
@pytest.mark.parametrize("output", [None, "large"])
def test_a_gif_makes_room_for_a_png_of_its_name(tree, case, output):
    names, expected = BESIDE[case]
    tree(*names)
    jobs, plan = planned(".", output=output)
    assert jobs == {k: v if output is None else f"{output}/{v}" for k, v in expected.items()}
    assert any("named cat.gif_x4.png" in note for note in plan.notes) == (expected["cat.gif"] == "cat.gif_x4.png")


#: pictures of one folder -> what becomes of them, of which other names are taken
TOLD_APART = {
    "an animated PNG": {"cat.apng": "cat.apng_x4.png", "cat.png": "cat_x4.png"},
    "two that change": {"cat.apng": "cat.apng_x4.png", "cat.gif": "cat.gif_x4.png"},
    "three": {"cat.apng": "cat.apng_x4.png", "cat.gif": "cat.gif_x4.png", "cat.png": "cat_x4.png"},
    "a whole name that is taken": {
        "cat.gif": "cat.gif_x4.png",
        "cat.gif.png": "cat.gif.png_x4.png",
        "cat.png": "cat_x4.png",
    },
    "the next that is taken": {
        "cat.gif": "cat.gif_x4.png",
        "cat.gif.png": "cat.gif.png_x4.png",
        "cat.gif.png.png": "cat.gif.png.png_x4.png",
        "cat.png": "cat_x4.png",
    },
    "a whole name that is free": {"cat.gif": "cat_x4.png", "cat.gif.png": "cat.gif_x4.png"},
    "endings of one format": {"cat.jpeg": "cat_x4.jpeg", "cat.jpg": "cat_x4.jpg"},
}


@pytest.mark.parametrize("case", TOLD_APART)
def test_pictures_whose_outputs_would_have_one_name_are_told_apart(tree, case):
    expected = TOLD_APART[case]
    tree(*expected, "dog.png")
    jobs, plan = planned(".")
    assert jobs == expected | {"dog.png": "dog_x4.png"}
    assert plan.problems == []
    assert sum("since another picture becomes" in note for note in plan.notes) == sum(
        made.startswith(name) for name, made in expected.items()
    )
    assert planned(*reversed(jobs))[0] == jobs


def test_a_picture_without_an_ending_makes_room_too(tree, tmp_path):
    tree("cat.png")
    (tmp_path / "cat").write_bytes((tmp_path / "cat.png").read_bytes())
    jobs, plan = planned("cat", "cat.png")
    assert jobs == {"cat": "cat_x4.png", "cat.png": "cat.png_x4.png"}
    assert plan.notes == ["cat.png: named cat.png_x4.png, since another picture becomes cat_x4.png"]


def test_what_may_be_of_another_picture_is_not_taken_for_ones_own(tree, tmp_path):
    tree("cat.gif", "cat.gif.png")
    first, _ = planned(".", skip_existing=True)
    tree("cat.png", *first.values())
    jobs, plan = planned(".", skip_existing=True)
    assert jobs == {} and plan.skipped == []
    assert [(text, str(error).partition(" is there, made of ")[0]) for text, error in plan.problems] == [
        ("cat.gif", "cat.gif_x4.png"),
        ("cat.gif.png", "cat.gif_x4.png"),
        ("cat.png", "cat_x4.png"),
    ]
    for made in first.values():
        (tmp_path / made).unlink()
    tree(*planned(".", skip_existing=True)[0].values())
    jobs, plan = planned(".", skip_existing=True)
    assert (jobs, plan.problems, len(plan.skipped)) == ({}, [], 3)


def test_an_ending_that_makes_one_file_of_two_is_refused(tree):
    tree("cat.gif", "cat.png")
    with pytest.raises(UsageError, match=r"would both become .* different folders, or without --ext"):
        planned("cat.gif", "cat.png", output="large/", ext="png")


@pytest.mark.parametrize("name", ["cat.png", "cat.gif"])
def test_pictures_of_one_name_cost_no_other(tree, name):
    tree(f"a/{name}", f"b/{name}", f"c/{name}", "dog.png")
    jobs, plan = planned(f"a/{name}", f"b/{name}", f"c/{name}", "dog.png", output="large/")
    assert jobs == {"dog.png": "large/dog_x4.png"}
    others = {"a": "b", "b": "a", "c": "a"}
    assert [(text, str(error)) for text, error in plan.problems] == [
        (
            f"{one}/{name}",
            f"{one}/{name} and {other}/{name} would both become large/cat_x4.png; upscale them into different folders",
        )
        for one, other in others.items()
    ]


#: inputs, -o -> what becomes of x.png, two links to it, and a link to their folder
LINKS = {
    "a folder": (["."], None, ["cover_x4.png", "x_x4.png", "y_x4.png"]),
    "listed": (["x.png", "y.png"], None, ["x_x4.png", "y_x4.png"]),
    "one twice": (["x.png", "./x.png", "../in/x.png"], None, ["x_x4.png"]),
    "through a linked folder": (["x.png", "../linked/x.png"], None, ["x_x4.png"]),
    "the same name elsewhere": (["x.png", "../other/x.png"], "../large/", ["../large/x_x4.png"]),
}


@pytest.mark.parametrize("case", LINKS)
def test_links_are_pictures_of_their_own(tree, tmp_path, monkeypatch, case):
    inputs, output, expected = LINKS[case]
    tree("in/x.png")
    (tmp_path / "other").mkdir()
    for link in ("in/cover.png", "in/y.png", "other/x.png"):
        (tmp_path / link).symlink_to(tmp_path / "in/x.png")
    (tmp_path / "linked").symlink_to(tmp_path / "in")
    monkeypatch.chdir(tmp_path / "in")
    assert list(planned(*inputs, output=output)[0].values()) == expected


def test_folders_that_are_not_searched_are_told(tree, tmp_path):
    tree("photos1.png", "photos/a.png", "photos2/b.png", "photos3/c.png", "photos4/d.png", ".hidden/e.png")
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "photos2")
    _, plan = planned("photo*")
    told = "photo*: folders that match are searched with --recursive: photos, photos2, photos3 and 1 more"
    assert plan.notes == [told]
    _, plan = planned("photos", recursive=True)
    assert plan.notes == ["photos: links to folders are not followed: photos/more"]
    assert planned("photo*", recursive=True)[1].notes == plan.notes


@pytest.mark.parametrize(
    ("name", "kind", "becomes"),
    [
        ("a.jpg", "PNG", "a_x4.png"),
        ("a.webp", "JPEG", "a_x4.jpg"),
        ("a.jpeg", "GIF", "a_x4.png"),
        ("a.png", "JPEG", "a_x4.png"),
        ("a.apng", "PNG", "a_x4.png"),
        ("a.jfif", "JPEG", "a_x4.jfif"),
    ],
)
def test_what_a_file_is_counts_and_not_its_name(tree, tmp_path, name, kind, becomes):
    Image.fromarray(make_photo(8, 8)).save(tmp_path / name, kind)
    jobs, plan = planned(name)
    assert jobs == {name: becomes}
    told = f"{name}: a {'JPG' if kind == 'JPEG' else kind}, whatever its name says; --ext names another format"
    assert (told in plan.notes) == (name in ("a.jpg", "a.webp", "a.jpeg"))


@pytest.mark.parametrize(
    ("width", "frames", "becomes", "note"),
    [
        (4095, 2, "a_x4.webp", "written as WEBP, which holds all colours; --ext gif keeps GIF"),
        (4096, 2, "a_x4.GIF", "too large for webp when enlarged; written as GIF"),
        (16_383, 2, "a_x4.GIF", "too large for webp when enlarged; written as GIF"),
        (16_384, 2, "a_x4.png", "too large for gif when enlarged; written as PNG"),
        (16_384, 1, "a_x4.png", "written as PNG, which holds all colours; --ext gif keeps GIF"),
    ],
)
def test_a_gif_becomes_what_holds_its_size(tree, tmp_path, width, frames, becomes, note):
    for turned in (False, True):
        first, *others = [Image.new("L", (1, width) if turned else (width, 1), 200 * k) for k in range(frames)]
        first.save(tmp_path / "a.GIF", "GIF", save_all=True, append_images=others, duration=70)
        jobs, plan = planned("a.GIF")
        assert (jobs, plan.notes) == ({"a.GIF": becomes}, [f"a.GIF: {note}"])


def test_earlier_outputs_that_the_shell_lists_are_left_out(tree):
    tree("a.png", "a_x4.png", "b.png", "c_x4.png")
    listed = ["a.png", "a_x4.png", "b.png", "c_x4.png"]
    jobs, plan = planned(*listed, skip_existing=True)
    assert jobs == {"b.png": "b_x4.png", "c_x4.png": "c_x4_x4.png"}
    assert [str(job.source) for job in plan.skipped] == ["a.png"]
    assert plan.notes == ["left out 1 pictures that are earlier outputs of others"]
    with pytest.raises(UsageError, match="the folder, or the glob in quotes, leaves it out"):
        planned(*listed)
    with pytest.raises(UsageError, match=r"another -o$"):
        planned("a.png", suffix="", skip_existing=True)


@pytest.mark.parametrize("output", ["plain", "plain/", "plain.txt", "plain.txt/", "out.png/"])
def test_outputs_into_a_file_that_is_no_folder(tree, tmp_path, output):
    tree("cat.png", "out.png")
    for name in ("plain", "plain.txt"):
        (tmp_path / name).write_text("dear")
    with pytest.raises(UsageError, match=f"-o {output} is a file, not a folder"):
        planned("cat.png", output=output)


def test_names_in_closed_folders_are_usable_but_unseen(tree, monkeypatch, tmp_path):
    tree("cat.png")

    def closed(path):
        raise PermissionError(13, "Permission denied", os.fspath(path))

    monkeypatch.setattr(Path, "is_dir", closed)
    _, plan = planned("shut/cat.png")
    assert [str(error) for _, error in plan.problems] == ["shut/cat.png: cannot be looked at (Permission denied)"]
    with pytest.raises(PictureError, match="cannot be written: the folder may not be written; choose another with -o"):
        refuse_existing(tmp_path / "shut" / "cat_x4.png", overwrite=False)


def test_folders_that_cannot_be_read_are_problems_of_their_own(tree, monkeypatch):
    tree("a/cat.png", "b/dog.png", "b/c/cow.png", "empty/x/mouse.png")
    scandir = os.scandir

    def locked(path):
        if Path(path).name in ("b", "x"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    jobs, plan = planned(".", recursive=True)
    assert jobs == {"a/cat.png": "a/cat_x4.png"}
    assert sorted(str(error) for _, error in plan.problems) == [
        "b: cannot be read (Permission denied)",
        "empty/x: cannot be read (Permission denied)",
    ]
    assert sorted(text for text, _ in plan.problems) == ["b", "empty/x"]
    jobs, plan = planned("b", "a", recursive=True)
    assert list(jobs) == ["a/cat.png"]
    assert [(text, str(error)) for text, error in plan.problems] == [("b", "b: cannot be read (Permission denied)")]
