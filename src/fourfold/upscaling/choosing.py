"""Which network a picture is given to, where none is named: one for compressed pictures, and one for all others."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from fourfold.imaging import SUFFIXES
from fourfold.upscaling.upscaler import Upscaler
from fourfold.weights import default_name


class Automatic:
    """Gives each picture the upscaler that suits it; each is loaded once, when it is needed. Threads may share it.

    Args:
        load: makes an upscaler of a shipped name or a weights file.
    """

    def __init__(self, load: Callable[[str | Path], Upscaler]) -> None:
        self._load = load
        self._loaded: dict[str | Path, Upscaler] = {}
        self._lock = threading.Lock()

    def suited(self, compressed: bool) -> Upscaler:
        """Returns the upscaler for a picture.

        Args:
            compressed: whether losses have been through it; see :func:`fourfold.imaging.was_compressed`.

        Raises:
            As :func:`fourfold.load`.
        """
        return self.named(default_name(compressed))

    def named(self, model: str | Path) -> Upscaler:
        """Returns the upscaler of a shipped name or a weights file.

        Raises:
            As :func:`fourfold.load`.
        """
        with self._lock:
            if model not in self._loaded:
                self._loaded[model] = self._load(model)
            return self._loaded[model]

    def expect(self, pictures: Iterable[Path]) -> None:
        """Loads at once what pictures are likely to need by their names: a wrong option is told before the first.

        Raises:
            As :func:`fourfold.load`.
        """
        for likely in {SUFFIXES.get(path.suffix.lower()) in ("jpg", "webp", "avif") for path in pictures}:
            self.named(default_name(compressed=likely))
