"""The values of the adaptation that `HypergradientLR` logs. To log one more, add a line here."""

from __future__ import annotations

from collections.abc import Iterable

from lightning_lr.adaptation.adapted_optimizer import AdaptedOptimizer


def logged_values(optimizers: Iterable[AdaptedOptimizer]) -> dict[str, float]:
    """Key -> value; the table in the docstring of `HypergradientLR` says what each is."""
    values: dict[str, float] = {}
    for optimizer in optimizers:
        for name, group in optimizer.named_groups():
            values[f"hypergradient/alignment/{name}"] = group.alignment.cosine
            values[f"hypergradient/scale/{name}"] = group.scale * optimizer.controller.scales.used_decay_factor
            values[f"hypergradient/turns/{name}"] = group.rule.sign_changes
        values[f"hypergradient/not_finite/{optimizer.name}"] = optimizer.controller.not_finite
    return values
