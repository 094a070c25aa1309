"""Workloads of sequences: sounds, translation, text and time series."""

from __future__ import annotations

import re
from collections import Counter

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.suite.data import source_code
from benchmarks.suite.setting import Batch, Setting, cross_entropy, mlp
from benchmarks.workloads.data import split
from benchmarks.workloads.optimizers import NADAMW

_BANDS, _FRAMES, _SOUNDS, _SPOKEN = 12, 48, 8, 5  # frequency bands, frames, kinds of sounds, sounds in a recording
_DIGITS = 6  # of a number that is translated
_UNHEARD = 0.05  # of its words
_VOCABULARY, _CONTEXT = 600, 16  # words, and words that a prediction sees
_PAST, _FUTURE = 32, 8  # points of a time series
_QUANTILES = (0.1, 0.5, 0.9)


class _SpeechNet(nn.Module):
    """Convolutions over time. The last output means that there is no sound."""

    def __init__(self, width: int = 40) -> None:
        super().__init__()
        self.enter = nn.Conv1d(_BANDS, width, 5, 2, 2)
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 5, 1, 2) for _ in range(2))
        self.norm = nn.GroupNorm(4, width)
        self.head = nn.Conv1d(width, _SOUNDS + 1, 1)

    def forward(self, frames: Tensor) -> Tensor:
        x = F.gelu(self.enter(frames))
        for layer in self.layers:
            x = x + F.gelu(layer(x))
        return self.head(self.norm(x))  # type: ignore[no-any-return]


def speech() -> Setting:
    """Which sounds follow each other, without being told when: connectionist temporal classification."""
    generator = torch.Generator().manual_seed(15)
    rows = 5000
    sounds = torch.randint(0, _SOUNDS, (rows, _SPOKEN), generator=generator)
    spectra = torch.randn(_SOUNDS, _BANDS, generator=generator)
    lengths = torch.randint(4, 9, (rows, _SPOKEN), generator=generator)
    ends = lengths.cumsum(1) + torch.randint(0, 8, (rows, 1), generator=generator)
    frame = torch.arange(_FRAMES)
    heard = (frame[:, None] >= (ends - lengths)[:, None]) & (frame[:, None] < ends[:, None])  # [rows, frames, spoken]
    frames = (heard.float() @ spectra[sounds]).transpose(1, 2)
    frames = frames + 1.2 * torch.randn(rows, _BANDS, _FRAMES, generator=generator)
    batches, validation = split((frames, sounds), 500, batch_size=8)

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        scores = module(batch[0]).log_softmax(1).permute(2, 0, 1)
        rows = len(batch[0])
        heard, said = torch.full((rows,), len(scores)), torch.full((rows,), _SPOKEN)
        return F.ctc_loss(scores, batch[1], heard, said, blank=_SOUNDS)

    return Setting("speech", "nadamw", _SpeechNet, batches, loss, NADAMW, validation)


