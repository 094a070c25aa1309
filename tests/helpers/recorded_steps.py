"""Models that record the hyperparameters of each optimizer step, and the run that trains them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.helpers.lightning_classes import Callback, Trainer, seed_everything
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer


class RecordingClassifier(Classifier):
    """Records the hyperparameters of each optimizer step in a hook of ``optimizer.step``."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.used: list[list[float]] = []  # learning rates of the groups
        self.groups: list[list[dict[str, Any]]] = []  # all but their parameters

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        optimizer.register_step_pre_hook(lambda opt, *_: self.record(opt))
        return optimizer

    def record(self, optimizer: Any) -> None:
        self.used.append([float(group["lr"]) for group in optimizer.param_groups])
        self.groups.append([{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups])


def fit(model: Any, *callbacks: Callback, data: Any = None, ckpt_path: Any = None, **kwargs: Any) -> Trainer:
    """Train for 40 steps in two epochs, unless ``data`` or ``kwargs`` say otherwise."""
    trainer = quiet_trainer(callbacks=list(callbacks), **kwargs)
    seed_everything(3, verbose=False)
    trainer.fit(model, loader() if data is None else data, ckpt_path=ckpt_path)
    return trainer


def first_group_lrs(model: RecordingClassifier) -> list[float]:
    """The learning rate of the first group at each step."""
    return [rates[0] for rates in model.used]


class TwoOptimizers(Classifier):
    """Manual optimization; both optimizers step in every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.used: tuple[list[float], list[float]] = ([], [])

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        optimizers: Any = self.optimizers()
        for i, optimizer in enumerate(optimizers):
            loss = super().training_step(batch, batch_idx)
            optimizer.zero_grad()
            self.manual_backward(loss)
            self.used[i].append(optimizer.param_groups[0]["lr"])
            optimizer.step()
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.backbone.parameters(), 0.1), torch.optim.SGD(self.head.parameters(), 0.05)
