"""The picture bank: every training picture decoded once, as uint8, in the memory of the device that trains.

The plain way (open, decode, crop and shrink a picture per sample, in worker processes) keeps a fast device
waiting. 1,300 pictures of 0.2 megapixels are less than a gigabyte as uint8: they fit beside the network, and a
mini-batch is then one gather and two small matrix products on the device. A set that does not fit is decoded once
into a file and read from there; see :mod:`fourfold.training.streaming`.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from fourfold.errors import DataError
from fourfold.training.pictures import Pixels, TrainingPicture
from fourfold.training.sampler import Crops


class Bank(Protocol):
    """Where crops come from.

    Attributes:
        kind: "resident" (in the device's memory) or "streamed" (from a file).
        heights: (pictures,) int64, on the CPU.
        widths: (pictures,) int64, on the CPU.
        has_lr: whether LR pictures were given.
    """

    kind: str
    heights: Tensor
    widths: Tensor
    has_lr: bool

    def gather(self, crops: Crops, room_px: int) -> tuple[Tensor, Tensor | None]:
        """Returns HR (N, 3, room, room) and, if LR pictures were given, LR (N, 3, room / scale, room / scale).

        Each crop lies at the top left of its room, which no crop's side may exceed; what lies beyond it is any pixels.
        Both uint8; on the device for a resident bank, in (pinned) host memory for a streamed one.
        """
        ...


class Planes:
    """Many pictures of different sizes, planar (3, H, W), one after the other.

    Attributes:
        heights: (pictures,) int64.
        widths: (pictures,) int64.
        offsets: (pictures,) int64; where each begins.
    """

    def __init__(self, heights: Sequence[int], widths: Sequence[int]) -> None:
        self.heights, self.widths = torch.tensor(heights), torch.tensor(widths)
        sizes = 3 * self.heights * self.widths
        self.offsets = torch.cumsum(sizes, 0) - sizes

    def table(self, crops: Crops, shrink: int = 1) -> Tensor:
        """Returns (N, 5) int64: a crop in any of the eight orientations is an origin, three strides and a side.

        Columns: index of the first pixel, stride of rows, of columns, and of colour planes; rows and columns.

        Args:
            crops: places in HR pixels.
            shrink: by which places and sides are divided; the scale, for LR pictures.
        """
        side = crops.side // shrink
        width, height = self.widths[crops.picture], self.heights[crops.picture]
        top = crops.top // shrink + crops.flip_rows * (side - 1)
        left = crops.left // shrink + crops.flip_columns * (side - 1)
        origin = self.offsets[crops.picture] + top * width + left
        down, right = width * (1 - 2 * crops.flip_rows), 1 - 2 * crops.flip_columns
        rows = torch.where(crops.transpose, right, down)
        columns = torch.where(crops.transpose, down, right)
        return torch.stack([origin, rows, columns, height * width, side], dim=1)

    def cut(self, pixels: Pixels, crops: Crops, k: int, out: Pixels, shrink: int = 1) -> None:
        """Copies one crop to the top left of its room.

        Args:
            pixels: all pictures' pixels, flat.
            crops: places in HR pixels.
            k: which of them.
            out: (3, room, room); written to.
            shrink: by which places and sides are divided; the scale, for LR pictures.
        """
        picture = int(crops.picture[k])
        height, width, start = (int(field[picture]) for field in (self.heights, self.widths, self.offsets))
        whole = pixels[start : start + 3 * height * width].reshape(3, height, width)
        top, left, side = (int(field[k]) // shrink for field in (crops.top, crops.left, crops.side))
        crop = whole[:, top : top + side, left : left + side]
        crop = crop[:, :: -1 if crops.flip_rows[k] else 1, :: -1 if crops.flip_columns[k] else 1]
        out[:, :side, :side] = crop.transpose(0, 2, 1) if crops.transpose[k] else crop


class ResidentBank:
    """Pictures as one flat uint8 tensor on the device; a mini-batch is one gather, whatever their sizes.

    Args:
        decoded: (picture, HR, LR or None), planar uint8, as :func:`fourfold.training.pictures.decode` yields them.
        bytes_needed: at least the bytes of all HR pictures.
        device: where the pixels go.
        scale: of the LR pictures.

    Raises:
        DataError: if there is no picture.
    """

    kind = "resident"

    def __init__(
        self,
        decoded: Iterable[tuple[TrainingPicture, Pixels, Pixels | None]],
        bytes_needed: int,
        device: torch.device,
        scale: int = 4,
    ) -> None:
        hr, lr = _Packer(bytes_needed), _Packer(bytes_needed // scale**2)
        for _, hr_picture, lr_picture in decoded:
            hr.add(hr_picture)
            if lr_picture is not None:
                lr.add(lr_picture)
        if not hr.sizes:
            raise DataError("none of the pictures is usable")
        self._hr, self._pixels = hr.planes(), hr.pixels(device)
        self.heights, self.widths, self.has_lr = self._hr.heights, self._hr.widths, bool(lr.sizes)
        self._scale, self._device = scale, device
        if self.has_lr:
            self._lr, self._lr_pixels = lr.planes(), lr.pixels(device)

    def gather(self, crops: Crops, room_px: int) -> tuple[Tensor, Tensor | None]:
        """Returns HR and LR crops on the device; see :class:`Bank`."""
        hr = self._take(self._pixels, self._hr, crops, room_px)
        if not self.has_lr:
            return hr, None
        return hr, self._take(self._lr_pixels, self._lr, crops, room_px // self._scale, self._scale)

    def _take(self, pixels: Tensor, planes: Planes, crops: Crops, room: int, shrink: int = 1) -> Tensor:
        if self._device.type == "cpu":  # copies of parts take less time there than a gather of every pixel
            batch = torch.empty(len(crops), 3, room, room, dtype=torch.uint8)
            for k, out in enumerate(batch.numpy()):
                planes.cut(pixels.numpy(), crops, k, out, shrink)
            return batch
        return gathered(pixels, planes.table(crops, shrink).to(self._device), room)


def gathered(pixels: Tensor, table: Tensor, room: int) -> Tensor:
    """Returns all crops of a mini-batch at once, (N, 3, room, room): what an accelerator does best.

    Args:
        pixels: all pictures' pixels, flat.
        table: of :meth:`Planes.table`, on the same device.
        room: rows and columns; what lies beyond a crop's side repeats its last ones.
    """
    origin, rows, columns, plane, side = (c.view(-1, 1, 1, 1) for c in table.unbind(1))
    span = torch.arange(room, device=pixels.device)
    down, right = (torch.minimum(span.view(shape), side - 1) for shape in ((1, 1, -1, 1), (1, 1, 1, -1)))
    colours = torch.arange(3, device=pixels.device).view(1, 3, 1, 1)
    return pixels[origin + colours * plane + down * rows + right * columns]


class _Packer:
    """Lays pictures one after the other into memory that is asked for once; pages never written are never used."""

    def __init__(self, bytes_needed: int) -> None:
        self._flat = torch.empty(bytes_needed, dtype=torch.uint8)
        self.sizes: list[tuple[int, int]] = []
        self._used = 0

    def add(self, picture: Pixels) -> None:
        self._flat[self._used : self._used + picture.size] = torch.from_numpy(picture).flatten()
        self._used += picture.size
        self.sizes.append((picture.shape[1], picture.shape[2]))

    def planes(self) -> Planes:
        return Planes([h for h, _ in self.sizes], [w for _, w in self.sizes])

    def pixels(self, device: torch.device) -> Tensor:
        return self._flat[: self._used].to(device)
