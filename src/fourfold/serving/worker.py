"""The worker process: one engine, one picture at a time. Run by :mod:`fourfold.serving.supervisor`."""

import importlib
import logging
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyvips

from fourfold.errors import CancelledError, FourfoldError
from fourfold.serving.child_side import Channel, Message
from fourfold.serving.inspector import without_path
from fourfold.serving.pipeline import upscale_in_folder
from fourfold.serving.problems import DISK_FULL, ProblemError, slug_of

log = logging.getLogger("fourfold.serving")

#: Upscalers kept at hand: the default, and the one that was asked for last.
KEPT = 2
#: Progress is told at most this often.
PAUSE_S = 0.1


class Worker:
    """Upscalers, and the one job at hand."""

    def __init__(self) -> None:
        self._cancelled: set[str] = set()
        self._lock = threading.Lock()
        self._channel = Channel(self._at_once)
        settings = self._channel.settings
        self._settings = settings
        module, _, function = str(settings["loader"]).partition(":")
        self._loader: Callable[..., Any] = getattr(importlib.import_module(module), function)
        self._upscalers: OrderedDict[tuple[str, float | None, bool], Any] = OrderedDict()

    def _at_once(self, message: Message) -> bool:
        """Notes a cancellation while the main thread is at work."""
        if message.get("do") != "cancel":
            return False
        with self._lock:
            self._cancelled.add(message["job"])
        return True

    def run(self) -> None:
        """Loads the default model, says so, and works for ever."""
        try:
            upscaler = self._upscaler(self._settings["default"], None, False)
        except Exception as error:
            self._channel.send("failed", detail=str(error) or type(error).__name__)
            raise SystemExit(1) from error
        about = {key: str(getattr(upscaler, key, "")) for key in ("engine", "precision", "device")}
        self._channel.send("ready", **about)
        for message in self._channel.messages():
            self._do(message)

    def _upscaler(self, model: str, fidelity: float | None, ensemble: bool) -> Any:
        # a slider gives endless values; steps of 1/50 cannot be told apart and keep engines few
        key = (model, None if fidelity is None else round(fidelity * 50) / 50, ensemble)
        if key not in self._upscalers:
            while len(self._upscalers) >= KEPT:
                self._upscalers.popitem(last=False)
            self._upscalers[key] = self._loader(
                self._settings["models"][model],
                engine=self._settings["engine"],
                precision=self._settings["precision"],
                fidelity=key[1],
                ensemble=ensemble,
                max_memory=self._settings["max_memory"],
            )
        self._upscalers.move_to_end(key)
        return self._upscalers[key]

    def _do(self, order: Message) -> None:
        job = order["job"]
        source = Path(order["folder"]) / "source"
        try:
            result = upscale_in_folder(
                Path(order["folder"]),
                lambda: self._upscaler(order["model"], order["fidelity"], order["ensemble"]),
                format=order["format"],
                max_pixels=self._settings["input_px"],
                progress=self._reporter(job),
                cancelled=lambda: job in self._cancelled,
            )
            self._channel.send("done", job=job, result=result)
        except CancelledError:
            self._channel.send("cancelled", job=job)
        except (FourfoldError, MemoryError) as error:
            slug, detail = describe_failure(error)
            self._channel.send("failed", job=job, slug=slug, detail=without_path(detail, source))
        except Exception as error:
            traceback.print_exc()
            self._channel.send("failed", job=job, slug=slug_of(error), detail=type(error).__name__)
        finally:
            self._cancelled.discard(job)

    def _reporter(self, job: str) -> Callable[[int, int], None]:
        last = 0.0

        def report(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if done >= total or now - last >= PAUSE_S:
                last = now
                self._channel.send("progress", job=job, done=done, total=total)

        return report


def describe_failure(error: BaseException) -> tuple[str, str]:
    """Returns the kind of problem and what to say; a defect is not laid at the picture's door.

    The pipeline wraps whatever goes wrong with a file, so that a batch goes on; here the two are told apart.
    """
    if isinstance(error, ProblemError):
        return error.slug, error.detail
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno in DISK_FULL:
        return "storage-full", "the result could not be written"
    if isinstance(error, MemoryError) or "out of memory" in str(error):
        return "out-of-memory", ""
    if cause is None or isinstance(cause, (FourfoldError, pyvips.Error, OSError, ValueError)):
        return slug_of(error), str(error)
    traceback.print_exception(cause)
    return "internal-error", type(cause).__name__


if __name__ == "__main__":
    Worker().run()
