"""One rank of runs with a rehearsal. `test_rehearsal_distributed.py` starts it once for each rank."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from lightning_lr import LRRangeTest, LRSearch
from tests.helpers.lightning_classes import PACKAGE, DDPStrategy, ModelParallelStrategy, Trainer
from tests.helpers.rehearsal_check import Rehearse, Run, assert_no_trace
from tests.helpers.stateful_model import StatefulClassifier, val_loader

LOSSES: list[Tensor] = []  # of this rank; a global, since a rehearsal restores the model


class KeepsLosses(StatefulClassifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        LOSSES.append(loss.detach())
        return loss


class HooksForward(StatefulClassifier):
    """Changes the batches in a hook of the DDP wrapper."""

    def on_fit_start(self) -> None:
        wrapper = self.trainer.model
        assert isinstance(wrapper, DistributedDataParallel)
        wrapper.register_forward_pre_hook(lambda _, args: ([3 * args[0][0], args[0][1]], *args[1:]))


class HooksBuiltin(HooksForward):
    """Trains one layer from the fourth batch on only, and compresses gradients in a builtin communication hook."""

    def __init__(self) -> None:
        super().__init__()
        self.side = torch.nn.Linear(4, 3)

    def on_fit_start(self) -> None:
        super().on_fit_start()
        compress = torch.distributed.BuiltinCommHookType.FP16_COMPRESS  # type: ignore[attr-defined]
        self.trainer.model._register_builtin_comm_hook(compress)  # type: ignore[operator, union-attr]

    def loss(self, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        loss, logits, y = super().loss(batch)
        return (loss + self.side(batch[0]).square().mean() if self.count > 3 else loss), logits, y

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([*self.net.parameters(), *self.side.parameters()], lr=0.1)


class HooksPowerSGD(HooksForward):
    """Compresses gradients in a communication hook that it registers itself, with a state of its own."""

    def on_fit_start(self) -> None:
        super().on_fit_start()
        state = powerSGD_hook.PowerSGDState(None, start_powerSGD_iter=3, min_compression_rate=0.1)
        self.trainer.model.register_comm_hook(state, powerSGD_hook.powerSGD_hook)  # type: ignore[operator, union-attr]


class Manual(HooksForward):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        optimizer: Any = self.optimizers()
        loss = super().training_step(batch, batch_idx)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return loss


class ZeroRedundancy(StatefulClassifier):
    """The states of Adam are distributed over the ranks."""

    def configure_optimizers(self) -> Any:
        from torch.distributed.optim import ZeroRedundancyOptimizer  # its import is deprecated code of torch

        return ZeroRedundancyOptimizer(self.net.parameters(), torch.optim.Adam, lr=0.01)


class HookedDDP(DDPStrategy):
    """Compresses gradients in a communication hook of the strategy, which Lightning registers on GPUs only."""

    def __init__(self) -> None:
        super().__init__(ddp_comm_state=powerSGD_hook.PowerSGDState(None, start_powerSGD_iter=3))

    def _register_ddp_hooks(self) -> None:
        hook = default_hooks.fp16_compress_wrapper(powerSGD_hook.powerSGD_hook)
        assert isinstance(self.model, DistributedDataParallel)
        self.model.register_comm_hook(self._ddp_comm_state, hook)


class Sharded(StatefulClassifier):
    def configure_model(self) -> None:
        assert self.device_mesh is not None
        for module in (self.net[0], self.net[4], self.net):
            fully_shard(module, mesh=self.device_mesh["data_parallel"])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.net.parameters(), lr=0.01)


class Failing(StatefulClassifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.global_rank == 1 and self.count == 5:
            raise ValueError("the user's own error")
        return super().training_step(batch, batch_idx)


class RehearseSharded(Rehearse):
    """FSDP2 gathers parameters for validation. A rehearsal leaves them sharded, as each training step does."""

    def rehearse(self, trainer: Trainer) -> None:
        for module in trainer.lightning_module.modules():
            if isinstance(module, FSDPModule):
                module.reshard()
        super().rehearse(trainer)


def main(case: str, folder: Path, ranks: int) -> None:
    def ddp(
        module: Callable[[], StatefulClassifier] = StatefulClassifier,
        accumulate: int = 1,
        strategy: type[DDPStrategy] = DDPStrategy,
        **options: Any,
    ) -> Run:
        return Run(
            module,
            val=val_loader,
            trainer=lambda: {
                "accelerator": "cpu",
                "devices": ranks,
                "strategy": strategy(**options),
                "accumulate_grad_batches": accumulate,
            },
            rehearse={"at_epochs": (0, 1), "rewinds": 1},
        )

    if case == "fails":
        assert_no_trace(folder, ddp(Failing))
    elif case == "search fails":
        trainer, fit = ddp(Failing).build(folder, LRSearch(1e-3, 0.1))
        trainer.fit(**fit)
    elif case == "ddp":
        assert_no_trace(folder / "ddp", ddp(lambda: HooksForward("adam", "step")))
        assert_no_trace(folder / "buckets", ddp(HooksForward, bucket_cap_mb=0.0001, gradient_as_bucket_view=True))
        assert_no_trace(folder / "unused", ddp(HooksBuiltin, accumulate=3, find_unused_parameters=True))
        assert_no_trace(folder / "static", ddp(HooksPowerSGD, static_graph=True, gradient_as_bucket_view=True))
        assert_no_trace(folder / "static, manual", ddp(Manual, static_graph=True))
        assert_no_trace(folder / "communication hook", ddp(ZeroRedundancy, strategy=HookedDDP))
    elif case == "mean":
        rehearse = Rehearse(lrs=[0.1, 0.2, 0.3])
        trainer, fit = ddp(KeepsLosses).build(folder, rehearse)
        trainer.fit(**fit)
        losses = torch.stack(LOSSES[:3])
        means = trainer.strategy.reduce(losses.clone(), reduce_op="mean")
        assert isinstance(means, Tensor)
        assert not torch.equal(means, losses)
        torch.testing.assert_close(torch.tensor(rehearse.values[0]), means)
    elif case == "range test":
        losses_of_runs, found = [], []
        for test in (None, LRRangeTest(1e-3, 1.0, 20, apply=False), LRRangeTest(1e-3, 1.0, 20)):
            LOSSES.clear()
            trainer, fit = ddp(KeepsLosses).build(folder / str(test), *([] if test is None else [test]))
            trainer.fit(**fit)
            losses_of_runs.append(LOSSES[-trainer.global_step :])
            if test is not None:
                assert test.result is not None
                assert test.result.search is not None
                found.append(test.result.lr)
        assert torch.equal(*map(torch.stack, losses_of_runs[:2]))
        lr = torch.tensor(found)
        ends = torch.cat([parameter.detach().flatten() for parameter in fit["model"].parameters()])
        for mine in (lr, ends):
            of_all = trainer.strategy.all_gather(mine)
            assert all(torch.equal(each, mine) for each in of_all)
        assert trainer.optimizers[0].param_groups[0]["lr"] == found[-1]
    elif case == "fsdp2":
        sharded = ddp(Sharded)
        sharded.trainer = lambda: {
            "accelerator": "cpu",
            "devices": ranks,
            "strategy": ModelParallelStrategy(ranks, 1, save_distributed_checkpoint=False),
        }
        assert_no_trace(folder, sharded, RehearseSharded)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.getLogger(PACKAGE).setLevel(logging.ERROR)
    try:
        main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    except ValueError:  # the user's own
        Path(sys.argv[2], "failed").write_text(str(time.time()))
        raise
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
