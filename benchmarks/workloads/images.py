"""Workloads of images."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.suite.setting import Batch, Setting, cross_entropy
from benchmarks.workloads.data import split
from benchmarks.workloads.optimizers import NADAMW

_SIDE = 16  # pixels
_ANGLES = 8  # of textures
_KEPT = 6  # of the 16 lines of frequencies of a scan


class _Block(nn.Module):
    """A residual block with group norm."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.GroupNorm(4, outputs), nn.GroupNorm(4, outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm2(self.second(F.relu(self.norm1(self.first(x)))))
        return F.relu(inner + self.shortcut(x))


class _TextureNet(nn.Module):
    """A residual network with group norm."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), _Block(16, 16, 2))
        self.head = nn.Linear(16, _ANGLES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).mean((2, 3)))  # type: ignore[no-any-return]


def _grid() -> tuple[Tensor, Tensor]:
    line = torch.linspace(-1, 1, _SIDE)
    return line[:, None], line[None, :]


def textures() -> Setting:
    """The angle of coloured waves in noise: cross-entropy."""
    generator = torch.Generator().manual_seed(13)
    rows = 8600
    labels = torch.randint(0, _ANGLES, (rows,), generator=generator)
    angle = ((labels + 0.9 * torch.rand(rows, generator=generator) - 0.45) * torch.pi / _ANGLES)[:, None, None]
    frequency = 5 + 7 * torch.rand(rows, 1, 1, generator=generator)
    phase = 2 * torch.pi * torch.rand(rows, 1, 1, generator=generator)
    y, x = _grid()
    waves = torch.sin(frequency * (x * angle.cos() + y * angle.sin()) + phase)
    colors = torch.randn(rows, 3, 1, 1, generator=generator)
    images = waves[:, None] * colors + 1.2 * torch.randn(rows, 3, _SIDE, _SIDE, generator=generator)
    batches, validation = split((images, labels), 600, batch_size=16)
    return Setting("textures", "nadamw", _TextureNet, batches, cross_entropy, NADAMW, validation)


class _UNet(nn.Module):
    """Adds a correction to an image: one scale down and up again."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.enter = nn.Conv2d(1, width, 3, 1, 1)
        self.down = nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.leave = nn.Conv2d(2 * width, 1, 3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        wide = F.silu(self.enter(images))
        deep = F.silu(self.down(wide))
        return images + self.leave(torch.cat([wide, F.silu(self.up(deep))], 1))  # type: ignore[no-any-return]


def scans() -> Setting:
    """Images of ellipses from a third of their frequencies, as in accelerated MRI: mean absolute error."""
    generator = torch.Generator().manual_seed(14)
    rows = 4300
    y, x = _grid()
    images = torch.zeros(rows, _SIDE, _SIDE)
    for _ in range(5):
        middle = 1.2 * torch.rand(2, rows, 1, 1, generator=generator) - 0.6
        radius = 0.15 + 0.45 * torch.rand(2, rows, 1, 1, generator=generator)
        inside = ((x - middle[0]) / radius[0]) ** 2 + ((y - middle[1]) / radius[1]) ** 2 < 1
        images += inside * torch.randn(rows, 1, 1, generator=generator)
    frequencies = torch.fft.fftshift(torch.fft.fft2(images), dim=1)
    kept = torch.zeros(_SIDE)
    kept[(_SIDE - _KEPT) // 2 : (_SIDE + _KEPT) // 2] = 1
    blurred = torch.fft.ifft2(torch.fft.ifftshift(frequencies * kept[:, None], dim=1)).real
    batches, validation = split((blurred[:, None], images[:, None]), 300, batch_size=8)

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        return F.l1_loss(module(batch[0]), batch[1])

    return Setting("scans", "nadamw", _UNet, batches, loss, NADAMW, validation)
