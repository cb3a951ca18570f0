"""The report as one HTML page that needs nothing beside it: no server, no network, no fonts, no scripts elsewhere."""

import json
import math
from pathlib import Path
from typing import Any

from fourfold.evaluation.benchmark import Benchmark, Mean, Score, difference_to_paper, papers
from fourfold.evaluation.cost import HD_PIXELS
from fourfold.evaluation.figures import Gallery
from fourfold.evaluation.plot import Point, scatter
from fourfold.evaluation.record import counted, plain, shown
from fourfold.evaluation.significance import LEVEL
from fourfold.evaluation.tables import MEASURES, number, p_text, signed

TEMPLATES = Path(__file__).parent / "templates"


def render(found: Benchmark, context: dict[str, Any], gallery: Gallery) -> str:
    """Returns the page's HTML.

    Args:
        found: the finished benchmark.
        context: from :func:`fourfold.evaluation.context.describe`.
        gallery: the pictures that were kept.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["counted"] = counted
    figures = gallery.figures(found)
    overview = _overview(found)
    return environment.get_template("report.html").render(
        context=context,
        sets=[_set_view(found, of.name, len(of.entries)) for of in found.sets],
        overview=overview,
        compared=any(cell["psnr_diff"] or cell["ssim_diff"] for row in overview for cell in row["cells"]),
        plots=_plots(found),
        originals=any(mean.method == "hr" and mean.values.get("niqe") is not None for mean in found.means),
        figures=figures,
        left_out=gallery.left_out,
        costs=_costs(context),
        details=_script_json(_details(found)),
        digits={name: digits for name, (_, digits, _) in MEASURES.items()},
        measures={name: heading for name, (heading, _, _) in MEASURES.items() if _measured(found, name)},
        level=LEVEL,
    )


def _measured(found: Benchmark, name: str) -> bool:
    return any(score.values.get(name) is not None for score in found.scores)


def _overview(found: Benchmark) -> list[dict[str, Any]]:
    """Returns the paper's Table 2: a row per method, a cell per set with PSNR and SSIM and what the paper has."""
    rows = []
    for method in found.methods:
        cells = [_cell(found.mean(of.name, method.name)) for of in found.sets]
        rows.append({"method": method.name, "cells": cells})
    return rows


def _cell(mean: Mean | None) -> dict[str, str]:
    if mean is None:
        return {"psnr": "-", "ssim": "-", "psnr_diff": "", "ssim_diff": ""}
    differences = difference_to_paper(mean)
    return {
        "psnr": number(mean.values.get("psnr_y"), 2),
        "ssim": number(mean.values.get("ssim_daala"), 4),
        "psnr_diff": _signed(differences.get("psnr_y"), 2),
        "ssim_diff": _signed(differences.get("ssim_daala"), 4),
    }


def _signed(value: float | None, digits: int) -> str:
    """Returns a difference with a true minus sign, or nothing."""
    return signed(value, digits).replace("-", "\N{MINUS SIGN}")


def _set_view(found: Benchmark, name: str, images: int) -> dict[str, Any]:
    means = [mean for mean in found.means if mean.set == name]
    best = {m: _best_method(means, m) for m in MEASURES}
    rows = []
    for mean in means:
        theirs, differences = papers(mean), difference_to_paper(mean)
        rows.append(
            {
                "method": mean.method,
                "images": mean.images,
                "complete": mean.complete,
                "values": {m: number(mean.values.get(m), digits) for m, (_, digits, _) in MEASURES.items()},
                "best": {m for m in MEASURES if best[m] == mean.method},
                "paper_psnr": number(theirs.psnr_y, 2) if theirs else "",
                "paper_ssim": number(theirs.ssim_daala, 4) if theirs else "",
                "psnr_diff": _signed(differences.get("psnr_y"), 2),
                "ssim_diff": _signed(differences.get("ssim_daala"), 4),
                "seconds": number(mean.seconds, 3),
                "p": p_text(mean.p.get("psnr_y")),
            }
        )
    against = next((mean.against for mean in means if mean.against), None)
    return {
        "name": name,
        "images": images,
        "rows": rows,
        "against": against,
        "paper": any(r["paper_psnr"] for r in rows),
    }


def _best_method(means: list[Mean], measure: str) -> str | None:
    values = [(m.values.get(measure), m.method) for m in means if m.method != "hr"]
    there = [(v, method) for v, method in values if v is not None and math.isfinite(v)]
    return (max if MEASURES[measure][2] else min)(there)[1] if len(there) > 1 else None


def _plots(found: Benchmark) -> list[dict[str, str]]:
    plots = []
    for of in found.sets:
        points, original = [], None
        for mean in (m for m in found.means if m.set == of.name):
            psnr, niqe = mean.values.get("psnr_y"), mean.values.get("niqe")
            if mean.method == "hr":
                original = niqe
            elif psnr is not None and niqe is not None and math.isfinite(psnr):
                points.append(Point(mean.method, psnr, niqe))
        if points:
            plots.append({"name": of.name, "svg": scatter(points, original_niqe=original)})
    return plots


def _costs(context: dict[str, Any]) -> list[dict[str, str]]:
    rows = []
    for name, about in context["methods"].items():
        if about["kind"] != "network":
            continue
        rows.append(
            {
                "method": name,
                "architecture": about["architecture"],
                "parameters": f"{about['parameters']:,}",
                "multiply_adds": f"{about['multiply_adds_per_pixel'] * HD_PIXELS / 1e9:,.1f}",
                "updates": f"{about['updates']:,}",
                "engine": f"{about['engine']} {about['precision']}" + ", self-ensemble" * about.get("ensemble", False),
                "sha256": about["weights_sha256"][:12],
            }
        )
    return rows


def _details(found: Benchmark) -> dict[str, Any]:
    """Returns every single result, for the page's own script."""
    scores = {(score.set, score.image, score.method): score for score in found.scores}
    return {
        shown(of.name): {  # as the page itself is written
            "methods": [m.name for m in found.methods],
            "images": [
                {
                    "image": entry.image,
                    "values": [_plain_values(scores.get((of.name, entry.image, m.name))) for m in found.methods],
                }
                for entry in of.entries
            ],
        }
        for of in found.sets
    }


def _plain_values(score: Score | None) -> dict[str, Any] | None:
    return {k: plain(v) for k, v in score.values.items()} if score else None


def _script_json(value: Any) -> str:
    """Returns JSON that may stand inside a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
