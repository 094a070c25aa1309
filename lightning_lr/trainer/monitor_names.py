"""The names under which Lightning's ``LearningRateMonitor`` keeps learning rates."""

from __future__ import annotations

from collections import Counter

from lightning.pytorch import Trainer
from torch.optim import Optimizer

from lightning_lr.optimizers.param_groups import unique_group_names


def monitor_names(trainer: Trainer) -> dict[Optimizer, str]:
    """``lr-<class>`` for each optimizer, or the name that its scheduler's config gives it.

    The second optimizer of a class is ``lr-<class>-1``. As in Lightning, optimizers with a scheduler are counted first.
    """
    names: dict[Optimizer, str] = {}
    seen: Counter[str] = Counter()
    given_names: dict[Optimizer, str | None] = {}
    for config in trainer.lr_scheduler_configs:
        if hasattr(config.scheduler, "optimizer"):  # a scheduler that is not torch's need not have one
            given_names.setdefault(config.scheduler.optimizer, config.name)
    for optimizer in dict.fromkeys([*given_names, *trainer.optimizers]):
        kind, given = type(optimizer).__name__, given_names.get(optimizer)
        if given is None:
            seen[kind] += 1
        name = f"lr-{kind}" if given is None else given
        names[optimizer] = f"{name}-{seen[kind] - 1}" if seen[kind] > 1 else name
    return names


def monitor_suffixes(optimizer: Optimizer) -> list[str]:
    """What follows the name of an optimizer, for each of its groups: ``/<group>``, or nothing for a single one.

    A single group is named if it has a ``"name"``.
    """
    groups = optimizer.param_groups
    if len(groups) == 1 and not groups[0].get("name"):
        return [""]
    return [f"/{name}" for name in unique_group_names(optimizer)]