_ONES = (
    *("_", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = [*_ONES, *_TENS[2:], "hundred", "thousand", "and"]


def _spelled(number: int) -> list[str]:
    """The words of a number below a million."""
    if number >= 1000:
        return [*_spelled(number // 1000), "thousand", *(_spelled(number % 1000) if number % 1000 else [])]
    if number >= 100:
        return [_ONES[number // 100], "hundred", *(["and", *_spelled(number % 100)] if number % 100 else [])]
    if number >= 20:
        return [_TENS[number // 10], *([_ONES[number % 10]] if number % 10 else [])]
    return [_ONES[number]]


class _Attention(nn.Module):
    """Attention of a sequence to another one, then a perceptron, each added to the normalised input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.rest, self.mix = nn.Linear(width, width), nn.Linear(width, 2 * width), mlp(width, 64, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor, other: Tensor, is_causal: bool = False) -> Tensor:
        key, value = self.rest(other).chunk(2, -1)
        x = self.norm1(x + F.scaled_dot_product_attention(self.query(x), key, value, is_causal=is_causal))
        return self.norm2(x + self.mix(x))  # type: ignore[no-any-return]


class _Translator(nn.Module):
    """A transformer with an encoder and a decoder."""

    def __init__(self, width: int = 32, length: int = 14) -> None:
        super().__init__()
        self.words, self.digits = nn.Embedding(len(_WORDS), width), nn.Embedding(11, width)
        self.places, self.places_out = nn.Embedding(length, width), nn.Embedding(_DIGITS, width)
        self.within, self.across, self.back = _Attention(width), _Attention(width), _Attention(width)
        self.head = nn.Linear(width, 10)

    def forward(self, words: Tensor, before: Tensor) -> Tensor:
        source = self.words(words) + self.places.weight[: words.shape[1]]
        target = self.digits(before) + self.places_out.weight
        source = self.within(source, source)
        return self.head(self.across(self.back(target, target, is_causal=True), source))  # type: ignore[no-any-return]


def translation() -> Setting:
    """Numbers in English words, of which some are missing, into digits, the last one first: cross-entropy."""
    generator = torch.Generator().manual_seed(16)
    numbers = torch.unique(torch.randint(1, 10**_DIGITS, (20_000,), generator=generator))
    numbers = numbers[torch.randperm(len(numbers), generator=generator)]
    index = {word: code for code, word in enumerate(_WORDS)}
    spelled = [[index[word] for word in _spelled(number)] for number in numbers.tolist()]
    length = max(map(len, spelled))
    words = torch.tensor([codes + [0] * (length - len(codes)) for codes in spelled])
    words[torch.rand(words.shape, generator=generator) < _UNHEARD] = 0
    digits = torch.stack([numbers // 10**place % 10 for place in range(_DIGITS)], 1)
    before = torch.cat([torch.full((len(digits), 1), 10), digits[:, :-1]], 1)
    batches, validation = split((words, before, digits), 500, batch_size=16)

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        return F.cross_entropy(module(batch[0], batch[1]).flatten(0, 1), batch[2].flatten())

    return Setting("translation", "nadamw", _Translator, batches, loss, NADAMW, validation)


class _WordNet(nn.Module):
    """An LSTM over words, with dropout."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(_VOCABULARY, width), nn.LSTM(width, width, batch_first=True)
        self.dropout, self.head = nn.Dropout(0.2), nn.Linear(width, _VOCABULARY)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.dropout(self.lstm(self.embedding(words))[0]))  # type: ignore[no-any-return]


def words() -> Setting:
    """The next word of the comments and texts in Python's standard library: cross-entropy."""
    texts = re.findall(r'"""(.*?)"""', source_code("[a-h]*.py", 1_500_000), re.DOTALL)
    found = re.findall(r"[a-z]+", " ".join(texts).lower())
    index = {word: code for code, (word, _) in enumerate(Counter(found).most_common(_VOCABULARY - 1), start=1)}
    codes = torch.tensor([index.get(word, 0) for word in found])
    windows = codes[: len(codes) // (_CONTEXT + 1) * (_CONTEXT + 1)].view(-1, _CONTEXT + 1)
    batches, validation = split((windows[:, :-1], windows[:, 1:]), 200, batch_size=8)
    return Setting("words", "nadamw", _WordNet, batches, cross_entropy, NADAMW, validation)


class _SeriesNet(nn.Module):
    """Blocks that each predict the future, and take what they explain of the past out of it, as in N-BEATS."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(mlp(_PAST, width, width, _PAST + _FUTURE * len(_QUANTILES)) for _ in range(3))

    def forward(self, past: Tensor) -> Tensor:
        future = torch.zeros(())
        for block in self.blocks:
            explained, part = block(past).split([_PAST, _FUTURE * len(_QUANTILES)], 1)
            past, future = past - explained, future + part
        return future.view(-1, _FUTURE, len(_QUANTILES))


def series() -> Setting:
    """Quantiles of the future of seasonal series with jumps and autocorrelated noise: pinball loss."""
    generator = torch.Generator().manual_seed(17)
    rows, length = 25_000, _PAST + _FUTURE
    time = torch.arange(length)
    period = 5 + 11 * torch.rand(2, rows, 1, generator=generator)
    phase = 2 * torch.pi * torch.rand(2, rows, 1, generator=generator)
    size = torch.rand(2, rows, 1, generator=generator)
    values = (size * torch.sin(2 * torch.pi * time / period + phase)).sum(0)
    values += 0.03 * torch.randn(rows, 1, generator=generator) * time
    noise = torch.zeros(rows)
    for step in range(length):
        noise = 0.7 * noise + 0.15 * torch.randn(rows, generator=generator)
        values[:, step] += noise
    batches, validation = split((values[:, :_PAST], values[:, _PAST:]), 1000, batch_size=32)

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        error = batch[1][..., None] - module(batch[0])
        levels = torch.tensor(_QUANTILES)
        return torch.maximum(levels * error, (levels - 1) * error).mean()

    return Setting("series", "nadamw", _SeriesNet, batches, loss, NADAMW, validation)
