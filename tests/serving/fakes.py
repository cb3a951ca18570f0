"""An upscaler that misbehaves as its model's name says; the worker process imports it by name."""

import os
import time
from pathlib import Path

import numpy as np

from fourfold.errors import CancelledError, EngineError
from fourfold.imaging import imresize

TILES = 10
TILE_S = {"slow": 0.08, "steady": 0.25, "crawl": 2.0}


class FakeUpscaler:
    """Bicubic, in ten tiles; what a model is called is how it behaves. As an ensemble it stands on its head."""

    scale = 4
    halo_px = 0
    engine = "fake"
    precision = "fp32"
    device = "cpu"
    max_memory = 16 << 20  # little: what is too much for a format is then a small picture

    def repeats(self, *_: object) -> float:
        return 1.0

    def __init__(self, path: Path, fidelity: float | None, ensemble: bool) -> None:
        self.path = path
        self.name = path.stem
        self.fidelity = fidelity
        self.ensemble = ensemble

    def precision_for(self, dtype):
        return self.precision

    def __call__(self, array, *, progress=None, cancelled=None):
        self._misbehave()
        for tile in range(TILES):
            time.sleep(TILE_S.get(self.name, 0.0))
            if cancelled is not None and cancelled():
                raise CancelledError("stopped")
            if progress is not None:
                progress(tile + 1, TILES)
        return imresize(array[::-1] if self.ensemble else array, 4)

    def stream(self, source, *, progress=None, cancelled=None):
        pixels = source.read(0, source.height)
        yield self(np.ascontiguousarray(pixels), progress=progress, cancelled=cancelled)

    def _misbehave(self) -> None:
        if self.name == "crash":
            os._exit(7)
        if self.name == "crash-once":
            marker = self.path.with_suffix(".crashed")
            if not marker.exists():
                marker.touch()
                os.kill(os.getpid(), 9)
        if self.name == "hang":
            time.sleep(3600)
        if self.name == "error":
            raise EngineError("the engine is out of order")
        if self.name == "bug":
            raise ZeroDivisionError("nobody thought of this")
        if self.name == "chatty":
            print("a library that prints\n{}\n")
        if self.name == "greedy":
            self._hoard = np.ones(400_000_000, np.uint8)
            time.sleep(3600)


def load(model, *, engine="auto", precision="auto", fidelity=None, ensemble=False, max_memory=None):
    path = Path(model)
    if path.stem == "unloadable":
        raise EngineError("this model cannot be loaded")
    return FakeUpscaler(path, fidelity, ensemble)
