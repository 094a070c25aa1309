"""Two runs that must not differ, one with a rehearsal and one without, and all that could tell them apart."""

from __future__ import annotations

import hashlib
import random
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.strategies import Strategy
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.dataloader import _BaseDataLoaderIter
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from lightning_lr._rehearsal import Rehearsal
from lightning_lr._sweep import Sweep

WILD = tuple(10.0 ** (-3 + 2 * i) for i in range(20))  # to 1e35: losses become huge, infinite and NaN
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "devices": 1,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
}


_LEFT_OUT = (Trainer, Strategy, Logger, Callback, _BaseDataLoaderIter, str, bytes, type, ModuleType)


def flatten(**roots: object) -> dict[str, object]:
    """Every object that can be reached from the roots, by its path; the first path only."""
    found: dict[str, object] = {}
    seen: dict[int, object] = {}
    todo = list(reversed(roots.items()))
    while todo:
        path, obj = todo.pop()
        found[path] = obj
        if id(obj) in seen or isinstance(obj, _LEFT_OUT) or callable_(obj):
            continue
        if type(obj).__module__.startswith("torch.distributed") and not isinstance(obj, (Tensor, nn.Module)):
            continue
        seen[id(obj)] = obj
        children: list[tuple[str, object]] = []
        if isinstance(obj, Mapping):
            for i, (key, value) in enumerate(obj.items()):
                name = key if isinstance(key, str) else i  # an int may be an id
                children += [(f"{path}[{name}]", value)]
                if not isinstance(key, (str, int)):
                    children += [(f"{path}.key{i}", key)]
        elif isinstance(obj, (list, tuple, set, frozenset, deque)):
            items = sorted(obj, key=repr) if isinstance(obj, (set, frozenset)) else obj
            children += [(f"{path}[{i}]", value) for i, value in enumerate(items)]
        if isinstance(obj, Tensor):
            children += [(f"{path}.grad", obj.grad)] if obj.is_leaf else []
        elif not isinstance(obj, (torch.Generator, np.random.Generator, random.Random, np.ndarray)):
            names = {
                *getattr(obj, "__dict__", {}),
                *(s for c in type(obj).__mro__ for s in getattr(c, "__slots__", ())),
            }
            names -= {"__weakref__", "__dict__"}
            children += [(f"{path}.{name}", getattr(obj, name)) for name in sorted(names) if hasattr(obj, name)]
        todo.extend(reversed(children))
    return found


def callable_(obj: object) -> bool:
    return callable(obj) and not isinstance(obj, (nn.Module, Optimizer))


def contents(objects: Mapping[str, object]) -> dict[str, object]:
    """The objects as values that can be compared; for an object met before, the path where."""
    first: dict[int, str] = {}
    return {path: _value(obj, first.setdefault(id(obj), path)) for path, obj in objects.items()}


def _value(obj: object, path: str) -> object:
    if isinstance(obj, Tensor):
        obj = obj.to_local() if isinstance(obj, DTensor) else obj
        copy = obj.detach().cpu().to_dense().contiguous().reshape(-1)
        if copy.is_floating_point():
            copy = torch.where(copy.isnan(), torch.nan, copy)  # the sign of a NaN is left to the hardware
        raw = copy.view(torch.uint8).numpy().tobytes()
        return path, obj.dtype, tuple(obj.shape), obj.requires_grad, raw, str(copy)
    if isinstance(obj, np.ndarray):
        return path, obj.dtype, obj.shape, obj.tobytes()
    if isinstance(obj, torch.Generator):
        return path, obj.get_state().numpy().tobytes()
    if isinstance(obj, np.random.Generator):
        return path, repr(obj.bit_generator.state)
    if isinstance(obj, random.Random):
        return path, repr(obj.getstate())
    if isinstance(obj, str):
        return re.sub(r"/\S*/with(out)?/", "", obj)  # the folder of the run
    if isinstance(obj, (int, float, complex, bytes, type(None))):
        return repr(obj)
    if callable_(obj):
        return getattr(obj, "__qualname__", type(obj).__qualname__)
    return path, type(obj).__qualname__


