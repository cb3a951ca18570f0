"""The benchmark: every method on every picture of every set, scored, averaged and compared."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourfold.errors import CancelledError, DataError, EngineError, EvaluationError, FourfoldError, UsageError
from fourfold.evaluation.consistency import colour_drift, lr_psnr
from fourfold.evaluation.methods import Method
from fourfold.evaluation.metrics import psnr, ssim_daala, ssim_wang
from fourfold.evaluation.niqe import PristineModel, niqe
from fourfold.evaluation.paper import Published, published, why_left_out
from fourfold.evaluation.sets import BenchmarkSet, Entry, Pair, read_pair
from fourfold.evaluation.significance import wilcoxon_p

Pixels = NDArray[Any]
#: A further measure of (sr, hr), such as a feature distance.
Measure = Callable[[Pixels, Pixels], float]
#: Called with (done, total, what is being measured).
Progress = Callable[[int, int, str], None]
#: Given every restored picture, to save it or to keep a crop.
Keeper = Callable[[BenchmarkSet, Entry, str, Pixels], None]

BORDER_PX = 4
#: The measures of every result, in the order of the tables.
MEASURES = ("psnr_y", "ssim_wang", "ssim_daala", "niqe", "lr_psnr", "colour_drift")


@dataclass(frozen=True)
class Score:
    """One method on one picture.

    Attributes:
        set: the set's name.
        image: file name as in the set.
        method: the method's name.
        values: measure -> value; None where it does not apply (NIQE of a picture too small for it).
        seconds: time to restore it, or None where that happened elsewhere.
        size: (height, width) of the picture that was measured.
    """

    set: str
    image: str
    method: str
    values: dict[str, float | None]
    seconds: float | None
    size: tuple[int, int]


@dataclass(frozen=True)
class Problem:
    """A picture that could not be measured, or not kept; ``method`` is None where the set's own files are at fault."""

    set: str
    image: str
    method: str | None
    message: str


@dataclass(frozen=True)
class Mean:
    """A method on a set.

    Attributes:
        set: the set's name.
        method: the method's name.
        images: pictures measured.
        complete: whether that is all of them; otherwise ``values`` are None, since a mean over other pictures
            is no mean of this set.
        values: measure -> mean; None where not every picture has it.
        seconds: mean time per picture.
        against: method that the p values compare with, or None.
        p: measure -> two-sided p of the paired Wilcoxon test against that method.
        of_images: pictures that the set has; None for as many as were measured.
    """

    set: str
    method: str
    images: int
    complete: bool
    values: dict[str, float | None]
    seconds: float | None
    against: str | None = None
    p: dict[str, float | None] = field(default_factory=dict)
    of_images: int | None = None


@dataclass
class Benchmark:
    """What a benchmark found.

    ``problems`` are pictures that could not be measured; ``unkept`` are measured like the others, but whoever was to
    keep them, to save them for instance, could not.
    """

    sets: list[BenchmarkSet]
    methods: list[Method]
    scores: list[Score] = field(default_factory=list)
    means: list[Mean] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unkept: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    elapsed_s: float = 0.0

    def score(self, set_name: str, image: str, method: str) -> Score | None:
        """Returns one score, or None."""
        return next((s for s in self.scores if (s.set, s.image, s.method) == (set_name, image, method)), None)

    def mean(self, set_name: str, method: str) -> Mean | None:
        """Returns one mean, or None."""
        return next((m for m in self.means if (m.set, m.method) == (set_name, method)), None)


