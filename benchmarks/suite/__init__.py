"""Settings of today, small enough for a CPU, on which suggested learning rates are judged.

`benchmarks.suite.record` trains each of them with a grid of learning rates. What it recorded is in ``truth.npz``.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.suite import finetuning, images, tabular, text
from benchmarks.suite.setting import Setting
from benchmarks.suite.small_tasks import small_tasks

_MODERN = (
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
# A function for each setting, which makes it. Making one reads its data.
SETTINGS: dict[str, Callable[[], Setting]] = {
    **{make.__name__: make for make in _MODERN},
    **small_tasks(),
}