def random_states() -> dict[str, object]:
    return {
        "python": random.getstate(),
        "numpy": repr(np.random.get_state()),  # noqa: NPY002
        "torch": torch.get_rng_state().numpy().tobytes(),
    }


def whole(trainer: Trainer) -> dict[str, object]:
    """All that a rehearsal must leave as it was."""
    loop = trainer.fit_loop
    val_loader = loop.epoch_loop.val_loop._combined_loader
    return flatten(
        module=trainer.lightning_module,
        optimizers=trainer.optimizers,
        schedulers=trainer.lr_scheduler_configs,
        scaler=getattr(trainer.precision_plugin, "scaler", None),
        loops=loop.state_dict(),
        batches_that_stepped=loop.epoch_loop._batches_that_stepped,
        results=dict(loop.epoch_loop._results),
        metrics=[dict(trainer.callback_metrics), dict(trainer.logged_metrics), dict(trainer.progress_bar_metrics)],
        trainer={
            name: value
            for name, value in vars(trainer).items()
            if isinstance(value, (bool, int, float, str, type(None)))
            and name not in ("_default_root_dir", "_last_val_time")
        },
        stage=str(trainer.state),
        train_loader=getattr(loop._combined_loader, "flattened", None),
        val_loader=getattr(val_loader, "flattened", None),
        datamodule=getattr(trainer, "datamodule", None),
    )


def assert_equal(with_: Mapping[str, object], without: Mapping[str, object]) -> None:
    different = [path for path in {**without, **with_} if with_.get(path, "absent") != without.get(path, "absent")]
    shown = "\n".join(
        f"{path}:\n   with    {str(with_.get(path, 'absent'))[:200]}\n   without {str(without.get(path, 'absent'))[:200]}"
        for path in different[:8]
    )
    assert not different, f"{len(different)} differ\n{shown}"


