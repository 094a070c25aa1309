"""Settings of today, small enough for a CPU, on which suggested learning rates are judged.

`benchmarks.suite.record` trains each of them with a grid of learning rates. What it recorded is in ``truth.npz``.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.suite import finetuning, images, tabular, text
from benchmarks.suite.setting import Setting
from benchmarks.suite.small_tasks import small_tasks

_FIFTEEN = (
    text.gpt,
    text.tagger_tf,
    text.tagger_gru,
    images.vit,
    images.bncnn,
    images.unet,
    images.infonce,
    images.vae,
    tabular.towers,
    tabular.cancer_drop,
    images.multitask,
    finetuning.ft_lora,
    finetuning.ft_head,
    tabular.resmlp,
    text.fasttext,
)
_TWELVE = (
    text.tagger_lstm,
    images.resnet,
    text.llama,
    images.bn_mlp,
    images.unet_plain,
    tabular.regression,
    tabular.logistic,
    tabular.diabetes,
    tabular.unscaled,
    finetuning.ft_all,
    text.gpt_muon,
    images.dropout_mlp,
)
# Totals are given for each group. Rules, constants and lengths of trials were chosen with all of them in view. At first
# that was the fifteen and the small tasks, later the twelve too. So no setting is unused.
GROUPS: dict[str, dict[str, Callable[[], Setting]]] = {
    "the fifteen": {make.__name__: make for make in _FIFTEEN},
    "the twelve": {make.__name__: make for make in _TWELVE},
    "the 20 small tasks": small_tasks(),
}
GROUP_OF: dict[str, str] = {setting: group for group, settings in GROUPS.items() for setting in settings}
# A function for each setting, which makes it. Making one reads its data.
SETTINGS: dict[str, Callable[[], Setting]] = {
    name: make for settings in GROUPS.values() for name, make in settings.items()
}
