"""Settings with images: handwritten digits, and shapes in noise."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.suite.data import shifted, shifted_draw, train_digits, validation_digits
from benchmarks.suite.networks import DepthwiseNet, MultiTask, ResNet, UNet, VariationalAutoencoder
from benchmarks.suite.optimizers import Lion, one
from benchmarks.suite.setting import Batch, Draw, Setting, cross_entropy, drawn, mlp, rows_of
from benchmarks.suite.transformers import VisionTransformer


def vit() -> Setting:
    return Setting(
        "vit",
        "lion",
        VisionTransformer,
        drawn(rows_of(*train_digits(), batch_size=16)),
        cross_entropy,
        one(Lion),
        validation_digits(),
    )


def bncnn() -> Setting:
    return Setting(
        "bncnn",
        "sgd",
        DepthwiseNet,
        drawn(shifted_draw(*train_digits(), batch_size=32)),
        cross_entropy,
        one(torch.optim.SGD),
        validation_digits(),
    )


def resnet() -> Setting:
    return Setting(
        "resnet",
        "nesterov",
        ResNet,
        drawn(shifted_draw(*train_digits(), batch_size=32)),
        cross_entropy,
        one(torch.optim.SGD, momentum=0.9, nesterov=True),
        validation_digits(),
    )


def bn_mlp() -> Setting:
    return Setting(
        "bn_mlp",
        "adagrad",
        lambda: mlp(64, 64, 64, 10, batch_norm=True),
        drawn(rows_of(*train_digits(), batch_size=24)),
        cross_entropy,
        one(torch.optim.Adagrad),
        validation_digits(),
    )


def dropout_mlp() -> Setting:
    return Setting(
        "dropout_mlp",
        "lion",
        lambda: nn.Sequential(nn.Flatten(), mlp(64, 64, 64, 10, dropout=0.2)),
        drawn(shifted_draw(*train_digits(), batch_size=24)),
        cross_entropy,
        one(Lion, weight_decay=0.1),
        validation_digits(),
    )


def multitask() -> Setting:
    def with_total(images: Tensor, labels: Tensor) -> Batch:
        return images, labels, (images + 0.3).sum(1, keepdim=True) * 3

    def loss(module: MultiTask, batch: Batch) -> Tensor:
        hidden = module.trunk(batch[0])
        return F.cross_entropy(module.classes(hidden), batch[1]) + F.mse_loss(module.total(hidden), batch[2])

    return Setting(
        "multitask",
        "sgdm",
        MultiTask,
        drawn(rows_of(*with_total(*train_digits()), batch_size=32)),
        loss,
        one(torch.optim.SGD, momentum=0.9),
        with_total(*validation_digits()),
    )


def infonce() -> Setting:
    """Contrastive learning: two noisy views of a digit are each other's positives."""
    images, _ = train_digits()

    def view(batch: Tensor, generator: torch.Generator) -> Tensor:
        return shifted(batch, generator).flatten(1) + 0.1 * torch.randn(len(batch), 64, generator=generator)

    def draw(generator: torch.Generator, batch_size: int = 48) -> Batch:
        batch = images[torch.randint(0, len(images), (batch_size,), generator=generator)]
        return view(batch, generator), view(batch, generator)

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        first, second = (F.normalize(module(views), dim=-1) for views in batch)
        logits = first @ second.T / 0.1
        targets = torch.arange(len(logits))
        return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2

    return Setting(
        "infonce",
        "sgdm",
        lambda: mlp(64, 96, 96, 24),
        drawn(draw),
        loss,
        one(torch.optim.SGD, momentum=0.9),
        draw(torch.Generator().manual_seed(2), batch_size=256),
    )


def vae() -> Setting:
    def loss(module: VariationalAutoencoder, batch: Batch) -> Tensor:
        """The negative evidence lower bound."""
        images = batch[0]
        mean, log_variance = module.encoder(images).chunk(2, -1)
        latent = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        squares = (module.decoder(latent) - images) ** 2
        reconstruction = (squares / (2 * (2 * module.log_std).exp()) + module.log_std + 0.919).sum(-1)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(-1)
        bound: Tensor = (reconstruction + divergence).mean()
        return bound

    return Setting(
        "vae",
        "adam",
        VariationalAutoencoder,
        drawn(rows_of(*train_digits(), batch_size=32)),
        loss,
        one(torch.optim.Adam),
        validation_digits(),
    )


def unet() -> Setting:
    """Segmentation of discs and squares in strong noise, with cross-entropy and Dice loss."""

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        logits = module(batch[0])
        inside = logits.sigmoid()
        dice: Tensor = 1 - 2 * (inside * batch[1]).sum() / (inside.sum() + batch[1].sum() + 1)
        entropy = F.binary_cross_entropy_with_logits(logits, batch[1])
        return entropy + dice

    return Setting(
        "unet",
        "adam",
        UNet,
        drawn(_shapes(6, noise=1.0, has_squares=True)),
        loss,
        one(torch.optim.Adam),
        _shapes(64, noise=1.0, has_squares=True)(torch.Generator().manual_seed(1)),
    )


def unet_plain() -> Setting:
    """Segmentation of discs in noise, without normalization layers."""
    return Setting(
        "unet_plain",
        "adamw",
        lambda: UNet(norm=False),
        drawn(_shapes(6, noise=0.5, has_squares=False)),
        lambda module, batch: F.binary_cross_entropy_with_logits(module(batch[0]), batch[1]),
        one(torch.optim.AdamW),
        _shapes(64, noise=0.5, has_squares=False)(torch.Generator().manual_seed(1)),
    )


def _shapes(batch_size: int, noise: float, has_squares: bool) -> Draw:
    """Images of one disc or square each in noise, 16x16 pixels, and which pixels are inside."""
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")

    def draw(generator: torch.Generator) -> Batch:
        centres = torch.rand(batch_size, 2, generator=generator) * 10 + 3
        radii = (torch.rand(batch_size, generator=generator) * 3 + 2)[:, None, None]
        right, down = (x - centres[:, :1, None]).abs(), (y - centres[:, 1:, None]).abs()
        inside = right**2 + down**2 < radii**2
        if has_squares:
            is_square = torch.rand(batch_size, generator=generator) < 0.5
            inside = torch.where(is_square[:, None, None], torch.maximum(right, down) < radii, inside)
        images = inside * 1.0 - 0.5 + torch.randn(batch_size, 16, 16, generator=generator) * noise
        return images[:, None], inside.float()[:, None]

    return draw