class Recorder(Callback):
    """What is seen of the training itself: batches, losses, learning rates, random states. Blind in a rehearsal."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.end: dict[str, object] = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        rates = [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]
        self.events.append(("train", batch_idx, trainer.global_step, _digest(outputs), _digest(batch), _digest(rates)))
        self.events.append(_digest(random_states()))

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.events.append(("validate", batch_idx, dataloader_idx, _digest(batch), trainer.global_step))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.end = contents(whole(trainer))


def _digest(obj: object) -> str:
    return hashlib.md5(repr(contents(flatten(obj=obj))).encode()).hexdigest()


class Rehearse(Callback):
    """A rehearsal of a wild sweep, and the check that all is as before at its end."""

    def __init__(
        self,
        lrs: Sequence[float] = WILD,
        at_epochs: Iterable[int] = (0,),
        keep_on: Literal["device", "cpu"] = "device",
        times: int = 1,
        rewinds: int = 0,
        is_stream: bool = False,
        **sweep: Any,
    ) -> None:
        self.lrs, self.at_epochs, self.keep_on, self.times, self.rewinds = lrs, at_epochs, keep_on, times, rewinds
        self.is_stream, self.sweep = is_stream, sweep
        self.values: list[list[float]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if 0 in self.at_epochs:
            self.rehearse(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch in self.at_epochs and trainer.current_epoch > 0:
            self.rehearse(trainer)

    def rehearse(self, trainer: Trainer) -> None:
        for _ in range(self.times):
            objects = whole(trainer)
            before, states = contents(objects), random_states()
            try:
                with Rehearsal(trainer, self.keep_on) as rehearsal:
                    for attempt in range(self.rewinds + 1):
                        if attempt:
                            rehearsal.rewind()
                        sweep = Sweep(self.lrs, owner="Rehearse", **self.sweep)
                        self.values.append(sweep.run(trainer, rehearsal))
            finally:
                after = whole(trainer)
                now = contents(after)
                if self.is_stream:  # which is read ahead
                    for state in (before, now):
                        for path in [path for path in state if path.startswith("train_loader")]:
                            del state[path]
                assert_equal(now, before)
                assert_equal(random_states(), states)
                for path, obj in objects.items():
                    same = obj is after.get(path) or isinstance(obj, (int, float, str, bytes, tuple)) or callable_(obj)
                    assert same or not path.startswith(("module", "optimizers", "schedulers")), f"{path} was replaced"


@dataclass
class Nested:
    level: int = 0
    inner: dict[str, Any] = field(default_factory=lambda: {"seen": [], "ratio": 0.5})


class Slotted:
    __slots__ = ("level",)

    def __init__(self) -> None:
        self.level = 0


class Busy(LightningModule):
    """A small classifier with every kind of state, all of which its training step changes."""

    def __init__(self, optimizer: str = "sgd", scheduler: str | None = None) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 3))
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.register_buffer("kept", torch.zeros(3))
        self.register_buffer("fleeting", torch.zeros(3), persistent=False)
        self.accuracy, self.mean_loss = MulticlassAccuracy(3), MeanMetric()
        self.val_accuracy = MulticlassAccuracy(3)
        self.count, self.trail, self.recent = 0, [0.0], deque([1, 2], maxlen=3)
        self.table: dict[str, Any] = {"a": 1, "deep": {"b": [1, 2], "t": torch.zeros(2)}}
        self.members, self.pair = {1, 2}, ([1], torch.ones(2))
        self.nested, self.slotted = Nested(), Slotted()
        self.array, self.tensor = np.zeros(3), torch.zeros(2)
        self.dice = (random.Random(1), np.random.default_rng(2), torch.Generator().manual_seed(3))
        self.late: object = None

    def loss(self, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        x, y = batch
        logits = self.net(x + 0.01 * torch.randn_like(x) * self.dice[0].random() * random.random())
        return nn.functional.cross_entropy(logits, y), logits, y

    def disturb(self) -> None:
        draw = torch.rand(2, generator=self.dice[2])
        noise = float(np.random.rand()) + float(self.dice[1].random())  # noqa: NPY002
        self.count += 1
        self.trail.append(noise)
        self.recent.append(self.count)
        self.table["a"] = self.count
        self.table["deep"]["b"].insert(0, self.count)
        self.table["deep"]["t"] += draw
        self.table[f"new{self.count}"] = draw
        self.members ^= {self.count}
        self.pair[0].append(self.count)
        self.pair[1].mul_(0.9)
        self.nested.level += 1
        self.nested.inner["seen"].append(draw)
        self.nested.inner["ratio"] *= 0.5
        self.slotted.level += 1
        self.array += noise
        self.tensor = self.tensor + draw
        self.kept += draw[0]
        self.fleeting += draw[1]
        self.late = [self.late, 1] if self.count % 3 else None
        self.frozen.requires_grad_(self.count % 2 == 1)
        self.frozen.train(self.count % 2 == 0)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.disturb()
        loss, logits, y = self.loss(batch)
        self.accuracy(logits.nan_to_num(), y)
        self.mean_loss(loss.detach())
        self.log("loss", loss)
        self.log("acc", self.accuracy, on_step=True, on_epoch=True)
        self.log("mean_loss", self.mean_loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        loss, logits, y = self.loss(batch)
        self.val_accuracy(logits.nan_to_num(), y)
        self.log("val_loss", loss.nan_to_num(1e6).clamp(max=1e6), prog_bar=True, add_dataloader_idx=True)
        self.log("val_acc", self.val_accuracy)

    def configure_optimizers(self) -> Any:
        groups = [{"params": [*self.net[0].parameters()]}, {"params": [*self.net[1:].parameters()], "lr": 0.03}]
        optimizer: Optimizer = {
            "sgd": lambda: torch.optim.SGD(groups, lr=0.1),
            "momentum": lambda: torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True),
            "adam": lambda: torch.optim.Adam(groups, lr=0.01, amsgrad=True),
            "adamw tensor": lambda: torch.optim.AdamW(
                [{**group, "lr": torch.tensor(0.01 * (i + 1))} for i, group in enumerate(groups)], foreach=False
            ),
            "fused": lambda: torch.optim.AdamW(groups, lr=0.01, fused=True),
            "lbfgs": lambda: torch.optim.LBFGS(self.net.parameters(), lr=0.1, max_iter=3, history_size=3),
        }[self.hparams["optimizer"]]()
        lr_scheduler = torch.optim.lr_scheduler
        config: dict[str, Any] | None = {
            "step": lambda: {"scheduler": lr_scheduler.StepLR(optimizer, 2, 0.9), "interval": "step"},
            "one cycle": lambda: {
                "scheduler": lr_scheduler.OneCycleLR(optimizer, [0.1, 0.2], total_steps=60),
                "interval": "step",
            },
            "epoch": lambda: {"scheduler": lr_scheduler.ExponentialLR(optimizer, 0.8)},
            "sequential": lambda: {
                "scheduler": lr_scheduler.SequentialLR(
                    optimizer,
                    [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=3), lr_scheduler.StepLR(optimizer, 2)],
                    [3],
                ),
                "interval": "step",
            },
            "plateau": lambda: {
                "scheduler": lr_scheduler.ReduceLROnPlateau(optimizer, patience=0),
                "monitor": "mean_loss",
            },
            "plateau step": lambda: {
                "scheduler": lr_scheduler.ReduceLROnPlateau(optimizer, patience=0),
                "monitor": "loss",
                "interval": "step",
            },
            None: lambda: None,
        }[self.hparams["scheduler"]]()
        return {"optimizer": optimizer, "lr_scheduler": config} if config else optimizer


def dataset(n: int = 40, seed: int = 0) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=generator)
    return TensorDataset(x, (x @ torch.randn(4, 3, generator=generator)).argmax(1))


def loader(n: int = 40, **options: Any) -> DataLoader[Any]:
    return DataLoader(dataset(n), **{"batch_size": 4, "shuffle": True, **options})


# A new run, made after seeding: the arguments of Trainer and of fit.
Make = Callable[[], tuple[dict[str, Any], dict[str, Any]]]


def record(make: Make, folder: Path, *extra: Callback) -> dict[str, object]:
    """Train and give everything that is seen of it."""
    seed_everything(1, verbose=False)
    options, fit = make()
    recorder = Recorder()
    logger = CSVLogger(str(folder), name="csv", version=0)
    options = {"max_epochs": 3, "logger": logger, "log_every_n_steps": 2, **QUIET, **options}
    options["callbacks"] = [*extra, recorder, *options.get("callbacks", [])]
    trainer = Trainer(default_root_dir=folder, **options)
    trainer.fit(**fit)
    trainer.save_checkpoint(folder / "end.ckpt")
    checkpoint = torch.load(folder / "end.ckpt", weights_only=False)
    for name in list(checkpoint["callbacks"]):
        if name.startswith(("Rehearse", "Recorder")):
            del checkpoint["callbacks"][name]
    return {
        **{f"event {i}": event for i, event in enumerate(recorder.events)},
        **recorder.end,
        **{f"after fit, {path}": value for path, value in contents(flatten(module=fit["model"])).items()},
        **{f"checkpoint, {path}": value for path, value in contents(flatten(root=checkpoint)).items()},
        **random_states(),
        **{
            str(path.relative_to(folder)): path.read_text() if path.suffix in (".csv", ".yaml") else "a file"
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    }


def check(tmp_path: Path, make: Make, rehearse: Rehearse | None = None) -> Rehearse:
    """The run with a rehearsal equals the run without one."""
    rehearse = rehearse or Rehearse()
    without = record(make, tmp_path / "without")
    assert any("event" in path for path in without)
    with_ = record(make, tmp_path / "with", rehearse)
    assert rehearse.values
    assert_equal(with_, without)
    return rehearse
