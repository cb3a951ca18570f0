"""A whole update as one CUDA graph.

SRResNet on 24x24 crops is hundreds of small kernels, and launching them one by one takes longer than running them.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from fourfold.training.stage import Stage

#: Updates made the plain way before capturing: they fill the optimisers' state and let libraries choose kernels.
WARM_UPDATES = 5


class GraphedStage:
    """A stage whose plain updates are captured once and replayed; the same updates, without the launches.

    Forward, backward, both optimisers' steps and the zeroing of gradients are inside the graph; learning rates and
    Adam's step counts lie on the device, so that the schedule still works. Updates that measure gradient shares run
    the plain way. The batch's shape must not change. Where a driver or a layer cannot be captured, the run goes on
    with plain updates and says so: recording computes nothing, so no update is made twice.

    Args:
        stage: with optimisers made ``capturable``; on a CUDA device, in one process.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.networks, self.optimisers, self.memory = stage.networks, stage.optimisers, stage.memory
        self._warm = 0
        self._refused: str | None = None
        self._told = False
        self._graph: torch.cuda.CUDAGraph | None = None
        self._side: torch.cuda.Stream | None = None
        self._inputs: tuple[Tensor, Tensor] | None = None
        self._outputs: dict[str, Tensor] = {}

    def step(self, lr: Tensor, hr: Tensor, *, measure: bool = False) -> dict[str, Tensor]:
        """Makes one update; see :class:`fourfold.training.stage.Stage`."""
        if self._refused is not None:
            return self._stage.step(lr, hr, measure=measure)
        if measure or self._warm < WARM_UPDATES:
            return self._plain_step(lr, hr, measure)
        if self._graph is None:
            try:
                self._capture(lr, hr)
            except RuntimeError as error:  # torch names no kind of its own for what cannot be captured
                self._graph, self._inputs, self._outputs = None, None, {}
                self._refused = _cause(error)
                return self._stage.step(lr, hr)
        assert self._graph is not None and self._inputs is not None
        self._inputs[0].copy_(lr)
        self._inputs[1].copy_(hr)
        self._graph.replay()
        return {name: value.clone() for name, value in self._outputs.items()}

    def prepare(self, lr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """Makes one update of the head start, the plain way; see :class:`fourfold.training.stage.Stage`."""
        return self._beside(lambda: self._stage.prepare(lr, hr))

    def remarks(self, update: int, means: Mapping[str, float]) -> list[str]:
        """Returns the stage's remarks, and once, why updates are not replayed as a graph."""
        found = self._stage.remarks(update, means)
        if self._refused is not None and not self._told:
            self._told = True
            found = [*found, f"updates run without a CUDA graph, slower: it cannot be captured ({self._refused})"]
        return found

    def _plain_step(self, lr: Tensor, hr: Tensor, measure: bool) -> dict[str, Tensor]:
        values = self._beside(lambda: self._stage.step(lr, hr, measure=measure))
        self._warm += 1
        return values

    def _beside(self, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Computes on the side stream."""
        stream = self._side_stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            values = compute()
        torch.cuda.current_stream().wait_stream(stream)
        return values

    def _side_stream(self) -> torch.cuda.Stream:
        """Returns the one stream of plain updates and of the capture.

        Autograd remembers the stream of a parameter's first gradient; and freed memory is kept for each stream by
        itself, so that a new one each time would take that of an update each time.
        """
        if self._side is None:
            self._side = torch.cuda.Stream()
        return self._side

    def _capture(self, lr: Tensor, hr: Tensor) -> None:
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)  # gradients must come from the graph's own memory
        self._inputs = (lr.clone(memory_format=torch.preserve_format), hr.clone(memory_format=torch.preserve_format))
        self._graph = torch.cuda.CUDAGraph()
        outside = torch.cuda.current_stream()
        try:
            # records, computes nothing; meanwhile, the threads that read crops ahead may take pinned memory
            with torch.cuda.graph(self._graph, stream=self._side_stream(), capture_error_mode="thread_local"):
                self._outputs = self._stage.step(*self._inputs)
        finally:
            torch.cuda.set_stream(outside)  # a capture that fails may leave its own


def _cause(error: BaseException) -> str:
    """Returns the first line of the first error: ending a failed capture raises another over it."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error).partition("\n")[0]
