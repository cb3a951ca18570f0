"""What a person sees of a training run: a bar with loss, PSNR, updates/s and time left, and a line per event."""

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fourfold.training import Recipe


class TrainingDisplay:
    """Draws a run's events on stderr; in a file or pipe, one plain line per event.

    Args:
        recipe: the resolved recipe.
        folder: the run folder.
        quiet: show nothing: this process is not the first.
    """

    def __init__(self, recipe: Recipe, folder: Path, *, quiet: bool = False) -> None:
        # names of folders may hold brackets and colons, which mean what they say
        self._console = Console(stderr=True, markup=False, emoji=False, soft_wrap=True, quiet=quiet)
        self._recipe, self._folder = recipe, folder
        self._psnr = ""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task("reading pictures", total=None, state="")

    def __enter__(self) -> "TrainingDisplay":
        self._console.print(f"{self._recipe.name} ({self._recipe.profile}): run folder {self._folder}")
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with suppress(OSError):
            self._bar.stop()

    def listen(self, kind: str, values: dict[str, Any]) -> None:
        """Shows one event of the run; a terminal that is closed shows nothing, and stops no run."""
        with suppress(OSError):
            getattr(self, f"_{kind}", lambda values: None)(values)

    def _reading(self, values: dict[str, Any]) -> None:
        self._bar.update(self._task, description="reading pictures", completed=values["done"], total=values["total"])

    def _bank(self, values: dict[str, Any]) -> None:
        self._console.print(values["text"])

    def _data(self, values: dict[str, Any]) -> None:
        left = [f"{values[name]} {name.replace('_', ' ')}" for name in ("too_small", "broken", "duplicates")]
        left = [text for text in left if not text.startswith("0 ")]
        self._console.print(
            f"{values['used']} pictures" + (f"; left out: {', '.join(left)} (see data.json)" if left else "")
        )
        self._bar.update(self._task, description="training")

    def _downloading(self, values: dict[str, Any]) -> None:
        self._bar.update(
            self._task, description="downloading VGG19", completed=values["done"], total=values["total"] or None
        )

    def _content_scale(self, values: dict[str, Any]) -> None:
        self._console.print(f"VGG{values['layer']} loss scaled by {values['scale']:.4g} ({values['how']})")
        self._bar.update(self._task, description="training")

    def _resumed(self, values: dict[str, Any]) -> None:
        self._console.print(f"going on after update {values['update']}")

    def _progress(self, values: dict[str, Any]) -> None:
        rival = ""
        if "real_accuracy" in values:
            rival = f"D {100 * values['real_accuracy']:.0f}%/{100 * values['fake_accuracy']:.0f}%  "
        loss = f"loss {values['loss']:.5f}  " if "loss" in values else "D alone  "  # which is a head start
        state = f"{loss}{rival}{self._psnr}{values['updates_per_s']:.2f} updates/s"
        self._bar.update(self._task, completed=values["update"], total=values["updates"], state=state)
        if self._bar.disable:
            self._console.print(f"update {values['update']}/{values['updates']}  {state}")
        shares = {k.removeprefix("gradient_share_"): v for k, v in values.items() if k.startswith("gradient_share_")}
        if len(shares) > 1:
            each = ", ".join(f"{name} {100 * share:.3g}%" for name, share in shares.items())
            self._console.print(f"update {values['update']}: of the generator's gradient, {each}")

    def _remark(self, values: dict[str, Any]) -> None:
        self._console.print(f"update {values['update']}: {values['text']}")

    def _validation(self, values: dict[str, Any]) -> None:
        self._psnr = f"{values['psnr_y']:.2f} dB  "
        best = "  (best)" if values["best"] else ""
        content = f", content loss {values['content_loss']:.4f}" if "content_loss" in values else ""
        self._console.print(
            f"update {values['update']}: PSNR {values['psnr_y']:.3f} dB, SSIM {values['ssim_wang']:.4f}{content}{best}"
        )

    def _stopped(self, values: dict[str, Any]) -> None:
        self._console.print(
            f"{values['signal']}: stopped after update {values['update']}, checkpoint written. Go on with the same "
            f"command and --run {self._folder} --resume"
        )
