"""Settings that start from trained weights. They are trained once and kept in the folder for temporary files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.suite.data import (
    code_corpus,
    documentation,
    encode,
    next_character_draw,
    next_character_validation,
    shifted_draw,
    train_digits,
    validation_digits,
)
from benchmarks.suite.networks import LoRA, ResNet
from benchmarks.suite.optimizers import one
from benchmarks.suite.setting import Batch, Draw, MakeOptimizers, Setting, cross_entropy, drawn
from benchmarks.suite.transformers import TextTransformer


def ft_lora() -> Setting:
    """A language model of source code, adapted to documentation by low-rank updates."""
    code, _ = code_corpus("[n-o]*.py")
    weights = _pretrained("text_transformer", TextTransformer, next_character_draw(code, batch_size=12), steps=600)
    text = encode(documentation())
    train, validation = text[:160_000], text[160_000:]

    def build() -> nn.Module:
        model = TextTransformer()
        model.load_state_dict(weights)
        model.requires_grad_(False)
        for block in model.blocks:
            for name in ("qkv", "project", "up", "down"):
                setattr(block, name, LoRA(getattr(block, name)))
        return model

    return Setting(
        "ft_lora",
        "adamw",
        build,
        drawn(next_character_draw(train)),
        cross_entropy,
        one(torch.optim.AdamW),
        next_character_validation(validation),
    )


def ft_head() -> Setting:
    """A network that was trained on the digits 0 to 4: only a new last layer is trained, on 5 to 9."""
    return _high_digits("ft_head", "sgdm", one(torch.optim.SGD, momentum=0.9), only_head=True)


def ft_all() -> Setting:
    """A network that was trained on the digits 0 to 4: all layers are trained on 5 to 9."""
    return _high_digits("ft_all", "adamw", one(torch.optim.AdamW), only_head=False)


def _high_digits(name: str, optimizer: str, make: MakeOptimizers, only_head: bool) -> Setting:
    images, labels = train_digits()
    is_low = labels < 5
    weights = _pretrained("resnet", ResNet, shifted_draw(images[is_low], labels[is_low], 32), steps=300)

    def build() -> nn.Module:
        model = ResNet()
        model.load_state_dict(weights)
        model.head = nn.Linear(16, 5)
        if only_head:
            model.requires_grad_(False)
            model.head.requires_grad_(True)
        return model

    def from_five(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return images[labels >= 5], labels[labels >= 5] - 5

    validation: Batch = from_five(*validation_digits())
    draw = shifted_draw(*from_five(images, labels), batch_size=24)
    return Setting(name, optimizer, build, drawn(draw), cross_entropy, make, validation)


def _pretrained(name: str, build: Callable[[], nn.Module], draw: Draw, steps: int) -> dict[str, Any]:
    """Weights after ``steps`` steps of AdamW, from the file of an earlier call if there is one."""
    path = Path(tempfile.gettempdir()) / f"lightning_lr_suite_{name}.pt"
    if not path.exists():
        torch.manual_seed(5)
        model = build()
        optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
        generator = torch.Generator().manual_seed(5)
        for _ in range(steps):
            loss = cross_entropy(model, draw(generator))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        unfinished = path.with_suffix(f".{os.getpid()}")
        torch.save(model.state_dict(), unfinished)
        unfinished.replace(path)
    weights: dict[str, Any] = torch.load(path)
    return weights
