"""Make every picture of the documentation: `make pictures`, in some two minutes.

Those of the callbacks are what the callbacks draw themselves, in runs on the digits. Those of the tab in TensorBoard
need chromium.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from digits import Digits, DigitsCNN
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from tab_pictures import take_pictures
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from lightning_lr import (
    CyclicalLR,
    HypergradientLR,
    LRRangeTest,
    LRSearch,
    LRTrace,
    OneCycleLR,
    WarmupStableDecayLR,
)
from lightning_lr.figure_style import CHOSEN, CURVE, NORMAL, SMALL_LABEL_SIZE, TEXT_SIZE, finish_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOCS = Path(__file__).parents[1] / "docs"
EPOCHS = 12
STEPS_PER_EPOCH = 45  # of the digits
STEPS = EPOCHS * STEPS_PER_EPOCH
STARTS = (1e-7, 1e-5, 1e-3, 1e-1)  # of the adaptation
NOISY_SHARE = 2 / 3
COLORS = ("#1f4e79", "#2e8b57", "#d98e04", "#c0392b")
MAX_WIDTH, COLORS_OF_PICTURE = 1000, 256


class NoisyLabels(DigitsCNN):
    """Two of three labels are random: so little can be learned that a sweep is not confident."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        noisy = torch.where(torch.rand(labels.shape) < NOISY_SHARE, torch.randint_like(labels, 10), labels)
        return super().training_step((images, noisy), batch_idx)


