"""Everything that a report says, as numbers: from the ratings to opinions, tests, consistency and raters."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fourfold.errors import StudyError, UsageError
from fourfold.evaluation.paper import published
from fourfold.study.consistency import Consistency, consistency
from fourfold.study.export import Record
from fourfold.study.opinion import Opinion, opinions
from fourfold.study.raters import QualityModel, RaterSummary, fit_quality, rejected, summarise
from fourfold.study.scores import PictureScores, SetScores, by_picture, by_set, repeated
from fourfold.study.significance import Comparison, compare_all


@dataclass(frozen=True)
class SetAnalysis:
    """One set: its scores, what raters said of each method, and which methods differ.

    By method, where there are any, ``paper`` holds the paper's MOS, if as many pictures were rated as there, and
    ``model`` the mean of the fitted qualities. Pictures without one, which only raters with too few ratings rated, do
    not count for the latter.
    """

    scores: SetScores
    opinions: list[Opinion]
    comparisons: list[Comparison]
    paper: Mapping[str, float]
    model: Mapping[str, float]


@dataclass(frozen=True)
class Analysis:
    """A whole study, analysed; ``excluded`` are raters whose ratings do not count, with the reason."""

    sets: list[SetAnalysis]
    pictures: PictureScores
    quality: QualityModel
    raters: list[RaterSummary]
    excluded: Mapping[str, str]
    consistency: Consistency | None
    unit: str

    @property
    def ratings(self) -> int:
        """Ratings that count, without calibration and repeats."""
        return int(np.count_nonzero(~np.isnan(self.pictures.values)))


def analyse(
    records: Sequence[Record],
    sets: Mapping[str, Sequence[str]],
    *,
    unit: str = "rater",
    exclude: Collection[str] = (),
    screening: bool = False,
) -> Analysis:
    """Returns the analysis of a study's ratings.

    Args:
        records: all ratings that count.
        sets: the study's methods by set.
        unit: what makes a pair of the Wilcoxon test; see :func:`compare_all`.
        exclude: raters to leave out.
        screening: also leave out those that BT.500's screening rejects (once, not again on what is left).

    Raises:
        UsageError: if an excluded rater has no rating, none is left, or the unit is unknown.
        StudyError: if nothing was rated.
    """
    if not _any_rating(records):
        raise StudyError("nothing has been rated yet (the calibration does not count); report again later")
    known = {record.rater for record in records}
    strangers = [rater for rater in exclude if rater not in known]
    if strangers:
        raise UsageError(f"--exclude {strangers[0]}: no rating by that name; raters: {', '.join(sorted(known))}")
    excluded = dict.fromkeys(exclude, "left out by hand")
    kept = _without(excluded, records)
    pictures = by_picture(by_set(kept, sets))
    out = rejected(pictures.values)
    if screening:
        excluded |= {r: "rejected by BT.500's screening" for r, bad in zip(pictures.raters, out, strict=True) if bad}
        kept = _without(excluded, kept)
        pictures = by_picture(by_set(kept, sets))
        out = np.zeros(len(pictures.raters), np.bool_)  # who is left has passed
    model = fit_quality(pictures.values)
    return Analysis(
        sets=[_analyse_set(scores, pictures, model, unit) for scores in by_set(kept, sets) if scores.scenes],
        pictures=pictures,
        quality=model,
        raters=summarise(pictures, model, out),
        excluded=excluded,
        consistency=consistency(repeated(kept)),
        unit=unit,
    )


def _without(excluded: Mapping[str, str], records: Sequence[Record]) -> list[Record]:
    kept = [record for record in records if record.rater not in excluded]
    if not _any_rating(kept):
        raise UsageError(f"all raters are excluded, nothing is left to report: {', '.join(excluded)}; leave some in")
    return kept


def _any_rating(records: Sequence[Record]) -> bool:
    return any(record.kind == "rating" for record in records)


def _analyse_set(scores: SetScores, pictures: PictureScores, model: QualityModel, unit: str) -> SetAnalysis:
    fitted: dict[str, list[float]] = {}
    for (set_name, _, method), quality in zip(pictures.pictures, model.quality, strict=True):
        if set_name == scores.name and not np.isnan(quality):
            fitted.setdefault(method, []).append(float(quality))
    in_paper = {method: published(method, scores.name, len(scores.scenes)) for method in scores.methods}
    return SetAnalysis(
        scores,
        opinions(scores),
        compare_all(scores, unit),
        {method: cell.mos for method, cell in in_paper.items() if cell is not None},
        {method: float(np.mean(qualities)) for method, qualities in fitted.items()},
    )
