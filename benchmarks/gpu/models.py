"""ResNet-50 and GPT-2, in plain torch, with data that stay on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width

        def conv_norm(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
            conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(outputs))

        self.reduce, self.conv = conv_norm(inputs, width, 1, 1), conv_norm(width, width, 3, stride)
        self.expand = conv_norm(width, outputs, 1, 1)
        changes_shape = stride != 1 or inputs != outputs
        self.shortcut = conv_norm(inputs, outputs, 1, stride) if changes_shape else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(F.relu(self.conv(F.relu(self.reduce(x)))))
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """A residual network of bottlenecks, and its loss. ResNet-50 has the blocks (3, 4, 6, 3) and width 64.

    References:
        Kaiming He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385.
    """

    def __init__(self, blocks: tuple[int, ...], width: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        layers: list[nn.Module] = []
        inputs = width
        for stage, count in enumerate(blocks):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(_Bottleneck(inputs, width * 2**stage, stride))
                inputs = 4 * width * 2**stage
        self.blocks, self.head = nn.Sequential(*layers), nn.Linear(inputs, classes)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        x = self.blocks(F.max_pool2d(self.stem(images), 3, 2, 1))
        return F.cross_entropy(self.head(x.mean((2, 3))), labels)


class _TransformerBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(attended.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class GPT(nn.Module):
    """A language model with tied embeddings, and its loss. GPT-2 has 12 layers, width 768 and 50257 tokens.

    References:
        Alec Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
    """

    def __init__(self, layers: int, width: int, heads: int, tokens: int, length: int) -> None:
        super().__init__()
        self.embedding, self.positions = nn.Embedding(tokens, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(_TransformerBlock(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        for weight in (self.embedding.weight, self.positions.weight):
            nn.init.normal_(weight, std=0.02)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        places = torch.arange(inputs.shape[1], device=inputs.device)
        x = self.norm(self.blocks(self.embedding(inputs) + self.positions(places)))
        return F.cross_entropy(F.linear(x, self.embedding.weight).flatten(0, 1), targets.flatten())


class Workload(NamedTuple):
    """A network that returns its loss, and its batches.

    Attributes:
        build: makes the network, on the CPU.
        batch: makes a batch on a device.
    """

    build: Callable[[], nn.Module]
    batch: Callable[[Any], tuple[Tensor, Tensor]]


def workloads(is_tiny: bool) -> dict[str, Workload]:
    """The workloads by name. Tiny ones try the code in seconds on a CPU."""
    if is_tiny:
        return {
            "tiny GPT": _gpt(layers=1, width=16, heads=2, tokens=32, length=8, batch_size=2),
            "tiny ResNet": _resnet(blocks=(1, 1), width=4, classes=5, pixels=16, batch_size=2),
        }
    return {
        "GPT-2, 124 M, 16 x 1024 tokens": _gpt(12, 768, 12, 50257, 1024, batch_size=16),
        "ResNet-50, 128 images": _resnet((3, 4, 6, 3), 64, 1000, pixels=224, batch_size=128),
    }


def _gpt(layers: int, width: int, heads: int, tokens: int, length: int, batch_size: int) -> Workload:
    def batch(device: Any) -> tuple[Tensor, Tensor]:
        text = torch.randint(tokens, (batch_size, length + 1), device=device)
        return text[:, :-1].contiguous(), text[:, 1:].contiguous()

    return Workload(lambda: GPT(layers, width, heads, tokens, length), batch)


def _resnet(blocks: tuple[int, ...], width: int, classes: int, pixels: int, batch_size: int) -> Workload:
    def batch(device: Any) -> tuple[Tensor, Tensor]:
        images = torch.randn(batch_size, 3, pixels, pixels, device=device).to(memory_format=torch.channels_last)
        return images, torch.randint(classes, (batch_size,), device=device)

    return Workload(lambda: ResNet(blocks, width, classes).to(memory_format=torch.channels_last), batch)  # type: ignore[call-overload]
