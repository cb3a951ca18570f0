"""``fourfold demo``: a real photograph, shrunk, restored in several ways, on one sheet."""

import json
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fourfold.cli.printing import say
from fourfold.errors import PictureError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fourfold.evaluation.comparison import Comparison
    from fourfold.evaluation.samples import Sample, Square
    from fourfold.upscaling import Upscaler

app = typer.Typer(add_completion=False)

DEFAULT_OUTPUT = Path("demo") / "sheet.png"


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the sheet goes (PNG, JPEG, ...).")] = (
        DEFAULT_OUTPUT
    ),
    model: Annotated[
        list[str] | None,
        typer.Option(
            "-n",
            "--model",
            help="A shipped name (`fourfold models`) or a weights file; may be given several times.",
        ),
    ] = None,
    sample: Annotated[
        str | None, typer.Option(help="Which photograph: chelsea, astronaut, coffee, rocket or hopper.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="A picture of your own instead.")] = None,
    detail: Annotated[
        str | None, typer.Option(metavar="X,Y[,SIDE]", help="The square to magnify, in pixels of the photograph.")
    ] = None,
    engine: Annotated[str, typer.Option(help="auto, openvino or torch.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the sheet if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Path, scores and seconds as JSON.")] = False,
) -> None:
    """Shrink a real photograph four times, restore it by nearest, bicubic and the networks, and compare.

    The photograph comes from an installed package, such as scikit-image. The sheet shows all of them with a magnified
    detail, and PSNR (dB) and SSIM in brackets, as in figure 2 of the paper.
    """
    from fourfold.evaluation.comparison import compare
    from fourfold.evaluation.sheet import Texts, draw_sheet, panel_px
    from fourfold.imaging import Picture, format_of, refuse_existing, write_picture
    from fourfold.places import is_folder
    from fourfold.upscaling import load

    start = time.perf_counter()
    overwrite = overwrite or output == DEFAULT_OUTPUT  # the demo's own file may be replaced
    # what is wrong with the command is said before the networks take their time
    refuse_existing(output, overwrite)
    format_of(output)
    if output != DEFAULT_OUTPUT and not is_folder(output.parent):
        raise PictureError(f"{output}: cannot be written: there is no such folder")
    if output == DEFAULT_OUTPUT and os.path.lexists(output.parent) and not is_folder(output.parent):
        raise PictureError(f"{output.parent.absolute()} is no folder for the sheet; name a file with -o")
    wanted = None if detail is None else _numbers(detail)
    hr, credit, chosen = _photograph(sample, picture)
    upscalers = [load(name, engine=engine, precision=precision) for name in model or _both_ends()]
    comparison = compare(hr, upscalers)
    corner = _corner(hr, comparison)
    square = _detail(wanted, comparison, chosen, corner)
    scale, (height, width) = upscalers[0].scale, comparison.hr.shape[:2]
    sheet = draw_sheet(
        comparison,
        square,
        Texts(
            f"{scale} times smaller, and back",
            f"{credit}. {width} x {height} pixels, shrunk to {width // scale} x {height // scale} and restored.",
            "In brackets: PSNR and SSIM on luma, 4 pixels cut from the borders; SSIM as in the SRGAN paper (daala). "
            f"The framed detail is magnified {panel_px(comparison) / square[2]:.3g} times.",
        ),
    )
    if output == DEFAULT_OUTPUT:
        _make_folder(output.parent)
    write_picture(Picture(sheet), output, overwrite=overwrite)
    x, y, side = square
    in_photograph = (x + corner[0], y + corner[1], side)
    report = _report(output, credit, comparison, in_photograph, upscalers, time.perf_counter() - start)
    if as_json:
        typer.echo(json.dumps(report, indent=2))
        return
    for line in _lines(report):
        say(line)


def _both_ends() -> list[str]:
    """Returns the faithful network and the default one, which may be the same."""
    from fourfold.weights import FAITHFUL, default_name

    return list(dict.fromkeys([FAITHFUL, default_name()]))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise PictureError(
            f"{folder.absolute()}: cannot make this folder for the sheet ({error.strerror or error}); "
            "name a file with -o"
        ) from error


def _photograph(sample: str | None, picture: Path | None) -> "tuple[Any, str, Sample | None]":
    """Returns the pixels, what to call them, and the sample that they are."""
    from fourfold.evaluation.samples import SAMPLES, find_sample
    from fourfold.imaging import read_rgb, to_integers, to_unit

    if sample is not None and picture is not None:
        raise UsageError("--sample and --picture are two photographs; give one of them")
    if picture is not None:
        return to_integers(to_unit(read_rgb(picture))), picture.name, None
    names = [s.name for s in SAMPLES]
    if sample is not None and sample not in names:
        raise UsageError(f"no sample {sample!r}; there are {', '.join(names)}")
    found, path = find_sample(sample)
    return read_rgb(path), found.credit, found


def _corner(photograph: "NDArray[Any]", comparison: "Comparison") -> tuple[int, int]:
    """Returns (x, y) of the compared pixels in the photograph: its middle is used, a multiple of the scale."""
    (height, width), (used_height, used_width) = photograph.shape[:2], comparison.hr.shape[:2]
    return (width - used_width) // 2, (height - used_height) // 2


def _numbers(text: str) -> list[int]:
    """Returns X, Y and perhaps SIDE."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3):
        raise UsageError(f"--detail {text!r} is not X,Y or X,Y,SIDE in whole pixels")
    if len(numbers) == 3 and numbers[2] < 8:
        raise UsageError(f"--detail {text}: a square of {numbers[2]} pixels is too small; give at least 8")
    return numbers


def _detail(
    wanted: list[int] | None, comparison: "Comparison", sample: "Sample | None", corner: tuple[int, int]
) -> "Square":
    """Returns the square to magnify, in the compared pixels: as asked for, known for the sample, or most lost.

    Args:
        wanted: X, Y and perhaps SIDE, in pixels of the photograph.
        comparison: of the photograph's middle.
        sample: which photograph it is.
        corner: of the compared pixels in the photograph.
    """
    from fourfold.evaluation.comparison import most_lost, square_around
    from fourfold.evaluation.sheet import MAGNIFICATION, panel_px

    side = panel_px(comparison) // MAGNIFICATION
    if wanted is None:
        return most_lost(comparison, side) if sample is None else square_around(comparison, sample.middle, side)
    height, width = comparison.hr.shape[:2]
    x, y, side = (*wanted, side)[:3]
    left, top = corner
    if x < left or y < top or x + side > left + width or y + side > top + height:
        raise UsageError(
            f"--detail: a square of {side} pixels at {x},{y} does not lie in the part of the photograph that "
            f"is compared, {width}x{height} pixels from {left},{top} on"
        )
    return x - left, y - top, side


def _report(
    output: Path,
    credit: str,
    comparison: "Comparison",
    detail: "Square",
    upscalers: "list[Upscaler]",
    elapsed_s: float,
) -> dict[str, Any]:
    height, width = comparison.hr.shape[:2]
    return {
        "sheet": str(output),
        "picture": credit,
        "size": [width, height],
        "lr_size": [comparison.lr.shape[1], comparison.lr.shape[0]],
        "detail": list(detail),
        "models": [upscaler.name for upscaler in upscalers],
        "engine": upscalers[0].engine,
        "precision": ", ".join(dict.fromkeys(upscaler.precision for upscaler in upscalers)),
        "methods": {
            restored.method: {
                "psnr_y_db": None if math.isinf(restored.psnr_db) else round(restored.psnr_db, 4),
                "ssim_daala": round(restored.ssim, 6),
                "ssim_wang": round(restored.ssim_wang, 6),
                "elapsed_s": round(restored.elapsed_s, 4),
            }
            for restored in comparison.restored
        },
        "elapsed_s": round(elapsed_s, 3),
    }


def _lines(report: dict[str, Any]) -> list[str]:
    (width, height), (lr_width, lr_height) = report["size"], report["lr_size"]
    lines = [
        f"{report['picture']}: {width}x{height}, shrunk to {lr_width}x{lr_height} and restored",
        f"{'':<24}{'PSNR (dB)':>10}{'SSIM':>9}{'seconds':>9}",
    ]
    for method, row in report["methods"].items():
        if row["psnr_y_db"] is not None:
            lines.append(f"{method:<24}{row['psnr_y_db']:>10.2f}{row['ssim_daala']:>9.4f}{row['elapsed_s']:>9.2f}")
    lines.append(f"engine {report['engine']}, {report['precision']}; everything took {report['elapsed_s']:.1f} s")
    lines.append(f"the sheet is {report['sheet']}")
    return lines
