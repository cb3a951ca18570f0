"""The result in the terminal: one table per set, our numbers beside the paper's with the difference."""

import math
from collections.abc import Iterator

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from fourfold.evaluation.benchmark import Benchmark, Mean, difference_to_paper, papers
from fourfold.evaluation.record import counted, shown
from fourfold.evaluation.significance import LEVEL, p_digits

#: measure -> (heading, digits, whether larger is better)
MEASURES: dict[str, tuple[str, int, bool]] = {
    "psnr_y": ("PSNR", 2, True),
    "ssim_daala": ("SSIM daala", 4, True),
    "ssim_wang": ("SSIM Wang", 4, True),
    "niqe": ("NIQE", 2, False),
    "lr_psnr": ("LR PSNR", 2, True),
    "colour_drift": ("drift", 2, False),
    "vgg22": ("VGG22", 3, False),
    "vgg54": ("VGG54", 3, False),
    "lpips": ("LPIPS", 3, False),
}


def tables(found: Benchmark) -> Iterator[Table]:
    """Yields one table per set."""
    for of in found.sets:
        means = [m for m in found.means if m.set == of.name]
        yield _table(f"{of.name}, {counted(len(of.entries), 'picture')}", means)


def width_of(table: Table) -> int:
    """Returns the columns that a table needs; in fewer, rich would shorten numbers to an ellipsis."""
    console = Console(width=10_000)
    return Measurement.get(console, console.options, table).maximum


def _table(title: str, means: list[Mean]) -> Table:
    with_paper = any(papers(m) for m in means)
    names = [name for name in MEASURES if any(m.values.get(name) is not None for m in means)]
    heading = Text(shown(title))  # as Text, here and below: rich takes square brackets in a str for its markup
    table = Table(title=heading, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    table.min_width = heading.cell_len  # so that the title stays in one line
    table.add_column("", no_wrap=True)
    for name in names:
        table.add_column(MEASURES[name][0], justify="right", no_wrap=True)
        if with_paper and name in ("psnr_y", "ssim_daala"):
            table.add_column("paper", justify="right", style="dim", no_wrap=True)
            table.add_column("diff", justify="right", no_wrap=True)
    table.add_column("s/picture", justify="right", style="dim", no_wrap=True)
    against = next((m.against for m in means if m.against), None)
    if against:
        table.add_column(Text(shown(f"p vs {against}")), justify="right", style="dim", no_wrap=True)
    best = {name: _best(means, name) for name in names}
    for mean in means:
        table.add_row(*_row(mean, names, with_paper, against, best))
    return table


def _row(mean: Mean, names: list[str], with_paper: bool, against: str | None, best: dict[str, str]) -> list[Text]:
    differences, theirs = difference_to_paper(mean), papers(mean)
    cells = [Text(shown(mean.method))]
    for name in names:
        digits = MEASURES[name][1]
        cells.append(Text(number(mean.values.get(name), digits), style="bold" if best[name] == mean.method else ""))
        if with_paper and name in ("psnr_y", "ssim_daala"):
            cells.append(Text(number(getattr(theirs, name) if theirs else None, digits)))
            cells.append(_signed(differences.get(name), digits))
    cells.append(Text(number(mean.seconds, 3)))
    if against:
        cells.append(Text(p_text(mean.p.get("psnr_y"))))
    return cells


def _best(means: list[Mean], name: str) -> str:
    """Returns the method with the best finite mean; the originals compete with nobody."""
    values = [(m.values.get(name), m.method) for m in means if m.method != "hr"]
    there = [(value, method) for value, method in values if value is not None and math.isfinite(value)]
    if len(there) < 2:
        return ""
    return (max if MEASURES[name][2] else min)(there)[1]


def number(value: float | None, digits: int) -> str:
    """Returns a number with fixed digits; "inf" and "nan" as such, "-" where there is none."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}"


def p_text(p: float | None) -> str:
    """Returns p, marked with an asterisk where it is below the paper's level."""
    if p is None:
        return "-"
    return ("<.0001" if p < 1e-4 else f"{p:.{p_digits(p)}f}".removeprefix("0")) + ("*" if p < LEVEL else "")


def signed(value: float | None, digits: int) -> str:
    """Returns a difference with its sign; nothing where there is none. What rounds to zero is "+0"."""
    return "" if value is None else f"{round(value, digits) + 0.0:+.{digits}f}"


def _signed(value: float | None, digits: int) -> Text:
    text = signed(value, digits)
    return Text(text or "-", style="yellow" if text.startswith("-") else "green" if text else "dim")
