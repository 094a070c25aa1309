"""Small transformers. Attention is written out, so that `torch.func.vmap` can train copies of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.suite.data import CHARACTERS


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class Block(nn.Module):
    """Self-attention and two linear layers, each with a norm before and a residual connection around it.

    Args:
        width: of the inputs and the outputs.
        heads: of the attention.
        causal: whether a position sees the positions before it only.
        llama: whether to have RMS norms, gated linear layers and no biases, as Llama.
    """

    def __init__(self, width: int, heads: int, causal: bool, llama: bool = False) -> None:
        super().__init__()
        norm = RMSNorm if llama else nn.LayerNorm
        self.heads, self.causal, self.llama = heads, causal, llama
        self.attention_norm, self.mlp_norm = norm(width), norm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=not llama)
        self.project: nn.Module = nn.Linear(width, width, bias=not llama)
        self.up: nn.Module = nn.Linear(width, 4 * width, bias=not llama)
        self.down: nn.Module = nn.Linear(2 * width if llama else 4 * width, width, bias=not llama)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        hidden = self.up(self.mlp_norm(x))
        if self.llama:
            gate, value = hidden.chunk(2, -1)
            hidden = F.silu(gate) * value
        else:
            hidden = F.gelu(hidden)
        return x + self.down(hidden)  # type: ignore[no-any-return]

    def attention(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        head_width = width // self.heads
        query, key, value = self.qkv(x).view(batch, length, 3, self.heads, head_width).permute(2, 0, 3, 1, 4)
        scores = (query @ key.transpose(-1, -2)) * head_width**-0.5
        if self.causal:
            scores = scores + torch.triu(torch.full((length, length), -1e9), 1)
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, length, width)
        return self.project(mixed)  # type: ignore[no-any-return]


class TextTransformer(nn.Module):
    """A transformer over characters with two blocks of two heads.

    Args:
        width: of the embedding.
        outputs: values for each character. Ignored if ``tied``.
        causal: whether a position sees the positions before it only.
        llama: see `Block`.
        tied: whether the last layer has the weights of the embedding.
    """

    def __init__(
        self,
        width: int = 32,
        outputs: int = CHARACTERS,
        causal: bool = True,
        llama: bool = False,
        tied: bool = True,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CHARACTERS, width)
        self.positions = nn.Parameter(torch.randn(32, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, 2, causal, llama) for _ in range(2)))
        self.norm = RMSNorm(width) if llama else nn.LayerNorm(width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.head = None if tied else nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(self.blocks(self.embedding(x) + self.positions[: x.shape[1]]))
        if self.head is None:
            return hidden @ self.embedding.weight.T  # type: ignore[no-any-return]
        return self.head(hidden)  # type: ignore[no-any-return]


class VisionTransformer(nn.Module):
    """A transformer over the 16 patches of 2x2 pixels of a digit, with a class token."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patch_embedding = nn.Linear(4, width)
        self.positions = nn.Parameter(torch.randn(17, width) * 0.02)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.Sequential(*(Block(width, 2, causal=False) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        patches = images.view(-1, 4, 2, 4, 2).permute(0, 1, 3, 2, 4).reshape(-1, 16, 4)
        tokens = torch.cat([self.class_token.expand(len(patches), 1, -1), self.patch_embedding(patches)], 1)
        return self.head(self.norm(self.blocks(tokens + self.positions))[:, 0])  # type: ignore[no-any-return]