class CosineCNN(DigitsCNN):
    """Two restarts of torch's cosine annealing."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.05, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, STEPS // 3)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def train(logs: Path, name: str, *callbacks: Callback, model: Callable[[], LightningModule] = DigitsCNN) -> None:
    """Train from a fixed seed, with event files in a folder of this name."""
    seed_everything(7, verbose=False)
    Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        callbacks=[*callbacks],
        logger=TensorBoardLogger(logs, "", name),
        log_every_n_steps=5,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(model(), Digits())


def events_of(logs: Path, name: str) -> EventAccumulator:
    return EventAccumulator(str(logs / name)).Reload()


def scalars(events: EventAccumulator, tag: str) -> tuple[list[int], list[float]]:
    """Steps and values."""
    points = events.Scalars(tag)
    return [point.step for point in points], [point.value for point in points]


def save(figure: Figure, name: str) -> None:
    figure.savefig(DOCS / name)


def shrink(path: Path) -> None:
    """Fewer pixels and colours: a picture of the documentation is at most 1000 pixels wide and below 80 kB."""
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    if small.width > MAX_WIDTH:
        small = small.resize((MAX_WIDTH, round(small.height * MAX_WIDTH / small.width)), Image.Resampling.LANCZOS)
    # The usual method, MEDIANCUT, gives thin lines of two runs one colour. Without k-means this one tints grey areas.
    method = Image.Quantize.MAXCOVERAGE
    small = small.quantize(COLORS_OF_PICTURE, method=method, kmeans=1, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def finders(logs: Path) -> None:
    """What the range test and the search write themselves."""
    found, unsure, searched = logs / "found", logs / "unsure", logs / "searched"
    cycles = CyclicalLR(step_size="2ep", mode="triangular2")
    train(logs, "cycles", LRRangeTest(output_dir=found), cycles)
    train(logs, "noisy_labels", LRRangeTest(verify=False, output_dir=unsure), model=NoisyLabels)
    train(logs, "search", LRSearch(1e-4, 1.0, output_dir=searched), CyclicalLR(step_size="2ep"))
    shutil.copy(found / "lr_range_test.png", DOCS / "range_test.png")
    shutil.copy(unsure / "lr_range_test.png", DOCS / "range_test_unsure.png")
    shutil.copy(searched / "lr_search.png", DOCS / "search.png")
    (image,) = events_of(logs, "cycles").Images("cyclical_lr/loss_vs_phase")
    (DOCS / "loss_by_phase.png").write_bytes(image.encoded_image_string)


def draw(axes: Axes, schedule: CyclicalLR | OneCycleLR | WarmupStableDecayLR, title: str, color: str = CURVE) -> None:
    axes.plot(schedule.preview(STEPS, STEPS_PER_EPOCH).lr, color=color, linewidth=NORMAL)
    axes.set_ylim(0, 0.105)
    finish_axes(axes, label_size=SMALL_LABEL_SIZE)
    axes.set_title(title, fontsize=TEXT_SIZE, loc="left")


def schedules() -> None:
    """The learning rate of each step, computed without training."""
    figure = new_figure(9, 5)
    cells = figure.subplots(2, 3, sharex=True, sharey=True)
    shown: dict[str, dict[str, Any]] = {
        "triangular": {},
        "triangular2": {"mode": "triangular2"},
        "exp_range, decay=0.1": {"mode": "exp_range", "decay": 0.1},
        'wave="cosine"': {"wave": "cosine"},
        "cycle_mult=2, fit_cycles": {"step_size": 40, "cycle_mult": 2.0, "fit_cycles": True},
        "warmup, step_size_down": {"step_size": 20, "step_size_down": "2ep", "warmup": "2ep"},
    }
    for axes, (title, arguments) in zip(cells.flat, shown.items(), strict=True):
        draw(axes, CyclicalLR(0.02, 0.1, **{"step_size": "2ep", **arguments}), title)
    for axes in cells[1]:
        axes.set_xlabel("optimizer step", fontsize=SMALL_LABEL_SIZE)
    for axes in cells[:, 0]:
        axes.set_ylabel("learning rate", fontsize=SMALL_LABEL_SIZE)
    save(figure, "cyclical_lr.png")

    figure = new_figure(9, 4.5)
    (top, bottom) = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=[3, 1])
    for column, three_phase in enumerate((False, True)):
        schedule = OneCycleLR(0.1, three_phase=three_phase, momentum=(0.85, 0.95))
        draw(top[column], schedule, "three phases" if three_phase else "two phases")
        bottom[column].plot(schedule.preview(STEPS).momentum, color=CHOSEN, linewidth=NORMAL)
        finish_axes(bottom[column], "optimizer step", label_size=SMALL_LABEL_SIZE)
    top[0].set_ylabel("learning rate", fontsize=SMALL_LABEL_SIZE)
    bottom[0].set_ylabel("momentum", fontsize=SMALL_LABEL_SIZE)
    save(figure, "one_cycle_lr.png")

    figure = new_figure(8, 3.5)
    axes = figure.subplots()
    draw(axes, WarmupStableDecayLR(0.1, total_steps=None), "", CHOSEN)
    draw(axes, WarmupStableDecayLR(0.1), "")
    finish_axes(axes, "optimizer step", "learning rate", label_size=SMALL_LABEL_SIZE)
    axes.legend(["open end: total_steps=None", "the default: warm-up 5 %, decay 20 %"], fontsize=TEXT_SIZE)
    save(figure, "warmup_stable_decay_lr.png")


def adaptation(logs: Path) -> None:
    """Four runs that begin at different learning rates."""
    figure = new_figure(8, 6)
    above, below = figure.subplots(2, 1, sharex=True)
    for start, color in zip(STARTS, COLORS, strict=True):
        name = f"adapted_{start:g}"
        train(logs, name, HypergradientLR(), model=partial(DigitsCNN, start))
        events = events_of(logs, name)
        above.semilogy(*scalars(events, "lr/SGD"), color=color, linewidth=NORMAL, label=f"from {start:g}")
        below.plot(*scalars(events, "lr/loss"), color=color, linewidth=NORMAL)
    above.legend(fontsize=TEXT_SIZE, loc="lower right")
    finish_axes(above, ylabel="learning rate", label_size=SMALL_LABEL_SIZE)
    finish_axes(below, "optimizer step", "loss", label_size=SMALL_LABEL_SIZE)
    save(figure, "hypergradient_lr.png")


def trace(logs: Path) -> None:
    """The learning rate of one of torch's schedulers, and the loss of the same steps."""
    train(logs, "cosine", LRTrace(), model=CosineCNN)
    figure = new_figure(8, 4.5)
    above, below = figure.subplots(2, 1, sharex=True)
    events = events_of(logs, "cosine")
    above.plot(*scalars(events, "lr/SGD"), color=CURVE, linewidth=NORMAL)
    below.semilogy(*scalars(events, "lr/loss"), color=CHOSEN)
    finish_axes(above, ylabel="lr/SGD", label_size=SMALL_LABEL_SIZE)
    finish_axes(below, "optimizer step", "lr/loss", label_size=SMALL_LABEL_SIZE)
    save(figure, "lr_trace.png")


def tab(logs: Path) -> None:
    """The tab in TensorBoard, with some of these runs and one more."""
    shown = logs / "shown"
    for name in ("cycles", "search"):
        shutil.copytree(logs / name, shown / name)
    shutil.copytree(logs / f"adapted_{STARTS[0]:g}", shown / "adapted")
    train(shown, "two_tests", LRRangeTest(at_epochs=(0, 1)), model=partial(DigitsCNN, momentum=0.5))
    take_pictures(shown, logs / "profile", DOCS)


@contextmanager
def quiet() -> Iterator[None]:
    level = logging.getLogger("lightning.pytorch").level
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.getLogger("lightning.pytorch").setLevel(level)


def main() -> None:
    steps: list[Callable[[Path], None]] = [finders, adaptation, trace, tab]
    with tempfile.TemporaryDirectory() as folder, quiet():
        schedules()
        for step in steps:
            print(f"{step.__name__} ...", flush=True)
            step(Path(folder))
    for path in sorted(DOCS.glob("*.png")):
        shrink(path)
        print(f"{path.name:<32}{path.stat().st_size / 1000:6.1f} kB")


if __name__ == "__main__":
    main()
