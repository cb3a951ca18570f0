"""The report of a study: one HTML page, CSV, JSON, and every figure as SVG."""

import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from fourfold.errors import OutputExistsError, StudyError
from fourfold.evaluation.paper import why_left_out
from fourfold.evaluation.record import counted
from fourfold.evaluation.significance import p_digits
from fourfold.places import is_file, why_unseen
from fourfold.study import export, figures
from fourfold.study.analysis import Analysis, SetAnalysis, analyse
from fourfold.study.design import SCALE
from fourfold.study.labels import labels, short_labels
from fourfold.study.manifest import Manifest, check_all_pictures, read_manifest
from fourfold.study.store import open_store
from fourfold.version import __version__


@dataclass(frozen=True)
class ReportRequest:
    """What to report and where.

    ``ratings`` names an exported ``ratings.csv`` to use in place of the store; the other fields are as the options
    of ``fourfold study report``.
    """

    study: Path
    output: Path
    database: str | None = None
    ratings: Path | None = None
    pairs: str = "rater"
    exclude: Sequence[str] = ()
    screening: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Report:
    """A written report."""

    page: Path
    manifest: Manifest
    analysis: Analysis

    def text(self) -> str:
        """Returns the MOS of every method and set as a table for a terminal."""
        sets = self.analysis.sets
        names = labels(_methods(sets))
        width = max(20, *(len(name) + 1 for name in names.values()))
        lines = [f"{'MOS (95 % interval)':<{width}}" + "".join(f"{one.scores.name:>24}" for one in sets)]
        for method, name in names.items():
            line = f"{name:<{width}}"
            for one in sets:
                found = next((o for o in one.opinions if o.method == method), None)
                between = f"{found.low:.2f}..{found.high:.2f}" if found and math.isfinite(found.low) else "-"
                cell = f"{found.mos:.2f} ({between})" if found else "-"
                line += f"{cell:>24}"
            lines.append(line)
        lines.append(f"{counted(len(self.analysis.raters), 'rater')}, {counted(self.analysis.ratings, 'rating')}")
        return "\n".join(lines)

    def json(self) -> str:
        """Returns everything as JSON; what is not a number is null."""
        return json.dumps(_finite(as_dictionary(self.manifest, self.analysis)), indent=1, ensure_ascii=False)


