"""From the bank to the stage: (LR, HR) mini-batches on the device, read ahead where pictures are streamed."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from fourfold.training.bank import Bank
from fourfold.training.degradation import Degradation, to_unit
from fourfold.training.jpeg import Compression
from fourfold.training.sampler import Crops, CropSampler
from fourfold.training.shrinking import Shrinking

#: batches that are read ahead of the one in use
AHEAD = 4

State = dict[str, Tensor]
Pair = tuple[Tensor, Tensor | None]


class Batches:
    """Mini-batches in the sampler's order.

    Reading ahead does not show in checkpoints: :meth:`state_dict` is the sampler's state before the first batch
    that was not handed out yet.

    Args:
        bank: the pictures.
        sampler: the order.
        degrade: makes LR from HR where the bank has none.
        device: where batches are wanted.
        compress: what JPEG does to LR; None for nothing.
    """

    def __init__(
        self,
        bank: Bank,
        sampler: CropSampler,
        degrade: Degradation,
        device: torch.device,
        compress: Compression | None = None,
    ) -> None:
        self.bank, self.sampler, self._degrade, self._device = bank, sampler, degrade, device
        self._compress = compress
        settings = sampler.settings
        self._shrink = Shrinking(settings, device) if settings.shrink_share else None
        self._room_px = settings.largest_part_px
        self._ahead: deque[tuple[State, Crops, Future[Pair]]] = deque()
        self._reader = ThreadPoolExecutor(2, thread_name_prefix="batches") if bank.kind == "streamed" else None

    def next(self) -> tuple[Tensor, Tensor]:
        """Returns LR (N, 3, h, w) and HR (N, 3, scale h, scale w), float32 in 0..1, channels-last, on the device."""
        crops, (hr, lr) = self._read_ahead() if self._reader else self._read()
        hr = hr.to(self._device, non_blocking=True)
        hr_unit = self._shrink(hr, crops.side) if self._shrink else to_unit(hr)
        lr_unit = self._degrade(hr_unit) if lr is None else to_unit(lr.to(self._device, non_blocking=True))
        return (self._compress(lr_unit, crops) if self._compress else lr_unit), hr_unit

    def _read(self) -> tuple[Crops, Pair]:
        crops = self.sampler.draw()
        return crops, self.bank.gather(crops, self._room_px)

    def _read_ahead(self) -> tuple[Crops, Pair]:
        assert self._reader is not None
        while len(self._ahead) <= AHEAD:
            before, crops = self.sampler.state_dict(), self.sampler.draw()
            self._ahead.append((before, crops, self._reader.submit(self.bank.gather, crops, self._room_px)))
        _, crops, pair = self._ahead.popleft()
        return crops, pair.result()

    def state_dict(self) -> State:
        """Returns what a checkpoint must hold for the next batch to be the same."""
        return self._ahead[0][0] if self._ahead else self.sampler.state_dict()

    def load_state_dict(self, state: State) -> None:
        """Takes up where :meth:`state_dict` was called."""
        self._ahead.clear()
        self.sampler.load_state_dict(state)
