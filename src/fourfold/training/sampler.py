"""Drawing mini-batches: which pictures, which crops, turned how; pixels are fetched by the bank."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from fourfold.errors import CheckpointError, DataError
from fourfold.training.recipe import DataSettings


@dataclass(frozen=True)
class Crops:
    """A mini-batch of crops, each field (N,) on the CPU.

    Attributes:
        picture: number of the picture in the bank.
        top: first row.
        left: first column.
        side: rows and columns of the picture that it is made of; the recipe's crop, or more, which are shrunk to it.
        flip_rows: 1 where the crop is turned upside down.
        flip_columns: 1 where it is mirrored left to right.
        transpose: whether rows and columns are exchanged after the flips.
    """

    picture: Tensor
    top: Tensor
    left: Tensor
    side: Tensor
    flip_rows: Tensor
    flip_columns: Tensor
    transpose: Tensor

    def __getitem__(self, part: slice) -> "Crops":
        return Crops(*(getattr(self, f.name)[part] for f in fields(self)))

    def __len__(self) -> int:
        return len(self.picture)


def check_batch(pictures: int, settings: DataSettings, world_size: int) -> None:
    """Refuses a batch that cannot be drawn.

    Raises:
        DataError: if there are fewer pictures than a batch has, or it does not divide among the processes.
    """
    if pictures < settings.batch:
        raise DataError(
            f"{pictures} pictures are fewer than the batch of {settings.batch} distinct ones; "
            f"give more pictures or --set data.batch={pictures}"
        )
    if settings.batch % world_size:
        raise DataError(
            f"a batch of {settings.batch} does not divide among {world_size} processes; "
            f"--set data.batch={-(-settings.batch // world_size) * world_size}"
        )


class CropSampler:
    """Draws mini-batches: random crops of distinct pictures (Ledig et al. 2017, section 3.2), flipped and turned.

    Pictures come in shuffled rounds: each is seen once before any is seen again. With several processes, all draw
    the same batch and each takes its own slice of it, so nothing overlaps and nothing depends on their number.

    Args:
        heights: (pictures,) int64.
        widths: (pictures,) int64.
        settings: the recipe's data settings; ``batch`` is that of all processes together.
        seed: of the order and the crops; the same on every process.
        rank: which slice of each batch is drawn here.
        world_size: number of processes.
        grid_px: crops begin at multiples of this; the scale, where LR pictures are given, else 1.

    Raises:
        DataError: if there are fewer pictures than a batch has, or it does not divide among the processes.
    """

    def __init__(
        self,
        heights: Tensor,
        widths: Tensor,
        settings: DataSettings,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        grid_px: int = 1,
    ) -> None:
        check_batch(len(heights), settings, world_size)
        self.heights, self.widths, self.settings = heights, widths, settings
        self.rank, self.world_size, self.grid_px = rank, world_size, grid_px
        self.generator = torch.Generator().manual_seed(seed)
        self.queue = torch.empty(0, dtype=torch.int64)

    def draw(self) -> Crops:
        """Returns this process's slice of the next batch."""
        batch, grid = self.settings.batch, self.grid_px
        chosen = self._next_pictures(batch)
        places = torch.rand(batch, 3, generator=self.generator, dtype=torch.float64)
        heights, widths = self.heights[chosen], self.widths[chosen]
        side = self._sides(torch.minimum(heights, widths))
        top = (places[:, 0] * ((heights - side) // grid + 1)).long() * grid
        left = (places[:, 1] * ((widths - side) // grid + 1)).long() * grid
        crops = Crops(chosen, top, left, side, *self._orientation((places[:, 2] * 8).long()))
        share = batch // self.world_size
        return crops[self.rank * share : (self.rank + 1) * share]

    def _next_pictures(self, batch: int) -> Tensor:
        rest = self.queue
        if len(rest) < batch:
            fresh = torch.randperm(len(self.heights), generator=self.generator)
            # what is left of the last round fills this batch up together with pictures that it does not hold
            filling = fresh[~torch.isin(fresh, rest)][: batch - len(rest)]
            self.queue = torch.cat([rest, filling, fresh[~torch.isin(fresh, filling)]])
        chosen, self.queue = self.queue[:batch], self.queue[batch:]
        return chosen

    def _sides(self, largest: Tensor) -> Tensor:
        """Returns the sides of a batch's crops in pixels of their pictures, whose smaller sides are ``largest``."""
        crop = torch.full_like(largest, self.settings.crop_px)
        if not self.settings.shrink_share:
            return crop
        drawn = torch.rand(len(largest), 2, generator=self.generator, dtype=torch.float64)
        low, high = self.settings.shrink
        part = (crop / (low + (high - low) * drawn[:, 1])).round().long()
        return torch.where(drawn[:, 0] < self.settings.shrink_share, torch.minimum(part, largest), crop)

    def _orientation(self, turn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns (flip_rows, flip_columns, transpose) from a number in 0..7."""
        if not self.settings.flips:
            # proper rotations only: none, the quarter turn, the half turn, the other quarter turn
            rotation = turn // 2 if self.settings.quarter_turns else torch.zeros_like(turn)
            return ((rotation == 1) | (rotation == 2)).long(), (rotation >= 2).long(), rotation % 2 == 1
        if not self.settings.quarter_turns:
            return torch.zeros_like(turn), turn % 2, torch.zeros_like(turn, dtype=torch.bool)
        return (turn // 2) % 2, turn % 2, turn >= 4

    def state_dict(self) -> dict[str, Tensor]:
        """Returns what a checkpoint must hold for the next batch to be the same."""
        return {
            "generator": self.generator.get_state(),
            "queue": self.queue.clone(),
            "pictures": torch.tensor(len(self.heights)),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes up where :meth:`state_dict` was called.

        Raises:
            CheckpointError: if there were more or fewer pictures then.
        """
        pictures = int(state.get("pictures", torch.tensor(len(self.heights))))
        if pictures != len(self.heights):
            raise CheckpointError(
                f"the run was on {pictures} pictures and there are {len(self.heights)} now; give it the same --data, "
                "or begin a new run with --init latest.safetensors"
            )
        self.generator.set_state(state["generator"])
        self.queue = state["queue"].clone()
