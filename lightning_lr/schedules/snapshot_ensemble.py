"""`ensemble`: one model made of several checkpoints, by the mean of their predictions or of their weights."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, update_bn

from lightning_lr.arguments import checked, flag, function, list_of, optional, path, refuse


class CheckpointModel(Protocol):
    """A model that can be read from a checkpoint, as a ``LightningModule`` can."""

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | Path, map_location: Any, **kwargs: Any) -> Any:
        """The model that a checkpoint holds."""


def _model_class(name: str, value: Any) -> Any:
    if not isinstance(value, type) or not hasattr(value, "load_from_checkpoint"):
        raise refuse(name, "be a class with load_from_checkpoint, such as a LightningModule", value)
    return value


def _loader(name: str, value: Any) -> Any:
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes, Mapping)):
        raise refuse(name, "give the batches of the training data, as a DataLoader does", value)
    return value


def _load(model_class: type[CheckpointModel], path: str | Path, kwargs: dict[str, Any]) -> Any:
    try:
        return model_class.load_from_checkpoint(path, map_location="cpu", **kwargs)
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:  # as torch raises for broken files
        raise ValueError(
            f"checkpoints must be whole checkpoints of {model_class.__name__}, got {path}: {type(error).__name__}:"
            f" {str(error).splitlines()[0] if str(error) else 'it is empty'}."
        ) from error


class Ensemble(nn.Module):
    """The mean of the predictions of several models, in the shape of one prediction.

    Args:
        members: the models. All are called with the same arguments.
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


@checked(
    checkpoints=list_of(path, "a list of at least one path"),
    model_class=_model_class,
    average=flag,
    activation=optional(function),
    loader=optional(_loader),
)
def ensemble(
    checkpoints: Sequence[str | Path],
    model_class: type[CheckpointModel],
    average: bool = False,
    activation: Callable[[Tensor], Tensor] | None = None,
    loader: Iterable[Any] | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Make one model of checkpoints, such as the snapshots at the ends of cycles. It is in eval mode, on the CPU.

    By default its prediction is the mean of the members' predictions. With ``average=True`` it is a ``model_class``
    whose weights are the mean of the members' weights, as fast as one of them. Averaged weights are good only if the
    members lie in one valley of the loss: take the snapshots of late, short cycles, not those of all.

    Args:
        checkpoints: their paths. ``CyclicalLR.snapshots`` has those of a run.
        model_class: the class of the model, a ``LightningModule``. Its ``load_from_checkpoint`` reads them.
        average: whether to average weights instead of predictions.
        activation: applied to each prediction before the mean. Give ``torch.nn.Softmax(-1)`` if the model predicts
            logits, so that probabilities are averaged.
        loader: training data, to compute the BatchNorm statistics of averaged weights anew. Each batch is the input,
            or a list that begins with it. Not needed without BatchNorm.
        kwargs: passed on to ``load_from_checkpoint``.

    Raises:
        ValueError: if ``checkpoints`` is empty or no list; if ``activation`` is given with ``average=True``, or
            ``loader`` without it; if weights of a model with BatchNorm are averaged without ``loader``.

    References:
        Gao Huang et al., "Snapshot Ensembles: Train 1, Get M for Free", 2017, arXiv:1704.00109.
        Pavel Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018,
        arXiv:1803.05407.
    """
    if average and activation is not None:
        raise ValueError("activation is for the mean of predictions: leave it out with average=True.")
    if not average and loader is not None:
        raise ValueError("loader is for the BatchNorm of averaged weights: leave it out without average=True.")
    models = (_load(model_class, path, kwargs) for path in checkpoints)
    if not average:
        return Ensemble([*models], activation).eval()
    mean = AveragedModel(next(models))
    mean.update_parameters(mean.module)  # counts the first model, which AveragedModel only copies
    for model in models:
        mean.update_parameters(model)
    averaged: nn.Module = mean.module
    if any(isinstance(module, _BatchNorm) for module in averaged.modules()):
        if loader is None:
            raise ValueError(
                f"{model_class.__name__} has BatchNorm, whose statistics do not fit averaged weights: give the training"
                f" data as loader, to compute them anew."
            )
        update_bn(loader, averaged, device=torch.device("cpu"))
    return averaged.eval()
