"""The report's figures as SVG: MOS with intervals, distributions with the mean marked, ranks, significance, raters.

Colours are written as CSS variables with a fallback, so that a figure follows the page into dark mode and still looks
right as a file of its own.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fourfold.study.design import SCALE
from fourfold.study.opinion import Opinion
from fourfold.study.raters import RaterSummary
from fourfold.study.significance import Comparison

#: Method -> what it is called in a figure.
Names = Mapping[str, str]

# Drawn in these colours, written as variables. No two may be alike.
_INK, _QUIET, _LINE, _ACCENT, _MARK, _CARD = "#181b26", "#5a6072", "#dcdfe8", "#3f5bd9", "#d6336c", "#fefefe"
_VARIABLES = {_INK: "ink", _QUIET: "quiet", _LINE: "line", _ACCENT: "accent", _MARK: "mark", _CARD: "card"}

#: How small a figure may be shown: its letters, of 10 and 8.5 points, are 11 and 9 pixels high then.
_LEAST = 0.8

_STYLE: Any = {
    "text.parse_math": False,  # a method may be called $x$
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _QUIET,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def mos_figure(set_name: str, opinions: Sequence[Opinion], names: Names, paper: Mapping[str, float]) -> str:
    """Returns every method's MOS with its interval, and the paper's MOS as an open circle."""
    with rc_context(_STYLE):
        figure, axes = _figure(7.2, 0.36 * len(opinions) + 0.9)
        for row, one in enumerate(opinions):
            axes.plot([one.new_low, one.new_high], [row, row], color=_LINE, linewidth=6, solid_capstyle="round")
            axes.plot([one.low, one.high], [row, row], color=_ACCENT, linewidth=2.4, solid_capstyle="round")
            axes.plot(one.mos, row, "o", color=_ACCENT, markersize=7)
            if one.method in paper:
                axes.plot(paper[one.method], row, "o", markersize=8, markerfacecolor="none", markeredgecolor=_MARK)
        _methods_down(axes, [names[one.method] for one in opinions])
        _scale_along(axes)
        axes.set_xlabel("mean opinion score")
        told = [f"{names[one.method]} {one.mos:.2f}" for one in opinions]
        return _svg(figure, f"mos-{set_name}", f"Mean opinion scores on {set_name}: {', '.join(told)}")


def distribution_figure(set_name: str, opinions: Sequence[Opinion], names: Names) -> str:
    """Returns how often each score was given, darker for more often, with the mean marked (the paper's figure 5)."""
    with rc_context(_STYLE):
        figure, axes = _figure(max(3.2, 0.62 * len(opinions) + 1.0), 3.6)
        most = max((max(one.counts) / max(1, sum(one.counts)) for one in opinions), default=1.0)
        for column, one in enumerate(opinions):
            for score, count in zip(SCALE, one.counts, strict=True):
                share = count / max(1, sum(one.counts)) / most
                cell = Rectangle((column - 0.4, score - 0.5), 0.8, 1.0, facecolor=_ACCENT, alpha=share, linewidth=0)
                axes.add_patch(cell)
            box = Rectangle((column - 0.4, 0.5), 0.8, 5.0, fill=False, edgecolor=_LINE, linewidth=1)
            axes.add_patch(box)
            axes.plot([column - 0.4, column + 0.4], [one.mos, one.mos], color=_MARK, linewidth=2.2)
            axes.annotate(f"{one.mos:.2f}", (column, 5.62), ha="center", va="bottom", fontsize=8.5)
        axes.set_xlim(-0.7, len(opinions) - 0.3)
        axes.set_ylim(0.5, 5.95)
        axes.set_yticks(list(SCALE), [f"{score} {meaning}" for score, meaning in SCALE.items()])
        below = [names[one.method] for one in opinions]
        axes.set_xticks(range(len(opinions)), below, rotation=38, ha="right", rotation_mode="anchor")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        told = [f"{names[one.method]} {_shares(one)}" for one in opinions]
        said = f"How many percent of the scores on {set_name} were 1 to 5: {'; '.join(told)}"
        return _svg(figure, f"distribution-{set_name}", said)


def rank_figure(set_name: str, opinions: Sequence[Opinion], names: Names) -> str:
    """Returns every method's mean ordinal rank, the best on top."""
    ordered = sorted((one for one in opinions if not np.isnan(one.rank)), key=lambda one: one.rank)
    with rc_context(_STYLE):
        figure, axes = _figure(7.2, 0.32 * len(ordered) + 0.9)
        for row, one in enumerate(ordered):
            axes.plot([1, one.rank], [row, row], color=_LINE, linewidth=3, solid_capstyle="round")
            axes.plot(one.rank, row, "o", color=_ACCENT, markersize=8)
            axes.annotate(f"{one.rank:.2f}", (one.rank, row), (8, 0), textcoords="offset points", va="center")
        _methods_down(axes, [names[one.method] for one in ordered])
        axes.set_xlim(0.9, len(opinions) + 0.6)
        axes.set_xlabel("mean ordinal rank (1 is best)")
        told = [f"{names[one.method]} {one.rank:.2f}" for one in ordered]
        return _svg(figure, f"ranks-{set_name}", f"Mean ordinal ranks on {set_name}: {', '.join(told)}")


def significance_figure(set_name: str, comparisons: Sequence[Comparison], methods: Sequence[str], names: Names) -> str:
    """Returns a table of all pairs: filled where the method of the row is rated higher, beyond chance."""
    places = {method: n for n, method in enumerate(methods)}
    with rc_context(_STYLE):
        side = 0.42 * len(methods) + 1.5
        figure, axes = _figure(side, side)
        for one in comparisons:
            for first, second, difference in (
                (one.first, one.second, one.difference),
                (one.second, one.first, -one.difference),
            ):
                column, row = places[second], places[first]
                higher = one.significant and difference > 0
                face, alpha = (_ACCENT, 0.85) if higher else (_LINE, 0.35)
                axes.add_patch(Rectangle((column - 0.45, row - 0.45), 0.9, 0.9, facecolor=face, alpha=alpha, lw=0))
                if not one.significant and one.p_holm is not None:
                    axes.annotate("=", (column, row), ha="center", va="center", color=_QUIET)
        beside = [names[method] for method in methods]
        axes.set_xlim(-0.6, len(methods) - 0.4)
        axes.set_ylim(len(methods) - 0.4, -0.6)
        axes.set_xticks(range(len(methods)), beside, rotation=50, ha="left", rotation_mode="anchor")
        axes.xaxis.tick_top()
        axes.set_yticks(range(len(methods)), beside)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        told = [f"{names[high]} above {names[low]}" for high, low in _proven(comparisons)] or ["none"]
        said = f"Differences on {set_name} that are more than chance: {', '.join(told)}"
        return _svg(figure, f"significance-{set_name}", said)


def raters_figure(raters: Sequence[RaterSummary]) -> str:
    """Returns every rater's bias and inconsistency; those that the screening rejects are marked.

    Raters with too few ratings for them are counted in a line above.
    """
    drawn = [one for one in raters if not np.isnan(one.bias)]
    with rc_context(_STYLE):
        figure, axes = _figure(7.2, 3.4)
        axes.axvline(0, color=_LINE, linewidth=1)
        for one in drawn:
            axes.plot(
                one.bias, one.inconsistency, "o", markersize=8, alpha=0.8, color=_MARK if one.rejected else _ACCENT
            )
            if one.rejected:
                axes.annotate(one.rater, (one.bias, one.inconsistency), (9, 0), textcoords="offset points", va="center")
        reach = max([0.5, *(abs(one.bias) * 1.15 for one in drawn)])
        axes.set_xlim(-reach, reach)
        axes.set_ylim(0, max([1.0, *(one.inconsistency * 1.15 for one in drawn)]))
        if len(drawn) < len(raters):
            said = f"not drawn: {len(raters) - len(drawn)} of {len(raters)} raters, with too few ratings"
            axes.set_title(said, loc="right", fontsize=8.5, color=_QUIET)
        axes.set_xlabel("bias: stricter than the others ←  → kinder")
        axes.set_ylabel("inconsistency")
        told = [f"{one.rater} {one.bias:+.2f} and {one.inconsistency:.2f}" for one in drawn]
        return _svg(figure, "raters", f"Bias and inconsistency of the raters: {', '.join(told)}")


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _methods_down(axes: Axes, methods: Sequence[str]) -> None:
    axes.set_yticks(range(len(methods)), methods)
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _scale_along(axes: Axes) -> None:
    axes.set_xlim(0.95, 5.05)
    axes.set_xticks(list(SCALE), [f"{score} {meaning}" for score, meaning in SCALE.items()])
    axes.grid(axis="x", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)


def _shares(one: Opinion) -> str:
    total = max(1, sum(one.counts))
    return ", ".join(f"{100 * count / total:.0f}" for count in one.counts)


def _proven(comparisons: Sequence[Comparison]) -> list[tuple[str, str]]:
    """Returns the pairs of which one is rated higher beyond chance, that one first."""
    proven = [one for one in comparisons if one.significant and one.difference]
    return [(one.first, one.second) if one.difference > 0 else (one.second, one.first) for one in proven]


def _svg(figure: Figure, name: str, said: str) -> str:
    """Returns the figure as SVG text, the same for the same numbers, colours as variables.

    It says what it shows, and is never shrunk so far that it cannot be read: what holds it must scroll then.
    """
    file = io.StringIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(
            file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")), transparent=True
        )
    svg = file.getvalue()
    least_px = round(_LEAST * 96 * figure.get_figwidth())
    label = escape(said, {'"': "&quot;", "\n": " "})
    head = f'<svg role="img" aria-label="{label}" style="min-width:{least_px}px" '
    svg = head + svg[svg.index("<svg ") + len("<svg ") :]
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(to_hex(colour), f"var(--{variable}, {colour})")
    return svg
