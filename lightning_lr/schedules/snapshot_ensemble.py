"""One model out of several checkpoints: by the mean of their predictions, or of their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, update_bn


class Ensemble(nn.Module):
    """The mean of what several models predict, shape as each gives it.

    Args:
        members: the models, called with the same arguments.
        activation: applied to each prediction before the mean.
    """

    def __init__(self, members: Sequence[nn.Module], activation: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.activation = activation

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        predictions = [member(*args, **kwargs) for member in self.members]
        if self.activation is not None:
            predictions = [self.activation(prediction) for prediction in predictions]
        return torch.stack(predictions).mean(0)


def ensemble(
    checkpoints: Sequence[str | Path],
    model_class: type[LightningModule],
    average: bool = False,
    activation: Callable[[Tensor], Tensor] | None = None,
    loader: Iterable[Any] | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Make one model of checkpoints, such as the snapshots at the ends of cycles, in eval mode on the CPU.

    By default a model that gives the mean of the members' predictions; with ``average=True`` one ``model_class`` whose
    weights are the mean of theirs, as fast as each of them. Weights can be averaged only where the members lie in one
    valley: snapshots of late, short cycles, rather than of all.

    Args:
        checkpoints: their paths; ``CyclicalLR.snapshots`` are those of a run.
        model_class: whose ``load_from_checkpoint`` reads them.
        average: whether to average weights instead of predictions.
        activation: of predictions, before their mean: ``torch.nn.Softmax(-1)`` if the model gives logits, since
            probabilities are what is to be averaged.
        loader: training data, with which BatchNorm statistics are computed anew for averaged weights: its batches are
            inputs, or lists that begin with them. Not needed without BatchNorm.
        kwargs: handed to ``load_from_checkpoint``.

    Raises:
        ValueError: without a list of checkpoints, for an activation of averaged weights, a loader for averaged
            predictions, or no loader for averaged weights of a model with BatchNorm.

    References:
        Gao Huang et al., "Snapshot Ensembles: Train 1, Get M for Free", 2017, arXiv:1704.00109.
        Pavel Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018,
        arXiv:1803.05407.
    """
    if isinstance(checkpoints, (str, Path)):
        raise ValueError(f"checkpoints must be a list of paths, got {str(checkpoints)!r}.")
    if not checkpoints:
        raise ValueError("checkpoints must name at least one file, got none.")
    if average and activation is not None:
        raise ValueError("activation is for the mean of predictions: leave it out with average=True.")
    if not average and loader is not None:
        raise ValueError("loader is for the BatchNorm of averaged weights: leave it out without average=True.")
    models = (model_class.load_from_checkpoint(path, map_location="cpu", **kwargs) for path in checkpoints)
    if not average:
        return Ensemble([*models], activation).eval()
    mean = AveragedModel(next(models))
    mean.update_parameters(mean.module)  # the first one counts too
    for model in models:
        mean.update_parameters(model)
    averaged: nn.Module = mean.module
    if any(isinstance(module, _BatchNorm) for module in averaged.modules()):
        if loader is None:
            raise ValueError(
                f"{model_class.__name__} has BatchNorm, whose statistics do not fit averaged weights: give the training"
                f" data as loader, with which they are computed anew."
            )
        update_bn(loader, averaged, device=torch.device("cpu"))
    return averaged.eval()
