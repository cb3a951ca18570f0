"""The run folder: a run that explains itself.

::

    runs/srresnet-mse-001/
      README.md         what this folder is and how to go on
      recipe.json       the whole resolved recipe
      data.json         pictures used, left out and why
      log.jsonl         one JSON object per line: training, validation, remarks, events
      tensorboard/      the same as curves, and the validation pictures
      pictures/         NAME-00002000.png: bicubic, restored and HR side by side, after 2000 updates
      checkpoints/      update-00001000.pt ...: everything to resume
      latest.safetensors, best.safetensors    weights files, loadable by every command
      lock              held while the run is at work, so that no other one writes here
      launch.json       under torchrun or SLURM: by which launch it was begun last, so that this one may begin it anew
"""

import json
import math
import os
import re
import shlex
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fourfold.durable import append_whole, exclusive, write_atomically
from fourfold.errors import PictureError, TrainingError
from fourfold.imaging import Picture, write_picture
from fourfold.places import is_file, is_folder, why_closed, why_unseen
from fourfold.training.pictures import BankReport
from fourfold.training.recipe import Recipe, parse_recipe

_README = """# {name}

A training run of Fourfold {version}. {description}

- `recipe.json`: everything that decides what is computed. `data.json`: the pictures, and those left out.
- `log.jsonl`: one JSON object per line: losses, shares of the gradient, learning rates, updates/s, validation.
  The same as curves: `tensorboard --logdir {shown}`.
- `pictures/`: parts of the validation pictures as they improve: bicubic, restored and the original side by side.
- `checkpoints/`: to go on: `{resume}`
- `latest.safetensors`, `best.safetensors`: weights files for `fourfold upscale -n FILE`; the best is chosen by
  {best_by}.
"""


#: Where runs lie that no place was named for.
RUNS = Path("runs")