def make_report(request: ReportRequest) -> Report:
    """Analyses a study's ratings and writes the report; the folder is there whole or not at all.

    Raises:
        UsageError: if an excluded rater has no rating, or all of them are excluded.
        StudyError: if the study is damaged, nothing has been rated, the ratings are of another study, or the report
            cannot be written.
        OutputExistsError: if there is something at the output already.
    """
    manifest = read_manifest(request.study)
    _check_output(request)
    # Not by open_study: a report needs no key, so that whoever analyses the ratings need not be given it.
    check_all_pictures(request.study, manifest)
    records, source = _ratings(request, manifest)
    analysis = analyse(records, manifest.sets, unit=request.pairs, exclude=request.exclude, screening=request.screening)
    notes = [*_source_notes(source, analysis), *_remarks(manifest, analysis)]
    report = Report(request.output / "index.html", manifest, analysis)
    folder = Path(os.path.realpath(request.output))  # a link stays, and what it leads to is replaced
    partial = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.part"
    try:
        _write(partial, report, records, notes)
        _put_in_place(partial, folder)
    except OSError as error:
        raise StudyError(f"cannot write the report to {request.output}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def as_dictionary(manifest: Manifest, analysis: Analysis) -> dict[str, Any]:
    """Returns the whole analysis as plain values."""
    return {
        "study": {"id": manifest.study_id, "title": manifest.title, "digest": manifest.digest},
        "raters": len(analysis.raters),
        "ratings": analysis.ratings,
        "excluded": dict(analysis.excluded),
        "methods": {name: dict(record) for name, record in manifest.methods.items()},
        "sets": {
            one.scores.name: {
                "opinions": [
                    asdict(o) | {"mos_paper": one.paper.get(o.method), "mos_model": one.model.get(o.method)}
                    for o in one.opinions
                ],
                "comparisons": [asdict(c) | {"significant": c.significant} for c in one.comparisons],
            }
            for one in analysis.sets
        },
        "pairs_of": analysis.unit,
        "consistency": asdict(analysis.consistency) if analysis.consistency else None,
        "rater_summaries": [asdict(rater) for rater in analysis.raters],
    }


def _check_output(request: ReportRequest) -> None:
    reason = why_unseen(request.output)
    if reason:
        raise StudyError(
            f"{request.output}: the report cannot be written there ({reason}); name another folder with -o"
        )
    if not request.output.exists():
        return
    if not request.overwrite:
        raise OutputExistsError(f"{request.output} is there already; --overwrite replaces it, -o names another folder")
    if not _is_report(request.output):
        raise OutputExistsError(
            f"{request.output} is no report, or holds more than one, and is not replaced; name another folder with -o"
        )


def _is_report(folder: Path) -> bool:
    """Returns whether a folder is a report and nothing but one, so that nothing else goes with it."""
    try:
        found = json.loads((folder / "report.json").read_bytes())
        names = {path.name for path in folder.iterdir()}
        drawn = all(_FIGURE.fullmatch(path.name) for path in (folder / "figures").iterdir())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and {"study", "sets", "raters"} <= found.keys() and names <= _WRITTEN and drawn


def _put_in_place(partial: Path, folder: Path) -> None:
    """Renames a new report to its place; the old one goes when the new one is there."""
    if not folder.exists():
        partial.rename(folder)
        return
    old = partial.with_suffix(".old")
    folder.rename(old)
    try:
        partial.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    try:
        shutil.rmtree(old)
    except OSError as error:
        raise StudyError(f"the report is written; what was there before is left in {old}: {error.strerror}") from error


@dataclass(frozen=True)
class _Source:
    """Where the ratings are from: an export, or the store, which knows more of the raters."""

    export: str = ""
    shut_out: Sequence[str] = ()
    fine_screens: Collection[str] = ()


def _ratings(request: ReportRequest, manifest: Manifest) -> tuple[list[export.Record], _Source]:
    if request.ratings is not None:
        found = export.read_records(request.ratings)
        _check_belonging(found, manifest, request.ratings)
        return found, _Source(request.ratings.name)
    if request.database is None and not is_file(request.study / "ratings.sqlite"):
        raise StudyError(
            f"{request.study} has no ratings yet; serve it with: fourfold study serve {request.study} "
            "(or name the store with --database)"
        )
    store = open_store(
        request.database, request.study, study_id=manifest.study_id, digest=manifest.digest, read_only=True
    )
    try:
        return export.records(manifest, store), _Source(
            shut_out=[rater.id for rater in store.raters() if rater.revoked_at is not None],
            fine_screens={r for r, seen in export.last_screens(store).items() if seen.get("magnification", 1) > 1},
        )
    finally:
        store.close()


def _check_belonging(records: Sequence[export.Record], manifest: Manifest, path: Path) -> None:
    """Refuses ratings of another study, which may have the same sets and methods, but never the same orders."""
    for line, record in enumerate(records, start=2):
        order = manifest.order(record.rater)
        shown = "nothing there"
        if 0 <= record.position < len(order):
            showing = order[record.position]
            stimulus = manifest.stimuli[showing.id]
            expected = (showing.kind, stimulus.set_name, stimulus.scene, stimulus.method)
            if (record.kind, record.set_name, record.scene, record.method) == expected:
                continue
            shown = f"the {showing.kind} of {stimulus.scene} of {stimulus.set_name} by {stimulus.method}"
        raise StudyError(
            f"{path}, line {line} (rater {record.rater}, position {record.position}): the {record.kind} of "
            f"{record.scene} of {record.set_name} by {record.method}, where this study has {shown}; give the study "
            "that these ratings are of, and the ratings as they were exported"
        )


def _source_notes(source: _Source, analysis: Analysis) -> list[str]:
    """Returns remarks on raters who count though they were shut out, or whose screen did not show pictures as meant."""
    notes = [f"The ratings were read from {source.export}."] if source.export else []
    count = {rater.rater for rater in analysis.raters}
    shut_out = [rater for rater in source.shut_out if rater in count]
    if shut_out:
        notes.append(f"Shut out on the admin page, and still counted here: {', '.join(shut_out)}; see --exclude.")
    magnified = count.intersection(source.fine_screens)
    if magnified:
        notes.append(
            f"{counted(len(magnified), 'rater')} had fine screens, on which every picture pixel covered a square of "
            "several screen pixels (never blurred); raters.csv on the admin page tells which."
        )
    return notes


def _remarks(manifest: Manifest, analysis: Analysis) -> list[str]:
    """Returns what a careful reader should know before he quotes the numbers."""
    remarks = []
    per_rater = manifest.ratings_per_rater
    unfinished = [rater.rater for rater in analysis.raters if rater.ratings < per_rater]
    if unfinished:
        remarks.append(
            f"{len(unfinished)} of {len(analysis.raters)} raters {_have(unfinished)} not rated everything; "
            "their ratings count, and the intervals allow for the gaps."
        )
    for one in analysis.sets:
        remarks += why_left_out(one.scores.name, len(one.scores.scenes), one.scores.methods)
    few = [r.rater for r, out in zip(analysis.raters, analysis.quality.left_out, strict=True) if out]
    if few:
        remarks.append(
            f"{len(few)} of {len(analysis.raters)} raters {_have(few)} no bias, no inconsistency and no part in the "
            f"fitted qualities: fewer than {analysis.quality.needed} ratings of pictures that others rated too. "
            f"For the MOS their ratings count: {', '.join(few)}."
        )
    if len(analysis.raters) < 15:
        remarks.append(
            f"Only {counted(len(analysis.raters), 'rater')}: ITU-R BT.500 asks for at least 15, and the paper had 26. "
            "Few differences can be significant."
        )
    return remarks


def _have(raters: Sequence[str]) -> str:
    return "has" if len(raters) == 1 else "have"


def _write(folder: Path, report: Report, records: Sequence[export.Record], notes: Sequence[str]) -> None:
    (folder / "figures").mkdir(parents=True)
    drawn = _draw(report.analysis)
    for name, svg in drawn.items():
        (folder / "figures" / f"{name}.svg").write_text(_standalone(svg), encoding="utf-8")
    (folder / "report.json").write_text(report.json() + "\n", encoding="utf-8")
    tables = _tables(report.analysis) | {"ratings.csv": ([vars(record) for record in records], None)}
    for name, (rows, columns) in tables.items():
        shown = columns or tuple(export.Record.__dataclass_fields__)
        (folder / name).write_bytes(export.table(rows, shown))
    page = _page(report, {name: Markup(svg) for name, svg in drawn.items()}, notes)
    (folder / "index.html").write_text(page, encoding="utf-8")


def _draw(analysis: Analysis) -> dict[str, str]:
    drawn = {"raters": figures.raters_figure(analysis.raters)}
    names = short_labels(labels(_methods(analysis.sets)))
    for one in analysis.sets:
        name, methods = one.scores.name, [opinion.method for opinion in one.opinions]
        comparisons = [c for c in one.comparisons if c.first in methods and c.second in methods]
        drawn[f"mos-{name}"] = figures.mos_figure(name, one.opinions, names, one.paper)
        drawn[f"distribution-{name}"] = figures.distribution_figure(name, one.opinions, names)
        drawn[f"ranks-{name}"] = figures.rank_figure(name, one.opinions, names)
        drawn[f"significance-{name}"] = figures.significance_figure(name, comparisons, methods, names)
    return drawn


#: Everything that lies in a report's folder, and what file managers add.
_WRITTEN = {
    *("index.html", "report.json", "figures", "mos.csv", "significance.csv", "raters.csv", "pictures.csv"),
    *("ratings.csv", ".DS_Store", "Thumbs.db", "desktop.ini"),
}

_FIGURE = re.compile(r"(raters|(mos|distribution|ranks|significance)-.*)\.svg|\.DS_Store|Thumbs\.db|desktop\.ini")

_Table = tuple[list[dict[str, Any]], tuple[str, ...] | None]


def _tables(analysis: Analysis) -> dict[str, _Table]:
    mos = [
        asdict(o)
        | {f"count_{score}": count for score, count in zip(SCALE, o.counts, strict=True)}
        | {"mos_paper": one.paper.get(o.method), "mos_model": one.model.get(o.method)}
        for one in analysis.sets
        for o in one.opinions
    ]
    comparisons = [asdict(c) | {"significant": c.significant} for one in analysis.sets for c in one.comparisons]
    raters = [asdict(rater) for rater in analysis.raters]
    pictures = [
        {"set_name": s, "scene": scene, "method": m, "mos": mean, "quality": q, "quality_error": e}
        for (s, scene, m), mean, q, e in zip(
            analysis.pictures.pictures,
            _column_means(analysis),
            analysis.quality.quality,
            analysis.quality.quality_error,
            strict=True,
        )
    ]
    counts = tuple(f"count_{score}" for score in SCALE)
    head = ("set_name", "method", "ratings", "mos", "low", "high", "new_low", "new_high", *counts, "rank", "place")
    return {
        "mos.csv": (mos, (*head, "mos_model", "mos_paper")),
        "significance.csv": (comparisons, tuple(comparisons[0]) if comparisons else ("set_name",)),
        "raters.csv": (raters, tuple(raters[0])),
        "pictures.csv": (pictures, tuple(pictures[0])),
    }


def _column_means(analysis: Analysis) -> Iterable[float]:
    import numpy as np

    return [float(mean) for mean in np.nanmean(analysis.pictures.values, axis=0)]


def _page(report: Report, drawn: Mapping[str, Markup], notes: Sequence[str]) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["label"] = labels(
        dict.fromkeys([*report.manifest.methods, *_methods(report.analysis.sets)])
    ).get
    environment.filters["pvalue"] = _p_text
    environment.filters["number"] = _number
    environment.filters["counted"] = counted
    methods = _methods(report.analysis.sets)
    return environment.get_template("report.html").render(
        manifest=report.manifest,
        analysis=report.analysis,
        figures=drawn,
        notes=notes,
        methods=methods,
        cells={(o.set_name, o.method): o for one in report.analysis.sets for o in one.opinions},
        best={one.scores.name: _best(one) for one in report.analysis.sets},
        version=__version__,
        now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _best(one: SetAnalysis) -> str | None:
    """Returns the method with the highest MOS, the original aside."""
    rated = [opinion for opinion in one.opinions if opinion.method != "hr"]
    return max(rated, key=lambda opinion: opinion.mos).method if rated else None


def _methods(sets: Sequence[SetAnalysis]) -> list[str]:
    """Returns all methods of all sets in the study's order."""
    return list(dict.fromkeys(method for one in sets for method in one.scores.methods))


def _p_text(p: float | None) -> str:
    if p is None:
        return "–"
    return "< 0.0001" if p < 0.0001 else f"{p:.{p_digits(p)}f}"


def _number(value: float, form: str = "%.2f") -> str:
    return form % value if math.isfinite(value) else "–"


def _standalone(svg: str) -> str:
    """Returns a figure as a file of its own, with a ground to stand on."""
    return '<?xml version="1.0" encoding="utf-8"?>\n' + svg.replace('style="', 'style="background:#ffffff; ', 1)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
