"""The design of a rating study: which versions of which pictures, and in what order each rater sees them.

The defaults are those of Ledig et al. 2017, section 3.3: twelve versions of every picture of Set5 and Set14, nine of
every picture of BSD100 (1,128 ratings a rater), raters calibrated on 20 further pictures with nearest neighbour as 1
and the original as 5, and ten pictures shown twice to measure how well a rater agrees with himself.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fourfold.evaluation.paper import paper_set

#: Score -> what it means, ITU-R BT.500's five-grade quality scale.
SCALE = {1: "Bad", 2: "Poor", 3: "Fair", 4: "Good", 5: "Excellent"}

#: The sets of the paper, in the order of its tables.
SETS = ("Set5", "Set14", "BSD100")

#: Versions of every picture of Set5 and Set14, in the order of the paper's tables.
TWELVE = (
    "nearest",
    "bicubic",
    "srcnn",
    "selfexsr",
    "drcn",
    "espcn",
    "srresnet-mse",
    "srresnet-vgg22",
    "srgan-mse",
    "srgan-vgg22",
    "srgan-vgg54",
    "hr",
)

#: The variants that the paper rates on Set5 and Set14 only (table 1).
NOT_ON_BSD100 = frozenset({"srresnet-vgg22", "srgan-mse", "srgan-vgg22"})

#: Versions of every picture of BSD100 (table 2).
NINE = tuple(method for method in TWELVE if method not in NOT_ON_BSD100)

CALIBRATION_PICTURES = 20
REPEATED_PICTURES = 10

#: What is shown in the calibration, and the score that goes with it.
ANCHORS = {"nearest": 1, "hr": 5}

#: A repeated picture comes back at least this many places later, so after one fewer others (less in a study that is
#: too short for it). Orders follow from it, so it must stay as it is for the studies that there are.
REPEAT_DISTANCE = 50

#: How often a small study's order is drawn, and how many swaps are tried in all, until it has no conflicts. Orders
#: follow from these, too.
_ATTEMPTS, _SWAPS = 20, 10_000


def methods_for(set_name: str, methods: Sequence[str]) -> tuple[str, ...]:
    """Returns the versions to rate on one set: all of ``methods``, but the paper's nine on BSD100, also as "B100"."""
    if paper_set(set_name) != "BSD100":
        return tuple(methods)
    return tuple(method for method in methods if method.lower() not in NOT_ON_BSD100)


@dataclass(frozen=True)
class Item:
    """One picture that can be shown: its identifier, the scene it shows, and the score it must get in calibration."""

    id: str
    scene: str
    anchor: int | None = None


@dataclass(frozen=True)
class Showing:
    """One picture shown to one rater: ``kind`` is ``calibration``, ``rating`` or ``repeat`` (the second time)."""

    position: int
    id: str
    kind: str
    anchor: int | None = None


