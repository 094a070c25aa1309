"""The ratios of one hyperparameter between parameter groups, also of groups that are added later."""

from __future__ import annotations

from collections.abc import Sequence

from torch.optim import Optimizer

from lightning_lr.optimizers.param_groups import ParamGroup, initial_lr


class GroupRatios:
    """Each group's value divided by the highest value among all groups of some optimizers.

    >>> import torch
    >>> optimizer = torch.optim.SGD([{"params": [torch.zeros(1)], "lr": lr} for lr in (0.1, 0.4)])
    >>> ratios = GroupRatios("lr", [optimizer])
    >>> optimizer.add_param_group({"params": [torch.zeros(1)], "lr": 0.2})
    >>> ratios.add_new_groups(0, optimizer.param_groups, highest=0.4)
    >>> ratios[0]
    [0.25, 1.0, 0.5]

    Args:
        key: name of the hyperparameter in a parameter group.
        optimizers: with the values that their user gave them. If all values are 0, all ratios are 1.
        saved: `state` of the same optimizers, used instead of their values.
    """

    def __init__(self, key: str, optimizers: Sequence[Optimizer], saved: list[list[float]] | None = None) -> None:
        self._key = key
        if saved is not None:
            self._ratios = [list(ratios) for ratios in saved]
            return
        values = [[_initial_value(group, key) for group in optimizer.param_groups] for optimizer in optimizers]
        highest = max((value for of_optimizer in values for value in of_optimizer), default=0.0)
        self._ratios = [[value / highest if highest else 1.0 for value in of_optimizer] for of_optimizer in values]

    def __getitem__(self, optimizer_index: int) -> list[float]:
        """The ratios of one optimizer's groups."""
        return self._ratios[optimizer_index]

    def add_new_groups(self, optimizer_index: int, groups: list[ParamGroup], highest: float) -> None:
        """Add the ratios of groups that were added to an optimizer.

        A new group's value is divided by the present value of the known group with the highest ratio.

        Args:
            optimizer_index: position of the optimizer in the constructor's list.
            groups: all of its groups, the new ones last.
            highest: upper bound of a group with ratio 1. A new value is divided by it where the known groups are at 0.

        Raises:
            ValueError: if a group was added with a learning rate of 0 while the known ones are at 0.
        """
        ratios = self._ratios[optimizer_index]
        if len(groups) <= len(ratios):
            return
        known = ratios.index(max(ratios))
        present = float(groups[known][self._key])
        added = [float(group[self._key]) for group in groups[len(ratios) :]]
        if self._key == "lr" and present == 0 and 0 in added:
            raise ValueError(
                "A parameter group was added with a learning rate of 0 while that of the others was 0 too, so it would"
                " never be trained: give base_lr above 0, or add the group with a learning rate above 0."
            )
        ratios += [ratios[known] * value / (present or ratios[known] * highest) for value in added]

    def state(self) -> list[list[float]]:
        """The ratios, for a checkpoint."""
        return [list(ratios) for ratios in self._ratios]


def _initial_value(group: ParamGroup, key: str) -> float:
    return initial_lr(group) if key == "lr" else float(group[key])