def run_benchmark(
    sets: Sequence[BenchmarkSet],
    methods: Sequence[Method],
    *,
    against: str | None = None,
    pristine: PristineModel | None = None,
    extra: dict[str, Measure] | None = None,
    progress: Progress | None = None,
    keep: Keeper | None = None,
) -> Benchmark:
    """Returns the scores of every method on every picture, and the means.

    A picture that cannot be measured becomes a :class:`Problem` and the rest goes on.

    Args:
        sets: from :func:`fourfold.evaluation.sets.find_sets`.
        methods: from :func:`fourfold.evaluation.methods.make_methods`.
        against: method that every other is tested against.
        pristine: NIQE's statistics; without them NIQE is left out.
        extra: further measures by name.
        progress: told before every measurement.
        keep: given every restored picture; a picture for which it raises a FourfoldError is noted as ``unkept``.

    Raises:
        UsageError: if ``against`` is none of the methods.
    """
    check_against(against, methods)
    started = time.monotonic()
    found = Benchmark(list(sets), list(methods))
    total, done = sum(len(s.entries) for s in sets) * len(methods), 0
    for of in sets:
        for entry in of.entries:
            pair = _read(found, of, entry)
            for method in methods:
                if progress is not None:
                    progress(done, total, f"{of.name}/{entry.image} {method.name}")
                done += 1
                if pair is not None:
                    _measure(found, of, entry, method, pair, pristine, extra or {}, keep)
        found.means += _means(found, of, against)
        found.notes += why_left_out(of.name, len(of.entries), [m.name for m in methods])
    found.elapsed_s = time.monotonic() - started
    return found


def check_against(against: str | None, methods: Sequence[Method]) -> None:
    """Refuses to compare with a method that there is not.

    Raises:
        UsageError: naming those that there are.
    """
    if against is not None and against not in {m.name for m in methods}:
        raise UsageError(f"no method {against!r} to compare with; there are {', '.join(m.name for m in methods)}")


def _read(found: Benchmark, of: BenchmarkSet, entry: Entry) -> Pair | None:
    try:
        pair = read_pair(entry)
    except FourfoldError as error:
        found.problems.append(Problem(of.name, entry.image, None, str(error)))
        return None
    found.notes += [f"{of.name}: {note}" for note in pair.notes]
    return pair


def _measure(
    found: Benchmark,
    of: BenchmarkSet,
    entry: Entry,
    method: Method,
    pair: Pair,
    pristine: PristineModel | None,
    extra: dict[str, Measure],
    keep: Keeper | None,
) -> None:
    try:
        started = time.perf_counter()
        sr = method.restore(pair, entry, of)
        seconds = time.perf_counter() - started if method.timed else None
        sr, cropped = _same_size(sr, pair, entry)
        values = measure(sr, pair.hr, pair.lr, pristine=pristine, extra=extra)
    except CancelledError:
        raise
    except FourfoldError as error:
        found.problems.append(Problem(of.name, entry.image, method.name, str(error)))
        return
    size = (int(pair.hr.shape[0]), int(pair.hr.shape[1]))
    found.scores.append(Score(of.name, entry.image, method.name, values, seconds, size))
    found.notes += [f"{of.name}, {method.name}: {note}" for note in cropped]
    if keep is None:
        return
    try:
        keep(of, entry, method.name, sr)
    except CancelledError:
        raise
    except FourfoldError as error:
        found.unkept.append(Problem(of.name, entry.image, method.name, str(error)))


def _same_size(sr: Pixels, pair: Pair, entry: Entry) -> tuple[Pixels, list[str]]:
    """Returns the result, cropped if it has the uncropped original's size, and a note if it was.

    Raises:
        DataError: if it is of another size.
        EngineError: if it holds values that are not finite.
    """
    height, width = pair.hr.shape[:2]
    if np.issubdtype(sr.dtype, np.floating) and not np.isfinite(sr).all():
        raise EngineError(f"{entry.image}: the result holds values that are not finite (NaN or infinity)")
    if sr.shape[:2] == (height, width):
        return sr, []
    if sr.shape[:2] == pair.uncropped:  # any other size would be a picture that is shifted by who knows how much
        note = f"{entry.image} cropped from {sr.shape[1]}x{sr.shape[0]} to {width}x{height}, as its original"
        return sr[:height, :width], [note]
    hint = "; was the LR picture given in its place?" if sr.shape[0] * 4 == height else ""
    raise DataError(f"{entry.image}: the result is {sr.shape[1]}x{sr.shape[0]}, the original {width}x{height}{hint}")


