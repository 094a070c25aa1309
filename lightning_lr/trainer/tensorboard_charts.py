"""Where our charts are in TensorBoard: a layout for its tab "Custom Scalars", and a line that says how to open them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from lightning.pytorch import Trainer

from lightning_lr.trainer.loggers import tensorboard_loggers, tensorboard_writers
from lightning_lr_tensorboard.record import PLUGIN_NAME

# Category -> title of a chart -> regular expression of its tags, before which a logger may put a prefix.
Charts = Mapping[str, Mapping[str, str]]

TRAINING_CHARTS: Charts = {
    "Learning rate": {"learning rate of each group": r"^(.+-)?lr/(?!loss$)", "loss": r"^(.+-)?lr/loss$"}
}
RANGE_TEST_CHARTS: Charts = {"Range test": {"loss against 1000 log10(lr)": r"^lr_range_test/.*_vs_log10_lr_x1000$"}}
SEARCH_CHARTS: Charts = {"Search": {"score against 1000 log10(lr)": r"^lr_search/.*score_vs_log10_lr_x1000$"}}

_ADDRESS = "http://localhost:6006/"  # where TensorBoard is unless its user says otherwise
_TAGS = r"^lr/|alignment|log10"  # of the charts that show most at a glance


def log_layout(trainer: Trainer, charts: Iterable[Charts]) -> None:
    """Log the layout that shows these charts in the tab "Custom Scalars"."""
    layout: dict[str, dict[str, list[object]]] = {}
    for each in charts:
        for category, patterns in each.items():
            titles = layout.setdefault(category, {})
            titles.update({title: ["Multiline", [pattern]] for title, pattern in patterns.items()})
    for writer in tensorboard_writers(trainer):
        writer.add_custom_scalars(layout)


def how_to_open(trainer: Trainer) -> str:
    """The command and the addresses that show the charts of a run; empty without a TensorBoard logger."""
    boards = tensorboard_loggers(trainer)
    if not boards:
        return ""
    return (
        f"To see learning rates and losses: tensorboard --logdir {shlex.quote(str(boards[0].root_dir))}, then"
        f" {_ADDRESS}#{PLUGIN_NAME} (the tab Learning rate) or {_ADDRESS}?tagFilter={quote(_TAGS)}#timeseries"
    )
