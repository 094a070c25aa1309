"""One hyperparameter of parameter groups in proportion to each other, also of groups that are added later."""

from __future__ import annotations

from collections.abc import Sequence

from torch.optim import Optimizer

from lightning_lr.optimizers.param_groups import ParamGroup, reference_lr


class GroupRatios:
    """Keeps each group's value divided by the highest value among all groups of some optimizers.

    >>> import torch
    >>> optimizer = torch.optim.SGD([{"params": [torch.zeros(1)], "lr": lr} for lr in (0.1, 0.4)])
    >>> ratios = GroupRatios("lr", [optimizer])
    >>> optimizer.add_param_group({"params": [torch.zeros(1)], "lr": 0.2})
    >>> ratios.of(0, optimizer.param_groups, 0.4)
    [0.25, 1.0, 0.5]

    Args:
        key: of the hyperparameter.
        optimizers: with the values as their user gave them. If all are 0, all groups are alike.
        saved: ratios of each optimizer that were found before, instead of the values of today.
    """

    def __init__(self, key: str, optimizers: Sequence[Optimizer], saved: list[list[float]] | None = None) -> None:
        self._key = key
        if saved is not None:
            self._ratios = [list(ratios) for ratios in saved]
            return
        values = [[_given(group, key) for group in optimizer.param_groups] for optimizer in optimizers]
        highest = max((value for of_one in values for value in of_one), default=0.0)
        self._ratios = [[value / highest if highest else 1.0 for value in of_one] for of_one in values]

    def of(self, i: int, groups: list[ParamGroup], highest: float) -> list[float]:
        """The ratios of an optimizer's groups; one that was added has its value in proportion to another's now.

        Args:
            i: the optimizer's position.
            groups: its groups.
            highest: what a group of ratio 1 rises to; the proportion is to that while the others stand at 0.

        Raises:
            ValueError: if a group was added with a learning rate of 0 while the others stand at 0, as a group is whose
                learning rate is made a share of theirs.
        """
        ratios = self._ratios[i]
        if len(groups) > len(ratios):
            known = ratios.index(max(ratios))
            now = float(groups[known][self._key])
            added = [float(group[self._key]) for group in groups[len(ratios) :]]
            if self._key == "lr" and now == 0 and 0 in added:
                raise ValueError(
                    "A parameter group was added with a learning rate of 0 while that of the others was 0 too, so it"
                    " would never be trained: give base_lr above 0, or the group a learning rate of its own."
                )
            ratios += [ratios[known] * value / (now or ratios[known] * highest) for value in added]
        return ratios

    def plain(self) -> list[list[float]]:
        """The ratios, for a checkpoint."""
        return [list(ratios) for ratios in self._ratios]


def _given(group: ParamGroup, key: str) -> float:
    return reference_lr(group) if key == "lr" else float(group[key])
