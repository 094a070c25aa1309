"""Settings with text: language models, the kinds of tokens, and which file a piece of source code is from."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.suite.data import (
    TOKEN_KINDS,
    code_corpus,
    encode,
    next_character_draw,
    next_character_validation,
    read,
    source_files,
    token_kind_draw,
    token_kind_validation,
)
from benchmarks.suite.networks import BigramClassifier, RecurrentTagger
from benchmarks.suite.optimizers import muon_and_adamw, one
from benchmarks.suite.setting import Batch, Setting, cross_entropy, drawn
from benchmarks.suite.transformers import TextTransformer

_FILES = 8  # that `fasttext` tells apart


def gpt() -> Setting:
    train, validation = code_corpus("[n-o]*.py")
    return Setting(
        "gpt",
        "adamw",
        TextTransformer,
        drawn(next_character_draw(train)),
        cross_entropy,
        one(torch.optim.AdamW, betas=(0.9, 0.95), weight_decay=0.1),
        next_character_validation(validation),
        clip=1.0,
    )


def gpt_muon() -> Setting:
    return Setting(
        "gpt_muon",
        "muon",
        lambda: TextTransformer(tied=False),
        drawn(next_character_draw(code_corpus("[t-z]*.py")[0])),
        cross_entropy,
        muon_and_adamw(0.3, adjust_lr_fn="match_rms_adamw"),
        next_character_validation(code_corpus("[t-z]*.py")[1]),
    )


def llama() -> Setting:
    return Setting(
        "llama",
        "adamw",
        lambda: TextTransformer(llama=True, tied=False),
        drawn(next_character_draw(code_corpus("[t-z]*.py")[0])),
        cross_entropy,
        one(torch.optim.AdamW, weight_decay=0.01),
        next_character_validation(code_corpus("[t-z]*.py")[1]),
    )


def tagger_tf() -> Setting:
    def build() -> nn.Module:
        return TextTransformer(width=24, outputs=TOKEN_KINDS, causal=False, tied=False)

    return Setting(
        "tagger_tf",
        "adafactor",
        build,
        drawn(token_kind_draw(24, batch_size=6)),
        cross_entropy,
        one(torch.optim.Adafactor),
        token_kind_validation(24),
    )


def tagger_gru() -> Setting:
    return Setting(
        "tagger_gru",
        "adam",
        lambda: RecurrentTagger(is_lstm=False),
        drawn(token_kind_draw(16, batch_size=8)),
        cross_entropy,
        one(torch.optim.Adam),
        token_kind_validation(16),
        clip=1.0,
    )


def tagger_lstm() -> Setting:
    return Setting(
        "tagger_lstm",
        "rmsprop",
        lambda: RecurrentTagger(is_lstm=True),
        drawn(token_kind_draw(16, batch_size=8)),
        cross_entropy,
        one(torch.optim.RMSprop),
        token_kind_validation(16),
    )


def fasttext() -> Setting:
    largest = sorted(source_files("[s-z]*.py"), key=lambda path: path.stat().st_size)[-_FILES:]
    texts = [encode(read(path)[:40_000]) for path in largest]

    def draw(generator: torch.Generator, batch_size: int = 24) -> Batch:
        files = torch.randint(0, _FILES, (batch_size,), generator=generator)
        pieces = []
        for file in files.tolist():
            start = int(torch.randint(0, len(texts[file]) - 49, (1,), generator=generator))
            pieces.append(texts[file][start : start + 48])
        return torch.stack(pieces), files

    return Setting(
        "fasttext",
        "sgd",
        BigramClassifier,
        drawn(draw),
        cross_entropy,
        one(torch.optim.SGD),
        draw(torch.Generator().manual_seed(6), batch_size=300),
    )
