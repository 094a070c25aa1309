"""The range test: its learning rates, its curve, and the rules that read a learning rate off it."""

from lightning_lr.range_test.curve import LRCurve
from lightning_lr.range_test.early_stop import has_diverged
from lightning_lr.range_test.figure import range_test_figure
from lightning_lr.range_test.rules import RULES, Rule
from lightning_lr.range_test.smoothing import smooth
from lightning_lr.range_test.suggestion import Suggestion, suggest
from lightning_lr.range_test.sweep_lrs import sweep_lrs

__all__ = [
    "RULES",
    "LRCurve",
    "Rule",
    "Suggestion",
    "has_diverged",
    "range_test_figure",
    "smooth",
    "suggest",
    "sweep_lrs",
]