def measure(
    sr: Pixels,
    hr: Pixels,
    lr: Pixels,
    *,
    pristine: PristineModel | None = None,
    extra: dict[str, Measure] | None = None,
) -> dict[str, float | None]:
    """Returns all measures of one picture, by the paper's conventions (Y, 4 px border).

    Raises:
        EvaluationError: if the pictures cannot be compared.
    """
    values: dict[str, float | None] = {
        "psnr_y": psnr(sr, hr, border_px=BORDER_PX),
        "ssim_wang": ssim_wang(sr, hr, border_px=BORDER_PX),
        "ssim_daala": ssim_daala(sr, hr, border_px=BORDER_PX),
        "niqe": _niqe_or_none(sr, pristine),
        "lr_psnr": lr_psnr(sr, lr),
        "colour_drift": colour_drift(sr, lr),
    }
    return values | {name: _further(name, function, sr, hr) for name, function in (extra or {}).items()}


def _further(name: str, function: Measure, sr: Pixels, hr: Pixels) -> float | None:
    try:
        return function(sr, hr)
    except (NotImplementedError, RecursionError):
        raise  # RuntimeErrors by descent, and a mistake in a program, not something about the picture
    except RuntimeError as error:  # torch's word for a picture too small for a network, or too large for the memory
        raise EvaluationError(f"{name}: {(str(error) or 'it failed').splitlines()[0]}") from error


def _niqe_or_none(sr: Pixels, pristine: PristineModel | None) -> float | None:
    if pristine is None:
        return None
    try:
        return niqe(sr, pristine, border_px=BORDER_PX)
    except EvaluationError:  # too small or flat: NIQE is not defined for it, the other measures are
        return None


def _means(found: Benchmark, of: BenchmarkSet, against: str | None) -> list[Mean]:
    by_method = {m.name: [s for s in found.scores if (s.set, s.method) == (of.name, m.name)] for m in found.methods}
    means = []
    for name, scores in by_method.items():
        complete = len(scores) == len(of.entries)
        names = list(scores[0].values) if scores else list(MEASURES)
        values = {k: _mean([s.values[k] for s in scores]) if complete else None for k in names}
        seconds = _mean([s.seconds for s in scores]) if complete else None
        compared = by_method[against] if against not in (None, name) else []
        p = {}
        if complete and len(compared) == len(scores):
            p = {k: _p([s.values[k] for s in scores], [s.values[k] for s in compared]) for k in names}
        means.append(
            Mean(of.name, name, len(scores), complete, values, seconds, against if p else None, p, len(of.entries))
        )
    return means


def _mean(values: Sequence[float | None]) -> float | None:
    there = [v for v in values if v is not None]
    return math.fsum(there) / len(there) if there and len(there) == len(values) else None


def _p(first: Sequence[float | None], second: Sequence[float | None]) -> float | None:
    a, b = [v for v in first if v is not None], [v for v in second if v is not None]
    return wilcoxon_p(a, b) if len(a) == len(first) and len(b) == len(second) else None


def papers(mean: Mean) -> Published | None:
    """Returns the paper's numbers for a mean; None where it has none, or a set of that name has other pictures."""
    images = mean.images if mean.of_images is None else mean.of_images
    return published(mean.method, mean.set, images)


def difference_to_paper(mean: Mean) -> dict[str, float]:
    """Returns measure -> our mean minus the paper's, for the measures that the paper has."""
    theirs = papers(mean)
    if theirs is None or mean.method == "hr":
        return {}
    pairs = {"psnr_y": theirs.psnr_y, "ssim_daala": theirs.ssim_daala}
    ours = {k: mean.values.get(k) for k in pairs}
    return {k: v - pairs[k] for k, v in ours.items() if v is not None and math.isfinite(v) and math.isfinite(pairs[k])}