def order_for(
    rater: str, seed: str, items: Sequence[Item], repeats: Sequence[str], *, thorough: bool = True
) -> list[Showing]:
    """Returns everything one rater sees, in his own order: first the calibration, then the pictures to rate.

    The order is a function of ``seed``, ``rater`` and the pictures alone: it is made by sorting SHA-256 digests, so
    no later Python or numpy can change it in the middle of a study. No two neighbours show the same scene, and a
    repeated picture comes back only ``REPEAT_DISTANCE`` places later, as far as the study is large enough; it follows
    on itself only where nothing else is left to show.

    Args:
        rater: the rater's identifier.
        seed: the study's seed.
        items: every picture of the study.
        repeats: identifiers of the pictures to show twice.
        thorough: False for the orders of studies of version 1, where one pass of swaps had to do.
    """
    calibration = [(item, 0) for item in items if item.anchor is not None]
    to_rate = [(item, 0) for item in items if item.anchor is None]
    again = set(repeats)
    to_rate += [(item, 1) for item, _ in to_rate if item.id in again]
    arranged = _arranged if thorough else _arranged_once
    first = arranged(calibration, f"{seed}/{rater}/calibration", 0)
    then = arranged(to_rate, f"{seed}/{rater}/rating", min(REPEAT_DISTANCE, len(to_rate) // 3))
    showings = [Showing(n, item.id, "calibration", item.anchor) for n, (item, _) in enumerate(first)]
    seen: set[str] = set()
    for item, _ in then:
        kind = "repeat" if item.id in seen else "rating"
        seen.add(item.id)
        showings.append(Showing(len(showings), item.id, kind))
    return showings


def choose_repeats(seed: str, candidates: Mapping[str, tuple[str, str]], count: int) -> list[str]:
    """Returns the pictures to show twice: of different scenes, and spread evenly over the methods.

    The choice is by scene and method, not by identifier, which is another in every study: so a study that is created
    again with the same seed shows the same pictures twice.

    Args:
        seed: the study's seed.
        candidates: identifier -> (scene, method).
        count: how many; fewer are returned where there are not enough scenes.
    """
    order = sorted(candidates, key=lambda identifier: _digest(f"{seed}/repeats", "/".join(candidates[identifier])))
    chosen: list[str] = []
    scenes: set[str] = set()
    used: dict[str, int] = {}
    while len(chosen) < count:
        free = [identifier for identifier in order if candidates[identifier][0] not in scenes]
        if not free:
            break
        best = min(free, key=lambda identifier: used.get(candidates[identifier][1], 0))
        scene, method = candidates[best]
        chosen.append(best)
        scenes.add(scene)
        used[method] = used.get(method, 0) + 1
    return chosen


_Entry = tuple[Item, int]


def _digest(context: str, value: str) -> bytes:
    return hashlib.sha256(f"{context}/{value}".encode()).digest()


def _shuffled(entries: Sequence[_Entry], context: str) -> list[_Entry]:
    return sorted(entries, key=lambda entry: _digest(context, f"{entry[0].id}/{entry[1]}"))


def _arranged_once(entries: Sequence[_Entry], context: str, distance: int) -> list[_Entry]:
    return _spread(_shuffled(entries, context), distance)


def _arranged(entries: Sequence[_Entry], context: str, distance: int) -> list[_Entry]:
    """Returns the entries in an order by chance; where one pass of swaps leaves conflicts, the best of several."""
    best = _Arrangement(_arranged_once(entries, context, distance), distance)
    swaps = best.settle(_SWAPS)
    for attempt in range(1, _ATTEMPTS):
        if swaps == 0 or best.left() == 0:
            break
        other = _Arrangement(_arranged_once(entries, f"{context}/{attempt}", distance), distance)
        swaps = other.settle(swaps)
        best = min(best, other, key=_Arrangement.left)
    return best.entries


class _Arrangement:
    """The order of a small study, in which swaps take conflicts out one after the other."""

    def __init__(self, entries: list[_Entry], distance: int) -> None:
        self.entries, self.distance = entries, distance
        self.places = {(item.id, copy): n for n, (item, copy) in enumerate(entries)}

    def left(self) -> int:
        """Returns how bad the conflicts are that it has."""
        return sum(map(self.conflicts, range(len(self.entries))))

    def settle(self, swaps: int) -> int:
        """Swaps until no swap makes it better or so many were tried; returns how many more might have been."""
        count, better = len(self.entries), True
        while better:
            better = False
            for n in sorted(range(count), key=self.conflicts, reverse=True):
                for step in range(1, count) if self.conflicts(n) else ():
                    if swaps == 0:
                        return 0
                    swaps -= 1
                    if self.improves(n, (n + step) % count):
                        better = True
                        break
        return swaps

    def improves(self, a: int, b: int) -> bool:
        """Swaps two entries if that leaves fewer conflicts."""
        near = {n for m in (a, b) for n in (m - 1, m, m + 1) if 0 <= n < len(self.entries)}
        for item, copy in (self.entries[a], self.entries[b]):
            near |= {self.places[item.id, 1 - copy]} if (item.id, 1 - copy) in self.places else set()
        before = sum(map(self.conflicts, near))
        self.swap(a, b)
        if sum(map(self.conflicts, near)) < before:
            return True
        self.swap(a, b)
        return False

    def swap(self, a: int, b: int) -> None:
        self.entries[a], self.entries[b] = self.entries[b], self.entries[a]
        for n in (a, b):
            item, copy = self.entries[n]
            self.places[item.id, copy] = n

    def conflicts(self, n: int) -> int:
        """Returns how bad a place is: a neighbour of the same scene and a repeat too near count 1, one beside it 10."""
        item, copy = self.entries[n]
        twin = self.places.get((item.id, 1 - copy))
        apart = abs(twin - n) if twin is not None else len(self.entries)
        beside = (self.entries[m][0].scene for m in (n - 1, n + 1) if 0 <= m < len(self.entries))
        return sum(scene == item.scene for scene in beside) + (apart < self.distance) + 10 * (apart == 1)


def _spread(entries: list[_Entry], distance: int) -> list[_Entry]:
    """Swaps entries until no neighbours share a scene and repeats are apart; gives up quietly where none can be."""
    places = {(item.id, copy): n for n, (item, copy) in enumerate(entries)}

    def conflicts(n: int) -> bool:
        item, copy = entries[n]
        twin = places.get((item.id, 1 - copy))
        if twin is not None and abs(twin - n) < distance:
            return True
        return any(0 <= m < len(entries) and entries[m][0].scene == item.scene for m in (n - 1, n + 1))

    def swap(a: int, b: int) -> None:
        entries[a], entries[b] = entries[b], entries[a]
        for n in (a, b):
            places[entries[n][0].id, entries[n][1]] = n

    for n in range(len(entries)):
        if not conflicts(n):
            continue
        for step in range(1, len(entries)):
            other = (n + step) % len(entries)
            swap(n, other)
            if not conflicts(n) and not conflicts(other):
                break
            swap(n, other)
    return entries