def next_run_folder(name: str, root: Path = RUNS) -> Path:
    """Makes the first free numbered folder, ``runs/NAME-001``, ``-002``..., and returns it: two runs get two.

    Raises:
        TrainingError: if it cannot be made.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"cannot make the folder {root} ({error.strerror or error})") from error
    taken = [int(m[1]) for p in root.glob("*") if (m := re.fullmatch(rf"{re.escape(name)}-(\d+)", p.name))]
    number = max(taken, default=0) + 1
    while True:
        folder = root / f"{name}-{number:03d}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1  # another run began in this moment
        except OSError as error:
            raise TrainingError(f"cannot make the run folder {folder} ({error.strerror or error})") from error
        else:
            return folder


#: Of the name of a validation picture, so that the number of an update and an ending fit behind it.
_MOST_NAME_BYTES = 180


class RunFolder:
    """Writes and reads the files of one run.

    Args:
        path: the folder; made when the run starts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.latest = path / "latest.safetensors"
        self.best = path / "best.safetensors"
        self._log_is_whole = False

    @property
    def taken(self) -> bool:
        """Whether something is in the way of a new run.

        Raises:
            TrainingError: if that cannot be seen.
        """
        why = why_unseen(self.path) or (why_closed(self.path) if is_folder(self.path) else None)
        if why:
            raise TrainingError(f"the run folder {self.path} cannot be read ({why})")
        if not is_folder(self.path):
            return os.path.lexists(self.path)
        # a run that was killed at its very beginning leaves a lock, and perhaps a file half-written
        return any(p.name != "lock" and not p.match(".fourfold.*.part") for p in self.path.iterdir())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps the folder to this run; one that ends without having written anything leaves none behind.

        Raises:
            TrainingError: if another run is at work in it, or it cannot be made.
        """
        lock, held = self.path / "lock", ExitStack()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            held.enter_context(exclusive(lock))
        except BlockingIOError as error:
            raise TrainingError(f"another run is at work in {self.path}; give another --run") from error
        except OSError as error:
            raise TrainingError(f"cannot write the run folder {self.path} ({error.strerror or error})") from error
        with held:
            try:
                yield
            finally:
                if not self.taken:
                    lock.unlink(missing_ok=True)
                    with suppress(OSError):  # it may be the root of a disk
                        self.path.rmdir()

    def start(
        self,
        recipe: Recipe,
        report: BankReport,
        version: str,
        resume: str,
        launch: str = "",
        lr_folder: Path | None = None,
    ) -> None:
        """Makes the folder and writes what describes the run.

        Args:
            recipe: the resolved recipe.
            report: on its pictures.
            version: Fourfold's.
            resume: the command to go on with.
            launch: the name of the launch that began it, where there is one.
            lr_folder: of LR pictures made beforehand.

        Raises:
            TrainingError: if the folder cannot be written.
        """
        best_by = {"psnr": "validation PSNR", "content": "the VGG loss on the validation pictures", "newest": "age"}
        readme = _README.format(
            name=recipe.name,
            version=version,
            description=recipe.description,
            resume=resume,
            shown=shlex.quote(str(self.path)),
            best_by=best_by[recipe.run.best_by],
        )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if launch:
                told = {"name": launch, "time": time.time()}
                write_atomically(self.path / "launch.json", (json.dumps(told) + "\n").encode())
            # first, so that a run that is killed right after it can begin anew: it says what was to be run here
            write_atomically(self.path / "recipe.json", (recipe.model_dump_json(indent=2) + "\n").encode())
            self.checkpoints.mkdir(exist_ok=True)
            write_atomically(self.path / "README.md", readme.encode("utf-8", "surrogateescape"))
            data = _describe(report) | {"lr_data": str(lr_folder) if lr_folder is not None else ""}
            write_atomically(self.path / "data.json", (json.dumps(data, indent=2) + "\n").encode())
        except OSError as error:
            raise TrainingError(f"cannot write the run folder {self.path} ({error.strerror or error})") from error

    def pictures(self) -> list[str]:
        """Returns the names of the pictures that the run was on until now, in their order; none if none are known."""
        try:
            return [Path(path).name for path in json.loads((self.path / "data.json").read_bytes())["pictures"]]
        except (OSError, ValueError, TypeError, KeyError):
            return []

    def picture_bytes(self) -> list[int]:
        """Returns how large the files of the run's pictures were, in their order; none if none are known."""
        try:
            return [int(size) for size in json.loads((self.path / "data.json").read_bytes())["bytes"]]
        except (OSError, ValueError, TypeError, KeyError):
            return []

    def lr_folder(self) -> str | None:
        """Returns where the run's LR pictures were until now: "" where LR was made from HR, None if it is not known."""
        try:
            return str(json.loads((self.path / "data.json").read_bytes())["lr_data"])
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def recipe(self) -> Recipe:
        """Returns the recipe that the run was started with.

        Raises:
            TrainingError: if there is none.
        """
        path = self.path / "recipe.json"
        try:
            return parse_recipe(json.loads(path.read_text(encoding="utf-8")), str(path))
        except (OSError, ValueError) as error:
            raise TrainingError(f"{self.path} is not a run folder ({error})") from error

    def launch(self) -> tuple[str, float]:
        """Returns the name of the launch that began the run last, and when that was; "" and 0 where none did."""
        try:
            told = json.loads((self.path / "launch.json").read_text(encoding="utf-8"))
            return str(told["name"]), float(told["time"])
        except (OSError, ValueError, TypeError, KeyError):
            return "", 0.0

    def log(self, kind: str, **values: Any) -> None:
        """Appends one line to the log, whole or not at all; a reader can follow it while it grows.

        What is not finite is written as null: JSON has no word for it.

        Raises:
            TrainingError: if it cannot be written, such as on a full disk.
        """
        values = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
        line = json.dumps({"kind": kind, "time": round(time.time(), 3), **values}, allow_nan=False)
        try:
            if not self._log_is_whole:
                _mend_last_line(self.path / "log.jsonl")
                self._log_is_whole = True
            append_whole(self.path / "log.jsonl", f"{line}\n".encode())
        except OSError as error:
            raise TrainingError(
                f"cannot write {self.path / 'log.jsonl'} ({error.strerror or error}); the checkpoints are kept. "
                "Make room, then go on with --resume"
            ) from error

    def picture(self, name: str, update: int, pixels: NDArray[Any]) -> None:
        """Keeps an (H, W, 3) uint8 picture of a validation.

        Raises:
            TrainingError: if it cannot be written.
        """
        try:
            (self.path / "pictures").mkdir(exist_ok=True)
            path = self.path / "pictures" / f"{_shortened(name)}-{update:08d}.png"
            write_picture(Picture(pixels), path, overwrite=True)
        except (OSError, PictureError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            raise TrainingError(
                f"cannot write {self.path / 'pictures'} ({getattr(cause, 'strerror', None) or error}); the checkpoints "
                "are kept. Make room, then go on with --resume"
            ) from error


def _shortened(name: str) -> str:
    """Returns a picture's name so that a file can be called by it and more; a checksum tells long ones apart."""
    encoded = name.encode("utf-8", "surrogateescape")
    if len(encoded) <= _MOST_NAME_BYTES:
        return name
    return f"{encoded[:_MOST_NAME_BYTES].decode('utf-8', 'ignore')}-{zlib.crc32(encoded):08x}"


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _mend_last_line(path: Path) -> None:
    """Ends a last line that a killed process, or an earlier version on a full disk, left without its end."""
    if not is_file(path):
        return
    content = path.read_bytes()
    kept, _, last = content.rpartition(b"\n")
    if not last:
        return
    try:
        json.loads(last)
    except ValueError:
        os.truncate(path, len(content) - len(last))
    else:
        append_whole(path, b"\n")


def _describe(report: BankReport) -> dict[str, Any]:
    return {
        "found": report.found,
        "used": len(report.used),
        "too_small": [str(p) for p in report.too_small],
        "broken": [{"path": str(p), "why": why} for p, why in report.broken],
        "duplicates": [{"path": str(p), "of": str(twin)} for p, twin in report.duplicates],
        "overlooked": report.overlooked,
        "pictures": [str(p) for p in report.used],
        "bytes": [_bytes(p) for p in report.used],
    }
