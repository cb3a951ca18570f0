"""The ratings as arrays: raters x scenes x methods for one set, and raters x pictures for all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourfold.study.export import Record

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SetScores:
    """First ratings of one set; ``values`` is (raters, scenes, methods), NaN where nothing was rated."""

    name: str
    raters: tuple[str, ...]
    scenes: tuple[str, ...]
    methods: tuple[str, ...]
    values: Array

    def of(self, method: str) -> Array:
        """Returns one method's scores, (raters, scenes)."""
        scores: Array = self.values[:, :, self.methods.index(method)]
        return scores


@dataclass(frozen=True)
class PictureScores:
    """First ratings of every picture of every set; ``values`` is (raters, pictures), NaN where nothing was rated."""

    raters: tuple[str, ...]
    pictures: tuple[tuple[str, str, str], ...]  # (set, scene, method)
    values: Array


@dataclass(frozen=True)
class RepeatedScores:
    """Pictures that a rater saw twice: first and second score."""

    raters: tuple[str, ...]
    first: Array
    second: Array


def by_set(records: Sequence[Record], sets: Mapping[str, Sequence[str]]) -> list[SetScores]:
    """Returns one array per set, methods in the study's order, raters and scenes sorted.

    A repeated picture counts once, with the score it got the first time.
    """
    raters = _raters(records)
    found = []
    for name, methods in sets.items():
        mine = [r for r in records if r.kind == "rating" and r.set_name == name and r.method in methods]
        scenes = tuple(sorted({record.scene for record in mine}))
        values = np.full((len(raters), len(scenes), len(methods)), np.nan)
        rows = {rater: n for n, rater in enumerate(raters)}
        columns = {scene: n for n, scene in enumerate(scenes)}
        layers = {method: n for n, method in enumerate(methods)}
        for record in mine:
            values[rows[record.rater], columns[record.scene], layers[record.method]] = record.score
        found.append(SetScores(name, raters, scenes, tuple(methods), values))
    return found


def by_picture(sets: Sequence[SetScores]) -> PictureScores:
    """Returns all sets side by side; a picture that nobody rated is left out."""
    pictures = tuple((one.name, scene, method) for one in sets for scene in one.scenes for method in one.methods)
    values = np.concatenate([one.values.reshape(len(one.raters), -1) for one in sets], axis=1)
    rated = ~np.isnan(values).all(axis=0)
    kept = tuple(picture for picture, keep in zip(pictures, rated, strict=True) if keep)
    return PictureScores(sets[0].raters, kept, values[:, rated])


def repeated(records: Sequence[Record]) -> RepeatedScores:
    """Returns the pairs of scores that raters gave to the same picture."""
    firsts = {(r.rater, r.set_name, r.scene, r.method): r.score for r in records if r.kind == "rating"}
    pairs = []
    for record in records:
        key = (record.rater, record.set_name, record.scene, record.method)
        if record.kind == "repeat" and key in firsts:
            pairs.append((record.rater, firsts[key], record.score))
    return RepeatedScores(
        tuple(rater for rater, _, _ in pairs),
        np.array([first for _, first, _ in pairs], dtype=np.float64),
        np.array([second for _, _, second in pairs], dtype=np.float64),
    )


def _raters(records: Sequence[Record]) -> tuple[str, ...]:
    return tuple(sorted({record.rater for record in records if record.kind == "rating"}))
