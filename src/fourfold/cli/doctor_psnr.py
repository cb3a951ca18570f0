"""``fourfold doctor psnr``: which conventions explain a number that someone expected."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from fourfold.errors import UsageError


def psnr(
    sr: Annotated[Path, typer.Argument(help="The picture under test.", metavar="SR")],
    hr: Annotated[Path, typer.Argument(help="The original.", metavar="HR")],
    expected: Annotated[str, typer.Option("--expected", help="The number you expected: PSNR in dB, or an SSIM.")],
    quantity: Annotated[
        str, typer.Option("--quantity", help="auto, psnr or ssim; auto takes numbers up to 1 for SSIM.")
    ] = "auto",
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", min=0.0, help="How near counts; the default is half of the last digit given."),
    ] = None,
    show: Annotated[int, typer.Option("--show", min=1, help="How many explanations to list.")] = 5,
) -> None:
    """Find out why a PSNR or SSIM differs from the one you expected.

    Tries every channel, range, rounding, border and kind of SSIM on the two pictures, and, if none fits, what
    interpolation from LR pictures of other downscaling kernels would give, and names what fits.
    """
    from fourfold.evaluation.explain import PAPER_BORDER_PX, Quantity, explain
    from fourfold.evaluation.sets import read_pixels

    if quantity not in ("auto", "psnr", "ssim"):
        raise UsageError(f"--quantity {quantity}: it can be auto, psnr or ssim")
    wanted = _number(expected)
    chosen: Quantity | None = "psnr" if quantity == "psnr" else "ssim" if quantity == "ssim" else None
    first, second = read_pixels(sr)[0], read_pixels(hr)[0]
    apart = max(abs(a - b) for a, b in zip(first.shape[:2], second.shape[:2], strict=True))
    if 0 < apart < 8:
        height, width = (min(a, b) for a, b in zip(first.shape[:2], second.shape[:2], strict=True))
        typer.echo(f"note: sizes differ by a few pixels; both are cropped to {width}x{height}", err=True)
        first, second = first[:height, :width], second[:height, :width]
    within = tolerance if tolerance is not None else _half_digit(expected)
    found = explain(first, second, wanted, quantity=chosen, tolerance=within)
    digits = 3 if found.ours.kind.startswith("PSNR") else 5
    if not found.is_papers:
        typer.echo(f"the pictures are too small for the paper's convention, {PAPER_BORDER_PX} px cut from every border")
    which = "the paper's convention" if found.is_papers else "the most similar one"
    typer.echo(f"{which} gives {found.ours.value:.{digits}f}: {found.ours.words}")
    if not found.matches:
        typer.echo(
            f"nothing tried gives {expected}; the nearest is {found.nearest.value:.{digits}f}: {found.nearest.words}"
        )
        return
    count = len(found.matches)
    typer.echo(f"{expected} is explained by {count} combination{'s' if count > 1 else ''}, the likeliest first:")
    for reading in found.matches[:show]:
        typer.echo(f"  {reading.value:.{digits}f}  {reading.words}")
    if count > show:
        typer.echo(f"  and {count - show} more (--show {count})")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--expected {text}: not a number") from None


def _half_digit(text: str) -> float:
    """Returns half of the last digit of a printed number; not less than other arithmetic may differ by."""
    exponent = Decimal(text).as_tuple().exponent
    digits = max(-exponent, -3) if isinstance(exponent, int) else 0  # infinity has none
    return max(0.5 * 10.0**-digits, 2e-5)
