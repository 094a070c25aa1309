"""Learning rates for PyTorch Lightning: range test, cycles and traces as callbacks."""

# First: it imports both packages of Lightning and leaves the logger of Lightning's messages as the user has it.
import lightning_lr.trainer.lightning_packages  # noqa: F401  # isort: skip

# Eager imports: a YAML file can name a callback without its package only once the class is imported.
from lightning_lr._moved import register_moved_modules
from lightning_lr.before_fit import lr_range_test, lr_search
from lightning_lr.callbacks.cyclical_lr import CyclicalLR
from lightning_lr.callbacks.hypergradient_lr import HypergradientLR
from lightning_lr.callbacks.lr_range_test import LRRangeTest, RangeTestResult
from lightning_lr.callbacks.lr_search import LRSearch
from lightning_lr.callbacks.lr_trace import LRTrace
from lightning_lr.callbacks.one_cycle_lr import OneCycleLR
from lightning_lr.callbacks.warmup_stable_decay_lr import WarmupStableDecayLR
from lightning_lr.range_test import LRCurve, Suggestion, suggest
from lightning_lr.schedules.snapshot_ensemble import ensemble
from lightning_lr.search import SearchResult

__version__ = "0.1.0"

__all__ = [
    "CyclicalLR",
    "HypergradientLR",
    "LRCurve",
    "LRRangeTest",
    "LRSearch",
    "LRTrace",
    "OneCycleLR",
    "RangeTestResult",
    "SearchResult",
    "Suggestion",
    "WarmupStableDecayLR",
    "ensemble",
    "lr_range_test",
    "lr_search",
    "suggest",
]

register_moved_modules()
