"""The paper's design and the raters' orders."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fourfold.study import design
from fourfold.study.design import Item, choose_repeats, methods_for, order_for

PAPER_PICTURES = {"Set5": 5, "Set14": 14, "BSD100": 100}


def paper_items() -> list[Item]:
    items = [
        Item(f"{set_name}{scene}{method}", f"{set_name}/{scene}")
        for set_name, count in PAPER_PICTURES.items()
        for scene in range(count)
        for method in methods_for(set_name, design.TWELVE)
    ]
    return items + [Item(f"c{n}{score}", f"c/{n}", score) for n in range(20) for score in design.ANCHORS.values()]


def test_the_default_is_the_papers_design() -> None:
    assert len(design.TWELVE) == 12
    assert len(design.NINE) == 9
    assert sum(1 for item in paper_items() if item.anchor is None) == 1128
    assert design.ANCHORS == {"nearest": 1, "hr": 5}
    assert (design.CALIBRATION_PICTURES, design.REPEATED_PICTURES) == (20, 10)


def test_an_order_shows_everything_once_and_repeats_twice() -> None:
    items = paper_items()
    repeats = [item.id for item in items if item.id.startswith("BSD100")][:10]
    order = order_for("r1", "seed", items, repeats)
    assert [s.position for s in order] == list(range(40 + 1128 + 10))
    assert [s.kind for s in order[:40]] == ["calibration"] * 40
    assert Counter(s.anchor for s in order[:40]) == {1: 20, 5: 20}
    shown = Counter(s.id for s in order[40:])
    assert {identifier for identifier, times in shown.items() if times == 2} == set(repeats)
    assert sum(1 for s in order if s.kind == "repeat") == 10


@pytest.mark.parametrize("rater", ["r1", "r2", "r3"])
def test_neighbours_never_show_the_same_scene_and_repeats_are_far_apart(rater: str) -> None:
    items = paper_items()
    scene = {item.id: item.scene for item in items}
    repeats = [item.id for item in items if item.id.startswith("BSD100")][:10]
    order = order_for(rater, "seed", items, repeats)[40:]
    assert all(scene[a.id] != scene[b.id] for a, b in pairwise(order))
    for identifier in repeats:
        first, second = (s.position for s in order if s.id == identifier)
        assert second - first >= design.REPEAT_DISTANCE


def test_the_documentation_says_how_far_apart_repeats_are() -> None:
    items = [Item(f"{n}", f"{n}") for n in range(200)]
    between = []
    for n in range(40):
        order = order_for(f"r{n}", "seed", items, ["3", "4", "5"])
        for repeat in (s for s in order if s.kind == "repeat"):
            [first] = [s.position for s in order if s.id == repeat.id and s.kind == "rating"]
            between.append(repeat.position - first - 1)
    documentation = (Path(__file__).parents[2] / "docs" / "study.md").read_text(encoding="utf-8")
    assert f"comes back after at least {min(between)} others." in " ".join(documentation.split())


def test_orders_differ_between_raters_and_seeds_and_are_the_same_again() -> None:
    items = paper_items()
    first = [s.id for s in order_for("r1", "seed", items, [])]
    assert first == [s.id for s in order_for("r1", "seed", items, [])]
    assert first == [s.id for s in order_for("r1", "seed", list(reversed(items)), [])]
    assert first != [s.id for s in order_for("r2", "seed", items, [])]
    assert first != [s.id for s in order_for("r1", "other", items, [])]


def test_an_order_is_pinned_so_that_no_upgrade_can_change_a_running_study() -> None:
    items = [Item(name, name) for name in "abcdef"]
    assert "".join(s.id for s in order_for("r1", "seed", items, ["a"])) == "fbeadac"


def test_orders_of_small_studies_are_pinned_too_for_either_version() -> None:
    items = [Item(name, name[0]) for name in ("a1", "a2", "a3", "b1", "b2", "b3")]
    orders = {
        thorough: " ".join(s.id for s in order_for("r16", "seed", items, ["a1"], thorough=thorough))
        for thorough in (False, True)
    }
    assert orders == {False: "a2 b3 a1 a1 b1 a3 b2", True: "a1 b1 a1 b2 a2 b3 a3"}


SMALL = [(scenes, methods, repeats) for scenes in (1, 2, 3, 5) for methods in (1, 2, 3, 4) for repeats in (0, 1, 3)]


def small_study(scenes: int, methods: int, repeats: int) -> tuple[list[Item], list[str]]:
    items = [Item(f"{s}-{m}", str(s)) for s in range(scenes) for m in range(methods)]
    return items, [f"{s}-0" for s in range(min(scenes, repeats))]


@pytest.mark.parametrize("study", SMALL)
def test_in_the_smallest_studies_no_picture_follows_on_itself(study: tuple[int, int, int]) -> None:
    items, repeats = small_study(*study)
    scene = {item.id: item.scene for item in items}
    for rater in range(12):
        order = order_for(f"r{rater}", "seed", items, repeats)
        if len(items) > 1:  # else there is nothing to show in between
            assert all(a.id != b.id for a, b in pairwise(order)), order
        if study[0] > 1:
            assert all(scene[a.id] != scene[b.id] for a, b in pairwise(order)), order


@pytest.mark.parametrize("study", SMALL)
def test_orders_without_conflicts_stay_those_of_version_1(study: tuple[int, int, int]) -> None:
    items, repeats = small_study(*study)
    scene = {item.id: item.scene for item in items}
    distance = min(design.REPEAT_DISTANCE, (len(items) + len(repeats)) // 3)
    for rater in range(12):
        earlier = order_for(f"r{rater}", "seed", items, repeats, thorough=False)
        first = {s.id: s.position for s in earlier if s.kind == "rating"}
        apart = all(s.position - first[s.id] >= max(2, distance) for s in earlier if s.kind == "repeat")
        if apart and all(scene[a.id] != scene[b.id] for a, b in pairwise(earlier)):
            assert order_for(f"r{rater}", "seed", items, repeats) == earlier


def test_the_first_position_is_taken_evenly() -> None:
    # 600 raters, 6 pictures: each should come first about 100 times; 60 is over 4 standard deviations away
    items = [Item(name, name) for name in "abcdef"]
    firsts = Counter(order_for(f"r{n}", "seed", items, [])[0].id for n in range(600))
    assert all(60 < firsts[item.id] < 140 for item in items)


@given(scenes=st.integers(1, 4), methods=st.integers(1, 4), repeats=st.integers(0, 4))
@settings(max_examples=40, deadline=None)
def test_small_studies_have_orders_too(scenes: int, methods: int, repeats: int) -> None:
    items = [Item(f"{s}{m}", str(s)) for s in range(scenes) for m in range(methods)]
    chosen = [item.id for item in items[:repeats]]
    order = order_for("r", "s", items, chosen)
    assert Counter(s.id for s in order) == Counter([item.id for item in items] + chosen)


def test_repeats_are_of_different_scenes_and_spread_over_methods() -> None:
    candidates = {f"{s}-{m}": (str(s), m) for s in range(100) for m in design.NINE}
    chosen = choose_repeats("seed", candidates, 10)
    assert len({candidates[c][0] for c in chosen}) == 10
    assert set(Counter(candidates[c][1] for c in chosen).values()) == {1, 2}
    assert choose_repeats("seed", candidates, 10) == chosen
    assert len(choose_repeats("seed", candidates, 1000)) == 100


def test_repeats_are_chosen_by_what_they_show_and_not_by_their_random_names() -> None:
    shown = [(str(s), m) for s in range(20) for m in design.NINE]
    first, again = ({f"{salt}-{n}": pair for n, pair in enumerate(shown)} for salt in ("x", "y"))
    assert [first[c] for c in choose_repeats("seed", first, 5)] == [again[c] for c in choose_repeats("seed", again, 5)]
