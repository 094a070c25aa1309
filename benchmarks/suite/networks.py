"""Small networks that are no transformers: convolutional, recurrent and others."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.suite.data import CHARACTERS, TOKEN_KINDS


def conv_norm(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """Two residual blocks with batch norm, for digits."""

    def __init__(self, outputs: int = 10) -> None:
        super().__init__()
        self.stem = conv_norm(1, 8)
        self.first1, self.first2 = conv_norm(8, 8), conv_norm(8, 8)
        self.second1, self.second2 = conv_norm(8, 16, stride=2), conv_norm(16, 16)
        self.shortcut = nn.Conv2d(8, 16, 1, 2)
        self.head = nn.Linear(16, outputs)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.stem(images.view(-1, 1, 8, 8)))
        x = F.relu(x + self.first2(F.relu(self.first1(x))))
        x = F.relu(self.shortcut(x) + self.second2(F.relu(self.second1(x))))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


class DepthwiseNet(nn.Module):
    """A depthwise separable convolution with batch norm, for digits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_norm(1, 12)
        self.depthwise = nn.Sequential(nn.Conv2d(12, 12, 3, 2, 1, groups=12, bias=False), nn.BatchNorm2d(12))
        self.pointwise = nn.Sequential(nn.Conv2d(12, 24, 1, bias=False), nn.BatchNorm2d(24))
        self.head = nn.Linear(24, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.depthwise(F.relu(self.stem(images.view(-1, 1, 8, 8)))))
        return self.head(F.relu(self.pointwise(x)).mean((2, 3)))  # type: ignore[no-any-return]


class RecurrentTagger(nn.Module):
    """A GRU or an LSTM over characters, written out because `torch.func.vmap` cannot take torch's."""

    def __init__(self, is_lstm: bool, embedding: int = 16, width: int = 32) -> None:
        super().__init__()
        gates = 4 if is_lstm else 3
        self.is_lstm, self.width = is_lstm, width
        self.embedding, self.head = nn.Embedding(CHARACTERS, embedding), nn.Linear(width, TOKEN_KINDS)
        self.from_input, self.from_hidden = nn.Linear(embedding, gates * width), nn.Linear(width, gates * width)

    def forward(self, x: Tensor) -> Tensor:
        inputs = self.from_input(self.embedding(x))
        hidden = torch.zeros_like(inputs[:, 0, : self.width])
        cell = hidden
        states = []
        for position in range(x.shape[1]):
            now, before = inputs[:, position], self.from_hidden(hidden)
            if self.is_lstm:
                enter, forget, leave, new = (now + before).chunk(4, -1)
                cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
                hidden = leave.sigmoid() * cell.tanh()
            else:
                (reset1, keep1, new1), (reset2, keep2, new2) = now.chunk(3, -1), before.chunk(3, -1)
                keep = (keep1 + keep2).sigmoid()
                hidden = (1 - keep) * (new1 + (reset1 + reset2).sigmoid() * new2).tanh() + keep * hidden
            states.append(hidden)
        return self.head(torch.stack(states, 1))  # type: ignore[no-any-return]


class BigramClassifier(nn.Module):
    """Logits of eight classes from the mean of the embeddings of all pairs of characters, as in fastText."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(CHARACTERS * CHARACTERS, 16), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embedding(x[:, :-1] * CHARACTERS + x[:, 1:]).mean(1))  # type: ignore[no-any-return]


class UNet(nn.Module):
    """One level of a U-Net for images of 16x16 pixels, with or without group norm."""

    def __init__(self, norm: bool = True) -> None:
        super().__init__()

        def layer(inputs: int, outputs: int) -> nn.Sequential:
            norms = [nn.GroupNorm(2, outputs)] if norm else []
            return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 1, 1), *norms, nn.ReLU())

        self.encoder, self.middle1, self.middle2 = layer(1, 6), layer(6, 12), layer(12, 12)
        self.decoder, self.head = layer(18, 6), nn.Conv2d(6, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        fine = self.encoder(images)
        coarse = self.middle2(self.middle1(F.max_pool2d(fine, 2)))
        return self.head(self.decoder(torch.cat([fine, F.interpolate(coarse, scale_factor=2)], 1)))  # type: ignore[no-any-return]


class VariationalAutoencoder(nn.Module):
    """Digits to eight latent numbers and back, with a learned standard deviation for each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
        self.decoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64))
        self.log_std = nn.Parameter(torch.zeros(64))


class TwoTowers(nn.Module):
    """Scores of all pairs of the users and the items of a batch."""

    def __init__(self, users: int, items: int, width: int = 12) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(users, width), nn.Embedding(items, width)
        self.user_tower = nn.Sequential(nn.Linear(width, 24), nn.ReLU(), nn.Linear(24, width))
        self.item_tower = nn.Sequential(nn.Linear(width, 24), nn.ReLU(), nn.Linear(24, width))

    def forward(self, pairs: Tensor) -> Tensor:
        return self.user_tower(self.users(pairs[:, 0])) @ self.item_tower(self.items(pairs[:, 1])).T  # type: ignore[no-any-return]


class MultiTask(nn.Module):
    """A trunk with two heads: which digit an image shows, and the sum of its pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU())
        self.classes, self.total = nn.Linear(48, 10), nn.Linear(48, 1)


class LoRA(nn.Module):
    """A frozen linear layer and a trained update of rank 4.

    References:
        Edward J. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021, arXiv:2106.09685.
    """

    def __init__(self, linear: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, linear.in_features) / rank)
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + 2 * (x @ self.down.T) @ self.up.T  # type: ignore[no-any-return]


class ResidualMLP(nn.Module):
    """Three residual blocks with LayerNorm."""

    def __init__(self, inputs: int, outputs: int, width: int = 48) -> None:
        super().__init__()
        self.input = nn.Linear(inputs, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.ups = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(3))
        self.downs = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(3))
        self.output = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.input(x)
        for norm, up, down in zip(self.norms, self.ups, self.downs, strict=True):
            x = x + down(F.gelu(up(norm(x))))
        return self.output(x)  # type: ignore[no-any-return]
