"""Learning rates for PyTorch Lightning: range test, cycles and traces as callbacks."""

__version__ = "0.1.0"
