"""Settings made of the five tasks of `benchmarks.tasks` and four optimizers: ``digits/adam`` and so on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.optim import Optimizer

from benchmarks.suite.setting import Batch, Setting
from benchmarks.tasks import OPTIMIZERS, TASKS, Task

_NAMES = ("sgd", "momentum", "adam", "adamw")


def small_tasks() -> dict[str, Callable[[], Setting]]:
    """A function for each setting, which makes it."""
    return {f"{task}/{optimizer}": partial(_setting, task, optimizer) for task in TASKS for optimizer in _NAMES}


def _setting(task_name: str, optimizer: str) -> Setting:
    task: Task = TASKS[task_name]()

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        return task.loss(module(batch[0]), batch[1])

    def optimizers(module: nn.Module, lr: float) -> list[Optimizer]:
        return [OPTIMIZERS[optimizer](module.parameters(), lr)]

    def batches(count: int, seed: int) -> list[Batch]:
        return [(x, y) for x, y in task.batches(count, seed)]

    name = f"{task_name}/{optimizer}"
    return Setting(name, optimizer, task.build, batches, loss, optimizers, task.val)
