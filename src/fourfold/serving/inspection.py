"""Looking at a picture before it is accepted, in a process of its own: at its header, and where it counts, its pixels.

A picture can be hostile enough to crash the library that reads it. This process holds no network and no job, starts
in a moment, and is simply replaced when it dies or takes too long.
"""

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from fourfold.serving.child import Child, ChildDiedError
from fourfold.serving.problems import ProblemError
from fourfold.serving.settings import SCALE, Limits
from fourfold.upscaling import TURNS

log = logging.getLogger("fourfold.serving")

INSPECTOR = "fourfold.serving.inspector"

#: How long looking for traces of JPEG may take. It is a hint, and without it a picture is taken as its file says.
TRACES_S = 2.0


class Inspection:
    """One inspector process, asked one picture at a time; clients take turns."""

    def __init__(self, limits: Limits, max_memory: int) -> None:
        self._limits, self._max_memory = limits, max_memory
        self._child: Child | None = None
        self._turn = asyncio.Lock()
        # a client holds his own while he waits for his turn, so that only one of his pictures does; then it goes away
        self._clients: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.deaths = 0

    async def look(
        self,
        path: Path,
        format: str = "auto",
        most_pixels: int | None = None,
        *,
        client: str,
        ensemble: bool = False,
        traces: bool = False,
    ) -> dict[str, Any]:
        """Returns format, width, height and frames as the header gives them, and whether it was compressed.

        Args:
            path: the picture's file.
            format: of the result, or "auto".
            most_pixels: a smaller limit than the server's, or None.
            client: who sent it.
            ensemble: whether the work is that of a self-ensemble, which makes every limit smaller.
            traces: also look at the pixels, whether they were compressed before they were stored as they are.

        Raises:
            ProblemError: if it is no picture, not of an allowed kind, over the limits, or more than the format holds.
        """
        header = {"do": "look", "path": str(path), "format": format}
        message = await self._ask_in_turn(client, header, self._limits.inspect_s)
        if message["event"] != "picture":
            raise ProblemError(str(message["slug"]), str(message["detail"]))
        found = {key: message[key] for key in ("format", "width", "height", "frames", "compressed")}
        check_dimensions(self._limits, found["width"], found["height"], found["frames"], most_pixels, ensemble=ensemble)
        if message["refusal"] is not None:
            raise ProblemError(**message["refusal"])
        if traces and not found["compressed"]:
            with suppress(ProblemError):  # it was lost over the pixels, which is logged: the file's word stands
                question = {"do": "look for traces", "path": str(path)}
                found["compressed"] = (await self._ask_in_turn(client, question, TRACES_S))["compressed"]
        return found

    async def _ask_in_turn(self, client: str, question: dict[str, str], most_s: float) -> dict[str, Any]:
        async with self._clients.setdefault(client, asyncio.Lock()), self._turn:
            return await self._ask(question, most_s)

    async def _ask(self, question: dict[str, str], most_s: float) -> dict[str, Any]:
        try:
            if self._child is None or not self._child.alive:
                self._child = await Child.start(INSPECTOR, {"max_memory": self._max_memory})
            await self._child.send(question)
            return await asyncio.wait_for(self._child.receive(), most_s)
        except (ChildDiedError, TimeoutError) as error:
            self.deaths += 1
            log.warning("the inspector was lost over a picture: %s", str(error) or "too slow")
            if self._child is not None:
                self._child.kill()
                self._child = None
            raise ProblemError("unreadable-picture", "it could not be read safely") from error
        except BaseException:
            # a client that went away in between: an answer that nobody awaits must not answer the next question
            if self._child is not None:
                self._child.kill()
                self._child = None
            raise

    async def stop(self) -> None:
        """Ends the process."""
        if self._child is not None:
            await self._child.stop(1.0)


def check_dimensions(
    limits: Limits,
    width: int,
    height: int,
    frames: int = 1,
    most_pixels: int | None = None,
    *,
    ensemble: bool = False,
) -> None:
    """Refuses a picture whose header announces too much, in or out; a self-ensemble takes an eighth of the pixels.

    Raises:
        ProblemError: ``picture-too-large``, with the numbers.
    """
    pixels = width * height * frames
    most = min(limits.input_px, limits.output_px // SCALE**2)
    here = "this server takes"
    if most_pixels is not None:
        most, here = min(most, most_pixels), "this call takes"
    if ensemble:
        most, here = most // TURNS, f"with self-ensemble, {here}"
    if pixels > most or max(width, height) > limits.side_px:
        times = f" x {frames} frames" if frames > 1 else ""
        detail = (
            f"it is {width} x {height}{times}, {pixels / 1e6:.2f} megapixels, and would become "
            f"{SCALE**2 * pixels / 1e6:.1f}; {here} up to {most / 1e6:.2f} megapixels "
            f"and {limits.side_px} pixels a side"
        )
        raise ProblemError("picture-too-large", detail, extra={"width": width, "height": height, "max_pixels": most})
